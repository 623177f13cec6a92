//! A query, a process, a finding, opened.

use std::cmp::Reverse;

use model::human::{duration, duration_or_unknown};
use model::id::{DnsId, Pid};
use model::time::SinceStart;
use model::{roles, words};
use ratatui::style::Style;

use super::{LINKS, Of, Page, Target};
use crate::tui::timeline::lanes::{self, label};

pub(super) fn query(page: &mut Page, of: Of<'_>, id: DnsId) {
    use std::ops::Bound::{Excluded, Unbounded};
    let Some(query) = of.command.dns.get(&id) else { return };
    let (theme, plain) = (of.theme, Style::new());
    let all = &of.command.dns;
    page.prev = all.range(..id).next_back().map(|(id, _)| Target::Query(*id));
    page.next = all.range((Excluded(id), Unbounded)).next().map(|(id, _)| Target::Query(*id));
    let took = |query: &model::state::Query| {
        of.took(query.record.start_ns, query.record.end_ns.or(query.given_up_ns))
    };
    page.longest =
        all.iter().max_by_key(|(id, query)| (took(query), Reverse(**id))).map(|(id, _)| Target::Query(*id));
    let (dns, end) = (&query.record, query.record.end_ns.or(query.given_up_ns));
    page.say("", &label(of.command, lanes::Id::Dns(id)), theme.bold());
    page.say(
        "asked",
        &format!("{} by {} (pid {}), attempt {}", dns.server, dns.comm, dns.pid, dns.attempt),
        plain,
    );
    let answer = match (dns.rcode.as_deref(), dns.answers) {
        (Some(rcode), Some(n)) => format!("{rcode}, {n} answers"),
        (Some(rcode), None) => rcode.to_owned(),
        (None, _) if dns.refused => "refused: nothing listens there".to_owned(),
        (None, _) if dns.timed_out => "none: it was given up".to_owned(),
        (None, _) if dns.end_ns.is_some() => "answered".to_owned(),
        (None, _) => "none yet".to_owned(),
    };
    page.say("answer", &answer, plain);
    page.say("when", &format!("{}, {}", of.lasted(dns.start_ns, end), of.interval(dns.start_ns, end)), plain);
    of.findings(page, (dns.start_ns, end), Some(&dns.server));
    let same = all.iter().filter(|(other, query)| **other != id && query.record.name == dns.name);
    for (other, query) in same.take(LINKS) {
        let text = format!("{}, took {}", label(of.command, lanes::Id::Dns(*other)), duration(took(query)));
        page.link("same name", &text, plain, Target::Query(*other));
    }
    page.link("host", &dns.server, plain, Target::Host(dns.server.clone()));
}

pub(super) fn process(page: &mut Page, of: Of<'_>, at: (SinceStart, Pid)) {
    use std::ops::Bound::{Excluded, Unbounded};
    let all = &of.command.processes;
    let Some(process) = all.get(&at) else { return };
    let (theme, plain) = (of.theme, Style::new());
    let target = |(start, pid): (SinceStart, Pid)| Target::Process(start, pid);
    page.prev = all.range(..at).next_back().map(|(at, _)| target(*at));
    page.next = all.range((Excluded(at), Unbounded)).next().map(|(at, _)| target(*at));
    let longest =
        all.iter().max_by_key(|(at, process)| (of.took(process.start_ns, process.end_ns), Reverse(**at)));
    page.longest = longest.map(|(at, _)| target(*at));
    let package = roles::package(process).map_or_else(String::new, |package| format!(" {package}"));
    page.say("", &format!("{}{package}", roles::short(process)), theme.bold());
    page.say("command", &words::argv(&process.args), plain);
    let exit = match (process.exit_code, process.end_ns) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(_)) => "how it ended is not known".to_owned(),
        (None, None) => "runs".to_owned(),
    };
    page.say(
        "pid",
        &format!("{} · {exit} · CPU {}", process.pid, duration_or_unknown(process.cpu_ns)),
        plain,
    );
    page.say(
        "when",
        &format!(
            "{}, {}",
            of.lasted(process.start_ns, process.end_ns),
            of.interval(process.start_ns, process.end_ns)
        ),
        plain,
    );
    if let Some(parent) = all.values().rfind(|other| other.pid == process.ppid) {
        let text = format!("{} (pid {})", roles::short(parent), parent.pid);
        page.link("child of", &text, plain, Target::Process(parent.start_ns, parent.pid));
    } else {
        page.say("child of", &format!("pid {}", process.ppid), plain);
    }
    for connection in of.command.connections.values().filter(|one| one.pid == process.pid).take(LINKS) {
        let text = format!("#{} to {}", connection.id, connection.host().unwrap_or("unknown host"));
        page.link("connection", &text, plain, Target::Connection(connection.id));
    }
    let mut children: Vec<_> = all.values().filter(|other| other.ppid == process.pid).collect();
    children.sort_by_key(|other| (Reverse(of.took(other.start_ns, other.end_ns)), other.pid));
    for child in children.iter().take(LINKS) {
        let package = roles::package(child).map_or_else(String::new, |package| format!(" {package}"));
        let took = of.lasted(child.start_ns, child.end_ns);
        let text = format!("{}{package} (pid {}), {took}", roles::short(child), child.pid);
        page.link("children", &text, plain, Target::Process(child.start_ns, child.pid));
    }
}

pub(super) fn stall(page: &mut Page, of: Of<'_>, index: usize) {
    let Some(stall) = of.stalls.get(index) else { return };
    let (theme, plain) = (of.theme, Style::new());
    page.prev = index.checked_sub(1).map(Target::Stall);
    page.next = (index + 1 < of.stalls.len()).then_some(Target::Stall(index + 1));
    let longest = of.stalls.iter().enumerate().max_by_key(|(index, stall)| (stall.cost_ns, Reverse(*index)));
    page.longest = longest.map(|(index, _)| Target::Stall(index));
    let cost = format!("{}, cost {}", words::severity(stall.severity), duration(stall.cost_ns));
    page.say("", &format!("{} · {cost}", stall.kind), theme.severity(stall.severity));
    page.say("what", &stall.summary, theme.bold());
    let until = if stall.end_ns >= of.now { None } else { Some(stall.end_ns) };
    page.say(
        "when",
        &format!("{} · {}", of.interval(stall.start_ns, until), words::phase(stall.phase)),
        plain,
    );
    for evidence in &stall.evidence {
        page.say("evidence", &evidence.to_string(), plain);
    }
    page.say("do", &stall.advice, plain);
    for remedy in &stall.remedies {
        page.say("try", &format!("{}: {}", remedy.name, remedy.why), plain);
        page.say("", &remedy.attempt, theme.command());
    }
    page.say("more", &format!("goobserve explain {}", stall.kind), theme.dim());
    if let Some(host) = &stall.host {
        page.link("host", host, plain, Target::Host(host.clone()));
    }
    let then = |request: &model::record::Request| {
        request.class.phase() == stall.phase
            && request.start_ns <= stall.end_ns
            && request.end_ns.is_none_or(|end| end >= stall.start_ns)
    };
    super::connection::requests(page, of, then);
    let queries = of.command.dns.iter().filter(|(_, query)| {
        let dns = &query.record;
        stall.phase == model::record::Phase::Dns
            && dns.start_ns <= stall.end_ns
            && dns.end_ns.or(query.given_up_ns).is_none_or(|end| end >= stall.start_ns)
    });
    for (id, query) in queries.take(LINKS) {
        let took = of.lasted(query.record.start_ns, query.record.end_ns.or(query.given_up_ns));
        let text = format!("{}, {took}", label(of.command, lanes::Id::Dns(*id)));
        page.link("queries", &text, plain, Target::Query(*id));
    }
}
