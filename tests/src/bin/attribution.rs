//! Where goobserve books an injected delay: `attribution [PAIRS] [NAME…] [--list] [--pairs]
//! [--markdown] [--seed N] [--json FILE]`; see [`tests::attribution`].
//!
//! A NAME is a word of the names that `--list` prints, or several joined by `+`: `sample`,
//! `dns+small`. Printed is a row an experiment, with `--pairs` each pair too, then the promises
//! that were not kept, and with `--markdown` the small table of README.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tests::attribution::{Outcome, experiments, measure, own_mounts, table};
use tests::bench::args::Args;
use tests::bench::order::Coin;
use tests::bench::verdict::Verdict;
use tests::bench::watched::adopt;

fn main() -> Result<()> {
    let usage = "attribution [PAIRS] [NAME…] [--list] [--pairs] [--markdown] [--seed N] [--json FILE]";
    let args = Args::read(usage)?;
    let chosen: Vec<_> = experiments::all().into_iter().filter(|one| one.is_chosen(&args.names)).collect();
    ensure!(!chosen.is_empty(), "no experiment of that name; --list lists them");
    if args.has("--list") {
        chosen.iter().for_each(|experiment| println!("{}", experiment.name()));
        return Ok(());
    }
    let seed = args.value("--seed")?.unwrap_or_else(Coin::seed);
    let mut coin = Coin::new(seed);
    own_mounts()?;
    adopt()?;
    println!("{}", table::HEAD);
    let mut outcomes = Vec::new();
    for experiment in &chosen {
        let pairs = args.count.unwrap_or(experiment.pairs);
        let outcome = measure(experiment, pairs, &mut coin).with_context(|| experiment.name())?;
        println!("{}", table::row(&outcome));
        if args.has("--pairs") {
            eprintln!("{}", table::pairs(&outcome));
        }
        outcomes.push(outcome);
    }
    let verdicts: Vec<Verdict> = outcomes.iter().flat_map(Outcome::verdicts).collect();
    let missed = verdicts.iter().filter(|verdict| verdict.met != Some(true));
    missed.clone().for_each(|verdict| println!("{verdict}"));
    println!("\n{} of {} bars met; seed {seed}", verdicts.len() - missed.count(), verdicts.len());
    if args.has("--markdown") {
        println!("\n{}", table::by_phase(&outcomes));
    }
    if let Some(file) = args.value::<PathBuf>("--json")? {
        let schema = "goobserve.bench.attribution/2";
        let json = serde_json::json!({
            "schema": schema, "seed": seed, "verdicts": verdicts, "experiments": outcomes
        });
        fs::write(&file, serde_json::to_vec_pretty(&json)?)
            .with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}
