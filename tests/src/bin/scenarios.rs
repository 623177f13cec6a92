//! The scenarios, many times: `scenarios [NAME…] [--runs N] [--rtt MS,MS] [--pairs] [--phases]
//! [--jobs N] [--verbose] [--json FILE]`. Each is run so often with each of its round-trip times, and what
//! is not as its file expects is reported; the last line says how many runs were right.
//!
//! Without names, all scenarios and all pairs; `--pairs`: only pairs. A name that is the beginning
//! of others stands for all of them. `--phases` leaves the stalls out. `--jobs`: so
//! many at a time, each in its own namespaces; those that need the processor or the disk run alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tests::bench::args::Args;
use tests::scenario::{Depth, Ran, Scenario, all, check, observe, pairs};

/// A scenario at a round-trip time.
#[derive(Serialize)]
struct Row {
    scenario: String,
    rtt_ms: u64,
    runs: usize,
    right: usize,
    /// What was wrong, how often
    wrong: BTreeMap<String, usize>,
}

fn main() -> Result<()> {
    let usage = "scenarios [NAME…] [--runs N] [--rtt MS,MS] [--pairs] [--phases] [--jobs N] [--verbose] [--json FILE]";
    let args = Args::read(usage)?;
    let runs = args.value("--runs")?.unwrap_or(20);
    let jobs: usize = args.value("--jobs")?.unwrap_or(1);
    let only: Option<String> = args.value("--rtt")?;
    let only: Option<Vec<u64>> = only
        .map(|list| list.split(',').map(|ms| ms.parse().with_context(|| format!("--rtt {ms}?"))).collect())
        .transpose()?;
    let depth = if args.has("--phases") { Depth::Phases } else { Depth::Stalls };
    let wanted = |rtt: &u64| only.as_ref().is_none_or(|only| only.contains(rtt));
    let scenarios = chosen(&args)?;
    let each: Vec<(&str, &Scenario, u64)> = scenarios
        .iter()
        .flat_map(|(name, scenario)| scenario.rtts_ms.iter().map(move |rtt| (&**name, scenario, *rtt)))
        .filter(|(_, _, rtt)| wanted(rtt))
        .collect();
    let verbose = args.has("--verbose");
    println!("{:<52} {:>6} {:>9}", "scenario", "RTT ms", "right");
    let rows = in_parallel(jobs, &each, |(name, scenario, rtt_ms), busy| {
        row(name, scenario, *rtt_ms, runs, busy, |ran| {
            if verbose {
                let command = &ran.report["commands"][0];
                println!("{:#}\n{:#}\n{}", command["phases"], command["stalls"], ran.stderr);
            }
            check(scenario, ran, depth)
        })
    });
    let (right, all) = rows.iter().fold((0, 0), |sum, row| (sum.0 + row.right, sum.1 + row.runs));
    println!("{right} of {all} runs as expected");
    if let Some(file) = args.value::<PathBuf>("--json")? {
        let json = serde_json::json!({"schema": "goobserve.bench-scenarios/1", "rows": rows});
        fs::write(&file, serde_json::to_vec_pretty(&json)?)
            .with_context(|| format!("write {}", file.display()))?;
    }
    ensure!(right == all, "{} runs were not as expected", all - right);
    Ok(())
}

/// Does all of it, `jobs` at a time; what needs the machine for itself takes the lock for writing.
fn in_parallel<T: Sync, R: Send>(
    jobs: usize,
    all: &[T],
    one: impl Fn(&T, &RwLock<()>) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let busy = RwLock::new(());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(item) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = one(item, &busy);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn chosen(args: &Args) -> Result<Vec<(String, Scenario)>> {
    let mut scenarios = if args.has("--pairs") { Vec::new() } else { all()? };
    scenarios.extend(pairs()?);
    if !args.names.is_empty() {
        scenarios.retain(|(name, _)| args.names.iter().any(|wanted| name.starts_with(wanted)));
        ensure!(!scenarios.is_empty(), "no scenario of that name");
    }
    Ok(scenarios)
}

/// Runs a scenario and prints its line.
fn row(
    name: &str,
    scenario: &Scenario,
    rtt_ms: u64,
    runs: usize,
    busy: &RwLock<()>,
    wrong_with: impl Fn(&Ran) -> Vec<String>,
) -> Row {
    let mut row = Row { scenario: name.to_owned(), rtt_ms, runs, right: 0, wrong: BTreeMap::new() };
    for _ in 0..runs {
        let ran = if scenario.is_alone() {
            let _alone = busy.write().unwrap_or_else(PoisonError::into_inner);
            observe(scenario, Duration::from_millis(rtt_ms))
        } else {
            let _beside = busy.read().unwrap_or_else(PoisonError::into_inner);
            observe(scenario, Duration::from_millis(rtt_ms))
        };
        let wrong = ran.map_or_else(|error| vec![format!("{error:#}")], |ran| wrong_with(&ran));
        row.right += usize::from(wrong.is_empty());
        for wrong in wrong {
            *row.wrong.entry(wrong).or_default() += 1;
        }
    }
    let mut reported =
        format!("{:<52} {:>6} {:>9}", row.scenario, row.rtt_ms, format!("{}/{}", row.right, row.runs));
    for (wrong, times) in &row.wrong {
        let _ = write!(reported, "\n    {times} times: {wrong}");
    }
    println!("{reported}");
    row
}
