//! The way to one server, phase by phase: addresses, TCP, the tunnel of a forward proxy, TLS, HTTP. In: a URL and
//! what is to be asked there. Out: a check a phase; the first that fails ends it, after the experiment that shows
//! why.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gateway::connect::{Network, port};
use hyper::Uri;
use hyper::header::HeaderValue;
use model::doctor::Check;
use model::human;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::hello::{self, Hello, Shape, Spoken};
use crate::names::Addresses;
use crate::reach::{self, Attempt, Forward, NoConnection, NoTunnel, Stream};
use crate::requests::{End, NoResponse, Session};
use crate::verdict::{clock, in_words, judge, judge_spoken, large, no_response, took, untrusted};

/// A handshake of TCP that takes longer has lost a SYN: those are repeated after a second.
const SYN_LOST: Duration = Duration::from_millis(900);
/// Bytes of a large answer: many packets.
const LARGE: u64 = 64 * 1024;
/// Bytes of any other.
const SMALL: u64 = 64 * 1024;

/// Bytes of a packet that passes everywhere.
const SEGMENT: u32 = 536;
const MTU: &str = "packets of full size are lost on the way: ip link set dev DEVICE mtu 1400, or have the VPN clamp the MSS";

/// Where to go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The URL, without credentials
    pub url: Uri,
    /// What its host is asked with
    pub authorization: Option<HeaderValue>,
    /// What is asked for there
    pub asks: Vec<Ask>,
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// A small file of a module
    Info(String),
    /// Whether the checksum database is passed on; and a lookup, where it is
    Database(String, String),
    /// A lookup at the checksum database itself
    Lookup(String),
    /// A large file, the beginning of it
    Large(String),
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// What was found
    pub checks: Vec<Check>,
    /// Whether it passes the checksum database on; `None` when that is not known
    pub passes_database: Option<bool>,
}

/// A way to a target that can be gone again.
struct Way<'a> {
    network: &'a Network,
    forward: Option<Forward>,
    /// Of the forward proxy, or of the target
    address: SocketAddr,
    host: String,
    port: u16,
}

impl Way<'_> {
    /// Whether it is a tunnel; plain http goes to a forward proxy as it is.
    fn has_tunnel(&self, url: &Uri) -> bool {
        self.forward.as_ref().is_some_and(|forward| forward.is_socks() || url.scheme_str() == Some("https"))
    }

    async fn stream(&self, url: &Uri) -> Result<Stream, NoTunnel> {
        match &self.forward {
            Some(forward) if self.has_tunnel(url) => {
                reach::tunnel(self.network, forward, self.address, &self.host, self.port).await
            }
            Some(forward) => reach::to_forward(self.network, forward, self.address).await,
            None => Ok(Box::new(reach::connect(self.address).await.map_err(NoTunnel::Connect)?)),
        }
    }
}

/// The host whose address is looked up for a URL: a forward proxy's, or its own.
pub fn resolved_host(network: &Network, url: &Uri) -> (String, u16) {
    match Forward::of(network, url) {
        Some(forward) => (forward.host(), forward.port()),
        None => (url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned(), port(url)),
    }
}

/// Goes there.
pub async fn go(network: &Network, addresses: &Addresses, target: &Target) -> Outcome {
    let mut outcome = Outcome::default();
    let checks = &mut outcome.checks;
    let forward = Forward::of(network, &target.url);
    let (host, to_port) = resolved_host(network, &target.url);
    let found: Vec<IpAddr> = match host.parse() {
        Ok(address) => vec![address],
        Err(_) if host == "localhost" => vec![IpAddr::from([127, 0, 0, 1])],
        Err(_) => addresses.get(&host).cloned().unwrap_or_default(),
    };
    if found.is_empty() {
        checks.push(
            Check::unknown("address", format!("not gone to: there is no address for {host}"))
                .fix("what is wrong with its name comes first"),
        );
        return outcome;
    }
    let attempts = reach::attempts(&found, to_port).await;
    let Some(address) = connected(&attempts, &host, forward.is_some(), checks).await else { return outcome };
    let way = Way {
        network,
        forward,
        address,
        host: target.url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
        port: port(&target.url),
    };
    let stream = match way.stream(&target.url).await {
        Ok(stream) => stream,
        Err(why) => {
            let check = no_tunnel(&way, &why);
            checks.push(if way.forward.is_some() { check.proof(without_forward(&way).await) } else { check });
            return outcome;
        }
    };
    if let Some(forward) = way.forward.as_ref().filter(|_| way.has_tunnel(&target.url)) {
        checks.push(Check::good(
            "tunnel",
            format!("{} lets {}:{} through", forward.shown(), way.host, way.port),
        ));
    }
    let session = if target.url.scheme_str() == Some("https") {
        let Some(spoken) = shaken(&way, &target.url, stream, checks).await else { return outcome };
        Session::open(spoken.stream, spoken.is_h2).await
    } else {
        Session::open(stream, false).await
    };
    match session {
        Ok(mut session) => {
            session.authorization.clone_from(&target.authorization);
            if let Some(forward) = way.forward.as_ref().filter(|_| !way.has_tunnel(&target.url)) {
                session.is_absolute = true;
                session.proxy_authorization = forward.authorization().cloned();
            }
            let (passes, stopped) = asked(&mut session, target, &attempts, checks).await;
            outcome.passes_database = passes;
            if let Some((path, check)) = stopped {
                checks.push(in_small_packets(&way, &target.url, &path, session.authorization, check).await);
            }
        }
        Err(why) => checks.push(no_response("http", &why)),
    }
    outcome
}

/// What the handshakes say; the address to go on with.
async fn connected(
    attempts: &[Attempt],
    host: &str,
    is_forward: bool,
    checks: &mut Vec<Check>,
) -> Option<SocketAddr> {
    let name = "connect";
    let good = |attempt: &&Attempt| attempt.outcome.is_ok();
    let whom = if is_forward { format!("the forward proxy {host}") } else { host.to_owned() };
    let best = attempts.iter().filter(good).min_by_key(|attempt| attempt.outcome.clone().unwrap_or_default());
    let Some(best) = best else {
        let words =
            |attempt: &Attempt| format!("{}: {}", attempt.address, in_words(attempt.outcome.as_ref().err()));
        let is_refused = attempts.iter().any(|attempt| attempt.outcome == Err(NoConnection::Refused));
        let finding = if is_refused { "connect-refused" } else { "connect-timeout" };
        let mut check = Check::wrong(finding, name, format!("no connection with {whom}"));
        for attempt in attempts {
            check = check.proof(words(attempt));
        }
        let fix = match (is_refused, is_forward) {
            (true, true) => "check the port in HTTPS_PROXY, or whether the forward proxy runs".to_owned(),
            (true, false) => "check the port in GOPROXY, or whether the server runs".to_owned(),
            (false, true) => "check HTTPS_PROXY, and whether a firewall drops what goes to it".to_owned(),
            (false, false) => {
                "have the firewall let it through; or, where a forward proxy is the only way out, set HTTPS_PROXY".to_owned()
            }
        };
        checks.push(check.fix(fix));
        return None;
    };
    let first = best.outcome.clone().unwrap_or_default();
    let other_family = |attempt: &&Attempt| attempt.address.is_ipv4() != best.address.is_ipv4();
    // Without a way out for a family go does not wait for it.
    let dead = attempts.iter().find(|attempt| {
        matches!(attempt.outcome, Err(NoConnection::Silent | NoConnection::Failed(_) | NoConnection::Refused))
    });
    if let Some(dead) = dead {
        let (finding, fix) = if other_family(&dead) {
            let family = if dead.address.is_ipv6() { "IPv6" } else { "IPv4" };
            (
                "connect-family-dead",
                format!(
                    "have {family} let through, or take its route away; go tries the other family after 300 ms, each time"
                ),
            )
        } else {
            (
                "connect-address-dead",
                "have that address taken out of the name's, or its server started".to_owned(),
            )
        };
        let check = Check::wrong(
            finding,
            name,
            format!("{}: {}", dead.address, in_words(dead.outcome.as_ref().err())),
        );
        checks.push(check.proof(format!("{} connects in {}", best.address, took(first))).fix(fix));
    }
    if first >= SYN_LOST {
        let again = reach::once(best.address).await;
        let mut check =
            Check::wrong("syn-lost", name, format!("{} connects after {}", best.address, took(first)));
        if let Ok(again) = again {
            check =
                check.proof(format!("another time after {}: a SYN is repeated after a second", took(again)));
        }
        checks.push(check.fix("look for loss on the way to it: ping, mtr").took(first));
    } else {
        let more =
            attempts.iter().filter(good).filter(other_family).map(|attempt| attempt.address.to_string());
        let all: Vec<String> = std::iter::once(best.address.to_string()).chain(more.take(1)).collect();
        let via = if is_forward { format!("{whom}, ") } else { String::new() };
        checks.push(Check::good(name, format!("{via}{} in {}", all.join(", "), took(first))).took(first));
    }
    Some(best.address)
}

fn no_tunnel(way: &Way<'_>, why: &NoTunnel) -> Check {
    let name = "tunnel";
    let Some(forward) = &way.forward else {
        let why = match why {
            NoTunnel::Connect(why) => in_words(Some(why)),
            other => format!("{other:?}"),
        };
        return Check::wrong("connect-unsteady", "connect", format!("a second connection failed: {why}"))
            .proof(format!("the first with {} stood", way.address))
            .fix("look for loss on the way to it: ping, mtr");
    };
    let (shown, to) = (forward.shown(), format!("{}:{}", way.host, way.port));
    let connects = format!("{} accepts connections", way.address);
    match why {
        NoTunnel::Status(407) if forward.has_password() => Check::wrong(
            "tunnel-auth",
            name,
            format!("{shown} refuses the user and password that HTTPS_PROXY has (407)"),
        )
        .fix("correct them in HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT, special characters as %XX"),
        NoTunnel::Status(407) => {
            Check::wrong("tunnel-auth", name, format!("{shown} wants a user and a password (407)"))
                .fix("HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, special characters as %XX")
        }
        NoTunnel::Status(status) => {
            Check::wrong("tunnel-refused", name, format!("{shown} refuses {to} ({status})")).fix(format!(
                "ask who runs it to let {to} through; or, where it is reached without it, add {} to NO_PROXY",
                way.host
            ))
        }
        NoTunnel::Refused(why) => {
            Check::wrong("tunnel-refused", name, format!("{shown} refuses {to}: {why}")).fix(format!(
                "ask who runs it to let {to} through; or, where it is reached without it, add {} to NO_PROXY",
                way.host
            ))
        }
        NoTunnel::Silent => Check::wrong(
            "tunnel-slow",
            name,
            format!("{shown} does not answer for {to} within {} s", reach::TUNNEL_MAX.as_secs()),
        )
        .fix("check that it is the right port in HTTPS_PROXY; ask who runs it whether it reaches the host"),
        NoTunnel::Closed => Check::wrong(
            "tunnel-refused",
            name,
            format!("{shown} hangs up when asked for {to}"),
        )
        .fix("check scheme and port in HTTPS_PROXY: http://, https:// and socks5:// are spoken differently"),
        NoTunnel::Tls(why) => {
            Check::wrong("tunnel-tls", name, format!("TLS with {shown} itself fails: {why}"))
                .fix("where it speaks plain HTTP, name it by http:// in HTTPS_PROXY")
        }
        NoTunnel::Connect(why) => Check::wrong(
            "connect-unsteady",
            name,
            format!("a second connection with {shown} failed: {}", in_words(Some(why))),
        )
        .fix("look for loss on the way to it: ping, mtr"),
    }
    .proof(connects)
}

/// The same way without the forward proxy: whether `NO_PROXY` would be of use.
async fn without_forward(way: &Way<'_>) -> String {
    let (host, port) = (way.host.as_str(), way.port);
    let looked_up = timeout(reach::CONNECT_MAX, lookup_host((host, port))).await;
    let found: Vec<IpAddr> = match looked_up {
        Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
        _ => Vec::new(),
    };
    if found.is_empty() {
        return format!("without it there is no address for {host}");
    }
    let attempts = reach::attempts(&found, port).await;
    let words = |attempt: &Attempt| match &attempt.outcome {
        Ok(after) => format!("without it {host}:{port} connects in {}", took(*after)),
        Err(why) => format!("without it {host}:{port}: {}", in_words(Some(why))),
    };
    let best = attempts.iter().find(|attempt| attempt.outcome.is_ok()).or(attempts.first());
    best.map(words).unwrap_or_default()
}

/// TLS as go does it; and where that fails, with a small hello and without a name.
async fn shaken(way: &Way<'_>, url: &Uri, stream: Stream, checks: &mut Vec<Check>) -> Option<Spoken> {
    let name = "tls";
    let host = &way.host;
    let usual = Shape { is_large: true, is_named: true, has_h2: true };
    let mut first = hello::say(&way.network.roots, stream, host, usual).await;
    if matches!(first, Hello::Spoken(_))
        && let Ok(stream) = way.stream(url).await
    {
        // The name stands anywhere in a large hello here, and in the first packet in go's and in a small one: who
        // reads that packet alone finds it there for certain.
        let small = hello::say(&way.network.roots, stream, host, Shape { is_large: false, ..usual }).await;
        if !small.is_answer() {
            first = small;
        }
    }
    if let Hello::Spoken(spoken) = first {
        judge_spoken(*spoken, checks).into()
    } else if let Hello::Untrusted(why, certificate) = first {
        checks.push(untrusted(&why, certificate.as_deref(), host));
        None
    } else {
        let try_it = async |shape| match way.stream(url).await {
            Ok(stream) => Some(hello::say(&way.network.roots, stream, host, shape).await),
            Err(_) => None,
        };
        let is_address = host.parse::<IpAddr>().is_ok();
        let small = try_it(Shape { is_large: false, ..usual });
        let nameless = try_it(Shape { is_large: false, is_named: false, ..usual });
        let large_nameless = try_it(Shape { is_named: false, ..usual });
        let short = async {
            // Through a tunnel the packets are the proxy's.
            let direct = way.forward.is_none().then(|| reach::connect_with(way.address, Some(SEGMENT)));
            let stream: Stream = Box::new(direct?.await.ok()?);
            Some(hello::say(&way.network.roots, stream, host, usual).await)
        };
        let (small, nameless, large_nameless, short) = tokio::join!(small, nameless, large_nameless, short);
        let answered = |hello: &Option<Hello>| hello.as_ref().is_some_and(Hello::is_answer);
        let words = |hello: &Option<Hello>| {
            hello.as_ref().map_or_else(|| "no connection".to_owned(), Hello::in_words)
        };
        let what = match &first {
            Hello::Answered(why) => format!("refused by {host}: {why}"),
            other => format!("a hello as go's: {}", other.in_words()),
        };
        // A filter that reads the first packet alone lets a name pass that small packets put into the second; so what
        // small packets change counts only where the name changes nothing.
        let has_certificate = |hello: &Option<Hello>| {
            hello.as_ref().is_some_and(|hello| matches!(hello, Hello::Spoken(_) | Hello::Untrusted(..)))
        };
        let is_by_name = !answered(&small) && has_certificate(&nameless);
        let check = if answered(&short) && !is_by_name && !first.is_answer() {
            Check::wrong("mtu-blackhole", name, what)
                .proof(format!("the same in packets of at most {SEGMENT} bytes: {}", words(&short)))
                .fix(MTU)
        } else if answered(&small) && !first.is_answer() {
            Check::wrong("tls-hello-large", name, what)
                .proof(format!("a hello that fits into one packet: {}", words(&small)))
                .fix("sudo goobserve compare --with no-mlkem -- go mod download; then GODEBUG=tlsmlkem=0 in its environment")
        } else if !is_address && !first.is_answer() && (answered(&nameless) || answered(&large_nameless)) {
            let finding = if matches!(first, Hello::Reset | Hello::Closed) {
                "tls-reset-by-sni"
            } else {
                "tls-hello-unanswered"
            };
            Check::wrong(finding, name, what)
                .proof(format!("a small hello that names {host}: {}", words(&small)))
                .proof(format!("the same to the same address without the name: {}", words(&nameless)))
                .fix(format!("somebody on the way filters by name: have {host} let through, or set GOPROXY to a mirror that is"))
        } else if matches!(first, Hello::NotTls) {
            Check::wrong("tls-not-spoken", name, format!("{}:{} does not speak TLS", way.host, way.port))
                .proof("what comes back is no TLS")
                .fix("where it is plain http, name it by http://; else the port in the URL is another server's")
        } else {
            let check = Check::wrong("tls-failed", name, what);
            let check = if first.is_answer() {
                check
            } else {
                check
                    .proof(format!("a small hello: {}", words(&small)))
                    .proof(format!("a small hello without the name: {}", words(&nameless)))
            };
            check.fix("the address accepts connections and no hello: ask who runs the server, or the firewall in front of it")
        };
        checks.push(check);
        None
    }
}

/// The same once more in packets that pass everywhere: whether the size of packets is why it stopped.
async fn in_small_packets(
    way: &Way<'_>,
    base: &Uri,
    path: &Uri,
    authorization: Option<HeaderValue>,
    stopped: Check,
) -> Check {
    let again = async {
        // Through a tunnel the packets are the proxy's.
        let direct = way.forward.is_none().then(|| reach::connect_with(way.address, Some(SEGMENT)));
        let stream: Stream = Box::new(direct?.await.ok()?);
        let mut session = if base.scheme_str() == Some("https") {
            let usual = Shape { is_large: true, is_named: true, has_h2: true };
            match hello::say(&way.network.roots, stream, &way.host, usual).await {
                Hello::Spoken(spoken) => Session::open(spoken.stream, spoken.is_h2).await.ok()?,
                _ => return None,
            }
        } else {
            Session::open(stream, false).await.ok()?
        };
        session.authorization = authorization;
        session
            .get(path, LARGE)
            .await
            .ok()
            .filter(|fetched| matches!(fetched.end, End::Complete | End::Enough))
    };
    match again.await {
        Some(fetched) => Check::wrong("mtu-blackhole", stopped.name, stopped.what)
            .proof(format!(
                "in packets of at most {SEGMENT} bytes the same request has {} in {}",
                human::bytes(fetched.bytes),
                took(fetched.took)
            ))
            .fix(MTU),
        None => stopped,
    }
}

/// Whether the checksum database is passed on; and what stopped in the middle of a large answer.
type Asked = (Option<bool>, Option<(Uri, Check)>);

/// Asks for all of it.
async fn asked(
    session: &mut Session,
    target: &Target,
    attempts: &[Attempt],
    checks: &mut Vec<Check>,
) -> Asked {
    let mut passes = None;
    let connects =
        attempts.iter().filter_map(|attempt| attempt.outcome.clone().ok()).min().unwrap_or_default();
    let base = target.url.to_string();
    let base = base.trim_end_matches('/');
    let url = |path: &str| format!("{base}/{path}").parse::<Uri>();
    for ask in &target.asks {
        let (name, path, bytes) = match ask {
            Ask::Info(path) => ("module", path, SMALL),
            Ask::Database(database, _) => ("/sumdb/", &format!("sumdb/{database}/supported"), SMALL),
            Ask::Lookup(path) => ("lookup", path, SMALL),
            Ask::Large(path) => ("large answer", path, LARGE),
        };
        let Ok(address) = url(path) else { continue };
        let fetched = match session.get(&address, bytes).await {
            Ok(fetched) => fetched,
            Err(NoResponse::Silent) if matches!(ask, Ask::Large(_)) => {
                let check = no_response(name, &NoResponse::Silent);
                return (passes, Some((address, check)));
            }
            Err(why) => {
                checks.push(no_response(name, &why));
                return (passes, None);
            }
        };
        if let Some(check) = clock(&fetched).filter(|_| !checks.iter().any(|check| check.name == "clock")) {
            checks.push(check);
        }
        if matches!(ask, Ask::Large(_)) {
            // Whoever does not have it has said so above.
            if fetched.status == 200 {
                let check = large(&fetched);
                if fetched.end == End::Stalled {
                    return (passes, Some((address, check)));
                }
                checks.push(check);
            }
            continue;
        }
        if let Ask::Database(database, lookup) = ask {
            passes = match fetched.status {
                200 => Some(true),
                404 | 410 => Some(false),
                _ => None,
            };
            if passes == Some(true) {
                let Ok(address) = url(&format!("sumdb/{database}/{lookup}")) else { continue };
                match session.get(&address, SMALL).await {
                    Ok(fetched) => checks.push(judge("/sumdb/", "passed on; a lookup", &fetched, connects)),
                    Err(why) => {
                        checks.push(no_response(name, &why));
                        return (passes, None);
                    }
                }
            } else if passes == Some(false) {
                checks.push(Check::good("/sumdb/", "not passed on: go asks the database itself"));
            } else {
                checks.push(judge("/sumdb/", "supported", &fetched, connects));
            }
            continue;
        }
        let what = path.strip_prefix("lookup/").unwrap_or(path);
        checks.push(judge(name, what, &fetched, connects));
    }
    (passes, None)
}
