//! Modules that are private, as far as a run shows it, and the settings that keep their names at home.
//! In: requests for modules that a proxy or the checksum database did not have. Out: GOPRIVATE,
//! GONOPROXY and GONOSUMDB as they are with those modules appended.

use std::collections::BTreeSet;

use model::record::{Go, Phase, Request};

use super::case::Case;
use super::offer::Offer;

/// More modules than this are named by a prefix that a person knows and this program does not.
const MODULES_MAX: usize = 16;

/// The settings with which those requests would not have been made. `None` when none is known to be
/// right: a pattern that also covers a module that was served would take it from its proxy and out
/// of the checksum database's protection, and a list that is not known cannot be appended to.
pub(crate) fn offer(case: &Case<'_>, missing: &[&Request]) -> Option<Offer> {
    let served: BTreeSet<&str> = of(case.requests().filter(|request| request.status == Some(200)), None);
    let asked = of(missing.iter().copied(), None);
    let own = patterns(asked.iter().copied().filter(|module| !served.contains(module)), &served);
    if !own.is_empty() {
        let with = (own.len() <= MODULES_MAX).then(|| appended(&case.record.go, &own))??;
        return Some(Offer::all(with, "asks the modules' own hosts at once, and nobody else"));
    }
    // What a proxy serves and the database does not know is to be had there, and only there.
    let unknown = of(missing.iter().copied(), Some(Phase::Sumdb));
    let own = patterns(unknown.into_iter().filter(|module| served.contains(module)), &BTreeSet::new());
    let go = &case.record.go;
    let list = Some(go.gonosumdb.as_deref()?).filter(|list| !list.is_empty()).or(go.goprivate.as_deref())?;
    if list.contains('…') {
        return None;
    }
    let new = uncovered(list, &own);
    let with = (!new.is_empty() && own.len() <= MODULES_MAX).then(|| setting("GONOSUMDB", list, &new))?;
    Some(Offer::new(with, "does not ask the database for modules that only their proxy has"))
}

/// The settings with which names of these modules would not have left; `None` as with [`offer`].
pub(crate) fn keep_in(case: &Case<'_>, modules: &BTreeSet<&str>) -> Option<Offer> {
    let served: BTreeSet<&str> = of(case.requests().filter(|request| request.status == Some(200)), None);
    let own = patterns(modules.iter().copied(), &served);
    let with = (!own.is_empty() && own.len() <= MODULES_MAX).then(|| appended(&case.record.go, &own))??;
    Some(Offer::all(with, "keeps these names in: the modules' own hosts are asked, and nobody else"))
}

/// Modules of requests, of one phase or of any.
fn of<'a>(requests: impl Iterator<Item = &'a Request>, phase: Option<Phase>) -> BTreeSet<&'a str> {
    let wanted = |request: &&Request| match (request.class.phase(), phase) {
        (is, Some(phase)) => is == phase,
        (is, None) => matches!(is, Phase::Proxy | Phase::Sumdb),
    };
    requests.filter(wanted).filter_map(|request| request.module.as_deref()).collect()
}

/// The shortest of those paths that cover the others, without what go asks when it looks for a
/// module's root: hosts, and prefixes of what is somebody else's. Of too many one more than
/// [`MODULES_MAX`].
fn patterns<'a>(modules: impl Iterator<Item = &'a str>, served: &BTreeSet<&str>) -> Vec<&'a str> {
    let mut kept: Vec<&str> = Vec::new();
    // In order a prefix comes before what it covers.
    for module in modules.collect::<BTreeSet<_>>() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if module.contains('/')
            && module.chars().all(plain)
            && !served.contains(module)
            && !served.range(&*format!("{module}/")..).next().is_some_and(|next| covers(module, next))
            && !kept.iter().any(|prefix| covers(prefix, module))
        {
            kept.push(module);
            if kept.len() > MODULES_MAX {
                break;
            }
        }
    }
    kept
}

/// Whether a path is another one or lies below it.
pub(crate) fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// GOPRIVATE, and GONOPROXY and GONOSUMDB where they are set, for they win over it.
fn appended(go: &Go, modules: &[&str]) -> Option<Vec<String>> {
    let [private, no_proxy, no_sumdb] =
        [go.goprivate.as_deref()?, go.gonoproxy.as_deref()?, go.gonosumdb.as_deref()?];
    if [private, no_proxy, no_sumdb].iter().any(|list| list.contains('…')) {
        return None;
    }
    let lists = [
        ("GOPRIVATE", private, true),
        // `none` is how a company says that its own proxy serves what is private.
        ("GONOPROXY", no_proxy, !matches!(no_proxy, "" | "none")),
        ("GONOSUMDB", no_sumdb, !no_sumdb.is_empty()),
    ];
    let with = lists.into_iter().filter(|(.., counts)| *counts).filter_map(|(name, list, _)| {
        let new = uncovered(list, modules);
        (!new.is_empty()).then(|| setting(name, list, &new))
    });
    let with: Vec<String> = with.collect();
    (!with.is_empty()).then_some(with)
}

fn setting(name: &str, list: &str, new: &[&str]) -> String {
    let comma = if list.is_empty() || list.ends_with(',') { "" } else { "," };
    format!("env={name}={list}{comma}{}", new.join(","))
}

/// The modules that no pattern of the list covers.
fn uncovered<'a>(list: &str, modules: &[&'a str]) -> Vec<&'a str> {
    let covered = |module: &str| list.split(',').any(|pattern| matches(pattern, module));
    modules.iter().copied().filter(|module| !covered(module)).collect()
}

/// Whether a pattern covers a path: as many elements of its beginning as the pattern has, each by `*`
/// and `?`. Of a pattern with more than that nothing is claimed: to append once more does no harm.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
    if pattern.is_empty() || pattern.contains(['[', '\\']) {
        return false;
    }
    let mut path = path.split('/');
    pattern
        .split('/')
        .all(|element| path.next().is_some_and(|name| glob(element.as_bytes(), name.as_bytes())))
}

fn glob(pattern: &[u8], name: &[u8]) -> bool {
    // Where to go on when a `*` has to take one character more.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(private: &str, no_proxy: &str, no_sumdb: &str) -> Go {
        let list = |list: &str| Some(list.to_owned());
        Go { goprivate: list(private), gonoproxy: list(no_proxy), gonosumdb: list(no_sumdb), ..Go::default() }
    }

    #[test]
    fn a_pattern_covers_the_beginning_of_a_path_element_by_element() {
        for (pattern, path) in [
            ("git.test", "git.test/a/b"),
            ("git.test/a", "git.test/a"),
            ("*.corp.test", "git.corp.test/x"),
            ("*.corp.test/x/", "git.corp.test/x/y"),
            ("git.t?st/*b*", "git.test/abc/d"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("corp.test", "git.corp.test/x"),
            ("git.test/a", "git.test/ab"),
            ("git.test/a/b", "git.test/a"),
            ("*.corp.test", "corp.test/x"),
            ("", "git.test"),
            ("none", "git.test"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_set_stays_and_both_channels_are_covered() {
        let of = |private, no_proxy, no_sumdb| {
            appended(&go(private, no_proxy, no_sumdb), &["git.test/a"]).unwrap_or_default().join(" ")
        };
        assert_eq!(of("", "", ""), "env=GOPRIVATE=git.test/a");
        assert_eq!(of("b.test,*.c.test", "", ""), "env=GOPRIVATE=b.test,*.c.test,git.test/a");
        assert_eq!(of("b.test,", "", "*.test"), "env=GOPRIVATE=b.test,git.test/a");
        assert_eq!(
            of("b.test", "", "c.test"),
            "env=GOPRIVATE=b.test,git.test/a env=GONOSUMDB=c.test,git.test/a"
        );
        assert_eq!(of("git.test", "", "c.test"), "env=GONOSUMDB=c.test,git.test/a");
        assert_eq!(
            of("", "p.test", "s.test"),
            "env=GOPRIVATE=git.test/a env=GONOPROXY=p.test,git.test/a env=GONOSUMDB=s.test,git.test/a"
        );
        assert_eq!(of("b.test", "none", ""), "env=GOPRIVATE=b.test,git.test/a");
        assert_eq!(of("git.test", "", ""), "", "covered already");
        assert_eq!(of("…", "", ""), "", "hidden");
        assert_eq!(appended(&Go { goprivate: None, ..go("", "", "") }, &["git.test/a"]), None, "not known");
    }

    #[test]
    fn a_host_a_served_prefix_and_what_is_no_path_are_no_patterns() {
        let served = BTreeSet::from(["hub.test/big/public"]);
        let asked = ["hub.test", "hub.test/big", "git.test", "git.test/a", "git.test/a/b", "x.test/*"];
        assert_eq!(patterns(asked.into_iter(), &served), ["git.test/a"]);
    }
}
