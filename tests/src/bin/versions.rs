//! Is the report complete whatever Go it is, and however that was built?
//! `versions [--json FILE]`: every build of the go command of every version, and of a
//! client of HTTPS servers, over HTTP/2 and HTTP/1.1 in turn. The first time it fetches toolchains
//! and builds 3 GB of them under `target/lab`, which takes ten minutes on two cores; then three.
//!
//! A line each: what the report has beside what the servers logged. `complete` says that they are
//! the same, each request, query and connection once, and that nothing was lost.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tests::bench::args::Args;
use tests::builds::{Build, PAGES};
use tests::complete::Download;
use tests::go_env::GoOptions;
use tests::lab::{Lab, PROXY_HOST};
use tests::proxy::{Answer, Faults, paths};
use tests::toolchains::{Toolchain, VERSIONS};

/// What the report has, and what the servers logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Count {
    seen: usize,
    logged: usize,
}

/// A program's outcome.
#[derive(Debug, Serialize)]
struct Row {
    go: String,
    program: &'static str,
    build: &'static str,
    protocol: &'static str,
    requests: Count,
    connections: Count,
    /// The report and the logs say the same
    complete: bool,
    /// The version and cgo of the report, for a go command
    named: Option<bool>,
    /// Wall time of the command by the report, milliseconds
    wall_ms: f64,
}

fn main() -> Result<()> {
    let args = Args::read("versions [--json FILE]")?;
    let json: Option<PathBuf> = args.value("--json")?;
    let lab = Lab::start()?;
    println!(
        "{:<10} {:<8} {:<16} {:<9} {:>13} {:>13} {:>9} {:>9}  complete",
        "go", "program", "build", "protocol", "requests", "connections", "wall ms", "named"
    );
    let mut rows = Vec::new();
    for version in VERSIONS {
        let toolchain = Toolchain::get(version)?;
        for build in Build::ALL {
            for http1 in [false, true] {
                for program in [command, client] {
                    let row = program(&lab, &toolchain, build, http1)
                        .with_context(|| format!("go{} {}", toolchain.version, build.name()))?;
                    print(&row);
                    rows.push(row);
                }
            }
        }
    }
    let good = rows.iter().filter(|row| row.complete && row.named != Some(false)).count();
    println!("\n{good} of {} complete", rows.len());
    if let Some(file) = json {
        let results = serde_json::json!({"schema": "goobserve.bench.versions/1", "rows": rows});
        fs::write(&file, serde_json::to_vec_pretty(&results)?)
            .with_context(|| format!("write {}", file.display()))?;
    }
    ensure!(good == rows.len(), "{} are not", rows.len() - good);
    Ok(())
}

/// `go mod download` of the whole sample.
fn command(lab: &Lab, toolchain: &Toolchain, build: Build, http1: bool) -> Result<Row> {
    lab.proxy.set_faults(Faults::default());
    let go = toolchain.go(build)?;
    let run = lab.go_run(&GoOptions { http1, ..GoOptions::default() })?;
    toolchain.fit(&run)?;
    let go = go.to_str().context("a path that is no text")?;
    let download = Download::of(lab, &run, &[go, "mod", "download"]);
    let said = &download.observed.report["commands"][0]["go"];
    let named = said["version"] == format!("go{}", toolchain.version) && said["cgo"] == build.cgo();
    Ok(row(lab, toolchain, ("command", build, http1), &download, Some(named)))
}

/// A client of a user's own, built by that go.
fn client(lab: &Lab, toolchain: &Toolchain, build: Build, http1: bool) -> Result<Row> {
    let page = Answer { matches: paths(|path| path.starts_with("/page/")), status: 200, retry_after_s: None };
    lab.proxy.set_faults(Faults { answers: vec![page], ..Faults::default() });
    let run = lab.go_run(&GoOptions { http1, ..GoOptions::default() })?;
    let client = toolchain.client(build, run.dir())?;
    let urls: Vec<String> = (0..PAGES).map(|n| format!("https://{PROXY_HOST}/page/{n}")).collect();
    let client = client.to_str().context("a path that is no text")?;
    let command: Vec<&str> = [client].into_iter().chain(urls.iter().map(|url| &**url)).collect();
    let download = Download::of(lab, &run, &command);
    Ok(row(lab, toolchain, ("client", build, http1), &download, None))
}

fn row(
    lab: &Lab,
    toolchain: &Toolchain,
    (program, build, http1): (&'static str, Build, bool),
    download: &Download,
    named: Option<bool>,
) -> Row {
    // It says on stderr what is missing.
    let complete = catch_unwind(AssertUnwindSafe(|| download.is_complete(lab))).is_ok();
    let observed = &download.observed;
    let https = |c: &&serde_json::Value| c["remote"].as_str().is_some_and(|remote| remote.ends_with(":443"));
    Row {
        go: toolchain.version.clone(),
        program,
        build: build.name(),
        protocol: if http1 { "http/1.1" } else { "h2" },
        requests: Count { seen: observed.list("requests").len(), logged: download.requests.len() },
        connections: Count {
            seen: observed.list("connections").iter().filter(https).count(),
            logged: download.connections.len(),
        },
        complete,
        named,
        wall_ms: observed.report["commands"][0]["wall_ns"].as_u64().map_or(f64::NAN, |ns| ns as f64 / 1e6),
    }
}

fn print(row: &Row) {
    let count = |count: Count| format!("{} / {}", count.seen, count.logged);
    let word = |is| if is { "yes" } else { "NO" };
    println!(
        "{:<10} {:<8} {:<16} {:<9} {:>13} {:>13} {:>9.1} {:>9}  {}",
        row.go,
        row.program,
        row.build,
        row.protocol,
        count(row.requests),
        count(row.connections),
        row.wall_ms,
        row.named.map_or("-", word),
        word(row.complete)
    );
}
