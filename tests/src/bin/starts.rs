//! Go binaries that nobody has seen before, beside `goobserve watch`: `starts [STARTS] [--json FILE]`.
//!
//! So many starts (100 unless reported) without `--hold-exec`, with 20 ms to the lab's servers, and as
//! many with it at loopback; each start a fresh copy of the go binary. Of each: whether every request
//! was reported. Then what exec costs: `go version` by fresh copies, in blocks without goobserve, beside
//! `watch`, and beside `watch --hold-exec`, in turns.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tests::bench::args::Args;
use tests::lab::Lab;
use tests::proxy::Faults;
use tests::starts::{Fresh, differences, far_away};
use tests::stats::{median, quantile};
use tests::watching::Watching;

/// Starts in a block.
const BLOCK: usize = 20;
/// What runs beside the blocks.
const PROGRAMS: [(&str, Option<&[&str]>); 3] =
    [("nothing", None), ("watch", Some(&[])), ("watch --hold-exec", Some(&["--hold-exec"]))];

/// What runs beside, and of exec and of the whole `go version` the median and the 95th percentile,
/// milliseconds.
type Cost = (&'static str, [f64; 2], [f64; 2]);

/// Everything, for machines.
#[derive(Serialize)]
struct Results {
    schema: &'static str,
    starts: usize,
    /// Starts of which every request was reported
    complete_far: usize,
    complete_held: usize,
    exec_ms: Vec<Cost>,
}

fn main() -> Result<()> {
    let args = Args::read("starts [STARTS] [--json FILE]")?;
    let starts = args.count.unwrap_or(100);
    let lab = Lab::start()?;
    far_away(&lab, Duration::from_millis(20));
    let complete_far = complete(&lab, starts, &[])?;
    lab.dns.set_faults(tests::dns::DnsFaults::default());
    lab.proxy.set_faults(Faults::default());
    let complete_held = complete(&lab, starts, &["--hold-exec"])?;
    let exec_ms = costs(&lab, starts)?;
    let results =
        Results { schema: "goobserve.bench-starts/1", starts, complete_far, complete_held, exec_ms };
    println!(
        "every request reported: {complete_far} of {starts} at 20 ms, {complete_held} of {starts} held at loopback"
    );
    println!("{:<20} {:>24} {:>24}", "beside", "exec ms (p50, p95)", "go version ms (p50, p95)");
    for (name, exec, whole) in &results.exec_ms {
        println!("{name:<20} {:>15.2} {:>8.2} {:>15.2} {:>8.2}", exec[0], exec[1], whole[0], whole[1]);
    }
    if let Some(file) = args.value::<PathBuf>("--json")? {
        let json = serde_json::to_vec_pretty(&results)?;
        fs::write(&file, json).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// How many of the starts were reported with every request; says of the others what is missing.
fn complete(lab: &Lab, count: usize, args: &[&str]) -> Result<usize> {
    let watching = Watching::start_with(lab, args)?;
    let mut starts = Vec::with_capacity(count);
    for number in 0..count {
        let fresh = Fresh::new()?;
        let mut start = fresh.download(lab, &fresh.binary(), number)?;
        start.run(lab)?;
        starts.push(start);
    }
    let (differences, reported) = differences(lab, watching, &starts)?;
    differences.iter().for_each(|difference| println!("{difference}"));
    println!("watch {}: loss {}", args.join(" "), reported.loss);
    Ok(count - differences.len())
}

fn costs(lab: &Lab, count: usize) -> Result<Vec<Cost>> {
    let mut times = PROGRAMS.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..count.div_ceil(BLOCK) {
        for ((_, args), (execs, wholes)) in PROGRAMS.iter().zip(&mut times) {
            let watching = args.map(|args| Watching::start_with(lab, args)).transpose()?;
            for _ in 0..BLOCK.min(count) {
                let (exec, whole) = Fresh::new()?.version(lab)?;
                execs.push(exec as f64 / 1e6);
                wholes.push(whole as f64 / 1e6);
            }
            watching.map(Watching::end).transpose()?;
        }
    }
    let summary = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        [median(&values), quantile(&values, 0.95)]
    };
    Ok(PROGRAMS
        .iter()
        .zip(times)
        .map(|((name, _), (exec, whole))| (*name, summary(exec), summary(whole)))
        .collect())
}
