//! Lines of a recording in; of each command that has ended its spans and its share of the counters out. A command is
//! let go of then: a watch of days takes no more than one of an hour.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use diagnose::report;
use model::State;
use model::event::Body;
use model::id::CommandId;
use model::report::Report;
use pipeline::replay::Replay;
use render::otlp;

use crate::deliver::Queue;
use crate::lock;
use crate::metrics::Metrics;

/// Events that were read and wait.
const EVENTS_MAX: usize = 1024;
/// What a command waited for is written right behind its end: after so long without an event all of it was.
const SETTLED: Duration = Duration::from_millis(500);

/// Reads to the end.
pub(crate) fn read(input: impl BufRead + Send + 'static, metrics: &Mutex<Metrics>, queue: &Queue) {
    let Ok(replay) = Replay::new(input) else { return };
    let (send, events) = mpsc::sync_channel(EVENTS_MAX);
    std::thread::spawn(move || replay.map_while(Result::ok).all(|event| send.send(event).is_ok()));
    let mut state = State::new();
    // Of these nothing more comes than what they waited for.
    let mut over = BTreeSet::new();
    loop {
        let event = match events.recv_timeout(SETTLED) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => {
                std::mem::take(&mut over).into_iter().for_each(|id| ended(&mut state, id, metrics, queue));
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let accounted = match &event.body {
            Body::Blocked(blocked) => Some(blocked.command),
            _ => None,
        };
        if accounted.is_none() {
            std::mem::take(&mut over).into_iter().for_each(|id| ended(&mut state, id, metrics, queue));
        }
        state.apply(&event);
        over.extend(accounted);
        let running = |(_, command): &(CommandId, &model::state::CommandState)| {
            command.record.as_ref().is_some_and(|record| record.wall_ns.is_none())
        };
        if matches!(event.body, Body::Command(_) | Body::Loss(_)) {
            let running = state.commands().filter(running).count();
            lock(metrics).now(running as u64, state.loss());
        }
    }
    let rest: Vec<_> = state.commands().map(|(id, _)| id).collect();
    rest.into_iter().for_each(|id| ended(&mut state, id, metrics, queue));
}

fn ended(state: &mut State, id: CommandId, metrics: &Mutex<Metrics>, queue: &Queue) {
    let Some(of) = state.command(id) else { return };
    let session = state.session();
    let report = Report {
        tool: session.map_or_else(String::new, |session| session.tool.clone()),
        started_unix_ns: session.map_or(0, |session| session.started_unix_ns),
        recording_id: session.and_then(|session| session.recording_id.clone()),
        machine: session.map(|session| session.machine.clone()).unwrap_or_default(),
        ..Report::default()
    };
    if let Some(command) = report::command(of, state.until()) {
        lock(metrics).command(&command, of);
        if queue.is_wanted() {
            if !otlp::is_sampled(&command) {
                lock(metrics).not_sampled();
            } else if let Ok(messages) = otlp::of_command(&report, &command, state) {
                messages.into_iter().for_each(|message| queue.put(message, metrics));
            }
        }
    }
    state.clear_command(id);
}
