//! Baselines as tests need them: small, complete, with a little noise that is always the same.

use std::collections::BTreeMap;

use model::record::{Class, Machine, Phase};
use model::stall::StallKind;

use crate::compare::CacheKind;
use crate::gate::baseline::{Baseline, Finding, Recording, Requests, Run, SCHEMA, Settings};
use crate::gate::module::Module;

/// A baseline of so many recordings with so many runs each.
pub fn baseline(recordings: usize, runs: usize) -> Baseline {
    let one = |index: usize| {
        let mut recording = recording(runs);
        // Recordings lie up to 2 % apart.
        for run in &mut recording.runs {
            scale(run, 1.0 + 0.01 * ((index % 5) as f64 - 2.0));
        }
        recording
    };
    Baseline {
        schema: SCHEMA.into(),
        tool: "goobserve 0.1.0".into(),
        command: ["go", "mod", "download"].map(Into::into).to_vec(),
        cache: CacheKind::Cold,
        with: vec![],
        recordings: (0..recordings).map(one).collect(),
    }
}

/// A private module's name that left for the proxy in four runs.
pub fn private_name() -> Finding {
    Finding {
        kind: StallKind::PrivateNameLeft.into(),
        phase: Phase::Proxy,
        host: Some("proxy.test".into()),
        summary: "3 requests with the name of a private module left for proxy.test (git.test/lib)".into(),
        runs: 4,
    }
}

/// A recording of so many runs of about 2 s.
pub fn recording(runs: usize) -> Recording {
    let request = |class, module: &str| Requests {
        class,
        host: Some("proxy.test".into()),
        status: Some(200),
        module: Some(module.into()),
        version: Some("v1.0.0".into()),
        count: 1,
    };
    Recording {
        started_unix_ns: 1_700_000_000_000_000_000,
        machine: Machine { kernel: "6.18.0".into(), arch: "x86_64".into(), cpus: 2, ..Machine::default() },
        cpu: Some("A CPU".into()),
        settings: Settings {
            go_version: Some("go1.26.8".into()),
            gomaxprocs: Some(2),
            goproxy: Some("https://proxy.test".into()),
            gosumdb: Some("sumdb.test".into()),
            goflags: Some(String::new()),
            godebug: Some(String::new()),
            go_mod: Some("fnv1a:1".into()),
            go_sum: Some("fnv1a:2".into()),
            module: Some(Module::default()),
            go_command: Some("go mod download".into()),
        },
        requests: vec![vec![
            request(Class::Info, "example.com/a"),
            request(Class::Mod, "example.com/a"),
            request(Class::Zip, "example.com/a"),
        ]],
        runs: (0..runs).map(run).collect(),
        findings: Vec::new(),
    }
}

fn run(index: usize) -> Run {
    let mut run = Run {
        wall_ns: 2_000_000_000,
        phases: BTreeMap::from([
            (Phase::Dns, 100_000_000),
            (Phase::Proxy, 1_500_000_000),
            (Phase::Local, 400_000_000),
        ]),
        hosts: BTreeMap::from([("proxy.test".into(), 1_500_000_000)]),
        connections: 2,
        dns: 2,
        tiles: 0,
        retransmissions: 0,
        requests: 0,
        unseen: 0,
    };
    // Within 2 %, no two alike.
    scale(&mut run, 1.0 + 0.02 * (index as f64 * 2.4).sin());
    run
}

/// Makes a run so many times as long.
pub fn scale(run: &mut Run, factor: f64) {
    let scaled = |ns: &mut u64| *ns = (*ns as f64 * factor) as u64;
    scaled(&mut run.wall_ns);
    run.phases.values_mut().chain(run.hosts.values_mut()).for_each(scaled);
}

/// Makes a phase of a run at proxy.test so much longer, and the total with it.
pub fn delay(run: &mut Run, phase: Phase, ns: u64) {
    run.wall_ns += ns;
    *run.phases.entry(phase).or_default() += ns;
    *run.hosts.entry("proxy.test".into()).or_default() += ns;
}
