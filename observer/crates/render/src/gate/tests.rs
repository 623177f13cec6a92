//! Every verdict and every reason to be invalid, in every output.

use model::json;
use model::record::{Class, Phase};
use stats::gate::baseline::{Baseline, Finding, Requests};
use stats::gate::outcome::Tier;
use stats::gate::verdict::{Hypothesis, Verdict, judge};
use stats::gate::{Design, FailOn, Floors, Outcome};
use stats::sample::gate as sample;

use super::{annotations, junit, markdown, text};
use crate::page::Options;

const MS: u64 = 1_000_000;

fn judged(before: &Baseline, after: &Baseline, design: Design) -> Outcome {
    let floors = if design == Design::Pairs { Floors::PAIRS } else { Floors::RECORDINGS };
    judge(&Hypothesis { before, after, design, floors, alpha: 0.05 })
}

fn slower(runs: usize, ns: u64) -> Baseline {
    let mut after = sample::baseline(1, runs);
    after.recordings[0].runs.rotate_left(3.min(runs));
    after.recordings[0].runs.iter_mut().for_each(|run| sample::delay(run, Phase::Proxy, ns));
    after
}

fn pairs(ns: u64) -> Outcome {
    judged(&sample::baseline(1, 10), &slower(10, ns), Design::Pairs)
}

/// A name, and what the gate says.
pub(crate) fn all() -> Vec<(&'static str, Outcome)> {
    let (before, five) = (sample::baseline(1, 10), sample::baseline(5, 10));
    let mut more = slower(10, 300 * MS);
    more.recordings[0].requests[0].push(Requests {
        class: Class::List,
        host: Some("other.test\u{1b}[2J|<b>::error::".into()),
        status: Some(404),
        module: Some("example.com/a".into()),
        version: None,
        count: 2,
    });
    more.recordings[0].settings.goproxy = Some("https://other.test,https://proxy.test".into());
    more.recordings[0].findings.push(Finding {
        kind: model::stall::StallKind::ProxyFallbackDirect.into(),
        phase: Phase::Proxy,
        host: Some("other.test".into()),
        summary: "every module is asked of a proxy that does not have it".into(),
        runs: 10,
    });
    let mut counts = before.clone();
    counts.recordings[0].runs.iter_mut().for_each(|run| run.dns += 40);
    let mut unequal = before.clone();
    unequal.recordings[0].requests.push(Vec::new());
    unequal.recordings[0].runs[4].requests = 1;
    let mut unseen = before.clone();
    unseen.recordings[0].runs[0].unseen = 3;
    let mut command = before.clone();
    command.command.push("-x".into());
    let mut warm = before.clone();
    warm.cache = stats::compare::CacheKind::Warm;
    let mut machine = before.clone();
    machine.recordings[0].machine.kernel = "6.19.0".into();
    let mut go_mod = before.clone();
    go_mod.recordings[0].settings.go_mod = Some("fnv1a:9".into());
    go_mod.recordings[0].requests[0].push(Requests {
        class: Class::Zip,
        host: Some("proxy.test".into()),
        status: Some(200),
        module: Some("example.com/new".into()),
        version: Some("v1.2.0".into()),
        count: 1,
    });
    let mut names = before.clone();
    names.recordings[0].findings.push(sample::private_name());
    let empty = Baseline { recordings: vec![], ..before.clone() };
    vec![
        ("passed", pairs(0)),
        ("regressed-time", pairs(300 * MS)),
        ("regressed-exact", judged(&before, &more, Design::Pairs)),
        ("regressed-bounded", judged(&before, &counts, Design::Pairs)),
        ("passed-private-name", judged(&before, &names, Design::Pairs)),
        ("inconclusive", pairs(100 * MS)),
        ("inconclusive-few", judged(&sample::baseline(1, 3), &slower(3, 0), Design::Pairs)),
        ("stored-passed", judged(&five, &slower(10, 0), Design::Recordings)),
        ("stored-regressed", judged(&five, &slower(10, 3000 * MS), Design::Recordings)),
        ("stored-advice", judged(&before, &slower(10, 900 * MS), Design::Recordings)),
        ("stored-other-machine", judged(&five, &machine, Design::Recordings)),
        ("stored-go-mod", judged(&five, &go_mod, Design::Recordings)),
        ("invalid-unequal", judged(&before, &unequal, Design::Pairs)),
        ("invalid-unseen", judged(&before, &unseen, Design::Pairs)),
        ("invalid-command", judged(&before, &command, Design::Recordings)),
        ("invalid-caches", judged(&before, &warm, Design::Recordings)),
        ("invalid-no-runs", judged(&empty, &before, Design::Recordings)),
        ("invalid-not-observed", Outcome::invalid(Tier::All, "goobserve needs root: CAP_BPF is missing")),
    ]
}

#[test]
fn every_verdict_reads_well_in_every_output() {
    insta::with_settings!({ snapshot_path => "../../tests/data/gate", prepend_module_to_snapshot => false }, {
        for (name, outcome) in all() {
            let parts = [
                text::text(&outcome, FailOn::default(), Options::default()),
                markdown::markdown(&outcome, FailOn::default()),
                junit::junit(&outcome, FailOn::default()),
                annotations::annotations(&outcome, FailOn::default()),
            ];
            insta::assert_snapshot!(name, parts.join("\n~~~\n"));
        }
        let exact = all().swap_remove(2).1;
        insta::assert_snapshot!("json", json::pretty(&exact).unwrap());
    });
}

#[test]
fn verdicts_are_what_their_names_say() {
    for (name, outcome) in all() {
        let want = match name.trim_start_matches("stored-").split('-').next().unwrap() {
            "passed" | "advice" | "other" | "go" => Verdict::Passed,
            "regressed" => Verdict::Regressed,
            "inconclusive" => Verdict::Inconclusive,
            _ => Verdict::Invalid,
        };
        assert_eq!(outcome.verdict, want, "{name}: {}", outcome.headline());
        assert!(!outcome.reasons.is_empty(), "{name}");
    }
}

#[test]
fn nothing_foreign_acts_in_any_output() {
    for (name, outcome) in all() {
        let hidden = |c: char| c != '\n' && json::is_hidden(c);
        let annotations = annotations::annotations(&outcome, FailOn::default());
        let page = annotations::harmless(&text::text(&outcome, FailOn::default(), Options::default()));
        assert!(!page.contains("::"), "{name}: {page}");
        assert!(annotations.lines().all(|line| line.starts_with("::")), "{name}");
        let xml = junit::junit(&outcome, FailOn::default());
        assert!(!xml.contains("<b>"), "{name}");
        for out in [
            page,
            annotations,
            xml,
            markdown::markdown(&outcome, FailOn::default()),
            json::pretty(&outcome).unwrap(),
        ] {
            assert!(!out.contains(hidden), "{name}: {out}");
        }
    }
}

#[test]
fn an_inconclusive_gate_is_a_notice_and_skipped_unless_it_is_to_fail() {
    let outcome = pairs(100 * MS);
    let xml = junit::junit(&outcome, FailOn::default());
    assert!(xml.contains("<skipped message=\"inconclusive: ") && xml.contains("failures=\"0\""), "{xml}");
    assert!(xml.contains("name=\"verdict\" value=\"inconclusive\""), "{xml}");
    assert!(annotations::annotations(&outcome, FailOn::default()).starts_with("::notice "));
    let strict = FailOn { inconclusive: true, ..FailOn::default() };
    assert!(junit::junit(&outcome, strict).contains("failures=\"1\""));
    let errors = annotations::annotations(&outcome, strict);
    assert!(errors.lines().all(|line| line.starts_with("::error ")), "{errors}");
}

#[test]
fn a_private_name_is_a_warning_and_skipped_unless_it_is_to_fail() {
    let before = sample::baseline(1, 10);
    let mut names = before.clone();
    names.recordings[0].findings.push(sample::private_name());
    let (healthy, left) = (judged(&before, &before, Design::Pairs), judged(&before, &names, Design::Pairs));
    let strict = FailOn { private_name: true, ..FailOn::default() };
    let xml = junit::junit(&left, FailOn::default());
    assert!(
        xml.contains("name=\"private-name\" time=\"0.000\">\n      <skipped message=\"3 requests"),
        "{xml}"
    );
    let xml = junit::junit(&left, strict);
    assert!(xml.contains("<failure type=\"private-name\"") && xml.contains("failures=\"1\""), "{xml}");
    assert!(xml.contains("tests=\"4\"") && xml.matches("<testcase ").count() == 4, "{xml}");
    let xml = junit::junit(&healthy, strict);
    assert!(
        xml.contains("name=\"private-name\" time=\"0.000\"></testcase>") && xml.contains("failures=\"0\""),
        "{xml}"
    );
    assert!(!junit::junit(&healthy, FailOn::default()).contains("private-name"));
    let title = "title=goobserve gate private-name::3 requests";
    for (fail_on, kind, fails) in [(FailOn::default(), "warning", false), (strict, "error", true)] {
        let line = format!("::{kind} {title}");
        assert!(annotations::annotations(&left, fail_on).lines().any(|one| one.starts_with(&line)));
        assert!(!annotations::annotations(&healthy, fail_on).contains("private-name"));
        let page = text::text(&left, fail_on, Options::default());
        assert_eq!(page.contains("which fails the build"), fails, "{page}");
        assert_eq!(markdown::markdown(&left, fail_on).contains("which fails the build"), fails);
        assert!(page.contains("Private names that left"), "{page}");
    }
}

/// What stands open of a page.
fn open(page: &str) -> &str {
    page.split("<details>").next().unwrap()
}

#[test]
fn the_open_part_of_a_jobs_page_is_a_screen_whatever_there_is_to_say() {
    let (before, mut after) = (sample::baseline(1, 10), slower(10, 300 * MS));
    let module = |index: usize| Requests {
        class: Class::Zip,
        host: Some(format!("h{}.test", index % 40)),
        status: Some(200),
        module: Some(format!("example.com/m{index}")),
        version: None,
        count: 1,
    };
    after.recordings[0].requests[0].extend((0..4000).map(module));
    for run in &mut after.recordings[0].runs {
        run.hosts.extend((0..40).map(|index| (format!("h{index}.test"), 50 * MS)));
    }
    for (name, outcome) in all().into_iter().chain([("huge", judged(&before, &after, Design::Pairs))]) {
        let page = markdown::markdown(&outcome, FailOn::default());
        let open = open(&page);
        assert!(open.lines().count() <= 45 && open.len() <= 4096, "{name}: {open}");
        assert!(page.len() < 1 << 20, "{name}: {}", page.len());
        assert_eq!(page.matches("<details>").count(), page.matches("</details>").count(), "{name}");
    }
}

#[test]
fn lines_of_an_answer_do_not_contradict_each_other() {
    for (name, outcome) in all() {
        for fail_on in [
            FailOn::default(),
            FailOn { inconclusive: true, ..FailOn::default() },
            FailOn { unjudged: true, private_name: true, ..FailOn::default() },
            FailOn { regressed: false, invalid: false, ..FailOn::default() },
        ] {
            let page = text::text(&outcome, fail_on, Options { width: 400, color: false });
            let lines: Vec<&str> = page.lines().collect();
            let status = fail_on.status(&outcome);
            let verdict = outcome.verdict.name();
            // A pass in the first line is a pass of the build, or the line below says why not, and the reverse.
            let plain = lines[0].starts_with("passed") == (status == 0);
            let explained = page.contains("fails the build") || page.contains("does not fail the build");
            assert!(plain || explained, "{name}, status {status}: {page}");
            assert!(lines[0].contains(verdict), "{name}: {page}");
            // No tier, row or test case has another verdict elsewhere on the page, and the weightiest is the page's.
            let xml = junit::junit(&outcome, fail_on);
            let named = |tier: &str| {
                let tiers = lines[1].trim().split(", ");
                tiers.filter_map(|one| one.strip_prefix(tier)).map(str::trim).next().map(str::to_owned)
            };
            if outcome.exact.is_some() {
                for (tier, row) in [("exact", "  requests "), ("time", "  total ")] {
                    let of = named(tier).unwrap();
                    let row = lines.iter().find(|line| line.starts_with(row)).unwrap();
                    assert!(row.ends_with(&of), "{name}: {tier} {of}: {row}");
                    let case =
                        xml.split("<testcase ").find(|case| case.contains(&format!("\"{tier}\""))).unwrap();
                    let fails = case.contains("<failure") || case.contains("<error");
                    assert!(!fails || status != 0, "{name}: {case}");
                    assert!(case.contains(&of) || of == "passed", "{name}: {of}: {case}");
                }
            }
            assert_eq!(
                status != 0,
                xml.contains("<failure") || xml.contains("<error"),
                "{name} {fail_on:?}: {xml}"
            );
            // The reason in the first line is said once.
            let reason = &outcome.reasons[0].text;
            assert_eq!(page.matches(reason.as_str()).count(), 1, "{name}: {page}");
        }
    }
}

#[test]
fn medians_that_move_the_other_way_than_the_pairs_are_explained() {
    // Most pairs are a little slower, and the medians of the sides fall.
    let (before, mut after) = (sample::baseline(1, 9), sample::baseline(1, 9));
    let walls = |side: &mut Baseline, ms: [u64; 9]| {
        let runs = side.recordings[0].runs.iter_mut();
        runs.zip(ms).for_each(|(run, ms)| run.wall_ns = ms * MS);
    };
    let mut before = before;
    walls(&mut before, [100, 200, 300, 400, 500, 600, 700, 800, 900]);
    walls(&mut after, [120, 220, 320, 420, 499, 620, 720, 820, 920]);
    let outcome = judged(&before, &after, Design::Pairs);
    let total = outcome.time.as_ref().unwrap().total;
    assert!(total.after_ns < total.before_ns && total.shift_ns > 0 && total.ratio > 1.0, "{total:?}");
    let page = text::text(&outcome, FailOn::default(), Options { width: 200, color: false });
    assert!(page.contains("(*) each side's median, by itself, moved the other way"), "{page}");
    assert!(!outcome.headline().contains("to 499 ms"), "{}", outcome.headline());
    assert!(markdown::markdown(&outcome, FailOn::default()).contains("moved the other way"));
}
