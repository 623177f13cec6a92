//! Answers 3xx, and the requests that they led to. Where an answer leads to is not recorded: they are
//! joined by order, process and name of the file.

use std::collections::BTreeSet;

use model::record::Request;

use crate::case::Case;
use crate::thresholds as at;

/// Whom a host was asked in the place of, because that one said so.
pub(crate) fn instead_of<'a>(case: &Case<'a>, host: &str) -> Option<&'a str> {
    let of = |(from, to): &(&'a Request, &'a Request)| {
        from.authority.as_deref().filter(|_| to.authority.as_deref() == Some(host))
    };
    pairs(case).iter().find_map(of)
}

/// Each answer 3xx with the request it led to: the next one of the same process to another host, of the
/// same file where there is one. Where it led to is not recorded.
pub(crate) fn pairs<'a>(case: &Case<'a>) -> Vec<(&'a Request, &'a Request)> {
    let redirects = |request: &&Request| matches!(request.status, Some(301 | 302 | 303 | 307 | 308));
    let mut from: Vec<&Request> = case.requests().filter(redirects).collect();
    if from.is_empty() {
        return Vec::new();
    }
    from.sort_by_key(|request| request.end_ns);
    let mut all: Vec<&Request> = case.requests().collect();
    all.sort_by_key(|request| request.start_ns);
    let mut used = BTreeSet::new();
    let mut pairs = Vec::new();
    for redirect in from {
        let Some(end) = redirect.first_byte_ns.or(redirect.end_ns) else { continue };
        let begin = all.partition_point(|request| request.start_ns < end);
        let follows = |request: &&&Request| {
            request.start_ns <= end + at::REDIRECT_NS
                && request.pid == redirect.pid
                && request.authority.is_some()
                && request.authority != redirect.authority
                && !used.contains(&request.id)
        };
        let after = all[begin..].iter().take_while(|request| request.start_ns <= end + at::REDIRECT_NS);
        let same = |request: &&&Request| file(request).is_some() && file(request) == file(redirect);
        let candidates: Vec<&&Request> = after.filter(follows).collect();
        let target = candidates.iter().find(|one| same(one)).or_else(|| {
            // A store may name its files by what is in them.
            candidates.iter().find(|one| one.module.is_none() || one.module == redirect.module)
        });
        if let Some(target) = target {
            used.insert(target.id);
            pairs.push((redirect, **target));
        }
    }
    pairs
}

/// The last part of a path.
fn file(request: &Request) -> Option<&str> {
    let path = request.path.as_deref()?;
    path.split('?').next()?.rsplit('/').next().filter(|file| !file.is_empty() && !file.contains('…'))
}
