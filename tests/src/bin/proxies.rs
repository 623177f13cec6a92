//! Is the report right behind the servers that companies have?
//! `proxies [RUNS] [NAME…] [--http1] [--at-once N] [--far MS] [--keep DIR] [--json FILE]`: behind each server
//! that is installed so many downloads (15 unless reported), in its usual settings, between the command and the
//! lab's module proxy; or behind those that are named. The command speaks HTTP/1.1, has so many downloads at
//! once, or the module proxy is so many milliseconds away when it is asked to; of a far module proxy only forward
//! proxies are tried.
//!
//! A line each. `equal` says that the requests of the report are those of the module proxy's log, one for
//! one, by method, path, status and size, all ended well, nothing lost, and where a forward proxy is the
//! connections' tunnels lead through it. Warnings and critical findings are false unless the list of servers
//! says why they are true of one. With `--keep` the recordings of the runs that were not right stay in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::Value;
use tests::bench::args::Args;
use tests::complete::differences;
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::servers::{ALL, Role, Server, Software};
use tests::skip;
use tests::starts::far_away;
use tests::wait;

const USAGE: &str = "proxies [RUNS] [NAME…] [--http1] [--at-once N] [--far MS] [--keep DIR] [--json FILE]";
/// Long enough for the last body to be written on a busy machine.
const SETTLE: Duration = Duration::from_secs(10);

/// How all servers are tried.
struct Plan {
    runs: usize,
    options: GoOptions,
    /// The module proxy is far away
    far: bool,
    /// Where recordings of runs that were not right go
    keep: Option<PathBuf>,
}

/// What came of a server's runs.
#[derive(Debug, Default, Serialize)]
struct Row {
    server: &'static str,
    runs: usize,
    requests: usize,
    /// Runs whose report has the log's requests
    equal: usize,
    /// Runs without a warning or critical finding that is not true
    quiet: usize,
    /// The most that was unexplained, per cent of the wall time
    unexplained_percent: f64,
    /// What was wrong or found, and in how many runs
    said: BTreeMap<String, usize>,
    /// Why it was left out
    skipped: Option<String>,
}

/// A run.
struct Once {
    requests: usize,
    unexplained_percent: f64,
    differences: Vec<String>,
    /// Warnings and critical findings, and why they are true
    findings: Vec<(String, Option<&'static str>)>,
}

fn main() -> Result<()> {
    let args = Args::read(USAGE)?;
    let far = args.value("--far")?.map(Duration::from_millis);
    let (http1, gomaxprocs) = (args.has("--http1"), args.value("--at-once")?);
    let plan = Plan {
        runs: args.count.unwrap_or(15),
        options: GoOptions { http1, gomaxprocs, ..GoOptions::default() },
        far: far.is_some(),
        keep: args.value("--keep")?,
    };
    if !skip::is_root("proxies") {
        return Ok(());
    }
    let unknown: Vec<_> = args.names.iter().filter(|name| ALL.iter().all(|one| one.name != *name)).collect();
    let names: Vec<_> = ALL.iter().map(|one| one.name).collect();
    ensure!(unknown.is_empty(), "{unknown:?}: there are {}", names.join(", "));
    let lab = Lab::start()?;
    lab.plain_http()?;
    if let Some(rtt) = far {
        far_away(&lab, rtt);
    }
    println!(
        "{:<14} {:>5} {:>9} {:>6} {:>6} {:>12}  said (runs)",
        "server", "runs", "requests", "equal", "quiet", "unexplained"
    );
    let mut rows = Vec::new();
    let wanted = |one: &&Software| {
        let named = args.names.is_empty() || args.names.iter().any(|name| name == one.name);
        // Whoever asks a far one is slow itself.
        named && (far.is_none() || matches!(one.role, Role::Forward(_)))
    };
    for software in ALL.iter().filter(wanted) {
        let row = row(&lab, software, &plan).with_context(|| software.name.to_owned())?;
        print(&row);
        rows.push(row);
    }
    let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    let (all, equal, quiet) = (sum(|row| row.runs), sum(|row| row.equal), sum(|row| row.quiet));
    let skipped = rows.iter().filter(|row| row.skipped.is_some()).count();
    println!("\n{equal} of {all} equal, {quiet} of {all} without a false finding, {skipped} servers skipped");
    if let Some(file) = args.value::<PathBuf>("--json")? {
        let results = serde_json::json!({ "schema": "goobserve.bench.proxies/1", "rows": rows });
        fs::write(&file, serde_json::to_vec_pretty(&results)?)
            .with_context(|| format!("write {}", file.display()))?;
    }
    ensure!((equal, quiet) == (all, all), "some are not right");
    Ok(())
}

fn row(lab: &Lab, software: &Software, plan: &Plan) -> Result<Row> {
    let mut row = Row { server: software.name, skipped: software.missing(), ..Row::default() };
    if row.skipped.is_some() {
        return Ok(row);
    }
    let server = Server::start(lab, software)?;
    let options = GoOptions { env: server.env().to_vec(), ..plan.options.clone() };
    for number in 0..plan.runs {
        let kept = plan.keep.as_deref().map(|dir| dir.join(format!("{}-{number}.jsonl", software.name)));
        let mut once = once(lab, software, &options, kept.as_deref())?;
        for (finding, why) in once.findings.iter_mut().filter(|_| plan.far) {
            *why =
                why.or_else(|| finding.ends_with("concurrency-limited").then_some("the module proxy is far"));
        }
        let false_findings = once.findings.iter().filter(|(_, why)| why.is_none()).count();
        row.runs += 1;
        row.requests += once.requests;
        row.equal += usize::from(once.differences.is_empty());
        row.quiet += usize::from(false_findings == 0);
        row.unexplained_percent = row.unexplained_percent.max(once.unexplained_percent);
        let right = once.differences.is_empty() && false_findings == 0;
        let found = once.findings.into_iter().map(|(finding, why)| match why {
            Some(why) => format!("{finding} (true: {why})"),
            None => finding,
        });
        for said in once.differences.into_iter().chain(found) {
            *row.said.entry(said).or_default() += 1;
        }
        if let Some(kept) = kept.filter(|_| right) {
            fs::remove_file(kept).context("remove a recording")?;
        }
    }
    Ok(row)
}

fn once(lab: &Lab, software: &Software, options: &GoOptions, record: Option<&Path>) -> Result<Once> {
    // Servers keep connections to the module proxy, so its log is never settled: it is read on.
    let before = lab.proxy.log().requests().len();
    let run = lab.go_run(options)?;
    let file = run.dir().join("report.json");
    let mut command = run.goobserve()?;
    command.arg("run").arg("--json").arg(&file);
    if let Some(record) = record {
        command.arg("--record").arg(record);
    }
    let output = lab.output(command.args(["--", "go", "mod", "download"]))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the download ended with {}: {said}", output.status);
    let report: Value = serde_json::from_slice(&fs::read(&file).context("read goobserve's report")?)?;
    wait::within(SETTLE, || {
        let requests = lab.proxy.log().requests();
        requests[before..].iter().all(|request| request.end_ns.is_some()).then_some(())
    })
    .context("the module proxy has not written all bodies")?;
    let logged = lab.proxy.log().requests().split_off(before);

    // A server that compresses has other sizes.
    let sizes = !software.compresses;
    let of_log = logged
        .iter()
        .map(|r| (r.method.clone(), r.path.clone(), Some(u64::from(r.status)), sizes.then_some(r.bytes)));
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or("null").to_owned();
    let of_report = list(&report, "requests").iter().map(|r| {
        let bytes = r["bytes"].as_u64().filter(|_| sizes);
        (text(r, "method"), text(r, "path"), r["status"].as_u64(), bytes)
    });
    let mut all = Vec::new();
    if let Some((invented, missing)) = differences(of_report, of_log) {
        all.extend(invented.iter().map(|request| format!("only in the report: {request:?}")));
        all.extend(missing.iter().map(|request| format!("only in the log: {request:?}")));
    }
    let outcomes = list(&report, "requests").iter().map(|r| text(r, "outcome")).filter(|o| o != "ok");
    all.extend(outcomes.map(|outcome| format!("a request's outcome is {outcome}")));
    all.extend(lost(&report));
    all.extend(ways(&report, software.role));

    let command = &report["commands"][0];
    let wall = command["wall_ns"].as_f64().unwrap_or(f64::NAN);
    let unexplained = list(command, "phases").iter().find(|phase| phase["phase"] == "unexplained");
    let unexplained = unexplained.and_then(|phase| phase["blocked_ns"].as_f64()).unwrap_or(0.0);
    let findings = list(command, "stalls").iter().filter(|stall| stall["severity"] != "info").map(|stall| {
        let kind = text(stall, "kind");
        let why = software.borne_out.iter().find(|(name, _)| *name == kind).map(|(_, why)| *why);
        (format!("{} {kind}", text(stall, "severity")), why)
    });
    Ok(Once {
        requests: logged.len(),
        unexplained_percent: 100.0 * unexplained / wall,
        differences: all,
        findings: findings.collect(),
    })
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn lost(report: &Value) -> Vec<String> {
    let loss = report["loss"].as_object().into_iter().flatten();
    loss.filter(|(_, count)| *count != 0).map(|(name, count)| format!("{name}: {count}")).collect()
}

/// Connections that carried requests and do not lead where they should.
fn ways(report: &Value, role: Role) -> Vec<String> {
    let tunnelled = matches!(role, Role::Forward(_) | Role::Bump);
    let used = list(report, "connections").iter().filter(|c| c["requests"].as_u64() > Some(0));
    let wrong = used.filter(|connection| connection["tunnel"].is_null() == tunnelled);
    wrong.map(|connection| format!("tunnel is {}", connection["tunnel"])).collect()
}

fn print(row: &Row) {
    if let Some(why) = &row.skipped {
        println!("{:<14} skipped: {why}", row.server);
        return;
    }
    println!(
        "{:<14} {:>5} {:>9} {:>6} {:>6} {:>10.1} %",
        row.server, row.runs, row.requests, row.equal, row.quiet, row.unexplained_percent
    );
    for (said, runs) in row.said.iter().take(12) {
        println!("  {said} ({runs})");
    }
    if row.said.len() > 12 {
        println!("  and {} others", row.said.len() - 12);
    }
}
