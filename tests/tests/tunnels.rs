//! Commands whose way out is a forward proxy: everything inside a tunnel is in the report as without it,
//! what the proxy does wrong is found and said while it lasts, and its password is nowhere.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::complete::{Download, int, same, text};
use tests::forward::{FORWARD_PORT, Forward, ForwardFaults, ForwardOptions, Protocol, Then};
use tests::git::VERSION;
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::Observed;
use tests::lab::{FORWARD_HOST, GIT_HOST, Lab};
use tests::live::{self, watching};
use tests::schema::Schema;
use tests::{skip, wait};

const MODULE: &str = "github.com/google/uuid@v1.6.0";
const USER: &str = "hunter2user";
const PASSWORD: &str = "hunter2password";
/// `Basic` and user and password as they are sent.
const BASIC: &str = "aHVudGVyMnVzZXI6aHVudGVyMnBhc3N3b3Jk";

fn connect() -> ForwardOptions {
    ForwardOptions::default()
}

fn socks5() -> ForwardOptions {
    ForwardOptions { protocol: Protocol::Socks5, ..ForwardOptions::default() }
}

fn over_tls() -> ForwardOptions {
    ForwardOptions { over_tls: true, ..ForwardOptions::default() }
}

fn with_password(mut options: ForwardOptions) -> ForwardOptions {
    options.password = Some((USER.to_owned(), PASSWORD.to_owned()));
    options
}

/// The proxy as its clients and the report call it.
fn authority() -> String {
    format!("{FORWARD_HOST}:{FORWARD_PORT}")
}

fn through(forward: &Forward, options: GoOptions) -> GoOptions {
    GoOptions { env: [options.env, forward.env()].concat(), ..options }
}

fn go_sum() -> GoOptions {
    GoOptions { go_sum: true, ..GoOptions::default() }
}

/// Each tunnel that the proxy was asked for is that of a connection, with its target and its time.
#[track_caller]
fn has_the_tunnels(observed: &Observed, forward: &Forward, protocol: &str) {
    let log = forward.take_log();
    assert_ne!(log.len(), 0);
    let tunnels: Vec<(&Value, &Value)> = observed
        .list("connections")
        .iter()
        .filter_map(|c| Some((c, c.get("tunnel").filter(|tunnel| !tunnel.is_null())?)))
        .collect();
    let reported = tunnels.iter().map(|(c, tunnel)| {
        let [local, protocol, outcome] =
            [text(c, "local"), text(tunnel, "protocol"), text(tunnel, "outcome")].map(str::to_owned);
        (local, protocol, text(tunnel, "target").to_owned(), outcome)
    });
    let logged = log.iter().map(|record| {
        let outcome = match (record.answered_ns, record.refused) {
            (None, _) => "open",
            (_, None) => "established",
            (_, Some(_)) => "refused",
        };
        (record.peer.to_string(), protocol.to_owned(), record.target.clone(), outcome.to_owned())
    });
    same("tunnels", reported, logged);
    for (connection, _) in tunnels {
        assert_eq!(text(connection, "remote_name"), authority(), "{connection}");
    }
}

/// Downloads through such a proxy, over HTTP/2 and HTTP/1.1: the report is what the servers' logs are.
#[track_caller]
fn complete_through(test: &str, options: &ForwardOptions, protocol: &str) {
    let Some(lab) = Lab::for_test(test) else { return };
    let forward = lab.forward(options).unwrap();
    let forward_over_tls = options.over_tls;
    for http1 in [false, true] {
        let options = through(&forward, GoOptions { http1, ..GoOptions::default() });
        let download = Download::observe(&lab, &options);
        assert!(download.requests.len() > 100);
        download.has_the_answers(&lab);
        download.has_the_printed_urls();
        has_the_tunnels(&download.observed, &forward, protocol);
        let alpn = if http1 { "http/1.1" } else { "h2" };
        let connections = download.observed.list("connections");
        for connection in connections.iter().filter(|c| int(c, "requests") > 0) {
            assert!(connection["alpn"] == alpn || http1 && connection["alpn"].is_null(), "{connection}");
            // What was said in a hello inside TLS nobody sees.
            let named = if forward_over_tls { Value::Null } else { "proxy.test".into() };
            assert_eq!(connection["server_name"], named, "{connection}");
        }
        let carried: u64 = connections.iter().map(|c| int(c, "requests")).sum();
        assert_eq!(carried, download.requests.len() as u64);
        has_no_bad_stall(&download.observed);
    }
}

#[track_caller]
fn has_no_bad_stall(observed: &Observed) {
    let bad = stalls(observed).iter().filter(|stall| stall["severity"] != "info");
    let bad: Vec<&Value> = bad.filter(|stall| text(stall, "kind").starts_with("tunnel")).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

fn stalls(observed: &Observed) -> &[Value] {
    observed.report["commands"][0]["stalls"].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn the_report_is_complete_through_connect() {
    complete_through("the_report_is_complete_through_connect", &connect(), "connect");
}

#[test]
fn the_report_is_complete_through_connect_with_a_password() {
    let test = "the_report_is_complete_through_connect_with_a_password";
    complete_through(test, &with_password(connect()), "connect");
}

#[test]
fn the_report_is_complete_through_socks5() {
    complete_through("the_report_is_complete_through_socks5", &socks5(), "socks5");
}

#[test]
fn the_report_is_complete_through_socks5_with_a_password() {
    let test = "the_report_is_complete_through_socks5_with_a_password";
    complete_through(test, &with_password(socks5()), "socks5");
}

#[test]
fn the_report_is_complete_through_a_proxy_spoken_to_over_tls() {
    complete_through("the_report_is_complete_through_a_proxy_spoken_to_over_tls", &over_tls(), "connect");
}

#[test]
fn the_report_is_complete_through_a_proxy_spoken_to_over_tls_with_a_password() {
    let test = "the_report_is_complete_through_a_proxy_spoken_to_over_tls_with_a_password";
    complete_through(test, &with_password(over_tls()), "connect");
}

fn blocked_ns(observed: &Observed, phase: &str) -> u64 {
    let phases = observed.report["commands"][0]["phases"].as_array().unwrap();
    phases.iter().find(|of| of["phase"] == phase).map_or(0, |of| int(of, "blocked_ns"))
}

#[test]
fn what_a_proxy_delays_is_the_time_of_its_tunnel() {
    let test = "what_a_proxy_delays_is_the_time_of_its_tunnel";
    for options in [connect(), socks5(), over_tls()] {
        let Some(lab) = Lab::for_test(test) else { return };
        let forward = lab.forward(&options).unwrap();
        let delay = Duration::from_millis(1_200);
        forward.set_faults(ForwardFaults { delay, ..ForwardFaults::default() });
        let run = lab.go_run(&through(&forward, go_sum())).unwrap();
        let observed = lab.observe(&run, &["go", "mod", "download", MODULE]).unwrap();
        assert_eq!(observed.output.status.code(), Some(0), "{}", observed.stderr());

        // What the proxy's own log says, for a busy machine's clocks ring later than they should.
        let log = forward.log();
        let [record] = &log[..] else { panic!("one tunnel: {log:?}") };
        let injected = (record.answered_ns.unwrap() - record.asked_ns) as f64;
        let connection = observed.list("connections").iter().find(|c| c["tunnel"].is_object()).unwrap();
        let tunnel = &connection["tunnel"];
        let took = (int(tunnel, "end_ns") - int(tunnel, "start_ns")) as f64;
        let share = blocked_ns(&observed, "tunnel") as f64 / injected;
        println!("{options:?}: took {:.3} of the injected time, blocked {share:.3}", took / injected);
        assert!((0.9..1.1).contains(&(took / injected)), "{took} of {injected} ns: {tunnel}");
        assert!((0.97..1.03).contains(&share), "{share}: {}", observed.report["commands"][0]["phases"]);

        let slow = stalls(&observed).iter().find(|stall| stall["kind"] == "tunnel-slow");
        let slow = slow.unwrap_or_else(|| panic!("{:#?}", stalls(&observed)));
        assert_eq!((text(slow, "phase"), text(slow, "host")), ("tunnel", &*authority()), "{slow}");
        let cost = int(slow, "cost_ns") as f64 / injected;
        assert!((0.9..1.1).contains(&cost), "{cost}: {slow}");
    }
}

#[test]
fn a_proxy_that_never_answers_is_said_while_the_command_hangs() {
    let test = "a_proxy_that_never_answers_is_said_while_the_command_hangs";
    let schema = Schema::published("recording").unwrap();
    for options in [connect(), socks5(), over_tls()] {
        let Some(lab) = Lab::for_test(test) else { return };
        let forward = lab.forward(&options).unwrap();
        forward.set_faults(ForwardFaults { then: Then::Silent, ..ForwardFaults::default() });
        let run = lab.go_run(&through(&forward, go_sum())).unwrap();
        let watch = watching(&lab, &run, &["--output", "jsonl"]);
        let mut hung = lab.begin(&mut run.go(&["mod", "download", MODULE])).unwrap();
        let pid = hung.pid();
        let waiting = live::line(&watch, pid, "waiting", |line| line["phase"] == "tunnel");
        schema.check(&waiting).unwrap();
        let after = Duration::from_nanos(int(&waiting, "at_ns") - int(&waiting, "since_ns"));
        assert!(after < Duration::from_secs(2), "said after {after:?}: {waiting}");
        assert_eq!(waiting["host"], authority(), "{waiting}");
        let summary = text(&waiting, "summary");
        assert!(summary.contains(&authority()) && summary.contains("no answer"), "{summary}");
        assert!(summary.contains("proxy.test:443"), "{summary}");

        let stall = live::line(&watch, pid, "stall", |line| line["kind"] == "tunnel-unanswered");
        assert!(!hung.ends_within(Duration::ZERO), "it still hangs: {stall}");
        let after = Duration::from_nanos(int(&stall, "at_ns") - int(&stall, "start_ns"));
        println!("{options:?}: {summary}; a stall after {after:?}");
        assert!(after < Duration::from_secs(3), "found after {after:?}: {stall}");
        assert_eq!((text(&stall, "phase"), &stall["host"]), ("tunnel", &authority().into()), "{stall}");
        drop(hung);
        watch.signal(Signal::SIGTERM).unwrap();
        watch.end();
    }
}

#[test]
fn watch_that_comes_later_says_what_was_sent_and_not_what() {
    let test = "watch_that_comes_later_says_what_was_sent_and_not_what";
    for options in [connect(), socks5(), over_tls()] {
        let Some(lab) = Lab::for_test(test) else { return };
        let forward = lab.forward(&options).unwrap();
        forward.set_faults(ForwardFaults { then: Then::Silent, ..ForwardFaults::default() });
        let run = lab.go_run(&through(&forward, go_sum())).unwrap();
        let hung = lab.begin(&mut run.go(&["mod", "download", MODULE])).unwrap();
        wait::until("the proxy to be asked", || (!forward.log().is_empty()).then_some(()));
        let watch = watching(&lab, &run, &["--output", "jsonl"]);
        let waiting = live::line(&watch, hung.pid(), "waiting", |_| true);
        let summary = text(&waiting, "summary");
        println!("{options:?}: {summary}");
        assert!(!summary.contains("hello"), "{summary}");
        // SOCKS and TLS have had answers before the one that does not come.
        if options.protocol == Protocol::Connect && !options.over_tls {
            assert!(summary.contains("bytes sent") && summary.contains("nothing received"), "{summary}");
            assert_eq!(text(&waiting, "phase"), "tunnel", "{waiting}");
        }
        drop(hung);
        watch.signal(Signal::SIGTERM).unwrap();
        watch.end();
    }
}

/// How a proxy says no, and what of it must be in the finding.
#[track_caller]
fn is_refused(lab: &Lab, run: &GoRun, says: &str) {
    let observed = lab.observe(run, &["go", "mod", "download", MODULE]).unwrap();
    assert_eq!(observed.output.status.code(), Some(1), "{}", observed.stderr());
    let refused = stalls(&observed).iter().find(|stall| stall["kind"] == "tunnel-refused");
    let refused = refused.unwrap_or_else(|| panic!("{:#?}", stalls(&observed)));
    let summary = text(refused, "summary");
    println!("{summary}");
    assert_eq!((text(refused, "phase"), text(refused, "host")), ("tunnel", &*authority()), "{refused}");
    assert!(summary.contains(says) && summary.contains("proxy.test:443"), "{says}: {summary}");
    assert_eq!(refused["severity"], "critical", "{refused}");
    // The report has it in its first lines, wherever they are wrapped.
    let printed = observed.stderr().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(printed.contains(summary), "{printed}");
}

#[test]
fn refused_tunnels_are_named_with_their_status() {
    let Some(lab) = Lab::for_test("refused_tunnels_are_named_with_their_status") else { return };
    let forward = lab.forward(&connect()).unwrap();
    for status in [403, 407, 502, 503] {
        forward.set_faults(ForwardFaults { then: Then::Refused(status), ..ForwardFaults::default() });
        let run = lab.go_run(&through(&forward, go_sum())).unwrap();
        is_refused(&lab, &run, &format!("with {status}"));
    }
    forward.set_faults(ForwardFaults { then: Then::Reset, ..ForwardFaults::default() });
    is_refused(&lab, &lab.go_run(&through(&forward, go_sum())).unwrap(), "without an answer");
}

#[test]
fn refused_socks_tunnels_are_named_with_their_reply() {
    let Some(lab) = Lab::for_test("refused_socks_tunnels_are_named_with_their_reply") else { return };
    let forward = lab.forward(&socks5()).unwrap();
    for (reply, says) in [(2, "not allowed by its rules"), (4, "host unreachable"), (5, "connection refused")]
    {
        forward.set_faults(ForwardFaults { then: Then::Refused(reply), ..ForwardFaults::default() });
        let run = lab.go_run(&through(&forward, go_sum())).unwrap();
        is_refused(&lab, &run, says);
    }
    forward.set_faults(ForwardFaults { then: Then::Reset, ..ForwardFaults::default() });
    is_refused(&lab, &lab.go_run(&through(&forward, go_sum())).unwrap(), "without an answer");
}

#[test]
fn tunnels_refused_over_tls_are_named() {
    let Some(lab) = Lab::for_test("tunnels_refused_over_tls_are_named") else { return };
    let forward = lab.forward(&over_tls()).unwrap();
    forward.set_faults(ForwardFaults { then: Then::Refused(403), ..ForwardFaults::default() });
    is_refused(&lab, &lab.go_run(&through(&forward, go_sum())).unwrap(), "with 403");
    forward.set_faults(ForwardFaults { then: Then::Reset, ..ForwardFaults::default() });
    is_refused(&lab, &lab.go_run(&through(&forward, go_sum())).unwrap(), "without an answer");
}

#[test]
fn a_missing_password_is_the_commands_to_give() {
    let Some(lab) = Lab::for_test("a_missing_password_is_the_commands_to_give") else { return };
    let forward = lab.forward(&with_password(connect())).unwrap();
    let without = format!("http://{}", authority());
    let env = vec![("HTTPS_PROXY".to_owned(), without)];
    let run = lab.go_run(&GoOptions { env, ..go_sum() }).unwrap();
    is_refused(&lab, &run, "with 407 (it asks for Basic)");
    drop(forward);
}

#[test]
fn git_goes_through_the_same_proxy() {
    let test = "git_goes_through_the_same_proxy";
    if !skip::has(test, "git", "git") {
        return;
    }
    for options in [connect(), socks5(), over_tls()] {
        let Some(lab) = Lab::for_test(test) else { return };
        let host = lab.git_host(None).unwrap();
        let forward = lab.forward(&options).unwrap();
        let delay = Duration::from_millis(700);
        forward.set_faults(ForwardFaults { delay, ..ForwardFaults::default() });
        let env = [
            ("GOPROXY", "direct"),
            ("GOSUMDB", "off"),
            ("GIT_SSL_CAINFO", lab.ca().to_str().unwrap()),
            ("GIT_PROXY_SSL_CAINFO", lab.ca().to_str().unwrap()),
            ("GIT_CONFIG_NOSYSTEM", "1"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let run = lab.go_run(&through(&forward, GoOptions { env, ..GoOptions::default() })).unwrap();
        let module = format!("{GIT_HOST}/lib@{VERSION}");
        let observed = lab.observe(&run, &["go", "mod", "download", &module]).unwrap();
        assert_eq!(observed.output.status.code(), Some(0), "{}", observed.stderr());
        assert_ne!(host.log().requests().len(), 0);
        let log = forward.log();
        assert!(log.len() >= 2, "go's page and git's files: {log:?}");
        let of_git = observed.list("connections").iter().filter(|c| text(c, "comm").starts_with("git"));
        let of_git: Vec<&Value> = of_git.filter(|c| c["remote_name"] == authority()).collect();
        assert!(!of_git.is_empty(), "{:#?}", observed.list("connections"));
        // What git says inside TLS nobody sees; of plain TCP the first bytes are read.
        if !options.over_tls {
            for connection in of_git {
                let tunnel = &connection["tunnel"];
                // curl looks the name up itself for socks5://, and the hello has it.
                assert!(text(tunnel, "target").ends_with(":443"), "{connection}");
                assert_eq!(connection["server_name"], GIT_HOST, "{connection}");
                assert_eq!(tunnel["outcome"], "established", "{connection}");
                let took = int(tunnel, "end_ns") - int(tunnel, "start_ns");
                assert!(took >= 700_000_000, "{tunnel}");
            }
        }
    }
}

#[track_caller]
fn clean(name: &str, output: &str) {
    for secret in [USER, PASSWORD, BASIC] {
        let line = output.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is in {name}: {line:?}");
    }
}

#[test]
fn the_proxys_password_is_nowhere() {
    let test = "the_proxys_password_is_nowhere";
    for (options, then) in [
        (connect(), Then::Stands),
        (socks5(), Then::Stands),
        (over_tls(), Then::Stands),
        (connect(), Then::Refused(407)),
        (connect(), Then::Refused(502)),
        (socks5(), Then::Refused(2)),
    ] {
        let Some(lab) = Lab::for_test(test) else { return };
        let forward = lab.forward(&with_password(options)).unwrap();
        forward.set_faults(ForwardFaults { then, ..ForwardFaults::default() });
        let run = lab.go_run(&through(&forward, go_sum())).unwrap();
        let watch = watching(&lab, &run, &["--output", "jsonl"]);
        let [json, record] = ["r.json", "r.jsonl"].map(|name| run.file(name));
        let mut command = run.goobserve().unwrap();
        command.args(["run", "-vv"]).arg("--json").arg(&json).arg("--record").arg(&record);
        let output = lab.output(command.args(["--", "go", "mod", "download", MODULE])).unwrap();
        let stands = then == Then::Stands;
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), stands, "{printed}");
        clean("the report on the terminal", &printed);
        clean("--json", &fs::read_to_string(&json).unwrap());
        clean("--record", &fs::read_to_string(&record).unwrap());
        for format in ["text", "markdown", "html", "perfetto", "json"] {
            let output =
                lab.goobserve(&run, &["report", record.to_str().unwrap(), "--format", format]).unwrap();
            assert_eq!(output.status.code(), Some(0), "{format}");
            clean(format, &String::from_utf8_lossy(&output.stdout));
        }
        wait::until("the command's end", || watch.stdout().contains("\"exit_code\":").then_some(()));
        watch.signal(Signal::SIGTERM).unwrap();
        let ended = watch.end();
        clean("watch", &String::from_utf8_lossy(&ended.stdout));
        clean("its errors", &String::from_utf8_lossy(&ended.stderr));
        assert!(fs::read_to_string(&json).unwrap().contains(&authority()), "the proxy itself is named");
    }
}
