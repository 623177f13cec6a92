//! For a CI's test tab: a test case a tier, and one for private names that left. What fails the build is a failure (a regression, an
//! inconclusive time) or an error (invalid); what does not is passed or skipped, with its verdict.

use model::clean::clean;
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
            // A machine that is another makes the time tier invalid and fails nothing.
            Some(verdict) if fail_on.fails(*tier, *verdict) && !alone(*tier, *verdict) => {
                let tag = if *verdict == Verdict::Invalid { "error" } else { "failure" };
                *(if tag == "error" { &mut errors } else { &mut failures }) += 1;
                let (kind, first) = (verdict.name(), why.first().map_or("", String::as_str));
                let all: Vec<String> = why.iter().map(|line| escaped(line)).collect();
                format!(
                    "\n      <{tag} type=\"{kind}\" message=\"{}\">{}</{tag}>\n    ",
                    escaped(first),
                    all.join("\n")
                )
            }
            not_failing => {
                skipped += 1;
                let name = not_failing.map_or("not judged", Verdict::name);
                format!("\n      <skipped message=\"{name}: {}\"/>\n    ", escaped(&why.join("; ")))
            }
        };
        body += &case(tier.name(), &result);
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
        body += &case("private-name", &result);
    }
    let blame = outcome.blame.map_or_else(String::new, |blame| {
        format!("      <property name=\"blame\" value=\"{}\"/>\n", blame.name())
    });
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\"");
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"goobserve gate\" {counts}>\n  \
         <testsuite name=\"goobserve gate\" {counts} skipped=\"{skipped}\">\n    <properties>\n      \
         <property name=\"verdict\" value=\"{}\"/>\n{blame}    </properties>\n{body}  \
         </testsuite>\n</testsuites>\n",
        outcome.verdict.name()
    )
}

fn case(name: &str, result: &str) -> String {
    format!("    <testcase classname=\"goobserve.gate\" name=\"{name}\">{result}</testcase>\n")
}

const fn alone(tier: Tier, verdict: Verdict) -> bool {
    matches!((tier, verdict), (Tier::Time, Verdict::Invalid))
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
