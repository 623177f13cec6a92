//! Where the time of a command went: by phase, on this machine, by host.

use model::human::{bar, bytes, count, duration, percent};
use model::record::Phase;
use model::report::Command;
use model::words;

use crate::page::{BAD, BAR, DIM, PLAIN, Page};
use crate::table::{Column, Table};

/// Columns that a row takes beside its bar.
const OTHER_COLUMNS: usize = 2 + 11 + 2 + 27 + 2 + 11 + 2 + 5 + 2;

pub(super) fn phases(page: &mut Page, command: &Command) {
    page.heading("Where the time went");
    let most = command.phases.iter().map(|share| share.blocked_ns).max().unwrap_or(0);
    let columns = page.width().saturating_sub(OTHER_COLUMNS).clamp(4, 40);
    let mut table = Table::new(&[Column::Left, Column::Left, Column::Right, Column::Right, Column::Left]);
    for share in &command.phases {
        if share.blocked_ns == 0 && share.count == 0 {
            continue;
        }
        table.styled([
            (share.phase.name().to_owned(), PLAIN),
            (words::phase(share.phase).to_owned(), DIM),
            (duration(share.blocked_ns), PLAIN),
            (percent(share.blocked_ns, command.wall_ns), PLAIN),
            (bar(share.blocked_ns, most, columns), BAR),
        ]);
    }
    page.table(&table);
    if command.unknown_ns > 0 {
        let text = format!(
            "of unexplained: {} not known, for its records are missing",
            duration(command.unknown_ns)
        );
        page.line(2, BAD, &text);
    }
    match &command.local {
        Some(local) if local.cpu_ns + local.runqueue_ns + local.disk_ns > 0 => {
            let text = format!(
                "of local: {} on a CPU, {} waiting for a free CPU, {} waiting for the disk",
                duration(local.cpu_ns),
                duration(local.runqueue_ns),
                duration(local.disk_ns)
            );
            page.line(2, PLAIN, &text);
        }
        Some(_) => {}
        None => page.line(
            2,
            DIM,
            "The scheduler was not observed: time of this machine is not distinguished from waiting.",
        ),
    }
    operations(page, command);
}

/// How many operations each phase had, and how long they took.
fn operations(page: &mut Page, command: &Command) {
    let mut table = Table::new(&[
        Column::Left,
        Column::Right,
        Column::Right,
        Column::Right,
        Column::Right,
        Column::Right,
        Column::Right,
    ]);
    let titles = ["", "count", "failed", "median", "p95", "longest", "received"];
    table.styled(titles.map(|title| (title.to_owned(), DIM)));
    let mut any = false;
    for share in command.phases.iter().filter(|share| share.count > 0) {
        let time = |ns: Option<u64>| (ns.map_or_else(String::new, duration), PLAIN);
        let failed = if share.errors > 0 { BAD } else { PLAIN };
        table.styled([
            (share.phase.name().to_owned(), PLAIN),
            (share.count.to_string(), PLAIN),
            (share.errors.to_string(), failed),
            time(share.p50_ns),
            time(share.p95_ns),
            time(share.max_ns),
            (share.bytes.map_or_else(String::new, bytes), PLAIN),
        ]);
        any = true;
    }
    if any {
        page.heading("Single operations");
        page.table(&table);
    }
}

pub(super) fn hosts(page: &mut Page, command: &Command) {
    const MOST: usize = 6;
    /// Phases of a host: what 80 columns hold
    const PHASES: usize = 2;
    if command.waited_for().is_empty() {
        return;
    }
    page.heading("Slowest hosts");
    let mut table = Table::new(&[Column::Flexible, Column::Right, Column::Right, Column::Flexible]);
    for host in command.waited_for().iter().take(MOST) {
        let mut parts: Vec<(Phase, u64)> = host.phases.iter().map(|(phase, ns)| (*phase, *ns)).collect();
        parts.sort_by_key(|(phase, ns)| (std::cmp::Reverse(*ns), *phase));
        parts.retain(|(_, ns)| *ns > 0);
        let more = parts.len() > PHASES;
        let mut parts: Vec<String> = parts
            .into_iter()
            .take(PHASES)
            .map(|(phase, ns)| format!("{} {}", phase.name(), duration(ns)))
            .collect();
        parts.extend(more.then(|| "…".to_owned()));
        table.styled([
            (host.host.clone(), PLAIN),
            (duration(host.blocked_ns), PLAIN),
            (percent(host.blocked_ns, command.wall_ns), PLAIN),
            (parts.join(", "), DIM),
        ]);
    }
    page.table(&table);
    if command.waited_for().len() > MOST {
        page.line(2, DIM, &format!("and {}", count((command.waited_for().len() - MOST) as u64, "more host")));
    }
}
