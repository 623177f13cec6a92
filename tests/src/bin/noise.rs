//! The lab's own noise: `noise [RUNS] [--sessions N] [--json FILE]`. In each session a lab of its
//! own answers RUNS cold, observed `go mod download`s, one more before that does not count. Out:
//! wall time and blocked time by phase of every run, which the gate's tests draw from
//! (`observer/crates/stats/tests/data/runs.json`). Every request is answered 10 ms late, as by a proxy
//! that is near; a dozen modules without dependencies keep a run below a second.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tests::bench::args::Args;
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::proxy::Faults;
use tests::stats::{mean_and_error, median};

/// What a request waits in the lab's proxy.
const DELAY: Duration = Duration::from_millis(10);

/// Everything, for machines.
#[derive(Serialize)]
struct Recorded {
    schema: &'static str,
    about: String,
    sessions: Vec<Vec<Run>>,
}

/// One run, microseconds.
#[derive(Serialize)]
struct Run {
    wall_us: u64,
    phases_us: BTreeMap<String, u64>,
}

fn main() -> Result<()> {
    let args = Args::read("noise [RUNS] [--sessions N] [--json FILE]")?;
    let runs = args.count.unwrap_or(12);
    let mut sessions = Vec::new();
    for session in 0..args.value("--sessions")?.unwrap_or(4) {
        let lab = Lab::start()?;
        lab.proxy.set_faults(Faults { request_delay: DELAY, ..Faults::default() });
        observe(&lab).context("the warm-up")?;
        let session_runs = (0..runs).map(|_| observe(&lab)).collect::<Result<Vec<_>>>()?;
        let walls: Vec<f64> = session_runs.iter().map(|run| run.wall_us as f64 / 1e3).collect();
        let (mean, error) = mean_and_error(&walls);
        let deviation = error * (walls.len() as f64).sqrt();
        println!(
            "session {session}: median {:.1} ms, mean {mean:.1}, deviation {deviation:.1}",
            median(&walls)
        );
        sessions.push(session_runs);
    }
    let about = format!("go mod download in the lab, {} ms a request", DELAY.as_millis());
    let recorded = Recorded { schema: "goobserve.noise/1", about, sessions };
    if let Some(file) = args.value::<PathBuf>("--json")? {
        fs::write(&file, serde_json::to_vec(&recorded)?)
            .with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn observe(lab: &Lab) -> Result<Run> {
    let run = lab.go_run(&GoOptions { go_sum: true, few: true, ..GoOptions::default() })?;
    let observed = lab.observe(&run, &["go", "mod", "download"])?;
    ensure!(observed.output.status.success(), "{}", observed.stderr());
    let command = observed.list("commands").first().context("no command in the report")?;
    let us = |value: &serde_json::Value| value.as_u64().map(|ns| ns / 1000).context("no time");
    let phases = command["phases"].as_array().context("no phases")?;
    let share = |phase: &serde_json::Value| -> Result<(String, u64)> {
        Ok((phase["phase"].as_str().context("no name")?.to_owned(), us(&phase["blocked_ns"])?))
    };
    let mut phases_us = phases.iter().map(share).collect::<Result<BTreeMap<_, _>>>()?;
    // As in a baseline.
    phases_us.retain(|_, us| *us > 0);
    Ok(Run { wall_us: us(&command["wall_ns"])?, phases_us })
}
