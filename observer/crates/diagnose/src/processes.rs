//! A command's children as detectors look at them: in, what is waited for; out, who that is, with whom it
//! talks over the network, and what it costs.

use std::collections::{BTreeMap, BTreeSet};

use model::evidence::Evidence;
use model::id::Pid;
use model::operations::{InFlight, Subject};
use model::record::{Phase, Process};
use model::roles::{Waited, program};
use model::time::{Ns, SinceStart};

use crate::case::{Case, Span, hull, whole};

/// Facts of a sort that are listed.
const FACTS: usize = 4;

/// Children that are one wait: the same helper, asked by whomever.
pub(crate) struct Group<'a> {
    /// Its phase
    pub phase: Phase,
    /// What go waits for, each with the helper that it comes down to, and the youngest below that
    pub waits: Vec<Wait<'a>>,
    /// All processes of them
    pids: BTreeSet<Pid>,
}

/// One child that is waited for.
pub(crate) struct Wait<'a> {
    /// What go started
    pub child: Waited<'a>,
    /// The helper itself
    pub helper: &'a Process,
    /// The youngest process below it
    pub leaf: Option<&'a Process>,
    /// From when to when
    pub span: Span,
}

/// Children of these phases that did not outlive their parents, by helper.
pub(crate) fn groups<'a>(case: &Case<'a>, phase: Phase) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<&str, Group<'a>> = BTreeMap::new();
    for op in &case.in_flight {
        let Subject::Child(child) = op.subject else { continue };
        if child.phase != phase || child.held {
            continue;
        }
        let span = whole(op);
        // As it is just before it ends, or now.
        let at = if op.open { span.1 } else { span.0 + (span.1 - span.0) / 2 };
        let (helper, leaf) = case.roles.helper(child.process, at).unwrap_or((child.process, None));
        let group = groups.entry(program(helper)).or_insert_with(|| Group {
            phase,
            waits: Vec::new(),
            pids: BTreeSet::new(),
        });
        group.pids.extend(case.roles.tree(child.process).iter().map(|life| life.process.pid));
        group.waits.push(Wait { child, helper, leaf, span });
    }
    groups.into_values().collect()
}

impl<'a> Group<'a> {
    /// Whether something in flight is of these children: they themselves, or their network.
    fn is_of(&self, op: &InFlight<'_>) -> bool {
        let held = matches!(op.subject, Subject::Child(child) if child.held);
        op.operation.phase == self.phase && self.pids.contains(&op.subject.pid()) && !held
    }

    /// Blocked time that they and their network are answerable for.
    pub(crate) fn cost(&self, case: &Case<'a>) -> Ns {
        case.cost(|op| self.is_of(op).then_some(whole(op)))
    }

    /// From the first start to the last end.
    pub(crate) fn span(&self) -> Span {
        hull(self.waits.iter().map(|wait| wait.span)).unwrap_or_default()
    }

    /// The one that took longest.
    pub(crate) fn longest(&self) -> Option<&Wait<'a>> {
        self.waits.iter().max_by_key(|wait| wait.span.1 - wait.span.0)
    }

    /// Whom they talked to, the longest first.
    pub(crate) fn hosts(&self, case: &Case<'a>) -> Vec<(String, Ns)> {
        let mut hosts: BTreeMap<&str, Ns> = BTreeMap::new();
        // A request says whom it is for, a name server only who was asked.
        let network = case.in_flight.iter().filter(|op| self.is_of(op) && !op.is_child());
        for op in network.filter(|op| !matches!(op.subject, Subject::Dns(_) | Subject::DnsWait(_))) {
            if let Some(host) = op.operation.host {
                *hosts.entry(host).or_default() += op.operation.end_ns - op.operation.start_ns;
            }
        }
        let mut hosts: Vec<(String, Ns)> =
            hosts.into_iter().map(|(host, took)| (host.to_owned(), took)).collect();
        hosts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        hosts
    }

    /// What was seen of them.
    pub(crate) fn evidence(&self, case: &Case<'a>) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        for wait in self.waits.iter().take(FACTS) {
            evidence.push(ran(wait.helper, case.wall.1));
            evidence.extend(
                wait.leaf.map(|leaf| Evidence::ProcessWaitedFor { args: leaf.args.clone(), pid: leaf.pid }),
            );
        }
        let comm = self.longest().map_or_else(String::new, |wait| program(wait.helper).to_owned());
        let talked = self.hosts(case).into_iter().take(FACTS);
        evidence.extend(talked.map(|(host, took_ns)| Evidence::ChildTalked {
            comm: comm.clone(),
            host,
            took_ns,
        }));
        evidence
    }
}

/// A process with how long it ran, or has run by `now`, and how it ended.
pub(crate) fn ran(process: &Process, now: SinceStart) -> Evidence {
    Evidence::ChildRan {
        comm: program(process).to_owned(),
        pid: process.pid,
        args: process.args.clone(),
        ended: process.end_ns.is_some(),
        exit_code: process.exit_code,
        took_ns: process.end_ns.unwrap_or(now).saturating_sub(process.start_ns),
    }
}
