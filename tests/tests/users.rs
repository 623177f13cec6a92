//! One user neither stops the observation of the others nor makes it blind.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::watching::{Reported, Watching};
use tests::{paths, skip, tiny, wait};

/// Far longer than an end takes.
const SOON: Duration = Duration::from_secs(10);
/// Whoever gets in the way, and whoever is not to be hindered.
const HEAVY: u32 = 61_701;
const OTHER: u32 = 61_702;

/// Killed when the test is over.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn reported(watching: &Watching) -> Option<Reported> {
    watching.reported().ok()
}

#[test]
fn three_hundred_go_programs_of_one_user_leave_room_for_anothers_download() {
    let name = "three_hundred_go_programs_of_one_user_leave_room_for_anothers_download";
    let Some(lab) = Lab::for_test(name) else { return };
    let folder = paths::temp("goobserve-heavy-").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let programs = tiny::programs(folder.path(), 300, HEAVY).unwrap();
    // A go command that nobody has seen before.
    let root = lab.output(&mut lab.go_run(&GoOptions::default()).unwrap().go(&["env", "GOROOT"])).unwrap();
    let root = String::from_utf8(root.stdout).unwrap();
    let go = folder.path().join("go");
    fs::copy(Path::new(root.trim()).join("bin/go"), &go).unwrap();

    let watching = Watching::start(&lab).unwrap();
    let running = tiny::running(&programs).unwrap();
    let _ = lab.proxy.log().take();
    // Its first requests may be over before its program is known: then those of its next run are not.
    let complete = (0..8).any(|_| {
        let run = lab.go_run(&GoOptions { few: true, ..GoOptions::default() }).unwrap();
        run.give_to(OTHER).unwrap();
        let mut download = run.command(&go);
        download.args(["mod", "download"]).env("GOROOT", root.trim()).uid(OTHER).gid(OTHER);
        let output = lab.output(&mut download).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(lab.proxy.log().settled(Duration::from_secs(10)));
        let (_, requests) = lab.proxy.log().take();
        let wanted: BTreeSet<String> = requests.into_iter().map(|request| request.path).collect();
        let seen = || {
            let reported = reported(&watching)?;
            let latest = reported.of(&[OTHER]).max_by_key(|command| command["command"].as_u64())?.clone();
            let of_it = reported.requests.values().filter(|request| request["command"] == latest["command"]);
            let paths: BTreeSet<String> =
                of_it.filter_map(|request| request["path"].as_str().map(str::to_owned)).collect();
            (paths == wanted).then_some(())
        };
        wait::within(Duration::from_secs(3), seen).is_some()
    });
    tiny::end(running);
    let reported = watching.end().unwrap();
    assert!(complete, "{}", reported.loss);
    assert!(reported.loss["programs_unexamined"].as_u64() > Some(0), "{}", reported.loss);
}

/// Threads of one process that wait for a lock which it holds itself.
const LOCKED: &str = "
import fcntl, resource, sys, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
threading.stack_size(65536)
held = open(sys.argv[1], 'w')
fcntl.flock(held, fcntl.LOCK_EX)
files = [open(sys.argv[1], 'w') for _ in range(1500)]
for file in files:
    threading.Thread(target=fcntl.flock, args=(file, fcntl.LOCK_EX), daemon=True).start()
print('locked', flush=True)
threading.Event().wait()
";

#[test]
fn fifteen_hundred_threads_that_wait_for_a_lock_do_not_end_watch() {
    let name = "fifteen_hundred_threads_that_wait_for_a_lock_do_not_end_watch";
    if !skip::has(name, "python3", "python3") {
        return;
    }
    let Some(lab) = Lab::for_test(name) else { return };
    let folder = paths::temp("goobserve-locks-").unwrap();
    let go = folder.path().join("go");
    // Not a script that finds it, and by the name of what is observed.
    let real = ["-c", "import os, sys; print(os.path.realpath(sys.executable))"];
    let real = Command::new("python3").args(real).output().unwrap();
    symlink(String::from_utf8(real.stdout).unwrap().trim(), &go).unwrap();
    let mut command = Command::new(&go);
    command.args(["-c", LOCKED]).arg(folder.path().join("lock")).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut waiting = Killed(command.spawn().unwrap());
    let mut line = [0; 7];
    std::io::Read::read_exact(waiting.0.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"locked\n");
    let mut watching = Watching::start(&lab).unwrap();
    // It hears about all that runs before it hears about this.
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let mut version = lab.begin(&mut run.go(&["version"])).unwrap();
    let pid = version.pid();
    assert!(version.status().success());
    assert!(watching.has_reported_of(&[pid]).unwrap(), "{}", watching.errors());
    watching.signal(Signal::SIGTERM).unwrap();
    let status = watching.ends_within(SOON).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", watching.errors());
}

#[test]
fn pipes_where_files_are_expected_hold_nothing_up() {
    let Some(lab) = Lab::for_test("pipes_where_files_are_expected_hold_nothing_up") else { return };
    let folder = paths::temp("goobserve-pipes-").unwrap();
    let pipe = folder.path().join("go");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let path = [folder.path().as_os_str(), std::env::var_os("PATH").unwrap().as_os_str()].join(":".as_ref());

    // First on PATH, for `run`.
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let mut command = run.goobserve().unwrap();
    command.env("PATH", &path).args(["run", "--", "go", "version"]);
    let mut running = lab.begin(&mut command).unwrap();
    assert!(running.ends_within(SOON), "{}", running.stderr());
    assert_eq!(running.status().code(), Some(0), "{}", running.stderr());

    // As the settings of a go command that waits for them itself, for `watch`.
    let mut watching = Watching::start(&lab).unwrap();
    // Open for both, so that it begins to read and never ends.
    let held =
        fs::File::options().read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(&pipe).unwrap();
    let mut go = run.go(&["env", "GOPROXY"]);
    go.env("GOENV", &pipe).env("PATH", &path).stdin(Stdio::null());
    let waiting = Killed(lab.spawn(&mut go).unwrap());
    let pid = waiting.0.id();
    let known = wait::within(SOON, || {
        reported(&watching)?.commands.values().any(|command| command["pid"] == pid).then_some(())
    });
    assert!(known.is_some(), "{}", watching.errors());
    watching.signal(Signal::SIGTERM).unwrap();
    let status = watching.ends_within(SOON).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", watching.errors());
    drop(held);
}
