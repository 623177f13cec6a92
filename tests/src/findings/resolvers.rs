//! Go's resolver beside the C library's, before a good, a slow and a lossy name server, with a
//! local resolver in between, and how often a download asks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Part, Table, Times, succeeded, timed};
use crate::bench::few;
use crate::builds::Build;
use crate::dns::{DnsFaults, QueryRecord};
use crate::go_env::{GoOptions, GoRun};
use crate::lab::{GIT_HOST, Lab};
use crate::toolchains::{OWN, Toolchain};

/// Which resolver it is; each before a good, a slow and a lossy name server; a local resolver in between; how
/// often a download asks.
pub(super) const PARTS: &[Part] = &[
    ("which", |_| which(&Lab::start()?)),
    ("good", |runs| resolvers(&Lab::start()?, runs, "answers at once", &DnsFaults::default())),
    ("slow", |runs| resolvers(&Lab::start()?, runs, "answers after 150 ms", &slow())),
    ("lossy", |runs| resolvers(&Lab::start()?, runs, "loses 20 % of the queries", &lossy())),
    ("local_resolver", |runs| local_resolver(&Lab::start()?, runs, "answers after 150 ms", &slow())),
    ("local-resolver-lossy", |runs| {
        local_resolver(&Lab::start()?, runs, "loses 20 % of the queries", &lossy())
    }),
    ("queries", |_| queries(&Lab::start()?)),
];

fn slow() -> DnsFaults {
    DnsFaults { delay: Duration::from_millis(150), ..DnsFaults::default() }
}

fn lossy() -> DnsFaults {
    DnsFaults { lose_percent: 20, ..DnsFaults::default() }
}

/// Values of GODEBUG's `netdns`; `-` when there is none.
const NETDNS: [&str; 3] = ["-", "go", "cgo"];

/// The go commands: as it is published, and one built with cgo.
fn programs() -> Result<[(&'static str, PathBuf); 2]> {
    let toolchain = Toolchain::get(OWN)?;
    Ok([
        ("official, without cgo", toolchain.go(Build::Normal)?),
        ("built with cgo", toolchain.go(Build::Cgo)?),
    ])
}

/// A download of one small module, for which nobody is asked but the proxy.
struct Download {
    took: Duration,
    output: Output,
    queries: Vec<QueryRecord>,
}

fn download(lab: &Lab, go: &Path, netdns: &str) -> Result<Download> {
    let mut env = vec![("GONOSUMDB".to_owned(), "*".to_owned())];
    if netdns != "-" {
        env.push(("GODEBUG".to_owned(), format!("netdns={netdns}")));
    }
    let run = few::project(lab, &GoOptions { env, ..GoOptions::default() })?;
    lab.dns.take_log();
    let (took, output) = timed(lab, run.command(go).args(["mod", "download"]).args(few::smallest(lab, 1)?))?;
    Ok(Download { took, output, queries: lab.dns.take_log() })
}

/// Sockets that queries came from: the C library asks for A and AAAA over one, Go over two.
fn sockets(queries: &[QueryRecord]) -> usize {
    queries.iter().map(|query| query.peer).collect::<BTreeSet<_>>().len()
}

/// What each go command says of its own resolver, and what the name server sees of it.
fn which(lab: &Lab) -> Result<Table> {
    let mut table = Table::new(
        "Which resolver asks; `+2` has net say so, and `hostLookupOrder` is what it then did:",
        &["go command", "GODEBUG", "go said", "queries", "from sockets"],
    );
    for (kind, go) in programs()? {
        for netdns in ["2", "go+2", "cgo+2"] {
            let Download { output, queries, .. } = download(lab, &go, netdns)?;
            succeeded(&output)?;
            let stderr = String::from_utf8_lossy(&output.stderr);
            let said = stderr.lines().filter_map(|line| line.strip_prefix("go package net: "));
            let said: BTreeSet<&str> = said.filter(|line| !line.starts_with("confVal")).collect();
            ensure!(!said.is_empty(), "go said nothing of its resolver: {stderr}");
            table.row([
                kind.to_owned(),
                format!("netdns={netdns}"),
                said.into_iter().collect::<Vec<_>>().join("; "),
                queries.len().to_string(),
                sockets(&queries).to_string(),
            ]);
        }
    }
    Ok(table)
}

fn resolvers(lab: &Lab, runs: usize, server: &str, faults: &DnsFaults) -> Result<Table> {
    let mut table = Table::new(
        format!("One module, {runs} runs; the name server {server}:"),
        &["go command", "GODEBUG", "median", "95 % within", "longest", "failed", "queries, all runs"],
    );
    lab.dns.set_faults(faults.clone());
    let programs = programs()?;
    let ways: Vec<_> =
        programs.iter().flat_map(|(kind, go)| NETDNS.map(|netdns| (*kind, go, netdns))).collect();
    let mut all: Vec<Downloads> = ways.iter().map(|_| Downloads::default()).collect();
    // In turns: what else the machine does is the same for each.
    for _ in 0..runs {
        for ((_, go, netdns), all) in ways.iter().zip(&mut all) {
            all.push(&download(lab, go, netdns)?);
        }
    }
    for ((kind, _, netdns), all) in ways.into_iter().zip(all) {
        let setting = if netdns == "-" { netdns.to_owned() } else { format!("netdns={netdns}") };
        let [median, p95, longest, failed, queries] = all.cells();
        table.row([kind.to_owned(), setting, median, p95, longest, failed, queries]);
    }
    Ok(table)
}

/// Downloads of a kind, summed up.
#[derive(Default)]
struct Downloads {
    times: Times,
    failed: usize,
    queries: usize,
}

impl Downloads {
    fn push(&mut self, download: &Download) {
        self.times.push(download.took);
        self.failed += usize::from(!download.output.status.success());
        self.queries += download.queries.len();
    }

    /// Median, 95 % within, longest, failed, queries.
    fn cells(&self) -> [String; 5] {
        let times = &self.times;
        let failed = format!("{} of {}", self.failed, times.0.len());
        [times.median(), times.p95(), times.longest(), failed, self.queries.to_string()]
    }
}

fn local_resolver(lab: &Lab, runs: usize, server: &str, faults: &DnsFaults) -> Result<Table> {
    let [(_, go), (_, cgo)] = programs()?;
    let mut table = Table::new(
        format!(
            "One module, {runs} runs; the name server {server}; a local resolver on this machine in between:"
        ),
        &[
            "local_resolver",
            "resolver",
            "median",
            "95 % within",
            "longest",
            "failed",
            "queries to the server, all runs",
        ],
    );
    lab.dns.set_faults(faults.clone());
    for (name, cache) in
        [("none", None), ("dnsmasq without a cache", Some(0)), ("dnsmasq with a cache", Some(100))]
    {
        for (resolver, go, netdns) in [("Go's", &go, "-"), ("the C library's", &cgo, "cgo")] {
            // A new one each time: its cache is empty at the first run.
            let local_resolver = cache.map(|size| lab.dnsmasq(size, false)).transpose()?;
            let mut all = Downloads::default();
            for _ in 0..runs {
                all.push(&download(lab, go, netdns)?);
            }
            let [median, p95, longest, failed, queries] = all.cells();
            table.row([name.to_owned(), resolver.to_owned(), median, p95, longest, failed, queries]);
            drop(local_resolver);
            lab.net.ask(lab.net.dns)?;
        }
    }
    Ok(table)
}

/// Modules of one git host in the last row.
const REPOSITORIES: [&str; 4] = ["a", "b", "c", "d"];

fn queries(lab: &Lab) -> Result<Table> {
    let mut table = Table::new(
        "How often a cold download asks its name server; `goobserve run` says who:",
        &["what", "modules", "queries", "of them not for A", "names", "who asked"],
    );
    let mut count = |what: &str, modules: usize, run: &GoRun, arguments: &[String]| -> Result<()> {
        lab.dns.take_log();
        let command: Vec<&str> =
            ["go", "mod", "download"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let observed = lab.observe(run, &command)?;
        succeeded(&observed.output)?;
        let log = lab.dns.take_log();
        let names: BTreeSet<&str> = log.iter().map(|query| query.name.as_str()).collect();
        let mut who: BTreeMap<&str, (usize, BTreeSet<u64>)> = BTreeMap::new();
        for dns in observed.list("dns") {
            let (queries, pids) = who.entry(dns["comm"].as_str().context("no comm")?).or_default();
            *queries += 1;
            pids.extend(dns["pid"].as_u64());
        }
        let reported: usize = who.values().map(|(queries, _)| queries).sum();
        ensure!(reported == log.len(), "{reported} reported, {} asked", log.len());
        let who = who.iter().map(|(comm, (n, pids))| format!("{comm}: {n} (processes: {})", pids.len()));
        table.row([
            what.into(),
            modules.to_string(),
            log.len().to_string(),
            log.iter().filter(|query| query.qtype != "A").count().to_string(),
            names.into_iter().collect::<Vec<_>>().join(", "),
            who.collect::<Vec<_>>().join(", "),
        ]);
        Ok(())
    };
    let run = lab.go_run(&GoOptions::default())?;
    let go_mod = std::fs::read_to_string(run.project().join("go.mod")).context("read the sample's go.mod")?;
    let all = go_mod.lines().filter(|line| line.contains(" v") && !line.starts_with("//")).count();
    count("through a proxy that serves the checksum database", all, &run, &[])?;
    let apart = lab.go_run(&GoOptions { sumdb_direct: true, ..GoOptions::default() })?;
    count("through a proxy, the database at its own host", all, &apart, &[])?;
    let _git = lab.git_libraries(&REPOSITORIES)?;
    let modules = REPOSITORIES.map(|name| format!("{GIT_HOST}/{name}@v1.0.0"));
    for n in [1, REPOSITORIES.len()] {
        // git has its own idea of whom to trust.
        let ca = lab.ca().display().to_string();
        let env = [("GOPROXY", "direct"), ("GONOSUMDB", "*"), ("GIT_SSL_CAINFO", &ca)];
        let env = env.map(|(name, value)| (name.into(), value.into()));
        let direct = few::project(lab, &GoOptions { env: env.into(), ..GoOptions::default() })?;
        count("GOPROXY=direct, git", n, &direct, &modules[..n])?;
    }
    Ok(table)
}
