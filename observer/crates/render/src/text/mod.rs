//! A report in, a page for people out: what ran, where its time went, and what made it wait.

mod network;
mod requests;
mod stalls;
mod time;

use model::human::{duration, duration_or_unknown};
use model::id::CommandId;
use model::report::{Command, Report};
use model::words;

use super::compiled;
use super::kinds::{self, groups};
use super::page::{BAD, DIM, HEADING, Options, PLAIN, Page};
use super::result;
use super::table::{Column, Table};

/// The report as text.
pub fn text(report: &Report, options: Options) -> String {
    let mut page = Page::new(options);
    if report.commands.is_empty() {
        page.line(0, PLAIN, "No go command was observed.");
    }
    if !report.remedies.is_empty() {
        page.line(0, PLAIN, &format!("With {}", report.remedies.join(" + ")));
    }
    if report.commands.len() > 1 {
        missed(&mut page, report, None);
    }
    for command in &report.commands {
        header(&mut page, report, command);
        time::phases(&mut page, command);
        stalls::stalls(&mut page, command);
        time::hosts(&mut page, command);
        requests::failed(&mut page, report, command);
        requests::slowest(&mut page, report, command);
        requests::sumdb(&mut page, report, command);
        network::dns(&mut page, report, command);
        network::connections(&mut page, report, command);
        build(&mut page, report, command);
        gos(&mut page, report, command);
        processes(&mut page, report, command);
    }
    loss(&mut page, report);
    page.finish()
}

fn header(page: &mut Page, report: &Report, command: &Command) {
    page.gap();
    let number = if report.commands.len() > 1 { format!("#{} ", command.id) } else { String::new() };
    page.line(0, HEADING, &format!("{number}{}", words::argv(&command.argv)));
    missed(page, report, Some(command.id));
    if let Some(service) = super::loss::service(command) {
        let unseen = command.service.as_ref().is_some_and(|service| service.pids.is_empty());
        page.line(0, if unseen { BAD } else { DIM }, &service);
    }
    if let Some(container) = &command.container {
        page.line(0, DIM, &format!("in {}", words::container(container, command.uid)));
    }
    let failed = command.exit_code.is_some_and(|code| code != 0) || command.signal.is_some();
    let ending = words::ending(command.ended, command.exit_code, command.signal);
    let style = if failed { BAD } else { PLAIN };
    let before =
        command.age_ns.map_or_else(String::new, |age| format!(" observed, {} before", duration(age)));
    page.line(0, style, &format!("{}{before}, {ending}", duration(command.wall_ns)));
    if let Some(why) = result::failure(command) {
        page.line(0, BAD, &why);
    }
    let go = &command.go;
    let settings = [
        ("", go.version.clone()),
        ("GOPROXY=", go.goproxy.clone()),
        ("GOSUMDB=", go.gosumdb.clone()),
        ("GOFLAGS=", go.goflags.clone()),
        ("GODEBUG=", go.godebug.clone()),
        ("downloads at once: ", go.gomaxprocs.map(|n| n.to_string())),
    ];
    let known: Vec<String> = settings
        .into_iter()
        .filter_map(|(name, value)| {
            value.filter(|value| !value.is_empty()).map(|value| format!("{name}{value}"))
        })
        .collect();
    let elsewhere = words::elsewhere(go).into_iter().map(|(name, value)| format!("{name}={value}"));
    let unknown = (go.version.is_some() && !go.has_settings()).then(|| "settings not known".to_owned());
    let known: Vec<String> = known.into_iter().chain(elsewhere).chain(unknown).collect();
    if !known.is_empty() {
        page.line(0, DIM, &known.join("  "));
    }
}

/// Whoever reads on must know that what is below is not all.
fn missed(page: &mut Page, report: &Report, command: Option<CommandId>) {
    if let Some(missed) = super::loss::missed(report, command) {
        page.line(0, BAD, &missed);
    }
}

/// A build: its steps by kind, the costliest first, with their costliest packages.
fn build(page: &mut Page, report: &Report, command: &Command) {
    /// Packages that are named of a kind
    const MOST: usize = 3;
    /// Steps of the chain that are listed
    const STEPS: usize = 6;
    let all = compiled::packages(report, command);
    let count = all.iter().filter(|work| work.what == "compile").count();
    let over = command.start_ns.saturating_add(command.wall_ns);
    let of = report.processes.iter().filter(|process| process.command == command.id);
    let groups: Vec<_> = groups(of, over).into_iter().filter(|group| group.build).collect();
    if groups.is_empty() {
        return;
    }
    let cpu = groups.iter().map(|group| group.cpu_ns).sum();
    let packages =
        if count > 0 { format!("{}, ", model::human::count(count as u64, "package")) } else { String::new() };
    page.heading(&format!("Build: {packages}{} of CPU", duration(cpu)));
    let mut table = Table::new(&[Column::Left, Column::Right, Column::Right, Column::Right, Column::Tail]);
    table.styled(["", "how many", "CPU", "failed", "costliest"].map(|title| (title.to_owned(), DIM)));
    for group in &groups {
        let (failed, style) = if group.failed > 0 { (group.failed, BAD) } else { (0, DIM) };
        table.styled([
            (group.name.clone(), PLAIN),
            (group.count.to_string(), PLAIN),
            (duration(group.cpu_ns), PLAIN),
            (failed.to_string(), style),
            (group.costliest(MOST).join(", "), DIM),
        ]);
    }
    page.table(&table);
    let chain = compiled::chain(&all);
    if let [first, .., last] = &chain[..] {
        let mut longest: Vec<_> = chain.clone();
        longest.sort_by_key(|work| std::cmp::Reverse(work.took_ns()));
        longest.truncate(STEPS);
        longest.sort_by_key(|work| work.start_ns);
        let steps: Vec<String> = longest
            .iter()
            .map(|work| format!("{} {} {}", work.what, work.package, duration(work.took_ns())))
            .collect();
        let text = format!(
            "back to back until the end: {} in {}, the longest: {}",
            model::human::count(chain.len() as u64, "step"),
            duration(last.end_ns.saturating_sub(first.start_ns)),
            steps.join(", ")
        );
        page.line(2, PLAIN, &text);
    }
}

/// The go commands that a script or a container engine ran, and for how long each.
fn gos(page: &mut Page, report: &Report, command: &Command) {
    const MOST: usize = 8;
    let gos = compiled::gos(report, command);
    if gos.is_empty() {
        return;
    }
    page.heading("Go commands that it ran");
    let mut table = Table::new(&[Column::Flexible, Column::Right, Column::Left, Column::Left]);
    for process in gos.iter().take(MOST) {
        let took = process.end_ns.map(|end| end.saturating_sub(process.start_ns));
        let bad = process.exit_code.is_some_and(|code| code != 0);
        table.styled([
            (words::argv(&process.args), PLAIN),
            (duration_or_unknown(took), PLAIN),
            (words::process_ending(process, command), if bad { BAD } else { PLAIN }),
            (format!("CPU {}", duration_or_unknown(process.cpu_ns)), PLAIN),
        ]);
    }
    page.table(&table);
    rest(page, gos.len(), MOST, "go command", "go commands");
}

/// Processes other than go: git and its helpers, compilers.
fn processes(page: &mut Page, report: &Report, command: &Command) {
    const MOST: usize = 8;
    let mut others = compiled::longest(report, command);
    // Steps of a build are above, by kind.
    others.retain(|process| kinds::tool(process).is_none());
    if others.is_empty() {
        return;
    }
    let heading =
        if others.len() > MOST { "Longest processes other than go" } else { "Processes other than go" };
    page.heading(heading);
    let mut table = Table::new(&[Column::Left, Column::Flexible, Column::Right, Column::Left, Column::Left]);
    for process in others.iter().take(MOST) {
        let took = process.end_ns.map(|end| end.saturating_sub(process.start_ns));
        let cpu = format!("CPU {}", duration_or_unknown(process.cpu_ns));
        let ending = words::process_ending(process, command);
        let bad = process.exit_code.is_some_and(|code| code != 0);
        table.styled([
            (process.comm.clone(), PLAIN),
            (words::argv(&process.args), DIM),
            (duration_or_unknown(took), PLAIN),
            (ending, if bad { BAD } else { PLAIN }),
            (cpu, PLAIN),
        ]);
    }
    page.table(&table);
    rest(page, others.len(), MOST, "process", "processes");
}

/// Says how many rows a table leaves out.
fn rest(page: &mut Page, all: usize, shown: usize, one: &str, many: &str) {
    if all > shown {
        let left = all - shown;
        let word = if left == 1 { one } else { many };
        page.line(2, DIM, &format!("and {left} more {word}"));
    }
}

fn loss(page: &mut Page, report: &Report) {
    page.heading("Not observed");
    match super::loss::sentence(&report.loss) {
        Some(lost) => page.line(2, BAD, &lost),
        None => page.line(2, PLAIN, "Nothing was lost."),
    }
    for gaps in report.commands.iter().filter_map(super::loss::gaps) {
        page.line(2, BAD, &gaps);
    }
}
