//! Which remedies are worth an experiment. In: the report of a run. Out: what may be tried, the most promising
//! first, and what is advice alone, with the reason.

use model::remedy::Remedies;
use model::report::{Remedy, Report, Stall};
use model::stall::StallName;
use model::time::Ns;

use super::Untried;

/// Less than this share of the wall time, per cent, is lost in the noise of a few runs.
const PROMISING_PERCENT: u64 = 5;

/// What a report offers.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Choice {
    /// To be tried, the most promising first
    pub candidates: Vec<Candidate>,
    /// Not to be tried
    pub untried: Vec<Untried>,
}

/// A remedy to be tried.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// What it changes
    pub remedies: Remedies,
    /// What it is against, the costliest first
    pub against: Vec<StallName>,
    /// What those cost: it saves that at most
    pub promise_ns: Ns,
    /// The command that tries it alone
    pub attempt: String,
}

impl Candidate {
    /// As advice that was not tried.
    pub fn untried(self, why: impl Into<String>) -> Untried {
        Untried {
            name: self.remedies.to_string(),
            against: self.against,
            promise_ns: self.promise_ns,
            why: why.into(),
            attempt: self.attempt,
        }
    }
}

/// Chooses. `reserved`: variables that the experiment sets itself.
pub fn choose(report: &Report, reserved: &[&str]) -> Choice {
    let Some(command) = report.commands.first() else { return Choice::default() };
    let mut choice = Choice::default();
    for (name, offers) in by_name(&command.stalls) {
        let mut against: Vec<StallName> = Vec::new();
        for (stall, _) in &offers {
            if !against.contains(&stall.kind) {
                against.push(stall.kind.clone());
            }
        }
        // Several findings may be of the same time.
        let promise_ns = offers.iter().map(|(stall, _)| stall.cost_ns).max().unwrap_or(0);
        let attempt = offers.first().map_or_else(String::new, |(_, remedy)| remedy.attempt.clone());
        match usable(name, reserved) {
            Ok(remedies) => {
                let candidate = Candidate { remedies, against, promise_ns, attempt };
                if promise_ns.saturating_mul(100) < command.wall_ns.saturating_mul(PROMISING_PERCENT) {
                    let why = "it can save too little to be distinguished from noise";
                    choice.untried.push(candidate.untried(why));
                } else {
                    choice.candidates.push(candidate);
                }
            }
            Err(why) => {
                let name = name.to_owned();
                choice.untried.push(Untried { name, against, promise_ns, why: why.to_owned(), attempt });
            }
        }
    }
    choice.candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.promise_ns));
    choice
}

/// Each remedy once, with all that offer it, the costliest first.
fn by_name(stalls: &[Stall]) -> Vec<(&str, Vec<(&Stall, &Remedy)>)> {
    let mut found: Vec<(&str, Vec<(&Stall, &Remedy)>)> = Vec::new();
    for (stall, remedy) in stalls.iter().flat_map(|stall| stall.remedies.iter().map(move |one| (stall, one)))
    {
        match found.iter_mut().find(|(name, _)| *name == remedy.name) {
            Some((_, offers)) => offers.push((stall, remedy)),
            None => found.push((&remedy.name, vec![(stall, remedy)])),
        }
    }
    for (_, offers) in &mut found {
        offers.sort_by_key(|(stall, _)| std::cmp::Reverse(stall.cost_ns));
    }
    found
}

/// Understands it; or why it is none for this experiment.
fn usable(name: &str, reserved: &[&str]) -> Result<Remedies, &'static str> {
    if name.contains('…') {
        return Err("a part of it may not be shown, so it is not known here");
    }
    let parsed: Result<Vec<_>, _> = name.split(" + ").map(str::parse).collect();
    let remedies = parsed.and_then(Remedies::new).map_err(|_| "this version does not know it")?;
    if remedies.iter().any(|remedy| remedy.keeping().is_none()) {
        return Err("it gives up a protection: nothing to keep");
    }
    if remedies.deadline().is_some() {
        return Err("it makes a command end that would hang: there are no times to compare");
    }
    if remedies.iter().filter_map(|remedy| remedy.variable()).any(|name| reserved.contains(&name)) {
        return Err("it would undo the cold caches of each run");
    }
    Ok(remedies)
}

#[cfg(test)]
mod tests {
    use model::stall::StallKind;

    use super::*;
    use crate::sample::compare::{report, stall};

    const MS: u64 = 1_000_000;

    fn offering(kind: StallKind, cost_ms: u64, names: &[&str]) -> Stall {
        let remedy = |name: &&str| Remedy {
            name: (*name).to_owned(),
            why: String::new(),
            attempt: format!("goobserve compare --with {name} -- go mod download"),
        };
        Stall { remedies: names.iter().map(remedy).collect(), ..stall(kind, cost_ms * MS) }
    }

    fn names(choice: &Choice) -> Vec<String> {
        choice.candidates.iter().map(|candidate| candidate.remedies.to_string()).collect()
    }

    #[test]
    fn the_most_promising_comes_first_and_each_once() {
        let stalls = vec![
            offering(StallKind::ProxySlow, 300, &["gateway", "http1"]),
            offering(StallKind::ConcurrencyLimited, 1900, &["concurrency=16", "gateway"]),
        ];
        let choice = choose(&report(2900, stalls), &[]);
        assert_eq!(names(&choice), ["gateway", "concurrency=16", "http1"]);
        let gateway = &choice.candidates[0];
        assert_eq!(gateway.promise_ns, 1900 * MS);
        assert_eq!(
            gateway.against,
            [StallKind::ConcurrencyLimited, StallKind::ProxySlow].map(StallName::from)
        );
        assert_eq!(choice.untried, []);
    }

    #[test]
    fn what_cannot_be_tried_is_advice_with_its_reason() {
        let offers = ["sumdb=off", "deadline", "env=GOMODCACHE=/x", "proxy=https://…@proxy.test", "magic"];
        let choice =
            choose(&report(2900, vec![offering(StallKind::ProxySlow, 2000, &offers)]), &["GOMODCACHE"]);
        assert_eq!(names(&choice), [""; 0]);
        let whys: Vec<&str> = choice.untried.iter().map(|untried| untried.why.as_str()).collect();
        let begin =
            ["it gives up", "it makes a command end", "it would undo", "a part of it", "this version"];
        assert!(
            whys.len() == 5 && whys.iter().zip(begin).all(|(why, begin)| why.starts_with(begin)),
            "{whys:?}"
        );
        assert!(choice.untried.iter().all(|untried| untried.attempt.contains("compare --with")));
    }

    #[test]
    fn what_promises_next_to_nothing_is_not_tried() {
        let choice = choose(&report(2900, vec![offering(StallKind::ProxySlow, 100, &["http1"])]), &[]);
        assert_eq!((choice.candidates.len(), choice.untried.len()), (0, 1));
        assert_eq!(choose(&report(2900, Vec::new()), &[]), Choice::default());
    }

    #[test]
    fn remedies_that_help_only_together_are_tried_together() {
        let both = "env=GOPRIVATE=corp.test + env=GONOSUMDB=corp.test";
        let choice = choose(&report(2900, vec![offering(StallKind::ProxySlow, 1000, &[both])]), &[]);
        assert_eq!(choice.candidates[0].remedies.iter().count(), 2);
    }
}
