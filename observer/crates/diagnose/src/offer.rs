//! What may be tried against a finding. In: a remedy and why it may help. Out: the report's entry,
//! with what the variable was until now and a line that can be pasted into a shell.

use std::ffi::OsString;
use std::path::Path;

use model::clean::clean;
use model::human::duration;
use model::record::{Command, Container, Go};
use model::remedy::{RUNS_IN_ALL, Remedies, Remedy};
use model::report;
use model::shell;
use model::time::Ns;

use super::case::Case;

/// Remedies that belong together, and why they may help.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Offer {
    with: Vec<String>,
    why: String,
}

/// A command that takes longer than this when it is compared is said to, nanoseconds.
const LONG_NS: Ns = 60_000_000_000;

impl Offer {
    /// One remedy, as after `--with`.
    pub(crate) fn new(with: impl Into<String>, why: impl Into<String>) -> Self {
        Self::all(vec![with.into()], why)
    }

    /// Several that only help together.
    pub(crate) fn all(with: Vec<String>, why: impl Into<String>) -> Self {
        Self { with, why: why.into() }
    }

    /// What it sets, as in an environment; nothing of remedies that are no variables.
    pub(crate) fn variables(&self) -> String {
        let variables = self.with.iter().filter_map(|with| with.strip_prefix("env="));
        variables.collect::<Vec<_>>().join(" ")
    }

    /// As the report has it. `limit`: what stands before the command, for one that may hang.
    pub(crate) fn remedy(self, case: &Case<'_>, limit: &str) -> report::Remedy {
        let (record, mut why) = (case.record, self.why);
        for note in self.with.iter().filter_map(|with| was(&record.go, with)) {
            why.push_str(&format!("; {note}"));
        }
        let with: Vec<String> =
            self.with.iter().map(|with| format!("--with {}", shell::word(with))).collect();
        let with = with.join(" ");
        if let Some(container) = &record.container {
            let attempt = inside(record, container, &self.with);
            if attempt.is_none() {
                why.push_str("; it has to be set inside of the container");
            }
            return report::Remedy { name: self.with.join(" + "), why, attempt: attempt.unwrap_or_default() };
        }
        // What starts a command again is no way to compare, and needs no limit.
        let verb = if self.with.iter().any(|with| with == "deadline") { "run" } else { "compare" };
        let attempt = line(record, verb, &with, if verb == "run" { "" } else { limit });
        if attempt.is_none() {
            why.push_str(&format!(
                "; its command line is not shown whole: repeat it behind goobserve {verb} {with} --"
            ));
        } else if verb == "compare"
            && let Some(often) = often(record, case.wall_ns())
        {
            why.push_str(&format!("; {often}"));
        }
        report::Remedy { name: self.with.join(" + "), why, attempt: attempt.unwrap_or_default() }
    }
}

/// What the variable is that a remedy sets, for the reader to see what is kept and what is not.
fn was(go: &Go, with: &str) -> Option<String> {
    let remedy: Remedy = with.parse().ok()?;
    let name = remedy.variable()?;
    let now = |value: Option<String>| Some(format!("{name} is {} now", value?));
    let kept = |value: &str| match value {
        "" => format!("{name} is not set now"),
        value => format!("{name} is {value} now, which is kept"),
    };
    match name {
        "GODEBUG" => {
            Some(go.godebug.as_deref().map_or_else(|| "what GODEBUG holds is kept".to_owned(), kept))
        }
        "GOMAXPROCS" => now(go.gomaxprocs.map(|n| n.to_string())),
        "GOPROXY" => now(go.goproxy.clone()),
        "GOSUMDB" => now(go.gosumdb.clone()),
        "GOPRIVATE" => go.goprivate.as_deref().map(kept),
        "GONOPROXY" => go.gonoproxy.as_deref().map(kept),
        "GONOSUMDB" => go.gonosumdb.as_deref().map(kept),
        _ => None,
    }
}

/// How often `compare` runs the command, where that takes long or does more than download.
fn often(record: &Command, wall_ns: Ns) -> Option<String> {
    let all_ns = wall_ns.saturating_mul(RUNS_IN_ALL);
    let downloads = record.argv.windows(2).any(|pair| pair[0] == "mod" && pair[1] == "download");
    if downloads && all_ns < LONG_NS {
        return None;
    }
    let about = if all_ns < LONG_NS { String::new() } else { format!(", up to {}", duration(all_ns)) };
    Some(format!("compare runs the command {RUNS_IN_ALL} times{about}"))
}

/// The line that tries it, from any folder. `None` when the command is not known whole, or has
/// characters in it that a terminal does not show as they are.
fn line(record: &Command, verb: &str, with: &str, limit: &str) -> Option<String> {
    let folder = record.cwd.as_deref().map(|folder| format!("cd {} && ", shell::word(folder)));
    // Who was root already may have no sudo.
    let sudo = if record.uid == Some(0) { "" } else { "sudo " };
    let line = format!(
        "{}{sudo}goobserve {verb} {with} -- {limit}{}",
        folder.unwrap_or_default(),
        shell::line(&record.argv)
    );
    let whole = !record.argv.is_empty() && !line.contains(['…', '\u{fffd}']) && clean(&line) == line;
    whole.then_some(line)
}

/// The line that tries it in the container that the command is in, from outside; `None` when it is no variable,
/// the engine has no command for that, or the command is not known whole.
fn inside(record: &Command, container: &Container, with: &[String]) -> Option<String> {
    if !matches!(container.engine.as_str(), "podman" | "docker") {
        return None;
    }
    let remedies: Result<Vec<Remedy>, _> = with.iter().map(|with| with.parse()).collect();
    let remedies = Remedies::new(remedies.ok()?).ok()?;
    if remedies.iter().any(|remedy| remedy.variable().is_none()) || remedies.has_gateway() {
        return None;
    }
    // GODEBUG holds other keys, which stay.
    let mut env: Vec<(OsString, OsString)> =
        record.go.godebug.iter().map(|value| ("GODEBUG".into(), value.into())).collect();
    let before = env.clone();
    remedies.change(&mut env);
    let flags = env.into_iter().filter(|pair| !before.contains(pair)).map(|(name, value)| {
        let pair = format!("{}={}", name.to_string_lossy(), value.to_string_lossy());
        format!("-e {} ", shell::word(&pair))
    });
    let folder =
        record.cwd.as_deref().map_or_else(String::new, |folder| format!("-w {} ", shell::word(folder)));
    let sudo = if record.uid == Some(0) { "" } else { "sudo " };
    let line = format!(
        "{sudo}{} exec {}{folder}{} {}",
        container.engine,
        flags.collect::<String>(),
        shell::word(container.called()),
        shell::line(&record.argv)
    );
    let whole = !record.argv.is_empty() && !line.contains(['…', '\u{fffd}']) && clean(&line) == line;
    whole.then_some(line)
}

/// Takes the way to the command's folder out of lines for a reader who is there.
pub fn from_here(report: &mut report::Report, here: &Path) {
    for command in &mut report.commands {
        let Some(folder) = command.cwd.as_deref().filter(|folder| Path::new(folder) == here) else {
            continue;
        };
        let way = format!("cd {} && ", shell::word(folder));
        for remedy in command.stalls.iter_mut().flat_map(|stall| &mut stall.remedies) {
            if let Some(rest) = remedy.attempt.strip_prefix(&way) {
                remedy.attempt = rest.to_owned();
            }
        }
    }
}

/// The command as it is typed, the program without its folder. `None` when it is not known whole.
pub(crate) fn command_line(record: &Command) -> Option<String> {
    let mut argv = record.argv.clone();
    let program = argv.first_mut()?;
    *program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let line = shell::line(&argv);
    (!line.contains(['…', '\u{fffd}']) && clean(&line) == line).then_some(line)
}

#[cfg(test)]
#[path = "offer_tests.rs"]
mod tests;
