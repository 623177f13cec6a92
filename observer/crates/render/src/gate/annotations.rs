//! For GitHub Actions: workflow commands, a line each, on stdout.

use model::clean::clean;
use stats::gate::verdict::Verdict;
use stats::gate::{FailOn, Outcome};

use super::{placed, private_name};

/// Annotations that are written; GitHub shows ten of a kind and step.
const MOST: usize = 10;

/// The lines.
pub fn annotations(outcome: &Outcome, fail_on: FailOn) -> String {
    let kind = match outcome.verdict {
        _ if fail_on.status(outcome) != 0 => "error",
        Verdict::Passed | Verdict::Inconclusive => "notice",
        Verdict::Regressed | Verdict::Invalid => "warning",
    };
    let title = format!("goobserve gate {}", outcome.verdict.name());
    let mut out = String::new();
    for text in fail_on.notice(outcome).into_iter().chain(outcome.ended_early.clone()) {
        out += &format!("::notice title={title}::{}\n", data(&text));
    }
    let reasons = if outcome.verdict == Verdict::Passed { 1 } else { MOST };
    for reason in outcome.reasons.iter().take(reasons) {
        out += &format!("::{kind} title={title}::{}\n", data(&placed(reason)));
    }
    let kind = if fail_on.private_name { "error" } else { "warning" };
    for name in outcome.private_names.iter().take(MOST) {
        out += &format!("::{kind} title=goobserve gate private-name::{}\n", data(&private_name(name)));
    }
    for reason in &outcome.unjudged {
        let text = format!("{}: {}", reason.tier.name(), reason.text);
        out += &format!("::warning title=goobserve gate not judged::{}\n", data(&text));
    }
    out
}

/// Text that cannot become a command of its own.
pub fn harmless(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    for c in page.chars() {
        if c == ':' && out.ends_with(':') {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

/// Foreign text as a command's data.
fn data(text: &str) -> String {
    clean(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}
