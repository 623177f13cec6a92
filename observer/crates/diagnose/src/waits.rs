//! How a resolver's waits may be changed. In: queries that one server, not a local resolver, left
//! unanswered. Out: settings of resolv.conf with which the command waits less, and for no answer
//! less than it was seen to take.

use model::record::Dns;
use model::time::{Ns, SinceStart};

use super::case::Case;
use super::offer::Offer;
use super::thresholds as at;

const S: Ns = 1_000_000_000;

/// A query and when it ended.
type Query<'a> = (&'a Dns, Option<SinceStart>);

/// A time-out of resolv.conf, and how long go asks with it in all.
struct Setting {
    with: &'static str,
    timeout_ns: Ns,
    total_ns: Ns,
    why: &'static str,
}

/// Asks sooner again, and gives up no sooner than by default (5 s, twice).
const SOONER: Setting = Setting {
    with: "resolv=options timeout:2 attempts:5",
    timeout_ns: 2 * S,
    total_ns: 10 * S,
    why: "asks again after two seconds instead of five, and gives up after ten as before",
};

/// Gives up sooner: for what is never answered.
const SHORT: Setting = Setting {
    with: "resolv=options timeout:1 attempts:3",
    timeout_ns: S,
    total_ns: 3 * S,
    why: "waits three seconds, not ten, for what that server never answers",
};

/// go and the C library take no more attempts than this from resolv.conf.
const ATTEMPTS_MAX: u32 = 5;

/// What may be tried. `silent`: the server answers A and never AAAA.
pub(crate) fn remedies(case: &Case<'_>, queries: &[Query<'_>], silent: bool) -> Vec<Offer> {
    let mut offers = Vec::new();
    let setting = if silent { SHORT } else { SOONER };
    match (asks_soon(queries), silent) {
        (false, _) => {
            let waits = |query: &Query<'_>| silent || waited_for(case, query, setting.total_ns);
            if in_time(case, setting.timeout_ns) && queries.iter().all(waits) {
                offers.push(Offer::new(setting.with, setting.why));
            }
        }
        (true, true) => {
            // With one attempt, an answer that is lost is lost for good.
            let first = |(dns, _): Query<'_>| dns.qtype == "AAAA" || dns.rcode.is_some();
            if in_time(case, S) && case.queries().all(first) {
                offers.push(Offer::new("resolv=options attempts:1", "waits once for what never comes"));
            }
        }
        (true, false) => {
            let most = queries.iter().map(|(dns, _)| dns.attempt).max().unwrap_or(1);
            if case.failed() && case.connections().next().is_none() && most < ATTEMPTS_MAX {
                let why = "asks more often before it gives up, where answers are lost";
                offers.push(Offer::new(format!("resolv=options attempts:{ATTEMPTS_MAX}"), why));
            }
        }
    }
    if !silent && one_of_two(case, queries) {
        let why = "asks for A, then for AAAA: something may drop one of two at once";
        offers.push(Offer::new("resolv=options single-request", why));
    }
    offers
}

/// The time-out is a second or so already: that is how long queries were waited for.
fn asks_soon(queries: &[Query<'_>]) -> bool {
    let waited = queries.iter().filter(|(dns, _)| dns.timed_out);
    let longest = waited.filter_map(|(dns, end)| Some((*end)?.saturating_sub(dns.start_ns))).max();
    longest.is_some_and(|longest| longest < at::DNS_UNANSWERED_NS)
}

/// Every answer of the run came in half that time-out or less.
fn in_time(case: &Case<'_>, timeout_ns: Ns) -> bool {
    let took = |(dns, end): Query<'_>| dns.rcode.is_some().then_some(end?.saturating_sub(dns.start_ns));
    case.queries().filter_map(took).all(|took| 2 * took <= timeout_ns)
}

/// What was asked was answered in the end, by whatever server, and from the first time it was asked
/// until then it took less than so long: a resolver that needs the time itself looks the same as a
/// query that was lost.
fn waited_for(case: &Case<'_>, (lost, _): &Query<'_>, total_ns: Ns) -> bool {
    let same = |dns: &Dns| {
        dns.pid == lost.pid && dns.qtype == lost.qtype && dns.name.eq_ignore_ascii_case(&lost.name)
    };
    let first = case.queries().filter(|(dns, _)| same(dns) && dns.start_ns <= lost.start_ns);
    let first = first.filter(|(dns, _)| dns.attempt == 1).map(|(dns, _)| dns.start_ns).max();
    let answers = case.queries().filter(|(dns, _)| same(dns) && dns.rcode.is_some());
    let answer = answers.filter_map(|(_, end)| end).filter(|end| *end >= lost.start_ns).min();
    let took = answer.map(|answer| answer - first.unwrap_or(lost.start_ns).min(lost.start_ns));
    took.is_some_and(|took| took < total_ns)
}

/// Of two queries sent at once, A and AAAA, that server never answered both.
fn one_of_two(case: &Case<'_>, queries: &[Query<'_>]) -> bool {
    let twin = |dns: &Dns| {
        case.queries().map(|(other, _)| other).find(|other| {
            other.server == dns.server
                && other.qtype != dns.qtype
                && other.name.eq_ignore_ascii_case(&dns.name)
                && other.attempt == dns.attempt
        })
    };
    let answered = |dns: &Dns| dns.rcode.is_some();
    let servers = |dns: &Dns| queries.iter().any(|(lost, _)| lost.server == dns.server);
    let both =
        case.queries().any(|(dns, _)| servers(dns) && answered(dns) && twin(dns).is_some_and(answered));
    !both && queries.iter().any(|(dns, _)| twin(dns).is_some_and(answered))
}
