//! goobserve's wall times beside hyperfine's, of the same runs: `hyperfine [RUNS] [--json FILE]`.
//! hyperfine runs a cold `go mod download` in the lab, `goobserve watch` watches it. Needs the
//! Debian package hyperfine. hyperfine's clock starts before its fork and stops after its wait,
//! so its times are a little longer; means and deviations have to agree otherwise.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::bench::args::Args;
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::proxy::Faults;
use tests::stats::mean_and_error;
use tests::watching::Watching;

fn main() -> Result<()> {
    let args = Args::read("hyperfine [RUNS] [--json FILE]")?;
    let runs = args.count.unwrap_or(20);
    let lab = Lab::start()?;
    lab.proxy.set_faults(Faults { request_delay: Duration::from_millis(10), ..Faults::default() });
    let run = lab.go_run(&GoOptions { go_sum: true, few: true, ..GoOptions::default() })?;
    let watching = Watching::start(&lab)?;
    let file = run.file("hyperfine.json");
    let mut command = run.command("hyperfine");
    command.args(["-N", "--style", "none", "--warmup", "1", "--runs", &runs.to_string()]);
    command.args(["--prepare", "sh -c 'rm -rf \"$GOMODCACHE\" \"$GOPATH/pkg\"'"]);
    command.arg("--export-json").arg(&file).arg("go mod download");
    let output = lab.output(&mut command)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Other go commands of the machine are reported too: ours are those of our folder.
    let ours = |reported: &tests::watching::Reported| -> Vec<f64> {
        let project = run.project();
        let is_ours = |command: &&Value| command["cwd"].as_str() == project.to_str();
        let wall = |command: &Value| command["wall_ns"].as_u64().map(|ns| ns as f64 / 1e9);
        reported.commands.values().filter(is_ours).filter_map(wall).collect()
    };
    // Its own user is the only one here; the last command is reported within a moment of its end.
    watching.has_reported(runs + 1, &[nix::unistd::geteuid().as_raw()])?;
    let all = ours(&watching.end()?);
    ensure!(all.len() == runs + 1, "{} of {} runs were reported", all.len(), runs + 1);
    let goobserve = &all[1..];
    let result: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let times = result["results"][0]["times"].as_array().context("hyperfine gave no times")?;
    let hyperfine: Vec<f64> = times.iter().filter_map(Value::as_f64).collect();
    let summary = |times: &[f64]| {
        let (mean, error) = mean_and_error(times);
        (mean * 1e3, error * (times.len() as f64).sqrt() * 1e3)
    };
    let ((h_mean, h_deviation), (g_mean, g_deviation)) = (summary(&hyperfine), summary(goobserve));
    let apart: Vec<f64> = hyperfine.iter().zip(goobserve).map(|(h, g)| (h - g) * 1e3).collect();
    let most = apart.iter().copied().fold(f64::MIN, f64::max);
    let least = apart.iter().copied().fold(f64::MAX, f64::min);
    println!("{runs} cold runs of go mod download");
    println!("hyperfine: mean {h_mean:.2} ms, deviation {h_deviation:.2} ms");
    println!("goobserve: mean {g_mean:.2} ms, deviation {g_deviation:.2} ms");
    println!("hyperfine less goobserve, by run: {least:.2} to {most:.2} ms");
    if let Some(path) = args.value::<PathBuf>("--json")? {
        let all = json!({
            "schema": "goobserve.bench-hyperfine/1",
            "hyperfine_ms": { "mean": h_mean, "deviation": h_deviation },
            "goobserve_ms": { "mean": g_mean, "deviation": g_deviation },
            "difference_ms": apart,
        });
        fs::write(&path, serde_json::to_vec_pretty(&all)?)?;
    }
    Ok(())
}
