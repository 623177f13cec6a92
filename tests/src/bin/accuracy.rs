//! How far goobserve's times are from others': `accuracy [RUNS] [--http1] [--json FILE]`. Prints
//! tables of differences in microseconds, goobserve's time minus the other's, both on
//! `CLOCK_MONOTONIC`: of requests and queries against the servers' logs, of TCP handshakes
//! against tshark on loopback.
//!
//! Two tables, of the same `go mod download`. Quiet: each response is held back for 5 ms, so
//! that threads seldom wait for a CPU and the other's time is the wire's. Busy: without that, the
//! command and the server compete for the machine's CPUs, and a message that waits until its
//! reader runs was written when goobserve says, or is read when it says.
//!
//! The server's log has the moment at which its HTTP library took a body's last chunk (16 KB at
//! most). Of a longer body much may lie in buffers then that the command has yet to read, which
//! would explain why its end is reported later; that is not proved. Longer bodies have a row, and
//! a line among the bars, of their own; the bar is about all sizes.
//!
//! The report says when the observation started on `CLOCK_REALTIME` only; it is brought to
//! `CLOCK_MONOTONIC` by reading both clocks here, within the error that is printed.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::bench::args::Args;
use tests::bench::capture::{Capture, Handshake};
use tests::bench::verdict::Verdict;
use tests::bench::watched::{Sampling, Watched, adopt, watch};
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::proxy::Faults;
use tests::stats::quantile;

/// Bodies up to this size are one chunk of the server's.
const CHUNK: u64 = 16 * 1024;
/// The server's delay in the quiet table.
const QUIET: Duration = Duration::from_millis(5);

/// Differences in microseconds, by what was timed, in the order of first appearance.
#[derive(Default)]
struct Table {
    rows: Vec<(&'static str, Vec<f64>)>,
    /// Entries of the others' logs, and how many of them the report has
    logged: usize,
    matched: usize,
}

impl Table {
    fn add(&mut self, what: &'static str, value: Option<f64>) {
        let place = self.rows.iter().position(|(name, _)| *name == what).unwrap_or_else(|| {
            self.rows.push((what, Vec::new()));
            self.rows.len() - 1
        });
        self.rows[place].1.extend(value);
    }

    /// Of 100 values, how many are nearer than so many microseconds; NaN without values.
    fn near(&self, what: &str, within: f64) -> f64 {
        let values = self.rows.iter().find(|(name, _)| *name == what).map_or(&[][..], |(_, values)| values);
        100.0 * values.iter().filter(|value| value.abs() < within).count() as f64 / values.len() as f64
    }
}

fn main() -> Result<()> {
    let args = Args::read("accuracy [RUNS] [--http1] [--json FILE]")?;
    let runs = args.count.unwrap_or(5);
    let options = GoOptions { http1: args.has("--http1"), ..GoOptions::default() };
    adopt()?;
    let lab = Lab::start()?;
    let mut capture = Capture::start(lab.net.proxy)?;
    let mut clock_error = 0;
    let mut verdicts = Vec::new();
    let mut tables = serde_json::Map::new();
    for (name, delay) in [("quiet", QUIET), ("busy", Duration::ZERO)] {
        lab.proxy.set_faults(Faults { request_delay: delay, ..Faults::default() });
        let mut table = Table::default();
        for _ in 0..runs {
            let run = lab.go_run(&options)?;
            let observed = watch(&lab, &run, &["go", "mod", "download"], Sampling::Times)?;
            ensure!(lab.proxy.log().settled(Duration::from_secs(10)), "connections stayed open");
            clock_error = clock_error.max(observed.clocks.error_ns);
            compare(&lab, &observed, &capture.take()?, &mut table)?;
        }
        println!("{name}: goobserve's time minus the other's, µs");
        print(&table);
        verdicts.extend(judge(name, &table));
        tables.insert(name.to_owned(), serde_json::to_value(&table.rows)?);
    }
    println!("clocks read within ±{clock_error} ns, {runs} runs each\n");
    for verdict in &verdicts {
        println!("{verdict}");
    }
    if let Some(file) = args.value::<PathBuf>("--json")? {
        let schema = "goobserve.bench.accuracy/1";
        let json = serde_json::json!({ "schema": schema, "verdicts": verdicts, "microseconds": tables });
        fs::write(&file, serde_json::to_vec_pretty(&json)?)
            .with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn judge(name: &str, table: &Table) -> Vec<Verdict> {
    let near = |what: &str, row, within| {
        Verdict::at_least(format!("{name}: {what}"), table.near(row, within), 95.0, "%")
    };
    vec![
        near("request's start and end within 1 ms, <= 16 KB", "request <= 16 KB", 1000.0),
        near("request's start and end within 1 ms, all sizes", "request", 1000.0),
        near("DNS query within 0.5 ms", "dns query", 500.0),
        near("DNS answer within 0.5 ms", "dns answer", 500.0),
        near("TCP handshake within 0.3 ms", "tcp handshake", 300.0),
        Verdict::at_least(
            format!("{name}: logged and in the report"),
            100.0 * table.matched as f64 / table.logged as f64,
            100.0,
            "%",
        ),
    ]
}

fn compare(
    lab: &Lab,
    observed: &Watched,
    handshakes: &HashMap<SocketAddr, Handshake>,
    table: &mut Table,
) -> Result<()> {
    let origin = observed.started_ns()?;
    // Microseconds from the other's time to the report's.
    let apart = |reported: Option<u64>, logged: Option<i128>| {
        Some((origin + i128::from(reported?) - logged?) as f64 / 1000.0)
    };
    let log = |ns: u64| Some(i128::from(ns));

    let (_, requests) = lab.proxy.log().take();
    table.logged += requests.len();
    let mut logged = in_order(requests.iter().map(|r| (format!("{} {}", r.method, r.path), r)));
    for request in sorted(observed.list("requests")) {
        let key = format!("{} {}", text(request, "method"), text(request, "path"));
        let Some(record) = logged.get_mut(&key).and_then(Vec::pop) else { continue };
        table.matched += 1;
        let start = apart(int(request, "start_ns"), log(record.received_ns));
        let end = apart(int(request, "end_ns"), record.end_ns.and_then(log));
        table.add("request start", start);
        table.add("response head", apart(int(request, "first_byte_ns"), record.first_byte_ns.and_then(log)));
        table.add(if record.bytes <= CHUNK { "end <= 16 KB" } else { "end > 16 KB" }, end);
        // The further one counts: a request is right when both are.
        let further = start.zip(end).map(|(a, b)| if a.abs() > b.abs() { a } else { b });
        table.add("request", further);
        if record.bytes <= CHUNK {
            table.add("request <= 16 KB", further);
        }
    }

    let queries = lab.dns.take_log();
    table.logged += queries.len();
    let key = |name: &str, qtype: &str, transport: &str| format!("{name} {qtype} {transport}");
    let mut logged = in_order(queries.iter().map(|q| (key(&q.name, &q.qtype, q.transport), q)));
    for query in sorted(observed.list("dns")) {
        let key = key(text(query, "name"), text(query, "qtype"), text(query, "transport"));
        let Some(record) = logged.get_mut(&key).and_then(Vec::pop) else { continue };
        table.matched += 1;
        table.add("dns query", apart(int(query, "start_ns"), log(record.received_ns)));
        table.add("dns answer", apart(int(query, "end_ns"), record.answered_ns.and_then(log)));
    }

    let real = |ns: u64| Some(observed.clocks.to_monotonic(ns));
    let server = SocketAddr::from((lab.net.proxy, 443)).to_string();
    table.logged += handshakes.len();
    for connection in observed.list("connections").iter().filter(|c| text(c, "remote") == server) {
        let client = text(connection, "local").parse().ok();
        let Some(handshake) = client.and_then(|client: SocketAddr| handshakes.get(&client)) else { continue };
        table.matched += 1;
        let (start, took) = (int(connection, "start_ns"), int(connection, "connect_ns"));
        let syn = apart(start, handshake.syn_ns.and_then(real));
        let established = apart(start.zip(took).map(|(a, b)| a + b), handshake.syn_ack_ns.and_then(real));
        table.add("tcp syn", syn);
        table.add("tcp established", established);
        table.add("tcp handshake", established.zip(syn).map(|(end, start)| end - start));
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
    println!(
        "{:<16} {:>6} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9}",
        "", "n", "min", "p5", "p50", "p95", "max", "< 1 ms"
    );
    for (what, values) in &table.rows {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        print!("{what:<16} {:>6}", sorted.len());
        for q in [0.0, 0.05, 0.5, 0.95, 1.0] {
            print!(" {:>10.1}", quantile(&sorted, q));
        }
        println!(" {:>7.1} %", table.near(what, 1000.0));
    }
    println!();
}
