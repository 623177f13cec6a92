//! Where goobserve books an injected delay: `attribution [PAIRS] [--sample] [--seed N] [--json FILE]`.
//! Each pair is one observed run without and one with a fault, in random order; what the command
//! lost in wall time should have been gained by the phase that was slowed, and by no other.
//!
//! The workload is a few of the smallest modules, one download at a time, for then hardly
//! anything else varies: a run takes tens of milliseconds without the fault and half a second
//! more with it. `--sample` takes the whole sample instead, where the CPU time of a run varies
//! by more than the delay: more pairs are needed then for as good an answer.
//!
//! Printed are, for each pair, the loss and what each phase gained; the share of the loss that
//! the slowed phase gained, pair by pair (Hodges-Lehmann and the interval of Wilcoxon's
//! signed-rank test); and the noise: the standard error of the mean loss as a share of it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tests::bench::args::Args;
use tests::bench::few;
use tests::bench::order::Coin;
use tests::bench::verdict::Verdict;
use tests::bench::watched::{Look, adopt, watch};
use tests::dns::DnsFaults;
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::proxy::{Faults, HeadDelay, paths};
use tests::stats::{Estimate, hodges_lehmann, mean_and_error, median};

/// A delay, the phase it belongs to, and how many modules are downloaded.
struct Experiment {
    name: &'static str,
    phase: &'static str,
    modules: usize,
    dns: DnsFaults,
    proxy: Faults,
}

/// Wall time and blocked time by phase, milliseconds.
#[derive(Clone, Debug, Serialize)]
struct Run {
    wall: f64,
    phases: Vec<(String, f64)>,
}

/// An experiment's outcome.
#[derive(Serialize)]
struct Outcome {
    name: &'static str,
    phase: &'static str,
    loss_ms: f64,
    /// Standard error of the mean loss, share of it
    noise: f64,
    /// Of the loss, in the slowed phase
    share: Estimate,
    pairs: Vec<(Run, Run)>,
}

fn main() -> Result<()> {
    let args = Args::read("attribution [PAIRS] [--sample] [--seed N] [--json FILE]")?;
    let pairs = args.count.unwrap_or(10);
    ensure!(pairs >= 2, "at least two pairs, for an error");
    let seed = args.value("--seed")?.unwrap_or_else(Coin::seed);
    let mut coin = Coin::new(seed);
    adopt()?;
    let lab = Lab::start()?;
    let sample = args.has("--sample");
    let mut outcomes = Vec::new();
    for experiment in &experiments() {
        let run = |fault| once(&lab, experiment, fault, sample);
        run(false).context("the warm-up")?;
        let results =
            (0..pairs).map(|_| coin.pair(|| run(false), || run(true))).collect::<Result<Vec<_>>>()?;
        let outcome = outcome(experiment, results);
        print(&outcome);
        outcomes.push(outcome);
    }
    let verdicts: Vec<Verdict> = outcomes.iter().flat_map(verdicts).collect();
    println!();
    for verdict in &verdicts {
        println!("{verdict}");
    }
    println!("\nseed {seed}");
    if let Some(file) = args.value::<PathBuf>("--json")? {
        let schema = "goobserve.bench.attribution/1";
        let json = serde_json::json!({
            "schema": schema, "seed": seed, "sample": sample, "verdicts": verdicts, "experiments": outcomes
        });
        fs::write(&file, serde_json::to_vec_pretty(&json)?)
            .with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn experiments() -> Vec<Experiment> {
    let half = Duration::from_millis(500);
    let lookups =
        HeadDelay { matches: paths(|path| path.contains("/lookup/")), delay: Duration::from_millis(50) };
    vec![
        Experiment {
            name: "500 ms on every DNS answer",
            phase: "dns",
            modules: 1,
            dns: DnsFaults { delay: half, ..DnsFaults::default() },
            proxy: Faults::default(),
        },
        Experiment {
            name: "500 ms on every TLS handshake",
            phase: "tls",
            modules: 1,
            dns: DnsFaults::default(),
            proxy: Faults { tls_delay: half, ..Faults::default() },
        },
        Experiment {
            name: "50 ms on every sumdb lookup",
            phase: "sumdb",
            modules: 12,
            dns: DnsFaults::default(),
            proxy: Faults { head_delays: vec![lookups], ..Faults::default() },
        },
    ]
}

fn once(lab: &Lab, experiment: &Experiment, fault: bool, sample: bool) -> Result<Run> {
    let (dns, proxy) =
        if fault { (experiment.dns.clone(), experiment.proxy.clone()) } else { Default::default() };
    lab.dns.set_faults(dns);
    lab.proxy.set_faults(proxy);
    let one_by_one = GoOptions { gomaxprocs: Some(1), ..GoOptions::default() };
    let run = if sample { lab.go_run(&GoOptions::default())? } else { few::project(lab, &one_by_one)? };
    let modules = if sample { Vec::new() } else { few::smallest(lab, experiment.modules)? };
    let command: Vec<&str> =
        ["go", "mod", "download"].into_iter().chain(modules.iter().map(String::as_str)).collect();
    let observed = watch(lab, &run, &command, Look::Times)?;
    lab.forget()?;
    ensure!(observed.lost() == Some(0), "events were lost: {}", observed.report["loss"]);

    let ms = |value: &serde_json::Value| value.as_u64().map(|ns| ns as f64 / 1e6);
    let command = observed.command();
    let phases = command["phases"].as_array().context("no phases in the report")?;
    let phases = phases
        .iter()
        .map(|phase| Some((phase["phase"].as_str()?.to_owned(), ms(&phase["blocked_ns"])?)))
        .collect::<Option<_>>()
        .context("a phase without its name or its blocked_ns")?;
    Ok(Run { wall: ms(&command["wall_ns"]).context("no wall_ns")?, phases })
}

fn loss((without, with): &(Run, Run)) -> f64 {
    with.wall - without.wall
}

/// What a phase gained in a pair.
fn gain((without, with): &(Run, Run), phase: &str) -> f64 {
    let blocked = |run: &Run| run.phases.iter().find(|(name, _)| name == phase).map(|(_, blocked)| *blocked);
    blocked(with).unwrap_or(0.0) - blocked(without).unwrap_or(0.0)
}

fn outcome(experiment: &Experiment, pairs: Vec<(Run, Run)>) -> Outcome {
    let losses: Vec<f64> = pairs.iter().map(loss).collect();
    let (mean, error) = mean_and_error(&losses);
    let shares: Vec<f64> = pairs.iter().map(|pair| gain(pair, experiment.phase) / loss(pair)).collect();
    Outcome {
        name: experiment.name,
        phase: experiment.phase,
        loss_ms: median(&losses),
        noise: (error / mean).abs(),
        share: hodges_lehmann(&shares),
        pairs,
    }
}

fn print(outcome: &Outcome) {
    let names: Vec<&str> = outcome.pairs[0].0.phases.iter().map(|(name, _)| name.as_str()).collect();
    // Phases that never gained anything are left out.
    let gained = |name: &&str| outcome.pairs.iter().any(|pair| gain(pair, name).abs() >= 0.05);
    let names: Vec<&str> = names.into_iter().filter(gained).collect();
    println!("\n{}: what each phase gained, ms (`{}` was slowed)", outcome.name, outcome.phase);
    print!("{:>6} {:>9} {:>9} {:>9} {:>7}", "pair", "without", "with", "loss", "share");
    for name in &names {
        print!(" {name:>11}");
    }
    println!();
    for (number, pair) in outcome.pairs.iter().enumerate() {
        let share = gain(pair, outcome.phase) / loss(pair);
        print!(
            "{:>6} {:>9.1} {:>9.1} {:>9.1} {share:>7.3}",
            number + 1,
            pair.0.wall,
            pair.1.wall,
            loss(pair)
        );
        for name in &names {
            print!(" {:>11.2}", gain(pair, name));
        }
        println!();
    }
    let end = |end: Option<f64>| end.map_or_else(|| "-".to_owned(), |end| format!("{end:.3}"));
    println!(
        "share {:.3} ({} to {}), median loss {:.1} ms, noise of the loss {:.2} %",
        outcome.share.shift,
        end(outcome.share.low),
        end(outcome.share.high),
        outcome.loss_ms,
        100.0 * outcome.noise,
    );
}

fn verdicts(outcome: &Outcome) -> [Verdict; 3] {
    let name = outcome.name;
    [
        Verdict::at_least(format!("{name}: share at least"), outcome.share.shift, 0.95, ""),
        Verdict::at_most(format!("{name}: share at most"), outcome.share.shift, 1.05, ""),
        Verdict::at_most(format!("{name}: noise"), 100.0 * outcome.noise, 2.0, "%"),
    ]
}
