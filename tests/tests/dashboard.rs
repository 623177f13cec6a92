//! The dashboard on a real terminal (tmux): it names what is waited for while it is waited for,
//! and leaves the terminal as it was, whatever ends it.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use tests::go_env::{GoOptions, GoRun};
use tests::goobserve;
use tests::lab::Lab;
use tests::procs::{argv, descendants};
use tests::proxy::{self, Faults, HeadDelay, Matcher, ending};
use tests::{paths, skip, wait};

/// A shell on a terminal of 80×24 in the lab.
struct Tmux {
    run: GoRun,
    socket: String,
}

impl Tmux {
    fn start(lab: &Lab, name: &str) -> Self {
        Self::start_with(lab, name, &goobserve::binary().unwrap())
    }

    fn start_with(lab: &Lab, name: &str, binary: &Path) -> Self {
        let run = lab.go_run(&GoOptions::default()).unwrap();
        let tmux = Self { run, socket: format!("goobserve-{name}-{}", std::process::id()) };
        let mut command =
            tmux.command(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "sh"]);
        command.current_dir(tmux.run.project()).env("TERM", "xterm-256color").env("PS1", "$ ");
        command.env("GOOBSERVE", binary);
        assert!(lab.spawn(&mut command).unwrap().wait().unwrap().success(), "tmux starts");
        // tmux sets the terminal up before it starts the shell.
        let shell =
            wait::within(Duration::from_secs(20), || (!tmux.screen().trim().is_empty()).then_some(()));
        assert!(shell.is_some(), "a shell");
        tmux
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.run.command("tmux");
        command.args(["-L", &self.socket]).args(args);
        command
    }

    fn tmux(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn say(&self, line: &str) {
        self.tmux(&["send-keys", line, "Enter"]);
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// On the alternate screen, and with the mouse.
    fn modes(&self) -> String {
        let format = "#{alternate_on} #{mouse_any_flag} #{cursor_flag}";
        let shown = self.tmux(&["display-message", "-p", format]).stdout;
        String::from_utf8_lossy(&shown).trim().to_owned()
    }

    #[track_caller]
    fn until(&self, text: &str) -> String {
        let seen = wait::within(Duration::from_secs(20), || {
            let screen = self.screen();
            screen.contains(text).then_some(screen)
        });
        seen.unwrap_or_else(|| panic!("no {text:?} on the screen:\n{}", self.screen()))
    }

    /// The settings of the terminal, as `stty -g` says them.
    fn settings(&self) -> String {
        let tty = String::from_utf8(self.tmux(&["display-message", "-p", "#{pane_tty}"]).stdout).unwrap();
        let stty = Command::new("stty").args(["-g", "-F", tty.trim()]).output().unwrap();
        String::from_utf8(stty.stdout).unwrap()
    }

    /// goobserve's agent and worker.
    fn pids(&self) -> (u32, u32) {
        let shell = String::from_utf8(self.tmux(&["display-message", "-p", "#{pane_pid}"]).stdout).unwrap();
        let mut found = descendants(shell.trim().parse().unwrap());
        found.retain(|pid| argv(*pid).first().is_some_and(|name| name.contains("goobserve")));
        let is_worker = |pid: &u32| argv(*pid).get(1).is_some_and(|word| word == "__worker");
        let worker = found.iter().copied().find(is_worker).expect("a worker");
        let agent = found.iter().copied().find(|pid| !is_worker(pid)).expect("an agent");
        (agent, worker)
    }

    /// Waits until the terminal is what it was.
    #[track_caller]
    fn is_as_before(&self, settings: &str) {
        let back = wait::within(Duration::from_secs(10), || {
            (self.modes() == "0 0 1" && self.settings() == settings).then_some(())
        });
        assert!(back.is_some(), "modes {}, settings {}, before {settings}", self.modes(), self.settings());
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

fn lab(test: &str) -> Option<Lab> {
    if !skip::has(test, "tmux", "tmux") {
        return None;
    }
    Lab::for_test(test)
}

fn slow(lab: &Lab, matches: Matcher) {
    let delay = HeadDelay { matches, delay: Duration::from_secs(4) };
    lab.proxy.set_faults(Faults { head_delays: vec![delay], ..Faults::default() });
}

/// Seconds of the first wait that the screen reports, and the screen.
#[track_caller]
fn first_wait(tmux: &Tmux) -> (f64, String) {
    wait::until("a wait on the screen", || {
        let screen = tmux.screen();
        let mut reported =
            screen.lines().filter_map(|line| line.split_once(" waiting ")?.1.split_once(" s for "));
        let seconds = reported.find_map(|(seconds, _)| seconds.parse().ok())?;
        drop(reported);
        Some((seconds, screen))
    })
}

#[test]
fn the_waiting_line_names_the_checksum_database_or_the_zip_within_half_a_second() {
    let Some(lab) = lab("the_waiting_line_names_the_checksum_database_or_the_zip_within_half_a_second")
    else {
        return;
    };
    let cases = [
        ("sumdb", proxy::paths(|path| path.contains("/lookup/")), "the checksum database: lookup", ": zip"),
        ("zip", ending(".zip"), "proxy.test: zip", "the checksum database"),
    ];
    for (name, matcher, named, other) in cases {
        slow(&lab, matcher);
        let tmux = Tmux::start(&lab, name);
        let settings = tmux.settings();
        tmux.say("$GOOBSERVE run --tui --report none -- go mod download");
        let (seconds, screen) = first_wait(&tmux);
        assert!(screen.contains(named), "{screen}");
        assert!(!screen.lines().any(|line| line.contains("waiting ") && line.contains(other)), "{screen}");
        // The threshold is a second; what is longer than half a second beyond it was shown late.
        assert!((1.0..=1.5).contains(&seconds), "{seconds} s:\n{screen}");
        tmux.tmux(&["send-keys", "C-c"]);
        tmux.is_as_before(&settings);
    }
}

#[test]
fn leaving_gives_the_terminal_back_and_what_was_printed() {
    let Some(lab) = lab("leaving_gives_the_terminal_back_and_what_was_printed") else { return };
    let tmux = Tmux::start(&lab, "leave");
    let settings = tmux.settings();
    tmux.say("$GOOBSERVE run --tui --report none -- sh -c 'echo one line; sleep 2; echo another; exit 3'; echo status=$?");
    tmux.until("│ one line");
    tmux.tmux(&["send-keys", "q"]);
    tmux.is_as_before(&settings);
    let screen = tmux.until("status=3");
    assert!(screen.contains("another"), "{screen}");
    assert!(screen.contains("the command goes on"), "{screen}");
}

#[test]
fn the_report_stays_until_it_is_left_and_its_first_screen_is_printed() {
    const TEST: &str = "the_report_stays_until_it_is_left_and_its_first_screen_is_printed";
    let Some(lab) = lab(TEST) else { return };
    let tmux = Tmux::start(&lab, "report");
    let settings = tmux.settings();
    for key in ["q", "C-c"] {
        tmux.say("clear; $GOOBSERVE run --tui -- sh -c 'go mod download; exit 3'; echo status=$?");
        wait::until("the alternate screen", || tmux.modes().starts_with('1').then_some(()));
        // What only a report has; and it is on the screen that is left later.
        tmux.until("Where the time went");
        assert_eq!(tmux.modes().split(' ').next(), Some("1"), "{key}");
        // `r` leads to the views, where time stands, and back.
        tmux.tmux(&["send-keys", "r"]);
        tmux.until("1 timeline");
        tmux.tmux(&["send-keys", "2"]);
        tmux.until("class ");
        tmux.tmux(&["send-keys", "r"]);
        tmux.until("Where the time went");
        tmux.tmux(&["send-keys", key]);
        tmux.is_as_before(&settings);
        let screen = tmux.until("status=3");
        assert!(screen.contains("Where the time went"), "{key}: {screen}");
    }
}

#[test]
fn a_terminal_that_only_prints_lines_gets_lines() {
    let Some(lab) = lab("a_terminal_that_only_prints_lines_gets_lines") else { return };
    let tmux = Tmux::start(&lab, "dumb");
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/recordings/dns-timeout.jsonl");
    for (end, command, said) in [
        ("first", "run --tui --report none -- sh -c 'echo one; exit 3'".to_owned(), "takes a terminal"),
        ("second", format!("replay {}", recording.display()), "replay draws on a terminal"),
    ] {
        // All that it sends: nothing in it moves the cursor.
        tmux.say(&format!(
            "TERM=dumb script -qec \"$GOOBSERVE {command}\" sent > /dev/null; echo the {end} o''ver"
        ));
        tmux.until(&format!("the {end} over"));
        let sent = std::fs::read_to_string(tmux.run.project().join("sent")).unwrap();
        assert!(sent.contains(said), "{sent}");
        assert!(!sent.contains("\u{1b}[?1049h"), "{sent}");
        assert!(!sent.contains('\u{1b}'), "{sent}");
    }
}

#[test]
fn any_end_of_watch_gives_the_terminal_back() {
    let Some(lab) = lab("any_end_of_watch_gives_the_terminal_back") else { return };
    let tmux = Tmux::start(&lab, "ends");
    let settings = tmux.settings();
    for end in ["q", "C-c", "TERM", "HUP", "kill the agent", "kill the worker"] {
        tmux.say("clear; $GOOBSERVE watch");
        tmux.until("no go command runs");
        assert_eq!(tmux.modes().split(' ').next(), Some("1"), "{end}");
        let (agent, worker) = tmux.pids();
        let kill = |signal: &str, pid: u32| {
            assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
        };
        match end {
            "q" | "C-c" => _ = tmux.tmux(&["send-keys", end]),
            "TERM" => kill("-TERM", agent),
            "HUP" => kill("-HUP", agent),
            "kill the agent" => kill("-KILL", agent),
            _ => kill("-KILL", worker),
        }
        wait::within(Duration::from_secs(5), || tests::procs::state(worker).is_none().then_some(()));
        tmux.is_as_before(&settings);
        tmux.say("echo end=$?");
        let screen = tmux.until("end=");
        if matches!(end, "q" | "C-c" | "TERM" | "HUP") {
            assert!(tmux.until("end=0").contains("end=0"), "{end}: {screen}");
        }
    }
}

#[test]
fn a_panic_gives_the_terminal_back_and_says_so() {
    const TEST: &str = "a_panic_gives_the_terminal_back_and_says_so";
    const SAID: &str = "F12 asked for a panic";
    // A key that only builds for development have; `cargo test` makes one beside the tests.
    let debug = paths::target().join("debug/goobserve");
    if !debug.is_file() {
        return skip::skipped(TEST, "needs a debug build: cargo build -p observer");
    }
    let Some(lab) = lab(TEST) else { return };
    let tmux = Tmux::start_with(&lab, "panic", &debug);
    let settings = tmux.settings();
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/recordings/dns-timeout.jsonl");
    let cases = [
        ("watch".to_owned(), "no go command runs"),
        ("run --tui --report none -- sleep 3".to_owned(), "sleep 3"),
        (format!("replay {}", recording.display()), "go mod download"),
    ];
    for (command, shown) in cases {
        tmux.say(&format!("clear; $GOOBSERVE {command}; echo end=$?"));
        tmux.until(shown);
        wait::until("the alternate screen", || tmux.modes().starts_with('1').then_some(()));
        tmux.tmux(&["send-keys", "F12"]);
        tmux.is_as_before(&settings);
        let screen = tmux.until("end=");
        assert!(screen.contains(SAID), "{command}: {screen}");
    }
    let release = goobserve::binary().unwrap();
    assert!(release != debug, "the release build is not tested");
    let release = std::fs::read(release).unwrap();
    assert!(
        !release.windows(SAID.len()).any(|bytes| bytes == SAID.as_bytes()),
        "the release has the key too"
    );
}

#[test]
fn a_terminal_that_is_closed_leaves_nothing_behind() {
    let Some(lab) = lab("a_terminal_that_is_closed_leaves_nothing_behind") else { return };
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/recordings/dns-timeout.jsonl");
    let commands = [
        "watch".to_owned(),
        "run --tui --report none -- sleep 1".to_owned(),
        format!("replay {}", recording.display()),
    ];
    for command in commands {
        let tmux = Tmux::start(&lab, "closed");
        tmux.say(&format!("$GOOBSERVE {command}"));
        wait::until("the alternate screen", || tmux.modes().starts_with('1').then_some(()));
        let shell = String::from_utf8(tmux.tmux(&["display-message", "-p", "#{pane_pid}"]).stdout).unwrap();
        let pids = descendants(shell.trim().parse().unwrap());
        assert_ne!(pids, [] as [u32; 0]);
        tmux.tmux(&["kill-server"]);
        let left =
            || pids.iter().copied().filter(|pid| tests::procs::state(*pid).is_some()).collect::<Vec<_>>();
        let over = wait::within(Duration::from_secs(10), || left().is_empty().then_some(()));
        assert!(
            over.is_some(),
            "{command}: {:?} go on",
            left().iter().map(|pid| argv(*pid)).collect::<Vec<_>>()
        );
    }
}

#[test]
fn leaving_ends_what_is_drawn_also_when_the_agent_hangs() {
    let Some(lab) = lab("leaving_ends_what_is_drawn_also_when_the_agent_hangs") else { return };
    let tmux = Tmux::start(&lab, "hangs");
    let settings = tmux.settings();
    // Of a shell that waits for all of it: a stopped process alone does not give the terminal back.
    tmux.say("sh -c '$GOOBSERVE watch; true'");
    tmux.until("no go command runs");
    let (agent, worker) = tmux.pids();
    let signal = |signal: &str| {
        assert!(Command::new("kill").args([signal, &agent.to_string()]).status().unwrap().success());
    };
    signal("-STOP");
    tmux.tmux(&["send-keys", "q"]);
    let gone = wait::within(Duration::from_secs(6), || tests::procs::state(worker).is_none().then_some(()));
    signal("-CONT");
    assert!(gone.is_some(), "the worker is there still:\n{}", tmux.screen());
    tmux.is_as_before(&settings);
}
