//! Machines made up, each with one thing wrong.

use std::os::unix::fs::PermissionsExt;

use super::super::preflight;
use super::*;

const ROOT: &str = "CapInh:\t0\nCapEff:\t000001ffffffffff\n";

/// A machine on which everything is right.
fn machine() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = |path: &str, content: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    file("proc/self/status", ROOT);
    file("sys/kernel/btf/vmlinux", "");
    file("sys/kernel/tracing/events/sched/sched_switch/format", "");
    file("sys/kernel/tracing/events/tcp/tcp_probe/format", "");
    file("sys/bus/event_source/devices/uprobe/type", "7\n");
    file("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    file("opt/go/bin/go", "");
    std::fs::create_dir_all(dir.path().join("proc/self/ns")).unwrap();
    std::os::unix::fs::symlink("pid:[4026531836]", dir.path().join("proc/self/ns/pid")).unwrap();
    std::fs::set_permissions(dir.path().join("opt/go/bin/go"), PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

fn at<'a>(dir: &'a tempfile::TempDir, release: &'a str) -> Root<'a> {
    Root {
        root: dir.path(),
        release,
        tracepoints: &["sched:sched_switch"],
        optional: &["tcp:tcp_probe"],
        path: Some(OsStr::new("/opt/go/bin")),
    }
}

fn good(_: &Path) -> Result<String, String> {
    Ok("go1.26.8".into())
}

/// What is wrong, as `name: why → fix`.
fn wrong(dir: &tempfile::TempDir, release: &str) -> Vec<String> {
    checks(&at(dir, release), Some(&good))
        .into_iter()
        .filter(|check| check.state != State::Ok)
        .map(|check| format!("{}: {} → {}", check.name, check.why, check.hint.unwrap()))
        .collect()
}

#[test]
fn nothing_is_wrong_where_all_is_there() {
    let dir = machine();
    assert_eq!(wrong(&dir, "6.18.44"), [""; 0]);
    assert!(checks(&at(&dir, "6.18.44"), Some(&good)).iter().all(|check| check.hint.is_none()));
}

#[test]
fn an_old_kernel_is_refused_by_number_not_by_text() {
    let dir = machine();
    assert_eq!(wrong(&dir, "5.18.0-rc1"), [""; 0]);
    assert_eq!(wrong(&dir, "5.4.0-99-generic").len(), 1);
    assert_eq!(wrong(&dir, "10.0"), [""; 0]);
    assert!(wrong(&dir, "custom")[0].contains("no version number"));
}

#[test]
fn a_user_is_reported_to_use_sudo_first() {
    let dir = machine();
    std::fs::write(dir.path().join("proc/self/status"), "CapEff:\t0000000000000000\n").unwrap();
    let user_error = preflight(&checks(&at(&dir, "6.1.0"), None)).unwrap_err();
    assert_eq!(user_error.what, "privileges: not root, and no capabilities");
    assert_eq!(user_error.hint, "run it with sudo");
}

const LINE: &str = "--cap-add=BPF --cap-add=PERFMON --cap-add=SYS_ADMIN --cap-add=SYS_PTRACE \
                    --cap-add=DAC_READ_SEARCH --cap-add=SETUID --cap-add=SETGID";

#[test]
fn root_of_a_container_is_reported_all_that_it_lacks_at_once() {
    let dir = machine();
    // What podman gives: SETUID and SETGID, none of those that observing takes.
    std::fs::write(dir.path().join("proc/self/status"), "Uid:\t0\t0\t0\t0\nCapEff:\t00000000800405fb\n")
        .unwrap();
    let pid = dir.path().join("proc/self/ns/pid");
    std::fs::remove_file(&pid).unwrap();
    std::os::unix::fs::symlink("pid:[4026532201]", &pid).unwrap();
    std::fs::remove_dir_all(dir.path().join("sys/kernel/tracing/events")).unwrap();
    assert_eq!(
        wrong(&dir, "6.1.0"),
        [format!(
            "container: it lacks BPF, PERFMON, SYS_ADMIN, SYS_PTRACE, DAC_READ_SEARCH; its process numbers are \
             its own, where the kernel reports the host's → podman run --pid=host {LINE}\ndocker run --pid=host \
             {LINE}\nin a pod: hostPID: true, and of the container securityContext: {{capabilities: {{add: [BPF, \
             PERFMON, SYS_ADMIN, SYS_PTRACE, DAC_READ_SEARCH, SETUID, SETGID]}}}}"
        )]
    );
    let user_error = preflight(&checks(&at(&dir, "6.1.0"), None)).unwrap_err();
    assert!(!user_error.hint.contains('\n') && !user_error.hint.contains("sudo"), "{}", user_error.hint);
}

#[test]
fn a_container_that_has_all_of_it_lacks_nothing() {
    let dir = machine();
    std::fs::create_dir_all(dir.path().join("run")).unwrap();
    std::fs::write(dir.path().join("run/.containerenv"), "").unwrap();
    std::fs::remove_dir_all(dir.path().join("sys/kernel/tracing/events")).unwrap();
    assert_eq!(wrong(&dir, "6.1.0"), [""; 0]);
    // Another user than root cannot start the worker, and an engine's profile keeps it from looking.
    let status = "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\n";
    std::fs::write(dir.path().join("proc/self/status"), status).unwrap();
    std::fs::create_dir_all(dir.path().join("proc/self/attr")).unwrap();
    std::fs::write(dir.path().join("proc/self/attr/current"), "docker-default (enforce)\n").unwrap();
    let wrong = wrong(&dir, "6.1.0").remove(0);
    assert!(wrong.starts_with("container: it runs as user 1000, not as root; it lacks BPF"), "{wrong}");
    assert!(
        wrong.contains("--user=0") && wrong.contains("apparmor=unconfined") && wrong.contains("runAsUser: 0")
    );
}

#[test]
fn a_machine_whose_disk_was_made_of_an_image_is_no_container() {
    let dir = machine();
    std::fs::write(dir.path().join(".dockerenv"), "").unwrap();
    let status = "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\n";
    std::fs::write(dir.path().join("proc/self/status"), status).unwrap();
    for (kind, name) in [("ext4", "privileges: "), ("overlay", "container: ")] {
        let mounts =
            format!("20 1 0:3 / /proc rw - proc proc rw\n27 1 254:0 / / rw,relatime - {kind} /dev/root rw\n");
        std::fs::write(dir.path().join("proc/self/mountinfo"), mounts).unwrap();
        let wrong = wrong(&dir, "6.1.0").remove(0);
        assert!(wrong.starts_with(name), "{kind}: {wrong}");
    }
}

#[test]
fn an_unmounted_tracefs_comes_with_the_mount_command() {
    let dir = machine();
    std::fs::remove_dir_all(dir.path().join("sys/kernel/tracing/events")).unwrap();
    let wrong = wrong(&dir, "6.1.0");
    assert_eq!(
        wrong,
        ["tracefs: not mounted at /sys/kernel/tracing; observing goes on, but which tracepoints there are \
             is not known → mount -t tracefs tracefs /sys/kernel/tracing"]
    );
}

#[test]
fn a_containers_pid_namespace_is_refused() {
    let dir = machine();
    let link = dir.path().join("proc/self/ns/pid");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("pid:[4026532201]", &link).unwrap();
    let wrong = wrong(&dir, "6.1.0");
    assert!(matches!(&wrong[..], [one] if one.contains("--pid=host")), "{wrong:?}");
}

#[test]
fn tracefs_in_debugfs_will_do() {
    let dir = machine();
    let debug = dir.path().join("sys/kernel/debug");
    std::fs::create_dir_all(&debug).unwrap();
    std::fs::rename(dir.path().join("sys/kernel/tracing"), debug.join("tracing")).unwrap();
    assert_eq!(wrong(&dir, "6.1.0"), [""; 0]);
}

#[test]
fn missing_tracepoints_are_named_and_optional_ones_only_degrade() {
    let dir = machine();
    std::fs::remove_dir_all(dir.path().join("sys/kernel/tracing/events/tcp")).unwrap();
    assert!(wrong(&dir, "6.1.0")[0].starts_with("optional tracepoints: tcp:tcp_probe not in"));
    assert_eq!(preflight(&checks(&at(&dir, "6.1.0"), None)), Ok(()));
    std::fs::remove_dir_all(dir.path().join("sys/kernel/tracing/events/sched")).unwrap();
    assert!(preflight(&checks(&at(&dir, "6.1.0"), None)).unwrap_err().what.contains("sched:sched_switch"));
}

#[test]
fn lockdown_btf_and_uprobes_each_refuse() {
    for (path, content, name) in [
        ("sys/kernel/security/lockdown", Some("none integrity [confidentiality]\n"), "lockdown"),
        ("sys/kernel/btf/vmlinux", None, "BTF"),
        ("sys/bus/event_source/devices/uprobe/type", None, "uprobes"),
    ] {
        let dir = machine();
        let path = dir.path().join(path);
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => {
                std::fs::remove_file(&path).unwrap();
                std::fs::remove_dir(path.parent().unwrap()).unwrap();
            }
        }
        let user_error = preflight(&checks(&at(&dir, "6.1.0"), None)).unwrap_err();
        assert!(user_error.what.starts_with(name), "{user_error:?}");
        assert_ne!(user_error.hint.len(), 0);
    }
}

#[test]
fn a_go_that_cannot_be_probed_degrades_with_its_reason() {
    let dir = machine();
    let refuse = |_: &Path| Err("no symbols".to_owned());
    let all = checks(&at(&dir, "6.1.0"), Some(&refuse));
    let go = all.last().unwrap();
    assert_eq!((go.name.as_str(), go.state), ("go", State::Degraded));
    assert!(go.why.contains("/opt/go/bin/go: no symbols"), "{}", go.why);
    assert_eq!(preflight(&all), Ok(()));
}

#[test]
fn no_go_in_path_degrades() {
    let dir = machine();
    std::fs::remove_file(dir.path().join("opt/go/bin/go")).unwrap();
    assert!(wrong(&dir, "6.1.0")[0].starts_with("go: go: not found in PATH"));
}
