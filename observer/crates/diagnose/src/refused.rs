//! Requests that were answered with an error that mattered. A command in; by host and status, which
//! requests were refused, and which of them nobody else answered, out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::id::RequestId;
use model::record::{Class, Phase, Request};
use model::time::SinceStart;

use crate::case::Case;
use crate::fallback::{Owners, is_well};
use crate::{redirects, schemes};

/// A host's answers with one status.
pub(crate) struct Group<'a> {
    /// Who
    pub host: &'a str,
    /// Which
    pub status: u16,
    /// It was asked too much
    pub limited: bool,
    /// To what
    pub requests: Vec<&'a Request>,
    /// The redirects that sent go there, when all of them followed one
    pub redirects: Option<Vec<&'a Request>>,
    /// At least one of them nobody answered better: its module is missing
    pub unanswered: bool,
}

/// All of them, by host and status.
pub(crate) fn groups<'a>(case: &Case<'a>) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<(&str, u16), Group<'a>> = BTreeMap::new();
    if !case.requests().any(|request| request.status.is_some_and(|status| status >= 400)) {
        return Vec::new();
    }
    let around = Around::new(case);
    let schemes = schemes::of(case);
    for request in case.requests().filter(|request| !schemes.contains(&request.id)) {
        let (Some(host), Some(status @ 400..)) = (request.authority.as_deref(), request.status) else {
            continue;
        };
        let answered = around.better(request);
        if around.is_reported_elsewhere(request, status) || around.is_usual(request, status, answered) {
            continue;
        }
        let group = groups.entry((host, status)).or_insert_with(|| Group {
            host,
            status,
            limited: false,
            requests: Vec::new(),
            redirects: None,
            unanswered: false,
        });
        group.requests.push(request);
        group.unanswered |= !answered;
    }
    let mut groups: Vec<Group<'a>> = groups.into_values().collect();
    let redirects: HashMap<RequestId, &Request> =
        redirects::pairs(case).into_iter().map(|(from, to)| (to.id, from)).collect();
    for group in &mut groups {
        group.limited = is_limited(case, group);
        group.redirects = group.requests.iter().map(|to| redirects.get(&to.id).copied()).collect();
    }
    groups
}

/// Numbers of all that some finding about refused requests has, redirects to them included.
pub(crate) fn of(case: &Case<'_>) -> BTreeSet<RequestId> {
    let groups = groups(case);
    let redirects = groups.iter().flat_map(|group| group.redirects.iter().flatten());
    let refused = groups.iter().flat_map(|group| &group.requests);
    refused.chain(redirects).map(|request| request.id).collect()
}

/// Tiles of which the server had a part not yet, so that go asked for them whole.
pub(crate) fn whole_tiles<'a>(case: &Case<'a>) -> BTreeSet<&'a str> {
    let unmade = case.requests().filter(|request| is_unmade(request));
    unmade.filter_map(|request| Some(request.path.as_deref()?.split_once(".p/")?.0)).collect()
}

/// A part of a tile that the server has not made: go asks for the whole one then.
pub(crate) fn is_unmade(request: &Request) -> bool {
    request.class == Class::SumdbTile
        && matches!(request.status, Some(404 | 410))
        && request.path.as_deref().is_some_and(|path| path.contains(".p/"))
}

/// Too many at once: the status says so, or it is said again and again by one that else answers.
fn is_limited(case: &Case<'_>, group: &Group<'_>) -> bool {
    let answers = |request: &Request| request.authority.as_deref() == Some(group.host) && is_well(request);
    let mut paths: BTreeSet<Option<&str>> = BTreeSet::new();
    let mut again = || group.requests.iter().any(|request| !paths.insert(request.path.as_deref()));
    group.status == 429 || (group.status == 503 && again() && case.requests().any(answers))
}

/// What is known of a command's other requests.
struct Around<'a> {
    /// What came well: of a module, for one class and version
    exact: BTreeSet<(&'a str, Class, Option<&'a str>)>,
    /// Modules of which anything came well
    modules: BTreeSet<&'a str>,
    /// Paths that came well
    paths: BTreeSet<&'a str>,
    /// Hosts that say that they serve the checksum database
    served: BTreeSet<Option<&'a str>>,
    /// When a module's own host was last asked
    direct_ns: Option<SinceStart>,
    owners: Owners,
    failed: bool,
}

impl<'a> Around<'a> {
    fn new(case: &Case<'a>) -> Self {
        let vcs = case.in_flight.iter().filter(|op| op.operation.phase == Phase::Vcs);
        let mut around = Self {
            exact: BTreeSet::new(),
            modules: BTreeSet::new(),
            paths: BTreeSet::new(),
            served: BTreeSet::new(),
            direct_ns: vcs.map(|op| op.operation.start_ns).max(),
            owners: Owners::new(case),
            failed: case.failed(),
        };
        for request in case.requests().filter(|request| is_well(request)) {
            if let Some(module) = request.module.as_deref() {
                around.exact.insert((module, request.class, request.version.as_deref()));
                around.modules.insert(module);
            }
            around.paths.extend(request.path.as_deref());
            if request.class == Class::SumdbSupported && request.status == Some(200) {
                around.served.insert(request.authority.as_deref());
            }
        }
        around
    }

    /// Whether it is another finding's: a toolchain's, a test's, a checksum database's that a proxy
    /// claims to serve.
    fn is_reported_elsewhere(&self, request: &Request, status: u16) -> bool {
        (request.class == Class::Toolchain && status != 429)
            || !self.owners.is_own(request.pid, request.start_ns)
            || (request.class.phase() == Phase::Sumdb
                && !matches!(status, 429 | 503)
                && self.served.contains(&request.authority.as_deref()))
    }

    /// What go goes on from by itself: a proxy that has no checksum database, or not yet part of it; a
    /// module that it does not have where another host is asked for it, or where go looks which path
    /// is one.
    fn is_usual(&self, request: &Request, status: u16, answered: bool) -> bool {
        let after = request.end_ns.unwrap_or(request.start_ns);
        let direct = || self.direct_ns.is_some_and(|at| at >= after);
        let own_host = request.class.phase() == Phase::Sumdb || request.class == Class::GoGet;
        matches!(status, 404 | 410)
            && (request.class == Class::SumdbSupported
                || is_unmade(request)
                || answered
                || !self.failed
                || (!own_host && direct()))
    }

    /// Whether somebody answered well what that request asked for, or what go asked for it in order to
    /// find out.
    fn better(&self, request: &Request) -> bool {
        let Some(module) = request.module.as_deref() else {
            return request.path.as_deref().is_some_and(|path| self.paths.contains(path));
        };
        let looks = matches!(request.class, Class::List | Class::Latest) || request.version.is_none();
        // `go install PATH@VERSION` asks for that version of every prefix of the path.
        let probes = looks || matches!(request.class, Class::Info | Class::Mod);
        self.exact.contains(&(module, request.class, request.version.as_deref()))
            || (looks && self.modules.contains(module))
            || (probes && self.is_part_of_another(module))
    }

    /// A module lies above or below that path.
    fn is_part_of_another(&self, path: &str) -> bool {
        let above = || path.match_indices('/').any(|(at, _)| self.modules.contains(&path[..at]));
        let below = format!("{path}/");
        above() || self.modules.range(below.as_str()..).next().is_some_and(|next| next.starts_with(&below))
    }
}
