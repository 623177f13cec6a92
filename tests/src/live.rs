//! `goobserve watch --output jsonl`, read while it runs.

use serde_json::Value;

use crate::go_env::GoRun;
use crate::lab::Lab;
use crate::running::Running;
use crate::wait;

/// Starts `goobserve watch` with these arguments, and waits until it watches.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn watching(lab: &Lab, run: &GoRun, args: &[&str]) -> Running {
    let command = run.goobserve().and_then(|mut command| lab.begin(command.arg("watch").args(args)));
    let running = command.unwrap_or_else(|error| panic!("{error:#}"));
    wait::until("goobserve to watch", || running.stderr().contains("watching every go").then_some(()));
    running
}

/// The whole lines that were printed by now.
///
/// # Panics
/// When one is no JSON.
#[track_caller]
pub fn lines(printed: &str) -> Vec<Value> {
    let whole = printed.rsplit_once('\n').unwrap_or_default().0;
    let parsed = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    whole.lines().map(parsed).collect()
}

/// Lines about the command whose topmost process is `pid`.
pub fn of_command(lines: &[Value], pid: u32) -> impl Iterator<Item = &Value> {
    let command = lines.iter().find(|line| line["type"] == "command" && line["pid"] == pid);
    let id = command.map(|line| line["command"].clone());
    lines.iter().filter(move |line| id.as_ref().is_some_and(|id| line["command"] == *id))
}

/// Waits for the first line of that type about that command that fits.
///
/// # Panics
/// When none comes.
#[track_caller]
pub fn line(watch: &Running, pid: u32, of_type: &str, fits: impl Fn(&Value) -> bool) -> Value {
    wait::until(of_type, || {
        let lines = lines(&watch.stdout());
        of_command(&lines, pid).find(|line| line["type"] == of_type && fits(line)).cloned()
    })
}
