//! How often the gate errs, by simulation: gates are drawn from 240 real runs in the lab
//! (`data/runs.json`, written by `cargo xtask bench noise`), on which the floors were chosen,
//! and from 240 that were made when they were fixed (`fresh.json`). Every draw has a fixed seed.

use std::collections::{BTreeMap, BTreeSet};

use model::record::{Class, Machine, Phase};
use serde_json::Value;
use stats::compare::CacheKind;
use stats::estimators;
use stats::gate::baseline::{Baseline, Recording, Requests, Run, SCHEMA, Settings};
use stats::gate::verdict::{Hypothesis, Verdict, judge};
use stats::gate::{Design, Floors, Outcome};

const SIMULATIONS: u32 = 400;
const PROXY: &str = "proxy.test";

/// Real runs.
struct Data {
    which: &'static str,
    sessions: Vec<Vec<Run>>,
    /// Looks of gates that pass without a change, and those that find a tenth, at their noise
    pass: Vec<Vec<usize>>,
    find: Vec<usize>,
}

/// Those that the floors were chosen on, 2.3 % apart, and others, 5.9 % apart: the same machine at
/// another time.
fn data() -> [Data; 2] {
    let (chosen, fresh) = (include_str!("data/runs.json"), include_str!("data/fresh.json"));
    let (sessions, again) = (sessions(chosen), sessions(fresh));
    let pass = vec![vec![10], estimators::interim_analyses(10, 40)];
    let more = estimators::interim_analyses(30, 60);
    [
        Data { which: "chosen on", sessions, pass, find: estimators::interim_analyses(10, 20) },
        Data { which: "fresh", sessions: again, pass: vec![more.clone()], find: more },
    ]
}

fn sessions(recorded: &str) -> Vec<Vec<Run>> {
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let run = |run: &Value| {
        let phases: BTreeMap<Phase, u64> = serde_json::from_value(run["phases_us"].clone()).unwrap();
        let phases: BTreeMap<Phase, u64> = phases.into_iter().map(|(phase, us)| (phase, us * 1000)).collect();
        let of = |phases_of: &[Phase]| phases_of.iter().filter_map(|phase| phases.get(phase)).sum();
        Run {
            wall_ns: run["wall_us"].as_u64().unwrap() * 1000,
            hosts: BTreeMap::from([
                (PROXY.to_owned(), of(&[Phase::Proxy, Phase::Tls, Phase::Connect])),
                ("192.0.2.53:53".to_owned(), of(&[Phase::Dns])),
            ]),
            phases,
            connections: 2,
            dns: 2,
            tiles: 0,
            retransmissions: 0,
            requests: 0,
            unseen: 0,
        }
    };
    let session = |session: &Value| session.as_array().unwrap().iter().map(run).collect();
    recorded["sessions"].as_array().unwrap().iter().map(session).collect()
}

/// A small generator, so that a draw is the same everywhere (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        (self.unit() * limit as f64) as usize
    }

    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// So many runs drawn from a session, each as much longer.
fn draw(random: &mut Random, session: &[Run], runs: usize, factor: f64) -> Vec<Run> {
    let one = |_| {
        let mut run = session[random.below(session.len())].clone();
        let scaled = |ns: &mut u64| *ns = (*ns as f64 * factor) as u64;
        scaled(&mut run.wall_ns);
        run.phases.values_mut().chain(run.hosts.values_mut()).for_each(scaled);
        run
    };
    (0..runs).map(one).collect()
}

fn recording(runs: Vec<Run>) -> Recording {
    let request =
        Requests { class: Class::Zip, host: None, status: Some(200), module: None, version: None, count: 10 };
    Recording {
        started_unix_ns: 0,
        machine: Machine::default(),
        cpu: None,
        settings: Settings::default(),
        requests: vec![vec![request]],
        runs,
        findings: vec![],
    }
}

fn side(recordings: Vec<Recording>) -> Baseline {
    Baseline {
        schema: SCHEMA.into(),
        tool: String::new(),
        command: vec!["go".into()],
        cache: CacheKind::Cold,
        with: vec![],
        recordings,
    }
}

/// `gate ab`: pairs of a session, looked at as `--runs` and `--max-runs` say; and after how many.
fn ab(before: &[Run], after: &[Run], analyses: &[usize]) -> (Outcome, usize) {
    let alphas = estimators::spending(analyses, 0.05);
    for (analysis, alpha) in analyses.iter().zip(alphas) {
        let of = |runs: &[Run]| side(vec![recording(runs[..*analysis].to_vec())]);
        let (before, after) = (of(before), of(after));
        let hypothesis = Hypothesis {
            before: &before,
            after: &after,
            design: Design::Pairs,
            floors: Floors::PAIRS,
            alpha,
        };
        let outcome = judge(&hypothesis);
        if outcome.verdict != Verdict::Inconclusive || analysis == analyses.last().unwrap() {
            return (outcome, *analysis);
        }
    }
    unreachable!("the last analysis returns")
}

/// `gate run` against so many recordings; what a session is slower or faster lies so far apart.
fn stored(
    random: &mut Random,
    sessions: &[Vec<Run>],
    recordings: usize,
    spread: f64,
    slower: f64,
) -> Outcome {
    let mut one = |factor: f64| {
        let luck = (spread * random.normal()).exp() * factor;
        let session = random.below(sessions.len());
        recording(draw(random, &sessions[session], 10, luck))
    };
    let before = side((0..recordings).map(|_| one(1.0)).collect());
    let after = side(vec![one(slower)]);
    judge(&Hypothesis {
        before: &before,
        after: &after,
        design: Design::Recordings,
        floors: Floors::RECORDINGS,
        alpha: 0.05,
    })
}

/// The upper end of the 95 % interval of a share (Clopper and Pearson), one-sided.
fn at_most(hits: u32, of: u32) -> f64 {
    use statrs::distribution::{Beta, ContinuousCDF as _};
    if hits == of {
        return 1.0;
    }
    Beta::new(f64::from(hits + 1), f64::from(of - hits)).unwrap().inverse_cdf(0.95)
}

/// Counts verdicts of gates that nothing changed between.
#[track_caller]
fn nothing_changed(name: &str, has_to_pass: bool, mut gate: impl FnMut(&mut Random) -> Outcome) {
    let mut random = Random(20);
    let (mut regressed, mut passed, mut named) = (0, 0, 0);
    for _ in 0..SIMULATIONS {
        let outcome = gate(&mut random);
        regressed += u32::from(outcome.verdict == Verdict::Regressed);
        passed += u32::from(outcome.verdict == Verdict::Passed);
        named += u32::from(outcome.time.unwrap().parts.iter().any(|part| part.named));
    }
    let bounds = (at_most(regressed, SIMULATIONS), at_most(named, SIMULATIONS));
    println!("{name}: of {SIMULATIONS} regressed {regressed}, passed {passed}, named a phase {named}");
    assert!(bounds.0 <= 0.05 && bounds.1 <= 0.05, "{name}: regressed {regressed}, named {named}");
    assert!(!has_to_pass || passed * 10 >= SIMULATIONS * 9, "{name}: passed {passed}");
}

#[test]
fn pairs_without_a_change_pass() {
    for Data { which, sessions, pass, .. } in data() {
        assert!(sessions.iter().map(Vec::len).sum::<usize>() >= 200);
        // Ten pairs may leave it open, and never err.
        let ten = Some(vec![10]).filter(|ten| !pass.contains(ten));
        let analyses =
            pass.iter().map(|analyses| (analyses, true)).chain(ten.iter().map(|analyses| (analyses, false)));
        for ((analyses, has_to_pass), spread) in
            analyses.flat_map(|analyses| [(analyses, 0.0), (analyses, 0.05)])
        {
            let name = format!("{which}: ab, sessions {spread} apart, analyses {analyses:?}");
            nothing_changed(&name, has_to_pass, |random| {
                let session = &sessions[random.below(sessions.len())];
                let luck = (spread * random.normal()).exp();
                let last = *analyses.last().unwrap();
                let (before, after) = (draw(random, session, last, luck), draw(random, session, last, luck));
                ab(&before, &after, analyses).0
            });
        }
    }
}

#[test]
fn new_runs_against_a_stored_baseline_pass_when_nothing_changed() {
    for Data { which, sessions, .. } in data() {
        for (recordings, spread) in [(1, 0.05), (5, 0.0), (5, 0.05), (10, 0.05), (20, 0.05)] {
            nothing_changed(&format!("{which}: {recordings} recordings, {spread} apart"), true, |random| {
                stored(random, &sessions, recordings, spread, 1.0)
            });
        }
    }
}

#[test]
fn a_slowdown_of_a_tenth_is_found_with_at_most_twenty_pairs_or_as_many_as_the_noise_takes() {
    for Data { which, sessions, find, .. } in data() {
        let noise: Vec<f64> = sessions
            .iter()
            .map(|session| {
                let walls: Vec<f64> = session.iter().map(|run| run.wall_ns as f64).collect();
                let mean = walls.iter().sum::<f64>() / walls.len() as f64;
                (walls.iter().map(|wall| (wall - mean).powi(2)).sum::<f64>() / (walls.len() - 1) as f64)
                    .sqrt()
                    / mean
            })
            .collect();
        let noise = estimators::median(&noise).unwrap();
        println!("{which}: runs {:.1} % apart", noise * 100.0);
        for analyses in BTreeSet::from([estimators::interim_analyses(10, 20), find.clone()]) {
            let (mut random, mut found, mut pairs) = (Random(21), 0, 0);
            let most = *analyses.last().unwrap();
            for _ in 0..SIMULATIONS {
                let session = &sessions[random.below(sessions.len())];
                let (before, after) =
                    (draw(&mut random, session, most, 1.0), draw(&mut random, session, most, 1.1));
                let (outcome, used) = ab(&before, &after, &analyses);
                found += u32::from(outcome.verdict == Verdict::Regressed);
                pairs += used;
            }
            let mean = pairs as f64 / f64::from(SIMULATIONS);
            println!(
                "{which}: 10 % more, analyses {analyses:?}: {found} of {SIMULATIONS}, {mean:.1} pairs each"
            );
            assert!(analyses != find || found * 100 >= SIMULATIONS * 95, "{found} of {SIMULATIONS}");
        }
    }
}

#[test]
fn a_phase_that_doubles_is_named() {
    for Data { which, sessions, .. } in data() {
        for phase in [Phase::Proxy, Phase::Local] {
            let (mut random, mut named) = (Random(22), 0);
            for _ in 0..SIMULATIONS {
                let session = &sessions[random.below(sessions.len())];
                let (before, mut after) =
                    (draw(&mut random, session, 20, 1.0), draw(&mut random, session, 20, 1.0));
                for run in &mut after {
                    let more = run.phases[&phase];
                    assert!(more > Floors::PAIRS.absolute_ns);
                    run.wall_ns += more;
                    *run.phases.get_mut(&phase).unwrap() += more;
                    *run.hosts.get_mut(PROXY).unwrap() += if phase == Phase::Proxy { more } else { 0 };
                }
                let (outcome, _) = ab(&before, &after, &[10, 20]);
                let time = outcome.time.unwrap();
                let most = time.most(false).unwrap();
                named += u32::from(most.named && most.phase == Some(phase));
            }
            println!("{which}: {phase:?} doubled: named in {named} of {SIMULATIONS}");
            assert!(named * 100 >= SIMULATIONS * 95, "{phase:?}: {named} of {SIMULATIONS}");
        }
    }
}

#[test]
fn a_stored_baseline_finds_what_stands_out() {
    for Data { which, sessions, .. } in data() {
        let (mut random, mut found) = (Random(23), 0);
        for _ in 0..SIMULATIONS {
            let outcome = stored(&mut random, &sessions, 5, 0.05, 2.0);
            found += u32::from(outcome.verdict == Verdict::Regressed);
        }
        println!("{which}: twice as long, 5 recordings 5 % apart: {found} of {SIMULATIONS}");
        assert!(found * 100 >= SIMULATIONS * 95, "{found} of {SIMULATIONS}");
    }
}
