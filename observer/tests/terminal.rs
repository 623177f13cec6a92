//! `goobserve run` on a terminal: Ctrl-C, Ctrl-Z, the window's size, exit statuses, a death in
//! the wrong moment. The observation is replaced by one that sees nothing; the rest is the real
//! thing. Each scenario starts this program again on a pseudo terminal, below a process that
//! does a shell's job control.

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: observing takes Linux");
}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, ExitStatus, Stdio, exit};
    use std::time::{Duration, Instant};

    use libtest_mimic::{Arguments, Trial};
    use model::user_error::UserError;
    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::pty::{ForkptyResult, Winsize, forkpty};
    use nix::sys::signal::{SigHandler, Signal, kill, killpg, signal};
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::{Pid, tcsetpgrp};
    use observer::cli::options::RunOptions;
    use observer::run::procfs::Live;
    use observer::run::progress::Progress;
    use observer::run::{Attach, Observation, Target, execute, invoker};

    const LIMIT: Duration = Duration::from_secs(20);

    pub(crate) fn main() {
        let args: Vec<OsString> = std::env::args_os().skip(1).collect();
        if let Some((mode, command)) = args.split_first()
            && let Some(mode) = mode.to_str().and_then(|mode| mode.strip_prefix("--as="))
        {
            exit(match mode {
                "progress" => draw(),
                mode => play(mode, command),
            });
        }
        let scenarios: [(&str, fn()); 11] = [
            ("statuses_are_the_commands_own", statuses),
            ("ctrl_c_ends_the_command_and_the_waiter_survives", ctrl_c),
            ("a_command_that_handles_ctrl_c_decides_itself", ctrl_c_handled),
            ("ctrl_z_stops_both_and_a_continue_continues_both", ctrl_z),
            ("the_window_size_is_the_terminals", window_size),
            ("a_signal_for_goobserve_alone_reaches_the_command", passed_on),
            ("nohup_still_works", nohup),
            ("an_observation_that_fails_leaves_the_command_alone", failing),
            ("a_refused_attachment_is_125_and_nothing_runs", refused),
            ("a_held_command_whose_parent_is_killed_exits", killed_while_held),
            ("the_progress_line_keeps_out_of_the_way", progress),
        ];
        let mut arguments = Arguments::from_args();
        // A fork takes a program with one thread.
        arguments.test_threads = Some(1);
        let trials = scenarios.map(|(name, scenario)| {
            Trial::test(name, move || {
                scenario();
                Ok(())
            })
        });
        libtest_mimic::run(&arguments, trials.into()).exit();
    }

    /// Sees nothing, and says on stdout when it is reported of an end.
    struct Blind {
        mode: String,
    }

    impl Attach for Blind {
        fn attach(&self, _: &RunOptions, target: &Target<'_>) -> Result<Box<dyn Observation>, UserError> {
            match self.mode.as_str() {
                "refuse" => return Err(UserError::new("cannot attach", "do not")),
                "hold" => {
                    println!("held {}", target.pid);
                    loop {
                        nix::unistd::pause();
                    }
                }
                _ => {}
            }
            let fails = (self.mode == "fail").then(|| File::open("/dev/zero").expect("/dev/zero").into());
            Ok(Box::new(BlindObservation { fails }))
        }
    }

    struct BlindObservation {
        fails: Option<OwnedFd>,
    }

    impl Observation for BlindObservation {
        fn descriptor(&self) -> Option<PollFd<'_>> {
            self.fails.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN))
        }

        fn serve(&mut self) -> Result<(), UserError> {
            if self.fails.is_some() { Err(UserError::new("the worker is gone", "")) } else { Ok(()) }
        }

        fn finish(self: Box<Self>, ended: Option<ExitStatus>) -> Result<(), UserError> {
            println!("finish {:?}", ended.map(observer::run::job::exit_status));
            Ok(())
        }
    }

    /// goobserve's part.
    fn play(mode: &str, command: &[OsString]) -> i32 {
        // Keys typed earlier would reach the shell.
        eventually("we are in the foreground", || {
            nix::unistd::tcgetpgrp(std::io::stdin()).map_or(true, |group| group == nix::unistd::getpgrp())
        });
        let options = RunOptions { command: command.to_vec(), ..RunOptions::default() };
        let me = invoker::find(&Live, model::id::Pid(std::process::id()));
        let attach = Blind { mode: mode.into() };
        execute(&options, &me, &attach, &mut |_, what, hint| println!("say {what} | {hint}"))
    }

    /// A terminal, with goobserve's part in its foreground.
    struct Terminal {
        master: File,
        seen: String,
        shell: Pid,
    }

    impl Terminal {
        fn run(mode: &str, command: &[&str]) -> Self {
            let size = Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
            #[expect(unsafe_code, reason = "a terminal of one's own takes a fork")]
            // SAFETY: this program has one thread.
            let forked = unsafe { forkpty(&size, None) }.expect("forkpty");
            match forked {
                ForkptyResult::Child => exit(shell(mode, command)),
                ForkptyResult::Parent { child, master } => {
                    Self { master: master.into(), seen: String::new(), shell: child }
                }
            }
        }

        fn sh(mode: &str, script: &str) -> Self {
            Self::run(mode, &["/bin/sh", "-c", script])
        }

        fn keys(&mut self, keys: &str) {
            self.master.write_all(keys.as_bytes()).expect("the terminal takes keys");
        }

        /// Reads until `text` has been seen; what came before it is dropped.
        fn until(&mut self, text: &str) -> String {
            let deadline = Instant::now() + LIMIT;
            loop {
                if let Some(at) = self.seen.find(text) {
                    let rest = self.seen.split_off(at + text.len());
                    return std::mem::replace(&mut self.seen, rest);
                }
                assert!(Instant::now() < deadline && self.more(), "no {text:?} in {:?}", self.seen);
            }
        }

        /// The number that follows `text`.
        fn number(&mut self, text: &str) -> i32 {
            self.until(text);
            self.until("\n").trim().parse().expect("a number")
        }

        fn more(&mut self) -> bool {
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(1000u16)) == Ok(0) {
                return true;
            }
            let mut bytes = [0; 4096];
            // EIO: nobody has the terminal open any more.
            match self.master.read(&mut bytes) {
                Ok(0) | Err(_) => false,
                Ok(n) => {
                    self.seen.push_str(&String::from_utf8_lossy(&bytes[..n]));
                    true
                }
            }
        }

        /// goobserve's exit status, and all that is left to be seen.
        fn end(mut self) -> (i32, String) {
            let deadline = Instant::now() + LIMIT;
            while self.more() {
                assert!(Instant::now() < deadline, "no end after {:?}", self.seen);
            }
            match waitpid(self.shell, None) {
                Ok(WaitStatus::Exited(_, status)) => (status, self.seen),
                other => panic!("{other:?} after {:?}", self.seen),
            }
        }
    }

    /// What an interactive shell does for one job. A stop is said on the terminal, and continued
    /// when SIGUSR1 comes. Returns the job's status.
    fn shell(mode: &str, command: &[&str]) -> i32 {
        let me = std::env::current_exe().expect("own path");
        let mut job = Command::new(me);
        job.arg(format!("--as={mode}")).args(command).process_group(0);
        #[expect(clippy::zombie_processes, reason = "waited for below, stops included")]
        let job = job.spawn().expect("goobserve's part");
        let job = Pid::from_raw(job.id().cast_signed());
        let foreground = || tcsetpgrp(std::io::stdin(), job);
        #[expect(unsafe_code, reason = "signal is unsafe for the sake of handlers")]
        // SAFETY: no handler is installed.
        unsafe { signal(Signal::SIGTTOU, SigHandler::SigIgn) }.expect("signal");
        foreground().expect("tcsetpgrp");
        loop {
            match waitpid(job, Some(WaitPidFlag::WUNTRACED)) {
                Ok(WaitStatus::Stopped(..)) => {
                    tcsetpgrp(std::io::stdin(), nix::unistd::getpgrp()).expect("tcsetpgrp");
                    println!("stopped {job}");
                    let mut line = String::new();
                    std::io::stdin().read_line(&mut line).expect("fg");
                    foreground().expect("tcsetpgrp");
                    killpg(job, Signal::SIGCONT).expect("SIGCONT");
                }
                Ok(WaitStatus::Exited(_, status)) => return status,
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    println!("goobserve was ended by {signal}");
                    return 255;
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => panic!("waitpid: {errno}"),
            }
        }
    }

    fn state(pid: i32) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !condition() {
            assert!(Instant::now() < deadline, "never: {what}");
            std::thread::yield_now();
        }
    }

    fn parent(pid: i32) -> i32 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("PPid");
        line.trim().parse().expect("a pid")
    }

    fn statuses() {
        for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
        {
            let (got, seen) = Terminal::sh("run", script).end();
            assert_eq!(got, status, "{script}: {seen}");
            assert!(seen.contains(&format!("finish Some({status})")), "{seen}");
        }
        let (got, seen) = Terminal::run("run", &["no-such-command"]).end();
        assert_eq!(got, 127, "{seen}");
        assert!(seen.contains("no-such-command: not found"), "{seen}");
        assert_eq!(Terminal::run("run", &["/proc/version"]).end().0, 126);
    }

    fn ctrl_c() {
        let mut terminal = Terminal::sh("run", "stty -a >/dev/null; echo ready; exec sleep 1000");
        terminal.until("ready");
        terminal.keys("\x03");
        let (status, seen) = terminal.end();
        assert_eq!(status, 130, "{seen}");
        assert!(seen.contains("finish Some(130)"), "{seen}");
    }

    fn ctrl_c_handled() {
        let mut terminal =
            Terminal::sh("run", "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 1; done");
        terminal.until("ready");
        terminal.keys("\x03");
        terminal.until("caught");
        assert_eq!(terminal.end().0, 5);
    }

    fn ctrl_z() {
        let mut terminal = Terminal::sh("run", "echo pid $$; read line; echo got $line; exit 9");
        let command = terminal.number("pid ");
        let goobserve = parent(command);
        terminal.keys("\x1a");
        terminal.until("stopped ");
        eventually("both are stopped", || state(command) == Some('T') && state(goobserve) == Some('T'));
        terminal.keys("fg\n");
        eventually("both go on", || state(command) != Some('T') && state(goobserve) != Some('T'));
        terminal.keys("hello\n");
        terminal.until("got hello");
        assert_eq!(terminal.end().0, 9);
    }

    fn window_size() {
        let mut terminal = Terminal::run("run", &["stty", "size"]);
        terminal.until("33 77");
        assert_eq!(terminal.end().0, 0);
    }

    fn passed_on() {
        for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 130)] {
            let mut terminal = Terminal::sh("run", "echo pid $$; exec sleep 1000");
            let command = terminal.number("pid ");
            kill(Pid::from_raw(parent(command)), signal).expect("kill");
            let (got, seen) = terminal.end();
            assert_eq!(got, status, "{seen}");
            assert!(seen.contains("finish"), "{seen}");
        }
    }

    fn nohup() {
        // The command, started with SIGHUP ignored, does not see one that goobserve gets.
        let me = std::env::current_exe().expect("own path");
        let script = "trap '' HUP; exec \"$0\" --as=run /bin/sh -c 'echo pid $$; kill -HUP $PPID; kill -HUP $$; exit 4'";
        let output =
            Command::new("/bin/sh").args(["-c", script]).arg(me).stdin(Stdio::null()).output().expect("sh");
        assert_eq!(output.status.code(), Some(4), "{output:?}");
    }

    fn failing() {
        let mut terminal = Terminal::sh("fail", "echo ready; read line; exit 6");
        terminal.until("observation ended early: the worker is gone");
        terminal.keys("\n");
        assert_eq!(terminal.end().0, 6);
    }

    fn refused() {
        let (status, seen) = Terminal::sh("refuse", "echo it did run").end();
        assert_eq!(status, 125, "{seen}");
        assert!(seen.contains("say cannot attach | do not") && !seen.contains("it did run"), "{seen}");
    }

    fn killed_while_held() {
        let mut terminal = Terminal::sh("hold", "echo it did run");
        let command = terminal.number("held ");
        kill(Pid::from_raw(parent(command)), Signal::SIGKILL).expect("kill");
        eventually("the command is gone", || matches!(state(command), None | Some('Z')));
        let (_, seen) = terminal.end();
        assert!(!seen.contains("it did run"), "{seen}");
    }

    /// The worker's part in the last scenario: one attempt with echo, one without, one in the
    /// presence of a reader, one more with echo. What is drawn goes to the terminal.
    fn draw() -> i32 {
        let tty = || File::options().read(true).write(true).open("/dev/tty").expect("a terminal");
        let foreground = || nix::unistd::tcgetpgrp(tty()).ok() == Some(nix::unistd::getpgrp());
        eventually("we are in the foreground", foreground);
        let mut progress = Progress::new(tty()).expect("a terminal");
        let mut later = Instant::now();
        progress.tick_at(later, "too early", &[]);
        let mut tick = |progress: &mut Progress, text: &str, pids: &[model::id::Pid]| {
            later += Duration::from_secs(2);
            progress.tick_at(later, text, pids);
        };
        tick(&mut progress, "with echo", &[]);
        let echo = |on: bool| {
            let mut modes = tcgetattr(tty()).expect("tcgetattr");
            modes.local_flags.set(LocalFlags::ECHO, on);
            tcsetattr(tty(), SetArg::TCSANOW, &modes).expect("tcsetattr");
        };
        echo(false);
        tick(&mut progress, "without echo", &[]);
        echo(true);
        let mut reader = Command::new("cat").stdin(tty()).spawn().expect("cat");
        let reading = || {
            let call = std::fs::read_to_string(format!("/proc/{}/syscall", reader.id())).unwrap_or_default();
            call.starts_with(&format!("{} 0x0 ", libc::SYS_read))
        };
        eventually("cat reads the terminal", reading);
        tick(&mut progress, "during a query", &[model::id::Pid(reader.id())]);
        let _ = reader.kill();
        let _ = reader.wait();
        tick(
            &mut progress,
            "a line longer than the terminal is wide, which must not reach its last column",
            &[],
        );
        drop(progress);
        println!("done");
        0
    }

    fn progress() {
        let (status, seen) = Terminal::run("progress", &[]).end();
        assert_eq!(status, 0, "{seen}");
        assert!(seen.contains("\r\x1b[2mwith echo\x1b[0m\x1b[K\r"), "{seen:?}");
        for silent in ["too early", "without echo", "during a query"] {
            assert!(!seen.contains(silent), "{silent}: {seen:?}");
        }
        let long =
            seen.rsplit("\x1b[2m").next().and_then(|rest| rest.split('\x1b').next()).unwrap_or_default();
        assert_eq!(long.len(), 76, "{seen:?}");
        assert!(seen.contains("\r\x1b[Kdone"), "the line is cleared: {seen:?}");
    }
}
