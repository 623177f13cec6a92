//! `goobserve doctor` against the lab: of a healthy network nothing, of each fault its name with what shows it; in
//! bounded time, with few requests, and without a private name.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::dns::DnsFaults;
use tests::forward::{Forward, ForwardFaults, ForwardOptions, Protocol, Then};
use tests::go_env::{GoOptions, GoRun};
use tests::lab::{FORWARD_HOST, Lab, PLAIN_PORT, PROXY_HOST};
use tests::net::Place;
use tests::proxy::{Answer, BodyStall, Faults, HeadDelay, Redirect, ending, paths};
use tests::schema::Schema;
use tests::wait;
use tests::wire::{Direction, HelloLoss, LargeLoss, LostSyns, WireFaults};

/// Longer than it may take, the program's start included.
const LIMIT: Duration = Duration::from_secs(15);

/// What was said, as far as it is not good.
#[derive(Debug)]
struct Examined {
    findings: Vec<String>,
    unknown: usize,
    text: String,
    json: Value,
    status: Option<i32>,
}

fn env(pairs: &[(&str, &str)]) -> GoOptions {
    let env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    GoOptions { env, few: true, ..GoOptions::default() }
}

#[track_caller]
fn doctor(lab: &Lab, options: &GoOptions) -> Examined {
    let run = lab.go_run(options).unwrap();
    examined(lab, &run)
}

#[track_caller]
fn examined(lab: &Lab, run: &GoRun) -> Examined {
    let file = run.file("doctor.json");
    let began = Instant::now();
    let output = lab.output(run.goobserve().unwrap().args(["doctor", "--json"]).arg(&file)).unwrap();
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    Schema::published("doctor").unwrap().check(&json).unwrap();
    let checks =
        json["groups"].as_array().unwrap().iter().flat_map(|group| group["checks"].as_array().unwrap());
    for check in checks.clone().filter(|check| check["state"] != "good") {
        assert!(check["fix"].is_string(), "{check}");
    }
    let findings = checks.filter_map(|check| Some(check["finding"].as_str()?.to_owned())).collect();
    let unknown = json["unknown"].as_u64().unwrap() as usize;
    Examined { findings, unknown, text, json, status: output.status.code() }
}

/// One finding, which is wrong, with what shows it.
#[track_caller]
fn names(found: &Examined, finding: &str) {
    assert_eq!(found.findings, [finding], "{}", found.text);
    let shown = found.json.to_string();
    assert_eq!(found.status, Some(1), "{}", found.text);
    assert!(found.text.contains('✗') && found.text.contains("fix: "), "{}", found.text);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[track_caller]
fn is_proved(found: &Examined) {
    assert!(found.text.contains("seen: "), "{}", found.text);
}

#[test]
fn of_a_healthy_network_nothing_is_said_and_few_requests_are_made() {
    let Some(lab) = Lab::for_test("of_a_healthy_network_nothing_is_said_and_few_requests_are_made") else {
        return;
    };
    let plain = lab.plain_http().unwrap();
    let forward = lab.forward(&ForwardOptions::default()).unwrap();
    let through = |options: GoOptions| GoOptions { env: [options.env, forward.env()].concat(), ..options };
    for options in [
        env(&[]),
        env(&[("GOPROXY", &plain)]),
        GoOptions { sumdb_direct: true, ..env(&[]) },
        through(env(&[])),
        through(env(&[("GOPROXY", &plain)])),
        env(&[("GOPROXY", "https://proxy.test|https://mirror.test/x~,direct")]),
    ] {
        lab.dns.take_log();
        lab.proxy.log().take();
        let found = doctor(&lab, &options);
        assert_eq!((found.findings.len(), found.unknown, found.status), (0, 0, Some(0)), "{}", found.text);
        assert!(found.text.contains("nothing wrong") && !found.text.contains("fix:"), "{}", found.text);
        let asked: Vec<String> = lab.dns.take_log().into_iter().map(|query| query.name).collect();
        assert!(asked.iter().all(|name| name.contains(".test")), "{asked:?}");
        assert!(lab.proxy.log().settled(Duration::from_secs(10)));
        let (connections, requests) = lab.proxy.log().take();
        let has_two = options.sumdb_direct || options.env.iter().any(|(_, list)| list.contains("mirror"));
        let servers = if has_two { 2 } else { 1 };
        assert!(connections.len() <= 3 * servers && requests.len() <= 4 * servers, "{requests:?}");
    }
}

#[test]
fn faults_of_name_servers_are_named() {
    let Some(lab) = Lab::for_test("faults_of_name_servers_are_named") else { return };
    let none = DnsFaults::default;
    for (finding, faults) in [
        ("dns-aaaa-silent", DnsFaults { silent_aaaa: true, ..none() }),
        ("dns-slow", DnsFaults { delay: Duration::from_millis(500), ..none() }),
        ("dns-timeout", DnsFaults { drop_first: 1, ..none() }),
        ("dns-error", DnsFaults { servfail: true, ..none() }),
        ("dns-server-silent", DnsFaults { lose_percent: 100, ..none() }),
    ] {
        lab.dns.set_faults(faults);
        let found = doctor(&lab, &env(&[]));
        // Without an address the rest is not known.
        let is_down = ["dns-error", "dns-server-silent"].contains(&finding);
        assert_eq!(found.unknown > 0, is_down, "{}", found.text);
        assert!(found.findings.contains(&finding.to_owned()) && found.status == Some(1), "{}", found.text);
    }
    lab.dns.set_faults(none());
    names_nothing_else(&lab);
    let found = doctor(&lab, &env(&[("GOPROXY", "https://nowhere.test")]));
    assert!(found.findings.iter().all(|finding| finding == "dns-nxdomain"), "{}", found.text);
    assert!(found.text.contains("nowhere.test does not exist"), "{}", found.text);
    // One of two is dead.
    let dead = lab.address("refused.test").unwrap();
    lab.net.resolve(&format!("nameserver {dead}\nnameserver {}\n", lab.net.dns)).unwrap();
    let found = doctor(&lab, &env(&[]));
    names(&found, "dns-server-silent");
    is_proved(&found);
    assert!(found.text.contains(&dead.to_string()), "{}", found.text);
}

#[track_caller]
fn names_nothing_else(lab: &Lab) {
    let found = doctor(lab, &env(&[]));
    assert_eq!(found.findings, Vec::<String>::new(), "{}", found.text);
}

#[test]
fn faults_of_connections_and_certificates_are_named() {
    let Some(lab) = Lab::for_test("faults_of_connections_and_certificates_are_named") else { return };
    let with = |list: &str| {
        doctor(&lab, &GoOptions { go_sum: true, ..env(&[("GOPROXY", list), ("GOSUMDB", "off")]) })
    };
    let found = with("https://refused.test");
    assert!(found.findings.contains(&"connect-refused".to_owned()), "{}", found.text);
    is_proved(&found);
    // The name of nobody's certificate.
    let found = with(&format!("https://{}", lab.address(PROXY_HOST).unwrap()));
    assert!(found.findings.contains(&"tls-name-mismatch".to_owned()), "{}", found.text);
    let found = with(&format!("https://{PROXY_HOST}:{PLAIN_PORT}"));
    assert!(found.findings.contains(&"connect-refused".to_owned()), "{}", found.text);
    lab.plain_http().unwrap();
    let found = with(&format!("https://{PROXY_HOST}:{PLAIN_PORT}"));
    assert!(found.findings.contains(&"tls-not-spoken".to_owned()), "{}", found.text);
    // An authority that this machine does not have.
    let run = lab.go_run(&env(&[("SSL_CERT_FILE", "/dev/null")])).unwrap();
    let found = examined(&lab, &run);
    names(&found, "tls-untrusted");
    assert!(found.text.contains("goobserve lab"), "{}", found.text);
    lab.proxy.set_faults(Faults { reset_sni: Some(PROXY_HOST.into()), ..Faults::default() });
    let found = doctor(&lab, &env(&[]));
    assert!(found.findings.contains(&"tls-reset-by-sni".to_owned()), "{}", found.text);
    assert!(found.text.contains("without the name: it is answered"), "{}", found.text);
    lab.proxy.set_faults(Faults { tls_delay: Duration::from_secs(2), ..Faults::default() });
    names(&doctor(&lab, &env(&[])), "tls-slow");
    // Works, and is worth knowing: no failure.
    lab.proxy.set_faults(Faults { http1_only: true, ..Faults::default() });
    let found = doctor(&lab, &env(&[]));
    assert_eq!((found.findings, found.status), (vec!["http1-only".to_owned()], Some(0)), "{}", found.text);
}

#[test]
fn faults_of_answers_are_named() {
    let Some(lab) = Lab::for_test("faults_of_answers_are_named") else { return };
    let answer = |suffix: &'static str, status| Faults {
        answers: vec![Answer {
            matches: paths(move |path| path.contains(suffix)),
            status,
            retry_after_s: Some(7),
        }],
        ..Faults::default()
    };
    for (finding, faults) in [
        ("request-refused", answer(".info", 403)),
        ("request-refused", answer(".info", 401)),
        ("request-refused", answer(".info", 503)),
        ("rate-limited", answer(".info", 429)),
        ("request-refused", answer("/sumdb/", 500)),
        ("request-refused", answer("/lookup/", 502)),
        (
            "proxy-slow",
            Faults {
                head_delays: vec![HeadDelay { matches: ending(".info"), delay: Duration::from_secs(2) }],
                ..Faults::default()
            },
        ),
        (
            "response-stalled",
            Faults {
                head_delays: vec![HeadDelay { matches: ending(".info"), delay: Duration::from_secs(60) }],
                ..Faults::default()
            },
        ),
        (
            "response-stalled",
            Faults {
                body_stalls: vec![BodyStall {
                    matches: ending(".zip"),
                    after_bytes: 20_000,
                    delay: Duration::from_secs(60),
                }],
                ..Faults::default()
            },
        ),
    ] {
        lab.proxy.set_faults(faults);
        let found = doctor(&lab, &env(&[]));
        assert!(found.findings.contains(&finding.to_owned()), "{}", found.text);
        assert_eq!(found.status, Some(1), "{}", found.text);
        is_proved(&found);
    }
    let redirects = vec![Redirect { matches: ending(".info"), to: "mirror.test".into() }];
    lab.proxy.set_faults(Faults { redirects, ..Faults::default() });
    let found = doctor(&lab, &env(&[]));
    assert_eq!((found.findings, found.status), (vec!["redirect".to_owned()], Some(0)), "{}", found.text);
    assert!(!lab.dns.log().iter().any(|query| query.name == "mirror.test"), "it is not followed");
}

#[test]
fn faults_of_forward_proxies_are_named() {
    for (number, protocol) in [Protocol::Connect, Protocol::Socks5].into_iter().enumerate() {
        let Some(lab) = Lab::for_test("faults_of_forward_proxies_are_named") else { return };
        let password = Some(("hunter2user".to_owned(), "hunter2password".to_owned()));
        let options = ForwardOptions { protocol, password: password.clone(), ..ForwardOptions::default() };
        let forward = lab.forward(&options).unwrap();
        let ask = |forward: &Forward, to: &str, with: &str| {
            let url = forward.url().replace("hunter2user:hunter2password@", with);
            let url = url.replace(&format!("@{FORWARD_HOST}"), &format!("@{to}"));
            doctor(&lab, &env(&[("HTTPS_PROXY", &url)]))
        };
        let own = "hunter2user:hunter2password@";
        let found = ask(&forward, FORWARD_HOST, own);
        assert_eq!((found.findings.len(), found.status), (0, Some(0)), "{}", found.text);
        // The host behind a tunnel is the forward proxy's to look up.
        assert!(!lab.dns.log().iter().any(|query| query.name == PROXY_HOST));
        let refused = |status| ForwardFaults { then: Then::Refused(status), ..ForwardFaults::default() };
        forward.set_faults(refused(if number == 0 { 403 } else { 2 }));
        // With it and without it: whether NO_PROXY would be of use.
        let found = ask(&forward, FORWARD_HOST, own);
        names(&found, "tunnel-refused");
        assert!(found.text.contains("without it proxy.test:443 connects in"), "{}", found.text);
        forward.set_faults(ForwardFaults { then: Then::Silent, ..ForwardFaults::default() });
        names(&ask(&forward, FORWARD_HOST, own), "tunnel-slow");
        forward.set_faults(ForwardFaults { then: Then::Reset, ..ForwardFaults::default() });
        names(&ask(&forward, FORWARD_HOST, own), "tunnel-refused");
        forward.set_faults(ForwardFaults::default());
        names(&ask(&forward, "refused.test", own), "connect-refused");
        if number == 0 {
            let found = ask(&forward, FORWARD_HOST, "");
            names(&found, "tunnel-auth");
            assert!(found.text.contains("407"), "{}", found.text);
            names(&ask(&forward, FORWARD_HOST, "hunter2user:other@"), "tunnel-auth");
        }
    }
}

#[test]
fn faults_of_the_way_are_named() {
    let Some(lab) = Lab::for_test_in("faults_of_the_way_are_named", Place::Wire) else { return };
    let wire = lab.net.wire.as_ref().unwrap();
    let proxy = lab.address(PROXY_HOST).unwrap().into();
    let none = WireFaults::default;
    let large = |direction| LargeLoss { direction, bytes: 1000 };
    for (finding, proof, faults) in [
        (
            "connect-timeout",
            "no answer within 3 s",
            WireFaults { lost_syns: vec![LostSyns { to: proxy, first: None }], ..none() },
        ),
        (
            "syn-lost",
            "a SYN is repeated",
            WireFaults { lost_syns: vec![LostSyns { to: proxy, first: Some(1) }], ..none() },
        ),
        (
            "tls-hello-large",
            "one packet: it is answered",
            WireFaults { lost_hellos: vec![HelloLoss::LargerThanAPacket], ..none() },
        ),
        (
            "tls-hello-unanswered",
            "without the name: it is answered",
            WireFaults { lost_hellos: vec![HelloLoss::Naming(PROXY_HOST.into())], ..none() },
        ),
        (
            "mtu-blackhole",
            "packets of at most 536 bytes",
            WireFaults { large_losses: vec![large(Direction::ToServer)], ..none() },
        ),
        (
            "mtu-blackhole",
            "packets of at most 536 bytes",
            WireFaults { large_losses: vec![large(Direction::ToClient)], ..none() },
        ),
    ] {
        wire.set_faults(faults);
        let found = doctor(&lab, &env(&[]));
        assert!(found.findings.contains(&finding.to_owned()), "{finding}: {}", found.text);
        assert_eq!(found.status, Some(1), "{}", found.text);
        let shown = found.text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(proof), "{shown}");
    }
    // A name with an address of IPv6 at which nobody is.
    wire.set_faults(none());
    lab.dns.set_faults(DnsFaults { aaaa: true, ..DnsFaults::default() });
    let found = doctor(&lab, &env(&[]));
    names(&found, "connect-family-dead");
    is_proved(&found);
}

#[test]
fn settings_are_judged_before_anybody_is_asked() {
    let Some(lab) = Lab::for_test("settings_are_judged_before_anybody_is_asked") else { return };
    for (pairs, finding) in [
        (&[("GOPROXY", "direct,https://proxy.test")][..], "goproxy-unreachable-item"),
        (&[("GOPRIVATE", "https://git.corp.test")], "pattern-matches-nothing"),
        (&[("GOPRIVATE", "git.corp.test"), ("GONOPROXY", "x.test")], "private-not-covered"),
        (&[("GO111MODULE", "off")], "modules-off"),
        (&[("GOFLAGS", "-insecure")], "goflags-invalid"),
    ] {
        let found = doctor(&lab, &env(pairs));
        assert!(found.findings.contains(&finding.to_owned()), "{}", found.text);
        assert_eq!(found.status, Some(1), "{}", found.text);
    }
}

#[test]
fn private_names_are_sent_to_nobody() {
    let Some(lab) = Lab::for_test("private_names_are_sent_to_nobody") else { return };
    let run = lab
        .go_run(&env(&[
            ("GOPRIVATE", "git.test,golang.org/x/secret"),
            ("GONOPROXY", "git.test,golang.org/x/secret,code.test"),
        ]))
        .unwrap();
    let go_mod = run.project().join("go.mod");
    let more = "\nrequire git.test/team/secret v1.0.0\nrequire golang.org/x/secret v1.0.0\nrequire code.test/secret v1.0.0\n";
    fs::write(&go_mod, fs::read_to_string(&go_mod).unwrap() + more).unwrap();
    lab.dns.take_log();
    lab.proxy.log().take();
    let found = examined(&lab, &run);
    // That they were not tried is said, and is no failure.
    assert_eq!((found.findings.len(), found.unknown, found.status), (0, 1, Some(0)), "{}", found.text);
    assert!(found.text.contains("no private name is sent"), "{}", found.text);
    let queries = format!("{:?}", lab.dns.take_log());
    assert!(!queries.contains("git.test") && !queries.contains("code.test"), "{queries}");
    let requests = format!("{:?}", lab.proxy.log().take().1);
    assert!(!requests.contains("secret") && requests.contains("golang.org/x/text"), "{requests}");
}

#[test]
fn without_root_it_says_what_is_not_known_and_goes_the_same_way() {
    let Some(lab) = Lab::for_test("without_root_it_says_what_is_not_known_and_goes_the_same_way") else {
        return;
    };
    let run = lab.go_run(&env(&[])).unwrap();
    run.give_to(61_503).unwrap();
    tests::paths::copy_program(&tests::goobserve::binary().unwrap(), &run.file("goobserve")).unwrap();
    let mut command = run.command("setpriv");
    command
        .args(["--reuid=61503", "--regid=61503", "--clear-groups"])
        .arg(run.file("goobserve"))
        .arg("doctor");
    let output = lab.output(&mut command).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("? BPF") && text.contains("sudo goobserve doctor") && text.contains("1 not known"),
        "{text}"
    );
    let output = lab.output(command.arg("-q")).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("? BPF") && !text.contains('✓'), "{text}");
}

#[test]
fn ctrl_c_ends_it_at_once() {
    let Some(lab) = Lab::for_test("ctrl_c_ends_it_at_once") else { return };
    lab.dns.set_faults(DnsFaults { lose_percent: 100, ..DnsFaults::default() });
    let run = lab.go_run(&env(&[])).unwrap();
    let mut command = run.goobserve().unwrap();
    let child = lab.spawn(command.arg("doctor").stdout(Stdio::piped()).stderr(Stdio::piped())).unwrap();
    wait::until("a name server to be asked", || (!lab.dns.log().is_empty()).then_some(()));
    let began = Instant::now();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let output: Output = child.wait_with_output().unwrap();
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(output.status.signal(), Some(Signal::SIGINT as i32));
}
