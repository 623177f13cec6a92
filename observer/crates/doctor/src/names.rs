//! Name servers, each asked by itself. In: resolv.conf, and the hosts that go will ask for. Out: checks, and the
//! addresses of each host.
//!
//! Whoever does not answer is asked once more, in three ways at once that differ in one thing: as before, without
//! EDNS, over TCP.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use model::doctor::Check;
use model::human;
use resolver::probe::{NoAnswer, Way, ask};
use resolver::resolv_conf::Servers;
use resolver::wire::{A, AAAA, Answer, FORMERR, NOERROR, NOTIMP, NXDOMAIN, Question, REFUSED, SERVFAIL};
use tokio::task::JoinSet;

/// How long a server may take for one answer.
const PATIENCE: Duration = Duration::from_millis(1500);
/// An answer that takes longer is slow: a lookup of go takes two of them, and nothing is cached.
const SLOW: Duration = Duration::from_millis(300);
/// Hosts that are asked for.
const HOSTS_MAX: usize = 8;

/// Addresses of hosts.
pub type Addresses = BTreeMap<String, Vec<IpAddr>>;

/// What a server made of one question.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Said {
    /// It answered, so late, at which attempt
    Answer { rcode: u8, addresses: Vec<IpAddr>, took: Duration, lost: u32 },
    /// It answered only so
    Only(Way, Vec<IpAddr>),
    /// It cut its answer, and has no whole one over TCP
    Cut,
    /// There was none
    Nothing(NoAnswer),
}

impl Said {
    fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Answer { addresses, .. } | Self::Only(_, addresses) => addresses,
            Self::Cut | Self::Nothing(_) => &[],
        }
    }

    const fn is_answer(&self) -> bool {
        matches!(self, Self::Answer { .. })
    }
}

/// What a server made of a host: its A and its AAAA.
#[derive(Clone, Debug)]
struct Lookup {
    host: String,
    a: Said,
    aaaa: Said,
}

/// Asks all servers for all hosts, side by side.
pub async fn check(servers: &Servers, hosts_file: &str, hosts: &[String]) -> (Vec<Check>, Addresses) {
    let mut addresses = Addresses::new();
    let mut asked = Vec::new();
    for host in hosts {
        match local(hosts_file, host) {
            found if !found.is_empty() => drop(addresses.insert(host.clone(), found)),
            _ => asked.push(host.clone()),
        }
    }
    asked.truncate(HOSTS_MAX);
    let mut tasks = JoinSet::new();
    for (index, server) in servers.addresses.iter().enumerate() {
        for host in &asked {
            let (server, host, candidates) = (*server, host.clone(), servers.candidates(host));
            tasks.spawn(async move { (index, resolve(server, host, candidates).await) });
        }
    }
    let mut all: Vec<Vec<Lookup>> = vec![Vec::new(); servers.addresses.len()];
    while let Some(done) = tasks.join_next().await {
        if let Ok((index, lookup)) = done {
            all[index].push(lookup);
        }
    }
    for lookups in &mut all {
        lookups.sort_by_key(|lookup| asked.iter().position(|host| *host == lookup.host));
    }
    // As go: the first server that has any, IPv4 and IPv6.
    for lookup in all.iter().flatten() {
        let found: Vec<IpAddr> =
            lookup.a.addresses().iter().chain(lookup.aaaa.addresses()).copied().collect();
        if !found.is_empty() {
            addresses.entry(lookup.host.clone()).or_insert(found);
        }
    }
    let mut checks = of_file(servers, &asked);
    if asked.is_empty() {
        let why =
            if hosts.is_empty() { "no host is to be asked for" } else { "/etc/hosts has all addresses" };
        checks.push(Check::good("lookups", why));
        return (checks, addresses);
    }
    for (index, server) in servers.addresses.iter().enumerate() {
        checks.extend(of_server(*server, index, &all));
    }
    (checks, addresses)
}

/// What /etc/hosts says.
fn local(hosts_file: &str, host: &str) -> Vec<IpAddr> {
    let lines = hosts_file.lines().map(|line| line.split('#').next().unwrap_or_default());
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse::<IpAddr>().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    };
    lines.filter_map(of_line).collect()
}

/// What resolv.conf itself says.
fn of_file(servers: &Servers, hosts: &[String]) -> Vec<Check> {
    let mut all = Vec::new();
    if servers.by_default {
        all.push(
            Check::notice("resolv-conf-empty", "resolv.conf", "it names no server, so go asks 127.0.0.1")
                .fix("name the network's server in /etc/resolv.conf"),
        );
    }
    if servers.ignored > 0 {
        let text = format!(
            "{} behind the third: resolvers do not read them",
            human::count(servers.ignored as u64, "server")
        );
        all.push(
            Check::notice("resolv-conf-too-many", "resolv.conf", text)
                .fix("take them out of /etc/resolv.conf"),
        );
    }
    let in_vain = |host: &&String| servers.candidates(host).first().is_some_and(|first| first != *host);
    if let Some(host) = hosts.iter().find(|host| host.contains('.') && in_vain(host)) {
        all.push(
            Check::notice(
                "dns-search-path",
                "resolv.conf",
                format!(
                    "ndots:{} has {host} looked up with {} first",
                    servers.ndots,
                    human::count(servers.search.len() as u64, "other ending")
                ),
            )
            .proof(format!("{host} has fewer than {} dots", servers.ndots))
            .fix("sudo goobserve compare --with 'resolv=options ndots:1' -- go mod download"),
        );
    }
    all
}

async fn resolve(server: SocketAddr, host: String, candidates: Vec<String>) -> Lookup {
    let unknown = || Said::Nothing(NoAnswer::Failed("it is no name".into()));
    let mut lookup = Lookup { host, a: unknown(), aaaa: unknown() };
    for name in candidates {
        let (Some(a), Some(aaaa)) = (Question::of(&name, A), Question::of(&name, AAAA)) else { continue };
        (lookup.a, lookup.aaaa) = tokio::join!(question(server, &a), question(server, &aaaa));
        let is_unknown = matches!(lookup.a, Said::Answer { rcode: NXDOMAIN, .. });
        if !is_unknown {
            break;
        }
    }
    lookup
}

async fn question(server: SocketAddr, question: &Question) -> Said {
    let began = Instant::now();
    let first = ask(server, question, Way::Edns, PATIENCE).await;
    let answer = |answer: &Answer, lost| Said::Answer {
        rcode: answer.rcode,
        addresses: answer.addresses(),
        took: began.elapsed(),
        lost,
    };
    match first {
        Ok(cut) if cut.truncated => match ask(server, question, Way::Tcp, PATIENCE).await {
            Ok(whole) => answer(&whole, 0),
            Err(_) => Said::Cut,
        },
        Ok(refused) if matches!(refused.rcode, FORMERR | NOTIMP) => {
            match ask(server, question, Way::Plain, PATIENCE).await {
                Ok(plain) if plain.rcode == NOERROR => Said::Only(Way::Plain, plain.addresses()),
                _ => answer(&refused, 0),
            }
        }
        Ok(good) => answer(&good, 0),
        Err(why) => {
            let again = |way| ask(server, question, way, PATIENCE);
            let (same, plain, tcp) = tokio::join!(again(Way::Edns), again(Way::Plain), again(Way::Tcp));
            match (same, plain, tcp) {
                (Ok(good), ..) => Said::Answer {
                    rcode: good.rcode,
                    addresses: good.addresses(),
                    took: began.elapsed(),
                    lost: 1,
                },
                (_, Ok(plain), _) => Said::Only(Way::Plain, plain.addresses()),
                (.., Ok(tcp)) => Said::Only(Way::Tcp, tcp.addresses()),
                _ => Said::Nothing(why),
            }
        }
    }
}

const fn code(rcode: u8) -> &'static str {
    match rcode {
        NOERROR => "NOERROR",
        FORMERR => "FORMERR",
        SERVFAIL => "SERVFAIL",
        NXDOMAIN => "NXDOMAIN",
        NOTIMP => "NOTIMP",
        REFUSED => "REFUSED",
        _ => "an error",
    }
}

fn took(duration: Duration) -> String {
    human::duration(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

const DNS_CACHE: &str = "sudo goobserve compare --with dns-cache -- go mod download";

/// What is to be said of one server; the worst of it once.
fn of_server(server: SocketAddr, index: usize, all: &[Vec<Lookup>]) -> Vec<Check> {
    let name = if server.port() == 53 { server.ip().to_string() } else { server.to_string() };
    let own = &all[index];
    // What another server said of the same: the experiment that differs in one thing.
    let other = |host: &str, is: &dyn Fn(&Lookup) -> bool| {
        all.iter()
            .enumerate()
            .filter(|(at, _)| *at != index)
            .any(|(_, lookups)| lookups.iter().any(|lookup| lookup.host == host && is(lookup)))
    };
    let said = || own.iter().flat_map(|lookup| [(lookup, "A", &lookup.a), (lookup, "AAAA", &lookup.aaaa)]);
    if let Some((_, _, Said::Nothing(why))) = said().next()
        && said().all(|(_, _, said)| matches!(said, Said::Nothing(_)))
    {
        let what = match why {
            NoAnswer::Silent => "never answers, over UDP or TCP".to_owned(),
            NoAnswer::Refused => "nobody listens there".to_owned(),
            NoAnswer::Failed(why) => format!("cannot be asked: {why}"),
        };
        let hosts = own.iter().any(|lookup| other(&lookup.host, &|lookup| lookup.a.is_answer()));
        let mut check = Check::wrong("dns-server-silent", name, what);
        if hosts {
            check = check.proof("another server of the list answers the same question");
        } else if all.len() > 1 {
            check = check.proof("and no other server of the list answers: the way to all of them is shut");
        }
        let cost = match why {
            NoAnswer::Refused => "",
            _ => "; until then go waits for it: 5 s a lookup, unless `options timeout` says otherwise",
        };
        return vec![check.fix(format!("take it out of /etc/resolv.conf, or have it answer{cost}"))];
    }
    let mut checks = Vec::new();
    for (lookup, kind, what) in said() {
        let host = &lookup.host;
        let of = format!("{host} {kind}");
        match what {
            Said::Nothing(_) if kind == "AAAA" && lookup.a.is_answer() => checks.push(
                Check::wrong("dns-aaaa-silent", &name, format!("never answers AAAA questions: {of}"))
                    .proof("it answers A of the same name at once; go awaits both")
                    .fix(DNS_CACHE),
            ),
            Said::Nothing(_) => checks.push(
                Check::wrong("dns-timeout", &name, format!("does not answer {of}"))
                    .proof("it answers other questions")
                    .fix(DNS_CACHE),
            ),
            Said::Only(Way::Plain, _) => checks.push(
                Check::wrong("dns-edns-dropped", &name, format!("does not answer questions with EDNS: {of}"))
                    .proof("it answers the same question without EDNS")
                    .fix("sudo goobserve compare --with env=GODEBUG=netedns0=0 -- go mod download"),
            ),
            Said::Only(..) => checks.push(
                Check::wrong("dns-udp-dropped", &name, format!("answers over TCP alone: {of}"))
                    .proof("the same question over UDP has no answer, asked twice")
                    .fix("have UDP port 53 let through; until then: sudo goobserve compare --with 'resolv=options use-vc' -- go mod download"),
            ),
            Said::Cut => checks.push(
                Check::wrong("dns-tcp-fallback", &name, format!("cuts its answer, and has no whole one over TCP: {of}"))
                    .proof("the cut answer came over UDP; the same question over TCP has no answer")
                    .fix("have TCP port 53 let through"),
            ),
            Said::Answer { rcode: NXDOMAIN, .. } if kind == "A" => {
                let check = Check::wrong("dns-nxdomain", &name, format!("{host} does not exist"));
                let is_elsewhere = other(host, &|lookup| !lookup.a.addresses().is_empty());
                checks.push(if is_elsewhere {
                    check
                        .proof("another server of the list has its address: which one go asks first decides")
                        .fix("take the server that does not know it out of /etc/resolv.conf")
                } else {
                    check.fix("check the spelling in GOPROXY, GOSUMDB and HTTPS_PROXY; or whether a VPN is to be up")
                });
            }
            Said::Answer { rcode, .. } if !matches!(*rcode, NOERROR | NXDOMAIN) => {
                let check = Check::wrong("dns-error", &name, format!("{} for {of}", code(*rcode)));
                let is_good = |said: &Said| matches!(said, Said::Answer { rcode: NOERROR, .. });
                let is_elsewhere =
                    other(host, &|lookup| is_good(if kind == "A" { &lookup.a } else { &lookup.aaaa }));
                let check = if is_elsewhere {
                    check.proof("another server of the list answers the same question")
                } else {
                    check
                };
                checks.push(check.fix("ask who runs it; or name another server in /etc/resolv.conf"));
            }
            Said::Answer { lost: 1.., took: waited, .. } => checks.push(
                Check::wrong("dns-timeout", &name, format!("did not answer {of} until asked once more"))
                    .proof(format!("the same question, repeated after {}, was answered", took(PATIENCE)))
                    .fix(DNS_CACHE)
                    .took(*waited),
            ),
            Said::Answer { took: waited, .. } if *waited > SLOW => checks.push(
                Check::wrong("dns-slow", &name, format!("{} for {of}", took(*waited)))
                    .proof(format!("{} for the fastest of its answers", took(fastest(own))))
                    .fix(DNS_CACHE)
                    .took(*waited),
            ),
            Said::Answer { rcode: NOERROR, addresses, .. } if kind == "A" && addresses.is_empty() => {
                // A host of IPv6 alone has none, and neither has a name that is no host.
                if lookup.aaaa.addresses().is_empty() && lookup.aaaa.is_answer() {
                    checks.push(
                        Check::wrong("dns-nxdomain", &name, format!("{host} has no address"))
                            .fix("check the spelling in GOPROXY, GOSUMDB and HTTPS_PROXY"),
                    );
                }
            }
            Said::Answer { .. } => {}
        }
    }
    // One of a kind: that AAAA of each host is silent is one fault.
    let mut seen = std::collections::BTreeSet::new();
    checks.retain(|check| {
        check.finding.as_deref() == Some("dns-nxdomain") || seen.insert(check.finding.clone())
    });
    if checks.is_empty() {
        let slowest = said().filter_map(|(_, _, said)| match said {
            Said::Answer { took, .. } => Some(*took),
            _ => None,
        });
        let slowest = slowest.max().unwrap_or_default();
        let hosts: Vec<&str> = own.iter().map(|lookup| lookup.host.as_str()).collect();
        let text = format!("A and AAAA of {}, {} at most", hosts.join(", "), took(slowest));
        checks.push(Check::good(name, text).took(slowest));
    }
    checks
}

fn fastest(lookups: &[Lookup]) -> Duration {
    let said = lookups.iter().flat_map(|lookup| [&lookup.a, &lookup.aaaa]);
    said.filter_map(|said| match said {
        Said::Answer { took, .. } => Some(*took),
        _ => None,
    })
    .min()
    .unwrap_or_default()
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
