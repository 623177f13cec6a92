//! A slow or silent proxy and checksum database: what each costs, and whether both add up.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Part, Table, Times, timed};
use crate::bench::few;
use crate::go_env::GoOptions;
use crate::lab::{Lab, PROXY_HOST};
use crate::proxy::{Faults, HeadDelay, paths};

/// What each slow response takes.
const SLOW: Duration = Duration::from_millis(300);
const MODULES: usize = 4;

/// A host that accepts connections and never says a word.
struct Silent {
    _listener: TcpListener,
    address: Ipv4Addr,
}

impl Silent {
    fn listen(lab: &Lab, host: u8) -> Result<Self> {
        let address = lab.net.free(host);
        let listener = TcpListener::bind((address, 443)).context("listen and say nothing")?;
        Ok(Self { _listener: listener, address })
    }
}

/// What is wrong in a case.
struct Case {
    name: &'static str,
    proxy: bool,
    sumdb: bool,
    go_sum: bool,
}

const CASES: [Case; 5] = [
    Case { name: "neither", proxy: false, sumdb: false, go_sum: false },
    Case { name: "proxy", proxy: true, sumdb: false, go_sum: false },
    Case { name: "checksum database", proxy: false, sumdb: true, go_sum: false },
    Case { name: "both", proxy: true, sumdb: true, go_sum: false },
    Case { name: "both, go.sum complete", proxy: true, sumdb: true, go_sum: true },
];

/// Slow by 300 ms a response, and silent.
pub(super) const PARTS: &[Part] = &[
    ("slow", |runs| slow(&Lab::start()?, runs)),
    ("silent", |runs| silent(&Lab::start()?, runs.div_ceil(3))),
];

/// Modules whose hashes are known or not.
fn options(lab: &Lab, case: &Case, env: &[(&str, String)]) -> Result<(crate::go_env::GoRun, Vec<String>)> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let options = GoOptions { sumdb_direct: true, gomaxprocs: Some(1), env, ..GoOptions::default() };
    let modules = few::smallest(lab, MODULES)?;
    let run = few::project(lab, &options)?;
    if case.go_sum {
        // As a first, undisturbed download leaves it.
        let plain = lab.go_run(&GoOptions { gomaxprocs: Some(1), ..GoOptions::default() })?;
        std::fs::copy(run.project().join("go.mod"), plain.project().join("go.mod"))?;
        let require = modules.iter().map(|module| format!("require {}\n", module.replace('@', " ")));
        let go_mod = format!("module few.test/m\n\ngo 1.26\n\n{}", require.collect::<String>());
        std::fs::write(plain.project().join("go.mod"), &go_mod)?;
        super::succeeded(&timed(lab, &mut plain.go(&["mod", "download", "all"]))?.1)?;
        std::fs::write(run.project().join("go.mod"), &go_mod)?;
        std::fs::copy(plain.project().join("go.sum"), run.project().join("go.sum"))?;
    }
    Ok((run, modules))
}

fn slow(lab: &Lab, runs: usize) -> Result<Table> {
    let mut table = Table::new(
        format!("{MODULES} modules, one at a time, {runs} runs; slow is 300 ms before each response:"),
        &["slow", "mean", "95 % within", "failed"],
    );
    for case in &CASES {
        let mut delays = Vec::new();
        let (in_proxy, in_sumdb) = (case.proxy, case.sumdb);
        delays.push(HeadDelay {
            matches: paths(move |path| {
                let sumdb = path.contains("/lookup/") || path.contains("/tile/") || path.ends_with("/latest");
                if sumdb { in_sumdb } else { in_proxy }
            }),
            delay: SLOW,
        });
        let (mut times, mut failed) = (Times::default(), 0);
        for _ in 0..runs {
            lab.proxy.set_faults(Faults::default());
            let (run, modules) = options(lab, case, &[])?;
            lab.proxy.set_faults(Faults { head_delays: delays.clone(), ..Faults::default() });
            let (took, output) = timed(lab, run.go(&["mod", "download"]).args(modules))?;
            times.push(took);
            failed += usize::from(!output.status.success());
        }
        table.row([case.name.into(), times.mean(), times.p95(), format!("{failed} of {runs}")]);
    }
    lab.proxy.set_faults(Faults::default());
    Ok(table)
}

fn silent(lab: &Lab, runs: usize) -> Result<Table> {
    let (proxy, sumdb) = (Silent::listen(lab, 8)?, Silent::listen(lab, 9)?);
    let mut table = Table::new(
        format!(
            "One module, {runs} runs; silent is a host that accepts connections and never answers a \
             ClientHello; behind the silent proxy comes a good one (`GOPROXY=https://silent|https://{PROXY_HOST}`):"
        ),
        &["silent", "mean", "95 % within", "failed", "go said"],
    );
    for case in &CASES {
        let (mut times, mut failed, mut said) = (Times::default(), 0, String::new());
        for _ in 0..runs {
            let mut env = Vec::new();
            if case.proxy {
                env.push(("GOPROXY", format!("https://{}|https://{PROXY_HOST}", proxy.address)));
            }
            if case.sumdb {
                env.push(("GOSUMDB", format!("{} https://{}", lab.store().sumdb(), sumdb.address)));
            }
            let (run, modules) = options(lab, case, &env)?;
            let (took, output) = timed(lab, run.go(&["mod", "download"]).args(&modules[..1]))?;
            times.push(took);
            if !output.status.success() {
                failed += 1;
                said = super::reason(&output).replace(&sumdb.address.to_string(), "silent");
            }
        }
        table.row([case.name.into(), times.mean(), times.p95(), format!("{failed} of {runs}"), said]);
    }
    Ok(table)
}
