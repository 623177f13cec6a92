//! Who runs what: the unprivileged half has no privileges, the command is the user's own with
//! the user's environment, files are the user's, and nothing stays in the kernel afterwards.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::bpf::Objects;
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::binary;
use tests::lab::{Lab, PROXY_HOST};
use tests::procs::{argv, descendants, opener_below, status, worker_below};
use tests::running::Running;
use tests::{paths, skip, wait};

/// `nobody`: sudo asks for an account.
const USER: u32 = 65_534;
/// Who the worker is; where `nobody` himself calls, the number below it.
const WORKER: u32 = 65_534;
const OTHER_WORKER: u32 = WORKER - 1;
/// How long the kernel may take to free what nobody holds any more.
const FREED_WITHIN: Duration = Duration::from_secs(15);
/// A command that says who and where it is, and goes on until the file `go` is there.
const COMMAND: &str = "echo \"uid $(id -u) gid $(id -g) groups $(id -G)\"; echo \"umask $(umask)\"
    echo \"pwd $(pwd)\"; env | sort; echo ready; while [ ! -e go ]; do sleep 0.05; done; exit 7";

fn ready(test: &str) -> Option<(Lab, GoRun)> {
    let lab = Lab::for_test(test)?;
    let run = lab.go_run(&GoOptions::default()).unwrap();
    Some((lab, run))
}

/// As [`ready`], where there is sudo; the run is [`USER`]'s.
fn ready_for_sudo(test: &str) -> Option<(Lab, GoRun)> {
    if skip::is_root(test) && paths::program("sudo").is_none() {
        skip::skipped(test, "needs the program sudo");
        return None;
    }
    let (lab, run) = ready(test)?;
    run.give_to(USER).unwrap();
    fs::write(run.file("sudoers"), "Defaults env_reset, umask=0022\nALL ALL=(ALL) NOPASSWD: ALL\n").unwrap();
    fs::set_permissions(run.file("sudoers"), fs::Permissions::from_mode(0o440)).unwrap();
    Some((lab, run))
}

/// What a user's shell does for `sudo goobserve run OPTIONS -- sh -c COMMAND`, with rules for
/// sudo that only this command sees.
fn through_sudo(run: &GoRun, options: &[&str]) -> Command {
    let script = "mount --bind \"$1\" /etc/sudoers || exit 99; shift; umask 027; exec setpriv \"$@\"";
    let ids = [format!("--reuid={USER}"), format!("--regid={USER}"), "--groups=65534,4".into()];
    let mut command = run.command("sh");
    command.args(["-c", script, "sh"]).arg(run.file("sudoers")).args(ids);
    // sudo must not be the process the pipe's owner waits for: a shell is above it, as in life.
    command.args(["sh", "-c", "sudo -n \"$@\"; exit $?", "sh"]).arg(binary().unwrap());
    command.arg("run").args(options).args(["--", "sh", "-c", COMMAND]);
    command
}

#[track_caller]
fn until_ready(running: &Running) -> String {
    wait::until("the command", || {
        let text = running.stdout();
        text.contains("ready\n").then_some(text)
    })
}

fn let_go(run: &GoRun) {
    fs::write(run.project().join("go"), "").unwrap();
}

/// The privileged half: the worker's parent.
fn agent_of(worker: u32) -> u32 {
    status(worker, "PPid").unwrap()[0].parse().unwrap()
}

#[track_caller]
fn has_no_privileges(worker: u32, uid: u32) {
    let field = |name| status(worker, name).unwrap_or_else(|| panic!("no {name} of the worker"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field("NoNewPrivs"), ["1"]);
    // It locks itself in when its output files are open.
    wait::until("seccomp", || (field("Seccomp") == ["2"]).then_some(()));
    let uid = uid.to_string();
    for ids in ["Uid", "Gid"] {
        assert_eq!(field(ids), [&*uid, &*uid, &*uid, &*uid], "{ids}");
    }
    // What is not dumpable belongs to root in /proc.
    assert_eq!(fs::metadata(format!("/proc/{worker}/environ")).unwrap().uid(), 0);
    let limits = fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{cores}");
}

/// The worker is nobody, with no other group, and its opener the user who called.
#[track_caller]
fn are_apart(worker: u32, as_worker: u32, caller: u32) {
    has_no_privileges(worker, as_worker);
    assert_eq!(status(worker, "Groups").unwrap(), Vec::<String>::new());
    let opener = opener_below(agent_of(worker)).expect("an opener");
    has_no_privileges(opener, caller);
}

#[track_caller]
fn is_freed(objects: &Objects) {
    let nothing = Objects::default();
    let freed = wait::within(FREED_WITHIN, || (objects.left() == nothing).then_some(()));
    assert!(freed.is_some(), "the kernel still has {:?}", objects.left());
}

/// What the agent holds, which must be something.
#[track_caller]
fn held_by(agent: u32) -> Objects {
    let objects = Objects::of(agent);
    assert!(!objects.programs.is_empty() && !objects.maps.is_empty(), "{objects:?}");
    assert_eq!(objects.left(), objects, "the kernel has what the agent holds");
    objects
}

#[test]
fn under_sudo_the_worker_the_command_and_the_files_are_the_users() {
    let test = "under_sudo_the_worker_the_command_and_the_files_are_the_users";
    let Some((lab, run)) = ready_for_sudo(test) else { return };
    let [json, record] = ["report.json", "recording.jsonl"].map(|name| run.file(name));
    let options = ["--json", json.to_str().unwrap(), "--record", record.to_str().unwrap()];
    let running = lab.begin(&mut through_sudo(&run, &options)).unwrap();
    until_ready(&running);
    let worker = wait::until("the worker", || worker_below(running.pid()));
    are_apart(worker, OTHER_WORKER, USER);
    let agent = agent_of(worker);
    assert_eq!(status(agent, "Uid").unwrap()[1], "0");
    let objects = held_by(agent);

    let_go(&run);
    let output = running.end();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    is_freed(&objects);
    for file in [&json, &record] {
        let metadata = fs::metadata(file).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (USER, USER), "{}", file.display());
        assert_eq!(metadata.mode() & 0o777, 0o600, "{}", file.display());
    }
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["commands"][0]["uid"], USER);
}

#[test]
fn under_sudo_the_command_has_the_users_environment() {
    let Some((lab, run)) = ready_for_sudo("under_sudo_the_command_has_the_users_environment") else { return };
    let mut command = through_sudo(&run, &["--report", "none"]);
    command.env("ODD", "a b=c  d").env("HTTPS_PROXY", "");
    let running = lab.begin(&mut command).unwrap();
    let text = until_ready(&running);
    let_go(&run);
    assert_eq!(running.end().status.code(), Some(7));
    let has = |line: &str| assert!(text.contains(&format!("{line}\n")), "no {line:?} in {text}");
    has(&format!("uid {USER} gid {USER} groups {USER} 4"));
    has("umask 0027");
    has(&format!("pwd {}", run.project().display()));
    has(&format!("GOPROXY=https://{PROXY_HOST}"));
    has(&format!("GOSUMDB={}", lab.store().sumdb()));
    has(&format!("SSL_CERT_FILE={}", run.file("ca.pem").display()));
    has(&format!("GOMODCACHE={}", run.modcache().display()));
    has(&format!("HOME={}", run.file("home").display()));
    has("ODD=a b=c  d");
    has("HTTPS_PROXY=");
    has(&format!("PATH={}", std::env::var("PATH").unwrap()));
    assert!(!text.contains("SUDO_"), "sudo's own variables are not the user's: {text}");
}

#[test]
fn under_sudo_a_download_is_observed() {
    let Some((lab, run)) = ready_for_sudo("under_sudo_a_download_is_observed") else { return };
    let json = run.file("report.json");
    let command = through_sudo(&run, &["--json", json.to_str().unwrap()]);
    // The last word is the script.
    let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut download = run.command("sh");
    download.args(&words[..words.len() - 1]).arg("go mod download");
    let output = lab.output(&mut download).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["requests"].as_array().unwrap().len(), lab.proxy.log().requests().len());
    let cache: PathBuf = run.modcache().join("cache/download");
    assert_eq!(fs::metadata(cache).unwrap().uid(), USER);
}

#[test]
fn as_root_the_worker_has_no_privileges_either() {
    let Some((lab, run)) = ready("as_root_the_worker_has_no_privileges_either") else { return };
    let mut command = run.goobserve().unwrap();
    let running = lab.begin(command.args(["run", "--", "sh", "-c", COMMAND])).unwrap();
    until_ready(&running);
    let worker = wait::until("the worker", || worker_below(running.pid()));
    are_apart(worker, WORKER, 0);
    let children = descendants(running.pid());
    let commands = children.iter().filter(|pid| argv(**pid).first().is_some_and(|name| name == "sh"));
    assert_eq!(commands.count(), 1, "the command runs beside it: {children:?}");
    let objects = held_by(running.pid());
    let_go(&run);
    assert_eq!(running.end().status.code(), Some(7));
    is_freed(&objects);
}

#[test]
fn whoever_has_taken_the_worker_over_is_refused_everything_and_the_report_is_whole() {
    let test = "whoever_has_taken_the_worker_over_is_refused_everything_and_the_report_is_whole";
    let Some((lab, run)) = ready(test) else { return };
    let [json, record, folder] = ["report.json", "recording.jsonl", "try"].map(|name| run.file(name));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("there"), "as it was").unwrap();
    let mut command = run.goobserve().unwrap();
    command.args(["run", "--json", json.to_str().unwrap(), "--record", record.to_str().unwrap()]);
    command.args(["--", "go", "mod", "download"]).env("GOOBSERVE_TRY", &folder);
    let output = lab.output(&mut command).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let tried: Vec<&str> =
        stderr.lines().filter_map(|line| line.strip_prefix("goobserve: tried: ")).collect();
    assert!(tried.len() > 70, "{stderr}");
    for tried in tried {
        assert!(tried.ends_with("Operation not permitted (os error 1)"), "{tried}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(fs::read(folder.join("there")).unwrap(), b"as it was");
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["requests"].as_array().unwrap().len(), lab.proxy.log().requests().len());
    assert_eq!(report["commands"][0]["go"]["gosumdb"], lab.store().sumdb());
    assert!(fs::read_to_string(&record).unwrap().ends_with("}\n"));
}

#[test]
fn a_killed_agent_leaves_nothing_in_the_kernel() {
    let Some((lab, run)) = ready("a_killed_agent_leaves_nothing_in_the_kernel") else { return };
    let mut command = run.goobserve().unwrap();
    let mut running = lab.begin(command.args(["run", "--", "sh", "-c", COMMAND])).unwrap();
    until_ready(&running);
    let objects = held_by(running.pid());
    running.signal(Signal::SIGKILL).unwrap();
    running.status();
    is_freed(&objects);
    let_go(&run);
    running.end();
}

#[test]
fn watch_leaves_nothing_in_the_kernel_and_its_worker_has_no_privileges() {
    let test = "watch_leaves_nothing_in_the_kernel_and_its_worker_has_no_privileges";
    let Some((lab, run)) = ready(test) else { return };
    let running = lab.begin(run.goobserve().unwrap().arg("watch")).unwrap();
    wait::until("goobserve to watch", || running.stderr().contains("watching every go").then_some(()));
    let worker = wait::until("the worker", || worker_below(running.pid()));
    are_apart(worker, WORKER, 0);
    let objects = held_by(running.pid());
    running.signal(Signal::SIGTERM).unwrap();
    assert_eq!(running.end().status.code(), Some(0));
    is_freed(&objects);
}
