//! The answer of an experiment in, a page for people or Markdown out: the answer in its first line.

use std::str::FromStr as _;

use model::clean::clean;
use model::human::{count, duration};
use model::remedy::Remedy;
use model::words;
use stats::compare::{Answer, CacheKind, Change, End, FEWEST, PhaseChange, Ratio, Side, Verdict};

use super::page::{BAD, DIM, HEADING, Options, PLAIN, Page};
use super::table::{Column, Table};

/// Marks what [`opposed`] finds.
pub(super) const OPPOSED: &str = "(*)";
/// What it means.
pub(super) const OPPOSED_EXPLAINED: &str =
    "each side's median, by itself, moved the other way; the shift is of runs that belong together";

/// Runs whose times are listed.
const RUNS_SHOWN: usize = 30;

/// The page.
pub fn text(answer: &Answer, options: Options) -> String {
    let mut page = Page::new(options);
    for line in headline(answer) {
        page.line(0, HEADING, &line);
    }
    failures(&mut page, answer);
    if answer.total.is_some() {
        changes(&mut page, answer);
        runs(&mut page, answer);
        stalls(&mut page, answer);
    }
    if answer.events_lost > 0 {
        page.gap();
        let lost = count(answer.events_lost, "event");
        page.line(0, BAD, &format!("{lost} lost in observations: times are right, phases may be inexact."));
    }
    page.finish()
}

/// What the experiment says, in a line; and one more where it says that only with reservations.
fn headline(answer: &Answer) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(total), Some(ratio)) = (&answer.total, &answer.times_faster) {
        lines.push(format!("{}: {}", tried(answer), verdict(answer, total, ratio)));
    }
    if answer.end == End::Interrupted {
        let measured = count(u64::from(answer.runs), "round");
        lines.push(format!("Interrupted: {measured} of {} measured.", answer.runs_wanted));
    }
    if answer.end == End::Failed {
        let ending = |failure: &stats::compare::Failure| match failure.status {
            0 => format!("{}: succeeds in {}", failure.side, duration(failure.wall_ns)),
            status => format!("{}: fails after {}, exit {status}", failure.side, duration(failure.wall_ns)),
        };
        let sides: Vec<String> = answer.failures.iter().map(ending).collect();
        lines.push(sides.join("; "));
    }
    lines.extend(keeping(answer));
    lines
}

/// How what helped is kept.
fn keeping(answer: &Answer) -> Option<String> {
    let status = |side: &Side| answer.failures.iter().find(|one| one.side == side.name).map(|one| one.status);
    let helps =
        status(&answer.baseline).is_some_and(|status| status != 0) && status(&answer.tried) == Some(0);
    if answer.verdict != Verdict::Faster && !(answer.end == End::Failed && helps) {
        return None;
    }
    let keeping = |name: &String| Remedy::from_str(name).ok()?.keeping();
    let all: Vec<String> = answer.tried.remedies.iter().map(keeping).collect::<Option<_>>()?;
    (!all.is_empty()).then(|| format!("To keep it: {}", all.join("; ")))
}

fn tried(answer: &Answer) -> String {
    if answer.baseline.remedies.is_empty() {
        answer.tried.name.clone()
    } else {
        format!("{} against {}", answer.tried.name, answer.baseline.name)
    }
}

fn verdict(answer: &Answer, total: &Change, ratio: &Ratio) -> String {
    // Medians are of each side by itself: they may move the other way than the pairs.
    let from_to = if opposed(total.baseline_ns, total.tried_ns, total.shift_ns) {
        format!("{} in pairs, from {}", signed(total.shift_ns), duration(total.baseline_ns))
    } else {
        format!("{} to {}", duration(total.baseline_ns), duration(total.tried_ns))
    };
    let interval = interval(ratio).map_or_else(String::new, |both| format!("95 % interval {both}"));
    let phase = cause(answer).map_or_else(String::new, |cause| format!("; {cause}"));
    match answer.verdict {
        Verdict::Faster => format!("{} faster, {from_to}, {interval}{phase}", by(ratio.estimate)),
        Verdict::Slower => {
            let slower = match (ratio.low, ratio.high) {
                (Some(low), Some(high)) => {
                    format!("95 % interval {} to {}", times(1.0 / high), times(1.0 / low))
                }
                _ => String::new(),
            };
            format!("{} slower, {from_to}, {slower}{phase}", by(1.0 / ratio.estimate))
        }
        Verdict::NoDifference => {
            format!("no difference shown, {from_to}, {interval} as fast")
        }
        Verdict::TooFewRuns => {
            let direction = if ratio.estimate >= 1.0 { "faster" } else { "slower" };
            let by = by(ratio.estimate.max(1.0 / ratio.estimate));
            let runs = count(u64::from(answer.runs), "run");
            format!("{by} {direction}, {from_to}; {runs} each way give no interval, it takes {FEWEST}")
        }
    }
}

/// Both ends, where there are any.
pub(super) fn interval(ratio: &Ratio) -> Option<String> {
    let (low, high) = ratio.low.zip(ratio.high)?;
    Some(format!("{} to {}", times(low), times(high)))
}

/// The phase that changed most in the answer's direction, when its change is certain.
fn cause(answer: &Answer) -> Option<String> {
    let falls = answer.verdict == Verdict::Faster;
    let certain = |change: &Change| match (change.low_ns, change.high_ns) {
        (Some(low), Some(high)) => (falls && high < 0) || (!falls && low > 0),
        _ => false,
    };
    let phases = answer.phases.iter().filter(|phase| certain(&phase.change));
    let PhaseChange { phase, change } = phases.max_by_key(|phase| phase.change.shift_ns.unsigned_abs())?;
    let verb = if falls { "fell" } else { "rose" };
    Some(format!("blocked on {} {verb} by {}", phase.name(), duration(change.shift_ns.unsigned_abs())))
}

/// `2.6×`; below a tenth more in percent: `4.2 %`.
pub(super) fn by(ratio: f64) -> String {
    if ratio < 1.1 { format!("{:.1} %", (ratio - 1.0) * 100.0) } else { times(ratio) }
}

pub(super) fn times(ratio: f64) -> String {
    match ratio {
        10.0.. => format!("{ratio:.0}×"),
        2.0.. => format!("{ratio:.1}×"),
        _ => format!("{ratio:.2}×"),
    }
}

/// A change with its sign: `−21.9 s`, `+12.0 ms`.
fn signed(ns: i64) -> String {
    let sign = match ns {
        0 => "",
        1.. => "+",
        _ => "−",
    };
    format!("{sign}{}", duration(ns.unsigned_abs()))
}

/// Whether both medians say the contrary of the shift of pairs.
pub(super) const fn opposed(before: u64, after: u64, shift: i64) -> bool {
    (after > before && shift < 0) || (after < before && shift > 0)
}

/// What explains [`OPPOSED`], when a row has it.
pub(super) fn footnote(rows: &[[String; 5]]) -> Option<String> {
    rows.iter().any(|row| row[4].ends_with(OPPOSED)).then(|| format!("{OPPOSED} {OPPOSED_EXPLAINED}"))
}

/// Rows of the table: a name, both medians, the change, its interval.
fn rows(answer: &Answer) -> Vec<[String; 5]> {
    let row = |name: &str, change: &Change| {
        let interval = match (change.low_ns, change.high_ns) {
            (Some(low), Some(high)) => format!("{} to {}", signed(low), signed(high)),
            _ => String::new(),
        };
        let mark = if opposed(change.baseline_ns, change.tried_ns, change.shift_ns) { OPPOSED } else { "" };
        let interval = format!("{interval} {mark}").trim().to_owned();
        let (baseline, tried) = (duration(change.baseline_ns), duration(change.tried_ns));
        [name.to_owned(), baseline, tried, signed(change.shift_ns), interval]
    };
    let total = answer.total.iter().map(|total| row("total", total));
    total.chain(answer.phases.iter().map(|phase| row(phase.phase.name(), &phase.change))).collect()
}

fn changes(page: &mut Page, answer: &Answer) {
    let runs = count(u64::from(answer.runs), "run");
    page.heading(&format!("Where the time went: {}", words::argv(&answer.command)));
    page.line(2, DIM, &format!("Medians of {runs} each way in random order, {}.", caches(answer.cache)));
    let mut table = Table::new(&[Column::Left, Column::Right, Column::Right, Column::Right, Column::Left]);
    let interval = if answer.runs as usize >= FEWEST { "95 % interval" } else { "" };
    let titles = ["", &answer.baseline.name, &answer.tried.name, "change", interval];
    table.styled(titles.map(|title| (title.to_owned(), DIM)));
    let rows = rows(answer);
    let footnote = footnote(&rows);
    rows.into_iter().for_each(|row| table.row(row));
    page.table(&table);
    footnote.into_iter().for_each(|line| page.line(2, DIM, &line));
}

pub(super) const fn caches(cache: CacheKind) -> &'static str {
    match cache {
        CacheKind::Cold => "cold caches each time",
        CacheKind::Memory => "cold caches in memory each time",
        CacheKind::Warm => "the caches as they are",
    }
}

fn runs(page: &mut Page, answer: &Answer) {
    page.heading("Each run");
    for side in [&answer.baseline, &answer.tried] {
        page.line(2, PLAIN, &format!("{}: {}", side.name, walls(side)));
    }
    let middle = |side: &Side, figure: fn(&stats::compare::Run) -> u64| {
        let mut all: Vec<u64> = side.runs.iter().map(figure).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or(0)
    };
    let side = |side: &Side| {
        format!(
            "{}: {}, {}, {}",
            side.name,
            count(middle(side, |run| run.requests), "request"),
            count(middle(side, |run| run.connections), "connection"),
            count(middle(side, |run| run.dns), "DNS query")
        )
    };
    page.line(2, DIM, &format!("Median of {}; {}", side(&answer.baseline), side(&answer.tried)));
}

fn walls(side: &Side) -> String {
    let shown: Vec<String> = side.runs.iter().take(RUNS_SHOWN).map(|run| duration(run.wall_ns)).collect();
    let more = side.runs.len().saturating_sub(RUNS_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}

/// The loop closed: which stalls the baseline had, what was to be tried, and what came of it.
fn stalls(page: &mut Page, answer: &Answer) {
    if answer.stalls.is_empty() {
        return;
    }
    page.heading("Stalls");
    for stall in &answer.stalls {
        let what = stall
            .host
            .as_ref()
            .map_or_else(|| stall.kind.to_string(), |host| format!("{} ({host})", stall.kind));
        let of = |runs: u32, cost: Option<u64>| {
            let cost = cost.map_or_else(String::new, |cost| format!(", {}", duration(cost)));
            format!("in {runs} of {} runs{cost}", answer.runs)
        };
        let before = of(stall.baseline_runs, stall.baseline_cost_ns);
        let after = if stall.gone() { "gone".to_owned() } else { of(stall.tried_runs, stall.tried_cost_ns) };
        let (baseline, tried) = (&answer.baseline.name, &answer.tried.name);
        page.line(2, PLAIN, &format!("{what}: {baseline} {before}; {tried} {after}"));
        page.line(4, DIM, &stall.summary);
        for remedy in &stall.remedies {
            if remedy.tried {
                let came = headline(answer).into_iter().next().unwrap_or_default();
                page.line(4, PLAIN, &format!("tried: {came}"));
            } else {
                page.line(4, PLAIN, &format!("try {}:", remedy.name));
                page.command(6, PLAIN, &remedy.attempt);
            }
        }
    }
}

fn failures(page: &mut Page, answer: &Answer) {
    for failure in answer.failures.iter().filter(|failure| failure.status != 0) {
        page.heading(&format!("What it printed last ({})", failure.side));
        failure.said.lines().for_each(|line| page.line(2, PLAIN, line));
    }
}

/// The same as Markdown.
pub fn markdown(answer: &Answer) -> String {
    let mut out = String::new();
    for line in headline(answer) {
        out += &format!("**{}**\n\n", escaped(&line));
    }
    if answer.total.is_some() {
        let runs = count(u64::from(answer.runs), "run");
        let command = escaped(&words::argv(&answer.command));
        out +=
            &format!("{command}: medians of {runs} each way in random order, {}.\n\n", caches(answer.cache));
        let (baseline, tried) = (escaped(&answer.baseline.name), escaped(&answer.tried.name));
        out += &format!("| | {baseline} | {tried} | change | 95 % interval |\n|---|---:|---:|---:|---|\n");
        let rows = rows(answer);
        let footnote = footnote(&rows);
        for row in rows {
            out += &format!("| {} |\n", row.map(|cell| escaped(&cell)).join(" | "));
        }
        out += &footnote.map_or_else(String::new, |line| format!("\n{}\n", escaped(&line)));
    }
    for stall in &answer.stalls {
        let after = if stall.gone() { "gone".to_owned() } else { format!("in {} runs", stall.tried_runs) };
        let host = stall.host.as_deref().map_or_else(String::new, |host| format!(" ({host})"));
        let what = escaped(&format!("{}{host}", stall.kind));
        out += &format!("\n- {what}: in {} of {} runs before, {after}", stall.baseline_runs, answer.runs);
    }
    out.trim_end().to_owned() + "\n"
}

/// Foreign text that Markdown takes as it is.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in clean(text).chars() {
        if "\\`*_{}[]<>#|~&!".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use model::stall::StallKind;
    use stats::compare::{Failure, answer};
    use stats::sample::compare::{about, of, pairs, stall};

    use super::*;

    const MS: u64 = 1_000_000;

    fn page(answer: &Answer) -> String {
        text(answer, Options::default())
    }

    fn first(answer: &Answer) -> String {
        text(answer, Options { width: 200, color: false }).lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_page_reads_well() {
        let stalls = [stall(StallKind::ConcurrencyLimited, 900 * MS)];
        insta::assert_snapshot!("compare_page", page(&of(&pairs(3000, 1000, &stalls))));
        insta::assert_snapshot!("compare_markdown", markdown(&of(&pairs(3000, 1000, &stalls))));
    }

    #[test]
    fn every_verdict_has_its_first_line() {
        let faster = first(&of(&pairs(3000, 1000, &[])));
        assert_eq!(
            faster,
            "concurrency=16: 2.8× faster, 3.12 s to 1.12 s, 95 % interval 2.7× to 2.8×; blocked on proxy fell by 2.00 s"
        );
        let slower = first(&of(&pairs(1000, 1050, &[])));
        assert_eq!(
            slower,
            "concurrency=16: 4.4 % slower, 1.12 s to 1.18 s, 95 % interval 1.04× to 1.05×; blocked on proxy rose by 50.0 ms"
        );
        let mut same = pairs(1000, 1000, &[]);
        for (n, pair) in same.iter_mut().enumerate() {
            pair[n % 2] = pairs(1100, 1100, &[])[0][0].clone();
        }
        let none = first(&of(&same));
        assert!(none.starts_with("concurrency=16: no difference shown, "), "{none}");
        let few = first(&of(&pairs(3000, 1000, &[])[..2]));
        assert_eq!(
            few,
            "concurrency=16: 2.8× faster, 3.10 s to 1.10 s; 2 runs each way give no interval, it takes 6"
        );
    }

    #[test]
    fn what_it_is_compared_with_is_named_when_it_is_not_the_command_as_it_is() {
        let mut about = about();
        about.remedies[0] = vec!["http1".to_owned()];
        about.names[0] = "http1".to_owned();
        let answer = answer(about, &pairs(3000, 1000, &[]), End::Complete, Vec::new());
        assert!(
            first(&answer).starts_with("concurrency=16 against http1: 2.8× faster"),
            "{}",
            first(&answer)
        );
    }

    #[test]
    fn failures_and_interruptions_are_said_and_foreign_text_is_cleaned() {
        let failure = |side: &str, status, said: &str| Failure {
            side: side.to_owned(),
            status,
            wall_ns: 10_200 * MS,
            said: said.to_owned(),
        };
        let failures =
            vec![failure("baseline", 1, "TLS handshake timeout\n\u{1b}[2Jx"), failure("no-mlkem", 0, "")];
        let failed = answer(about(), &[], End::Failed, failures);
        assert_eq!(
            page(&failed),
            "baseline: fails after 10.2 s, exit 1; no-mlkem: succeeds in 10.2 s\n\n\
             What it printed last (baseline)\n  TLS handshake timeout\n  \\x1b[2Jx\n"
        );
        let failures = vec![failure("baseline", 1, ""), failure("concurrency=16", 0, "")];
        let fixed = page(&answer(about(), &[], End::Failed, failures));
        assert_eq!(fixed.lines().nth(1), Some("To keep it: GOMAXPROCS=16 in front of this command alone"));
        let interrupted = answer(about(), &pairs(3000, 1000, &[])[..2], End::Interrupted, Vec::new());
        assert!(
            page(&interrupted).contains("\nInterrupted: 2 rounds of 6 measured.\n"),
            "{}",
            page(&interrupted)
        );
    }

    #[test]
    fn markdown_is_not_steered_by_names() {
        let mut about = about();
        about.names[1] = "env=A=|<b>\n*".to_owned();
        let text = markdown(&answer(about, &pairs(3000, 1000, &[]), End::Complete, Vec::new()));
        assert!(text.contains(r"env=A=\|\<b\>\\n\*") && !text.contains("<b>"), "{text}");
    }
}
