//! A state in, `goobserve.report/1` out, stalls included.

use std::sync::Arc;

use model::id::CommandId;
use model::operations::Threads;
use model::report::{self, Command, Report, SCHEMA};
use model::state::{CommandState, State};
use model::time::SinceStart;

use crate::{Diagnosis, Seen, diagnose};

/// The report of all that is known.
pub fn report(state: &State) -> Report {
    report_of(state, |_| None)
}

/// As [`report()`]; `seen` is the latest diagnosis of a command, if there was one.
pub fn report_of<'a>(state: &State, seen: impl Fn(CommandId) -> Option<&'a Seen>) -> Report {
    let session = state.session();
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        tool: session.map_or_else(String::new, |session| session.tool.clone()),
        started_unix_ns: session.map_or(0, |session| session.started_unix_ns),
        recording_id: session.and_then(|session| session.recording_id.clone()),
        duration_ns: state.duration_ns(),
        machine: session.map(|session| session.machine.clone()).unwrap_or_default(),
        remedies: session.map(|session| session.remedies.clone()).unwrap_or_default(),
        loss: state.loss(),
        ..Report::default()
    };
    let mut dns = Vec::new();
    let mut requests = Vec::new();
    for (id, command) in state.commands() {
        let now = state.until();
        let ended = command.record.as_ref().is_some_and(|record| record.wall_ns.is_some());
        let seen =
            seen(id).filter(|seen| ended && seen.is_of(command, now)).map(|seen| Arc::clone(&seen.diagnosis));
        let diagnosis = seen.unwrap_or_else(|| Arc::new(diagnose(command, now, Threads::Unknown)));
        report.commands.extend(described(command, &diagnosis));
        report.processes.extend(command.processes.values().cloned());
        dns.extend(command.dns.values().map(|query| &query.record));
        report.connections.extend(command.connections.values().cloned());
        requests.extend(command.requests.values());
    }
    dns.sort_by_key(|dns| dns.id);
    requests.sort_by_key(|request| request.id);
    report.dns = dns.into_iter().cloned().collect();
    report.requests = requests.into_iter().map(|request| (**request).clone()).collect();
    report.connections.sort_by_key(|connection| connection.id);
    report.processes.sort_by_key(|process| (process.start_ns, process.pid));
    report
}

/// One command's part of the report, seen at `now`; `None` while only its spans are known.
pub fn command(state: &CommandState, now: SinceStart) -> Option<Command> {
    described(state, &diagnose(state, now, Threads::Unknown))
}

fn described(state: &CommandState, diagnosis: &Diagnosis) -> Option<Command> {
    let (record, split) = (state.record.as_ref()?, diagnosis.split.as_ref()?);
    let stalls = diagnosis.stalls.iter().map(|found| found.stall.clone()).collect();
    let gaps = state.gaps.clone();
    let (blame, blame_why) = diagnosis.blame.clone().unzip();
    Some(Command { gaps, stalls, blame, blame_why, ..report::described(record, split) })
}
