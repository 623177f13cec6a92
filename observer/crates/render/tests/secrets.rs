//! Credentials in every place where others write: none is in anything that leaves, whatever its
//! form, and no part of a report says less than it may for it.

use std::fmt::Write as _;

use diagnose::report::report;
use model::anonymize::Anonymizer;
use model::event::{Body, Event};
use model::id::CommandId;
use model::{State, redact};
use pipeline::record::Recorder;
use pipeline::replay::Replay;
use render::gate::{annotations, junit, markdown as gate_markdown, text as gate_text};
use render::lines::Lines;
use render::page::Options;
use render::tui::{Opened, Tab, Target, View, frame};
use render::{compare, html, json, markdown, otlp, perfetto, text};
use serde_json::{Value, json};
use stats::compare::{About, CacheKind, End, answer};
use stats::fix::choice::choose;
use stats::fix::{Fix, Verdict, observed};
use stats::gate::baseline::{Baseline, SCHEMA};
use stats::gate::measure::{Around, recording};
use stats::gate::verdict::{Hypothesis, judge};
use stats::gate::{Design, FailOn, Floors};
use stats::sample::fix::fix;

/// The `n`th credential: a word with a number, as people choose them. No shape reports it.
fn pass(n: u32) -> String {
    format!("hunter{n}two")
}

/// One as machines make them.
fn token(n: u32) -> String {
    format!("aB3xY9zQ1wE5rT7k{n:03}Z")
}

/// Arguments of processes, with `PASS` and `TOKEN` where credentials stand.
const LINES: [&[&str]; 28] = [
    &["git", "-c", "url.https://oauth2:PASS@git.test/.insteadOf=https://git.test/", "fetch", "origin"],
    &["git", "ls-remote", "https://u:PASS@git.test/lib.git"],
    &["git", "ls-remote", "https://git.test/lib.git?token=PASS"],
    &["git", "-c", "http.extraHeader=Authorization: Bearer PASS", "fetch"],
    &["git", "-c", "credential.helper=!f() { echo password=PASS; }; f", "fetch"],
    &["git", "-c", "http.https://git.test/.extraheader=PASS", "fetch"],
    &["git", "--config-env=http.extraHeader=PASS", "fetch"],
    &["git", "clone", "PASS@git.test:lib.git"],
    &["git-remote-https", "origin", "https://TOKEN@git.test/lib.git"],
    &["/usr/lib/git-core/git", "remote-https", "origin", "https://u:PASS@git.test/lib.git"],
    &["curl", "-u", "ci:PASS", "https://git.test/TOKEN/x"],
    &["curl", "-uci:PASS", "-H", "Authorization: Bearer PASS", "--data=PASS", "https://git.test/"],
    &["wget", "--password=PASS", "--header", "X-Key: PASS", "https://git.test/"],
    &[
        "podman",
        "run",
        "-e",
        "GITHUB_TOKEN=PASS",
        "-e",
        "GOPROXY=https://ci:PASS@proxy.test",
        "lab",
        "go",
        "version",
    ],
    &["docker", "build", "--build-arg", "TOKEN=PASS", "--build-arg=OTHER=PASS", "."],
    &["buildah", "bud", "--secret", "id=x,src=PASS", "--creds", "u:PASS", "."],
    &["nerdctl", "login", "-u", "PASS", "-p", "PASS", "registry.test"],
    &["docker", "login", "--password", "PASS", "-pPASS", "registry.test"],
    &["env", "TOKEN=PASS", "go", "mod", "download"],
    &["sh", "-c", "TOKEN=PASS go mod download; curl -u u:PASS https://git.test/"],
    &["sh", "-c", "echo PASS | docker login --password-stdin; x=$(cat PASS)"],
    &["deploy", "--anything", "PASS", "--other=PASS", "-kPASS", "TOKEN", "u:PASS@git.test"],
    &["go", "build", "-ldflags", "-X main.key=PASS", "./..."],
    &["go", "test", "./...", "-args", "-apikey", "PASS", "-key=PASS"],
    &["go", "env", "-w", "GOPROXY=u:PASS@proxy.test,direct", "GOFLAGS=-ldflags=PASS"],
    &["/home/u:PASS@git.test/bin/tool", "/srv/u:PASS@git.test/x", "PASS"],
    &["ssh", "-i", "/root/u:PASS@x/id", "PASS@git.test", "git-upload-pack '/lib.git' PASS"],
    &[
        "goobserve",
        "run",
        "--with",
        "env=TOKEN=PASS",
        "--with",
        "proxy=https://u:PASS@proxy.test",
        "--",
        "go",
        "version",
    ],
];

/// A recording as an earlier version wrote it, and the credentials in it.
fn planted() -> (String, Vec<String>) {
    let mut secrets = Vec::new();
    let mut plant = |text: &str| {
        let mut out = text.to_owned();
        for (mark, make) in [("PASS", pass as fn(u32) -> String), ("TOKEN", token)] {
            // `TOKEN=` is a variable's name.
            while let Some(at) = out
                .match_indices(mark)
                .map(|(at, _)| at)
                .find(|at| !out[at + mark.len()..].starts_with('=') && !out[..*at].ends_with(['_', 'x']))
            {
                let secret = make(secrets.len() as u32 + 100);
                out.replace_range(at..at + mark.len(), &secret);
                secrets.push(secret);
            }
        }
        out
    };
    let mut lines = String::new();
    let made = include_str!("data/download.jsonl");
    for (number, line) in made.lines().enumerate() {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let kind = value["type"].as_str().unwrap_or_default().to_owned();
        let mut set = |pointer: &str, text: &str| {
            if let Some(place) = value.pointer_mut(pointer).filter(|place| !place.is_null()) {
                *place = json!(plant(text));
            }
        };
        match number {
            0 => set("/machine/resolver/servers/0", "u:PASS@127.77.1.1"),
            1 => {
                set("/argv/1", "-ldflags=-X=PASS");
                set("/cwd", "/home/u:PASS@git.test/project");
                set("/cgroup", "/system.slice/TOKENTOKEN.service");
                set("/go/goproxy", "https://u:PASS@proxy.test/TOKEN?t=PASS|u:PASS@other.test,direct");
                set("/go/gosumdb", "sum.golang.org https://u:PASS@sumdb.test");
                set("/go/goflags", "-mod=mod -ldflags=-X=PASS --token=PASS PASS");
                set("/go/godebug", "http2client=0,PASS=1,tlsmlkem=PASS");
                set("/go/binary", "/opt/u:PASS@git.test/bin/go");
                set("/go/gomodcache", "/home/u:PASS@git.test/mod");
                set("/go/gocache", "/home/u:PASS@git.test/cache");
            }
            _ => {}
        }
        match kind.as_str() {
            "dns" => set("/name", "TOKEN.proxy.test"),
            "connection" => {
                set("/server_name", "u:PASS@proxy.test");
                set("/alpn", "TOKEN");
            }
            "request" => {
                set("/authority", "u:PASS@proxy.test");
                set("/path", "/TOKEN/x.test/m/@v/v1.0.0.zip?sig=PASS&PASS");
            }
            "lock" => set("/path", "/home/u:PASS@git.test/cache/lock"),
            _ => {}
        }
        writeln!(lines, "{value}").unwrap();
        if number == 1 {
            for (n, args) in LINES.iter().enumerate() {
                let args: Vec<String> = args.iter().map(|word| plant(word)).collect();
                let process = json!({"at_ns": 1_000_001, "type": "process", "command": 1, "pid": 5000 + n, "ppid": 4001,
                    "comm": "git", "args": args, "start_ns": 1_000_001 + n, "end_ns": 2_000_000_000 + n, "exit_code": 0, "cpu_ns": 1});
                writeln!(lines, "{process}").unwrap();
            }
            let stall = json!({"at_ns": 1_000_002, "type": "stall", "command": 1, "id": 1, "state": "lasts",
                "kind": "vcs-waiting", "phase": "vcs", "host": plant("u:PASS@git.test"), "severity": "critical",
                "start_ns": 1_000_000, "end_ns": 2_000_000, "cost_ns": 1_000_000,
                "summary": plant("git for https://u:PASS@git.test waited; Authorization: Basic PASS"),
                "evidence": [
                    plant("waits for: git ls-remote https://u:PASS@git.test?x=PASS TOKEN=PASS TOKEN (pid 3)"),
                    {"text": plant("TOKEN PASS"), "kind": "process-waited-for", "pid": 3,
                        "args": ["git", "ls-remote", plant("https://u:PASS@git.test?x=PASS"), plant("TOKEN=PASS")]},
                    {"text": plant("PASS"), "kind": "request", "request": 1, "host": plant("u:PASS@proxy.test"),
                        "path": plant("/TOKEN/x.test/m/@v/v1.0.0.zip?sig=PASS&PASS"), "class": "zip", "status": 200},
                    {"text": plant("PASS"), "kind": "folder", "name": "GOCACHE", "path": plant("/home/u:PASS@git.test/c")},
                    {"text": plant("u:PASS@git.test"), "kind": "of-tomorrow", "url": plant("https://u:PASS@git.test")},
                ],
                "remedies": [{"name": plant("proxy=https://u:PASS@proxy.test"), "why": "x",
                    "try": plant("goobserve compare --with proxy=https://u:PASS@proxy.test -- go get x")}]});
            writeln!(lines, "{stall}").unwrap();
            let waiting = json!({"at_ns": 1_000_003, "type": "waiting", "command": 1, "phase": "vcs",
                "host": plant("u:PASS@git.test"), "since_ns": 1, "summary": plant("https://u:PASS@git.test?PASS"),
                "because": plant("GITHUB_TOKEN=PASS TOKEN")});
            writeln!(lines, "{waiting}").unwrap();
        }
    }
    let session = lines.find('\n').unwrap();
    let remedies = r#","remedies":["proxy=https://u:PASS@proxy.test","env=TOKEN=PASS","resolv=search TOKEN.corp.test"]}"#;
    let first = lines[..session].strip_suffix('}').unwrap().to_owned() + &plant(remedies);
    (first + &lines[session..], secrets)
}

fn read(recording: &str) -> Vec<Event> {
    Replay::new(recording.as_bytes()).unwrap().collect::<Result<_, _>>().unwrap()
}

fn state(events: &[Event]) -> State {
    let mut state = State::new();
    events.iter().for_each(|event| state.apply(event));
    state
}

/// The dashboard on a terminal on which much is cut.
const SMALL: &str = "dashboard at 80x24";

/// Everything that can be made of events, by name.
fn outputs(events: &[Event]) -> Vec<(&'static str, String)> {
    let state = state(events);
    let made = report(&state);
    let Body::Session(session) = &events[0].body else { panic!("no session first") };
    let mut recorder = Recorder::new(Vec::new(), "memory", session);
    let (mut reported, mut lines) = (Lines::new(400), String::new());
    for event in events {
        recorder.write(event);
        lines.extend(reported.lines(&state, event).into_iter().map(|line| line + "\n"));
    }
    recorder.flush().unwrap();
    let options = Options { width: 400, color: false };
    let mut all = vec![
        ("record and jsonl", String::from_utf8(recorder.into_inner()).unwrap()),
        ("watch's lines", lines),
        ("json", json::json(&made).unwrap()),
        ("text", text::text(&made, options)),
        ("markdown", markdown::markdown(&made)),
        ("html", html::html(&made, &state)),
        ("perfetto", perfetto::perfetto(&made, &state).unwrap()),
        ("otlp", otlp::otlp(&made, &state).unwrap()),
    ];
    let screen = |view: &View, (width, height)| {
        let buffer = frame(&state, view, width, height);
        buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect::<String>()
    };
    for tab in [Tab::Requests, Tab::Dns, Tab::Connections, Tab::Processes, Tab::Stalls] {
        let view = View { tab, command: Some(CommandId(1)), ..View::default() };
        all.push(("dashboard", screen(&view, (400, 120))));
        all.push((SMALL, screen(&view, (80, 24))));
    }
    let command = state.command(CommandId(1)).unwrap();
    let opened = [
        command.requests.keys().next().map(|id| Target::Request(*id)),
        command.connections.keys().next().map(|id| Target::Connection(*id)),
        command.dns.keys().next().map(|id| Target::Query(*id)),
        command.processes.values().next().map(|process| Target::Process(process.start_ns, process.pid)),
        Some(Target::Stall(0)),
    ];
    for target in opened.into_iter().flatten() {
        let open = vec![Opened::new(target)];
        let view = View { command: Some(CommandId(1)), open, ..View::default() };
        all.push(("dashboard's details", screen(&view, (400, 120))));
    }
    let commands = frame(&state, &View::default(), 400, 60);
    all.push(("dashboard's list", commands.content().iter().map(ratatui::buffer::Cell::symbol).collect()));

    let command = made.commands[0].argv.clone();
    let about = About {
        command: command.clone(),
        cache: CacheKind::Cold,
        runs_wanted: 1,
        names: ["baseline".into(), made.remedies.join(" + ")],
        remedies: [Vec::new(), made.remedies.clone()],
    };
    let compared = answer(about, &[[made.clone(), made.clone()]], End::Complete, Vec::new());
    all.push(("compare", compare::text(&compared, options)));
    all.push(("compare's markdown", compare::markdown(&compared)));
    all.push(("compare's json", serde_json::to_string(&compared).unwrap()));
    let fixed = Fix {
        command: made.commands[0].argv.clone(),
        observed: observed(&made),
        untried: choose(&made, &[]).untried,
        ..fix(Verdict::NothingToTry)
    };
    all.push(("fix", render::fix::text(&fixed, options)));
    all.push(("fix's json", serde_json::to_string(&fixed).unwrap()));

    let baseline = Baseline {
        schema: SCHEMA.into(),
        tool: String::new(),
        command,
        cache: CacheKind::Cold,
        with: vec![],
        recordings: vec![recording(&[made], &Around::default()).unwrap()],
    };
    let query = Hypothesis {
        before: &baseline,
        after: &baseline,
        design: Design::Recordings,
        floors: Floors::PAIRS,
        alpha: 0.05,
    };
    let outcome = judge(&query);
    all.push(("baseline", baseline.text()));
    all.push(("gate", gate_text::text(&outcome, FailOn::default(), options)));
    all.push(("gate's markdown", gate_markdown::markdown(&outcome, FailOn::default())));
    all.push(("gate's junit", junit::junit(&outcome, FailOn::default())));
    all.push(("gate's annotations", annotations::annotations(&outcome, FailOn::default())));
    all.push(("gate's json", serde_json::to_string(&outcome).unwrap()));
    all
}

#[track_caller]
fn none_of(secrets: &[String], outputs: &[(&str, String)]) {
    for (name, output) in outputs {
        for secret in secrets {
            if let Some(at) = output.find(secret.as_str()) {
                let from = output.floor_char_boundary(at.saturating_sub(150));
                let to = output.floor_char_boundary((at + 60).min(output.len()));
                panic!("{secret} is in {name}: {}", &output[from..to]);
            }
        }
    }
}

#[test]
fn no_credential_is_in_anything_that_is_made_of_a_recording() {
    let (recording, secrets) = planted();
    assert!(secrets.len() >= 100, "{}", secrets.len());
    assert!(secrets.iter().all(|secret| recording.contains(secret.as_str())));
    none_of(&secrets, &outputs(&read(&recording)));
    // They are where they would be shown.
    let raw: Vec<Event> =
        recording.lines().map(|line| Event::parse(line.as_bytes()).unwrap().unwrap()).collect();
    for (name, output) in outputs(&raw).iter().filter(|(name, _)| !name.starts_with("gate") && *name != SMALL)
    {
        assert!(secrets.iter().any(|secret| output.contains(secret.as_str())), "{name}");
    }
}

#[test]
fn no_credential_is_in_anything_anonymous() {
    let (recording, secrets) = planted();
    let mut anonymizer = Anonymizer::new();
    let events: Vec<Event> = read(&recording).iter().map(|event| anonymizer.event(event)).collect();
    none_of(&secrets, &outputs(&events));
}

#[test]
fn what_is_shown_once_is_shown_again() {
    let (recording, _) = planted();
    for event in read(&recording) {
        assert_eq!(redact::event(event.clone()), event);
    }
}

#[test]
fn what_holds_no_credential_is_left_as_it_is() {
    let made = include_str!("data/download.jsonl");
    let raw: Vec<Event> = made.lines().map(|line| Event::parse(line.as_bytes()).unwrap().unwrap()).collect();
    assert_eq!(read(made), raw);
}

#[test]
fn recordings_of_the_catalogue_are_left_as_they_are() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/data/recordings");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let raw: Vec<Event> =
            text.lines().filter_map(|line| Event::parse(line.as_bytes()).ok().flatten()).collect();
        for (raw, shown) in raw.into_iter().zip(read(&text)) {
            assert_eq!(shown, raw, "{}", path.display());
        }
    }
}

#[test]
fn a_baseline_of_an_earlier_version_is_read_without_its_credentials() {
    let (recording, secrets) = planted();
    let raw: Vec<Event> =
        recording.lines().map(|line| Event::parse(line.as_bytes()).unwrap().unwrap()).collect();
    let made = report(&state(&raw));
    let baseline = Baseline {
        schema: SCHEMA.into(),
        tool: String::new(),
        command: made.commands[0].argv.clone(),
        cache: CacheKind::Cold,
        with: vec![],
        recordings: vec![self::recording(&[made], &Around::default()).unwrap()],
    };
    let baseline = Baseline::read("b.json", baseline.text().as_bytes()).unwrap();
    let settings = serde_json::to_string(&baseline.recordings[0].settings).unwrap();
    none_of(&secrets, &[("command", baseline.command.join(" ")), ("settings", settings)]);
}
