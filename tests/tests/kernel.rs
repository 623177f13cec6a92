//! What holds on every kernel that goobserve supports. Short, because `cargo xtask vm` has it run by
//! other kernels, in virtual machines. What it measures goes to `tests/kernels.md`.

use std::collections::{BTreeMap, BTreeSet};

use aya::programs::loaded_programs;
use nix::sys::signal::Signal;
use tests::bpf::Objects;
use tests::clock::monotonic_ns;
use tests::complete::{Download, SETTLE, differences, int, same, text};
use tests::facts::fact;
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::live::{self, lines, watching};
use tests::store::Store;

#[test]
fn the_lab_has_modules_to_serve() {
    Store::shared().unwrap();
}

/// Instructions that the verifier of Linux 6.18 goes through for all programs, and a tenth more.
const VERIFIED: u64 = 30_000;

#[test]
fn check_finds_nothing_wrong_and_loads_every_program() {
    let Some(lab) = Lab::for_test("check_finds_nothing_wrong_and_loads_every_program") else { return };
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let check = lab.goobserve(&run, &["check"]).unwrap();
    let text = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(0), "{text}");
    assert!(text.contains("✓ BPF programs: ") && text.contains("✓ observing: "), "{text}");
    // Nearly all of a start is spent on these; what is more was not meant to be.
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let through = text.split_once("verifier (").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    assert!(through.is_some_and(|count: u64| count <= VERIFIED || !release.starts_with("6.18.")), "{text}");
    fact("check", "ok");
}

#[test]
fn every_request_and_query_is_reported() {
    let Some(lab) = Lab::for_test("every_request_and_query_is_reported") else { return };
    let mut skipped = 0;
    for (name, http1) in [("HTTP/2", false), ("HTTP/1.1", true)] {
        let before = monotonic_ns();
        let options = GoOptions { few: true, http1, ..GoOptions::default() };
        let download = Download::observe(&lab, &options);
        assert!(download.requests.len() > 30, "{} requests", download.requests.len());
        download.is_complete(&lab);
        fact(name, format_args!("{}, {}", download.requests.len(), download.observed.list("dns").len()));
        skipped += int(&download.observed.report["loss"], "program_runs_skipped");
        if name == "HTTP/2" {
            times(&download, before);
        }
    }
    fact("skipped", skipped);
}

#[test]
fn plain_requests_are_reported() {
    let Some(lab) = Lab::for_test("plain_requests_are_reported") else { return };
    let env = vec![("GOPROXY".to_owned(), lab.plain_http().unwrap())];
    let download = Download::observe(&lab, &GoOptions { few: true, env, ..GoOptions::default() });
    assert!(download.requests.len() > 30, "{} requests", download.requests.len());
    download.is_complete(&lab);
    fact("plain", format_args!("{}, {}", download.requests.len(), download.observed.list("dns").len()));
}

/// Proxies that have no address: each is looked up for every file and passed over.
const NAMELESS: usize = 24;

#[test]
fn of_hundreds_of_queries_none_is_missing_that_is_not_counted() {
    let Some(lab) = Lab::for_test("of_hundreds_of_queries_none_is_missing_that_is_not_counted") else {
        return;
    };
    let nameless = (0..NAMELESS).map(|n| format!("http://nameless{n}.test|"));
    let proxies = nameless.chain([lab.plain_http().unwrap()]).collect();
    let env = vec![("GOPROXY".to_owned(), proxies), ("GONOSUMDB".to_owned(), "*".to_owned())];
    let download = Download::observe(&lab, &GoOptions { few: true, env, ..GoOptions::default() });
    let log = lab.dns.take_log();
    assert!(log.len() > 200, "{} queries", log.len());
    let logged = log.iter().map(|query| (&*query.name, &*query.qtype, query.rcode));
    let reported = download.observed.list("dns").iter();
    let reported =
        reported.map(|q| (text(q, "name"), text(q, "qtype"), q["rcode"].as_str().unwrap_or("none")));
    // A query whose answer was missed is one that is in both lists, and differs.
    let (other, missing) = differences(reported, logged).unwrap_or_default();
    let skipped = int(&download.observed.report["loss"], "program_runs_skipped");
    assert!(missing.len() as u64 <= skipped, "{skipped} skipped, missing: {missing:?}, other: {other:?}");
    assert!(other.iter().all(|(_, _, rcode)| *rcode == "none"), "{other:?}");
    assert!(missing.len() * 50 <= log.len(), "{} of {}: {missing:?}", missing.len(), log.len());
    fact("lookups", format_args!("{} of {}", log.len() - missing.len(), log.len()));
    fact("skipped beside them", skipped);
}

/// How long goobserve takes before the command starts and after it ended.
fn times(download: &Download, before: u64) {
    let observed = &download.observed;
    let command = &observed.report["commands"][0];
    let began = observed.started_ns().unwrap() + i128::from(int(command, "start_ns"));
    let seconds = |ns: i128| format!("{:.1} s", ns as f64 / 1e9);
    fact("start", seconds(began - i128::from(before)));
    let ended = began + i128::from(int(command, "wall_ns"));
    fact("end", seconds(i128::from(observed.ended.monotonic_ns) - ended));
}

#[test]
fn watch_reports_a_command_that_starts_beside_it() {
    let Some(lab) = Lab::for_test("watch_reports_a_command_that_starts_beside_it") else { return };
    let run = lab.go_run(&GoOptions { few: true, ..GoOptions::default() }).unwrap();
    let watch = watching(&lab, &run, &["--output", "jsonl"]);
    for program in Objects::of(watch.pid()).programs {
        let of = |info: &aya::programs::ProgramInfo| info.id() == program;
        let info = loaded_programs().flatten().find(of).unwrap();
        if let Some(count) = info.verified_instruction_count() {
            fact("program", format_args!("{} {count}", info.name_as_str().unwrap_or("?")));
        }
    }
    let command = lab.begin(run.command("go").args(["mod", "download"])).unwrap();
    let pid = command.pid();
    assert_eq!(command.end().status.code(), Some(0));
    assert!(lab.proxy.log().settled(SETTLE), "connections stayed open");
    live::line(&watch, pid, "command", |line| !line["wall_ns"].is_null());
    watch.signal(Signal::SIGTERM).unwrap();
    let output = watch.end();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = lines(&String::from_utf8(output.stdout).unwrap());
    let requests = live::of_command(&lines, pid).filter(|line| line["type"] == "request");
    let reported: BTreeMap<u64, &str> = requests.map(|line| (int(line, "id"), text(line, "path"))).collect();
    let updates = live::of_command(&lines, pid).filter(|line| line["type"] == "request_update");
    let answered: BTreeSet<u64> = updates.map(|line| int(line, "id")).collect();
    assert!(reported.keys().all(|id| answered.contains(id)), "{answered:?} of {reported:?}");
    let (_, logged) = lab.proxy.log().take();
    fact("watch", logged.len());
    same("requests", reported.into_values(), logged.iter().map(|request| &*request.path));
}
