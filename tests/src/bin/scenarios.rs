//! The scenarios, many times: `scenarios [NAME…] [--runs N] [--rtt MS,MS] [--pairs] [--phases]
//! [--verbose] [--json FILE]`. Each is run so often with each of its round-trip times, and what
//! is not as its file expects is told; the last line says how many runs were right.
//!
//! Without names, all scenarios and all pairs; `--pairs`: only pairs. A name that is the beginning
//! of others stands for all of them. `--phases` leaves the stalls out.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tests::bench::args::Args;
use tests::scenario::{Depth, Scenario, all, check, observe, pairs};

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
    let usage = "scenarios [NAME…] [--runs N] [--rtt MS,MS] [--pairs] [--phases] [--verbose] [--json FILE]";
    let args = Args::read(usage)?;
    let runs = args.value("--runs")?.unwrap_or(20);
    let only: Option<String> = args.value("--rtt")?;
    let only: Option<Vec<u64>> = only
        .map(|list| list.split(',').map(|ms| ms.parse().with_context(|| format!("--rtt {ms}?"))).collect())
        .transpose()?;
    let depth = if args.has("--phases") { Depth::Phases } else { Depth::Stalls };
    let mut rows = Vec::new();
    println!("{:<52} {:>6} {:>9}", "scenario", "RTT ms", "right");
    for (name, scenario) in chosen(&args)? {
        for &rtt_ms in
            scenario.rtts_ms.iter().filter(|rtt| only.as_ref().is_none_or(|only| only.contains(rtt)))
        {
            let row = row(&name, &scenario, rtt_ms, runs, depth, args.has("--verbose"));
            println!("{:<52} {:>6} {:>9}", row.scenario, row.rtt_ms, format!("{}/{}", row.right, row.runs));
            for (wrong, times) in &row.wrong {
                println!("    {times} times: {wrong}");
            }
            rows.push(row);
        }
    }
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

fn chosen(args: &Args) -> Result<Vec<(String, Scenario)>> {
    let mut scenarios = if args.has("--pairs") { Vec::new() } else { all()? };
    scenarios.extend(pairs()?);
    if !args.names.is_empty() {
        scenarios.retain(|(name, _)| args.names.iter().any(|wanted| name.starts_with(wanted)));
        ensure!(!scenarios.is_empty(), "no scenario of that name");
    }
    Ok(scenarios)
}

fn row(name: &str, scenario: &Scenario, rtt_ms: u64, runs: usize, depth: Depth, verbose: bool) -> Row {
    let mut row = Row { scenario: name.to_owned(), rtt_ms, runs, right: 0, wrong: BTreeMap::new() };
    for _ in 0..runs {
        let wrong = match observe(scenario, Duration::from_millis(rtt_ms)) {
            Ok(ran) => {
                if verbose {
                    let command = &ran.report["commands"][0];
                    println!("{:#}\n{:#}\n{}", command["phases"], command["stalls"], ran.stderr);
                }
                check(scenario, &ran, depth)
            }
            Err(error) => vec![format!("{error:#}")],
        };
        row.right += usize::from(wrong.is_empty());
        for wrong in wrong {
            *row.wrong.entry(wrong).or_default() += 1;
        }
    }
    row
}
