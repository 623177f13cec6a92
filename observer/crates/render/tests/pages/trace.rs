//! The Perfetto trace, against a checker written from the Trace Event Format.

use std::collections::{BTreeMap, BTreeSet};

use diagnose::report::report;
use proptest::prelude::*;
use render::perfetto::perfetto;
use serde_json::Value;

use crate::{hostile, made};

type Track = (u64, u64);

/// What the format asks of a file, and what the viewers ask beyond it: complete events of a track
/// nest, and every process and track has a name.
fn check(text: &str) -> Result<Vec<Value>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let top = value.as_object().ok_or("no object")?;
    for key in top.keys() {
        if !["traceEvents", "displayTimeUnit", "otherData"].contains(&key.as_str()) {
            return Err(format!("{key} at the top"));
        }
    }
    if !top["displayTimeUnit"].as_str().is_some_and(|unit| ["ms", "ns"].contains(&unit)) {
        return Err("displayTimeUnit".into());
    }
    let events = top["traceEvents"].as_array().ok_or("traceEvents is no array")?;
    let (mut processes, mut names) = (BTreeSet::new(), BTreeMap::new());
    let mut spans: BTreeMap<Track, Vec<(u64, u64)>> = BTreeMap::new();
    let mut used = BTreeSet::new();
    for event in events {
        let wrong = |what: &str| format!("{what}: {event}");
        let number = |key: &str| event[key].as_f64().filter(|number| *number >= 0.0);
        let name = event["name"].as_str().filter(|name| !name.is_empty()).ok_or_else(|| wrong("name"))?;
        let pid = event["pid"].as_u64().ok_or_else(|| wrong("pid"))?;
        let track = (pid, event["tid"].as_u64().ok_or_else(|| wrong("tid"))?);
        if !event["cat"].is_string() || !(event["args"].is_null() || event["args"].is_object()) {
            return Err(wrong("cat or args"));
        }
        match event["ph"].as_str() {
            Some("M") => {
                let good = match name {
                    "process_name" => processes.insert(pid) || event["args"]["name"].is_string(),
                    "thread_name" => {
                        names.insert(track.1, pid).is_none() && event["args"]["name"].is_string()
                    }
                    "process_sort_index" | "thread_sort_index" => event["args"]["sort_index"].is_u64(),
                    _ => false,
                };
                if !good {
                    return Err(wrong("metadata"));
                }
            }
            Some("X") => {
                let ts = number("ts").ok_or_else(|| wrong("ts"))?;
                let dur = number("dur").ok_or_else(|| wrong("dur"))?;
                // As Perfetto does.
                let start = (ts * 1e3) as u64;
                spans.entry(track).or_default().push((start, start + (dur * 1e3) as u64));
                used.insert(track);
            }
            Some("C") => {
                number("ts").ok_or_else(|| wrong("ts"))?;
                if !event["args"]["requests"].is_u64() {
                    return Err(wrong("counter"));
                }
            }
            Some(ph @ ("s" | "f")) => {
                number("ts").ok_or_else(|| wrong("ts"))?;
                if !event["id"].is_u64() || (ph == "f") != (event["bp"] == "e") {
                    return Err(wrong("flow"));
                }
                used.insert(track);
            }
            Some("i") => {
                number("ts").ok_or_else(|| wrong("ts"))?;
                if !["g", "p", "t"].contains(&event["s"].as_str().unwrap_or_default()) {
                    return Err(wrong("scope"));
                }
                used.insert(track);
            }
            _ => return Err(wrong("ph")),
        }
    }
    for (pid, tid) in used {
        if !processes.contains(&pid) || names.get(&tid) != Some(&pid) {
            return Err(format!("no name: process {pid}, track {tid}"));
        }
    }
    for (track, mut spans) in spans {
        spans.sort_by_key(|(start, end)| (*start, std::cmp::Reverse(*end)));
        let mut open: Vec<(u64, u64)> = Vec::new();
        for span in spans {
            while open.last().is_some_and(|last| last.1 <= span.0) {
                open.pop();
            }
            if open.last().is_some_and(|last| span.1 > last.1) {
                return Err(format!("{span:?} crosses {open:?} on {track:?}"));
            }
            open.push(span);
        }
    }
    Ok(events.clone())
}

#[test]
fn the_trace_keeps_the_format_and_has_processes_connections_streams_marks_and_stalls() {
    let (report, state) = made::small();
    let events = check(&perfetto(&report, &state).unwrap()).unwrap();
    let tracks: Vec<&str> = events
        .iter()
        .filter(|event| event["name"] == "thread_name")
        .map(|event| event["args"]["name"].as_str().unwrap())
        .collect();
    for track in [
        "connection 1 proxy.test h2",
        "connection 1 streams",
        "connection 1 streams (2)",
        "name server 127.77.1.1:53",
        "file locks",
        "stalls",
    ] {
        assert!(tracks.contains(&track), "{track}: {tracks:?}");
    }
    // A connection's streams are below it, not below all connections.
    let at = |track: &str| tracks.iter().position(|name| *name == track).unwrap();
    assert_eq!(at("connection 1 streams"), at("connection 1 proxy.test h2") + 1, "{tracks:?}");
    let count = |ph: &str, name: &str| {
        events
            .iter()
            .filter(|event| event["ph"] == ph && event["name"].as_str().unwrap().starts_with(name))
            .count()
    };
    assert_eq!(count("X", "waiting for the first byte"), report.requests.len());
    assert_eq!((count("i", "segment retransmitted"), count("i", "SYN retransmitted")), (1, 1));
    assert_eq!(count("X", "dns-timeout"), 1);
    let zip = events.iter().find(|event| event["name"] == "zip golang.org/x/net@v0.40.0").unwrap();
    assert_eq!((zip["ts"].as_f64(), zip["dur"].as_f64()), (Some(5_325_000.0), Some(660_000.0)));
    assert_eq!((&zip["args"]["status"], &zip["args"]["stream"]), (&200.into(), &15.into()));
    // Its requests come from the handshakes that they needed, and how many there are at a time is counted.
    assert!(count("s", "carried by") > 0 && count("s", "carried by") == count("f", "carried by"));
    assert!(count("C", "requests in flight") > 0 && count("i", "observation began at ") == 1);
}

#[test]
fn what_a_local_resolver_asks_is_drawn_beside_it() {
    let file =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/data/recordings/dns-slow-local-resolver.jsonl");
    let text = std::fs::read(file).unwrap();
    let mut state = model::State::new();
    pipeline::replay::Replay::new(&*text).unwrap().for_each(|event| state.apply(&event.unwrap()));
    let report = report(&state);
    let events = check(&perfetto(&report, &state).unwrap()).unwrap();
    let drawn = events.iter().filter(|event| event["ph"] == "X" && event["cat"] == "dns").count();
    assert!(report.dns.iter().any(|dns| dns.on_behalf_of.is_some()));
    assert_eq!(drawn, report.dns.len());
}

proptest! {
    /// What a reader makes of a start and a length, each cut for itself, is what was meant.
    #[test]
    fn times_are_whole_nanoseconds_after_a_reader_cut_them(start in 0..1_000_000_000_000_000u64, length in 0..1_000_000_000_000u64) {
        let read = |ns: u64| (render::perfetto::micros(ns) * 1e3) as u64;
        prop_assert_eq!((read(start), read(length)), (start, length));
    }
}

#[test]
fn every_request_of_ten_thousand_is_in_it() {
    let state = made::large(1, 10_000);
    let events = check(&perfetto(&report(&state), &state).unwrap()).unwrap();
    let requests = events.iter().filter(|event| event["args"]["status"] == 200).count();
    assert_eq!(requests, 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn strings_of_others_keep_the_format(text in hostile::text()) {
        let (report, state) = hostile::report_of(&text);
        let trace = perfetto(&report, &state).unwrap();
        prop_assert!(!trace.contains(|c| c != '\n' && model::json::is_hidden(c)));
        if let Err(error) = check(&trace) {
            // A name may be empty only where the text is.
            prop_assert!(text.is_empty() && error.starts_with("name"), "{}", error);
        }
    }
}
