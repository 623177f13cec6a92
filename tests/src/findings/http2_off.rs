//! HTTP/2 switched off in three ways, with and without loss: time, connections, reuse.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio_rustls::rustls::ServerConfig;

use super::programs::{self, Program};
use super::{Part, Table, Times, seconds, succeeded, timed};
use crate::go_env::{GoOptions, GoRun};
use crate::lab::{Lab, PROXY_HOST};
use crate::net::Place;
use crate::proxy::{ConnectionRecord, Faults, Proxy};
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

/// Without loss, with it, and which Transports do without HTTP/2.
pub(super) const PARTS: &[Part] = &[
    ("no-loss", |runs| table(&World::start()?, runs, "no segment is lost")),
    ("loss", |runs| {
        let world = World::start()?;
        lose(&world.lab)?;
        table(&world, runs, &format!("{LOSS} % of the segments to the client are lost"))
    }),
    ("transports", |_| transports(&World::start()?)),
];

impl World {
    fn start() -> Result<Self> {
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
        Ok(Self { lab, plain, client: programs::build(include_str!("fetch.go"))? })
    }
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
        format!(
            "{AT_ONCE} at a time, {ms} ms before each response, {loss}; {runs} runs, counts by their median \
             (least to most):"
        ),
        &[
            "way",
            "median",
            "95 % within",
            "agreed on",
            "connections",
            "of them used",
            "requests a used connection",
        ],
    );
    let mut all = WAYS.map(|_| Vec::new());
    // In turns: what else the machine does is the same for each.
    for _ in 0..runs {
        for ((_, way), all) in WAYS.iter().zip(&mut all) {
            all.push(once(world, *way)?);
        }
    }
    for ((name, _), all) in WAYS.iter().zip(all) {
        let mut times = Times::default();
        all.iter().for_each(|once| times.push(once.took));
        let agreed: BTreeSet<&str> = all.iter().flat_map(|once| &once.agreed).map(String::as_str).collect();
        let agreed = agreed.into_iter().collect::<Vec<_>>().join(", ");
        let [connections, used, each] =
            [0, 1, 2].map(|n| spread(&all.iter().map(|once| once.counts[n]).collect::<Vec<_>>()));
        table.row([(*name).into(), times.median(), times.p95(), agreed, connections, used, each]);
    }
    Ok(table)
}

/// Median, least and most of counts.
fn spread(numbers: &[f64]) -> String {
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let most = numbers.iter().copied().fold(0.0, f64::max);
    format!("{:.0} ({least:.0} to {most:.0})", median(numbers))
}

/// What the handshake agreed on; without an offer nothing, and HTTP/1.1 is spoken.
fn alpn(connection: &ConnectionRecord) -> String {
    connection.alpn.clone().unwrap_or_else(|| "nothing".to_owned())
}

/// A download.
struct Once {
    took: Duration,
    /// What the handshakes agreed on, of connections that carried requests
    agreed: BTreeSet<String>,
    /// Connections, those that carried requests, requests on each of these
    counts: [f64; 3],
}

fn once(world: &World, way: Way) -> Result<Once> {
    let World { lab, plain, .. } = world;
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
            let transport = if matches!(way, Way::ClientHttp2) { "new" } else { "new-empty" };
            let output = fetch(world, &run, transport, usize::MAX)?;
            succeeded(&output)?;
            let said = String::from_utf8_lossy(&output.stdout);
            let seconds = said.split_whitespace().next().unwrap_or_default();
            Duration::from_secs_f64(seconds.parse().context("no time in what it said")?)
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
    let used: Vec<usize> = (0..carried.len()).filter(|index| carried[*index] > 0).collect();
    ensure!(!used.is_empty(), "no connection was used in {}", seconds(took.as_secs_f64()));
    let agreed = used.iter().map(|index| alpn(&connections[*index]));
    let each = requests.len() as f64 / used.len() as f64;
    Ok(Once { took, agreed: agreed.collect(), counts: [connections.len() as f64, used.len() as f64, each] })
}

/// Has the client fetch so many zips of the proxy.
fn fetch(world: &World, run: &GoRun, transport: &str, zips: usize) -> Result<Output> {
    let mut command = run.command(&world.client.path);
    command.args([&AT_ONCE.to_string(), transport]);
    let paths = world.lab.store().paths().filter(|path| path.strip_suffix(".zip").is_some()).take(zips);
    command.args(paths.map(|path| format!("https://{PROXY_HOST}/{}", path.trim_start_matches('/'))));
    world.lab.output(&mut command)
}

/// How a Go program of one's own is asked to do without HTTP/2: what `fetch.go` calls it, GODEBUG, and
/// in words.
const TRANSPORTS: [(&str, &str, &str); 7] = [
    ("clone", "http2client=0", "a clone of `http.DefaultTransport`, GODEBUG=http2client=0"),
    ("new-empty", "", "`&http.Transport{}` with an empty `TLSNextProto`"),
    ("new-protocols", "", "`&http.Transport{}` with `Protocols` set to HTTP/1 only"),
    ("clone-empty", "", "a clone of `http.DefaultTransport` with an empty `TLSNextProto`"),
    ("clone-protocols", "", "a clone with `Protocols` set to HTTP/1 only"),
    ("clone-force", "", "a clone with `ForceAttemptHTTP2 = false`"),
    (
        "clone-empty-alpn",
        "",
        "a clone with an empty `TLSNextProto` and `TLSClientConfig.NextProtos = []string{\"http/1.1\"}`",
    ),
];

fn transports(world: &World) -> Result<Table> {
    let mut table = Table::new(
        "One file fetched by a Go program whose Transport is asked to do without HTTP/2:",
        &["Transport", "agreed on with the server", "spoken", "said"],
    );
    for (mode, godebug, name) in TRANSPORTS {
        world.lab.proxy.log().take();
        let env = vec![("GODEBUG".to_owned(), godebug.to_owned())];
        let run = world.lab.go_run(&GoOptions { env, ..GoOptions::default() })?;
        let output = fetch(world, &run, mode, 1)?;
        ensure!(world.lab.proxy.log().settled(Duration::from_secs(10)), "connections stayed open");
        let (connections, _) = world.lab.proxy.log().take();
        let agreed: BTreeSet<String> = connections.iter().map(alpn).collect();
        let said = String::from_utf8_lossy(&output.stdout);
        let spoken = said.split_whitespace().nth(1).unwrap_or("nothing");
        let mut failed = if output.status.success() { "nothing".to_owned() } else { super::reason(&output) };
        // What came instead of a response are the bytes of a frame.
        failed.truncate(failed.find(" \"\\x00").unwrap_or(failed.len()));
        table.row([name.into(), agreed.into_iter().collect::<Vec<_>>().join(", "), spoken.into(), failed]);
    }
    Ok(table)
}
