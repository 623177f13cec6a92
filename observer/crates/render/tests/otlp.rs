//! Spans over every recording of the repository, against what OTLP/JSON and the report say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use diagnose::report::report;
use model::State;
use pipeline::replay::Replay;
use render::otlp::{Message, Signal, messages};
use serde_json::Value;

fn recordings() -> Vec<(String, State)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/data/recordings");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        let mut state = State::new();
        Replay::new(&*bytes).unwrap().for_each(|event| state.apply(&event.unwrap()));
        (path.file_name().unwrap().to_string_lossy().into_owned(), state)
    };
    files.filter(|path| path.extension().is_some_and(|of| of == "jsonl")).map(read).collect()
}

fn spans(messages: &[Message]) -> Vec<Value> {
    let mut all = Vec::new();
    for message in messages.iter().filter(|message| message.signal == Signal::Traces) {
        let value: Value = serde_json::from_str(&message.body).unwrap();
        all.extend(value["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().iter().cloned());
    }
    all
}

fn attribute<'a>(of: &'a Value, key: &str) -> Option<&'a Value> {
    let found = of["attributes"].as_array()?.iter().find(|attribute| attribute["key"] == key)?;
    found["value"].as_object()?.values().next()
}

fn number(of: &Value, key: &str) -> Option<u64> {
    of[key].as_str()?.parse().ok()
}

/// What a collector refuses whole: `null`, ids that are none, numbers with a fraction.
fn check(name: &str, value: &Value) {
    match value {
        Value::Null => panic!("{name}: null"),
        Value::Object(object) => object.iter().for_each(|(key, value)| {
            if let Some(length) = [("traceId", 32), ("spanId", 16), ("parentSpanId", 16)]
                .iter()
                .find_map(|(id, length)| (id == key).then_some(*length))
            {
                let id = value.as_str().unwrap();
                assert!(
                    id.len() == length && id.bytes().all(|b| b.is_ascii_hexdigit()),
                    "{name}: {key} {id}"
                );
                assert!(id.bytes().any(|b| b != b'0'), "{name}: {key}");
            }
            check(name, value);
        }),
        Value::Array(array) => array.iter().for_each(|value| check(name, value)),
        Value::Number(number) => assert!(number.is_u64(), "{name}: {number}"),
        _ => {}
    }
}

#[test]
fn every_span_has_its_parent_and_the_reports_times() {
    for (name, state) in recordings() {
        let report = report(&state);
        let messages = messages(&report, &state).unwrap();
        messages.iter().for_each(|message| check(&name, &serde_json::from_str(&message.body).unwrap()));
        let spans = spans(&messages);
        let ids: BTreeSet<(&str, &str)> = spans
            .iter()
            .map(|span| (span["traceId"].as_str().unwrap(), span["spanId"].as_str().unwrap()))
            .collect();
        assert_eq!(ids.len(), spans.len(), "{name}: two spans of one id");
        for span in &spans {
            assert!(number(span, "startTimeUnixNano") <= number(span, "endTimeUnixNano"), "{name}: {span}");
            if let Some(parent) = span["parentSpanId"].as_str() {
                assert!(ids.contains(&(span["traceId"].as_str().unwrap(), parent)), "{name}: {span}");
            } else {
                assert!(attribute(span, "goobserve.wall_ns").is_some(), "{name}: {span}");
            }
            for link in span["links"].as_array().into_iter().flatten() {
                let id = (link["traceId"].as_str().unwrap(), link["spanId"].as_str().unwrap());
                assert!(ids.contains(&id), "{name}: {span}");
            }
        }
        let at = |ns: u64| report.started_unix_ns + ns;
        let of = |kind: &str| spans.iter().filter(|span| attribute(span, kind).is_some()).collect::<Vec<_>>();
        let mut times: BTreeMap<(u64, Option<u64>), usize> = BTreeMap::new();
        for request in &report.requests {
            *times.entry((at(request.start_ns.0), request.end_ns.map(|end| at(end.0)))).or_default() += 1;
        }
        let requests = of("goobserve.request.class");
        assert_eq!(requests.len(), report.requests.len(), "{name}");
        for span in requests {
            let time = (number(span, "startTimeUnixNano").unwrap(), number(span, "endTimeUnixNano"));
            assert!(times.contains_key(&time) || times.contains_key(&(time.0, None)), "{name}: {span}");
        }
        assert_eq!(of("dns.question.name").len(), report.dns.len(), "{name}");
        assert_eq!(of("goobserve.wall_ns").len(), report.commands.len(), "{name}");
        let stalls = report.commands.iter().map(|command| command.stalls.len()).sum::<usize>();
        let logs =
            messages.iter().filter(|message| message.signal == Signal::Logs).map(|message| message.items);
        assert_eq!(logs.sum::<usize>(), stalls, "{name}");
    }
}

#[test]
fn the_same_recording_gives_the_same_ids_and_a_parent_is_taken_over() {
    let (_, state) =
        recordings().into_iter().find(|(name, _)| name == "dns-slow-local-resolver.jsonl").unwrap();
    let mut report = report(&state);
    assert_eq!(messages(&report, &state).unwrap(), messages(&report, &state).unwrap());
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    report.commands[0].go.caller = Some(Box::new(model::caller::Caller {
        trace_id: Some(trace.into()),
        parent_span_id: Some(parent.into()),
        trace_flags: Some(1),
        trace_state: Some("vendor=1".into()),
        job: None,
    }));
    let spans = spans(&messages(&report, &state).unwrap());
    assert!(spans.iter().all(|span| span["traceId"] == trace && span["traceState"] == "vendor=1"));
    let roots: Vec<_> = spans.iter().filter(|span| span["parentSpanId"] == parent).collect();
    assert_eq!(roots.len(), 1);
    assert_eq!(roots[0]["flags"], 0x301);
    // A query of a local resolver lies inside the one that it was made for.
    let own: BTreeSet<_> = spans
        .iter()
        .filter(|span| span["name"].as_str().unwrap().starts_with("DNS lookup"))
        .map(|span| span["spanId"].as_str())
        .collect();
    assert!(spans.iter().any(|span| own.contains(&span["parentSpanId"].as_str())));
}
