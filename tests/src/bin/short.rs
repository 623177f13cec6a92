//! Short go commands beside `goobserve watch`: `short [COMMANDS] [--pairs N] [--seed N]
//! [--json FILE] [--programs]`.
//!
//! First their slowdown: pairs of blocks of a hundred commands, one block beside goobserve and
//! one without, in random order; one command at a time and two in turns. The ratio of the blocks'
//! medians is what is compared: Hodges-Lehmann on its logarithm, with the interval of Wilcoxon's
//! signed-rank test.
//!
//! Then one goobserve beside all commands (10,000 unless reported): its memory after every 500, what
//! it lost, and whether every command was reported with its exit status and its version. `--programs`
//! turns the kernel's statistics on, which cost time themselves, and shows the BPF programs'.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};
use serde::Serialize;
use tests::bench::args::Args;
use tests::bench::order::Coin;
use tests::bench::process::cpu_ns;
use tests::bench::programs::Programs;
use tests::bench::short::{Short, user};
use tests::clock::monotonic_ns;
use tests::lab::Lab;
use tests::stats::{Estimate, hodges_lehmann, median};
use tests::watching::{Memory, Watching};

/// Commands in a block: a second or two.
const BLOCK: usize = 100;
/// Commands between two looks at the memory.
const STEP: usize = 500;

/// Everything, for machines.
#[derive(Serialize)]
struct Results {
    schema: &'static str,
    seed: u64,
    /// Beside goobserve to without: one at a time, two at a time
    slowdown: [Estimate; 2],
    /// Added by goobserve, milliseconds a command
    added_ms: [Estimate; 2],
    commands: usize,
    reported: usize,
    with_exit: usize,
    with_version: usize,
    with_settings: usize,
    lost: Option<u64>,
    /// Agent and worker, after every 500 commands
    memory: Vec<[Memory; 2]>,
    /// CPU of agent and worker, microseconds a command
    cpu_us: [f64; 2],
}

fn main() -> Result<()> {
    let usage = "short [COMMANDS] [--pairs N] [--seed N] [--json FILE] [--programs]";
    let args = Args::read(usage)?;
    let seed = args.value("--seed")?.unwrap_or_else(Coin::seed);
    let lab = Lab::start()?;
    let short = Short::new(&lab)?;
    short.run(BLOCK, 2).context("the warm-up")?;
    let (slowdown, added_ms) = slowdowns(&lab, &short, args.value("--pairs")?.unwrap_or(10), seed)?;
    let mut results = long(&lab, &short, args.count.unwrap_or(10_000), args.has("--programs"))?;
    (results.seed, results.slowdown, results.added_ms) = (seed, slowdown, added_ms);
    print(&results);
    if let Some(file) = args.value::<PathBuf>("--json")? {
        let json = serde_json::to_vec_pretty(&results)?;
        fs::write(&file, json).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// Ratios and differences, each for one and two at a time.
fn slowdowns(lab: &Lab, short: &Short, pairs: usize, seed: u64) -> Result<([Estimate; 2], [Estimate; 2])> {
    let mut coin = Coin::new(seed);
    let (mut ratios, mut added) = ([vec![], vec![]], [vec![], vec![]]);
    println!("{:>4} {:>7} {:>10} {:>10} {:>7}", "pair", "at once", "alone ms", "beside ms", "ratio");
    for number in 0..2 * pairs {
        let at_once = 1 + number % 2;
        let (alone, beside) = coin.pair(
            || short.run(BLOCK, at_once),
            || {
                let watching = Watching::start(lab)?;
                let walls = short.run(BLOCK, at_once)?;
                watching.end()?;
                Ok::<_, anyhow::Error>(walls)
            },
        )?;
        let (alone, beside) = (median(&alone), median(&beside));
        ratios[at_once - 1].push((beside / alone).ln());
        added[at_once - 1].push((beside - alone) / 1e6);
        println!(
            "{:>4} {at_once:>7} {:>10.2} {:>10.2} {:>7.3}",
            number / 2 + 1,
            alone / 1e6,
            beside / 1e6,
            beside / alone
        );
    }
    Ok((ratios.map(|logs| hodges_lehmann(&logs).map(f64::exp)), added.map(|ms| hodges_lehmann(&ms))))
}

/// One goobserve beside all commands.
fn long(lab: &Lab, short: &Short, commands: usize, programs: bool) -> Result<Results> {
    let statistics = programs.then(|| enable_stats(Stats::RunTime)).transpose();
    let _statistics = statistics.context("enable the BPF statistics")?;
    let watching = Watching::start(lab)?;
    let pids = watching.pids();
    let held = Programs::of(pids[0])?;
    let cpu = || pids.map(|pid| cpu_ns(pid).unwrap_or(0));
    let (before, begun) = (cpu(), monotonic_ns());
    let mut memory = vec![watching.memory()?];
    println!("\n{:>9} {:>34} {:>34}", "commands", "agent, KB (anonymous, resident)", "worker, KB");
    let mut done = 0;
    while done < commands {
        let now = STEP.min(commands - done);
        short.run(now, 1 + done / STEP % 2)?;
        done += now;
        let of = watching.memory()?;
        memory.push(of);
        let [agent, worker] = of.map(|m| format!("{:>12} {:>12}", m.anonymous / 1024, m.resident / 1024));
        println!("{done:>9} {agent:>34} {worker:>34}");
    }
    let took = monotonic_ns() - begun;
    watching.has_reported(commands, &[user()])?;
    let after = cpu();
    let cpu_us = std::array::from_fn(|i| after[i].saturating_sub(before[i]) as f64 / 1e3 / commands as f64);
    println!("\n{commands} commands in {:.1} s", took as f64 / 1e9);
    if programs {
        print_programs(&held, commands);
    }
    // A debug build says there what was lost, and why.
    print!("{}", watching.errors());
    let reported = watching.end()?;
    println!("loss: {}", reported.loss);
    let all: Vec<_> = reported.of(&[user()]).collect();
    let count = |has: &dyn Fn(&serde_json::Value) -> bool| all.iter().filter(|command| has(command)).count();
    Ok(Results {
        schema: "goobserve.bench-short/1",
        seed: 0,
        slowdown: [hodges_lehmann(&[]); 2],
        added_ms: [hodges_lehmann(&[]); 2],
        commands,
        reported: all.len(),
        with_exit: count(&|command| command["exit_code"] == 0 && !command["wall_ns"].is_null()),
        with_version: count(&|command| command["go"]["version"].is_string()),
        with_settings: count(&|command| command["go"]["goproxy"].is_string()),
        lost: reported.lost_records(),
        memory,
        cpu_us,
    })
}

/// The programs that took most, a command.
fn print_programs(held: &Programs, commands: usize) {
    let mut times: Vec<_> = held.run_times().into_iter().filter(|(_, (_, runs))| *runs > 0).collect();
    times.sort_by_key(|(_, (ns, _))| std::cmp::Reverse(*ns));
    println!("\n{:<24} {:>13} {:>16} {:>10}", "BPF program", "us a command", "calls a command", "ns a call");
    for (name, (ns, runs)) in times {
        let each = |total: u64| total as f64 / commands as f64;
        println!("{name:<24} {:>13.2} {:>16.1} {:>10}", each(ns) / 1e3, each(runs), ns / runs);
    }
}

fn print(results: &Results) {
    for (at_once, (ratio, added)) in results.slowdown.iter().zip(&results.added_ms).enumerate() {
        if ratio.shift.is_nan() {
            continue; // no pairs were asked for
        }
        println!(
            "{} at a time: {:.3} times as long (95 %: {:.3} to {:.3}), {:.2} ms more ({:.2} to {:.2})",
            at_once + 1,
            ratio.shift,
            ratio.low.unwrap_or(f64::NAN),
            ratio.high.unwrap_or(f64::NAN),
            added.shift,
            added.low.unwrap_or(f64::NAN),
            added.high.unwrap_or(f64::NAN),
        );
    }
    println!(
        "{} commands: {} reported, {} with their exit, {} with version, {} with settings; lost: {}",
        results.commands,
        results.reported,
        results.with_exit,
        results.with_version,
        results.with_settings,
        results.lost.map_or_else(|| "unknown".to_owned(), |lost| lost.to_string()),
    );
    println!(
        "CPU a command: agent {:.0} us, worker {:.0} us; seed {}",
        results.cpu_us[0], results.cpu_us[1], results.seed
    );
}
