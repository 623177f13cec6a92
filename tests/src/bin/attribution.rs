//! Where goobserve books an injected delay: `attribution [PAIRS]`. Each pair is one run without
//! and one with a fault, in alternating order; what the command lost in wall time should have
//! been gained by the phase that was slowed, and by no other.
//!
//! For each fault the table has each phase's gain, its share of the loss (median gain over median
//! loss), and the noise: the standard error of the mean loss as a share of it.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::dns::DnsFaults;
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::proxy::{Faults, HeadDelay, paths};
use tests::stats::{mean_and_error, median};

/// A delay and the phase it belongs to.
struct Experiment {
    name: &'static str,
    phase: &'static str,
    dns: DnsFaults,
    proxy: Faults,
}

/// Wall time and blocked time by phase, milliseconds.
struct Run {
    wall: f64,
    phases: Vec<(String, f64)>,
}

fn main() -> Result<()> {
    let pairs: usize = env::args().nth(1).map_or(Ok(10), |n| n.parse()).context("PAIRS is a number")?;
    ensure!(pairs >= 2, "at least two pairs, for an error");
    let lab = Lab::start()?;
    once(&lab, None)?;
    for experiment in &experiments() {
        let mut results = Vec::new();
        for pair in 0..pairs {
            // Alternating, so that a drift of the machine falls on both sides alike.
            results.push(if pair % 2 == 0 {
                let without = once(&lab, None)?;
                (without, once(&lab, Some(experiment))?)
            } else {
                let with = once(&lab, Some(experiment))?;
                (once(&lab, None)?, with)
            });
        }
        print(experiment, &results);
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
            dns: DnsFaults { delay: half, ..DnsFaults::default() },
            proxy: Faults::default(),
        },
        Experiment {
            name: "500 ms on every TLS handshake",
            phase: "tls",
            dns: DnsFaults::default(),
            proxy: Faults { tls_delay: half, ..Faults::default() },
        },
        Experiment {
            name: "50 ms on every sumdb lookup",
            phase: "sumdb",
            dns: DnsFaults::default(),
            proxy: Faults { head_delays: vec![lookups], ..Faults::default() },
        },
    ]
}

fn once(lab: &Lab, fault: Option<&Experiment>) -> Result<Run> {
    lab.dns.set_faults(fault.map_or_else(DnsFaults::default, |fault| fault.dns.clone()));
    lab.proxy.set_faults(fault.map_or_else(Faults::default, |fault| fault.proxy.clone()));
    let run = lab.go_run(&GoOptions::default())?;
    let observed = lab.observe(&run, &["go", "mod", "download"])?;
    ensure!(observed.output.status.success(), "go mod download failed: {}", observed.stderr());
    ensure!(lab.proxy.log().settled(Duration::from_secs(10)), "connections stayed open");
    lab.proxy.log().take();
    lab.dns.take_log();

    let command = observed.list("commands").first().context("no command in the report")?;
    let ms = |value: &serde_json::Value| value.as_u64().map(|ns| ns as f64 / 1e6);
    let phases = command["phases"].as_array().context("no phases in the report")?;
    let phases = phases
        .iter()
        .map(|phase| Some((phase["phase"].as_str()?.to_owned(), ms(&phase["blocked_ns"])?)))
        .collect::<Option<_>>()
        .context("a phase without its name or its blocked_ns")?;
    Ok(Run { wall: ms(&command["wall_ns"]).context("no wall_ns")?, phases })
}

fn print(experiment: &Experiment, results: &[(Run, Run)]) {
    let losses: Vec<f64> = results.iter().map(|(without, with)| with.wall - without.wall).collect();
    let (mean, error) = mean_and_error(&losses);
    let loss = median(&losses);
    println!("\n{}, {} pairs", experiment.name, results.len());
    println!(
        "wall without {:.0} ms, with {:.0} ms (medians); loss {loss:.1} ms, noise {:.1} %",
        median(&results.iter().map(|(without, _)| without.wall).collect::<Vec<_>>()),
        median(&results.iter().map(|(_, with)| with.wall).collect::<Vec<_>>()),
        100.0 * (error / mean).abs(),
    );
    println!("{:<14} {:>10} {:>10} {:>10} {:>8}", "phase", "min ms", "median ms", "max ms", "share");
    for (index, (phase, _)) in results[0].0.phases.iter().enumerate() {
        let mut gains: Vec<f64> = results
            .iter()
            .filter_map(|(without, with)| Some(with.phases.get(index)?.1 - without.phases[index].1))
            .collect();
        gains.sort_by(f64::total_cmp);
        let (least, most) = (gains.first().copied(), gains.last().copied());
        let gain = median(&gains);
        let mark = if phase == experiment.phase { "  <- slowed" } else { "" };
        println!(
            "{phase:<14} {:>10.1} {gain:>10.1} {:>10.1} {:>8.2}{mark}",
            least.unwrap_or(f64::NAN),
            most.unwrap_or(f64::NAN),
            gain / loss
        );
    }
}
