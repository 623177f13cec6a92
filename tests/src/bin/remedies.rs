//! What remedies bring: `remedies [RUNS] [--public] [--json FILE]`. `goobserve compare` of a cold
//! `go mod download` of the sample in the lab, with and without delay and packet loss; with
//! `--public` also through this machine's own module proxy. Prints a table in Markdown.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::bench::args::Args;
use tests::go_env::GoOptions;
use tests::goobserve::binary;
use tests::lab::Lab;
use tests::net::Place;
use tests::paths;
use tests::proxy::Faults;
use tests::wire::{Direction, Loss, WireFaults};

/// A way to the module proxy.
enum Way {
    /// The lab on loopback, with that delay before every response
    Delay(Duration),
    /// The lab over a way of 20 ms that loses so many packets of a hundred to the client
    Loss(u8),
    /// This machine's own proxy
    Public,
}

fn main() -> Result<()> {
    let args = Args::read("remedies [RUNS] [--public] [--json FILE]")?;
    let runs = args.count.unwrap_or(6).to_string();
    let mut rows = vec![
        ("concurrency=16", "lab, 20 ms on every response", Way::Delay(Duration::from_millis(20))),
        ("concurrency=16", "lab, no delay", Way::Delay(Duration::ZERO)),
        ("http1", "lab, 20 ms round trip, no loss", Way::Loss(0)),
        ("http1", "lab, 20 ms round trip, 2 % of packets lost", Way::Loss(2)),
    ];
    if args.has("--public") {
        rows.push(("concurrency=16", "this machine's module proxy", Way::Public));
    }
    println!("| remedy | where | without | with | times faster (95 % interval) | answer |");
    println!("|---|---|---:|---:|---:|---|");
    let mut answers = Vec::new();
    for (remedy, place, way) in rows {
        let answer = answer(remedy, &way, &runs).with_context(|| format!("{remedy}, {place}"))?;
        println!("{}", row(remedy, place, &answer).context("an answer without a total")?);
        answers.push(serde_json::json!({ "remedy": remedy, "where": place, "answer": answer }));
    }
    if let Some(file) = args.value::<PathBuf>("--json")? {
        let json = serde_json::json!({ "schema": "goobserve.bench.remedies/1", "answers": answers });
        fs::write(&file, serde_json::to_vec_pretty(&json)?)
            .with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn row(remedy: &str, place: &str, answer: &Value) -> Option<String> {
    let seconds = |side: &str| Some(answer["total"][side].as_f64()? / 1e9);
    let (without, with) = (seconds("baseline_ns")?, seconds("tried_ns")?);
    let ratio = &answer["times_faster"];
    let interval = match (ratio["low"].as_f64(), ratio["high"].as_f64()) {
        (Some(low), Some(high)) => format!(" ({low:.2} to {high:.2})"),
        _ => String::new(),
    };
    let (estimate, verdict) = (ratio["estimate"].as_f64()?, answer["verdict"].as_str()?);
    Some(format!(
        "| `{remedy}` | {place} | {without:.2} s | {with:.2} s | {estimate:.2}{interval} | {verdict} |"
    ))
}

fn answer(remedy: &str, way: &Way, runs: &str) -> Result<Value> {
    let folder = paths::temp("goobserve-remedies-")?;
    let file = folder.path().join("answer.json");
    let compare = |command: &mut Command| {
        command.args(["-q", "compare", "--with", remedy, "--runs", runs, "--cache", "memory", "--json"]);
        command.arg(&file).args(["--", "go", "mod", "download"]);
    };
    let output = match way {
        Way::Public => {
            let project = folder.path().join("project");
            fs::create_dir(&project)?;
            for name in ["go.mod", "main.go"] {
                fs::copy(paths::sample().join(name), project.join(name)).context("copy the sample")?;
            }
            let mut command = Command::new(binary()?);
            compare(&mut command);
            command.current_dir(&project).output().context("cannot start goobserve")?
        }
        Way::Delay(_) | Way::Loss(_) => {
            let lab = Lab::start_in(if matches!(way, Way::Loss(_)) { Place::Wire } else { Place::Loopback })?;
            if let Way::Delay(request_delay) = *way {
                lab.proxy.set_faults(Faults { request_delay, ..Faults::default() });
            }
            if let (Way::Loss(percent), Some(wire)) = (way, &lab.net.wire) {
                let loss = Loss { direction: Direction::ToClient, percent: *percent, after_bytes: 0 };
                let loss = if *percent > 0 { vec![loss] } else { Vec::new() };
                wire.set_faults(WireFaults { rtt: Duration::from_millis(20), loss, ..WireFaults::default() });
            }
            let run = lab.go_run(&GoOptions { gomaxprocs: Some(2), ..GoOptions::default() })?;
            let mut command = run.goobserve()?;
            compare(&mut command);
            lab.spawn(command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()))?
                .wait_with_output()?
        }
    };
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&fs::read(&file)?).context("parse the answer")
}
