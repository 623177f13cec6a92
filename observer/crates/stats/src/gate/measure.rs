//! Reports of one call in, a [`Recording`] out: what of them the gate compares.

use std::collections::BTreeMap;

use model::id::Pid;
use model::record::Class;
use model::report::{Connection, Report, Request};

use super::baseline::{Finding, Recording, Requests, Run, Settings};
use super::module::Module;

/// What reports do not report.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Around {
    /// The kernel's name of the CPU
    pub cpu: Option<String>,
    /// Hash of go.mod
    pub go_mod: Option<String>,
    /// Hash of go.sum
    pub go_sum: Option<String>,
    /// What go.mod asks for
    pub module: Option<Module>,
}

/// What a run's own gateway is called: its address is another one each time.
const GATEWAY: &str = "gateway";

/// The recording of some runs; `None` without any.
pub fn recording(reports: &[Report], around: &Around) -> Option<Recording> {
    let reports: Vec<Report> = reports.iter().map(with_gateway_named).collect();
    let first = reports.first()?;
    let mut recording = Recording {
        started_unix_ns: first.started_unix_ns,
        machine: first.machine.clone(),
        cpu: around.cpu.clone(),
        settings: settings(first, around),
        requests: Vec::new(),
        runs: Vec::new(),
        findings: Vec::new(),
    };
    for report in &reports {
        let requests = requests(report);
        let known = recording.requests.iter().position(|known| *known == requests);
        let index = known.unwrap_or(recording.requests.len());
        if known.is_none() {
            recording.requests.push(requests);
        }
        recording.runs.push(run(report, index));
        findings(&mut recording.findings, report);
    }
    Some(recording)
}

/// The report with [`GATEWAY`] in the place of its gateway's address, which the secret part of GOPROXY's path shows.
fn with_gateway_named(report: &Report) -> Report {
    let mut report = report.clone();
    let proxies = report.commands.first().and_then(|command| command.go.goproxy.clone());
    let address = proxies.as_deref().and_then(|list| {
        let (address, _) = list.strip_prefix("http://127.0.0.1:")?.split_once("/…/")?;
        address.parse::<u16>().ok()
    });
    let Some(address) = address.map(|port| format!("127.0.0.1:{port}")) else { return report };
    let name = |text: &mut String| *text = text.replace(&address, GATEWAY);
    report.requests.iter_mut().filter_map(|request| request.authority.as_mut()).for_each(name);
    for command in &mut report.commands {
        command.go.goproxy.as_mut().map(name);
        command.hosts.iter_mut().for_each(|host| name(&mut host.host));
        for stall in &mut command.stalls {
            stall.host.as_mut().map(name);
            name(&mut stall.summary);
        }
    }
    report
}

fn settings(report: &Report, around: &Around) -> Settings {
    let go = report.commands.first().map(|command| command.go.clone()).unwrap_or_default();
    Settings {
        go_version: go.version,
        gomaxprocs: go.gomaxprocs,
        goproxy: go.goproxy,
        gosumdb: go.gosumdb,
        goflags: go.goflags,
        godebug: go.godebug,
        go_mod: around.go_mod.clone(),
        go_sum: around.go_sum.clone(),
        module: around.module.clone(),
        go_command: go_command(report),
    }
}

/// The topmost go commands, without `-C FOLDER`: with the same words both sides do the same.
fn go_command(report: &Report) -> Option<String> {
    let is_go = |args: &[String]| args.first().is_some_and(|word| word == "go" || word.ends_with("/go"));
    let all: Vec<_> = report.processes.iter().filter(|process| is_go(&process.args)).collect();
    let below = |ppid: Pid| all.iter().any(|other| other.pid == ppid);
    let mut texts: Vec<String> = Vec::new();
    for process in all.iter().filter(|process| !below(process.ppid)) {
        let mut words = process.args.iter().skip(1).map(String::as_str).peekable();
        let mut text = "go".to_owned();
        if let Some(flag) =
            words.next_if(|word| word.trim_start_matches('-').starts_with('C') && word.starts_with('-'))
            && !flag.contains('=')
        {
            words.next();
        }
        words.for_each(|word| text = format!("{text} {word}"));
        texts.push(text);
    }
    (!texts.is_empty()).then(|| texts.join("; "))
}

fn run(report: &Report, requests: usize) -> Run {
    let command = report.commands.first();
    let phases = command.into_iter().flat_map(|command| &command.phases);
    let hosts = command.into_iter().flat_map(|command| &command.hosts);
    let tiles = report.requests.iter().filter(|request| request.class == Class::SumdbTile);
    let again = |connection: &Connection| {
        u64::from(connection.syn_retransmits)
            + u64::from(connection.retransmits)
            + u64::from(connection.received_out_of_order.unwrap_or(0))
    };
    let loss = report.loss;
    let is_unknown = |request: &&Request| {
        request.path.is_none() || request.first_byte_ns.is_some() && request.status.is_none()
    };
    let unknown = report.requests.iter().filter(is_unknown).count() as u64;
    Run {
        wall_ns: super::wall_ns(report),
        phases: phases
            .filter(|share| share.blocked_ns > 0)
            .map(|share| (share.phase, share.blocked_ns))
            .collect(),
        hosts: hosts.map(|host| (host.host.clone(), host.blocked_ns)).collect(),
        connections: report.connections.len() as u64,
        dns: report.dns.iter().filter(|query| query.on_behalf_of.is_none()).count() as u64,
        tiles: tiles.count() as u64,
        retransmissions: report.connections.iter().map(again).sum(),
        requests,
        unseen: loss.kernel_events_lost
            + loss.events_undecoded
            + loss.connections_joined_late
            + loss.programs_unexamined
            + unknown,
    }
}

fn requests(report: &Report) -> Vec<Requests> {
    let mut counts: BTreeMap<_, u64> = BTreeMap::new();
    for request in &report.requests {
        let module = (request.module.clone(), request.version.clone());
        let key = (request.class, request.authority.clone(), request.status, module);
        *counts.entry(key).or_default() += 1;
    }
    let requests = |((class, host, status, (module, version)), count)| Requests {
        class,
        host,
        status,
        module,
        version,
        count,
    };
    counts.into_iter().map(requests).collect()
}

/// Names of private modules that left in runs of which nothing else is compared: those that failed.
pub fn private_names<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Vec<Finding> {
    let mut found = Vec::new();
    reports.into_iter().for_each(|report| findings(&mut found, report));
    found.retain(Finding::is_private_name);
    found
}

fn findings(known: &mut Vec<Finding>, report: &Report) {
    let mut seen = Vec::new();
    for stall in report.commands.iter().flat_map(|command| &command.stalls) {
        let finding = Finding {
            kind: stall.kind.clone(),
            phase: stall.phase,
            host: stall.host.clone(),
            summary: stall.summary.clone(),
            runs: 1,
        };
        if seen.iter().any(|seen: &Finding| seen.is_same(&finding)) {
            continue;
        }
        seen.push(finding.clone());
        match known.iter_mut().find(|known| known.is_same(&finding)) {
            Some(known) => known.runs += 1,
            None => known.push(finding),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::State;
    use model::record::Phase;
    use pipeline::replay::Replay;

    use super::*;

    fn download() -> Report {
        let mut state = State::new();
        let bytes: &[u8] = include_bytes!("../../../render/tests/data/download.jsonl");
        Replay::new(bytes).unwrap().for_each(|event| state.apply(&event.unwrap()));
        diagnose::report::report(&state)
    }

    #[test]
    fn a_run_has_what_its_report_says() {
        let report = download();
        let recording = recording(&[report.clone(), report.clone()], &Around::default()).unwrap();
        let run = &recording.runs[0];
        assert_eq!(run.wall_ns, report.commands[0].wall_ns);
        assert_eq!(run.phases.values().sum::<u64>(), run.wall_ns);
        assert!(run.phases.contains_key(&Phase::Proxy) && run.hosts.contains_key("proxy.test"));
        assert_eq!(run.connections, report.connections.len() as u64);
        // Equal runs share their set of requests.
        assert_eq!((recording.requests.len(), recording.runs[1].requests), (1, 0));
        let counted: u64 = recording.requests_of(run).iter().map(|requests| requests.count).sum();
        assert_eq!(counted, report.requests.len() as u64);
    }

    #[test]
    fn other_requests_are_another_set() {
        let (one, mut other) = (download(), download());
        other.requests[0].status = Some(418);
        let recording = recording(&[one, other], &Around::default()).unwrap();
        assert_eq!((recording.requests.len(), recording.runs[1].requests), (2, 1));
        assert_eq!(super::recording(&[], &Around::default()), None);
    }

    #[test]
    fn runs_with_gateways_of_their_own_have_the_same_requests() {
        let through = |proxy: &str, host: &str| {
            let mut report = download();
            report.commands[0].go.goproxy = Some(proxy.to_owned());
            report.requests.iter_mut().for_each(|request| request.authority = Some(host.to_owned()));
            report
        };
        let gateway = |host: &str| through(&format!("http://{host}/…/0,direct"), host);
        let one =
            recording(&[gateway("127.0.0.1:4001"), gateway("127.0.0.1:4002")], &Around::default()).unwrap();
        assert_eq!(one.requests.len(), 1);
        assert!(one.requests[0].iter().all(|requests| requests.host.as_deref() == Some(GATEWAY)));
        assert_eq!(one.settings.goproxy.as_deref(), Some("http://gateway/…/0,direct"));
        // What has no secret part is somebody's own proxy.
        let own = |host: &str| through(&format!("http://{host}/0"), host);
        let two = recording(&[own("127.0.0.1:4001"), own("127.0.0.1:4002")], &Around::default()).unwrap();
        assert_eq!(two.requests.len(), 2);
    }
}
