//! The detectors, a file a family. A command in, findings out. Families do not see each other: what
//! several need is beside this folder, by subject ([`crate::hosts`], [`crate::requests`], [`crate::ways`],
//! [`crate::handshakes`]).
//!
//! There is one order, and this is the place for it. What a wait was really for is found first; then those
//! who judge how slow an answer was leave out requests whose wait is explained. Within either round the
//! order means nothing (a test turns it around).

mod alerts;
mod astray;
mod blackhole;
mod children;
mod connect;
mod cut;
mod dns;
mod helpers;
mod http2;
mod machine;
mod names;
mod names_left;
mod per_request;
mod probing;
mod proxy;
mod redirects;
mod refused;
mod repositories;
mod retries;
mod scheme;
mod segments;
mod shares;
mod sumdb;
mod tls;
mod tunnel;
mod unreachable;
mod untrusted;
mod vcs;

use crate::case::Case;
use crate::explained::Explained;
use crate::finding::Finding;

/// A family of detectors that look at spans alone.
type Family = fn(&Case<'_>, &mut Vec<Finding>);
/// One that looks at what the others left unexplained.
type Later = fn(&Case<'_>, &Explained, &mut Vec<Finding>);

const FAMILIES: [Family; 25] = [
    dns::find,
    connect::find,
    tls::find,
    per_request::find,
    http2::find,
    segments::find,
    retries::find,
    machine::find,
    vcs::find,
    repositories::find,
    redirects::find,
    probing::find,
    tunnel::find,
    blackhole::find,
    cut::find,
    names::find,
    names_left::find,
    refused::find,
    unreachable::find,
    untrusted::find,
    alerts::find,
    scheme::find,
    astray::find,
    helpers::find,
    children::find,
];
const LATER: [Later; 3] = [proxy::find, sumdb::find, shares::find];

/// All that is found in a command.
pub(crate) fn find(case: &Case<'_>) -> Vec<Finding> {
    run(case, FAMILIES, LATER)
}

fn run(
    case: &Case<'_>,
    families: impl IntoIterator<Item = Family>,
    later: impl IntoIterator<Item = Later>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    families.into_iter().for_each(|find| find(case, &mut found));
    let explained = Explained::by(&found);
    later.into_iter().for_each(|find| find(case, &explained, &mut found));
    found
}

/// The same with the families of each round the other way around.
#[cfg(test)]
pub(crate) fn find_reversed(case: &Case<'_>) -> Vec<Finding> {
    run(case, FAMILIES.into_iter().rev(), LATER.into_iter().rev())
}
