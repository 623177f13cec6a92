//! What stands in the way of a company's traffic: what the go command says of it, and what
//! goobserve does.

use std::net::TcpListener;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Table, seconds};
use crate::bench::few;
use crate::go_env::GoOptions;
use crate::lab::{GIT_HOST, Lab, RESET_HOST, SSH_HOST};
use crate::proxy::Proxy;
use crate::store::Store;
use crate::tls::Authority;

/// One table.
pub(super) fn table(_: usize) -> Result<Table> {
    let lab = Lab::start()?;
    lab.reset_host()?;
    let _silent = TcpListener::bind((lab.net.free(6), 443)).context("listen and say nothing")?;
    let _transparent = transparent(&lab)?;
    let mut table = Table::new(
        "One module, the proxy behind each of these:",
        &["in the way", "go gave up after", "go said", "goobserve found", "in these words"],
    );
    for (what, host) in [
        ("swallows the ClientHello", SSH_HOST),
        ("resets after the ClientHello", RESET_HOST),
        ("answers itself, with a certificate of its own", GIT_HOST),
    ] {
        let env = vec![("GOPROXY".to_owned(), format!("https://{host}"))];
        let run = few::project(&lab, &GoOptions { env, ..GoOptions::default() })?;
        let module = few::smallest(&lab, 1)?.remove(0);
        let observed = lab.observe(&run, &["go", "mod", "download", &module])?;
        let command = &observed.report["commands"][0];
        let stalls = command["stalls"].as_array().map_or(&[][..], Vec::as_slice);
        let all = |field: &str| {
            let mut of: Vec<&str> = stalls.iter().filter_map(|stall| stall[field].as_str()).collect();
            of.dedup();
            if of.is_empty() { "nothing".to_owned() } else { of.join("; ") }
        };
        let stderr = observed.stderr();
        let said = stderr.lines().find(|line| line.starts_with("go: ")).unwrap_or("nothing");
        let wall =
            command["wall_ns"].as_u64().map_or_else(|| "unknown".into(), |ns| seconds(ns as f64 / 1e9));
        let clean = |text: &str| text.replace(&host_address(&observed.report, host), "ADDRESS");
        table.row([what.into(), wall, clean(said), all("kind"), clean(&all("summary"))]);
    }
    Ok(table)
}

/// A server that the client has no reason to trust.
fn transparent(lab: &Lab) -> Result<Proxy> {
    let stranger = Authority::new(&[GIT_HOST])?;
    let listener = TcpListener::bind((lab.net.free(5), 443))?;
    listener.set_nonblocking(true)?;
    let _entered = lab.runtime.enter();
    let store = Arc::new(Store::new(String::new(), std::collections::HashMap::new()));
    Ok(Proxy::start(vec![listener], stranger.server, store, "no sumdb")?)
}

/// The address the host had in this lab, which is another each time.
fn host_address(report: &Value, host: &str) -> String {
    let connections = report["connections"].as_array().map_or(&[][..], Vec::as_slice);
    let of = connections.iter().find(|connection| connection["server_name"] == host);
    let remote = of.and_then(|connection| connection["remote"].as_str()).unwrap_or("unknown:443");
    remote.rsplit_once(':').map_or(remote, |(address, _)| address).to_owned()
}
