//! What goobserve costs: `overhead [PAIRS] [--cpu-pairs N] [--seed N] [--json FILE]`. Each pair
//! is `go mod download` of the sample with cold caches in memory, over HTTP/2, in a lab without
//! faults: once alone and once under `goobserve run --report none`, in random order.
//!
//! Wall times are compared as ratios, pair by pair: Hodges-Lehmann on their logarithms, with the
//! interval of Wilcoxon's signed-rank test. CPU, memory and the time in BPF programs come from
//! pairs of their own (`--cpu-pairs`), for measuring them takes time: there the kernel's
//! statistics are on for as long as this program runs.
//!
//! CPU of goobserve is that of its processes, read from their own clocks at their end, and not a
//! difference in which the command's much larger CPU would be; the time in BPF programs is on
//! the account of whoever caused them, the whole machine's processes, and so comes on top.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};
use serde::Serialize;
use tests::bench::alone::{Alone, alone};
use tests::bench::args::Args;
use tests::bench::order::Coin;
use tests::bench::process::load;
use tests::bench::verdict::Verdict;
use tests::bench::watched::{Costs, Sampling, Watched, adopt, watch};
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::stats::{Estimate, hodges_lehmann, median, quantile};

const COMMAND: [&str; 3] = ["go", "mod", "download"];

/// What was asked for.
struct Options {
    pairs: usize,
    cpu_pairs: usize,
    seed: u64,
    json: Option<PathBuf>,
}

/// One command, alone and observed.
#[derive(Serialize)]
struct Pair {
    alone: Alone,
    observed: Watched,
    /// Events and requests that are missing in the report
    lost: u64,
    requests_missed: u64,
    load: Option<f64>,
}

/// Everything, for machines.
#[derive(Serialize)]
struct Results {
    schema: &'static str,
    seed: u64,
    ratios: BTreeMap<&'static str, Estimate>,
    cpu: BTreeMap<&'static str, Estimate>,
    verdicts: Vec<Verdict>,
    wall_pairs: Vec<Pair>,
    cpu_pairs: Vec<Pair>,
}

fn main() -> Result<()> {
    let options = options()?;
    adopt()?;
    let lab = Lab::start()?;
    let mut coin = Coin::new(options.seed);
    pair(&lab, &mut coin, Sampling::Times).context("the warm-up")?;

    println!(
        "{:>4} {:>10} {:>10} {:>7} {:>10} {:>7} {:>8} {:>8} {:>5} {:>5}   load",
        "pair", "alone ms", "observed", "ratio", "whole ms", "ratio", "start", "detach", "lost", "missed"
    );
    let mut wall_pairs = Vec::new();
    for number in 1..=options.pairs {
        let pair = pair(&lab, &mut coin, Sampling::Times)?;
        print_wall(number, &pair);
        wall_pairs.push(pair);
    }
    println!(
        "\n{:>4} {:>10} {:>28} {:>28}   of the command's CPU",
        "pair", "alone", "while it runs", "in all"
    );
    println!(
        "{:>4} {:>10} {:>9} {:>9} {:>8} {:>9} {:>9} {:>8} {:>8} {:>7} {:>7}   memory",
        "", "CPU ms", "agent", "worker", "BPF", "agent", "worker", "BPF", "detach", "during", "in all"
    );
    let mut cpu_pairs = Vec::new();
    {
        // For as long as the descriptor is open; the sysctl stays as it is.
        let _statistics = enable_stats(Stats::RunTime).context("enable the BPF statistics")?;
        for number in 1..=options.cpu_pairs {
            let pair = pair(&lab, &mut coin, Sampling::Costs)?;
            print_cpu(number, &pair);
            cpu_pairs.push(pair);
        }
    }
    let results = results(options.seed, wall_pairs, cpu_pairs);
    print(&results);
    if let Some(file) = options.json {
        let json = serde_json::to_vec_pretty(&results)?;
        fs::write(&file, json).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn options() -> Result<Options> {
    let args = Args::read("overhead [PAIRS] [--cpu-pairs N] [--seed N] [--json FILE]")?;
    Ok(Options {
        pairs: args.count.unwrap_or(40),
        cpu_pairs: args.value("--cpu-pairs")?.unwrap_or(10),
        seed: args.value("--seed")?.unwrap_or_else(Coin::seed),
        json: args.value("--json")?,
    })
}

fn pair(lab: &Lab, coin: &mut Coin, sampling: Sampling) -> Result<Pair> {
    // Fresh folders are made and removed outside of what is timed.
    let first = lab.go_run(&GoOptions::default())?;
    let second = lab.go_run(&GoOptions::default())?;
    let load = load();
    let mut served = 0;
    let (alone, observed) = coin.pair(
        || {
            let result = alone(lab, &mut first.go(&COMMAND[1..]));
            lab.forget()?;
            result
        },
        || {
            let result = watch(lab, &second, &COMMAND, sampling);
            served = lab.forget()?;
            result
        },
    )?;
    let lost = observed.lost().context("the report does not say what was lost")?;
    let requests_missed = served.abs_diff(observed.list("requests").len()) as u64;
    Ok(Pair { alone, observed, lost, requests_missed, load })
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// The command's, by the report; seen from outside; goobserve from start to end.
fn ratios(pair: &Pair) -> [f64; 3] {
    let alone = pair.alone.wall_ns as f64;
    let observed = &pair.observed;
    [observed.reported_ns, observed.command_ns, observed.whole_ns].map(|ns| ns as f64 / alone)
}

fn print_wall(number: usize, pair: &Pair) {
    let observed = &pair.observed;
    let [reported, _, whole] = ratios(pair);
    println!(
        "{number:>4} {:>10.1} {:>10.1} {reported:>7.3} {:>10.1} {whole:>7.3} {:>8.1} {:>8.1} {:>5} {:>5}   {:.2}",
        ms(pair.alone.wall_ns),
        ms(observed.reported_ns),
        ms(observed.whole_ns),
        ms(observed.start_ns),
        ms(observed.detach_ns),
        pair.lost,
        pair.requests_missed,
        pair.load.unwrap_or(f64::NAN),
    );
}

/// CPU of goobserve's processes and programs as shares of the command's own CPU, alone: while
/// the command runs, and in all.
fn shares(pair: &Pair, costs: &Costs) -> [f64; 2] {
    let of_alone = |ns: u64| ns as f64 / pair.alone.cpu_ns as f64;
    let during = costs.agent.during_ns + costs.worker.during_ns + costs.bpf.during_ns;
    let all = costs.agent.all_ns + costs.worker.all_ns + costs.bpf.all_ns + costs.detach_cpu_ns;
    [of_alone(during), of_alone(all)]
}

fn print_cpu(number: usize, pair: &Pair) {
    let Some(costs) = &pair.observed.costs else { return };
    let [during, all] = shares(pair, costs);
    println!(
        "{number:>4} {:>10.1} {:>9.1} {:>9.1} {:>8.1} {:>9.1} {:>9.1} {:>8.1} {:>8.1} {:>6.2}% {:>6.2}%   {:.1} MB",
        ms(pair.alone.cpu_ns),
        ms(costs.agent.during_ns),
        ms(costs.worker.during_ns),
        ms(costs.bpf.during_ns),
        ms(costs.agent.all_ns),
        ms(costs.worker.all_ns),
        ms(costs.bpf.all_ns),
        ms(costs.detach_cpu_ns),
        100.0 * during,
        100.0 * all,
        megabytes(costs),
    );
}

fn megabytes(costs: &Costs) -> f64 {
    (costs.agent_memory + costs.worker_memory) as f64 / 1e6
}

fn results(seed: u64, wall_pairs: Vec<Pair>, cpu_pairs: Vec<Pair>) -> Results {
    let ratio = |which: usize| {
        let logs: Vec<f64> = wall_pairs.iter().map(|pair| ratios(pair)[which].ln()).collect();
        hodges_lehmann(&logs).map(f64::exp)
    };
    let ratios = BTreeMap::from([
        ("command, by the report", ratio(0)),
        ("command, from outside", ratio(1)),
        ("goobserve, start to end", ratio(2)),
    ]);
    let costs: Vec<(&Pair, &Costs)> =
        cpu_pairs.iter().filter_map(|pair| Some((pair, pair.observed.costs.as_ref()?))).collect();
    let share = |of: &dyn Fn(&Pair, &Costs) -> f64| {
        let percent: Vec<f64> = costs.iter().map(|(pair, costs)| 100.0 * of(pair, costs)).collect();
        hodges_lehmann(&percent)
    };
    let observed_cpu = |costs: &Costs| {
        let own = costs.agent.all_ns + costs.worker.all_ns + costs.detach_cpu_ns;
        costs.rusage_cpu_ns.saturating_sub(own) as f64
    };
    let cpu = BTreeMap::from([
        ("while the command runs", share(&|pair, costs| shares(pair, costs)[0])),
        ("in all", share(&|pair, costs| shares(pair, costs)[1])),
        // The rise includes BPF programs and probes on the command's own account.
        ("rise of the command's own", share(&|p, costs| observed_cpu(costs) / p.alone.cpu_ns as f64 - 1.0)),
    ]);
    let all = || wall_pairs.iter().chain(&cpu_pairs);
    let mut starts: Vec<f64> = wall_pairs.iter().map(|pair| ms(pair.observed.start_ns)).collect();
    starts.sort_by(f64::total_cmp);
    let memory = costs.iter().map(|(_, costs)| megabytes(costs)).fold(f64::NAN, f64::max);
    let high = |estimate: &Estimate| estimate.high.unwrap_or(f64::NAN);
    let verdicts = vec![
        Verdict::at_most(
            "wall ratio, upper end, by the report",
            high(&ratios["command, by the report"]),
            1.03,
            "",
        ),
        Verdict::at_most(
            "wall ratio, upper end, from outside",
            high(&ratios["command, from outside"]),
            1.03,
            "",
        ),
        Verdict::at_most(
            "CPU while the command runs, upper end",
            high(&cpu["while the command runs"]),
            6.0,
            "%",
        ),
        Verdict::at_most("CPU in all, upper end", high(&cpu["in all"]), 6.0, "%"),
        Verdict::at_most("peak memory, agent and worker, highest", memory, 60.0, "MB"),
        Verdict::at_most("start to attached, 95 of 100", quantile(&starts, 0.95), 200.0, "ms"),
        Verdict::at_most("events lost, all runs", all().map(|pair| pair.lost as f64).sum(), 0.0, ""),
        Verdict::at_most("requests missed, all runs", all().map(|p| p.requests_missed as f64).sum(), 0.0, ""),
    ];
    Results { schema: "goobserve.bench.overhead/1", seed, ratios, cpu, verdicts, wall_pairs, cpu_pairs }
}

fn print(results: &Results) {
    let line = |name: &str, e: &Estimate| {
        let end = |end: Option<f64>| end.map_or_else(|| "-".to_owned(), |end| format!("{end:.4}"));
        let (low, high) = (end(e.low), end(e.high));
        println!("{name:<30} {:>9.4} {:>9.4} {low:>9} {high:>9}", e.median, e.shift);
    };
    let head =
        |name: &str| println!("\n{name:<30} {:>9} {:>9} {:>9} {:>9}", "median", "H-L", "95 % low", "high");
    head(&format!("wall ratio, {} pairs", results.wall_pairs.len()));
    for (name, estimate) in &results.ratios {
        line(name, estimate);
    }
    head(&format!("CPU, % of the command's, {} pairs", results.cpu_pairs.len()));
    for (name, estimate) in &results.cpu {
        line(name, estimate);
    }
    print_programs(results);
    let starts: Vec<f64> = results.wall_pairs.iter().map(|pair| ms(pair.observed.start_ns)).collect();
    let detaches: Vec<f64> = results.wall_pairs.iter().map(|pair| ms(pair.observed.detach_ns)).collect();
    println!(
        "\nstart to the command's exec {:.1} ms, from goobserve's end until detached {:.1} ms (medians)\n",
        median(&starts),
        median(&detaches)
    );
    for verdict in &results.verdicts {
        println!("{verdict}");
    }
    println!("\nseed {}", results.seed);
}

/// The programs that took most.
fn print_programs(results: &Results) {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let costs = results.cpu_pairs.iter().filter_map(|pair| pair.observed.costs.as_ref());
    for (name, (ns, runs)) in costs.flat_map(|costs| &costs.programs) {
        let sum = sums.entry(name).or_default();
        *sum = (sum.0 + ns, sum.1 + runs);
    }
    let mut sums: Vec<_> = sums.into_iter().filter(|(_, (_, runs))| *runs > 0).collect();
    sums.sort_by_key(|(_, (ns, _))| std::cmp::Reverse(*ns));
    println!("\n{:<30} {:>9} {:>10} {:>9}", "BPF program", "ms a run", "calls", "ns a call");
    let n = results.cpu_pairs.len() as u64;
    for (name, (ns, runs)) in sums.into_iter().take(8) {
        println!("{name:<30} {:>9.2} {:>10} {:>9}", ms(ns / n), runs / n, ns / runs);
    }
}
