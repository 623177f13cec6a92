//! Makes the recordings of the scenarios again: `record-scenarios [NAME…]`. Each is run once with
//! the first of its round-trip times, and its recording put into `tests/data/recordings`, where
//! `cargo test` takes it for the detectors' regression test. Pairs have none.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::bench::args::Args;
use tests::scenario::{DEPTH, all, check, observe, recording_file};

/// Larger ones do not belong into a repository.
const MOST: usize = 60 * 1024;

fn main() -> Result<()> {
    let args = Args::read("record-scenarios [NAME…]")?;
    let mut too_large = Vec::new();
    for (name, scenario) in all()? {
        if !scenario.is_recorded() || !(args.names.is_empty() || args.names.contains(&name)) {
            continue;
        }
        let rtt = scenario.rtts_ms.first().copied().unwrap_or(0);
        let ran = observe(&scenario, Duration::from_millis(rtt)).with_context(|| name.clone())?;
        let wrong = check(&scenario, &ran, DEPTH);
        ensure!(wrong.is_empty(), "{name} is not as its file expects: {wrong:?}");
        let size = ran.recording.len();
        if size > MOST {
            too_large.push(format!("{name} ({size} bytes)"));
            continue;
        }
        let file = recording_file(&name);
        fs::create_dir_all(file.parent().context("a file without a folder")?)?;
        fs::write(&file, ran.recording).with_context(|| format!("write {}", file.display()))?;
        println!("{size:>6} {name}");
    }
    ensure!(too_large.is_empty(), "too large, give them a `not_recorded`: {}", too_large.join(", "));
    Ok(())
}
