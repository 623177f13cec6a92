//! What is found in commands that run in, what is to be reported of it out: a stall when it begins,
//! when it gets worse, and when it is over. Bounded: however often something comes and goes, little
//! is reported of it.

use std::collections::{BTreeMap, HashMap};

use model::event::{StallState, StallUpdate};
use model::id::{CommandId, StallId};
use model::operations::Threads;
use model::report::{Severity, Stall};
use model::stall::{StallKind, StallName};
use model::state::{CommandState, State};
use model::time::{Ns, SinceStart};
use model::waiting::EVERY_NS;

use super::{Seen, thresholds as at};

/// Something is over when it was not found waiting for so long: one slow answer after another is
/// one stall.
const QUIET_NS: Ns = 1_000_000_000;
/// A look that somebody else had is taken when it is so young.
const YOUNG_NS: Ns = 100_000_000;
/// From look to look at a command of which nothing hangs.
const MOVES_NS: Ns = 2_000_000_000;
/// Stalls reported of one command; the report has the others.
const STALLS_MAX: usize = 64;
/// How often one is reported while its command runs. Its end is always reported, with the command's.
const TELLINGS_MAX: u32 = 8;

/// Kind, host, and which one of several.
type Key = (StallName, Option<String>, u64);

/// Says which stalls are to be reported.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Reporter {
    commands: HashMap<CommandId, Known>,
    /// Stalls reported so far
    numbers: u32,
    latest: Option<(CommandId, Seen)>,
}

/// A command that was looked at.
#[derive(Clone, PartialEq, Debug, Default)]
struct Known {
    /// Events it had taken in, and when
    changes: u64,
    looked_ns: Option<SinceStart>,
    because: Option<String>,
    reported: BTreeMap<Key, Reported>,
}

/// A stall that was reported.
#[derive(Clone, PartialEq, Debug)]
struct Reported {
    update: StallUpdate,
    times: u32,
    /// When it was last found waiting
    waited_ns: SinceStart,
}

impl Reporter {
    /// Looks at every command that waits or has news at `now`. `asleep`: of commands that run, since
    /// when every thread sleeps, where one does not. `waits_since`: since when a command waits for
    /// something, as far as that is known. `seen`: a look at it that somebody else had.
    pub fn due(
        &mut self,
        state: &State,
        now: SinceStart,
        asleep: &BTreeMap<CommandId, Option<SinceStart>>,
        waits_since: impl Fn(CommandId) -> Option<SinceStart>,
        seen: impl Fn(CommandId) -> Option<Seen>,
    ) -> Vec<StallUpdate> {
        self.commands.retain(|id, _| state.command(*id).is_some());
        let mut due = Vec::new();
        for (id, command) in state.commands() {
            let threads = Threads::from(asleep.get(&id));
            let asleep = asleep.get(&id).copied().flatten();
            let known = self.commands.entry(id).or_default();
            if known.changes == command.changes && (asleep.is_none() || has_ended(command)) {
                continue;
            }
            // What moves cannot have begun to hang: it is looked at now and then, for what is over.
            let waits = [asleep, waits_since(id)].into_iter().flatten();
            let hangs = waits.min().is_some_and(|since| now.saturating_sub(since) >= at::WARNING_NS);
            if !hangs && !has_ended(command) && known.looked_ns.is_some_and(|at| now < at + MOVES_NS) {
                continue;
            }
            let young = |seen: &Seen| !has_ended(command) && seen.at <= now && now - seen.at < YOUNG_NS;
            let seen = seen(id).filter(young).unwrap_or_else(|| Seen::new(command, now, threads));
            (known.changes, known.looked_ns) = (seen.changes, Some(seen.at));
            known.update(command, id, &seen, &mut self.numbers, &mut due);
            self.latest = Some((id, seen));
        }
        due
    }

    /// Why that command waits for what it waits for, as of the last look.
    pub fn because(&self, command: CommandId) -> Option<&str> {
        self.commands.get(&command)?.because.as_deref()
    }

    /// The last look, when it was at that command. Only one is kept: with `watch` there may be any number.
    pub fn seen(&self, command: CommandId) -> Option<&Seen> {
        self.latest.as_ref().filter(|(id, _)| *id == command).map(|(_, seen)| seen)
    }
}

fn has_ended(command: &CommandState) -> bool {
    command.record.as_ref().is_some_and(|record| record.wall_ns.is_some())
}

impl Known {
    fn update(
        &mut self,
        command: &CommandState,
        id: CommandId,
        seen: &Seen,
        numbers: &mut u32,
        due: &mut Vec<StallUpdate>,
    ) {
        let runs = !has_ended(command);
        let (now, diagnosis) = (seen.at, &seen.diagnosis);
        self.because.clone_from(&diagnosis.because);
        let mut gone: Vec<Key> = self.reported.keys().cloned().collect();
        for found in diagnosis.stalls.iter().filter(|found| !found.info) {
            let (about, mut stall) = (found.about, found.stall.clone());
            if runs {
                stall.severity = so_far(&stall);
            }
            let lasts = runs && stall.end_ns >= now;
            let key = (stall.kind.clone(), stall.host.clone(), about);
            gone.retain(|other| *other != key);
            if let Some(reported) = self.reported.get_mut(&key) {
                due.extend(reported.repeat(stall, lasts, runs, now));
            } else if is_reported(&stall, lasts, runs) && self.reported.len() < STALLS_MAX {
                *numbers += 1;
                let state = if lasts { StallState::Lasts } else { StallState::Over };
                let update = StallUpdate { command: id, id: StallId(*numbers), state, stall };
                due.push(update.clone());
                self.reported.insert(key, Reported { update, times: 1, waited_ns: now });
            }
        }
        for (_, reported) in self.reported.iter_mut().filter(|(key, _)| gone.contains(key)) {
            due.extend(reported.gone(runs, now));
        }
    }
}

/// Whether what was not reported yet is to be.
fn is_reported(stall: &Stall, lasts: bool, runs: bool) -> bool {
    let bad = stall.severity >= Severity::Warning;
    if !runs {
        return bad;
    }
    let long = lasts && stall.cost_ns > 0 && stall.end_ns - stall.start_ns >= EVERY_NS;
    (bad || long) && !stall.kind.kind().is_some_and(StallKind::of_the_whole)
}

/// How bad it is as long as nobody knows how long the command takes: a share of what has passed by
/// now would call each first hiccup critical.
fn so_far(stall: &Stall) -> Severity {
    let by_cost = match stall.cost_ns {
        at::CRITICAL_NS.. => Severity::Critical,
        at::WARNING_NS.. => Severity::Warning,
        _ => Severity::Info,
    };
    by_cost.min(stall.severity)
}

impl Reported {
    /// It was found again.
    fn repeat(&mut self, stall: Stall, lasts: bool, runs: bool, now: SinceStart) -> Option<StallUpdate> {
        let before = &self.update;
        if lasts {
            self.waited_ns = now;
        }
        let state = if lasts || runs && now - self.waited_ns < QUIET_NS && before.state == StallState::Lasts {
            StallState::Lasts
        } else {
            StallState::Over
        };
        let reported = if runs {
            let worse = stall.severity > before.stall.severity;
            // What comes back is reported once it has cost as much again as is worth reporting.
            let back = before.state != StallState::Lasts
                && state == StallState::Lasts
                && stall.cost_ns >= before.stall.cost_ns + at::WARNING_NS;
            let over = before.state == StallState::Lasts && state == StallState::Over;
            self.times < TELLINGS_MAX && (worse || back || over)
        } else {
            before.state != state || before.stall != stall
        };
        reported.then(|| self.report(StallUpdate { state, stall, ..self.update.clone() }))
    }

    /// It was not found any more: another finding explains what was seen.
    fn gone(&mut self, runs: bool, now: SinceStart) -> Option<StallUpdate> {
        let quiet = !runs || now - self.waited_ns >= QUIET_NS && self.times < TELLINGS_MAX;
        let reported = self.update.state != StallState::Withdrawn && quiet;
        reported.then(|| self.report(StallUpdate { state: StallState::Withdrawn, ..self.update.clone() }))
    }

    fn report(&mut self, update: StallUpdate) -> StallUpdate {
        self.times += 1;
        self.update = update.clone();
        update
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
