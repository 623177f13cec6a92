//! How long reports of large recordings take, and how much memory: `report_scale [COUNT]`. For that
//! many requests, or else 75,000 and 300,000, recordings of several shapes, in memory, through
//! `goobserve report`.

use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::bench::args::Args;
use tests::bench::process::peak_memory;
use tests::bench::recording::write;

/// How often its memory is read: what it takes in its last moment is not seen.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);
/// Shapes: name, connections for that many requests, status of an answer, different paths.
const SHAPES: [(&str, u64, u16, u64); 4] = [
    ("one connection", u64::MAX, 200, u64::MAX),
    ("a connection for six requests", 6, 200, u64::MAX),
    ("nothing is there", u64::MAX, 404, u64::MAX),
    ("repeated", u64::MAX, 200, 100),
];

fn main() -> Result<()> {
    let sizes = match Args::read("report_scale [COUNT]")?.count {
        Some(requests) => vec![requests as u64],
        None => vec![75_000, 300_000],
    };
    let folder = tempfile::tempdir_in("/dev/shm").context("no folder in memory")?;
    let file = folder.path().join("recording.jsonl");
    println!("{:>9} {:<30} {:<9} {:>8} {:>11}", "requests", "shape", "format", "seconds", "MB at most");
    for requests in sizes {
        for shape in SHAPES {
            write(&file, requests, shape)?;
            for format in ["text", "json", "markdown", "html", "perfetto"] {
                let (seconds, peak) = report(&file, format)?;
                println!("{requests:>9} {:<30} {format:<9} {seconds:>8.2} {peak:>11}", shape.0);
            }
        }
    }
    Ok(())
}

/// Seconds, and the peak of its memory in megabytes.
fn report(file: &Path, format: &str) -> Result<(f64, u64)> {
    let begun = Instant::now();
    let mut report = Process::new(tests::goobserve::binary()?);
    report.args(["report", "--format", format]).arg(file).stdout(Stdio::null());
    let mut child = report.spawn().context("goobserve does not start")?;
    let mut peak = 0;
    let status = loop {
        peak = peak_memory(child.id()).unwrap_or(0).max(peak);
        match child.try_wait()? {
            Some(status) => break status,
            None => sleep(SAMPLE_EVERY),
        }
    };
    ensure!(status.success(), "no report as {format}");
    Ok((begun.elapsed().as_secs_f64(), peak >> 20))
}
