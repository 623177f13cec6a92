//! What is to be said of a phase. In: what came of it. Out: a check, of what is wrong with the proof and the fix.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::doctor::{Check, State};
use model::human;
use tokio_rustls::rustls::CertificateError;

use crate::certificate::About;
use crate::hello::Spoken;
use crate::reach::{self, NoConnection};
use crate::requests::{End, Fetched, NoResponse};

/// TLS, or an answer, that takes longer is slow.
const SLOW: Duration = Duration::from_millis(1500);
/// Clocks farther apart are wrong; certificates are judged by them.
const CLOCK_MAX_S: u64 = 120;

pub(crate) fn took(duration: Duration) -> String {
    human::duration(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

pub(crate) fn judge_spoken(spoken: Spoken, checks: &mut Vec<Check>) -> Spoken {
    let about = spoken.certificate.as_deref().and_then(About::read);
    let issuer = about.as_ref().map_or_else(|| "not readable".to_owned(), |about| about.issuer.clone());
    let now = now_s();
    let left = about.as_ref().map(|about| (about.valid.1 - now) / 86_400);
    let left = left.map(|days| format!(", {} left", days_of(days.max(0).unsigned_abs()))).unwrap_or_default();
    let text = format!("{} in {}, certificate of {issuer}{left}", spoken.version, took(spoken.took));
    checks.push(if spoken.took > SLOW {
        Check::wrong("tls-slow", "tls", text)
            .proof("the connection itself stood sooner: see connect")
            .fix("ask who runs the server, or what is in front of it")
            .took(spoken.took)
    } else {
        Check::good("tls", text).took(spoken.took)
    });
    checks.push(if spoken.is_h2 {
        Check::good("http/2", "agreed on")
    } else {
        Check::notice("http1-only", "http/2", "not agreed on, though it was offered: each request in flight takes a connection")
            .proof(format!("the certificate is of {issuer}: whoever that is speaks HTTP/1.1"))
            .fix("where that is a company's proxy: ask who runs it; sudo goobserve compare --with concurrency=16 -- go mod download")
    });
    spoken
}

fn days_of(days: u64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

pub(crate) fn untrusted(why: &CertificateError, certificate: Option<&[u8]>, host: &str) -> Check {
    let name = "tls";
    let about = certificate.and_then(About::read);
    let issuer = about.as_ref().map_or_else(|| "somebody".to_owned(), |about| format!("{:?}", about.issuer));
    let days = |seconds: i64| days_of(seconds.unsigned_abs() / 86_400);
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let ago = about.map_or_else(
                || "before now".to_owned(),
                |about| format!("{} ago", days(now_s() - about.valid.1)),
            );
            Check::wrong("tls-expired", name, format!("the certificate of {host} ended {ago}"))
                .proof(format!("issued by {issuer}, judged by this machine's clock"))
                .fix("check this machine's clock (timedatectl); if it is right, whoever runs the server renews it")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            let begins = about
                .map_or_else(|| "later".to_owned(), |about| format!("in {}", days(about.valid.0 - now_s())));
            Check::wrong("tls-expired", name, format!("the certificate of {host} begins {begins}"))
                .proof(format!("issued by {issuer}, judged by this machine's clock"))
                .fix("set this machine's clock: timedatectl set-ntp true")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = about.map_or_else(|| "others".to_owned(), |about| about.names.join(", "));
            Check::wrong("tls-name-mismatch", name, format!("the certificate is for other names than {host}"))
                .proof(format!("it is for {names}, issued by {issuer}"))
                .fix("check the host in GOPROXY; or somebody on the way answers in its place")
        }
        _ => {
            let own = if about.is_some_and(|about| about.is_self_signed) {
                "it signed itself"
            } else {
                "no authority of this machine's store signed it"
            };
            Check::wrong("tls-untrusted", name, format!("this machine does not trust the certificate of {host}, issued by {issuer}"))
                .proof(own)
                .fix("if that is your company's: have its authority put into the machine's store, or name its file in SSL_CERT_FILE; if not, somebody reads along")
        }
    }
}

pub(crate) fn no_response(name: &str, why: &NoResponse) -> Check {
    match why {
        NoResponse::Silent => Check::wrong(
            "response-stalled",
            name,
            format!("no answer within {} s", crate::requests::ANSWER_MAX.as_secs()),
        )
        .proof("the connection stands, and the request was sent")
        .fix("ask who runs the server; sudo goobserve compare --with gateway -- go mod download"),
        NoResponse::Broken(why) => Check::wrong("connection-dropped", name, format!("no answer: {why}"))
            .proof("the connection stood")
            .fix("ask who runs the server; sudo goobserve compare --with gateway -- go mod download"),
    }
}

pub(crate) fn clock(fetched: &Fetched) -> Option<Check> {
    let ahead = fetched.clock_ahead_s.filter(|ahead| ahead.unsigned_abs() > CLOCK_MAX_S)?;
    let by = human::duration(ahead.unsigned_abs().saturating_mul(1_000_000_000));
    let which = if ahead > 0 { "ahead of" } else { "behind" };
    Some(
        Check::wrong("clock", "clock", format!("this machine's clock is {by} {which} the server's"))
            .proof("by the Date of its answer")
            .fix("timedatectl set-ntp true"),
    )
}

/// A status and a time, as go takes them.
pub(crate) fn judge(name: &str, what: &str, fetched: &Fetched, connects: Duration) -> Check {
    let text = format!("{what}: {} after {}", fetched.status, took(fetched.first_byte));
    let check = match fetched.status {
        200 if fetched.is_page => Check::wrong("response-foreign", name, format!("{what}: a page for people instead of the file"))
            .proof("200, text/html")
            .fix("check the URL in GOPROXY; or log in at the network's own page first"),
        200 if fetched.end == End::Stalled => Check::wrong("response-stalled", name, format!("{text}, and the body stopped after {}", human::bytes(fetched.bytes)))
            .proof("the head came, and the rest did not")
            .fix("sudo goobserve compare --with gateway -- go mod download"),
        200 if fetched.end == End::Cut => Check::wrong("transfer-cut", name, format!("{text}, and the body was cut after {}", human::bytes(fetched.bytes)))
            .proof("the head came, and the connection ended before the body did")
            .fix("sudo goobserve compare --with gateway -- go mod download"),
        200 if fetched.first_byte > SLOW => Check::wrong("proxy-slow", name, text)
            .proof(format!("the connection stood after {}", took(connects)))
            .fix("sudo goobserve compare --with concurrency=16 -- go mod download; or another proxy: --with proxy=URL"),
        200 => Check::good(name, text),
        301 | 302 | 303 | 307 | 308 => {
            let to = fetched.redirect.as_deref().unwrap_or("elsewhere");
            Check::notice("redirect", name, format!("{text}: leads to {to}, which was not asked"))
                .fix("where that is for all, name its URL in GOPROXY: a redirect costs a round trip a file")
        }
        401 => Check::wrong("request-refused", name, format!("{text}: it wants credentials"))
            .fix("put them into ~/.netrc (machine HOST login USER password TOKEN), or set GOAUTH"),
        403 => Check::wrong("request-refused", name, format!("{text}: refused"))
            .fix("ask who runs it; or another proxy: --with proxy=URL"),
        404 | 410 => Check::unknown(name, format!("{text}: it does not have this public module; whether it has others is not known"))
            .fix("sudo goobserve run -- go mod download"),
        429 => {
            let wait = fetched.retry_after.as_ref().map(|wait| format!(", for {wait} s as it says")).unwrap_or_default();
            Check::wrong("rate-limited", name, format!("{text}: too many requests{wait}"))
                .fix("sudo goobserve compare --with gateway -- go mod download")
        }
        500.. => Check::wrong("request-refused", name, format!("{text}: the server has failed"))
            .fix("ask who runs it; or name another one behind it in GOPROXY, with | between them"),
        _ => Check::unknown(name, text).fix("sudo goobserve run -- go mod download"),
    };
    let is_shown = check.proof.is_empty() && check.state == State::Wrong;
    let check = if is_shown {
        check.proof(format!("connected after {}, and that is what it answers", took(connects)))
    } else {
        check
    };
    check.took(fetched.took)
}

pub(crate) fn large(fetched: &Fetched) -> Check {
    let name = "large answer";
    let came = human::bytes(fetched.bytes);
    match fetched.end {
        End::Stalled => {
            Check::wrong("response-stalled", name, format!("a large answer stopped after {came}"))
                .proof("small ones over the same connection came whole")
                .fix("sudo goobserve compare --with gateway -- go mod download")
        }
        End::Cut => Check::wrong("transfer-cut", name, format!("a large answer was cut after {came}"))
            .proof("the connection ended before the body did")
            .fix("sudo goobserve compare --with gateway -- go mod download"),
        End::Complete | End::Enough => Check::good(name, format!("{came} in {}", took(fetched.took))),
    }
    .took(fetched.took)
}

pub(crate) fn in_words(why: Option<&NoConnection>) -> String {
    match why {
        Some(NoConnection::Silent) => format!("no answer within {} s", reach::CONNECT_MAX.as_secs()),
        Some(NoConnection::Refused) => "refused: nobody listens there".to_owned(),
        Some(NoConnection::NoRoute) => "this machine has no way there".to_owned(),
        Some(NoConnection::Failed(why)) => why.clone(),
        None => "connected".to_owned(),
    }
}
