//! For a CI's test tab: a test case a tier, and one for private names that left. What fails the build is a failure
//! (a regression, an inconclusive time) or an error (invalid); what does not is passed or skipped, with its
//! verdict. The suite's time is how long the gate took; the case `time` has the command's own, its median, so that
//! a CI that draws the times of test cases draws that.

use model::clean::clean;
use model::time::Ns;
use stats::gate::outcome::{Reason, Tier};
use stats::gate::verdict::Verdict;
use stats::gate::{FailOn, Outcome};

use super::{placed, private_name, tiers};

/// The XML.
pub fn junit(outcome: &Outcome, fail_on: FailOn) -> String {
    let mut cases = Vec::new();
    if outcome.exact.is_none() {
        // Nothing could be compared at all.
        cases.push((Tier::All, Some(outcome.verdict)));
    } else {
        cases.extend(tiers(outcome));
    }
    let (mut body, mut failures, mut errors, mut skipped) = (String::new(), 0, 0, 0);
    for (tier, verdict) in &cases {
        let why = explain(outcome, *tier);
        let result = match verdict {
            Some(Verdict::Passed) => String::new(),
            verdict if fails(outcome, fail_on, *tier, *verdict) => {
                let tag = if matches!(verdict, None | Some(Verdict::Invalid)) { "error" } else { "failure" };
                *(if tag == "error" { &mut errors } else { &mut failures }) += 1;
                let (kind, first) = (name(*verdict), why.first().map_or("", String::as_str));
                let all: Vec<String> = why.iter().map(|line| escaped(line)).collect();
                format!(
                    "\n      <{tag} type=\"{kind}\" message=\"{}\">{}</{tag}>\n    ",
                    escaped(first),
                    all.join("\n")
                )
            }
            not_failing => {
                skipped += 1;
                let name = name(*not_failing);
                format!("\n      <skipped message=\"{name}: {}\"/>\n    ", escaped(&why.join("; ")))
            }
        };
        let took = outcome.time.as_ref().filter(|_| *tier == Tier::Time).map(|time| time.total.after_ns);
        body += &case(tier.name(), took.unwrap_or(0), &result);
    }
    let names: Vec<String> = outcome.private_names.iter().map(private_name).collect();
    let mut tests = cases.len();
    if fail_on.private_name || !names.is_empty() {
        tests += 1;
        let first = escaped(names.first().map_or("", String::as_str));
        let result = if fail_on.fails_by_name(outcome) {
            failures += 1;
            let all: Vec<String> = names.iter().map(|line| escaped(line)).collect();
            format!(
                "\n      <failure type=\"private-name\" message=\"{first}\">{}</failure>\n    ",
                all.join("\n")
            )
        } else if names.is_empty() {
            String::new()
        } else {
            skipped += 1;
            format!("\n      <skipped message=\"{first}\"/>\n    ")
        };
        body += &case("private-name", 0, &result);
    }
    let blame = outcome.blame.map_or_else(String::new, |blame| {
        format!("      <property name=\"blame\" value=\"{}\"/>\n", blame.name())
    });
    let took = outcome.took_ns.map_or_else(String::new, |took| format!(" time=\"{}\"", seconds(took)));
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\"{took}");
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"goobserve gate\" {counts}>\n  \
         <testsuite name=\"goobserve gate\" {counts} skipped=\"{skipped}\">\n    <properties>\n      \
         <property name=\"verdict\" value=\"{}\"/>\n{blame}    </properties>\n{body}  \
         </testsuite>\n</testsuites>\n",
        outcome.verdict.name()
    )
}

fn name(verdict: Option<Verdict>) -> &'static str {
    verdict.map_or(super::table::NOT_JUDGED, Verdict::name)
}

/// Whether a tier fails the build, or that nothing is known of it.
fn fails(outcome: &Outcome, fail_on: FailOn, tier: Tier, verdict: Option<Verdict>) -> bool {
    let missing = |reason: &Reason| reason.tier == tier && fail_on.tiers.has(tier);
    verdict.map_or_else(
        || fail_on.unjudged && outcome.unjudged.iter().any(missing),
        |verdict| fail_on.fails(tier, verdict),
    )
}

fn case(name: &str, took: Ns, result: &str) -> String {
    let time = seconds(took);
    format!(
        "    <testcase classname=\"goobserve.gate\" name=\"{name}\" time=\"{time}\">{result}</testcase>\n"
    )
}

/// `1.974`
fn seconds(took: Ns) -> String {
    format!("{:.3}", took as f64 / 1e9)
}

/// What is said of a tier: its own reasons, and else what its figures say.
fn explain(outcome: &Outcome, tier: Tier) -> Vec<String> {
    let of = |reasons: &[Reason]| -> Vec<String> {
        reasons.iter().filter(|reason| reason.tier == tier).map(placed).collect()
    };
    let found = [of(&outcome.reasons), of(&outcome.unjudged)].concat();
    if !found.is_empty() {
        return found;
    }
    match (tier, &outcome.time, &outcome.bounded) {
        (Tier::Time, Some(time), _) => vec![stats::gate::outcome::total(time)],
        (Tier::Bounded, _, Some(bounded)) => {
            bounded.counts.iter().map(stats::gate::bounded::Count::text).collect()
        }
        _ => vec![outcome.verdict.name().to_owned()],
    }
}

/// Foreign text that XML takes as it is.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in clean(text).chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            // Not characters of XML 1.0; `clean` has taken the others.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
