//! What a pass of the detectors at a command costs: `passes [REQUESTS…]`. For each number of
//! requests, a command that goes on with that many, hundreds of them in flight; out comes the
//! median of so many passes, CPU time.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use diagnose::live::Reporter;
use model::State;
use model::event::{Body, CommandUpdate, Event};
use model::id::{CommandId, ConnectionId, Pid, RequestId};
use model::record::{Class, Command, Connection, Go, Local, Process, Protocol, Request, RequestOutcome};
use model::time::SinceStart;
use nix::time::{ClockId, clock_gettime};
use tests::bench::args::Args;

const MS: u64 = 1_000_000;
/// Looks that the median is of.
const PASSES: u64 = 41;

fn main() -> Result<()> {
    let args = Args::read("passes [REQUESTS…]")?;
    let mut sizes: Vec<u64> =
        args.names.iter().map(|n| n.parse().with_context(|| format!("{n}?"))).collect::<Result<_>>()?;
    if sizes.is_empty() {
        sizes = vec![100, 1_223, 10_000, 50_000];
    }
    println!("{:>9} {:>12} {:>12}", "requests", "median", "longest");
    for requests in sizes {
        let mut passes = passes(requests);
        passes.sort_unstable();
        let (median, longest) = (passes[passes.len() / 2], passes[passes.len() - 1]);
        println!("{requests:>9} {median:>12.2?} {longest:>12.2?}");
    }
    Ok(())
}

/// A pass after each new request.
fn passes(requests: u64) -> Vec<Duration> {
    let mut state = State::new();
    let mut report = |at_ns, body| state.apply(&Event { at_ns, body });
    let command = Command {
        id: CommandId(1),
        pid: Pid(1),
        argv: ["go", "mod", "download"].map(str::to_owned).to_vec(),
        go: Go { gosumdb: Some("sumdb.test".into()), gomaxprocs: Some(2), ..Go::default() },
        local: Some(Local::default()),
        ..Command::default()
    };
    let idle = (0..requests).map(|n| (SinceStart(n * MS), SinceStart(n * MS + MS / 2))).collect();
    report(SinceStart(0), Body::Command(CommandUpdate { command, idle, gaps: Vec::new() }));
    let process =
        |pid: u32| Process { command: CommandId(1), pid: Pid(pid), comm: "go".into(), ..Process::default() };
    report(SinceStart(0), Body::Process(process(1)));
    for id in 1..=2 {
        let connection = Connection {
            command: CommandId(1),
            id: ConnectionId(id),
            pid: Pid(1),
            remote: "192.0.2.1:443".into(),
            server_name: Some("proxy.test".into()),
            connect_ns: Some(MS),
            tls_start_ns: Some(SinceStart(MS)),
            tls_ns: Some(MS),
            rtt_ns: Some(MS),
            requests: requests as u32,
            ..Connection::default()
        };
        report(SinceStart(0), Body::Connection(connection));
    }
    let classes = [Class::Info, Class::Mod, Class::SumdbLookup, Class::SumdbTile, Class::Zip];
    let request = |n: u64| Request {
        command: CommandId(1),
        id: RequestId(n as u32),
        pid: Pid(1),
        connection: Some(ConnectionId(1)),
        protocol: Protocol::H2,
        stream: Some(n as u32 * 2 + 1),
        authority: Some("proxy.test".into()),
        path: Some(format!("/example.com/m{}/@v/v1.0.0.{}", n / 5, n % 5)),
        class: classes[(n % 5) as usize],
        module: Some(format!("example.com/m{}", n / 5)),
        version: Some("v1.0.0".into()),
        status: Some(200),
        start_ns: SinceStart(n * MS),
        // One in fifty is slow.
        first_byte_ns: Some(SinceStart((n + if n.is_multiple_of(50) { 400 } else { 2 }) * MS)),
        end_ns: Some(SinceStart((n + 401) * MS)),
        bytes: Some(10_000),
        outcome: RequestOutcome::Ok,
        ..Request::default()
    };
    (0..requests).for_each(|n| report(SinceStart(n * MS), Body::Request(request(n))));
    let mut reporter = Reporter::default();
    let pass = |n: u64| {
        let at_ns = SinceStart((requests + n) * MS);
        let open = Request { first_byte_ns: None, end_ns: None, ..request(requests + n) };
        state.apply(&Event { at_ns, body: Body::Request(open) });
        let begun = cpu_time();
        std::hint::black_box(reporter.due(
            &state,
            at_ns,
            &BTreeMap::new(),
            |_| Some(SinceStart(0)),
            |_| None,
        ));
        cpu_time().saturating_sub(begun)
    };
    (0..PASSES).map(pass).collect()
}

/// CPU time of this thread by now.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has it").into()
}
