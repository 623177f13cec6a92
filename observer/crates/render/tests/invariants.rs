//! No two figures of a report contradict each other: of every recording kept, of each of them at any
//! moment of its run, and of each with records lost.

#[path = "invariants/rules.rs"]
mod rules;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use diagnose::report::report;
use model::event::{Body, CommandUpdate, Event};
use model::record::{Gap, Loss};
use model::time::Ns;
use model::{Report, State};
use pipeline::replay::Replay;
use proptest::prelude::*;

/// Every recording kept, with its name.
fn recordings() -> &'static [(String, Vec<Event>)] {
    static ALL: OnceLock<Vec<(String, Vec<Event>)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/data/recordings");
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let read = |path: PathBuf| {
            let bytes = std::fs::read(&path).unwrap();
            let events = Replay::new(&bytes[..]).unwrap();
            (path.display().to_string(), events.collect::<Result<_, _>>().unwrap())
        };
        paths.into_iter().map(read).collect()
    })
}

fn reported<'a>(events: impl IntoIterator<Item = &'a Event>) -> Report {
    let mut state = State::new();
    events.into_iter().for_each(|event| state.apply(event));
    report(&state)
}

#[test]
fn no_recording_contradicts_itself() {
    let mut wrong = Vec::new();
    for (name, events) in recordings() {
        for found in rules::contradictions(&reported(events)) {
            wrong.push(format!("{name}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

/// The events with those from `from` to `to` lost, and what the correlator says of such a gap.
fn with_gap(events: &[Event], from: usize, to: usize) -> Vec<Event> {
    let mut kept = events[..from].to_vec();
    let behind = &events[to..];
    let end_ns = behind.first().map_or(kept[from - 1].at_ns, |event| event.at_ns);
    let start_ns = kept[from - 1].at_ns;
    let mut running = std::collections::BTreeMap::new();
    for event in &kept {
        if let Body::Command(update) = &event.body {
            running.insert(update.command.id, update.command.clone());
        }
    }
    for command in running.into_values().filter(|command| command.wall_ns.is_none()) {
        let gaps = vec![Gap { start_ns: start_ns.max(command.start_ns), end_ns, idle_ns: None }];
        kept.push(Event {
            at_ns: end_ns,
            body: Body::Command(CommandUpdate { command, idle: Vec::new(), gaps }),
        });
    }
    let loss = Loss { kernel_events_lost: (to - from) as u64, ..Loss::default() };
    kept.push(Event { at_ns: end_ns, body: Body::Loss(loss) });
    kept.extend(behind.iter().filter(|event| !matches!(event.body, Body::Loss(_))).cloned());
    kept
}

fn pick(events: usize, at: f64) -> usize {
    1 + (at * (events - 2) as f64) as usize
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_recording_that_was_cut_off_contradicts_itself(which in 0..69_usize, at in 0.0..1.0) {
        let (name, events) = &recordings()[which % recordings().len()];
        // What comes at one moment belongs together.
        let last = events[pick(events.len(), at)].at_ns;
        let cut = events.iter().take_while(|event| event.at_ns <= last);
        let wrong = rules::contradictions(&reported(cut));
        prop_assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    }

    #[test]
    fn no_recording_with_records_lost_contradicts_itself(
        which in 0..69_usize, at in 0.0..1.0, length in 0.0..0.5,
    ) {
        let (name, events) = &recordings()[which % recordings().len()];
        let from = pick(events.len(), at);
        let to = (from + (length * events.len() as f64) as usize).min(events.len() - 1);
        let report = reported(&with_gap(events, from, to));
        let wrong = rules::contradictions(&report);
        prop_assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
        let lost: Ns = report.commands.iter().map(|command| command.gaps.len() as u64).sum();
        prop_assert!(lost <= report.commands.len() as u64);
    }
}
