//! Events in, lines for people out: `watch` when stdout is no terminal. A command is a line when it starts
//! to hurt, and one when it ends; what it ran is folded into the second. Commands of less than a second
//! that end well are counted. The machine's form is the recording, see `pipeline::record::Recorder`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use diagnose::advice::next_step;
use diagnose::report;
use model::clean::{clean, fit, fit_middle};
use model::event::{Body, Event, StallState, StallUpdate, Waiting};
use model::human::{bytes, count, duration, moment, percent};
use model::id::CommandId;
use model::record::{Command, Gap, Loss, Phase};
use model::report::Severity;
use model::stall::StallName;
use model::time::{Ns, SinceStart};
use model::{State, words};

use super::kinds::{folded, groups};

/// A command of less than this that ends well is one of many.
const SHORT_NS: Ns = 1_000_000_000;
/// Counted ones are reported at least so often, as long as something happens.
const FOLD_NS: Ns = 10_000_000_000;
/// Another wait of the same command is a line only this long after the last.
const PAUSE_NS: Ns = 10_000_000_000;
/// Kinds of processes, and phases, that a command's end names.
const KINDS: usize = 4;
const PHASES: usize = 3;
/// Columns of a command's arguments: as many as leave room for what is said of it.
const ARGV_MAX: usize = 48;
/// The narrowest line.
const WIDTH_MIN: usize = 40;

/// Turns events into lines.
#[derive(Clone, Debug)]
pub struct Lines {
    width: usize,
    /// Of commands that run
    commands: HashMap<CommandId, Known>,
    quiet: Quiet,
    loss: Loss,
}

/// What was reported of one command.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The wait that was reported last, and when
    wait: Option<(Phase, Option<String>, SinceStart)>,
    stalls: Vec<StallName>,
}

/// Short commands that ended well, by what they were.
#[derive(Clone, Debug, Default)]
struct Quiet {
    since: SinceStart,
    commands: BTreeMap<String, usize>,
}

impl Lines {
    /// Nothing reported yet; no line is wider than so many columns.
    pub fn new(width: usize) -> Self {
        let width = width.max(WIDTH_MIN);
        Self { width, commands: HashMap::new(), quiet: Quiet::default(), loss: Loss::default() }
    }

    /// Lines for `event`, which `state` has taken in already: mostly none. Without their ends, safe for a
    /// terminal.
    pub fn lines(&mut self, state: &State, event: &Event) -> Vec<String> {
        let mut lines = Vec::new();
        let said = self.said(state, event);
        let due = said.is_some() || event.at_ns.saturating_sub(self.quiet.since) >= FOLD_NS;
        if (due || matches!(event.body, Body::End(_))) && !self.quiet.commands.is_empty() {
            lines.push(self.line(event.at_ns, None, &self.quiet.words()));
            self.quiet.commands.clear();
        }
        lines.extend(said.map(|(command, text)| self.line(event.at_ns, command, &text)));
        lines
    }

    /// The line of a command that has ended, whatever it cost.
    pub fn ended(&self, state: &State, command: &Command) -> String {
        let at = command.wall_ns.map_or(command.start_ns, |wall| command.start_ns + wall);
        self.line(at, Some(command.id), &ended(state, command))
    }

    fn said(&mut self, state: &State, event: &Event) -> Option<(Option<CommandId>, String)> {
        match &event.body {
            Body::Loss(loss) => {
                // On a machine that cannot keep up it changes ten times a second.
                let (before, now) = (total(&self.loss), total(loss));
                let new = now > 0 && (before == 0 || now >= before.saturating_mul(2));
                if !new {
                    return None;
                }
                self.loss = *loss;
                Some((None, loss_line(loss)))
            }
            Body::Command(update) => {
                let command = &update.command;
                if let Some(text) = lost(&update.gaps) {
                    return Some((Some(command.id), text));
                }
                let known = match command.wall_ns {
                    Some(_) => self.commands.remove(&command.id)?,
                    None => {
                        self.commands.entry(command.id).or_default();
                        return None;
                    }
                };
                let hurt = known.wait.is_some() || !known.stalls.is_empty();
                let well = command.exit_code == Some(0) && command.signal.is_none();
                if !hurt && well && command.wall_ns.is_some_and(|wall| wall < SHORT_NS) {
                    self.quiet.add(command, event.at_ns);
                    return None;
                }
                Some((Some(command.id), ended(state, command)))
            }
            Body::Idle(update) => Some((Some(update.command), lost(&update.gaps)?)),
            Body::Waiting(waiting) => {
                Some((Some(waiting.command), self.waiting(state, waiting, event.at_ns)?))
            }
            Body::Stall(update) => Some((Some(update.command), self.stall(state, update)?)),
            _ => None,
        }
    }

    fn waiting(&mut self, state: &State, waiting: &Waiting, at: SinceStart) -> Option<String> {
        let known = self.commands.entry(waiting.command).or_default();
        let new = match &known.wait {
            Some((phase, host, when)) => {
                (*phase, host) != (waiting.phase, &waiting.host) && at.saturating_sub(*when) >= PAUSE_NS
            }
            None => true,
        };
        if !new {
            return None;
        }
        known.wait = Some((waiting.phase, waiting.host.clone(), at));
        let observed = Some(at.saturating_sub(waiting.since_ns));
        let so_far = match waiting.earlier.map_or(observed, |earlier| earlier.age_ns) {
            Some(age) => format!("has waited {}", duration(age)),
            None => "waits, since when is not known,".to_owned(),
        };
        let because = waiting.because.as_deref().map(|why| format!(", because {why}")).unwrap_or_default();
        Some(format!("{} {so_far} for {}{because}", name(state, waiting.command), waiting.summary))
    }

    /// A finding that costs something, once while the command runs, and with what can be tried.
    fn stall(&mut self, state: &State, update: &StallUpdate) -> Option<String> {
        let stall = &update.stall;
        let known = self.commands.entry(update.command).or_default();
        if update.state != StallState::Lasts
            || stall.severity == Severity::Info
            || known.stalls.contains(&stall.kind)
        {
            return None;
        }
        known.stalls.push(stall.kind.clone());
        // The line to paste is longer than most terminals: the report has it.
        let step = match (stall.remedies.first(), next_step(stall)) {
            (Some(remedy), _) => format!("; try: --with {}", remedy.name),
            (None, Some((how, step))) => format!("; {how}: {step}"),
            (None, None) => String::new(),
        };
        let cost = duration(stall.cost_ns);
        Some(format!(
            "{} {}, {cost} so far: {}{step}",
            name(state, update.command),
            stall.kind,
            stall.summary
        ))
    }

    fn line(&self, at_ns: SinceStart, command: Option<CommandId>, text: &str) -> String {
        let id = command.map_or_else(|| "-".to_owned(), |id| format!("#{id}"));
        let lead = format!("{:>9} s  {id:<4} ", moment(at_ns - SinceStart::ZERO));
        fit(&clean(&format!("{lead}{text}")), self.width).into_owned()
    }
}

impl Quiet {
    fn add(&mut self, command: &Command, at: SinceStart) {
        if self.commands.is_empty() {
            self.since = at;
        }
        // Of many that differ in a file's name, what they do.
        let words: Vec<&str> = command.argv.iter().map(|arg| arg.rsplit('/').next().unwrap_or(arg)).collect();
        let what = words.iter().take(if words.get(1) == Some(&"mod") { 3 } else { 2 }).copied();
        *self.commands.entry(what.collect::<Vec<_>>().join(" ")).or_default() += 1;
    }

    fn words(&self) -> String {
        let mut all: Vec<(&String, &usize)> = self.commands.iter().collect();
        all.sort_by_key(|(what, times)| (Reverse(**times), *what));
        let which: Vec<String> = all.iter().map(|(what, times)| format!("{what} ×{times}")).collect();
        let commands = count(self.commands.values().sum::<usize>() as u64, "command");
        format!("{commands} of less than 1 s ended well: {}", which.join(", "))
    }
}

/// What was run, short enough that there is room for more.
fn name(state: &State, id: CommandId) -> String {
    let record = state.command(id).and_then(|known| known.record.as_ref());
    record.map_or_else(
        || "a command not seen".to_owned(),
        |record| {
            let argv = words::argv(&record.argv);
            format!("{} (pid {})", fit_middle(&clean(&argv), ARGV_MAX), record.pid)
        },
    )
}

/// Of a gap of which nothing more is known yet.
fn lost(gaps: &[Gap]) -> Option<String> {
    let gap = gaps.iter().find(|gap| gap.idle_ns.is_none())?;
    let took = duration(gap.end_ns.saturating_sub(gap.start_ns));
    Some(format!("records of the last {took} were lost: what happened meanwhile is not known"))
}

/// A summary: how it ended, the phases that cost most, what it asked and ran.
fn ended(state: &State, command: &Command) -> String {
    let ending = words::ending(true, command.exit_code, command.signal);
    let name = name(state, command.id);
    let Some(known) = state.command(command.id) else { return format!("{name} ended, {ending}") };
    let Some(whole) = report::command(known, state.latest_ns()) else {
        return format!("{name} ended, {ending}");
    };
    let mut phases: Vec<_> = whole.phases.iter().filter(|share| share.blocked_ns > 0).collect();
    phases.sort_by_key(|share| (Reverse(share.blocked_ns), share.phase));
    let phases = phases.into_iter().take(PHASES);
    let phases: Vec<String> = phases
        .map(|share| format!("{} {}", share.phase.name(), percent(share.blocked_ns, whole.wall_ns)))
        .collect();
    let mut parts = vec![phases.join(", ")];
    let worst = whole.stalls.iter().filter(|stall| stall.severity != Severity::Info);
    if let Some(stall) = worst.max_by_key(|stall| (stall.fatal, stall.severity, stall.cost_ns)) {
        parts.push(format!("{} {}", stall.kind, duration(stall.cost_ns)));
    }
    if !known.requests.is_empty() {
        let size = known.requests.values().filter_map(|request| request.bytes).sum();
        parts.push(format!("{}, {}", count(known.requests.len() as u64, "request"), bytes(size)));
    }
    parts.extend(folded(&groups(known.processes.values(), known.wall(state.latest_ns()).1), KINDS));
    parts.retain(|part| !part.is_empty());
    format!("{name} ended after {}, {ending}: {}", duration(whole.wall_ns), parts.join("; "))
}

fn total(loss: &Loss) -> u64 {
    let kernel: u64 = crate::loss::of_the_kernel(loss).into_iter().map(|(n, ..)| n).sum();
    let seen = loss.kernel_events_lost + loss.events_undecoded;
    seen + loss.connections_joined_late + loss.programs_unexamined + kernel
}

/// Of what was lost only what is something.
fn loss_line(loss: &Loss) -> String {
    let parts = [
        (loss.kernel_events_lost, "kernel event", "lost"),
        (loss.events_undecoded, "event", "not understood"),
        (loss.connections_joined_late, "connection", "joined late"),
        (loss.programs_unexamined, "program", "not examined"),
    ];
    let parts = parts.into_iter().chain(crate::loss::of_the_kernel(loss)).filter(|(n, ..)| *n > 0);
    let parts: Vec<String> = parts.map(|(n, one, how)| format!("{} {how}", count(n, one))).collect();
    format!("not seen so far: {}", parts.join(", "))
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
