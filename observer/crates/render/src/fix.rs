//! What `fix` found out in, a page for people out: what the command waited for, what was tried, and in the end
//! the line to keep.

use model::human::{count, duration, percent};
use model::words;
use stats::fix::{Fix, Outcome, Trial, Untried, Verdict, best};

use super::compare::{by, caches, interval, times};
use super::page::{BAD, BAR, DIM, HEADING, Options, PLAIN, Page};
use super::table::{Column, Table};

/// Findings that are shown.
const STALLS_MOST: usize = 5;

/// The page.
pub fn text(fix: &Fix, options: Options) -> String {
    let mut page = Page::new(options);
    observed(&mut page, fix);
    failures(&mut page, fix);
    trials(&mut page, fix);
    untried(&mut page, &fix.untried);
    if fix.events_lost > 0 {
        page.gap();
        let lost = count(fix.events_lost, "event");
        page.line(0, BAD, &format!("{lost} lost in observations: times are right, phases may be inexact."));
    }
    page.gap();
    answer(&mut page, fix);
    page.finish()
}

fn observed(page: &mut Page, fix: &Fix) {
    let Some(observed) = &fix.observed else { return };
    page.line(0, HEADING, &words::argv(&fix.command));
    page.line(0, PLAIN, &format!("{}, and this is what it waited for", duration(observed.wall_ns)));
    let mut table = Table::new(&[Column::Left, Column::Left, Column::Right, Column::Right]);
    for share in &observed.phases {
        table.styled([
            (share.phase.name().to_owned(), PLAIN),
            (words::phase(share.phase).to_owned(), DIM),
            (duration(share.blocked_ns), PLAIN),
            (percent(share.blocked_ns, observed.wall_ns), PLAIN),
        ]);
    }
    page.table(&table);
    for stall in observed.stalls.iter().take(STALLS_MOST) {
        let host = stall.host.as_ref().map_or_else(String::new, |host| format!(" ({host})"));
        let text = format!("{}{host}  {}  {}", stall.kind, duration(stall.cost_ns), stall.summary);
        page.line(2, PLAIN, &text);
    }
    if observed.stalls.len() > STALLS_MOST {
        let more = count((observed.stalls.len() - STALLS_MOST) as u64, "more finding");
        page.line(2, DIM, &format!("and {more}"));
    }
}

fn failures(page: &mut Page, fix: &Fix) {
    for failure in fix.failures.iter().filter(|failure| failure.status != 0) {
        let (side, status) = (&failure.side, failure.status);
        page.heading(&format!("Failed after {}, exit {status} ({side})", duration(failure.wall_ns)));
        failure.said.lines().for_each(|line| page.line(2, PLAIN, line));
    }
}

fn trials(page: &mut Page, fix: &Fix) {
    if fix.trials.is_empty() {
        return;
    }
    page.heading("What was tried");
    let rounds = count(u64::from(fix.rounds), "round");
    page.line(2, DIM, &format!("{rounds} in random order, {}; times are medians.", caches(fix.cache)));
    for trial in &fix.trials {
        let helps = matches!(trial.outcome, Outcome::Faster | Outcome::Cures);
        let style = if helps { HEADING } else { PLAIN };
        page.line(2, style, &format!("{}: {}", trial.name, outcome(trial)));
    }
    if fix.trials.len() > 1 {
        page.line(2, DIM, "The intervals hold for all of them together.");
    }
}

/// What came of it: `helps, 2.8× as fast (95 % interval 2.7× to 2.8×), 3.12 s to 1.12 s`.
fn outcome(trial: &Trial) -> String {
    let what = match trial.outcome {
        Outcome::Cures => {
            let rounds = count(u64::from(trial.runs), "round");
            format!("helps, the command fails without it and succeeds with it, in each of {rounds}")
        }
        Outcome::Faster => "helps".to_owned(),
        Outcome::TooLittle => "helps, too little to keep it".to_owned(),
        Outcome::NoDifference => "no difference shown".to_owned(),
        Outcome::Slower => "slower".to_owned(),
        Outcome::GivenUp => format!("does not help, given up after {}", count(u64::from(trial.runs), "run")),
        Outcome::Failed => "the command fails with it".to_owned(),
        Outcome::TooFewRuns => "too few runs".to_owned(),
    };
    let ratio = trial.times_faster.map(|ratio| {
        let sure = interval(&ratio).map_or_else(String::new, |both| format!(" (95 % interval {both})"));
        format!("{} as fast{sure}", times(ratio.estimate))
    });
    let walls =
        trial.total.map(|total| format!("{} to {}", duration(total.baseline_ns), duration(total.tried_ns)));
    [Some(what), ratio, walls].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn untried(page: &mut Page, untried: &[Untried]) {
    if untried.is_empty() {
        return;
    }
    page.heading("Not tried");
    for one in untried {
        page.line(2, PLAIN, &format!("{}: {}", one.name, one.why));
        page.command(4, BAR, &one.attempt);
    }
}

/// What to keep, or why there is nothing.
fn answer(page: &mut Page, fix: &Fix) {
    match fix.verdict {
        Verdict::Proven => proven(page, fix),
        Verdict::NothingHelps => {
            page.line(0, HEADING, "Nothing that was tried helps: there is nothing to keep.");
            if let Some(why) = why(fix) {
                page.line(0, PLAIN, &why);
            }
        }
        Verdict::NothingToTry => {
            let what = if fix.untried.is_empty() {
                "Nothing to fix: nothing was found that a remedy is known against."
            } else {
                "Nothing was tried: of what is offered nothing was worth it, for the reasons above."
            };
            page.line(0, HEADING, what);
            if let Some(why) = why(fix) {
                page.line(0, PLAIN, &why);
            }
        }
        Verdict::OutOfTime if fix.observed.is_none() => {
            page.line(0, BAD, "No answer: the first run did not end within the budget.");
        }
        Verdict::OutOfTime => page.line(0, BAD, "No answer: the budget was too short to prove anything."),
        Verdict::Interrupted => page.line(0, BAD, "No answer: it was interrupted."),
        Verdict::Failed if fix.trials.is_empty() => page.line(0, BAD, "The command fails without a remedy."),
        Verdict::Failed => {
            page.line(0, BAD, "The command fails, and nothing that was tried cures it.");
        }
    }
}

fn proven(page: &mut Page, fix: &Fix) {
    let Some((trial, keep)) = best(&fix.trials).map(|index| &fix.trials[index]).zip(fix.keep.as_ref()) else {
        return;
    };
    let walls = trial.total.as_ref().map_or_else(String::new, |total| {
        format!(", {} to {}", duration(total.baseline_ns), duration(total.tried_ns))
    });
    let ratio = trial.times_faster.map_or_else(String::new, |ratio| by(ratio.estimate));
    let sure = trial.times_faster.as_ref().and_then(interval);
    let sure = sure.map_or_else(String::new, |sure| format!(", 95 % interval {sure}"));
    let what = match trial.outcome {
        Outcome::Cures => {
            let rounds = count(u64::from(trial.runs), "round");
            format!("succeeds in {rounds} of {}, and without it fails in each", trial.runs)
        }
        _ => format!("{ratio} faster{walls}{sure}"),
    };
    page.line(0, HEADING, &format!("{} helps: {what}", keep.name));
    page.line(0, PLAIN, "Keep this:");
    match &keep.line {
        Some(line) => {
            page.command(2, BAR, line);
            // A setting lasts as it is; a run of goobserve's own need not.
            if line.contains("goobserve run ") {
                page.line(0, DIM, &format!("Or, without goobserve around the command: {}", keep.how));
            }
        }
        None => page.line(2, PLAIN, &keep.how),
    }
}

/// Where the time goes, when no remedy changes it.
fn why(fix: &Fix) -> Option<String> {
    let observed = fix.observed.as_ref()?;
    let most = observed.phases.iter().max_by_key(|share| share.blocked_ns)?;
    let share = percent(most.blocked_ns, observed.wall_ns);
    Some(format!("{share} of the time is {} ({}).", most.phase.name(), words::phase(most.phase)))
}

#[cfg(test)]
mod tests {
    use stats::compare::Failure;
    use stats::fix::{Fix, Keep};
    use stats::sample::fix::{fix, running, tried};

    use super::*;

    fn page(fix: &Fix) -> String {
        text(fix, Options::default())
    }

    fn untried(name: &str, why: &str) -> Untried {
        running(name, 1).candidate().clone().untried(why)
    }

    #[test]
    fn what_is_proven_reads_well() {
        let fix = Fix {
            trials: vec![tried("concurrency=16", 2, 3000, 1000), tried("gateway", 2, 3000, 2990)],
            untried: vec![untried("http1", "it can save too little to be distinguished from noise")],
            keep: Some(Keep {
                name: "concurrency=16".to_owned(),
                line: Some("GOMAXPROCS=16 go mod download".to_owned()),
                how: "GOMAXPROCS=16 in front of this command alone".to_owned(),
            }),
            ..fix(Verdict::Proven)
        };
        insta::assert_snapshot!("fix_proven", page(&fix));
        let hidden = Keep { line: None, ..fix.keep.clone().unwrap() };
        let text = page(&Fix { keep: Some(hidden), ..fix });
        assert!(text.ends_with("Keep this:\n  GOMAXPROCS=16 in front of this command alone\n"), "{text}");
    }

    #[test]
    fn that_nothing_helps_reads_well() {
        let mut given_up = running("concurrency=16", 2);
        let pairs = stats::sample::compare::pairs(1000, 1010, &[]);
        pairs.into_iter().take(3).enumerate().for_each(|(n, pair)| {
            given_up.add(pair, 6 - n);
        });
        let trials = vec![given_up.trial(), tried("gateway", 2, 3000, 3000)];
        insta::assert_snapshot!("fix_nothing_helps", page(&Fix { trials, ..fix(Verdict::NothingHelps) }));
        let mut healthy = fix(Verdict::NothingToTry);
        healthy.observed.as_mut().unwrap().stalls.clear();
        insta::assert_snapshot!("fix_nothing_to_try", page(&healthy));
    }

    #[test]
    fn what_makes_a_failing_command_succeed_reads_well() {
        let mut cures = running("no-mlkem", 1);
        (0..6).for_each(|_| cures.cure(6));
        let keep = Some(Keep {
            name: "no-mlkem".to_owned(),
            line: Some("GODEBUG=tlsmlkem=0 go mod download".to_owned()),
            how: String::new(),
        });
        let failure = Failure {
            side: "baseline".to_owned(),
            status: 1,
            wall_ns: 10_200_000_000,
            said: "TLS handshake timeout".to_owned(),
        };
        let (trials, failures) = (vec![cures.trial()], vec![failure]);
        let fix = Fix { trials, keep, failures, rounds: 6, ..fix(Verdict::Proven) };
        insta::assert_snapshot!("fix_cures", page(&fix));
    }

    #[test]
    fn what_is_no_answer_says_so() {
        let failure = Failure {
            side: "baseline".to_owned(),
            status: 1,
            wall_ns: 10_200_000_000,
            said: "TLS handshake timeout\n\u{1b}[2Jx".to_owned(),
        };
        let untried = vec![untried("no-mlkem", "there is no time for it within --budget 3 min 00 s")];
        let failed = Fix { failures: vec![failure], untried, ..fix(Verdict::Failed) };
        insta::assert_snapshot!("fix_failed", page(&failed));
        let text = page(&Fix { observed: None, ..fix(Verdict::OutOfTime) });
        assert_eq!(text, "No answer: the first run did not end within the budget.\n");
        let text = page(&Fix { observed: None, ..fix(Verdict::Interrupted) });
        assert_eq!(text, "No answer: it was interrupted.\n");
    }
}
