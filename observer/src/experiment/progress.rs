//! How far an experiment is, and how long it goes on. In: what runs now, and how long runs took.
//! Out: a line on stderr, redrawn on a terminal, else one a round.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use model::human;

use crate::say;

/// Progress of one experiment.
#[derive(Debug)]
pub(super) struct Progress {
    names: Vec<String>,
    /// What the first round is called, which does not count
    warm_up: &'static str,
    /// The arms that still run
    playing: Vec<usize>,
    rounds: usize,
    /// How long each arm's runs took, with all that was around them
    took: Vec<Vec<Duration>>,
    terminal: bool,
    quiet: bool,
    drawn: bool,
}

impl Progress {
    /// Nothing has run yet.
    pub(super) fn new(names: Vec<String>, warm_up: &'static str, rounds: usize, quiet: bool) -> Self {
        let took = vec![Vec::new(); names.len()];
        let playing = (0..names.len()).collect();
        let terminal = std::io::stderr().is_terminal();
        Self { names, warm_up, playing, rounds, took, terminal, quiet, drawn: false }
    }

    /// One more arm.
    pub(super) fn add(&mut self, name: String) {
        self.playing.push(self.names.len());
        self.names.push(name);
        self.took.push(Vec::new());
    }

    /// So many rounds from now on.
    pub(super) const fn expect(&mut self, rounds: usize) {
        self.rounds = rounds;
    }

    /// An arm runs no more.
    pub(super) fn give_up(&mut self, arm: usize) {
        self.playing.retain(|other| *other != arm);
    }

    /// This arm runs since then; `round` is `None` for the run that warms up.
    pub(super) fn tick(&mut self, round: Option<usize>, arm: usize, ran: &[usize], since: Instant) {
        if self.quiet || !self.terminal {
            return;
        }
        let which = self.round(round);
        let now = human::duration(since.elapsed().as_secs() * 1_000_000_000);
        let left = self.left(round, arm, ran, since.elapsed()).map_or_else(String::new, left);
        let text = format!("{which}: {} runs, {now}{left}", self.names[arm]);
        say::progress(&text);
        self.drawn = true;
    }

    /// A run has ended.
    pub(super) fn ran(&mut self, arm: usize, took: Duration) {
        self.took[arm].push(took);
    }

    /// A round has ended; walls of the arms that run, nanoseconds.
    pub(super) fn round_ended(&mut self, round: Option<usize>, walls: &[u64]) {
        self.clear();
        if self.quiet {
            return;
        }
        let walls: Vec<String> = self
            .playing
            .iter()
            .zip(walls)
            .map(|(arm, wall)| format!("{} {}", self.names[*arm], human::duration(*wall)))
            .collect();
        let everyone = self.playing.clone();
        let last = everyone.last().copied().unwrap_or_default();
        let left = self.left(round, last, &everyone, Duration::MAX).map_or_else(String::new, left);
        say::line(&format!("{}: {}{left}", self.round(round), walls.join(", ")));
    }

    /// Takes the line off the terminal.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            say::erase();
        }
    }

    fn round(&self, round: Option<usize>) -> String {
        round.map_or_else(
            || self.warm_up.to_owned(),
            |round| format!("round {} of {}", round + 1, self.rounds.max(round + 1)),
        )
    }

    /// Time left, while `arm` runs for `elapsed` and the arms of `ran` have run in this round;
    /// `None` until every arm has run once, and when nothing is left.
    fn left(&self, round: Option<usize>, arm: usize, ran: &[usize], elapsed: Duration) -> Option<Duration> {
        let mean =
            |took: &Vec<Duration>| Some(took.iter().sum::<Duration>() / u32::try_from(took.len()).ok()?);
        let known = |arm: &usize| {
            let took = &self.took[*arm];
            Some((*arm, if took.is_empty() { None } else { mean(took) }?))
        };
        let means: BTreeMap<usize, Duration> = self.playing.iter().map(known).collect::<Option<_>>()?;
        let whole = self.rounds.saturating_sub(round.map_or(0, |round| round + 1));
        let after: Duration = means.values().sum::<Duration>() * u32::try_from(whole).ok()?;
        let others = means.iter().filter(|(other, _)| **other != arm && !ran.contains(other));
        let this = means.get(&arm)?.saturating_sub(elapsed) + others.map(|(_, mean)| *mean).sum::<Duration>();
        Some(after + this).filter(|left| !left.is_zero())
    }
}

fn left(left: Duration) -> String {
    format!("; about {} left", human::duration(left.as_secs().max(1) * 1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_runs_to_come() {
        let mut progress = Progress::new(vec!["a".into(), "b".into()], "warming up", 3, true);
        let s = Duration::from_secs;
        progress.ran(0, s(10));
        assert_eq!(progress.left(None, 1, &[0], s(1)), None);
        progress.ran(1, s(4));
        // Warm-up over: three rounds of 14 s.
        assert_eq!(progress.left(None, 1, &[0, 1], Duration::MAX), Some(s(42)));
        // In the second round b is half through, a waits; then one round more.
        assert_eq!(progress.left(Some(1), 1, &[], s(2)), Some(s(2 + 10 + 14)));
        assert_eq!(progress.left(Some(2), 1, &[0], s(9)), None);
    }

    #[test]
    fn an_arm_that_was_given_up_takes_no_time_and_a_new_one_is_waited_for() {
        let mut progress = Progress::new(vec!["a".into()], "observing", 1, true);
        let s = Duration::from_secs;
        progress.ran(0, s(10));
        ["b", "c"].into_iter().for_each(|name| progress.add(name.into()));
        progress.expect(3);
        assert_eq!(progress.left(Some(0), 0, &[], s(1)), None);
        progress.ran(1, s(4));
        progress.ran(2, s(6));
        assert_eq!(progress.left(Some(0), 2, &[0, 1, 2], Duration::MAX), Some(s(40)));
        progress.give_up(1);
        assert_eq!(progress.left(Some(0), 2, &[0, 2], Duration::MAX), Some(s(32)));
    }
}
