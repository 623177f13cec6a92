//! The exact tier: requests by class, host, status and module. In: two recordings, and in what they
//! may differ for a reason. Out: what is more, what is less. One run is enough.
//!
//! With a complete go.sum (nothing was asked of a checksum database) a command makes the same
//! requests every time: runs of one recording that differ make the tier invalid. Without one, the
//! number of tiles depends on which lookup comes first; tiles are left to the bounded tier, and
//! runs that differ leave this tier unjudged.
//!
//! What a changed setting explains is listed and not judged ([`Scope`]): modules that a changed
//! go.mod brought, and another way to the same modules (another proxy, another command).

use std::collections::{BTreeMap, BTreeSet};

use model::record::{Class, Phase};
use model::{human, words};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::baseline::{Recording, Requests};
use super::modules::{self, ModuleChange};
use super::roles::Role;
use super::verdict::Verdict;

/// Modules that are named in a line.
const NAMED: usize = 3;

/// In what two sides may differ for a reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// Which modules are asked for: go.mod, the command or go itself is another, or not known
    pub modules: bool,
    /// Whom they are asked of: GOPROXY or GOSUMDB is another
    pub hosts: bool,
    /// What is asked of them: the command is another
    pub classes: bool,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Exact {
    /// `None`: not judged
    pub verdict: Option<Verdict>,
    /// Why it is invalid or not judged
    pub why: Option<String>,
    /// Requests of the first run of what was; absent in older files
    #[serde(default)]
    pub requests_before: Option<u64>,
    /// Of what is; likewise
    #[serde(default)]
    pub requests_after: Option<u64>,
    /// What there is more of
    pub more: Vec<Difference>,
    /// What there is less of, which is no regression
    pub fewer: Vec<Difference>,
    /// Modules that a changed go.mod brought; not judged, like those of the next three
    pub modules_added: Vec<String>,
    /// Modules that only those asked for
    #[serde(default)]
    pub modules_reached: Vec<String>,
    /// Modules with other versions, or that were not downloaded before
    #[serde(default)]
    pub modules_changed: Vec<ModuleChange>,
    /// Modules that a changed go.mod took
    pub modules_removed: Vec<String>,
    /// Requests that go another way, because another one was set; not judged
    #[serde(default)]
    pub ways: Vec<Way>,
    /// Checksums of modules that are not judged, and that go.sum does not have
    #[serde(default)]
    pub checksums_missing: u64,
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

/// Requests of a class that one side does not make, or makes of another kind of server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Way {
    /// The class
    pub class: Class,
    /// How many there were
    pub before: u64,
    /// Of whom
    pub before_at: Vec<String>,
    /// How many there are
    pub after: u64,
    /// Of whom
    pub after_at: Vec<String>,
}

impl Difference {
    /// The phase they belong to.
    pub const fn phase(&self) -> Phase {
        self.class.phase()
    }

    /// `zip of example.com/m at proxy.test, status 200: 1, was 0`
    pub fn text(&self) -> String {
        let of = self.module.as_deref().map_or_else(String::new, |module| format!(" of {module}"));
        format!("{}{of}{}: {}, was {}", words::class(self.class), self.place(), self.after, self.before)
    }

    fn place(&self) -> String {
        let host = self.host.as_ref().map_or_else(String::new, |host| format!(" at {host}"));
        host + &self.status.map_or_else(String::new, |status| format!(", status {status}"))
    }
}

impl Way {
    /// `sumdb-lookup: 10 at sumdb.test, were 10 at proxy.test`
    pub fn text(&self) -> String {
        let side = |count: u64, at: &[String]| match (count, at) {
            (0, _) => "none".to_owned(),
            (_, []) => count.to_string(),
            (_, at) => format!("{count} at {}", at.join(", ")),
        };
        let (after, before) = (side(self.after, &self.after_at), side(self.before, &self.before_at));
        format!("{}: {after}; before: {before}", words::class(self.class))
    }
}

impl Exact {
    /// What there is more of, each in a line of its own where it is about a module or two, else
    /// together: a line for all that go.sum does not have, and one a class, host and status.
    pub fn regressions(&self) -> Vec<Difference> {
        let mut lines: Vec<Difference> = Vec::new();
        let mut groups: BTreeMap<_, Vec<&Difference>> = BTreeMap::new();
        let lookups = self.more.iter().filter(|one| one.class == Class::SumdbLookup).count();
        for one in &self.more {
            if lookups > 0 && one.phase() == Phase::Sumdb && one.class != Class::SumdbLookup {
                continue; // a part of the same
            }
            groups.entry((one.class, &one.host, one.status)).or_default().push(one);
        }
        for group in groups.values() {
            let sum = |side: fn(&Difference) -> u64| group.iter().map(|one| side(one)).sum();
            if group.len() <= NAMED && group[0].class != Class::SumdbLookup {
                lines.extend(group.iter().map(|one| (*one).clone()));
            } else {
                let count = human::count(group.len() as u64, "module");
                let (before, after) = (sum(|one| one.before), sum(|one| one.after));
                lines.push(Difference { module: Some(count), before, after, ..group[0].clone() });
            }
        }
        lines
    }

    /// go.mod made the command do more than it did.
    pub fn more_work(&self) -> bool {
        [&self.modules_added, &self.modules_reached].into_iter().any(|all| !all.is_empty())
            || !self.modules_changed.is_empty()
    }
}

type Kind = (Class, Option<String>, Option<u16>, Option<String>);

/// Compares.
pub fn exact(before: &Recording, after: &Recording, scope: Scope) -> Exact {
    let requests = |side| Some(first(side).iter().map(|one| one.count).sum());
    let (requests_before, requests_after) = (requests(before), requests(after));
    Exact { requests_before, requests_after, ..judged(before, after, scope) }
}

fn judged(before: &Recording, after: &Recording, scope: Scope) -> Exact {
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
    let mut exact = Exact::default();
    let mut apart = BTreeSet::new();
    if scope.modules {
        apart = modules::compare(&mut exact, after, first(before), first(after));
    }
    let judged = |requests: &&Requests| requests.module.as_ref().is_none_or(|module| !apart.contains(module));
    let of = |side: &Recording| first(side).iter().filter(judged).cloned().collect::<Vec<_>>();
    let (judged_old, judged_new) = (of(before), of(after));
    let mut by_class = BTreeSet::new();
    if scope.hosts || scope.classes {
        exact.ways = ways(before, &judged_old, after, &judged_new);
        by_class =
            exact.ways.iter().filter(|way| way.before == 0 || way.after == 0).map(|way| way.class).collect();
    }
    let blind = |(class, host, status, module): Kind| {
        if scope.hosts { (class, None, None, module) } else { (class, host, status, module) }
    };
    let (old, new) = (kinds(&judged_old, blind), kinds(&judged_new, blind));
    let all: BTreeSet<&Kind> = old.keys().chain(new.keys()).collect();
    for kind in all.into_iter().filter(|kind| !by_class.contains(&kind.0)) {
        let count = |side: &BTreeMap<Kind, u64>| side.get(kind).copied().unwrap_or(0);
        let (class, host, status, module) = kind.clone();
        let difference = Difference { class, host, status, module, before: count(&old), after: count(&new) };
        match difference.after.cmp(&difference.before) {
            std::cmp::Ordering::Greater => exact.more.push(difference),
            std::cmp::Ordering::Less => exact.fewer.push(difference),
            std::cmp::Ordering::Equal => {}
        }
    }
    let looked_up = |one: &&Requests| one.class == Class::SumdbLookup && !judged(one);
    exact.checksums_missing = first(after).iter().filter(looked_up).map(|one| one.count).sum();
    if exact.checksums_missing > 0 && !exact.more.iter().any(|one| one.class == Class::SumdbLookup) {
        // A database is only asked what it is for modules that are not judged.
        exact.more.retain(|one| one.phase() != Phase::Sumdb);
    }
    exact.verdict = Some(if exact.more.is_empty() { Verdict::Passed } else { Verdict::Regressed });
    exact
}

/// Classes that one side does not ask for, or asks of servers of another kind.
fn ways(before: &Recording, old: &[Requests], after: &Recording, new: &[Requests]) -> Vec<Way> {
    let all: BTreeSet<Class> = old.iter().chain(new).filter(|one| steady(one)).map(|one| one.class).collect();
    let of = |side: &Recording, requests: &[Requests], class: Class| {
        let those = || requests.iter().filter(move |one| one.class == class);
        let hosts: BTreeSet<String> = those().filter_map(|one| one.host.clone()).collect();
        let roles: BTreeSet<Role> = hosts.iter().map(|host| Role::of(&side.settings, host)).collect();
        (those().map(|one| one.count).sum::<u64>(), hosts.into_iter().collect::<Vec<_>>(), roles)
    };
    let way = |class: Class| {
        let ((before, before_at, old), (after, after_at, new)) =
            (of(before, old, class), of(after, new, class));
        (old != new).then_some(Way { class, before, before_at, after, after_at })
    };
    all.into_iter().filter_map(way).collect()
}

const fn of_sumdb(requests: &Requests) -> bool {
    matches!(requests.class.phase(), Phase::Sumdb)
}

/// Tiles and tree heads depend on the order of lookups.
const fn steady(requests: &Requests) -> bool {
    !matches!(requests.class, Class::SumdbTile | Class::SumdbLatest)
}

fn kinds(requests: &[Requests], seen: impl Fn(Kind) -> Kind) -> BTreeMap<Kind, u64> {
    let mut counts = BTreeMap::new();
    for one in requests.iter().filter(|one| steady(one)) {
        *counts.entry(seen((one.class, one.host.clone(), one.status, one.module.clone()))).or_default() +=
            one.count;
    }
    counts
}

fn first(recording: &Recording) -> &[Requests] {
    recording.runs.first().map_or(&[], |run| recording.requests_of(run))
}

/// In what two runs of a recording differ.
fn unequal(recording: &Recording) -> Option<String> {
    let one = kinds(first(recording), |kind| kind);
    let other = recording.requests.iter().map(|set| kinds(set, |kind| kind)).find(|other| *other != one)?;
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
    use crate::sample::gate as sample;

    const CHANGED: Scope = Scope { modules: true, hosts: false, classes: false };

    fn add(recording: &mut Recording, class: Class, host: &str, module: Option<&str>, count: u64) {
        recording.requests[0].push(Requests {
            class,
            host: Some(host.into()),
            status: Some(200),
            module: module.map(Into::into),
            version: module.map(|_| "v1.0.0".into()),
            count,
        });
    }

    #[test]
    fn one_request_more_is_found_by_a_single_run() {
        let (before, mut after) = (sample::recording(1), sample::recording(1));
        assert_eq!(exact(&before, &after, Scope::default()).verdict, Some(Verdict::Passed));
        after.requests[0][0].count += 1;
        let found = exact(&before, &after, Scope::default());
        assert_eq!(found.verdict, Some(Verdict::Regressed));
        assert_eq!(found.more[0].text(), "info of example.com/a at proxy.test, status 200: 2, was 1");
        let back = exact(&after, &before, Scope::default());
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
            assert_eq!(exact(&before, &after, Scope::default()).verdict, Some(Verdict::Regressed));
        }
    }

    #[test]
    fn a_go_sum_that_is_no_longer_complete_is_a_class_more() {
        let (before, mut after) = (sample::recording(1), sample::recording(1));
        add(&mut after, Class::SumdbLookup, "sumdb.test", Some("example.com/a"), 1);
        add(&mut after, Class::SumdbTile, "sumdb.test", None, 9);
        let found = exact(&before, &after, Scope::default());
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
        let found = exact(&before, &after, Scope::default());
        assert_eq!(found.verdict, Some(Verdict::Invalid));
        assert_eq!(
            found.why.unwrap(),
            "runs of the new side made different requests: info of example.com/a at proxy.test, status 200: \
             3 and 1"
        );
        for set in &mut after.requests {
            set.push(Requests { class: Class::SumdbSupported, ..set[0].clone() });
        }
        let found = exact(&before, &after, Scope::default());
        assert_eq!(found.verdict, None);
        assert!(found.why.unwrap().starts_with("go.sum is not complete"));
    }

    #[test]
    fn tiles_are_left_to_the_bounded_tier() {
        let mut before = sample::recording(1);
        add(&mut before, Class::SumdbSupported, "sumdb.test", None, 1);
        let mut after = before.clone();
        add(&mut after, Class::SumdbTile, "sumdb.test", None, 9);
        assert_eq!(exact(&before, &after, Scope::default()).verdict, Some(Verdict::Passed));
    }

    #[test]
    fn modules_of_a_changed_go_mod_are_distinguished() {
        let (before, mut after) = (sample::recording(1), sample::recording(1));
        add(&mut after, Class::Zip, "proxy.test", Some("example.com/new"), 1);
        assert_eq!(exact(&before, &after, Scope::default()).verdict, Some(Verdict::Regressed));
        let found = exact(&before, &after, CHANGED);
        assert_eq!(
            (found.verdict, found.modules_added),
            (Some(Verdict::Passed), vec!["example.com/new".into()])
        );
        // What both know counts all the same.
        after.requests[0][0].count += 1;
        assert_eq!(exact(&before, &after, CHANGED).verdict, Some(Verdict::Regressed));
    }

    #[test]
    fn what_was_not_seen_is_not_equal() {
        let (mut before, after) = (sample::recording(1), sample::recording(1));
        before.runs[0].unseen = 2;
        let found = exact(&before, &after, Scope::default());
        assert_eq!(found.verdict, Some(Verdict::Invalid));
        assert!(found.why.unwrap().contains("2 events"));
    }
}
