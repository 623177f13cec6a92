//! The report against the logs of the servers. In go a lab and options, out comes the run, when
//! everything the servers saw is in its report, once, and nothing else is.

use std::fmt::Debug;
use std::time::Duration;

use serde_json::Value;

use crate::go_env::{GoOptions, GoRun};
use crate::goobserve::Observed;
use crate::lab::{Lab, PLAIN_PORT};
use crate::proxy::{ConnectionRecord, RequestRecord};

/// Long enough for a closed socket to be noticed on a busy machine.
pub const SETTLE: Duration = Duration::from_secs(10);

/// A whole number of a JSON object.
///
/// # Panics
/// When it is none.
#[track_caller]
pub fn int(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} is no whole number in {value}"))
}

/// A string of a JSON object.
///
/// # Panics
/// When it is none.
#[track_caller]
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no string in {value}"))
}

/// The items in order.
pub fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort_unstable();
    items
}

/// What only the first, and only the second of the two has; `None` when they are the same in some order.
pub fn differences<T: Ord>(
    reported: impl IntoIterator<Item = T>,
    logged: impl IntoIterator<Item = T>,
) -> Option<(Vec<T>, Vec<T>)> {
    let (mut reported, mut logged) =
        (sorted(reported).into_iter().peekable(), sorted(logged).into_iter().peekable());
    let (mut invented, mut missing) = (Vec::new(), Vec::new());
    loop {
        match (reported.peek(), logged.peek()) {
            (None, None) => break,
            (Some(is), Some(should)) if is == should => {
                reported.next();
                logged.next();
            }
            (Some(is), should) if should.is_none_or(|should| is < should) => invented.extend(reported.next()),
            _ => missing.extend(logged.next()),
        }
    }
    (!invented.is_empty() || !missing.is_empty()).then_some((invented, missing))
}

/// Fails with what only one of the two has, instead of both lists.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn same<T: Ord + Debug>(
    what: &str,
    reported: impl IntoIterator<Item = T>,
    logged: impl IntoIterator<Item = T>,
) {
    if let Some((invented, missing)) = differences(reported, logged) {
        panic!("{what}: the report alone has {invented:?}, the log alone has {missing:?}");
    }
}

/// A download that was observed, and the proxy's log of it.
#[derive(Debug)]
pub struct Download {
    /// Status, output and report
    pub observed: Observed,
    /// Connections that the proxy accepted
    pub connections: Vec<ConnectionRecord>,
    /// Requests that it answered
    pub requests: Vec<RequestRecord>,
}

impl Download {
    /// Observes `go mod download -x` and takes the proxy's log of it.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn observe(lab: &Lab, options: &GoOptions) -> Self {
        let run = lab.go_run(options).unwrap_or_else(|error| panic!("{error:#}"));
        Self::of(lab, &run, &["go", "mod", "download", "-x"])
    }

    /// Observes that command and takes the proxy's log of it.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn of(lab: &Lab, run: &GoRun, command: &[&str]) -> Self {
        let observed = lab.observe(run, command).unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(observed.output.status.code(), Some(0), "{}", observed.stderr());
        assert!(lab.proxy.log().settled(SETTLE), "connections stayed open");
        let (connections, requests) = lab.proxy.log().take();
        Self { observed, connections, requests }
    }

    /// Nothing was lost, and the report has what the logs have. Takes the name server's log.
    ///
    /// # Panics
    /// When the report is not complete.
    #[track_caller]
    pub fn is_complete(&self, lab: &Lab) {
        self.has_the_answers(lab);
        let Self { observed, connections, requests } = self;
        // Here by what they carried, for the report joins requests to connections by itself.
        let carried = |index| requests.iter().filter(|request| request.connection == index).count() as u64;
        let logged = connections.iter().enumerate();
        let logged = logged.map(|(index, c)| (c.local.map(|local| local.to_string()), carried(index)));
        let reported = observed.list("connections").iter().filter(|c| {
            [443, PLAIN_PORT].iter().any(|port| text(c, "remote").ends_with(&format!(":{port}")))
        });
        same(
            "connections",
            reported.map(|c| (Some(text(c, "remote").to_owned()), int(c, "requests"))),
            logged,
        );
    }

    /// Nothing was lost, and the report has the requests and the queries that the logs have; of connections
    /// nothing is asked. Takes the name server's log.
    ///
    /// # Panics
    /// When the report has others.
    #[track_caller]
    pub fn has_the_answers(&self, lab: &Lab) {
        let Self { observed, requests, .. } = self;
        let loss = observed.report["loss"].as_object().expect("loss");
        // Of what is skipped nobody knows whose it was: a stranger's, when nothing is missing below.
        let lost: Vec<_> =
            loss.iter().filter(|(name, n)| *name != "program_runs_skipped" && **n != 0).collect();
        assert!(loss.len() >= 7 && lost.is_empty(), "{loss:?}");
        let logged = requests
            .iter()
            .map(|r| (&*r.authority, &*r.method, &*r.path, u64::from(r.status), r.bytes, "ok"));
        let reported = observed.list("requests").iter().map(|r| {
            let [authority, method, path, outcome] =
                ["authority", "method", "path", "outcome"].map(|key| text(r, key));
            (authority, method, path, int(r, "status"), int(r, "bytes"), outcome)
        });
        same("requests", reported, logged);

        let log = lab.dns.take_log();
        let logged = log.iter().map(|q| (&*q.name, &*q.qtype, q.transport, q.rcode));
        let reported = observed
            .list("dns")
            .iter()
            .map(|q| ["name", "qtype", "transport", "rcode"].map(|key| text(q, key)))
            .map(|[name, qtype, transport, rcode]| (name, qtype, transport, rcode));
        same("queries", reported, logged);
    }

    /// The URLs that `go mod download -x` printed are the reported ones.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn has_the_printed_urls(&self) {
        let stderr = self.observed.stderr();
        let answered = stderr.lines().filter_map(|line| {
            let (url, status) = line.strip_prefix("# get http")?.split_once("://")?.1.split_once(": ")?;
            Some((url.to_owned(), status.split(' ').next()?.parse().ok()?))
        });
        let reported = self.observed.list("requests").iter();
        let reported =
            reported.map(|r| (format!("{}{}", text(r, "authority"), text(r, "path")), int(r, "status")));
        same("URLs", reported, answered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_in_any_order_are_the_same() {
        same("numbers", [3, 1, 1], [1, 3, 1]);
    }

    #[test]
    #[should_panic = "the report alone has [1], the log alone has [4]"]
    fn what_only_one_has_is_named() {
        same("numbers", [1, 1, 2], [1, 2, 4]);
    }
}
