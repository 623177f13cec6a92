//! Go commands in containers, as far as the kernel knows those: whose requests are whose, which files a path
//! means, who runs what a service was asked for, and what goobserve says that it lacks in one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::complete::{SETTLE, int, text};
use tests::containers::Container;
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::binary;
use tests::lab::{Lab, MIRROR_HOST, PROXY_HOST};
use tests::net::Place;
use tests::proxy::Faults;
use tests::starts::{Fresh, Start, differences};
use tests::toolchains::{Toolchain, VERSIONS};
use tests::watching::Watching;
use tests::{paths, skip};

/// Containers that run at once, two of each layer.
const CONTAINERS: usize = 10;

#[test]
fn ten_containers_of_five_go_versions_have_their_own_requests() {
    let name = "ten_containers_of_five_go_versions_have_their_own_requests";
    let Some(lab) = Lab::for_test_in(name, Place::Veth) else { return };
    let versions: Result<Vec<Toolchain>, _> =
        VERSIONS.iter().map(|version| Toolchain::get(version)).collect();
    let versions = match versions {
        Ok(versions) => versions,
        Err(error) => return skip::skipped(name, &format!("go toolchains: {error:#}")),
    };
    // Files that nobody has executed: layers of images that were just pulled.
    let layers: Vec<Fresh> = versions.iter().map(|version| Fresh::of(&version.root).unwrap()).collect();
    let containers: Vec<Container> =
        (1..=CONTAINERS as u8).map(|number| Container::start(&lab, number).unwrap()).collect();
    lab.proxy.set_faults(Faults { request_delay: Duration::from_millis(20), ..Faults::default() });
    let watching = Watching::start_with(&lab, &["--hold-exec"]).unwrap();
    let mut starts: Vec<Start> = (0..CONTAINERS)
        .map(|number| {
            let layer = &layers[number % layers.len()];
            layer.download(&lab, &layer.binary(), number).unwrap()
        })
        .collect();
    for (start, container) in starts.iter_mut().zip(&containers) {
        start.begin(|command| Ok(container.inside(|| command.spawn())??)).unwrap();
    }
    for start in &mut starts {
        assert!(start.end().unwrap().success());
    }
    let (differences, _) = differences(&lab, watching, &starts).unwrap();
    assert!(differences.is_empty(), "{differences:#?}");
}

/// A root of its own: the go command, its settings' files, and nothing else but what a download takes.
fn root(lab: &Lab, run: &GoRun, inside: &str) -> std::path::PathBuf {
    let root = run.file("root");
    let goroot = Toolchain::get(tests::toolchains::OWN).unwrap().root;
    for folder in ["go/bin", "dev", "etc", "tmp", "home/.config/go", "home/.config/go/telemetry", "src"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    paths::copy_program(&goroot.join("bin/go"), &root.join("go/bin/go")).unwrap();
    for name in ["VERSION", "go.env"] {
        fs::copy(goroot.join(name), root.join("go").join(name)).unwrap();
    }
    fs::copy(lab.ca(), root.join("etc/ca.pem")).unwrap();
    fs::write(root.join("etc/resolv.conf"), format!("nameserver {}\n", lab.net.dns)).unwrap();
    fs::write(root.join("home/.config/go/telemetry/mode"), "off").unwrap();
    fs::write(root.join("dev/null"), "").unwrap(); // a device would do; what go writes there is nothing
    fs::write(root.join("home/.config/go/env"), inside).unwrap();
    fs::copy(run.project().join("go.mod"), root.join("src/go.mod")).unwrap();
    root
}

/// The settings that are reported of a download with that prefix, whose own settings file names the mirror,
/// and the hosts that it asked.
fn settings(lab: &Lab, run: &GoRun, command: &[&str]) -> (Value, Vec<String>) {
    let report = run.file("r.json");
    let mut observing = run.goobserve().unwrap();
    for name in ["GOENV", "GOPROXY", "GOMODCACHE", "GOPATH"] {
        observing.env_remove(name);
    }
    observing.env("GOROOT", "/go").env("SSL_CERT_FILE", "/etc/ca.pem").env("HOME", "/home");
    observing.args(["run", "--json"]).arg(&report).arg("--").args(command);
    let output = lab.output(&mut observing).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(lab.proxy.log().settled(SETTLE));
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let mut hosts: Vec<String> =
        report["requests"].as_array().unwrap().iter().map(|r| text(r, "authority").to_owned()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    (report["commands"][0]["go"].clone(), hosts)
}

#[test]
fn the_settings_of_a_chroot_are_read_below_its_root() {
    let Some(lab) = Lab::for_test("the_settings_of_a_chroot_are_read_below_its_root") else { return };
    let run = lab.go_run(&GoOptions { few: true, ..GoOptions::default() }).unwrap();
    let inside = format!("GOPROXY=https://{MIRROR_HOST}\nGOMODCACHE=/tmp/modules\n");
    let root = root(&lab, &run, &inside);
    // The same path on the host has something else.
    let host = run.file("home/.config/go");
    fs::create_dir_all(&host).unwrap();
    fs::write(host.join("env"), format!("GOPROXY=https://{PROXY_HOST}\nGOPRIVATE=host.only\n")).unwrap();
    let slow = Faults { request_delay: Duration::from_millis(20), ..Faults::default() };
    lab.proxy.set_faults(slow); // so that it lasts until it is looked at
    let path = root.to_str().unwrap();
    let command = ["chroot", path, "/go/bin/go", "-C", "/src", "mod", "download"];
    let (go, hosts) = settings(&lab, &run, &command);
    assert_eq!(hosts, [MIRROR_HOST]);
    assert_eq!(text(&go, "goproxy"), format!("https://{MIRROR_HOST}"), "{go}");
    assert_eq!(text(&go, "gomodcache"), "/tmp/modules", "{go}");
    assert!(go["goprivate"].as_str().is_none_or(str::is_empty), "the host's is not its: {go}");
    // A mount namespace of its own, as a container has: the same.
    let script = "mount --bind \"$0\" \"$0\" && cd \"$0\" && exec chroot . /go/bin/go -C /src mod download";
    fs::remove_dir_all(root.join("tmp/modules")).unwrap();
    let (go, hosts) = settings(&lab, &run, &["unshare", "-m", "sh", "-c", script, path]);
    assert_eq!(
        (text(&go, "goproxy"), &hosts[..]),
        (&*format!("https://{MIRROR_HOST}"), &[MIRROR_HOST.to_owned()][..])
    );
}

/// A shell that the kernel knows by that name.
fn shell(folder: &Path, name: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    paths::copy_program(&fs::canonicalize("/bin/sh").unwrap(), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A service that runs what it reads from a pipe, and a client that has it do so: as `podman --remote`.
#[test]
fn what_a_service_starts_for_a_command_is_counted_to_it() {
    let Some(lab) = Lab::for_test("what_a_service_starts_for_a_command_is_counted_to_it") else { return };
    let run = lab.go_run(&GoOptions { few: true, ..GoOptions::default() }).unwrap();
    let podman = shell(run.dir(), "podman");
    let pipes = ["asked", "done"].map(|name| run.file(name));
    for pipe in &pipes {
        nix::unistd::mkfifo(pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    // A real client starts for longer, and asks for more, before the service starts anything.
    let (client, lone) = ("sleep 0.5; echo go > \"$0\"; read status < \"$1\"; exit $status", "sleep 1");
    let serve = "while read what < \"$2\"; do go mod download > /dev/null 2>&1; echo $? > \"$3\"; done";
    let mut service = run.command(&podman);
    service.args(["-c", serve, "system", "service"]).args(&pipes).stdin(Stdio::null());
    let mut service = lab.spawn(&mut service).unwrap();
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let [asked, done] = pipes.each_ref().map(|pipe| name(pipe));
    let observed = lab.observe(&run, &[&name(&podman), "-c", client, &asked, &done]);
    let _ = service.kill(); // it is our own child
    let _ = service.wait();
    let observed = observed.unwrap();
    let service = &observed.report["commands"][0]["service"];
    assert_eq!((text(service, "client"), text(service, "name")), ("podman", "podman"), "{service}");
    assert!(lab.proxy.log().settled(SETTLE));
    let served = lab.proxy.log().take().1.len();
    assert_eq!(observed.report["requests"].as_array().unwrap().len(), served, "what the log has");
    assert!(served > 10 && String::from_utf8_lossy(&observed.output.stderr).contains("counted below"));
    // Without a service that is said, too.
    let alone = lab.go_run(&GoOptions::default()).unwrap();
    let observed = lab.observe(&alone, &[&name(&podman), "-c", lone]).unwrap();
    let said = String::from_utf8_lossy(&observed.output.stderr).into_owned();
    assert!(said.contains("was not found on this machine"), "{said}");
    assert_eq!(observed.report["commands"][0]["service"]["pids"], serde_json::json!([]));
    assert_eq!(int(&observed.report["commands"][0], "exit_code"), 0);
}

/// A root as engines make it: no file system of a disk at it, a mark, this machine's programs below; then a command
/// in it. `$0` is a folder for it.
const IN_CONTAINER: &str = r#"mount -t tmpfs container "$0" && cd "$0" || exit 9
for dir in bin lib lib64 sbin usr etc sys dev proc; do
    [ -e /$dir ] && mkdir -p $dir && mount --rbind "$(readlink -f /$dir)" $dir || continue
done
umask 022 && cp "$1" goobserve && : > .dockerenv && mkdir -p run tmp && mount -t proc proc proc || exit 9
shift
exec chroot . "$@""#;

/// What `goobserve check` prints in a container, about that: behind `prefix`, which has namespaces of its own where
/// `namespaces` says so.
fn check(namespaces: &[&str], prefix: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.arg("--mount").args(namespaces).args(["sh", "-c", IN_CONTAINER]);
    command.arg(folder.path()).arg(binary().unwrap()).args(prefix);
    let output = command.args(["/goobserve", "check", "--color", "never"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("kernel"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines = text.lines().skip_while(|line| !line.contains(" container: "));
    lines
        .take_while(|line| line.contains(" container: ") || line.starts_with("    fix: "))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn all_that_a_container_lacks_is_reported_in_lines_to_paste() {
    let name = "all_that_a_container_lacks_is_reported_in_lines_to_paste";
    if !skip::is_root(name) || !skip::has(name, "setpriv", "util-linux") {
        return;
    }
    let without = ["setpriv", "--bounding-set=-sys_admin,-setuid", "--inh-caps=-sys_admin,-setuid"];
    let said = check(&[], &without);
    assert!(said.contains("it lacks SYS_ADMIN, SETUID"), "{said}");
    let said = check(&["--pid", "--fork"], &without);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(lines[0].contains("it lacks SYS_ADMIN, SETUID; its process numbers are its own"), "{said}");
    for (line, start) in
        lines[1..].iter().zip(["podman run --pid=host ", "docker run --pid=host ", "in a pod: hostPID: true"])
    {
        assert!(line.contains(start) && line.contains("SYS_ADMIN") && !line.contains("sudo"), "{line}");
    }
    // The page says the same.
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/containers.md")).unwrap();
    let options = lines[1].split_once("podman run ").unwrap().1;
    assert!(page.contains(options), "docs/containers.md has not {options}");
}
