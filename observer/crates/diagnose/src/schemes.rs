//! Plain HTTP to ports that expect TLS, by the answers: a command in, hosts with their requests out.

use std::collections::BTreeMap;

use model::id::RequestId;
use model::record::{Protocol, Request};

use crate::case::Case;
use crate::hosts;

/// Hosts that answered 400 to all that they were asked in plain text: a server that expects TLS there and
/// understands what it gets does so (nginx, Apache, Go's).
pub(crate) fn bad_requests<'a>(case: &Case<'a>) -> BTreeMap<&'a str, Vec<&'a Request>> {
    let mut hosts = hosts::requests(case, |request| request.status.is_some());
    hosts.retain(|_, requests| requests.iter().all(|request| is_bad(case, request)));
    hosts
}

/// Numbers of those requests.
pub(crate) fn of(case: &Case<'_>) -> Vec<RequestId> {
    bad_requests(case).values().flatten().map(|request| request.id).collect()
}

fn is_bad(case: &Case<'_>, request: &Request) -> bool {
    let connection = request.connection.and_then(|id| case.command.connections.get(&id));
    let plain = connection.is_some_and(|connection| {
        connection.tls_start_ns.is_none() && !connection.joined_late && connection.preexisting.is_none()
    });
    request.protocol == Protocol::Http1 && request.status == Some(400) && plain
}
