//! Large recordings of made-up commands, for benches of what reads them. In: how many requests, of which
//! shape. Out: a file.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context, Result};
use model::event::{Body, CommandUpdate, End, Event, Session};
use model::id::{CommandId, ConnectionId, DnsId, Pid, RequestId};
use model::record::{self, Class, Command, Connection, Local, Machine, Request, RequestOutcome};
use model::time::SinceStart;
use pipeline::record::{Recorder, SCHEMA};

const MS: u64 = 1_000_000;

/// A recording of a cold download of that many requests, 2 ms each.
///
/// A shape is its name, requests for a connection, status of an answer, different paths.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &Path, requests: u64, (_, each, status, paths): (&str, u64, u16, u64)) -> Result<()> {
    let session = Session {
        recording_id: None,
        schema: SCHEMA.to_owned(),
        tool: "goobserve".to_owned(),
        started_unix_ns: 1,
        machine: Machine::default(),
        remedies: Vec::new(),
        redacted: true,
    };
    let mut recorder = Recorder::new(BufWriter::new(File::create(file)?), "recording", &session);
    let mut report = |at_ns, body| recorder.write(&Event { at_ns, body });
    let argv = ["go", "mod", "download"].map(str::to_owned).to_vec();
    let mut command =
        Command { id: CommandId(1), pid: Pid(1), argv, local: Some(Local::default()), ..Command::default() };
    let process = record::Process {
        command: CommandId(1),
        pid: Pid(1),
        comm: "go".into(),
        ..record::Process::default()
    };
    report(SinceStart(0), Body::Process(process));
    let mut connection = Connection::default();
    for n in 0..requests {
        let (at, id) = (SinceStart((n + 1) * 2 * MS), u32::try_from(n / each + 1)?);
        if connection.id != ConnectionId(id) {
            report(at, Body::Connection(Connection { end_ns: Some(at), ..connection }));
            report(at, Body::Dns(lookup(id, at - 2 * MS, at - MS)));
            connection = dialed(id, at - MS, u32::try_from(each.min(requests))?);
            report(at, Body::Connection(connection.clone()));
        }
        let mut request = Request {
            command: CommandId(1),
            id: RequestId(u32::try_from(n + 1)?),
            pid: Pid(1),
            connection: Some(ConnectionId(id)),
            method: Some("GET".into()),
            authority: Some("proxy.test".into()),
            path: Some(format!("/example.com/m{}/@v/v1.0.0.zip", n % paths)),
            class: Class::Zip,
            module: Some(format!("example.com/m{}", n % paths)),
            version: Some("v1.0.0".into()),
            start_ns: at,
            ..Request::default()
        };
        report(at, Body::Request(request.clone()));
        (request.first_byte_ns, request.end_ns) = (Some(at + MS), Some(at + 2 * MS - 1000));
        (request.status, request.bytes) = (Some(status), Some(1000));
        request.outcome = if status < 400 { RequestOutcome::Ok } else { RequestOutcome::Error };
        report(at + 2 * MS - 1000, Body::Request(request));
        let idle = vec![(at + 1000, at + MS - 1000), (at + MS + 1000, at + 2 * MS - 2000)];
        report(
            at + 2 * MS,
            Body::Command(CommandUpdate { command: command.clone(), idle, gaps: Vec::new() }),
        );
    }
    let duration_ns = (requests + 2) * 2 * MS;
    (command.wall_ns, command.exit_code) = (Some(duration_ns), Some(0));
    report(
        SinceStart(duration_ns),
        Body::Command(CommandUpdate { command, idle: Vec::new(), gaps: Vec::new() }),
    );
    report(SinceStart(duration_ns), Body::End(End { duration_ns }));
    recorder.flush()?;
    recorder.into_inner().flush().context("cannot write the recording")
}

fn lookup(id: u32, start_ns: SinceStart, end_ns: SinceStart) -> record::Dns {
    record::Dns {
        command: CommandId(1),
        id: DnsId(id),
        pid: Pid(1),
        server: "192.0.2.53:53".into(),
        name: "proxy.test".into(),
        qtype: "A".into(),
        attempt: 1,
        rcode: Some("NOERROR".into()),
        answers: Some(1),
        start_ns,
        end_ns: Some(end_ns),
        ..record::Dns::default()
    }
}

fn dialed(id: u32, start_ns: SinceStart, requests: u32) -> Connection {
    Connection {
        command: CommandId(1),
        id: ConnectionId(id),
        pid: Pid(1),
        comm: "go".into(),
        remote: "192.0.2.1:443".into(),
        server_name: Some("proxy.test".into()),
        alpn: Some("h2".into()),
        start_ns,
        connect_ns: Some(MS / 4),
        tls_start_ns: Some(start_ns + MS / 4),
        tls_ns: Some(MS / 2),
        rtt_ns: Some(MS),
        requests,
        ..Connection::default()
    }
}
