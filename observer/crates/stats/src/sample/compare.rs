//! Pairs of runs as tests need them.

use model::record::Phase;
use model::report::{Command, PhaseShare, Remedy, Report, Severity, Stall};
use model::stall::StallKind;
use model::time::{Ns, SinceStart};

use crate::compare::{About, Answer, CacheKind, End, answer};

const MS: u64 = 1_000_000;

/// A report of a command that waited for the proxy and was busy for 100 ms.
pub fn report(proxy_ms: u64, stalls: Vec<Stall>) -> Report {
    let share = |phase, blocked_ns| PhaseShare {
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
    };
    let phases = vec![share(Phase::Proxy, proxy_ms * MS), share(Phase::Local, 100 * MS)];
    let command = Command { wall_ns: (proxy_ms + 100) * MS, phases, stalls, ..Command::default() };
    Report { commands: vec![command], started_unix_ns: proxy_ms, ..Report::default() }
}

pub fn stall(kind: StallKind, cost_ns: Ns) -> Stall {
    Stall {
        kind: kind.into(),
        phase: Phase::Proxy,
        host: Some("proxy.test".to_owned()),
        severity: Severity::Warning,
        start_ns: SinceStart::ZERO,
        end_ns: SinceStart(cost_ns),
        cost_ns,
        summary: "2 downloads at once on an idle machine".to_owned(),
        evidence: Vec::new(),
        advice: String::new(),
        fatal: false,
        remedies: ["concurrency=16", "http1"]
            .map(|name| Remedy {
                name: name.to_owned(),
                why: String::new(),
                attempt: format!("goobserve compare --with {name} -- go mod download"),
            })
            .to_vec(),
    }
}

pub fn about() -> About {
    About {
        command: ["go", "mod", "download"].map(str::to_owned).to_vec(),
        cache: CacheKind::Cold,
        runs_wanted: 6,
        names: ["baseline".to_owned(), "concurrency=16".to_owned()],
        remedies: [Vec::new(), vec!["concurrency=16".to_owned()]],
    }
}

/// Six pairs, each a little slower than the one before.
pub fn pairs(baseline_ms: u64, tried_ms: u64, stalls: &[Stall]) -> Vec<[Report; 2]> {
    let pair =
        |n: u64| [report(baseline_ms + 10 * n, stalls.to_vec()), report(tried_ms + 10 * n, Vec::new())];
    (0..6).map(pair).collect()
}

pub fn of(pairs: &[[Report; 2]]) -> Answer {
    answer(about(), pairs, End::Complete, Vec::new())
}
