//! `goobserve run` on a terminal, below a shell with job control: the keys, the window, the
//! progress line, a hang-up.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tests::goobserve::binary;
use tests::procs::{self, state};
use tests::pty::{CTRL_C, CTRL_Z, Terminal};
use tests::{paths, skip, wait};

/// How a progress line begins, and how it is removed.
const DRAWN: &str = "\r\x1b[2m";
const REMOVED: &str = "\r\x1b[K";
/// A line of every report.
const REPORT: &str = "Where the time went";
/// The shell's part: what it does after goobserve (`$1`) has run the script (`$2`) is in the
/// test.
const RUN: &str = "\"$1\" run -- sh -c \"$2\"";

fn folder(test: &str) -> Option<TempDir> {
    skip::is_root(test).then(|| paths::temp("goobserve-terminal-").unwrap())
}

/// Starts the shell script with goobserve as `$1` and `script` as `$2`, in the folder.
fn terminal(folder: &Path, shell: &str, script: &str) -> Terminal {
    let words = [binary().unwrap().into_os_string(), script.into()];
    let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
    Terminal::run(shell, &words, |command| {
        command.current_dir(folder);
    })
    .unwrap()
}

/// Waits until the process is stopped, or is not.
#[track_caller]
fn until_stopped(pid: u32, stopped: bool) {
    wait::until("a stop or its end", || {
        let state = state(pid).expect("the process is still there");
        ((state == "T") == stopped).then_some(())
    });
}

#[test]
fn ctrl_c_is_130_and_the_report_is_printed() {
    let Some(folder) = folder("ctrl_c_is_130_and_the_report_is_printed") else { return };
    let mut terminal =
        terminal(folder.path(), &format!("{RUN}; echo status=$?"), "echo ready; exec sleep 1000");
    terminal.until("ready");
    terminal.keys(CTRL_C).unwrap();
    let report = terminal.until("status=");
    assert!(report.contains("sleep 1000") && report.contains(REPORT), "{report}");
    assert!(terminal.end().starts_with("130"));
}

#[test]
fn a_command_that_survives_ctrl_c_goes_on() {
    let Some(folder) = folder("a_command_that_survives_ctrl_c_goes_on") else { return };
    let script = "trap 'echo caught' INT; echo ready; read answer; echo got $answer; exit 7";
    let mut terminal = terminal(folder.path(), &format!("{RUN}; echo status=$?"), script);
    terminal.until("ready");
    terminal.keys(CTRL_C).unwrap();
    terminal.until("caught");
    terminal.keys("\nyes\n").unwrap();
    terminal.until("status=7");
}

#[test]
fn ctrl_z_stops_all_and_fg_continues_all() {
    let Some(folder) = folder("ctrl_z_stops_all_and_fg_continues_all") else { return };
    let shell = format!("{RUN}; echo stopped $?; read answer; fg; echo status=$?");
    let mut terminal = terminal(folder.path(), &shell, "echo command $$; exec sleep 1000");
    terminal.until("command ");
    let command: u32 = terminal.until("\r\n").parse().unwrap();
    let goobserve = terminal.foreground().unwrap();
    assert_eq!(procs::status(command, "PPid").unwrap(), [goobserve.to_string()]);

    terminal.keys(CTRL_Z).unwrap();
    terminal.until("stopped 14");
    for pid in [goobserve, command] {
        until_stopped(pid, true);
    }
    terminal.keys("\n").unwrap();
    for pid in [goobserve, command] {
        until_stopped(pid, false);
    }
    wait::until("goobserve in the foreground", || (terminal.foreground() == Some(goobserve)).then_some(()));
    terminal.keys(CTRL_C).unwrap();
    terminal.until("status=130");
}

#[test]
fn a_resized_window_reaches_the_command() {
    let Some(folder) = folder("a_resized_window_reaches_the_command") else { return };
    let script = "trap 'stty size; exit 0' WINCH; stty size; while :; do sleep 0.1; done";
    let mut terminal = terminal(folder.path(), &format!("{RUN}; echo status=$?"), script);
    terminal.until("33 100");
    terminal.resize(20, 50).unwrap();
    terminal.until("20 50");
    terminal.until("status=0");
}

#[test]
fn a_progress_line_is_drawn_after_a_second_and_gone_at_the_end() {
    let test = "a_progress_line_is_drawn_after_a_second_and_gone_at_the_end";
    let Some(folder) = folder(test) else { return };
    let script = "echo ready; while [ ! -e go ]; do sleep 0.05; done; echo last";
    let mut terminal = terminal(folder.path(), &format!("{RUN}; echo status=$?"), script);
    terminal.until("ready");
    terminal.until(DRAWN);
    let line = terminal.until("\x1b[0m\x1b[K\r");
    assert!(line.contains("s · 0 requests"), "{line:?}");
    fs::write(folder.path().join("go"), "").unwrap();
    let rest = terminal.until("status=0");
    let cleared = rest.rfind(REMOVED).unwrap_or_else(|| panic!("it stays: {rest:?}"));
    assert!(rest.rfind(DRAWN).is_none_or(|drawn| drawn < cleared), "{rest:?}");
    let report = rest.find(REPORT).unwrap_or_else(|| panic!("no report: {rest:?}"));
    assert!(cleared < report, "it was removed before the report: {rest:?}");
}

#[test]
fn q_draws_nothing() {
    let Some(folder) = folder("q_draws_nothing") else { return };
    let shell = "\"$1\" run -q -- sh -c \"$2\"; echo status=$?";
    let script = "echo ready; while [ ! -e go ]; do sleep 0.05; done";
    let mut terminal = terminal(folder.path(), shell, script);
    terminal.until("ready");
    let shown = terminal.during(Duration::from_millis(2500));
    assert_eq!(shown, "\r\n");
    fs::write(folder.path().join("go"), "").unwrap();
    terminal.until("status=0");
}

#[test]
fn a_password_prompt_is_not_painted_over() {
    let Some(folder) = folder("a_password_prompt_is_not_painted_over") else { return };
    // Afterwards the command waits for a file, so that a line is drawn that could have been
    // drawn before.
    let script = "stty -echo; printf 'Password: '; read x </dev/tty; stty echo; echo; echo got $x
        while [ ! -e go ]; do sleep 0.05; done";
    let mut terminal = terminal(folder.path(), &format!("{RUN}; echo status=$?"), script);
    terminal.until("Password: ");
    assert_eq!(terminal.during(Duration::from_millis(2500)), "");
    terminal.keys("secret\n").unwrap();
    terminal.until("got secret");
    terminal.until(DRAWN);
    fs::write(folder.path().join("go"), "").unwrap();
    terminal.until("status=0");
}

#[test]
fn a_prompt_with_echo_is_not_painted_over() {
    let Some(folder) = folder("a_prompt_with_echo_is_not_painted_over") else { return };
    let script = "printf 'Go on? '; read x; echo got $x";
    let mut terminal = terminal(folder.path(), &format!("{RUN}; echo status=$?"), script);
    terminal.until("Go on? ");
    assert_eq!(terminal.during(Duration::from_millis(2500)), "");
    terminal.keys("yes\n").unwrap();
    terminal.until("got yes");
    terminal.until("status=0");
}

#[test]
fn nohup_outlives_the_terminal_and_reports() {
    let Some(folder) = folder("nohup_outlives_the_terminal_and_reports") else { return };
    let shell = "nohup \"$1\" run --json report.json -- sh -c \"$2\"";
    let script = "echo $$ > pid; while [ ! -e go ]; do sleep 0.05; done; exit 7";
    let terminal = terminal(folder.path(), shell, script);
    let file = |name: &str| folder.path().join(name);
    let command: u32 = wait::until("the command", || {
        fs::read_to_string(file("pid")).ok().and_then(|text| text.trim().parse().ok())
    });
    let shell = terminal.shell();
    drop(terminal);
    wait::until("the shell's end", || state(shell).is_none().then_some(()));
    assert!(state(command).is_some(), "the command goes on");
    fs::write(file("go"), "").unwrap();
    let report = wait::until("the report", || fs::read(file("report.json")).ok());
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["commands"][0]["exit_code"], 7);
    wait::until("the printed report", || {
        fs::read_to_string(file("nohup.out")).ok().filter(|text| text.contains(REPORT))
    });
}

/// Nobody between goobserve and the terminal: it leads the session, as with `ssh -t host goobserve …`
/// and `xterm -e goobserve …`.
#[track_caller]
fn everything_ends_at_a_hang_up(folder: &Path, options: &str, ready: &str) {
    let shell = format!("exec \"$1\" {options} -- sh -c \"$2\"");
    let script = "echo $$ > pid; echo ready; sleep 1000; true";
    let mut terminal = terminal(folder, &shell, script);
    terminal.until(ready);
    let command: u32 = wait::until("the command", || {
        fs::read_to_string(folder.join("pid")).ok().and_then(|text| text.trim().parse().ok())
    });
    let goobserve = terminal.shell();
    let processes = procs::descendants(goobserve);
    assert!(processes.contains(&command), "{processes:?}");
    let child = terminal.hang_up().unwrap();
    let ended = wait::until("goobserve's end", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(128 + 1), "the command ended by the hang-up");
    for process in processes {
        wait::until("the end of every process", || state(process).is_none().then_some(()));
    }
}

#[test]
fn a_hang_up_ends_the_command_and_its_report_is_written() {
    let Some(folder) = folder("a_hang_up_ends_the_command_and_its_report_is_written") else { return };
    everything_ends_at_a_hang_up(folder.path(), "run --json report.json --record r.jsonl", "ready");
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["commands"][0]["signal"], 1);
    let recording = fs::read_to_string(folder.path().join("r.jsonl")).unwrap();
    assert!(recording.lines().last().unwrap().contains("\"type\":\"end\""), "{recording}");
}

#[test]
fn a_hang_up_ends_the_dashboard_as_well() {
    let Some(folder) = folder("a_hang_up_ends_the_dashboard_as_well") else { return };
    everything_ends_at_a_hang_up(folder.path(), "run --tui --json report.json", "ready");
    assert!(folder.path().join("report.json").exists());
}

#[test]
fn a_hang_up_ends_watch() {
    let Some(folder) = folder("a_hang_up_ends_watch") else { return };
    let mut terminal = terminal(folder.path(), "exec \"$1\" watch --record r.jsonl", "");
    // The alternate screen.
    terminal.until("\x1b[?1049h");
    wait::until("the worker", || procs::worker_below(terminal.shell()));
    let child = terminal.hang_up().unwrap();
    wait::until("goobserve's end", || child.try_wait().unwrap());
}
