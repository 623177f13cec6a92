//! A command's report in, the answer in plain words out: what its time went to, what was worst,
//! and what to try.

use model::human::{duration, percent};
use model::record::Phase;
use model::report::{Command, Remedy, Stall};
use model::time::Ns;
use model::words;

/// What a reader wants to know first. Foreign text in it is not cleaned yet.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Answer<'a> {
    /// What the time went to
    pub time: String,
    /// The worst finding
    pub worst: Option<&'a Stall>,
}

/// The answer for one command.
pub(crate) fn answer(command: &Command) -> Answer<'_> {
    Answer { time: time(command), worst: worst(command) }
}

impl Answer<'_> {
    /// What to try against the worst finding.
    pub(crate) fn remedy(&self) -> Option<&Remedy> {
        self.worst?.remedies.first()
    }
}

/// Why the command failed, in one sentence; `None` of one that did not.
pub(crate) fn failure(command: &Command) -> Option<String> {
    let (blame, why) = command.blame.zip(command.blame_why.as_deref())?;
    Some(format!("{}: {why}", words::failed_because(blame)))
}

/// The worst finding: what ended the command, then by severity, then by cost.
pub(crate) fn worst(command: &Command) -> Option<&Stall> {
    command.stalls.iter().reduce(|worst, stall| {
        let rank = |stall: &Stall| (stall.fatal, stall.severity, stall.cost_ns);
        if rank(stall) > rank(worst) { stall } else { worst }
    })
}

/// A finding's words as one sentence. What begins with a name keeps it as it is.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let word = text.split(' ').next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if word.chars().all(|c| c.is_alphabetic() || c == ',') => {
            format!("{}{}.", first.to_uppercase(), letters.as_str())
        }
        _ => format!("{text}."),
    }
}

/// The phase that took most, and its part.
pub(crate) fn most(command: &Command) -> Option<(Phase, Ns)> {
    let most = command.phases.iter().max_by_key(|share| share.blocked_ns)?;
    (most.blocked_ns > 0).then_some((most.phase, most.blocked_ns))
}

fn time(command: &Command) -> String {
    let wall = duration(command.wall_ns);
    let Some((phase, blocked)) = most(command) else {
        return format!("It took {wall}.");
    };
    let part = percent(blocked, command.wall_ns);
    let host = command
        .hosts
        .iter()
        .filter_map(|host| host.phases.get(&phase).map(|ns| (ns, &host.host)))
        .max_by_key(|(ns, _)| **ns)
        .filter(|(ns, _)| **ns > 0)
        .map_or_else(String::new, |(_, host)| format!(" ({host})"));
    match phase {
        Phase::Unexplained => format!("In {part} of {wall} nothing was seen in flight and nothing ran."),
        _ => format!("{part} of {wall} went to {}{host}.", words::phase(phase)),
    }
}

#[cfg(test)]
mod tests {
    use model::report::{HostShare, PhaseShare, Severity};
    use model::stall::StallKind;

    use super::*;
    use model::time::SinceStart;

    fn share(phase: Phase, blocked_ns: Ns) -> PhaseShare {
        PhaseShare {
            phase,
            blocked_ns,
            busy_ns: blocked_ns,
            count: 1,
            errors: 0,
            p50_ns: None,
            p95_ns: None,
            p99_ns: None,
            max_ns: None,
            bytes: None,
        }
    }

    fn stall(severity: Severity, cost_ns: Ns) -> Stall {
        Stall {
            kind: StallKind::SumdbSlow.into(),
            phase: Phase::Sumdb,
            host: None,
            severity,
            start_ns: SinceStart(0),
            end_ns: SinceStart(cost_ns),
            cost_ns,
            summary: String::new(),
            evidence: Vec::new(),
            advice: String::new(),
            fatal: false,
            remedies: Vec::new(),
        }
    }

    #[test]
    fn the_costliest_phase_is_named_with_its_host() {
        let mut command = Command { wall_ns: 4_000_000_000, ..Command::default() };
        assert_eq!(answer(&command).time, "It took 4.00 s.");
        command.phases = vec![share(Phase::Sumdb, 3_000_000_000), share(Phase::Local, 1_000_000_000)];
        assert_eq!(answer(&command).time, "75 % of 4.00 s went to checksum database requests.");
        command.hosts = vec![HostShare {
            host: "sumdb.test".into(),
            blocked_ns: 3_000_000_000,
            phases: [(Phase::Sumdb, 3_000_000_000)].into(),
        }];
        assert_eq!(answer(&command).time, "75 % of 4.00 s went to checksum database requests (sumdb.test).");
        command.phases = vec![share(Phase::Unexplained, 4_000_000_000)];
        assert_eq!(answer(&command).time, "In 100 % of 4.00 s nothing was seen in flight and nothing ran.");
    }

    #[test]
    fn the_worst_is_the_most_severe_then_the_costliest_then_the_first() {
        let mut command = Command::default();
        assert_eq!(worst(&command), None);
        command.stalls =
            vec![stall(Severity::Info, 9), stall(Severity::Critical, 2), stall(Severity::Critical, 3)];
        assert_eq!(worst(&command).map(|stall| stall.cost_ns), Some(3));
    }

    #[test]
    fn a_summary_becomes_a_sentence() {
        assert_eq!(sentence("the proxy was silent"), "The proxy was silent.");
        assert_eq!(sentence("ég spyr."), "Ég spyr.");
        assert_eq!(sentence("proxy.test was silent"), "proxy.test was silent.");
        assert_eq!(sentence(""), ".");
    }
}
