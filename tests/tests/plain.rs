//! Module proxies in plain http: requests are read at the socket, and nothing is said of TLS.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::complete::{Download, int, text};
use tests::forward::{FORWARD_PORT, ForwardOptions};
use tests::go_env::GoOptions;
use tests::goobserve::Observed;
use tests::lab::{FORWARD_HOST, Lab, PLAIN_PORT, PROXY_HOST};
use tests::live::{self, watching};
use tests::proxy::{Answer, BodyStall, Faults, HeadDelay, ResetBody, ending};
use tests::wait;

const MODULE: &str = "github.com/google/uuid@v1.6.0";
/// Longer than any of these tests.
const FOR_EVER: Duration = Duration::from_hours(1);

/// The proxy as the report calls it.
fn authority() -> String {
    format!("{PROXY_HOST}:{PLAIN_PORT}")
}

fn options(url: &str) -> GoOptions {
    GoOptions { env: vec![("GOPROXY".to_owned(), url.to_owned())], ..GoOptions::default() }
}

fn stalls(observed: &Observed) -> &[Value] {
    observed.report["commands"][0]["stalls"].as_array().map_or(&[], Vec::as_slice)
}

fn stall<'a>(observed: &'a Observed, kind: &str) -> &'a Value {
    let found = stalls(observed).iter().find(|stall| stall["kind"] == kind);
    found.unwrap_or_else(|| panic!("{kind} is not among {:#?}", stalls(observed)))
}

#[test]
fn the_report_is_complete_in_plain_http() {
    let Some(lab) = Lab::for_test("the_report_is_complete_in_plain_http") else { return };
    let url = lab.plain_http().unwrap();
    for gomaxprocs in [None, Some(16)] {
        let download = Download::observe(&lab, &GoOptions { gomaxprocs, ..options(&url) });
        assert!(download.requests.len() > 100);
        download.is_complete(&lab);
        download.has_the_printed_urls();
        for connection in download.observed.list("connections").iter().filter(|c| int(c, "requests") > 0) {
            assert!(
                connection["tls_start_ns"].is_null() && connection["server_name"].is_null(),
                "{connection}"
            );
        }
        let phases = download.observed.report["commands"][0]["phases"].as_array().unwrap();
        assert!(!phases.iter().any(|phase| phase["phase"] == "tls" && int(phase, "blocked_ns") > 0));
        let bad: Vec<&Value> =
            stalls(&download.observed).iter().filter(|stall| stall["severity"] != "info").collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

#[test]
fn the_report_is_complete_in_plain_http_through_a_forward_proxy() {
    let test = "the_report_is_complete_in_plain_http_through_a_forward_proxy";
    let Some(lab) = Lab::for_test(test) else { return };
    let url = lab.plain_http().unwrap();
    let forward = lab.forward(&ForwardOptions::default()).unwrap();
    let mut options = options(&url);
    options.env.extend(forward.env());
    let download = Download::observe(&lab, &options);
    assert!(download.requests.len() > 100);
    download.has_the_answers(&lab);
    let remote = format!("{FORWARD_HOST}:{FORWARD_PORT}");
    for connection in download.observed.list("connections").iter().filter(|c| int(c, "requests") > 0) {
        assert_eq!(connection["remote_name"], remote, "{connection}");
    }
}

#[test]
fn what_a_plain_server_delays_is_its_own_time() {
    let Some(lab) = Lab::for_test("what_a_plain_server_delays_is_its_own_time") else { return };
    let url = lab.plain_http().unwrap();
    let delay = Duration::from_millis(1_500);
    let slow = HeadDelay { matches: ending(".zip"), delay };
    lab.proxy.set_faults(Faults { head_delays: vec![slow], ..Faults::default() });
    let run = lab.go_run(&GoOptions { go_sum: true, ..options(&url) }).unwrap();
    let observed = lab.observe(&run, &["go", "mod", "download", MODULE]).unwrap();
    assert_eq!(observed.output.status.code(), Some(0), "{}", observed.stderr());
    let slow = stall(&observed, "proxy-slow");
    assert_eq!(slow["host"], authority(), "{slow}");
    let cost = int(slow, "cost_ns") as f64 / delay.as_nanos() as f64;
    assert!((0.9..1.1).contains(&cost), "{cost}: {slow}");
}

#[test]
fn statuses_and_cut_bodies_of_a_plain_server_are_named() {
    let Some(lab) = Lab::for_test("statuses_and_cut_bodies_of_a_plain_server_are_named") else { return };
    let url = lab.plain_http().unwrap();
    let answer = |status| Faults {
        answers: vec![Answer { matches: ending(".zip"), status, retry_after_s: None }],
        ..Faults::default()
    };
    let cut = ResetBody { matches: ending(".zip"), after_bytes: 2_000 };
    for (faults, kind, says) in [
        (answer(403), "request-refused", "403"),
        (answer(503), "request-refused", "503"),
        (answer(429), "rate-limited", "429"),
        (Faults { reset_bodies: vec![cut], ..Faults::default() }, "transfer-cut", PROXY_HOST),
    ] {
        lab.proxy.set_faults(faults);
        let run = lab.go_run(&GoOptions { go_sum: true, ..options(&url) }).unwrap();
        let observed = lab.observe(&run, &["go", "mod", "download", MODULE]).unwrap();
        assert_eq!(observed.output.status.code(), Some(1), "{}", observed.stderr());
        let found = stall(&observed, kind);
        println!("{}", text(found, "summary"));
        assert!(text(found, "summary").contains(says), "{found}");
        assert_eq!((&found["host"], text(found, "phase")), (&authority().into(), "proxy"), "{found}");
    }
}

#[test]
fn a_plain_server_that_hangs_is_said_while_it_does() {
    let Some(lab) = Lab::for_test("a_plain_server_that_hangs_is_said_while_it_does") else { return };
    let url = lab.plain_http().unwrap();
    let head = HeadDelay { matches: ending(".zip"), delay: FOR_EVER };
    let body = BodyStall { matches: ending(".zip"), after_bytes: 1_000, delay: FOR_EVER };
    for faults in [
        Faults { head_delays: vec![head], ..Faults::default() },
        Faults { body_stalls: vec![body], ..Faults::default() },
    ] {
        lab.proxy.set_faults(faults);
        let run = lab.go_run(&GoOptions { go_sum: true, ..options(&url) }).unwrap();
        let watch = watching(&lab, &run, &["--output", "jsonl"]);
        let mut hung = lab.begin(&mut run.go(&["mod", "download", MODULE])).unwrap();
        let pid = hung.pid();
        let waiting = live::line(&watch, pid, "waiting", |line| line["phase"] == "proxy");
        let after = Duration::from_nanos(int(&waiting, "at_ns") - int(&waiting, "since_ns"));
        println!("after {after:?}: {}", text(&waiting, "summary"));
        assert!(after < Duration::from_secs(2), "{waiting}");
        assert_eq!(waiting["host"], authority(), "{waiting}");
        assert!(!hung.ends_within(Duration::ZERO), "it still hangs");
        drop(hung);
        watch.signal(Signal::SIGTERM).unwrap();
        watch.end();
    }
}

#[test]
fn watch_that_comes_later_says_no_hello_of_a_plain_server() {
    let test = "watch_that_comes_later_says_no_hello_of_a_plain_server";
    let Some(lab) = Lab::for_test(test) else { return };
    let url = lab.plain_http().unwrap();
    let head = HeadDelay { matches: ending(".info"), delay: FOR_EVER };
    lab.proxy.set_faults(Faults { head_delays: vec![head], ..Faults::default() });
    let run = lab.go_run(&GoOptions { go_sum: true, ..options(&url) }).unwrap();
    let hung = lab.begin(&mut run.go(&["mod", "download", MODULE])).unwrap();
    wait::until("a request", || (!lab.proxy.log().requests().is_empty()).then_some(()));
    let watch = watching(&lab, &run, &["--output", "jsonl"]);
    let waiting = live::line(&watch, hung.pid(), "waiting", |_| true);
    let summary = text(&waiting, "summary");
    println!("{summary}");
    assert!(summary.contains("bytes sent") && summary.contains("nothing received"), "{summary}");
    assert_eq!(text(&waiting, "phase"), "proxy", "{waiting}");
    drop(hung);
    watch.signal(Signal::SIGTERM).unwrap();
    watch.end();
}
