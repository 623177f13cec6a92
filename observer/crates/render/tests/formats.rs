//! What programs read, over every recording that the repository holds: each line and each report by its published
//! schema, and of a recording's lines each field of one type, whatever line it is in (a column of a database is).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use diagnose::report::report;
use model::State;
use model::blocked::blocked;
use model::event::{Body, Event};
use pipeline::record::{Recorder, SCHEMA};
use pipeline::replay::Replay;
use serde_json::Value;

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").join(path)
}

/// Every recording, its name first.
fn recordings() -> Vec<(String, Vec<Event>)> {
    let files = std::fs::read_dir(folder("tests/data/recordings")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        let events = Replay::new(&*bytes).unwrap().map(Result::unwrap).collect();
        (path.file_name().unwrap().to_string_lossy().into_owned(), events)
    };
    let all: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|of| of == "jsonl")).map(read).collect();
    assert!(all.len() > 80, "{}", all.len());
    all
}

fn state(events: &[Event]) -> State {
    let mut state = State::new();
    events.iter().for_each(|event| state.apply(event));
    state
}

/// Its lines as this version writes them.
fn lines(events: &[Event]) -> Vec<Value> {
    let Body::Session(session) = &events[0].body else { panic!("no session first") };
    let mut session = session.clone();
    SCHEMA.clone_into(&mut session.schema);
    let mut recorder = Recorder::new(Vec::new(), "memory", &session);
    events.iter().for_each(|event| recorder.write(event));
    let state = state(events);
    for one in state.commands().flat_map(|(_, command)| blocked(command)) {
        recorder.write(&Event { at_ns: state.until(), body: Body::Blocked(one) });
    }
    recorder.flush().unwrap();
    let text = recorder.into_inner();
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn validator(schema: &str) -> jsonschema::Validator {
    let path = folder("observer/schema").join(format!("{schema}.schema.json"));
    jsonschema::validator_for(&serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).unwrap()
}

fn kind(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    })
}

#[test]
fn every_recording_and_its_report_are_as_their_schemas_say() {
    let (recording, reports) = (validator("recording"), validator("report"));
    for (name, events) in recordings() {
        for line in lines(&events) {
            if let Err(error) = recording.validate(&line) {
                panic!("{name}: {error} in {line}");
            }
        }
        let report = serde_json::to_value(report(&state(&events))).unwrap();
        if let Err(error) = reports.validate(&report) {
            panic!("{name}: {error} at {}", error.instance_path());
        }
    }
}

#[test]
fn a_field_has_one_type_whatever_line_it_is_in() {
    fn enter(fields: &mut BTreeMap<String, (&'static str, String)>, path: &str, value: &Value, line: &Value) {
        if let Some(kind) = kind(value) {
            let (have, first) = fields.entry(path.to_owned()).or_insert_with(|| (kind, line.to_string()));
            assert_eq!(*have, kind, "{path}: {first}\n{line}");
        }
        match value {
            Value::Object(object) => {
                object.iter().for_each(|(key, value)| enter(fields, &format!("{path}.{key}"), value, line));
            }
            Value::Array(array) => {
                array.iter().for_each(|value| enter(fields, &format!("{path}[]"), value, line));
            }
            _ => {}
        }
    }
    let mut fields = BTreeMap::new();
    for line in recordings().iter().flat_map(|(_, events)| lines(events)) {
        enter(&mut fields, "", &line, &line);
    }
    assert!(fields.len() > 100, "{}", fields.len());
}

#[test]
fn what_a_recording_says_was_waited_for_adds_up_to_the_report() {
    let mut hosts = 0;
    for (name, events) in recordings() {
        let state = state(&events);
        for command in report(&state).commands.iter().filter(|command| command.ended) {
            let all = blocked(state.command(command.id).unwrap());
            let sum: u64 = all.iter().map(|one| one.blocked_ns).sum();
            assert_eq!(sum, command.wall_ns, "{name}");
            for share in &command.hosts {
                let of = all.iter().filter(|one| one.host.as_deref() == Some(&share.host));
                assert_eq!(
                    of.map(|one| one.blocked_ns).sum::<u64>(),
                    share.blocked_ns,
                    "{name}: {}",
                    share.host
                );
                hosts += 1;
            }
        }
    }
    assert!(hosts > 80, "{hosts}");
}
