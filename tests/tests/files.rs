//! Files that goobserve writes and reads: what may stand in their place, whose they are, and what is
//! left of them. Nothing is waited for without a limit: a hang is what some of these are about.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::Value;
use tempfile::TempDir;
use tests::goobserve::binary;
use tests::procs::worker_below;
use tests::{paths, skip, wait};

/// A user that no machine has.
const USER: u32 = 61_503;
/// Goes on until the file `go` is there; 7.
const WAITS: &str = "touch started; while [ ! -e go ]; do sleep 0.05; done; exit 7";

fn folder(test: &str) -> Option<TempDir> {
    skip::is_root(test).then(|| paths::temp("goobserve-files-").unwrap())
}

fn goobserve(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary().unwrap());
    command.args(args).current_dir(folder).env_remove("GITHUB_STEP_SUMMARY");
    command
}

fn begin(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command.spawn().unwrap()
}

#[track_caller]
fn end(mut child: Child) -> Output {
    let ended = wait::within(wait::LIMIT, || child.try_wait().unwrap());
    let group = Pid::from_raw(child.id().cast_signed());
    if ended.is_none() {
        let _ = killpg(group, Signal::SIGKILL);
    }
    let output = child.wait_with_output().unwrap();
    assert!(ended.is_some(), "it did not end: {}", stderr(&output));
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn status(folder: &Path, args: &[&str], status: i32) -> Output {
    let output = end(begin(&mut goobserve(folder, args)));
    assert_eq!(output.status.code(), Some(status), "{args:?}: {}", stderr(&output));
    output
}

/// Refused in two lines before anything was run, and the first says this.
#[track_caller]
fn refused(folder: &Path, args: &[&str], code: i32, what: &str) {
    let output = status(folder, args, code);
    let text = stderr(&output);
    let lines: Vec<&str> = text.lines().collect();
    let [first, second] = lines[..] else { panic!("{args:?}: two lines: {text}") };
    assert!(first.contains(what) && second.starts_with("  hint: "), "{args:?}: {text}");
    assert!(!folder.join("touched").exists(), "{args:?}: it was run");
}

/// Every way to name an output, with a command that must not be run.
fn outputs(file: &str) -> Vec<(Vec<&str>, i32)> {
    let touch = ["--", "touch", "touched"];
    let with = |words: &[&'static str], option: &'static str| {
        let words = words.iter().copied().chain([option]).collect::<Vec<&str>>();
        words.into_iter().chain([file]).chain(touch).collect::<Vec<&str>>()
    };
    let compare = ["compare", "--with", "http1"];
    vec![
        (with(&["run"], "--json"), 125),
        (with(&["run"], "--record"), 125),
        (with(&compare, "--json"), 4),
        (with(&compare, "--markdown"), 4),
        (with(&["gate", "record"], "--out"), 4),
    ]
}

#[test]
fn another_users_file_is_refused_and_left() {
    let Some(folder) = folder("another_users_file_is_refused_and_left") else { return };
    let file = folder.path().join("file");
    fs::write(&file, "theirs").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    chown(&file, Some(USER), Some(USER)).unwrap();
    for (args, code) in outputs("file") {
        refused(folder.path(), &args, code, "file belongs to user 61503");
    }
    for option in ["--json", "--markdown", "--junit"] {
        refused(folder.path(), &["gate", "compare", option, "file", "a", "b"], 4, "belongs to user 61503");
    }
    let about = fs::metadata(&file).unwrap();
    assert_eq!((about.uid(), about.mode() & 0o777), (USER, 0o666));
    assert_eq!(fs::read(&file).unwrap(), b"theirs");
}

#[test]
fn ones_own_file_is_replaced_by_a_private_one() {
    let Some(folder) = folder("ones_own_file_is_replaced_by_a_private_one") else { return };
    let path = |name: &str| folder.path().join(name);
    for (name, other) in [("a", "other-a"), ("b", "other-b")] {
        fs::write(path(name), "old").unwrap();
        fs::set_permissions(path(name), Permissions::from_mode(0o666)).unwrap();
        fs::hard_link(path(name), path(other)).unwrap();
    }
    status(folder.path(), &["-q", "run", "--record", "a", "--json", "b", "--", "true"], 0);
    for (name, other) in [("a", "other-a"), ("b", "other-b")] {
        assert_eq!(fs::metadata(path(name)).unwrap().mode() & 0o777, 0o600, "{name}");
        assert!(fs::read_to_string(path(name)).unwrap().starts_with('{'), "{name}");
        assert_eq!(fs::read_to_string(path(other)).unwrap(), "old");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "nothing else is left");
}

#[test]
fn what_cannot_be_a_file_is_refused_before_the_command() {
    let Some(folder) = folder("what_cannot_be_a_file_is_refused_before_the_command") else { return };
    fs::create_dir(folder.path().join("folder")).unwrap();
    std::os::unix::fs::symlink("target", folder.path().join("link")).unwrap();
    mkfifo(&folder.path().join("pipe"), Mode::from_bits_truncate(0o600)).unwrap();
    for (file, what) in [
        ("folder", "it is a folder"),
        ("link", "is a symbolic link"),
        ("none/file", "cannot write none/file: No such file"),
        ("pipe", "nobody reads the pipe pipe"),
        ("/dev/fd/77", "/dev/fd/77 is not open here"),
        ("/dev/fd/0", "reading only"),
    ] {
        for (args, code) in outputs(file) {
            refused(folder.path(), &args, code, what);
        }
    }
    let twice = ["run", "--json", "x", "--record", "folder/../x", "--", "touch", "touched"];
    refused(folder.path(), &twice, 2, "is named for two outputs");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn pipes_and_descriptors_are_written_to() {
    let Some(folder) = folder("pipes_and_descriptors_are_written_to") else { return };
    let pipe = folder.path().join("pipe");
    mkfifo(&pipe, Mode::from_bits_truncate(0o600)).unwrap();
    let mut reader = File::options().read(true).write(true).open(&pipe).unwrap();
    status(folder.path(), &["-q", "run", "--json", "pipe", "--", "sh", "-c", "exit 7"], 7);
    let mut begun = [0; 1];
    reader.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"{");

    for name in ["-", "/dev/stdout", "/dev/fd/1"] {
        let args = ["-q", "run", "--report", "none", "--json", name, "--", "echo", "hello"];
        let output = status(folder.path(), &args, 0);
        let text = String::from_utf8(output.stdout).unwrap();
        let report = text.strip_prefix("hello\n").unwrap_or_else(|| panic!("{name}: {text}"));
        let report: Value = serde_json::from_str(report).unwrap();
        assert_eq!(report["commands"][0]["argv"][0], "echo");
    }
    // What a shell puts in the place of `>(…)`, and the number that goobserve needs itself.
    for number in [3, 63] {
        let script = format!("exec {number}>out; exec \"$0\" -q run --json /dev/fd/{number} -- true");
        let mut command = Command::new("bash");
        command.args(["-c", &script]).arg(binary().unwrap()).current_dir(folder.path());
        let output = end(begin(&mut command));
        assert_eq!(output.status.code(), Some(0), "{number}: {}", stderr(&output));
        let report: Value = serde_json::from_slice(&fs::read(folder.path().join("out")).unwrap()).unwrap();
        assert_eq!(report["schema"], "goobserve.report/1");
    }
}

#[test]
fn a_full_disk_is_said_and_the_status_stays_the_commands() {
    let Some(folder) = folder("a_full_disk_is_said_and_the_status_stays_the_commands") else { return };
    let output = status(folder.path(), &["run", "--json", "/dev/full", "--", "sh", "-c", "exit 7"], 7);
    let text = stderr(&output);
    assert!(text.contains("cannot write /dev/full: No space left"), "{text}");
    assert!(text.contains("Where the time went"), "the report is printed all the same: {text}");
}

#[test]
fn a_command_that_is_not_started_removes_no_device() {
    let Some(folder) = folder("a_command_that_is_not_started_removes_no_device") else { return };
    fs::write(folder.path().join("broken"), "no program").unwrap();
    fs::set_permissions(folder.path().join("broken"), Permissions::from_mode(0o755)).unwrap();
    // A device of its own: this must not fail at the machine's cost.
    let null = folder.path().join("null");
    nix::sys::stat::mknod(
        &null,
        nix::sys::stat::SFlag::S_IFCHR,
        Mode::from_bits_truncate(0o666),
        nix::sys::stat::makedev(1, 3),
    )
    .unwrap();
    status(folder.path(), &["run", "--record", "null", "--", "./broken"], 126);
    assert!(null.exists());
}

#[test]
fn a_name_may_be_of_any_bytes() {
    let Some(folder) = folder("a_name_may_be_of_any_bytes") else { return };
    let [json, record] = [&b"caf\xe9.json"[..], b"caf\xe9.jsonl"].map(OsStr::from_bytes);
    let mut command = goobserve(folder.path(), &["run", "--json"]);
    command.arg(json).arg("--record").arg(record).args(["--", "true"]);
    let output = end(begin(&mut command));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(folder.path().join(json).exists() && folder.path().join(record).exists());
}

#[test]
fn a_killed_worker_leaves_no_file() {
    let Some(folder) = folder("a_killed_worker_leaves_no_file") else { return };
    let mut command = goobserve(folder.path(), &["run", "--json", "report.json", "--", "sh", "-c", WAITS]);
    let running = begin(&mut command);
    wait::until("the command", || folder.path().join("started").exists().then_some(()));
    let worker = wait::until("the worker", || worker_below(running.id()));
    kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL).unwrap();
    fs::write(folder.path().join("go"), "").unwrap();
    let output = end(running);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name == "started" || name == "go"), "{names:?}");
}

#[test]
fn what_needs_no_root_reads_with_the_rights_of_who_called_sudo() {
    let test = "what_needs_no_root_reads_with_the_rights_of_who_called_sudo";
    let Some(folder) = folder(test) else { return };
    status(folder.path(), &["-q", "run", "--record", "secret.jsonl", "--", "true"], 0);
    status(folder.path(), &["report", "secret.jsonl"], 0);
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    for args in [&["report", "secret.jsonl"][..], &["replay", "secret.jsonl"]] {
        let mut command = goobserve(folder.path(), args);
        // What sudo leaves when it has replaced itself by the command.
        command.env("SUDO_UID", USER.to_string()).env("SUDO_GID", USER.to_string());
        let output = end(begin(&mut command));
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("secret.jsonl: Permission denied"), "{}", stderr(&output));
        assert_eq!(output.stdout, [] as [u8; 0]);
    }
}

#[test]
fn a_report_does_not_go_into_the_recording_it_is_made_of() {
    let Some(folder) = folder("a_report_does_not_go_into_the_recording_it_is_made_of") else { return };
    status(folder.path(), &["-q", "run", "--record", "r.jsonl", "--", "true"], 0);
    let file = folder.path().join("r.jsonl");
    let before = fs::read(&file).unwrap();
    let out = File::options().append(true).open(&file).unwrap();
    let mut command = goobserve(folder.path(), &["report", "r.jsonl"]);
    command.stdout(out).stderr(Stdio::piped()).stdin(Stdio::null()).process_group(0);
    let output = end(command.spawn().unwrap());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn no_error_line_carries_what_acts_on_a_terminal_or_in_a_log() {
    let Some(folder) = folder("no_error_line_carries_what_acts_on_a_terminal_or_in_a_log") else { return };
    let bad = "a\n::error::owned\x1b[2J##[error]owned\r";
    for args in [
        &["report", bad][..],
        &["replay", bad],
        &["run", bad],
        &["run", bad, "x"],
        &["run", "--json", &format!("{bad}/x"), "--", "true"],
        &["run", "--with", bad, "true"],
        &["gate", "compare", bad, bad],
        &["gate", "run", "--baseline", bad, "true"],
        &["compare", "--with", "http1", bad],
        &["watch", "--record", &format!("{bad}/x"), "--duration", "1s"],
        &["--no-such-flag\n::error::x\x1b[2J"],
        &[bad],
    ] {
        let output = end(begin(&mut goobserve(folder.path(), args)));
        let text = stderr(&output);
        assert_ne!(output.status.code(), Some(0), "{args:?}");
        assert!(text.lines().count() <= 2, "{args:?}: {text:?}");
        assert!(!text.contains(['\x1b', '\r']) && !text.contains("##["), "{args:?}: {text:?}");
        assert!(text.lines().all(|line| !line.starts_with("::")), "{args:?}: {text:?}");
    }
}

/// A module, and `compare` of a command that works in it.
fn compare(folder: &Path, script: &str) -> Command {
    fs::create_dir_all(folder.join("project")).unwrap();
    fs::write(folder.join("project/go.mod"), "module m\n").unwrap();
    let mut command = goobserve(&folder.join("project"), &["compare", "--with", "http1", "--runs", "1"]);
    command.args(["--", "sh", "-c", script]);
    let variables = [("HOME", "home"), ("GOPATH", "home/go"), ("GOMODCACHE", "home/go/pkg/mod")];
    command.envs(variables.map(|(name, path)| (name, folder.join(path)))).env("GOFLAGS", "");
    fs::create_dir_all(folder.join("home/go/pkg/mod")).unwrap();
    command
}

#[test]
fn an_edit_of_go_mod_during_an_experiment_is_left_and_the_original_kept() {
    let test = "an_edit_of_go_mod_during_an_experiment_is_left_and_the_original_kept";
    let Some(folder) = folder(test) else { return };
    let script = "touch ../started; while [ ! -e ../go ]; do sleep 0.05; done; echo of the run > go.sum";
    let running = begin(&mut compare(folder.path(), script));
    wait::until("a run", || folder.path().join("started").exists().then_some(()));
    let project = folder.path().join("project");
    // As an editor does: a new file, moved over the old one.
    fs::write(project.join("new"), "module m // edited\n").unwrap();
    fs::rename(project.join("new"), project.join("go.mod")).unwrap();
    fs::write(folder.path().join("go"), "").unwrap();
    let output = end(running);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("go.mod during the experiment"), "{text}");
    assert_eq!(fs::read_to_string(project.join("go.mod")).unwrap(), "module m // edited\n");
    let names = fs::read_dir(&project).unwrap().map(|entry| entry.unwrap().path());
    let names: Vec<_> = names.filter(|path| !path.ends_with("go.mod")).collect();
    let [original] = &names[..] else { panic!("the original, and no go.sum of the run: {names:?}") };
    assert!(text.contains(&original.display().to_string()), "{text}");
    assert_eq!(fs::read_to_string(original).unwrap(), "module m\n");
    assert_eq!(fs::read_dir(folder.path().join("home/go/pkg")).unwrap().count(), 1, "folders are removed");
}

#[test]
fn what_the_children_of_a_run_write_is_put_back() {
    let Some(folder) = folder("what_the_children_of_a_run_write_is_put_back") else { return };
    let script = "(echo '// subshell' >> go.mod); sh -c 'echo of a child > go.sum'; echo '// run' >> go.mod
        { echo new; cat go.mod; } | cat > x; mv x go.mod";
    let output = end(begin(&mut compare(folder.path(), script)));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let project = folder.path().join("project");
    assert_eq!(fs::read_to_string(project.join("go.mod")).unwrap(), "module m\n");
    assert_eq!(fs::read_dir(&project).unwrap().count(), 1);
}
