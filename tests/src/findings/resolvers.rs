//! Go's resolver beside the C library's, before a good, a slow and a lossy name server, with a
//! stub in between, and how often a download asks.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Table, Times, succeeded, timed};
use crate::bench::few;
use crate::builds::Build;
use crate::dns::DnsFaults;
use crate::go_env::{GoOptions, GoRun};
use crate::lab::{GIT_HOST, Lab};
use crate::stats::median;
use crate::toolchains::{OWN, Toolchain};

const SLOW: Duration = Duration::from_millis(150);
const LOST_PERCENT: u8 = 20;

/// Runs each combination so often.
pub fn tables(runs: usize) -> Result<Vec<Table>> {
    let lab = Lab::start()?;
    Ok(vec![resolvers(&lab, runs)?, stub(&lab, runs)?, questions(&lab)?])
}

/// One small module; nobody is asked but the proxy.
fn project(lab: &Lab, netdns: Option<&str>) -> Result<(GoRun, Vec<String>)> {
    let mut env = vec![("GONOSUMDB".to_owned(), "*".to_owned())];
    env.extend(netdns.map(|value| ("GODEBUG".to_owned(), format!("netdns={value}"))));
    let run = few::project(lab, &GoOptions { env, ..GoOptions::default() })?;
    Ok((run, few::smallest(lab, 1)?))
}

/// A download: how long until it ended, how many questions it asked, whether it failed.
struct Download {
    took: Duration,
    questions: usize,
    failed: bool,
}

fn download(lab: &Lab, go: &Path, netdns: Option<&str>) -> Result<Download> {
    let (run, modules) = project(lab, netdns)?;
    lab.dns.take_log();
    let (took, output) = timed(lab, run.command(go).args(["mod", "download"]).args(modules))?;
    Ok(Download { took, questions: lab.dns.take_log().len(), failed: !output.status.success() })
}

fn resolvers(lab: &Lab, runs: usize) -> Result<Table> {
    let toolchain = Toolchain::get(OWN)?;
    let official = toolchain.go(Build::Normal)?;
    let cgo = toolchain.go(Build::Cgo)?;
    let mut table = Table::new(
        format!("One module downloaded; {runs} runs each:"),
        &["go command", "GODEBUG", "name server", "median", "95 % within", "failed", "questions (median)"],
    );
    let servers = [
        ("good", runs, DnsFaults::default()),
        ("150 ms", runs, DnsFaults { delay: SLOW, ..DnsFaults::default() }),
        ("loses 20 %", runs, DnsFaults { lose_percent: LOST_PERCENT, ..DnsFaults::default() }),
    ];
    for (name, runs, faults) in servers {
        for (kind, go) in [("official, without cgo", &official), ("built with cgo", &cgo)] {
            for netdns in [None, Some("go"), Some("cgo")] {
                let (mut times, mut failed, mut questions) = (Times::default(), 0, Vec::new());
                lab.dns.set_faults(faults.clone());
                for _ in 0..runs {
                    let download = download(lab, go, netdns)?;
                    times.push(download.took);
                    failed += usize::from(download.failed);
                    questions.push(download.questions as f64);
                }
                table.row([
                    kind.to_owned(),
                    netdns.map_or_else(|| "-".to_owned(), |value| format!("netdns={value}")),
                    name.to_owned(),
                    times.median(),
                    times.p95(),
                    format!("{failed} of {runs}"),
                    median(&questions).to_string(),
                ]);
            }
        }
    }
    lab.dns.set_faults(DnsFaults::default());
    Ok(table)
}

fn stub(lab: &Lab, runs: usize) -> Result<Table> {
    let go = Toolchain::get(OWN)?.go(Build::Normal)?;
    let mut table = Table::new(
        format!("The name server takes 150 ms; a stub on this machine in between; {runs} runs:"),
        &["stub", "median", "questions to the name server, all runs"],
    );
    lab.dns.set_faults(DnsFaults { delay: SLOW, ..DnsFaults::default() });
    let mut measure = |name: &str| -> Result<()> {
        let (mut times, mut questions) = (Times::default(), 0);
        for _ in 0..runs {
            let download = download(lab, &go, None)?;
            ensure!(!download.failed, "go failed with {name}");
            times.push(download.took);
            questions += download.questions;
        }
        table.row([name.to_owned(), times.median(), questions.to_string()]);
        Ok(())
    };
    measure("none")?;
    for (name, size) in [("dnsmasq without a cache", 0), ("dnsmasq with a cache", 100)] {
        let _dnsmasq = lab.dnsmasq(size, false)?;
        measure(name)?;
    }
    lab.net.ask(lab.net.dns)?;
    lab.dns.set_faults(DnsFaults::default());
    Ok(table)
}

fn questions(lab: &Lab) -> Result<Table> {
    let mut table = Table::new(
        "How often a cold download asks its name server:",
        &["what", "modules", "questions", "of them not for A", "names"],
    );
    let mut count = |what: &str, modules: usize, go: &mut Command| -> Result<()> {
        lab.dns.take_log();
        succeeded(&timed(lab, go)?.1)?;
        let log = lab.dns.take_log();
        let names: BTreeSet<&str> = log.iter().map(|query| query.name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let other = log.iter().filter(|query| query.qtype != "A").count();
        table.row([
            what.into(),
            modules.to_string(),
            log.len().to_string(),
            other.to_string(),
            names.join(", "),
        ]);
        Ok(())
    };
    let run = lab.go_run(&GoOptions::default())?;
    let go_mod = std::fs::read_to_string(run.project().join("go.mod")).context("read the sample's go.mod")?;
    let all = go_mod.lines().filter(|line| line.contains(" v") && !line.starts_with("//")).count();
    count("through a proxy that serves the checksum database", all, &mut run.go(&["mod", "download"]))?;
    let apart = lab.go_run(&GoOptions { sumdb_direct: true, ..GoOptions::default() })?;
    count("through a proxy, the database at its own host", all, &mut apart.go(&["mod", "download"]))?;
    let _git = lab.git_host(None)?;
    let env = [("GOPROXY", "direct"), ("GONOSUMDB", "*")].map(|(name, value)| (name.into(), value.into()));
    let direct = few::project(lab, &GoOptions { env: env.into(), ..GoOptions::default() })?;
    // git has its own idea of whom to trust.
    let mut go = direct.go(&["mod", "download", &format!("{GIT_HOST}/lib@v1.0.0")]);
    count("GOPROXY=direct: go asks, and each git process again", 1, go.env("GIT_SSL_CAINFO", lab.ca()))?;
    Ok(table)
}
