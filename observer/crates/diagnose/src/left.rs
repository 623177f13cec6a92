//! What left the company: in, a command's requests and settings; out, which private modules' names were sent to
//! which module proxy or checksum database outside, and which setting let them.
//!
//! A module is private by evidence alone: a pattern of the command's names it, the checksum database does not
//! know it, its own host served what a proxy did not have, or it shares its host with the main module. What is
//! served outside is public, whatever else is so. A proxy by the company's own name or address is not outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use model::id::{ConnectionId, RequestId};
use model::record::{Class, Go, Phase, Request};
use model::roles::Role;

use crate::case::Case;
use crate::hosts::bare;
use crate::private::{covers, matches};

/// Module proxies that have every module that is public.
const PUBLIC_PROXIES: [&str; 3] = ["proxy.golang.org", "goproxy.io", "goproxy.cn"];

/// Hosts that everybody has repositories on.
const SHARED_HOSTS: [&str; 7] =
    ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "gitee.com", "git.sr.ht", "gopkg.in"];

/// What was sent to one host, as a module proxy or as the checksum database.
pub(crate) struct Left<'a> {
    /// To whom
    pub host: &'a str,
    /// As the checksum database
    pub database: bool,
    /// With which names, and in how many requests
    pub names: BTreeMap<&'a str, u64>,
    /// Which of them are private by themselves; the others are parts of these, or of their hosts
    pub modules: BTreeSet<&'a str>,
    /// The requests
    pub requests: Vec<&'a Request>,
    /// Which setting let them
    pub why: String,
}

/// All that left.
pub(crate) fn names<'a>(case: &Case<'a>) -> Vec<Left<'a>> {
    let asked = Asked::new(case);
    let private: BTreeSet<&str> =
        asked.all.iter().copied().filter(|module| asked.is_private(module)).collect();
    if private.is_empty() {
        return Vec::new();
    }
    // A host with a public module is not private as a whole.
    let hosts: BTreeSet<&str> = private.iter().map(|module| host_of(module)).collect();
    let whole: BTreeSet<&str> = hosts.into_iter().filter(|host| !asked.public_hosts.contains(host)).collect();
    let is_part = |module: &str| {
        whole.contains(host_of(module))
            || private.iter().any(|of| covers(of, module))
            || module.contains('/') && private.iter().any(|of| covers(module, of))
    };
    let mut left: BTreeMap<(&str, bool), Left<'a>> = BTreeMap::new();
    for (module, request) in sent(case) {
        let database = request.class.phase() == Phase::Sumdb;
        let Some(host) = request.authority.as_deref() else { continue };
        if asked.public.contains(module)
            || !is_part(module)
            || !database && is_kept_from_proxies(asked.go, request)
            || !database && asked.served.contains(&(host, module))
            || asked.is_own(host, module, request)
        {
            continue;
        }
        let left = left.entry((host, database)).or_insert_with(|| Left {
            host,
            database,
            names: BTreeMap::new(),
            modules: BTreeSet::new(),
            requests: Vec::new(),
            why: String::new(),
        });
        *left.names.entry(module).or_default() += 1;
        if private.contains(module) {
            left.modules.insert(module);
        }
        left.requests.push(request);
    }
    let mut left: Vec<Left<'a>> = left.into_values().collect();
    for one in &mut left {
        let first = one.modules.first().or_else(|| one.names.keys().next()).copied().unwrap_or_default();
        one.why = why(&case.record.go, first, one.database);
    }
    left
}

/// Numbers of the requests with which a name left.
pub(crate) fn requests(case: &Case<'_>) -> BTreeSet<RequestId> {
    names(case).iter().flat_map(|left| &left.requests).map(|request| request.id).collect()
}

/// Requests of proxies and databases with a module's name in them.
fn sent<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'a str, &'a Request)> {
    let outside = |request: &&Request| matches!(request.class.phase(), Phase::Proxy | Phase::Sumdb);
    case.requests().filter(outside).filter_map(|request| Some((request.module.as_deref()?, request)))
}

fn host_of(module: &str) -> &str {
    module.split('/').next().unwrap_or_default()
}

fn is_missing(request: &Request) -> bool {
    matches!(request.status, Some(404 | 410))
}

/// What was asked and answered.
struct Asked<'a> {
    go: &'a Go,
    /// Every name
    all: BTreeSet<&'a str>,
    /// By proxy, what it served
    served: BTreeSet<(&'a str, &'a str)>,
    /// What the checksum database knows, or a proxy outside served
    public: BTreeSet<&'a str>,
    public_hosts: BTreeSet<&'a str>,
    /// What a proxy does not have
    missing: BTreeSet<&'a str>,
    /// The same of a proxy that has all that is public
    not_public: BTreeSet<&'a str>,
    /// What the checksum database does not know
    unknown: BTreeSet<&'a str>,
    /// Hosts that modules were fetched from, and whether they are on a private network
    fetched: BTreeMap<&'a str, bool>,
    /// Connections whose other end is in the company's network
    lan: BTreeSet<ConnectionId>,
}

impl<'a> Asked<'a> {
    fn new(case: &Case<'a>) -> Self {
        let mut asked = Self {
            go: &case.record.go,
            all: BTreeSet::new(),
            served: BTreeSet::new(),
            public: BTreeSet::new(),
            public_hosts: BTreeSet::new(),
            missing: BTreeSet::new(),
            not_public: BTreeSet::new(),
            unknown: BTreeSet::new(),
            fetched: BTreeMap::new(),
            lan: BTreeSet::new(),
        };
        for connection in case.connections() {
            let address = connection.remote.parse::<SocketAddr>().ok().map(|remote| remote.ip());
            let network = address.filter(|_| connection.tunnel.is_none()).map_or(Network::Other, network);
            if network == Network::Company {
                asked.lan.insert(connection.id);
            }
            let fetches =
                case.roles.role(connection.pid, &connection.comm, connection.start_ns) == Role::Fetcher;
            let goes_in = |request: &&Request| request.class == Class::GoGet && request.status == Some(200);
            let served = fetches && connection.bytes_received.is_some_and(|bytes| bytes > 0)
                || case.index.requests(connection.id).iter().copied().any(|request| goes_in(&request));
            if let Some(host) = connection.host().map(bare).filter(|_| served) {
                *asked.fetched.entry(host).or_default() |= network != Network::Other;
            }
        }
        asked.answers(case);
        asked
    }

    fn answers(&mut self, case: &Case<'a>) {
        // A database that answers nothing well says nothing about what it refuses.
        let mut works: BTreeSet<&str> = BTreeSet::new();
        for (module, request) in sent(case) {
            let Some(host) = request.authority.as_deref() else { continue };
            self.all.insert(module);
            let lookup = request.class == Class::SumdbLookup;
            if request.status == Some(200) {
                if lookup {
                    works.insert(host);
                    self.public.insert(module);
                } else if request.class.phase() == Phase::Proxy {
                    self.served.insert((host, module));
                    if !self.is_own(host, module, request) && !self.is_named(module) {
                        self.public.insert(module);
                    }
                }
            } else if is_missing(request) && request.class.phase() == Phase::Proxy {
                self.missing.insert(module);
                if PUBLIC_PROXIES.contains(&bare(host)) {
                    self.not_public.insert(module);
                }
            }
        }
        let served: BTreeSet<&str> = self.served.iter().map(|(_, module)| *module).collect();
        for (module, request) in sent(case) {
            let host = request.authority.as_deref().unwrap_or_default();
            if request.class == Class::SumdbLookup
                && is_missing(request)
                && (works.contains(host) || !served.contains(module))
            {
                self.unknown.insert(module);
                self.public.remove(module);
            }
        }
        self.public_hosts = self.public.iter().map(|module| host_of(module)).collect();
    }

    /// By one of the command's patterns; one that covers everything says nothing.
    fn is_named(&self, module: &str) -> bool {
        let lists = [&self.go.goprivate, &self.go.gonoproxy, &self.go.gonosumdb];
        let mut patterns = lists.into_iter().flatten().flat_map(|list| list.split(','));
        patterns.any(|pattern| says_something(pattern) && matches(pattern, module))
    }

    fn is_private(&self, module: &str) -> bool {
        if self.public.contains(module) {
            return false;
        }
        let host = host_of(module);
        let shares = |own: &String| {
            host_of(own) == host
                && own.contains('/')
                // Where others have modules a host says nothing: its first folder does.
                && (!self.public_hosts.contains(host) && !SHARED_HOSTS.contains(&host)
                    || own.split('/').nth(1) == module.split('/').nth(1))
        };
        let own_host = || self.fetched.get(host).copied();
        self.is_named(module)
            || self.unknown.contains(module)
            || self.missing.contains(module)
                && (own_host() == Some(true)
                    || own_host().is_some() && self.not_public.contains(module)
                    || self.go.own_modules.iter().flatten().any(shares))
    }

    /// A proxy in the company's network, or under its name.
    fn is_own(&self, host: &str, module: &str, request: &Request) -> bool {
        let lan = request.connection.is_some_and(|connection| self.lan.contains(&connection));
        lan || same_domain(bare(host), host_of(module))
    }
}

/// A request of a proxy for a module that go asks no proxy of GOPROXY for: its own page named that one.
pub(crate) fn is_kept_from_proxies(go: &Go, request: &Request) -> bool {
    let lists = [&go.gonoproxy, &go.goprivate];
    let counts = lists.into_iter().flatten().find(|list| !list.is_empty());
    let covered =
        |module: &str| counts.is_some_and(|list| list.split(',').any(|pattern| matches(pattern, module)));
    request.class.phase() == Phase::Proxy && request.module.as_deref().is_some_and(covered)
}

/// Whether a pattern names something: `*` alone, at its beginning, does not.
fn says_something(pattern: &str) -> bool {
    pattern.split('/').next().is_some_and(|host| host.chars().any(|c| c.is_ascii_alphanumeric()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    /// An address of the company's, by those that are set aside for that (RFC 1918, RFC 4193, RFC 6598)
    Company,
    /// This machine
    Machine,
    Other,
}

fn network(address: IpAddr) -> Network {
    let inside = match address {
        IpAddr::V4(four) => {
            let [a, b, ..] = four.octets();
            four.is_private() || four.is_link_local() || a == 100 && b & 0xc0 == 64
        }
        IpAddr::V6(six) => {
            let first = six.segments()[0];
            first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
        }
    };
    match address {
        _ if inside => Network::Company,
        address if address.is_loopback() => Network::Machine,
        _ => Network::Other,
    }
}

/// Whether two hosts lie below one domain that somebody has registered: two labels of it, or three where the
/// second one is short (`co.uk`).
fn same_domain(one: &str, other: &str) -> bool {
    let labels = |host: &str| host.rsplit('.').map(str::to_ascii_lowercase).collect::<Vec<_>>();
    let (one, other) = (labels(one), labels(other));
    let short = one.get(1).is_some_and(|label| label.len() <= 3) && one[0].len() == 2;
    let needed = if short { 3 } else { 2 };
    one.len() >= needed && other.len() >= needed && one[..needed] == other[..needed]
}

/// Which setting let a module's name out.
fn why(go: &Go, module: &str, database: bool) -> String {
    let covered = |list: &Option<String>| {
        list.as_deref().is_some_and(|list| list.split(',').any(|pattern| matches(pattern, module)))
    };
    let (wins, name, other, other_name, still) = if database {
        (
            &go.gonosumdb,
            "GONOSUMDB",
            &go.gonoproxy,
            "GONOPROXY",
            "the checksum database is asked all the same",
        )
    } else {
        (&go.gonoproxy, "GONOPROXY", &go.gonosumdb, "GONOSUMDB", "the module proxy is asked all the same")
    };
    let (Some(wins), Some(private)) = (wins.as_deref(), go.goprivate.as_deref()) else {
        return "what GOPRIVATE holds is not known".to_owned();
    };
    if !wins.is_empty() && covered(&go.goprivate) {
        return format!("{name}={wins} wins over GOPRIVATE, which covers it");
    }
    if covered(other) {
        return format!("{other_name} alone covers it: {still}");
    }
    let (set, list) = if wins.is_empty() { ("GOPRIVATE", private) } else { (name, wins) };
    let host = host_of(module);
    let above = |pattern: &&str| {
        !pattern.is_empty()
            && !pattern.contains('/')
            && host.strip_suffix(*pattern).is_some_and(|rest| rest.ends_with('.'))
    };
    match (list, list.split(',').find(above)) {
        ("", _) if covered(&go.goinsecure) => {
            "GOINSECURE covers it, which keeps no name in, and GOPRIVATE is not set".to_owned()
        }
        ("", _) => "GOPRIVATE is not set".to_owned(),
        (_, Some(pattern)) => format!("{set} has {pattern}, which does not cover {host}; *.{pattern} does"),
        (list, None) => format!("{set}={list} does not cover it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_let_a_name_out_is_named() {
        let list = |list: &str| Some(list.to_owned());
        let of = |private: &str, no_proxy: &str, no_sumdb: &str, database| {
            let go = Go {
                goprivate: list(private),
                gonoproxy: list(no_proxy),
                gonosumdb: list(no_sumdb),
                goinsecure: list(""),
                ..Go::default()
            };
            why(&go, "git.corp.test/team/lib", database)
        };
        assert_eq!(of("", "", "", false), "GOPRIVATE is not set");
        assert!(
            of("", "", "git.corp.test", false).contains("GONOSUMDB alone covers it: the module proxy is")
        );
        assert!(
            of("", "git.corp.test", "", true).contains("GONOPROXY alone covers it: the checksum database is")
        );
        assert!(of("corp.test", "", "", true).ends_with("does not cover git.corp.test; *.corp.test does"));
        assert!(of("a.test", "", "", true).contains("GOPRIVATE=a.test does not cover it"));
        assert!(of("git.corp.test", "", "b.test", true).contains("GONOSUMDB=b.test wins over GOPRIVATE"));
        let insecure = Go {
            goinsecure: list("git.corp.test"),
            goprivate: list(""),
            gonoproxy: list(""),
            gonosumdb: list(""),
            ..Go::default()
        };
        assert!(why(&insecure, "git.corp.test/x", false).starts_with("GOINSECURE covers it, which keeps no"));
        assert!(why(&Go::default(), "git.corp.test/x", false).contains("not known"));
    }

    #[test]
    fn a_company_has_its_own_domain_and_networks() {
        assert!(same_domain("goproxy.corp.test", "git.corp.test"));
        assert!(same_domain("a.b.co.uk", "c.b.co.uk"));
        for (one, other) in
            [("proxy.test", "git.test"), ("proxy.x.co.uk", "git.y.co.uk"), ("localhost", "localhost")]
        {
            assert!(!same_domain(one, other), "{one} {other}");
        }
        for (address, wanted) in [
            ("10.1.2.3", Network::Company),
            ("100.100.0.1", Network::Company),
            ("fd00::5", Network::Company),
            ("127.0.0.5", Network::Machine),
            ("192.0.2.1", Network::Other),
            ("2001:db8::1", Network::Other),
        ] {
            assert!(network(address.parse().unwrap()) == wanted, "{address}");
        }
        assert!(says_something("*.corp.test/x") && !says_something("*") && !says_something("*/x"));
    }
}
