//! Ways around a host: what the user named to come after it in GOPROXY, or to serve the checksum database
//! instead. A host in, remedies out; none by which a name would reach whom it did not reach.

use std::collections::BTreeSet;
use std::net::IpAddr;

use model::record::{Class, Go, Phase, Request};

use crate::case::Case;
use crate::hosts::{authority, bare, host_of_name, is_database, sumdb_setting};
use crate::offer::Offer;

/// Ways around a host that is slow or cannot be reached.
pub(crate) fn around(case: &Case<'_>, host: &str) -> Vec<Offer> {
    if is_database(case, host) { around_database(case) } else { other_proxy(case, host) }
}

/// The variable that names that host, or address, as the forward proxy; `None` when none is known to.
pub(crate) fn forward_variable(go: &Go, host: &str) -> Option<&'static str> {
    // With a port both have to be the same: another server of that machine may be meant.
    let same = |value: &str| match authority(value) {
        "" => false,
        named if bare(host) == host => bare(named) == host,
        named => named == host,
    };
    let names = |value: &&(&str, &Option<String>)| value.1.as_deref().is_some_and(same);
    let all =
        [("HTTPS_PROXY", &go.https_proxy), ("HTTP_PROXY", &go.http_proxy), ("ALL_PROXY", &go.all_proxy)];
    all.iter().find(names).map(|(name, _)| *name)
}

/// Whether GOPROXY or GOSUMDB names that host.
pub(crate) fn is_in_settings(go: &Go, host: &str) -> bool {
    let named = |list: &Option<String>| list.as_deref().is_some_and(|list| list.contains(bare(host)));
    named(&go.goproxy) || named(&go.gosumdb)
}

/// GOPROXY without that host: what the user named to come after it, and nothing else. None where the
/// host is no proxy of it, where nothing is left, and where names would reach whom they did not reach.
pub(crate) fn other_proxy(case: &Case<'_>, host: &str) -> Vec<Offer> {
    let go = &case.record.go;
    let list = go.goproxy.as_deref().unwrap_or_default();
    let host = bare(host);
    let is_host = |item: &&str| bare(authority(url(item))) == host;
    let items = list.split_inclusive([',', '|']).filter(|item| !is_host(item) && !url(item).is_empty());
    let rest: String = items.collect();
    let rest = rest.trim_end_matches([',', '|']);
    let next = url(rest.split_inclusive([',', '|']).next().unwrap_or_default());
    let named = list.split_inclusive([',', '|']).any(|item| is_host(&item));
    // What was taken out before it was shown cannot be tried.
    if !named || rest.contains('…') {
        return Vec::new();
    }
    match next {
        "" | "off" => Vec::new(),
        // A forward proxy is in the way of the modules' own hosts as it is of this one.
        "direct" if go.forward_proxy == Some(true) || refused_lookup(case, host) => Vec::new(),
        "direct" => {
            let why = "asks the modules' own hosts and the checksum database instead of that proxy";
            vec![Offer::new("proxy=direct", why)]
        }
        next if shows_nothing_new(case, host, bare(authority(next))) => {
            let why = "asks what comes next in GOPROXY at once, where go asked in the end";
            vec![Offer::new(format!("proxy={rest}"), why)]
        }
        _ => Vec::new(),
    }
}

/// goobserve's gateway in front of that host, where it is a proxy of GOPROXY's. `why`: what the gateway does about
/// the finding. It asks whom go asks, and nobody else.
pub(crate) fn gateway(case: &Case<'_>, host: &str, why: &str) -> Option<Offer> {
    let list = case.record.go.goproxy.as_deref().unwrap_or_default();
    // What stands behind `direct`, `off` or a file is go's own.
    let proxies = list.split([',', '|']).map(str::trim).filter(|item| !item.is_empty());
    let mut proxies = proxies.take_while(|item| is_web(item));
    let is_named = proxies.any(|item| bare(authority(item)) == bare(host));
    // There a gateway stands already, or another one's cache.
    let is_here = bare(host).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    (is_named && !is_here).then(|| Offer::new("gateway", why))
}

/// The gateway where requests are lost on the way or given up by the server, and then the ways around.
pub(crate) fn repeat_or_around(case: &Case<'_>, host: &str) -> Vec<Offer> {
    let why = "makes such a request once more by itself, on another connection: go does not see it";
    gateway(case, host, why).into_iter().chain(around(case, host)).collect()
}

/// Whether an item of GOPROXY is a URL of HTTP, or a host, to which go adds the scheme.
fn is_web(item: &str) -> bool {
    let is_host = || item.contains(['.', ':', '/']) && !item.contains(":/") && !item.starts_with('/');
    item.starts_with("https://") || item.starts_with("http://") || is_host()
}

/// That proxy refused to ask the checksum database for something: it may keep private names in.
fn refused_lookup(case: &Case<'_>, host: &str) -> bool {
    case.requests().any(|request| {
        request.class.phase() == Phase::Sumdb
            && request.class != Class::SumdbSupported
            && request.status.is_some_and(|status| (400..500).contains(&status))
            && request.authority.as_deref().is_some_and(|authority| bare(authority) == host)
    })
}

/// Whether `next` was asked in this run, for every module that `host` was asked for, too.
fn shows_nothing_new(case: &Case<'_>, host: &str, next: &str) -> bool {
    let asked = |host: &str| -> BTreeSet<&str> {
        let of = |request: &&Request| request.authority.as_deref().is_some_and(|one| bare(one) == host);
        case.requests().filter(of).filter_map(|request| request.module.as_deref()).collect()
    };
    let next = asked(next);
    !next.is_empty() && asked(host).is_subset(&next)
}

/// An entry of GOPROXY without what parts it from the next.
fn url(item: &str) -> &str {
    item.trim_end_matches([',', '|']).trim()
}

/// What is asked nothing costs nothing. Not where a module is unknown to the database: the command would
/// get past that, and ask the proxy for more of what may be private.
fn off(case: &Case<'_>) -> Option<Offer> {
    let unknown = |status: u16| matches!(status, 404 | 410);
    let lookup =
        |request: &Request| request.class == Class::SumdbLookup && request.status.is_some_and(unknown);
    let why = "shows what the checksum database costs; gives up its protection, so not to keep";
    (!case.requests().any(lookup)).then(|| Offer::new("sumdb=off", why))
}

/// Ways around the database's host.
pub(crate) fn around_database(case: &Case<'_>) -> Vec<Offer> {
    let mut ways = Vec::new();
    if let Some((name, Some(url))) = sumdb_setting(case)
        && host_of_name(name) != bare(authority(url))
        && !name.contains('…')
        && answers_all(case, bare(authority(url)))
    {
        let why = "asks the database by its own name instead of that host";
        ways.push(Offer::new(format!("sumdb={name}"), why));
    }
    ways.extend(off(case));
    ways
}

/// Whether that mirror answered every lookup: what it answers the database knows. Of a name that it
/// did not answer for the database would hear for the first time.
fn answers_all(case: &Case<'_>, mirror: &str) -> bool {
    let mut lookups = case.requests().filter(|request| {
        request.class == Class::SumdbLookup
            && request.authority.as_deref().is_some_and(|authority| bare(authority) == mirror)
    });
    let first = lookups.next();
    first.into_iter().chain(lookups).all(|request| request.status == Some(200)) && first.is_some()
}

/// Ways around whoever serves the database: itself, or a proxy.
pub(crate) fn to_database(case: &Case<'_>, host: &str) -> Vec<Offer> {
    let mut ways = around(case, host);
    let off = off(case).filter(|off| !ways.contains(off));
    ways.extend(off);
    ways
}
