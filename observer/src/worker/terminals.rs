//! Who of a command that sleeps reads a terminal. In: since when commands sleep, and what the agent saw. Out: whom
//! to ask about, once each sleep, and who read during a sleep that was still the same when the answer came.

use std::collections::{BTreeMap, HashMap};

use model::id::{CommandId, Pid};
use model::time::{Ns, SinceStart};

/// A sleep is looked at when it is this old.
const OLD_NS: Ns = 700_000_000;

/// What was asked and answered.
#[derive(Default)]
pub(super) struct Terminals {
    /// Of which sleep of a command somebody was asked
    asked: HashMap<CommandId, SinceStart>,
    /// Answers that are not confirmed yet
    read: Vec<(CommandId, SinceStart, Vec<Pid>)>,
}

impl Terminals {
    /// Commands to ask about, each with since when it sleeps. Nobody runs meanwhile: once is enough.
    pub(super) fn due(
        &mut self,
        asleep: &BTreeMap<CommandId, Option<SinceStart>>,
        now: SinceStart,
    ) -> Vec<(CommandId, SinceStart)> {
        self.asked.retain(|command, _| asleep.contains_key(command));
        let sleeps = asleep.iter().filter_map(|(command, since)| Some((*command, (*since)?)));
        let old = sleeps.filter(|(_, since)| now.saturating_sub(*since) >= OLD_NS);
        old.filter(|(command, since)| self.asked.insert(*command, *since) != Some(*since)).collect()
    }

    /// The agent's answer.
    pub(super) fn read(&mut self, command: CommandId, since: SinceStart, pids: Vec<Pid>) {
        self.read.push((command, since, pids));
    }

    /// Who read during a sleep that lasts: what was seen of another one belongs to nobody.
    pub(super) fn confirmed(
        &mut self,
        asleep: &BTreeMap<CommandId, Option<SinceStart>>,
    ) -> Vec<(Pid, SinceStart)> {
        let answers = std::mem::take(&mut self.read).into_iter();
        let same = answers.filter(|(command, since, _)| asleep.get(command) == Some(&Some(*since)));
        same.flat_map(|(_, since, pids)| pids.into_iter().map(move |pid| (pid, since))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Ns = 1_000_000_000;

    #[test]
    fn a_sleep_is_asked_about_once_and_believed_while_it_lasts() {
        let mut terminals = Terminals::default();
        let (one, since) = (CommandId(1), SinceStart(S));
        let asleep = |since: Option<Ns>| BTreeMap::from([(one, since.map(SinceStart))]);
        assert_eq!(terminals.due(&asleep(Some(S)), SinceStart(S + 1)), []);
        assert_eq!(terminals.due(&asleep(Some(S)), SinceStart(2 * S)), [(one, since)]);
        assert_eq!(terminals.due(&asleep(Some(S)), SinceStart(3 * S)), []);
        terminals.read(one, since, vec![Pid(7)]);
        assert_eq!(terminals.confirmed(&asleep(Some(S))), [(Pid(7), since)]);
        assert_eq!(terminals.confirmed(&asleep(Some(S))), []);
        terminals.read(one, since, vec![Pid(7)]);
        assert_eq!(terminals.confirmed(&asleep(Some(4 * S))), [], "it ran meanwhile");
        terminals.read(one, since, vec![Pid(7)]);
        assert_eq!(terminals.confirmed(&asleep(None)), []);
        assert_eq!(terminals.due(&asleep(Some(4 * S)), SinceStart(6 * S)), [(one, SinceStart(4 * S))]);
    }
}
