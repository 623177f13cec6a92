//! HTTP/2 switched off in three ways, with and without loss: time, connections, reuse.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio_rustls::rustls::ServerConfig;

use super::programs::{self, Program};
use super::{Table, Times, seconds, succeeded, timed};
use crate::go_env::GoOptions;
use crate::lab::{Lab, PROXY_HOST};
use crate::net::Place;
use crate::proxy::{Faults, Proxy};
use crate::stats::median;

/// Before the head of each response.
const WAY: Duration = Duration::from_millis(20);
const AT_ONCE: u32 = 16;
/// Of the segments to the client, per cent.
const LOSS: u32 = 5;
/// Where the proxy listens that offers HTTP/1.1 only.
const PLAIN_PORT: u16 = 8443;

/// How HTTP/2 is switched off, or not.
#[derive(Clone, Copy)]
enum Way {
    Http2,
    Godebug,
    ProxyOffersHttp1,
    ClientHttp2,
    ClientTlsNextProto,
}

const WAYS: [(&str, Way); 5] = [
    ("go mod download, HTTP/2", Way::Http2),
    ("go mod download, GODEBUG=http2client=0", Way::Godebug),
    ("go mod download, proxy offers http/1.1 only", Way::ProxyOffersHttp1),
    ("net/http client, HTTP/2", Way::ClientHttp2),
    ("net/http client, Transport with an empty TLSNextProto", Way::ClientTlsNextProto),
];

struct World {
    lab: Lab,
    plain: Proxy,
    client: Program,
}

/// One table without and one with loss.
pub fn tables(runs: usize) -> Result<Vec<Table>> {
    let lab = Lab::start_in(Place::Veth)?;
    let mut tls = ServerConfig::clone(&lab.tls);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let plain = {
        let listener = lab.net.listener(lab.net.proxy, PLAIN_PORT)?;
        let _entered = lab.runtime.enter();
        Proxy::start(vec![listener], Arc::new(tls), lab.shared_store(), "no sumdb")?
    };
    let faults = Faults { request_delay: WAY, ..Faults::default() };
    lab.proxy.set_faults(faults.clone());
    plain.set_faults(faults);
    let world = World { lab, plain, client: programs::build(include_str!("fetch.go"))? };
    let without = table(&world, runs, "no segment is lost")?;
    lose(&world.lab)?;
    let with = table(&world, runs, &format!("{LOSS} % of the segments to the client are lost"))?;
    Ok(vec![without, with])
}

/// In the commands' network namespace, and gone with it.
fn lose(lab: &Lab) -> Result<()> {
    let rules = format!(
        "table inet loss {{ chain input {{ type filter hook input priority 0; \
         iif != lo tcp sport {{ 443, {PLAIN_PORT} }} numgen random mod 100 < {LOSS} drop; }}; }}"
    );
    let output = lab.net.inside(|| Command::new("nft").arg(&rules).output())?.context("run nft")?;
    ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn table(world: &World, runs: usize, loss: &str) -> Result<Table> {
    let ms = WAY.as_millis();
    let mut table = Table::new(
        format!("{AT_ONCE} at a time, {ms} ms before each response, {loss}; {runs} runs:"),
        &["way", "median", "95 % within", "connections", "of them used", "requests a used connection"],
    );
    for (name, way) in WAYS {
        let (mut times, mut counts) = (Times::default(), [Vec::new(), Vec::new(), Vec::new()]);
        for _ in 0..runs {
            let (took, numbers) = once(world, way)?;
            times.push(took);
            counts.iter_mut().zip(numbers).for_each(|(all, number)| all.push(number));
        }
        let [connections, used, each] = counts.map(|numbers| median(&numbers));
        table.row([
            name.into(),
            times.median(),
            times.p95(),
            connections.to_string(),
            used.to_string(),
            format!("{each:.1}"),
        ]);
    }
    Ok(table)
}

/// How long it took; connections, those that carried requests, requests on each of these.
fn once(world: &World, way: Way) -> Result<(Duration, [f64; 3])> {
    let World { lab, plain, client } = world;
    let mut env = Vec::new();
    match way {
        Way::Godebug => env.push(("GODEBUG".to_owned(), "http2client=0".to_owned())),
        Way::ProxyOffersHttp1 => {
            env.push(("GOPROXY".to_owned(), format!("https://{PROXY_HOST}:{PLAIN_PORT}")));
        }
        _ => {}
    }
    let run =
        lab.go_run(&GoOptions { go_sum: true, gomaxprocs: Some(AT_ONCE), env, ..GoOptions::default() })?;
    let log = if matches!(way, Way::ProxyOffersHttp1) { plain.log() } else { lab.proxy.log() };
    log.take();
    let took = match way {
        Way::ClientHttp2 | Way::ClientTlsNextProto => {
            let mut command = run.command(&client.path);
            command.arg(AT_ONCE.to_string());
            command.arg(if matches!(way, Way::ClientHttp2) { "h2" } else { "h1" });
            let zips = lab.store().paths().filter_map(|path| path.strip_suffix(".zip"));
            command
                .args(zips.map(|path| format!("https://{PROXY_HOST}/{}.zip", path.trim_start_matches('/'))));
            let output = lab.output(&mut command)?;
            succeeded(&output)?;
            let said = String::from_utf8_lossy(&output.stdout);
            Duration::from_secs_f64(said.trim().parse().context("no time in what it said")?)
        }
        _ => {
            let (took, output) = timed(lab, &mut run.go(&["mod", "download"]))?;
            succeeded(&output)?;
            took
        }
    };
    ensure!(log.settled(Duration::from_secs(10)), "connections stayed open");
    let (connections, requests) = log.take();
    let mut carried = vec![0_u32; connections.len()];
    requests.iter().for_each(|request| carried[request.connection] += 1);
    let used = carried.iter().filter(|carried| **carried > 0).count();
    ensure!(used > 0, "no connection was used in {}", seconds(took.as_secs_f64()));
    Ok((took, [connections.len() as f64, used as f64, requests.len() as f64 / used as f64]))
}
