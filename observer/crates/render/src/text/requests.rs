//! A command's requests: the slowest, and what the checksum database took.

use model::human::{count, duration, duration_or_unknown, percent};
use model::record::{Phase, RequestOutcome};
use model::report::{Command, Report, Request};
use model::time::Ns;
use model::words;

use crate::page::{BAD, DIM, PLAIN, Page};
use crate::table::{Column, Table};

/// Those that failed, whatever they took.
pub(super) fn failed(page: &mut Page, report: &Report, command: &Command) {
    const MOST: usize = 5;
    let bad = |request: &&Request| {
        request.command == command.id
            && matches!(request.outcome, RequestOutcome::Error | RequestOutcome::Reset)
    };
    let mut requests: Vec<&Request> = report.requests.iter().filter(bad).collect();
    if requests.is_empty() {
        return;
    }
    let all = requests.len();
    page.heading(&format!("{} failed", count(all as u64, "request")));
    // The last ones are what the command ended with.
    requests.drain(..all.saturating_sub(MOST));
    let mut table = Table::new(&[Column::Left, Column::Left, Column::Flexible, Column::Left, Column::Right]);
    table.styled(["status", "kind", "of what", "of whom", "after"].map(|title| (title.to_owned(), DIM)));
    for request in requests {
        let (status, style) = status(request);
        let took = request.end_ns.map(|end| end.saturating_sub(request.start_ns));
        table.styled([
            (status, style),
            (words::class(request.class).to_owned(), PLAIN),
            (subject(request), PLAIN),
            (request.authority.clone().unwrap_or_else(|| "?".to_owned()), PLAIN),
            (duration_or_unknown(took), PLAIN),
        ]);
    }
    page.table(&table);
    super::rest(page, all, MOST, "before them", "before them");
}

pub(super) fn slowest(page: &mut Page, report: &Report, command: &Command) {
    const MOST: usize = 5;
    let end = command.start_ns.saturating_add(command.wall_ns);
    let took = |request: &Request| request.end_ns.unwrap_or(end).saturating_sub(request.start_ns);
    let mut requests: Vec<&Request> =
        report.requests.iter().filter(|request| request.command == command.id).collect();
    if requests.is_empty() {
        return;
    }
    let all = requests.len() as u64;
    requests.sort_by_key(|request| (std::cmp::Reverse(took(request)), request.start_ns));
    page.heading(&format!("Slowest of {}", count(all, "request")));
    let mut table = Table::new(&[Column::Right, Column::Right, Column::Left, Column::Flexible, Column::Left]);
    table.styled(["took", "first byte", "kind", "of what", "status"].map(|title| (title.to_owned(), DIM)));
    for request in requests.into_iter().take(MOST) {
        let first: Option<Ns> = request.first_byte_ns.map(|first| first.saturating_sub(request.start_ns));
        let (status, style) = status(request);
        table.styled([
            (duration(took(request)), PLAIN),
            (first.map_or_else(|| "none".to_owned(), |first| duration_or_unknown(Some(first))), PLAIN),
            (words::class(request.class).to_owned(), PLAIN),
            (subject(request), PLAIN),
            (status, style),
        ]);
    }
    page.table(&table);
}

/// What a request was about.
fn subject(request: &Request) -> String {
    let Request { module, version, authority, path, .. } = request;
    words::subject(module.as_deref(), version.as_deref(), authority.as_deref(), path.as_deref())
}

fn status(request: &Request) -> (String, anstyle::Style) {
    let code = request.status.map(|status| status.to_string());
    match request.outcome {
        RequestOutcome::Ok => (code.unwrap_or_else(|| "ok".to_owned()), PLAIN),
        // A good status, and not all that should have followed.
        RequestOutcome::Error if request.status.is_some_and(|status| status < 400) => {
            ("cut off".to_owned(), BAD)
        }
        RequestOutcome::Error => (code.unwrap_or_else(|| "no answer".to_owned()), BAD),
        RequestOutcome::Reset => ("reset".to_owned(), BAD),
        RequestOutcome::Cancelled => ("cancelled".to_owned(), PLAIN),
        RequestOutcome::Open => ("unfinished".to_owned(), BAD),
        RequestOutcome::Unknown => (code.unwrap_or_else(|| "answer not seen".to_owned()), PLAIN),
    }
}

/// The checksum database's part, and what a complete go.sum would have spared.
pub(super) fn sumdb(page: &mut Page, report: &Report, command: &Command) {
    let of_class =
        |request: &&Request| request.command == command.id && request.class.phase() == Phase::Sumdb;
    let requests = report.requests.iter().filter(of_class).count() as u64;
    if requests == 0 {
        return;
    }
    let blocked =
        command.phases.iter().find(|share| share.phase == Phase::Sumdb).map_or(0, |share| share.blocked_ns);
    page.heading("Checksum database");
    let share = format!(
        "{} for checksums that go.sum did not have: {} ({}) of waiting.",
        count(requests, "request"),
        duration(blocked),
        percent(blocked, command.wall_ns)
    );
    page.line(2, PLAIN, &share);
    let them = if requests == 1 { "it" } else { "all of them" };
    page.line(
        2,
        PLAIN,
        &format!("A complete go.sum would have spared {them}, and at most {}.", duration(blocked)),
    );
}
