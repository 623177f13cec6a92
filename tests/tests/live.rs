//! What goobserve reports of a command while it still hangs: the stall, within a second of its
//! detector's threshold, and why it waits; of a healthy command, no stall.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::complete::{int, text};
use tests::dns::DnsFaults;
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::binary;
use tests::lab::{Lab, PROXY_HOST};
use tests::live::{lines, of_command, watching};
use tests::net::Place;
use tests::proxy::{BodyStall, Faults, ending};
use tests::schema::Schema;
use tests::wire::{HelloLoss, LostSyns, WireFaults};
use tests::{skip, wait};

/// Longer than any of these tests.
const FOR_EVER: Duration = Duration::from_secs(3600);
/// What is downloaded where one module is enough.
const MODULE: &str = "github.com/google/uuid@v1.6.0";

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// Something that makes a command hang.
struct Hang {
    kind: &'static str,
    phase: &'static str,
    /// From when on the detector calls it a stall: `diagnose/thresholds.rs`
    threshold: Duration,
    /// What is said of why it waits
    because: &'static str,
    /// Makes it; what it returns makes it last
    fault: fn(&Lab, &GoRun) -> Option<File>,
}

const HANGS: [Hang; 4] = [
    Hang {
        kind: "tls-hello-unanswered",
        phase: "tls",
        threshold: Duration::from_secs(2),
        because: "proxy.test did not answer",
        fault: |lab, _| {
            let lost_hellos = vec![HelloLoss::Naming(PROXY_HOST.to_owned())];
            lab.net.wire.as_ref().unwrap().set_faults(WireFaults { lost_hellos, ..WireFaults::default() });
            None
        },
    },
    Hang {
        kind: "h2-silent",
        phase: "proxy",
        threshold: Duration::from_secs(3),
        because: "proxy.test fell silent",
        fault: |lab, _| {
            let stall = BodyStall { matches: ending(".zip"), after_bytes: 1000, delay: FOR_EVER };
            lab.proxy.set_faults(Faults { body_stalls: vec![stall], ..Faults::default() });
            None
        },
    },
    Hang {
        kind: "dns-timeout",
        phase: "dns",
        threshold: Duration::from_secs(2),
        because: "left 2 queries for proxy.test unanswered",
        fault: |lab, _| {
            lab.dns.set_faults(DnsFaults { drop_first: 2, ..DnsFaults::default() });
            None
        },
    },
    Hang {
        kind: "cache-lock-wait",
        phase: "lock",
        threshold: Duration::from_millis(100),
        because: " has the ",
        fault: |_, run| {
            let folder = run.modcache().join("cache/download/github.com/google/uuid/@v");
            fs::create_dir_all(&folder).unwrap();
            let lock = File::create(folder.join("v1.6.0.lock")).unwrap();
            lock.lock().unwrap();
            Some(lock)
        },
    },
];

#[test]
fn a_stall_is_reported_within_a_second_of_its_threshold_while_the_command_still_hangs() {
    let test = "a_stall_is_reported_within_a_second_of_its_threshold_while_the_command_still_hangs";
    let schema = Schema::published("recording").unwrap();
    for hang in &HANGS {
        let Some(lab) = Lab::for_test_in(test, Place::Wire) else { return };
        let run = lab.go_run(&GoOptions { go_sum: true, ..GoOptions::default() }).unwrap();
        let watch = watching(&lab, &run, &["--output", "jsonl"]);
        let _lasts = (hang.fault)(&lab, &run);
        let mut hung = lab.begin(&mut run.go(&["mod", "download", MODULE])).unwrap();
        let pid = hung.pid();
        let (reported, read_ns) = wait::until(hang.kind, || {
            let lines = lines(&watch.stdout());
            let mut stalls = of_command(&lines, pid).filter(|line| line["type"] == "stall");
            stalls.find(|line| line["kind"] == hang.kind).cloned().map(|line| (line, unix_ns()))
        });
        assert!(!hung.ends_within(Duration::ZERO), "it still hangs: {reported}");
        schema.check(&reported).unwrap_or_else(|error| panic!("{error:#}: {reported}"));
        assert_eq!((text(&reported, "phase"), text(&reported, "state")), (hang.phase, "lasts"), "{reported}");
        assert!(!reported["evidence"].as_array().unwrap().is_empty(), "{reported}");
        let because = wait::until("a reason", || {
            let lines = lines(&watch.stdout());
            let mut waits = of_command(&lines, pid).filter(|line| line["type"] == "waiting");
            waits.find_map(|line| Some(line["because"].as_str()?.to_owned()))
        });
        assert!(because.contains(hang.because), "{because}");
        drop(hung);
        // It is over with the command, and said once more, with what it cost in the end.
        let last = wait::until("its end", || {
            let lines = lines(&watch.stdout());
            of_command(&lines, pid)
                .filter(|line| line["id"] == reported["id"] && line["type"] == "stall")
                .last()
                .filter(|line| line["state"] != "lasts")
                .cloned()
        });
        let all = lines(&watch.stdout());
        let times =
            of_command(&all, pid).filter(|line| line["type"] == "stall" && line["id"] == reported["id"]);
        let times = times.count();
        assert!(times <= 4, "{times} times");

        let threshold_ns = int(&reported, "start_ns") + hang.threshold.as_nanos() as u64;
        let started_ns = int(&all[0], "started_unix_ns");
        let after_ms = |ns: u64| (ns as f64 - threshold_ns as f64) / 1e6;
        let (said, read) = (after_ms(int(&reported, "at_ns")), after_ms(read_ns - started_ns));
        println!(
            "{}: reported {said:.0} ms after its threshold, read {read:.0} ms after it; reported {times} times, \
             in the end {} with {:.2} s",
            hang.kind,
            text(&last, "state"),
            int(&last, "cost_ns") as f64 / 1e9
        );
        assert!((0.0..1000.0).contains(&said) && (0.0..1000.0).contains(&read), "{said} ms, {read} ms");
        watch.signal(Signal::SIGTERM).unwrap();
        watch.end();
    }
}

#[test]
fn git_that_waits_for_a_prompt_is_reported_while_it_waits() {
    let test = "git_that_waits_for_a_prompt_is_reported_while_it_waits";
    if !skip::has(test, "git", "git") {
        return;
    }
    let Some(lab) = Lab::for_test(test) else { return };
    let _git = lab.git_host(None).unwrap();
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let watch = watching(&lab, &run, &["--output", "jsonl"]);
    let mut command = run.go(&["mod", "download", "git.test/lib@v1.0.0"]);
    command.envs([
        ("GOPROXY", "direct"),
        ("GOSUMDB", "off"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "url.ssh://git@git.test/.insteadOf"),
        ("GIT_CONFIG_VALUE_0", "https://git.test/"),
        ("GIT_SSH_COMMAND", "sleep 1000; false"),
    ]);
    let mut hung = lab.begin(&mut command).unwrap();
    let pid = hung.pid();
    // Nothing is in flight and nothing happens: only that all of it sleeps can be seen.
    let reported = wait::until("vcs-waiting", || {
        let lines = lines(&watch.stdout());
        of_command(&lines, pid).find(|line| line["kind"] == "vcs-waiting").cloned()
    });
    assert!(!hung.ends_within(Duration::ZERO), "it still hangs: {reported}");
    assert_eq!((text(&reported, "host"), text(&reported, "state")), ("git.test", "lasts"), "{reported}");
    let cost_ms = int(&reported, "cost_ns") / 1_000_000;
    println!("vcs-waiting: reported when it had waited {cost_ms} ms; its threshold is 1000 ms");
    assert!((1000..2000).contains(&cost_ms), "{reported}");
    drop(hung);
    watch.signal(Signal::SIGTERM).unwrap();
    watch.end();
}

#[test]
fn of_a_healthy_command_no_stall_is_reported() {
    let Some(lab) = Lab::for_test("of_a_healthy_command_no_stall_is_reported") else { return };
    let runs = [true, false].map(|go_sum| lab.go_run(&GoOptions { go_sum, ..GoOptions::default() }).unwrap());
    let watch = watching(&lab, &runs[0], &["--output", "jsonl"]);
    let pids = runs.each_ref().map(|run| {
        let download = lab.begin(&mut run.go(&["mod", "download"])).unwrap();
        let pid = download.pid();
        assert_eq!(download.end().status.code(), Some(0));
        wait::until("its end", || {
            let lines = lines(&watch.stdout());
            of_command(&lines, pid).any(|line| line["wall_ns"].is_u64()).then_some(())
        });
        pid
    });
    watch.signal(Signal::SIGTERM).unwrap();
    let output = watch.end();
    let reported = lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(reported.last().unwrap()["type"], "end");
    for pid in pids {
        assert!(of_command(&reported, pid).any(|line| line["type"] == "request"));
        let stalls: Vec<&Value> = of_command(&reported, pid).filter(|line| line["type"] == "stall").collect();
        assert!(stalls.is_empty(), "{stalls:#?}");
    }
}

#[test]
fn the_last_that_a_recording_reports_of_a_stall_is_in_its_report() {
    let test = "the_last_that_a_recording_reports_of_a_stall_is_in_its_report";
    let Some(lab) = Lab::for_test_in(test, Place::Wire) else { return };
    let syns = LostSyns { to: lab.address(PROXY_HOST).unwrap().into(), first: Some(1) };
    let faults = WireFaults { lost_syns: vec![syns], ..WireFaults::default() };
    lab.net.wire.as_ref().unwrap().set_faults(faults);
    lab.dns.set_faults(DnsFaults { delay: Duration::from_millis(700), ..DnsFaults::default() });
    let run = lab.go_run(&GoOptions { go_sum: true, ..GoOptions::default() }).unwrap();
    let [json, record] = ["report.json", "recording.jsonl"].map(|name| run.file(name));
    let mut command = run.goobserve().unwrap();
    command.arg("run").arg("--json").arg(&json).arg("--record").arg(&record);
    let output =
        lab.output(command.args(["--report", "none", "--", "go", "mod", "download", MODULE])).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));

    let recording = fs::read_to_string(&record).unwrap();
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let again = lab.goobserve(&run, &["report", record.to_str().unwrap(), "--format", "json"]).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout).unwrap(), report);

    let mut last: BTreeMap<u64, Value> = BTreeMap::new();
    for line in lines(&recording).into_iter().filter(|line| line["type"] == "stall") {
        last.insert(int(&line, "id"), line);
    }
    let bad: Vec<&Value> = report["commands"][0]["stalls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|stall| stall["severity"] != "info")
        .collect();
    let kinds: Vec<&str> = bad.iter().map(|stall| text(stall, "kind")).collect();
    assert!(kinds.contains(&"syn-lost") && kinds.contains(&"dns-slow"), "{kinds:?}");
    for stall in &bad {
        let reported =
            last.values().find(|line| line["kind"] == stall["kind"] && line["host"] == stall["host"]);
        let reported = reported.unwrap_or_else(|| panic!("{stall} in {last:#?}"));
        assert_eq!(reported["state"], "over");
        for (name, value) in stall.as_object().unwrap() {
            assert_eq!(reported[name], *value, "{name}");
        }
    }
}

/// goobserve on a terminal of that many columns.
fn on_a_terminal(run: &GoRun, columns: u16, args: &str) -> Command {
    let line = format!("stty cols {columns}; exec {} {args}", binary().unwrap().display());
    let mut command = run.command("script");
    command.args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"]);
    command
}

#[test]
fn the_progress_line_says_why_it_waits() {
    let test = "the_progress_line_says_why_it_waits";
    if !skip::has(test, "script", "bsdutils") {
        return;
    }
    let Some(lab) = Lab::for_test_in(test, Place::Wire) else { return };
    let run = lab.go_run(&GoOptions { go_sum: true, ..GoOptions::default() }).unwrap();
    (HANGS[0].fault)(&lab, &run);
    for columns in [80, 200] {
        let line = format!("run --report none -- go mod download {MODULE}");
        let mut shown = lab.begin(&mut on_a_terminal(&run, columns, &line)).unwrap();
        let said = wait::until("a reason", || {
            let shown = shown.stdout();
            let line = shown.split('\r').find(|line| line.contains(", because proxy.test did"))?;
            Some(line.trim_start_matches("\u{1b}[2m").trim_end_matches("\u{1b}[0m\u{1b}[K").to_owned())
        });
        assert!(!shown.ends_within(Duration::ZERO), "it still hangs");
        println!("{columns} columns: {said}");
        assert!(said.contains(" · waiting ") && said.chars().count() < usize::from(columns), "{said}");
    }
}

#[test]
fn a_segment_that_is_retransmitted_is_passed_on_at_once_and_its_wait_is_named() {
    let test = "a_segment_that_is_retransmitted_is_passed_on_at_once_and_its_wait_is_named";
    let Some(lab) = Lab::for_test_in(test, Place::Wire) else { return };
    let run = lab.go_run(&GoOptions { go_sum: true, ..GoOptions::default() }).unwrap();
    let (events, text) = (watching(&lab, &run, &["--output", "jsonl"]), watching(&lab, &run, &[]));
    let syns = LostSyns { to: lab.address(PROXY_HOST).unwrap().into(), first: None };
    let faults = WireFaults { lost_syns: vec![syns], ..WireFaults::default() };
    lab.net.wire.as_ref().unwrap().set_faults(faults);
    let begun = unix_ns();
    let hung = lab.begin(&mut run.go(&["mod", "download", MODULE])).unwrap();
    let again = || {
        let of = |line: &&str| line.contains("\"type\":\"retransmission\"") && line.contains("\"syn\":true");
        events.stdout().lines().filter(of).count()
    };
    wait::until("a SYN that is retransmitted", || (again() > 0).then_some(()));
    // Linux sends it again after a second.
    let first = Duration::from_nanos(unix_ns() - begun);
    let hurts = wait::until("a line of the command that hurts", || {
        let name = format!("(pid {}) ", hung.pid());
        text.stdout().lines().find(|line| line.contains(&name)).map(str::to_owned)
    });
    assert!(hurts.contains("proxy.test") && hurts.contains("TCP handshake"), "{hurts}");
    println!("read {first:?} after the command's start");
    assert!(first < Duration::from_millis(1_500), "{first:?}");
    drop(hung);
    for watch in [events, text] {
        watch.signal(Signal::SIGTERM).unwrap();
        watch.end();
    }
}
