//! The hand-made recording `data/download.jsonl` through everything right of `correlate`:
//! replayed, recorded again, cut, reported, drawn, checked against the published schemas.
//!
//! `UPDATE_SCHEMAS=1 cargo test -p render --test model` writes the schema files anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use diagnose::report::report;
use model::anonymize::Anonymizer;
use model::doctor::Examination;
use model::event::{Body, Event};
use model::evidence::Evidence;
use model::record::Phase;
use model::report::{Command, HostShare, Remedy, Severity, Stall};
use model::stall::StallKind;
use model::time::SinceStart;
use model::{Report, State, clean};
use pipeline::record::Recorder;
use pipeline::replay::{Replay, ReplayError};
use render::lines::Lines;
use render::page::Options;
use render::{json, text};
use serde_json::Value;
use stats::compare::Answer;
use stats::fix::Fix;

const RECORDING: &str = include_str!("data/download.jsonl");

fn read(bytes: &[u8]) -> Result<(Vec<Event>, bool), ReplayError> {
    let mut replay = Replay::new(bytes)?;
    let events = replay.by_ref().collect::<Result<Vec<_>, _>>()?;
    Ok((events, replay.cut()))
}

fn events() -> Vec<Event> {
    read(RECORDING.as_bytes()).unwrap().0
}

fn state(events: &[Event]) -> State {
    let mut state = State::new();
    events.iter().for_each(|event| state.apply(event));
    state
}

fn reported() -> Report {
    report(&state(&events()))
}

fn record(events: &[Event]) -> Vec<u8> {
    let Body::Session(session) = &events[0].body else { panic!("no session first") };
    let mut recorder = Recorder::new(Vec::new(), "memory", session);
    events.iter().for_each(|event| recorder.write(event));
    recorder.flush().unwrap();
    recorder.into_inner()
}

#[test]
fn the_report_of_a_recording_equals_the_live_one() {
    let live = events();
    let bytes = record(&live);
    let (replayed, cut) = read(&bytes).unwrap();
    assert!(!cut);
    assert_eq!(replayed, live);
    assert_eq!(state(&replayed), state(&live));
    assert_eq!(json::json(&report(&state(&replayed))).unwrap(), json::json(&report(&state(&live))).unwrap());
}

#[test]
fn recording_again_gives_the_same_bytes() {
    assert_eq!(String::from_utf8(record(&events())).unwrap(), RECORDING);
}

#[test]
fn a_recording_opens_wherever_it_was_cut() {
    let all = events();
    let bytes = RECORDING.as_bytes();
    let first = RECORDING.find('\n').unwrap();
    // Where each line ends, its line end not counted.
    let ends: Vec<usize> = RECORDING.match_indices('\n').map(|(at, _)| at).collect();
    // Every place around a line's end, and some in each line.
    let near = |at: &usize| ends.iter().any(|end| end.abs_diff(*at) < 3);
    for at in (0..=bytes.len()).filter(|at| at % 16 == 0 || *at < 80 || near(at)) {
        match read(&bytes[..at]) {
            Err(ReplayError::Empty) => assert!(at < first, "cut at {at}"),
            Err(error) => panic!("cut at {at}: {error}"),
            Ok((events, cut)) => {
                let whole = ends.iter().filter(|end| **end <= at).count();
                assert_eq!(events.len(), whole, "cut at {at}");
                assert_eq!(events, all[..whole]);
                let after = ends[whole - 1];
                assert_eq!(cut, at > after + 1, "cut at {at}");
            }
        }
    }
}

#[test]
fn phases_add_up_whatever_is_seen_of_a_recording() {
    let all = events();
    for seen in 1..=all.len() {
        let report = report(&state(&all[..seen]));
        for command in &report.commands {
            let sum: u64 = command.phases.iter().map(|share| share.blocked_ns).sum();
            assert_eq!(sum, command.wall_ns, "after {seen} events");
            for share in &command.phases {
                let of_hosts: u64 =
                    command.hosts.iter().filter_map(|host| host.phases.get(&share.phase)).sum();
                assert!(of_hosts <= share.blocked_ns && share.busy_ns <= command.wall_ns);
            }
            if let Some(local) = command.local {
                let local_ns = command.phases[Phase::Local as usize].blocked_ns;
                assert_eq!(local.cpu_ns + local.runqueue_ns + local.disk_ns, local_ns);
            }
        }
    }
}

/// The fields of each object of a report, which scripts rely on (docs/contract.md).
#[test]
fn a_report_has_exactly_the_contracts_fields() {
    let mut report = reported();
    report.commands[0].stalls.insert(0, stall());
    let value = serde_json::to_value(&report).unwrap();
    let expect = |pointer: &str, fields: &str| {
        let object = value.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")).as_object().unwrap();
        let have: BTreeSet<&str> = object.keys().map(String::as_str).collect();
        let want: BTreeSet<&str> = fields.split_whitespace().collect();
        assert_eq!(have, want, "{pointer}");
    };
    expect(
        "",
        "schema tool started_unix_ns duration_ns machine commands processes dns connections requests loss",
    );
    expect("/machine", "kernel arch cpus resolver");
    expect("/machine/resolver", "servers search timeout_s attempts");
    expect(
        "/commands/0",
        "id argv uid cwd cgroup start_ns wall_ns ended unknown_ns exit_code signal blame blame_why go phases local hosts stalls",
    );
    expect(
        "/commands/0/go",
        "version binary cgo gomaxprocs goproxy gosumdb goflags godebug gomodcache gocache",
    );
    expect("/commands/0/phases/0", "phase blocked_ns busy_ns count errors p50_ns p95_ns p99_ns max_ns bytes");
    expect("/commands/0/local", "cpu_ns runqueue_ns disk_ns");
    expect("/commands/0/hosts/0", "host blocked_ns phases");
    expect(
        "/commands/0/stalls/0",
        "kind phase host severity start_ns end_ns cost_ns summary evidence remedies",
    );
    expect("/commands/0/stalls/0/remedies/0", "name why try");
    expect("/processes/0", "command pid ppid comm args start_ns end_ns exit_code cpu_ns");
    expect(
        "/dns/0",
        "command id on_behalf_of pid comm server transport name qtype attempt rcode answers start_ns end_ns timed_out",
    );
    expect(
        "/connections/0",
        "command id pid comm local remote server_name alpn tls_version start_ns connect_ns tls_ns end_ns \
         outcome syn_retransmits retransmits received_out_of_order resets zero_windows rtt_ns bytes_sent \
         bytes_received requests tls_start_ns tls_failed joined_late",
    );
    expect(
        "/requests/0",
        "command id pid connection protocol stream method authority path class module version status start_ns \
         first_byte_ns end_ns bytes outcome",
    );
    expect(
        "/loss",
        "kernel_events_lost events_undecoded connections_joined_late programs_unexamined program_runs_skipped tracepoints_unattached socket_lookups_failed",
    );
    // What is said to who reads it is in no file.
    for stall in report.commands.iter_mut().flat_map(|command| &mut command.stalls) {
        stall.advice = String::new();
    }
    assert_eq!(serde_json::from_value::<Report>(value.clone()).unwrap(), report);
}

#[test]
fn a_command_without_the_scheduler_has_no_local_parts() {
    let report = reported();
    assert_eq!((report.commands[1].local, report.commands[1].exit_code), (None, None));
    assert_eq!(
        report.commands[1].wall_ns,
        SinceStart::ZERO + report.duration_ns - report.commands[1].start_ns
    );
}

#[test]
fn the_report_reads_well() {
    insta::with_settings!({ snapshot_path => "data", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("report-80", text::text(&reported(), Options::default()));
        insta::assert_snapshot!("report-60", text::text(&reported(), Options { width: 60, color: false }));
        insta::assert_json_snapshot!("report-json-command", reported().commands[0]);
    });
}

#[test]
fn the_lines_of_watch_read_well() {
    let (mut state, mut lines) = (State::new(), Lines::new(120));
    let mut out = String::new();
    for event in events() {
        state.apply(&event);
        out.extend(lines.lines(&state, &event).into_iter().map(|line| line + "\n"));
    }
    insta::with_settings!({ snapshot_path => "data", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("watch-lines", out);
    });
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in 40..=200 {
        let text = text::text(&reported(), Options { width, color: false });
        for line in text.lines() {
            assert!(clean::width(line) <= width, "{width}: {line:?}");
        }
    }
}

#[test]
fn colour_only_adds_to_the_text() {
    let plain = text::text(&reported(), Options::default());
    let mut colored = text::text(&reported(), Options { color: true, ..Options::default() });
    assert!(colored.contains("\u{1b}[1m"));
    while let Some(start) = colored.find("\u{1b}[") {
        let end = start + colored[start..].find('m').unwrap();
        colored.replace_range(start..=end, "");
    }
    let trimmed: Vec<&str> = colored.lines().map(str::trim_end).collect();
    assert_eq!(trimmed, plain.lines().map(str::trim_end).collect::<Vec<_>>());
}

#[test]
fn nothing_untrusted_reaches_a_terminal_as_it_is() {
    let report = reported();
    let outputs = [
        text::text(&report, Options::default()),
        json::json(&report).unwrap(),
        String::from_utf8(record(&events())).unwrap(),
    ];
    for output in outputs {
        let hidden = |c: char| c != '\n' && model::json::is_hidden(c);
        assert!(!output.contains(hidden), "{output}");
        assert!(output.contains("hostile"));
    }
}

#[test]
fn an_anonymized_report_reports_the_same_times_and_no_names() {
    let mut anonymizer = Anonymizer::new();
    let hidden: Vec<Event> = events().iter().map(|event| anonymizer.event(event)).collect();
    let (open, hidden) = (reported(), report(&state(&hidden)));
    for (open, hidden) in open.commands.iter().zip(&hidden.commands) {
        assert_eq!(open.phases, hidden.phases);
        let costs = |command: &Command| {
            let mut costs: Vec<u64> = command.hosts.iter().map(|host| host.blocked_ns).collect();
            costs.sort_unstable();
            costs
        };
        assert_eq!(costs(open), costs(hidden));
    }
    let text = json::json(&hidden).unwrap();
    for name in ["proxy.test", "sumdb.test", "git.test", "spf13", "hostile", "127.77.3.1x", "/home", "team"] {
        assert!(!text.contains(name), "{name} in {text}");
    }
}

fn stall() -> Stall {
    Stall {
        kind: StallKind::DnsTimeout.into(),
        phase: Phase::Dns,
        host: None,
        severity: Severity::Critical,
        start_ns: SinceStart(1),
        end_ns: SinceStart(2),
        cost_ns: 1,
        summary: "s".into(),
        evidence: vec![Evidence::Words { words: "e".into() }],
        advice: String::new(),
        fatal: false,
        remedies: vec![Remedy { name: "dns-cache".into(), why: "w".into(), attempt: "t".into() }],
    }
}

fn schema_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema").join(format!("{name}.schema.json"))
}

fn published(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(schema_path(name)).unwrap()).unwrap()
}

#[test]
fn the_published_schemas_are_those_of_the_code() {
    let schemas = [
        ("report", serde_json::to_string_pretty(&schemars::schema_for!(Report)).unwrap() + "\n"),
        ("recording", serde_json::to_string_pretty(&schemars::schema_for!(Event)).unwrap() + "\n"),
        ("compare", serde_json::to_string_pretty(&schemars::schema_for!(Answer)).unwrap() + "\n"),
        ("fix", serde_json::to_string_pretty(&schemars::schema_for!(Fix)).unwrap() + "\n"),
        ("doctor", serde_json::to_string_pretty(&schemars::schema_for!(Examination)).unwrap() + "\n"),
    ];
    for (name, schema) in schemas {
        let path = schema_path(name);
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &schema).unwrap();
        }
        let have = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(have == schema, "{name}.schema.json is not up to date: run with UPDATE_SCHEMAS=1");
    }
}

#[test]
fn a_report_is_valid_and_a_wrong_one_is_not() {
    let validator = jsonschema::validator_for(&published("report")).unwrap();
    let mut report = reported();
    report.commands[0].stalls.insert(0, stall());
    report.commands[0].hosts.push(HostShare {
        host: "h".into(),
        blocked_ns: 0,
        phases: std::collections::BTreeMap::default(),
    });
    let value = serde_json::to_value(&report).unwrap();
    if let Err(error) = validator.validate(&value) {
        panic!("{error} at {}", error.instance_path());
    }
    for (pointer, wrong) in [
        ("/commands/0/wall_ns", Value::from("soon")),
        ("/commands/0/phases/0/phase", Value::from("coffee")),
        ("/dns/0/transport", Value::Null),
        ("/commands/0/hosts/0/phases", serde_json::json!({ "dns": "x" })),
    ] {
        let mut value = value.clone();
        *value.pointer_mut(pointer).unwrap() = wrong;
        assert!(!validator.is_valid(&value), "{pointer}");
    }
}

#[test]
fn a_host_that_nothing_waited_for_is_not_said_to_have_been_waited_for() {
    let mut report = reported();
    let host = |name: &str, blocked_ns| HostShare {
        host: name.into(),
        blocked_ns,
        phases: std::collections::BTreeMap::default(),
    };
    report.commands[0].hosts = vec![host("slow.test", 7), host("idle.test", 0)];
    let text = text::text(&report, Options::default());
    for page in [text, render::markdown::markdown(&report)] {
        let (_, rest) = page.split_once("slow.test").unwrap();
        assert!(!rest.contains("idle.test"), "{page}");
    }
}

#[test]
fn every_line_of_a_recording_is_valid_and_a_wrong_one_is_not() {
    let validator = jsonschema::validator_for(&published("recording")).unwrap();
    for line in RECORDING.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        if let Err(error) = validator.validate(&value) {
            panic!("{error} in {line}");
        }
    }
    for wrong in [
        r#"{"type":"end","duration_ns":9}"#,
        r#"{"at_ns":1,"type":"end"}"#,
        r#"{"at_ns":1,"type":"request","command":1}"#,
        r#"{"at_ns":-1,"type":"end","duration_ns":9}"#,
    ] {
        assert!(!validator.is_valid(&serde_json::from_str(wrong).unwrap()), "{wrong}");
    }
}
