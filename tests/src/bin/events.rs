//! What an event costs on its way: `events [PAIRS] [--before FILE] [--seed N] [--sample N]`. Each pair is
//! a cold `go mod download` of the sample under `goobserve run --record`, by this program and by
//! another one (`--before`, an earlier build), in random order. Out come the recordings' bytes a
//! request, by type of event, the worker's CPU a request, and the time from start to the command's
//! exec: medians, and the ratios pair by pair.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::bench::args::Args;
use tests::bench::order::Coin;
use tests::bench::verdict::Verdict;
use tests::bench::watched::{Sampling, adopt, watch_by};
use tests::go_env::GoOptions;
use tests::goobserve::binary;
use tests::lab::Lab;
use tests::stats::median;

const COMMAND: [&str; 3] = ["go", "mod", "download"];

/// One observed run.
struct Run {
    requests: usize,
    /// Bytes and lines of the recording, by type of event
    bytes: BTreeMap<String, (usize, usize)>,
    /// CPU of the worker while the command runs and in all, nanoseconds
    during_ns: u64,
    all_ns: u64,
    start_ns: u64,
}

impl Run {
    fn recorded(&self) -> f64 {
        self.bytes.values().map(|(bytes, _)| bytes).sum::<usize>() as f64 / self.requests as f64
    }

    /// Bytes a request; microseconds of CPU a request, while the command runs and in all; milliseconds.
    fn figures(&self) -> [f64; 4] {
        let of_request = |ns: u64| ns as f64 / 1e3 / self.requests as f64;
        [self.recorded(), of_request(self.during_ns), of_request(self.all_ns), self.start_ns as f64 / 1e6]
    }
}

fn main() -> Result<()> {
    let args = Args::read("events [PAIRS] [--before FILE] [--seed N]")?;
    let pairs = args.count.unwrap_or(10);
    let before: Option<PathBuf> = args.value("--before")?;
    let mut coin = Coin::new(args.value("--seed")?.unwrap_or_else(Coin::seed));
    adopt()?;
    let lab = Lab::start()?;
    let now = binary()?;
    let (mut befores, mut nows) = (Vec::new(), Vec::new());
    println!(
        "{:>4} {:>28} {:>28} {:>28} {:>20}",
        "", "bytes a request", "during µs", "in all µs", "start ms"
    );
    for number in 0..=pairs {
        let (first, second) = match &before {
            Some(before) => {
                let (first, second) = coin.pair(|| run(&lab, before), || run(&lab, &now))?;
                (Some(first), second)
            }
            None => (None, run(&lab, &now)?),
        };
        if number == 0 {
            continue; // the warm-up
        }
        let figures = (first.as_ref().map(Run::figures), second.figures());
        print!("{number:>4}");
        for n in 0..4 {
            let width = if n == 3 { 9 } else { 13 };
            let before = figures.0.map_or_else(String::new, |figures| format!("{:.1}", figures[n]));
            print!(" {before:>width$} {:>width$.1}", figures.1[n]);
        }
        println!();
        befores.extend(first);
        nows.push(second);
    }
    types(&befores, &nows);
    let column = |runs: &[Run], n: usize| runs.iter().map(|run| run.figures()[n]).collect::<Vec<_>>();
    let names = [
        "recording, bytes a request",
        "worker, µs a request, during",
        "worker, µs a request, in all",
        "start to exec, ms",
    ];
    println!();
    for (n, name) in names.into_iter().enumerate() {
        let (before, now) = (median(&column(&befores, n)), median(&column(&nows, n)));
        println!("{name:<32} {before:>9.1} {now:>9.1}");
    }
    if before.is_some() {
        let ratio = |n: usize| {
            let pairs = column(&befores, n).into_iter().zip(column(&nows, n));
            median(&pairs.map(|(before, now)| now / before).collect::<Vec<_>>())
        };
        println!();
        println!("{}", Verdict::at_most("recordings' bytes a request, ratio", ratio(0), 0.5, ""));
        println!("{}", Verdict::at_most("worker's CPU while the command runs, ratio", ratio(1), 0.6, ""));
        println!("{}", Verdict::at_most("worker's CPU in all, ratio", ratio(2), 0.6, ""));
        println!("{}", Verdict::at_most("start to exec, ratio", ratio(3), 1.05, ""));
    }
    Ok(())
}

fn run(lab: &Lab, goobserve: &Path) -> Result<Run> {
    let run = lab.go_run(&GoOptions::default())?;
    let recording = run.dir().join("recording.jsonl");
    let options = [OsStr::new("--record"), recording.as_os_str()];
    let watched = watch_by(goobserve, &options, lab, &run, &COMMAND, Sampling::Costs)?;
    lab.forget()?;
    let lost = watched.lost().context("the report does not say what was lost")?;
    ensure!(lost == 0, "{lost} events were lost");
    let costs = watched.costs.as_ref().context("no costs")?;
    let mut bytes: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for line in fs::read_to_string(&recording).context("read the recording")?.lines() {
        let event: Value = serde_json::from_str(line).context("a line of the recording")?;
        let sum = bytes.entry(event["type"].as_str().unwrap_or("?").to_owned()).or_default();
        *sum = (sum.0 + line.len() + 1, sum.1 + 1);
    }
    if let Some(file) = std::env::var_os("EVENTS_KEEP") {
        fs::copy(&recording, file)?;
    }
    Ok(Run {
        requests: watched.list("requests").len(),
        bytes,
        during_ns: costs.worker.during_ns,
        all_ns: costs.worker.all_ns,
        start_ns: watched.start_ns,
    })
}

/// What the last recordings are made of.
fn types(befores: &[Run], nows: &[Run]) {
    println!("\n{:<16} {:>10} {:>7} {:>10} {:>7}", "type", "bytes", "lines", "bytes", "lines");
    let (before, now) = (befores.last().map(|run| &run.bytes), nows.last().map(|run| &run.bytes));
    let names = before.into_iter().chain(now).flat_map(BTreeMap::keys);
    for name in names.collect::<std::collections::BTreeSet<_>>() {
        let of = |bytes: Option<&BTreeMap<String, (usize, usize)>>| {
            bytes.and_then(|bytes| bytes.get(name)).copied().unwrap_or_default()
        };
        let (before, now) = (of(before), of(now));
        println!("{name:<16} {:>10} {:>7} {:>10} {:>7}", before.0, before.1, now.0, now.1);
    }
}
