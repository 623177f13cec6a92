//! Any recording: lines of real ones with other values in them, and any bytes behind. What it says
//! of phases adds up, and nothing in it reaches a terminal or a page as it is.
#![no_main]

use model::json::is_hidden;
use diagnose::report::report;
use model::report::Report;
use model::State;
use pipeline::replay::Replay;
use render::{html::html, json::json, lines::Lines, markdown::markdown, page, perfetto::perfetto, text::text};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Most kinds of events.
const RECORDINGS: [&str; 6] = [
    include_str!("../../data/recordings/cache-lock-wait.jsonl"),
    include_str!("../../data/recordings/dns-slow-local-resolver.jsonl"),
    include_str!("../../data/recordings/h2-stream-reset.jsonl"),
    include_str!("../../data/recordings/path-dead.jsonl"),
    include_str!("../../data/recordings/vcs-waiting.jsonl"),
    include_str!("../../data/recordings/zero-window.jsonl"),
];
const STRINGS: [&str; 8] =
    ["", "\u{1b}[2J", "a\u{202e}b", "<script>`|*", "https://me:secret@x.test/?a=b", "[::1]:443", "…", "git"];

/// Which line, and which of its values become what.
type Line = (u16, Vec<(u16, u8, u64)>);

/// The values in a line, in order.
fn leaves(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Array(values) => values.iter_mut().flat_map(leaves).collect(),
        Value::Object(values) => values.values_mut().flat_map(leaves).collect(),
        leaf => vec![leaf],
    }
}

fn line(lines: &[&str], (at, changes): &Line) -> String {
    let mut value: Value = serde_json::from_str(lines[usize::from(*at) % lines.len()]).unwrap();
    for (leaf, kind, number) in changes {
        let mut leaves = leaves(&mut value);
        let count = leaves.len();
        *leaves[usize::from(*leaf) % count] = match kind % 5 {
            0 => Value::Null,
            1 => Value::Bool(number % 2 == 0),
            2 => (*number).into(),
            3 => (number % 20_000_000_000).into(),
            _ => STRINGS[*number as usize % STRINGS.len()].into(),
        };
    }
    value.to_string()
}

fuzz_target!(|input: (u8, Vec<Line>, Vec<u8>)| {
    let (which, changed, tail) = input;
    let lines: Vec<&str> = RECORDINGS[usize::from(which) % RECORDINGS.len()].lines().collect();
    let mut bytes = lines[0].as_bytes().to_vec();
    for change in &changed {
        bytes.push(b'\n');
        bytes.extend(line(&lines, change).into_bytes());
    }
    bytes.push(b'\n');
    bytes.extend(tail);

    let Ok(replay) = Replay::new(bytes.as_slice()) else { return };
    let (mut state, mut view) = (State::new(), Lines::new());
    let is_clean = |text: &str| assert!(!text.contains(|c| c != '\n' && is_hidden(c)), "{text:?}");
    for event in replay.map_while(Result::ok) {
        state.apply(&event);
        view.line(&state, &event).iter().for_each(|line| is_clean(line));
    }
    let reported = report(&state);
    for command in &reported.commands {
        let sum: u128 = command.phases.iter().map(|phase| u128::from(phase.blocked_ns)).sum();
        assert_eq!(sum, u128::from(command.wall_ns));
    }
    is_clean(&text(&reported, page::Options { width: 80, color: false }));
    is_clean(&markdown(&reported));
    is_clean(&html(&reported, &state));
    serde_json::from_str::<Value>(&perfetto(&reported, &state).unwrap()).unwrap();
    serde_json::from_str::<Report>(&json(&reported).unwrap()).unwrap();
});
