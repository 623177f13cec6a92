//! The exact tier: requests by class, host, status and module. In: two recordings. Out: what is
//! more, what is less. One run is enough.
//!
//! With a complete go.sum (nothing was asked of a checksum database) a command makes the same
//! requests every time: runs of one recording that differ make the tier invalid. Without one, the
//! number of tiles depends on which lookup comes first; tiles are left to the bounded tier, and
//! runs that differ leave this tier unjudged. When go.mod or go.sum was changed, modules that only
//! one side knows are told apart and do not count.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::baseline::{Recording, Requests};
use super::verdict::Verdict;
use crate::model::record::{Class, Phase};
use crate::view::words;

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Exact {
    /// `None`: not judged
    pub verdict: Option<Verdict>,
    /// Why it is invalid or not judged
    pub why: Option<String>,
    /// What there is more of
    pub more: Vec<Difference>,
    /// What there is less of, which is no regression
    pub fewer: Vec<Difference>,
    /// Modules that a changed go.mod brought
    pub modules_added: Vec<String>,
    /// Modules that a changed go.mod took
    pub modules_removed: Vec<String>,
}

/// Requests of one kind on both sides.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "as in baseline::Requests")]
pub struct Difference {
    pub class: Class,
    pub host: Option<String>,
    pub status: Option<u16>,
    pub module: Option<String>,
    /// How many there were
    pub before: u64,
    /// How many there are
    pub after: u64,
}

impl Difference {
    /// The phase they belong to.
    pub const fn phase(&self) -> Phase {
        self.class.phase()
    }

    /// `zip of example.com/m at proxy.test, status 200: 1, was 0`
    pub fn text(&self) -> String {
        let mut text = words::class(self.class).to_owned();
        if let Some(module) = &self.module {
            text += &format!(" of {module}");
        }
        text += &format!(" at {}", self.host.as_deref().unwrap_or("an unknown host"));
        if let Some(status) = self.status {
            text += &format!(", status {status}");
        }
        text + &format!(": {}, was {}", self.after, self.before)
    }
}

type Kind = (Class, Option<String>, Option<u16>, Option<String>);

/// Compares; `modules_changed`: go.mod or go.sum was.
pub fn exact(before: &Recording, after: &Recording, modules_changed: bool) -> Exact {
    let sides = [("the baseline", before), ("the new side", after)];
    for (name, side) in sides {
        let unseen: u64 = side.runs.iter().map(|run| run.unseen).sum();
        if unseen > 0 {
            let why = format!("{unseen} events or paths of {name} were not seen: requests may be missing");
            return Exact { verdict: Some(Verdict::Invalid), why: Some(why), ..Exact::default() };
        }
    }
    let complete = !sides.iter().any(|(_, side)| side.requests.iter().flatten().any(of_sumdb));
    for (name, side) in sides {
        let Some(example) = unequal(side) else { continue };
        let (verdict, why) = if complete {
            (Some(Verdict::Invalid), format!("runs of {name} made different requests: {example}"))
        } else {
            let why = format!("go.sum is not complete and runs of {name} differ: {example}");
            (None, why)
        };
        return Exact { verdict, why: Some(why), ..Exact::default() };
    }
    let (old, new) = (kinds(first(before)), kinds(first(after)));
    let mut exact = Exact::default();
    let (of_old, of_new) = (modules(&old), modules(&new));
    if modules_changed {
        exact.modules_added = of_new.difference(&of_old).cloned().collect();
        exact.modules_removed = of_old.difference(&of_new).cloned().collect();
    }
    let all: BTreeSet<&Kind> = old.keys().chain(new.keys()).collect();
    for kind in all {
        let apart = |modules: &[String]| kind.3.as_ref().is_some_and(|module| modules.contains(module));
        if apart(&exact.modules_added) || apart(&exact.modules_removed) {
            continue;
        }
        let count = |side: &BTreeMap<Kind, u64>| side.get(kind).copied().unwrap_or(0);
        let (class, host, status, module) = kind.clone();
        let difference = Difference { class, host, status, module, before: count(&old), after: count(&new) };
        match difference.after.cmp(&difference.before) {
            std::cmp::Ordering::Greater => exact.more.push(difference),
            std::cmp::Ordering::Less => exact.fewer.push(difference),
            std::cmp::Ordering::Equal => {}
        }
    }
    exact.verdict = Some(if exact.more.is_empty() { Verdict::Passed } else { Verdict::Regressed });
    exact
}

const fn of_sumdb(requests: &Requests) -> bool {
    matches!(requests.class.phase(), Phase::Sumdb)
}

/// Tiles and tree heads depend on the order of lookups.
fn kinds(requests: &[Requests]) -> BTreeMap<Kind, u64> {
    let steady = |requests: &&Requests| !matches!(requests.class, Class::SumdbTile | Class::SumdbLatest);
    let kind = |one: &Requests| ((one.class, one.host.clone(), one.status, one.module.clone()), one.count);
    requests.iter().filter(steady).map(kind).collect()
}

fn modules(kinds: &BTreeMap<Kind, u64>) -> BTreeSet<String> {
    kinds.keys().filter_map(|kind| kind.3.clone()).collect()
}

fn first(recording: &Recording) -> &[Requests] {
    recording.runs.first().map_or(&[], |run| recording.requests_of(run))
}

/// In what two runs of a recording differ.
fn unequal(recording: &Recording) -> Option<String> {
    let one = kinds(first(recording));
    let other = recording.requests.iter().map(|set| kinds(set)).find(|other| *other != one)?;
    let all: BTreeSet<&Kind> = one.keys().chain(other.keys()).collect();
    let kind = all.into_iter().find(|kind| one.get(kind) != other.get(kind))?;
    let count = |side: &BTreeMap<Kind, u64>| side.get(kind).copied().unwrap_or(0);
    let (class, host, status, module) = kind.clone();
    let text = Difference { class, host, status, module, before: count(&one), after: count(&other) }.text();
    Some(text.replace(", was ", " and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::sample;

    fn add(recording: &mut Recording, class: Class, host: &str, module: Option<&str>, count: u64) {
        recording.requests[0].push(Requests {
            class,
            host: Some(host.into()),
            status: Some(200),
            module: module.map(Into::into),
            count,
        });
    }

    #[test]
    fn one_request_more_is_found_by_a_single_run() {
        let (before, mut after) = (sample::recording(1), sample::recording(1));
        assert_eq!(exact(&before, &after, false).verdict, Some(Verdict::Passed));
        after.requests[0][0].count += 1;
        let found = exact(&before, &after, false);
        assert_eq!(found.verdict, Some(Verdict::Regressed));
        assert_eq!(found.more[0].text(), "info of example.com/a at proxy.test, status 200: 2, was 1");
        let back = exact(&after, &before, false);
        assert_eq!((back.verdict, back.fewer.len()), (Some(Verdict::Passed), 1));
    }

    #[test]
    fn a_class_a_host_a_status_more_is_found() {
        let before = sample::recording(1);
        let mut class = before.clone();
        add(&mut class, Class::List, "proxy.test", Some("example.com/a"), 1);
        let mut host = before.clone();
        host.requests[0][0].host = Some("other.test".into());
        let mut status = before.clone();
        status.requests[0][0].status = Some(404);
        for after in [class, host, status] {
            assert_eq!(exact(&before, &after, false).verdict, Some(Verdict::Regressed));
        }
    }

    #[test]
    fn a_go_sum_that_is_no_longer_complete_is_a_class_more() {
        let (before, mut after) = (sample::recording(1), sample::recording(1));
        add(&mut after, Class::SumdbLookup, "sumdb.test", Some("example.com/a"), 1);
        add(&mut after, Class::SumdbTile, "sumdb.test", None, 9);
        let found = exact(&before, &after, false);
        assert_eq!(found.verdict, Some(Verdict::Regressed));
        assert_eq!((found.more.len(), found.more[0].class), (1, Class::SumdbLookup));
    }

    #[test]
    fn runs_that_differ_are_invalid_with_a_complete_go_sum_only() {
        let (before, mut after) = (sample::recording(2), sample::recording(2));
        let mut other = after.requests[0].clone();
        other[0].count = 3;
        after.requests.push(other);
        after.runs[1].requests = 1;
        let found = exact(&before, &after, false);
        assert_eq!(found.verdict, Some(Verdict::Invalid));
        assert_eq!(
            found.why.unwrap(),
            "runs of the new side made different requests: info of example.com/a at proxy.test, status 200: \
             3 and 1"
        );
        for set in &mut after.requests {
            set.push(Requests { class: Class::SumdbSupported, ..set[0].clone() });
        }
        let found = exact(&before, &after, false);
        assert_eq!(found.verdict, None);
        assert!(found.why.unwrap().starts_with("go.sum is not complete"));
    }

    #[test]
    fn tiles_are_left_to_the_bounded_tier() {
        let mut before = sample::recording(1);
        add(&mut before, Class::SumdbSupported, "sumdb.test", None, 1);
        let mut after = before.clone();
        add(&mut after, Class::SumdbTile, "sumdb.test", None, 9);
        assert_eq!(exact(&before, &after, false).verdict, Some(Verdict::Passed));
    }

    #[test]
    fn modules_of_a_changed_go_mod_are_told_apart() {
        let (before, mut after) = (sample::recording(1), sample::recording(1));
        add(&mut after, Class::Zip, "proxy.test", Some("example.com/new"), 1);
        assert_eq!(exact(&before, &after, false).verdict, Some(Verdict::Regressed));
        let found = exact(&before, &after, true);
        assert_eq!(
            (found.verdict, found.modules_added),
            (Some(Verdict::Passed), vec!["example.com/new".into()])
        );
        // What both know counts all the same.
        after.requests[0][0].count += 1;
        assert_eq!(exact(&before, &after, true).verdict, Some(Verdict::Regressed));
    }

    #[test]
    fn what_was_not_seen_is_not_equal() {
        let (mut before, after) = (sample::recording(1), sample::recording(1));
        before.runs[0].unseen = 2;
        let found = exact(&before, &after, false);
        assert_eq!(found.verdict, Some(Verdict::Invalid));
        assert!(found.why.unwrap().contains("2 events"));
    }
}
