//! Whom something was for: connections and requests by host, hosts in settings, the checksum database's own.

use std::collections::BTreeMap;

use model::record::{Connection, Request};

use crate::case::Case;

/// Connections by whom they were for.
pub(crate) fn connections<'a>(
    case: &Case<'a>,
    which: impl Fn(&Connection) -> bool,
) -> BTreeMap<String, Vec<&'a Connection>> {
    let mut hosts: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for connection in case.connections().filter(|connection| which(connection)) {
        hosts.entry(case.host(connection)).or_default().push(connection);
    }
    hosts
}

/// Requests by host.
pub(crate) fn requests<'a>(
    case: &Case<'a>,
    which: impl Fn(&Request) -> bool,
) -> BTreeMap<&'a str, Vec<&'a Request>> {
    let mut hosts: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for request in case.requests().filter(|request| which(request)) {
        hosts.entry(request.authority.as_deref().unwrap_or("an unknown host")).or_default().push(request);
    }
    hosts
}

/// Host and port of a URL.
pub(crate) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

/// A host without its port, an IPv6 address without its brackets.
pub(crate) fn bare(host: &str) -> &str {
    let port = |(_, port): &(&str, &str)| port.bytes().all(|b| b.is_ascii_digit());
    let host = host.rsplit_once(':').filter(port).map_or(host, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Name, with or without key, and URL of GOSUMDB: `name`, `name+key`, `name url`.
pub(crate) fn sumdb_setting<'a>(case: &Case<'a>) -> Option<(&'a str, Option<&'a str>)> {
    let mut words = case.record.go.gosumdb.as_deref()?.split_whitespace();
    Some((words.next()?, words.next()))
}

/// The host in a name of GOSUMDB, with or without a key.
pub(crate) fn host_of_name(name: &str) -> &str {
    bare(name.split('+').next().unwrap_or_default())
}

/// Whether that host is the checksum database's own, by GOSUMDB.
pub(crate) fn is_database(case: &Case<'_>, host: &str) -> bool {
    let own = match sumdb_setting(case) {
        Some((_, Some(url))) => bare(authority(url)),
        Some((name, None)) => host_of_name(name),
        None => return false,
    };
    !own.is_empty() && own == bare(host)
}
