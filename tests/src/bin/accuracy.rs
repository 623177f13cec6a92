//! How far goobserve's times are from the servers' own: `accuracy [RUNS] [http1]`. Prints a table of
//! differences in microseconds, goobserve's time minus the server's, both on `CLOCK_MONOTONIC`.
//!
//! The report says when the observation started on `CLOCK_REALTIME` only; it is brought to
//! `CLOCK_MONOTONIC` by reading both clocks here. What the table shows therefore includes the
//! error of the two readings, printed beneath it, and the time a message takes over loopback and
//! until the server's thread runs: a request is written before it is received.

use std::collections::HashMap;
use std::env;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::go_env::GoOptions;
use tests::goobserve::Observed;
use tests::lab::Lab;
use tests::stats::quantile;

/// Differences in microseconds, by what was timed.
type Table = Vec<(&'static str, Vec<f64>)>;

fn main() -> Result<()> {
    let runs: usize = env::args().nth(1).map_or(Ok(10), |n| n.parse()).context("RUNS is a number")?;
    let options = GoOptions { http1: env::args().nth(2).as_deref() == Some("http1"), ..GoOptions::default() };
    let lab = Lab::start()?;
    let mut table: Table = Vec::new();
    let mut clock_error = 0;
    for _ in 0..runs {
        let run = lab.go_run(&options)?;
        let observed = lab.observe(&run, &["go", "mod", "download"])?;
        ensure!(observed.output.status.success(), "go mod download failed: {}", observed.stderr());
        ensure!(lab.proxy.log().settled(Duration::from_secs(10)), "connections stayed open");
        clock_error = clock_error.max(observed.clocks.error_ns);
        compare(&lab, &observed, &mut table)?;
    }
    print(&table);
    println!("clocks read within ±{clock_error} ns, {runs} runs");
    Ok(())
}

fn compare(lab: &Lab, observed: &Observed, table: &mut Table) -> Result<()> {
    let origin = observed.started_ns().context("no started_unix_ns in the report")?;
    // Microseconds from the server's time to the report's.
    let apart = |reported: Option<u64>, logged: Option<u64>| {
        Some((origin + i128::from(reported?) - i128::from(logged?)) as f64 / 1000.0)
    };
    let mut add = |what: &'static str, value: Option<f64>| {
        let place = table.iter().position(|(name, _)| *name == what).unwrap_or_else(|| {
            table.push((what, Vec::new()));
            table.len() - 1
        });
        table[place].1.extend(value);
    };

    let (connections, requests) = lab.proxy.log().take();
    let mut logged = in_order(requests.iter().map(|r| (format!("{} {}", r.method, r.path), r)));
    for request in sorted(observed.list("requests")) {
        let key = format!("{} {}", text(request, "method"), text(request, "path"));
        if let Some(record) = logged.get_mut(&key).and_then(Vec::pop) {
            add("request start", apart(int(request, "start_ns"), Some(record.received_ns)));
            add("response head", apart(int(request, "first_byte_ns"), record.first_byte_ns));
            add("response end", apart(int(request, "end_ns"), record.end_ns));
        }
    }

    let questions = lab.dns.take_log();
    let key = |name: &str, qtype: &str, transport: &str| format!("{name} {qtype} {transport}");
    let mut logged = in_order(questions.iter().map(|q| (key(&q.name, &q.qtype, q.transport), q)));
    for question in sorted(observed.list("dns")) {
        let key = key(text(question, "name"), text(question, "qtype"), text(question, "transport"));
        if let Some(record) = logged.get_mut(&key).and_then(Vec::pop) {
            add("dns question", apart(int(question, "start_ns"), Some(record.received_ns)));
            add("dns answer", apart(int(question, "end_ns"), record.answered_ns));
        }
    }

    for connection in observed.list("connections") {
        let local = text(connection, "local");
        if let Some(record) = connections.iter().find(|record| record.peer.to_string() == local) {
            let connected = int(connection, "start_ns")
                .zip(int(connection, "connect_ns"))
                .map(|(start, took)| start + took);
            add("connected", apart(connected, Some(record.accepted_ns)));
        }
    }
    Ok(())
}

/// Log entries by key, each key's in reverse order, so that `pop` gives the earliest.
fn in_order<'a, T>(entries: impl Iterator<Item = (String, &'a T)>) -> HashMap<String, Vec<&'a T>> {
    let mut by_key: HashMap<String, Vec<&T>> = HashMap::new();
    for (key, entry) in entries {
        by_key.entry(key).or_default().push(entry);
    }
    for entries in by_key.values_mut() {
        entries.reverse();
    }
    by_key
}

fn sorted(records: &[Value]) -> Vec<&Value> {
    let mut records: Vec<&Value> = records.iter().collect();
    records.sort_by_key(|record| int(record, "start_ns"));
    records
}

fn int(record: &Value, key: &str) -> Option<u64> {
    record[key].as_u64()
}

fn text<'a>(record: &'a Value, key: &str) -> &'a str {
    record[key].as_str().unwrap_or_default()
}

fn print(table: &Table) {
    println!("goobserve's time minus the server's, µs");
    println!(
        "{:<14} {:>6} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9}",
        "", "n", "min", "p5", "p50", "p95", "max", "< 1 ms"
    );
    for (what, values) in table {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        print!("{what:<14} {:>6}", sorted.len());
        for q in [0.0, 0.05, 0.5, 0.95, 1.0] {
            print!(" {:>10.1}", quantile(&sorted, q));
        }
        let near = sorted.iter().filter(|value| value.abs() < 1000.0).count() as f64;
        println!(" {:>7.1} %", 100.0 * near / sorted.len() as f64);
    }
}
