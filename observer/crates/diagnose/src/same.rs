//! One wait under two names. Findings with their costs in; of those whose blocked time is the same, one keeps it,
//! out: the one that is nearest to the cause. That a server answered late is why a command waited; that its answer
//! was an error is why it failed.

use model::evidence::Evidence;
use model::record::Phase;
use model::report::{Severity, Stall};
use model::stall::StallKind;

use crate::Diagnosed;

/// Costs of one wait differ by what its detectors leave out (a round trip, the rest of a body), per cent.
const DIFFER: u64 = 5;

/// Lets each wait cost once. What says why something failed gives way; else what stands first, the worst, keeps
/// it. What gives way says as what it is counted, and is information unless it ended the command.
pub(crate) fn once(found: &mut [Diagnosed]) {
    let counts = |stall: &Stall| {
        let over = stall.kind.is_over_others() && !stall.kind.is_of_failure();
        // What a name that left weighs is no matter of time.
        let time = stall.kind != StallKind::PrivateNameLeft;
        stall.cost_ns > 0 && stall.severity > Severity::Info && !stall.kind.is_across() && !over && time
    };
    let mut order: Vec<usize> = (0..found.len()).filter(|at| counts(&found[*at].stall)).collect();
    order.sort_by_key(|at| found[*at].stall.kind.is_of_failure());
    for (n, &keeper) in order.iter().enumerate() {
        for &other in &order[n + 1..] {
            if found[keeper].stall.cost_ns > 0 && is_same(&found[keeper].stall, &found[other].stall) {
                let kind = found[keeper].stall.kind.clone();
                let stall = &mut found[other].stall;
                stall.evidence.push(Evidence::CountedAs { stall: kind });
                stall.cost_ns = 0;
                if !stall.fatal {
                    stall.severity = Severity::Info;
                }
            }
        }
    }
}

/// Whether both are about the same blocked time: of the same host, in the same phase, as long, at the same time.
fn is_same(a: &Stall, b: &Stall) -> bool {
    let hosts = a.host == b.host || is_of_child(a.phase) && (a.host.is_none() || b.host.is_none());
    let phases = a.phase == b.phase || is_of_child(a.phase) && is_of_child(b.phase);
    let (less, more) = (a.cost_ns.min(b.cost_ns), a.cost_ns.max(b.cost_ns));
    let common = a.end_ns.min(b.end_ns).saturating_sub(a.start_ns.max(b.start_ns));
    let costs = |percent: u64| u128::from(less) * 100 >= u128::from(more) * u128::from(percent);
    a.kind != b.kind && b.cost_ns > 0 && hosts && phases && costs(100 - DIFFER) && common >= less / 2
}

/// Phases of what go waits for a child in: git, what it asks for credentials, and others.
const fn is_of_child(phase: Phase) -> bool {
    matches!(phase, Phase::Auth | Phase::Vcs | Phase::Child)
}
