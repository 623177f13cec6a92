//! The gate's one table: requests, the total, its phases and hosts, counts. In: an outcome. Out: rows of name,
//! before, after, change with its interval, verdict.

use model::human::duration;
use model::record::Phase;
use model::time::Ns;
use stats::gate::Outcome;
use stats::gate::bounded::Count;
use stats::gate::time::{Part, Time};
use stats::gate::verdict::Verdict;

use super::super::compare::{OPPOSED, OPPOSED_EXPLAINED, opposed};

/// Phases and hosts that are listed.
const PARTS: usize = 16;
/// What a tier or a row without a verdict says.
pub(super) const NOT_JUDGED: &str = "not judged";

/// A row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    /// Name, before, after, change, verdict
    pub cells: [String; 5],
    /// It decides something, or is the total: a short page has it
    pub weighty: bool,
}

/// The headings of a row's cells.
pub(super) fn headings(outcome: &Outcome) -> [String; 5] {
    let percent = outcome.time.as_ref().map_or(0.95, |time| time.total.confidence);
    let change = format!("change ({})", stats::gate::outcome::percent(percent));
    ["", "before", "after", &change, "verdict"].map(Into::into)
}

/// The rows.
pub(super) fn rows(outcome: &Outcome) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(exact) = &outcome.exact {
        let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        let change =
            exact.requests_before.zip(exact.requests_after).map_or_else(String::new, |(old, new)| {
                plain(i64::try_from(new).unwrap_or(i64::MAX).saturating_sub_unsigned(old) as f64)
            });
        let verdict = exact.verdict.map_or(NOT_JUDGED, Verdict::name).to_owned();
        let (before, after) = (number(exact.requests_before), number(exact.requests_after));
        rows.push(Row { cells: ["requests".into(), before, after, change, verdict], weighty: true });
    }
    outcome.time.iter().for_each(|time| rows.extend(times(time)));
    if let Some(bounded) = &outcome.bounded {
        rows.extend(bounded.counts.iter().map(counted));
    }
    rows
}

/// What stands below the table: what a mark means, and how many phases and hosts no row has.
pub(super) fn footnotes(outcome: &Outcome, rows: &[Row]) -> Vec<String> {
    let marked = rows.iter().any(|row| row.cells[3].ends_with(OPPOSED));
    let mark = marked.then(|| format!("{OPPOSED} {OPPOSED_EXPLAINED}"));
    let more = outcome.time.as_ref().map_or(0, |time| time.parts.len().saturating_sub(PARTS));
    let more = (more > 0).then(|| format!("{more} more phases and hosts are in --json"));
    mark.into_iter().chain(more).collect()
}

fn times(time: &Time) -> Vec<Row> {
    let total = &time.total;
    let verdict = judged(time).map_or(NOT_JUDGED, Verdict::name).to_owned();
    let change = change(total.before_ns, total.after_ns, total.shift_ns, total.low_ns.zip(total.high_ns));
    let cells = ["total".into(), duration(total.before_ns), duration(total.after_ns), change, verdict];
    let mut rows = vec![Row { cells, weighty: true }];
    let mut parts: Vec<&Part> = time.parts.iter().collect();
    parts.sort_by_key(|part| (!part.named, part.host.is_some()));
    rows.extend(parts.into_iter().take(PARTS).map(|part| {
        let name = part.phase.filter(|_| part.host.is_none()).map(Phase::name).map(str::to_owned);
        let name = name.or_else(|| part.host.clone()).unwrap_or_default();
        let change =
            self::change(part.before_ns, part.after_ns, part.shift_ns, part.low_ns.zip(part.high_ns));
        let verdict = verdict_of(time, part).to_owned();
        let cells = [name, duration(part.before_ns), duration(part.after_ns), change, verdict];
        Row { cells, weighty: part.named }
    }));
    rows
}

/// A machine that is another makes times invalid, and fails nothing: they are not judged.
pub(super) fn judged(time: &Time) -> Option<Verdict> {
    time.verdict.filter(|verdict| *verdict != Verdict::Invalid)
}

/// What is said of a phase or host. It decides nothing, so it has words of its own: `grew` is shown to lie above
/// both floors, all phases and hosts together; `as before` and `shrank` go by its own interval.
fn verdict_of(time: &Time, part: &Part) -> &'static str {
    let total = &time.total;
    let floor = (total.floor_relative * part.before_ns as f64).max(total.floor_absolute_ns as f64);
    match part.low_ns.zip(part.high_ns) {
        _ if judged(time).is_none() => NOT_JUDGED,
        _ if part.named => "grew",
        Some((_, high)) if (high as f64) < -floor => "shrank",
        Some((_, high)) if (high as f64) < floor => "as before",
        _ => "undecided",
    }
}

fn change(before: Ns, after: Ns, shift: i64, interval: Option<(i64, i64)>) -> String {
    let interval =
        interval.map_or_else(String::new, |(low, high)| format!(" ({} to {})", signed(low), signed(high)));
    let mark = if opposed(before, after, shift) { format!(" {OPPOSED}") } else { String::new() };
    signed(shift) + &interval + &mark
}

fn counted(count: &Count) -> Row {
    let number = |value: f64| format!("{value:.1}").trim_end_matches(".0").to_owned();
    let change = format!("{}, up to {} more is fine", plain(count.after - count.before), number(count.floor));
    let verdict = count.verdict.map_or(NOT_JUDGED, Verdict::name).to_owned();
    let name = match count.what.as_str() {
        // Phases have rows of their own.
        "dns" => "DNS queries",
        "tiles" => "checksum tiles",
        other => other,
    };
    let cells = [name.to_owned(), number(count.before), number(count.after), change, verdict];
    Row { cells, weighty: count.verdict == Some(Verdict::Regressed) }
}

/// `+3`, `-1.5`, `0`
fn plain(value: f64) -> String {
    let text = format!("{value:+.1}").trim_end_matches(".0").to_owned();
    if value == 0.0 { "0".to_owned() } else { text }
}

/// `+1.20 s`, `-3.00 ms`, `0 ns`
fn signed(ns: i64) -> String {
    let sign = match ns {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    format!("{sign}{}", duration(ns.unsigned_abs()))
}
