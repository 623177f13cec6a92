//! Name servers between: what a command asks a local stub resolver, and what that asks on its
//! behalf. Also Go's resolver beside the C library's.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::complete::{int, same, text};
use tests::dns::{DnsFaults, QueryRecord};
use tests::go_env::GoOptions;
use tests::goobserve::Observed;
use tests::lab::{Lab, PROXY_HOST, SUMDB_HOST};
use tests::local_resolver::Dnsmasq;
use tests::net::Place;
use tests::{skip, wait};

const DOWNLOAD: [&str; 3] = ["go", "mod", "download"];
const DELAY: Duration = Duration::from_millis(200);

fn ready(test: &str) -> Option<Lab> {
    skip::has(test, "dnsmasq", "dnsmasq-base").then(|| Lab::for_test(test)).flatten()
}

#[track_caller]
fn observe(lab: &Lab, command: &[&str]) -> Observed {
    let run = lab.go_run(&GoOptions { go_sum: true, ..GoOptions::default() }).unwrap();
    let observed = lab.observe(&run, command).unwrap();
    assert_eq!(observed.output.status.code(), Some(0), "{}", observed.stderr());
    assert_eq!(int(&observed.report["loss"], "kernel_events_lost"), 0);
    assert_eq!(int(&observed.report["loss"], "events_undecoded"), 0);
    observed
}

/// Questions of the command's own processes, and those of local resolvers on its behalf.
fn queries(observed: &Observed) -> (Vec<&Value>, Vec<&Value>) {
    observed.list("dns").iter().partition(|dns| dns["on_behalf_of"].is_null())
}

fn took(dns: &Value) -> Duration {
    Duration::from_nanos(int(dns, "end_ns") - int(dns, "start_ns"))
}

/// Each of the local resolver's queries is in the name server's log, and inside the query of the
/// command that it is about.
#[track_caller]
fn belong(own: &[&Value], local_resolvers: &[&Value], dnsmasq: &Dnsmasq, lab: &Lab, log: &[QueryRecord]) {
    same(
        "queries of the local resolver",
        local_resolvers.iter().map(|dns| (text(dns, "name"), text(dns, "qtype"), text(dns, "transport"))),
        log.iter().map(|query| (&*query.name, &*query.qtype, query.transport)),
    );
    for dns in local_resolvers {
        assert_eq!(text(dns, "comm"), "dnsmasq");
        assert_eq!(text(dns, "server"), format!("{}:53", lab.net.dns));
        let about = own.iter().find(|own| own["id"] == dns["on_behalf_of"]).unwrap();
        assert_eq!(text(about, "server"), format!("{}:53", dnsmasq.address));
        for field in ["command", "name", "qtype", "transport"] {
            assert_eq!(about[field], dns[field], "{field} of {about} and {dns}");
        }
        assert!(int(about, "start_ns") < int(dns, "start_ns"), "{about} {dns}");
        assert!(int(dns, "end_ns") < int(about, "end_ns"), "{about} {dns}");
    }
}

#[test]
fn a_query_and_what_its_local_resolver_asked_have_their_times() {
    let Some(lab) = ready("a_query_and_what_its_local_resolver_asked_have_their_times") else { return };
    let dnsmasq = lab.dnsmasq(0, false).unwrap();
    lab.dns.set_faults(DnsFaults { delay: DELAY, ..DnsFaults::default() });
    let observed = observe(&lab, &DOWNLOAD);
    let (own, local_resolvers) = queries(&observed);
    assert_eq!(local_resolvers.len(), own.len(), "{own:?} {local_resolvers:?}");
    assert!(local_resolvers.len() >= 2);
    belong(&own, &local_resolvers, &dnsmasq, &lab, &lab.dns.take_log());
    for dns in own.iter().chain(&local_resolvers) {
        assert!(took(dns) >= DELAY, "{dns}");
    }
    for dns in &local_resolvers {
        assert_eq!(int(dns, "pid"), u64::from(dnsmasq.pid()));
    }
    // The local resolver's waits are inside the command's: they are counted once.
    let phases = observed.report["commands"][0]["phases"].as_array().unwrap();
    let dns = phases.iter().find(|phase| phase["phase"] == "dns").unwrap();
    assert_eq!(int(dns, "count"), own.len() as u64);
    let shown = observed.stderr();
    assert!(shown.contains("  dnsmasq asked  "), "{shown}");
}

#[test]
fn what_somebody_asks_of_another_local_resolver_is_not_the_commands() {
    let test = "what_somebody_asks_of_another_local_resolver_is_not_the_commands";
    let (Some(lab), Some(other)) = (ready(test), ready(test)) else { return };
    let (dnsmasq, _another) = (lab.dnsmasq(0, false).unwrap(), other.dnsmasq(0, false).unwrap());
    lab.dns.set_faults(DnsFaults { delay: DELAY, ..DnsFaults::default() });
    let done = AtomicBool::new(false);
    let observed = thread::scope(|scope| {
        let somebody = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let mut getent = Command::new("getent");
                let mut getent =
                    other.spawn(getent.args(["ahosts", PROXY_HOST]).stdout(Stdio::null())).unwrap();
                assert!(getent.wait().unwrap().success());
            }
        });
        let observed = observe(&lab, &DOWNLOAD);
        done.store(true, Ordering::Relaxed);
        somebody.join().unwrap();
        observed
    });
    assert!(other.dns.take_log().len() > 2, "nobody asked the other local_resolver");
    let (own, local_resolvers) = queries(&observed);
    belong(&own, &local_resolvers, &dnsmasq, &lab, &lab.dns.take_log());
    assert!(
        local_resolvers.iter().all(|dns| int(dns, "pid") == u64::from(dnsmasq.pid())),
        "{local_resolvers:?}"
    );
}

#[test]
fn an_answer_from_the_local_resolvers_cache_has_no_query_behind_it() {
    let Some(lab) = ready("an_answer_from_the_local_resolvers_cache_has_no_query_behind_it") else { return };
    let dnsmasq = lab.dnsmasq(100, false).unwrap();
    let filling = observe(&lab, &DOWNLOAD);
    let first = queries(&filling).1.len();
    assert!(first >= 2, "the cache was empty");
    lab.dns.take_log();
    let observed = observe(&lab, &DOWNLOAD);
    let (own, local_resolvers) = queries(&observed);
    assert_eq!((local_resolvers.len(), lab.dns.take_log().len()), (0, 0), "{local_resolvers:?}");
    assert!(own.iter().all(|dns| text(dns, "server") == format!("{}:53", dnsmasq.address)));
    assert!(own.len() >= 2);
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp_by_both() {
    let Some(lab) = ready("a_truncated_answer_is_asked_for_again_over_tcp_by_both") else { return };
    for forks in [false, true] {
        let dnsmasq = lab.dnsmasq(0, forks).unwrap();
        lab.dns.set_faults(DnsFaults { truncate: true, ..DnsFaults::default() });
        let observed = observe(&lab, &DOWNLOAD);
        let (own, local_resolvers) = queries(&observed);
        belong(&own, &local_resolvers, &dnsmasq, &lab, &lab.dns.take_log());
        let mut of_a: Vec<&&Value> =
            own.iter().chain(&local_resolvers).filter(|dns| text(dns, "qtype") == "A").collect();
        of_a.sort_by_key(|dns| (!dns["on_behalf_of"].is_null(), int(dns, "start_ns")));
        let transports: Vec<&str> = of_a.iter().take(2).map(|dns| text(dns, "transport")).collect();
        assert_eq!(transports, ["udp", "tcp"], "of the command");
        let transports: BTreeSet<&str> = local_resolvers.iter().map(|dns| text(dns, "transport")).collect();
        assert_eq!(transports, BTreeSet::from(["tcp", "udp"]), "of the local_resolver, forks: {forks}");
        let tcp = local_resolvers.iter().find(|dns| text(dns, "transport") == "tcp").unwrap();
        assert_eq!(int(tcp, "pid") != u64::from(dnsmasq.pid()), forks, "a child asked: {tcp}");
        drop(dnsmasq);
    }
}

#[test]
fn the_go_resolver_and_the_c_librarys_are_reported_apart_below_one_run() {
    let Some(lab) = ready("the_go_resolver_and_the_c_librarys_are_reported_apart_below_one_run") else {
        return;
    };
    let dnsmasq = lab.dnsmasq(0, false).unwrap();
    let script = format!("go mod download & getent ahosts {SUMDB_HOST} >&2; wait $!");
    let observed = observe(&lab, &["sh", "-c", &script]);
    let (own, local_resolvers) = queries(&observed);
    belong(&own, &local_resolvers, &dnsmasq, &lab, &lab.dns.take_log());
    let asked = |comm: &str| -> BTreeSet<(&str, &str)> {
        let of = own.iter().filter(|dns| text(dns, "comm") == comm);
        of.map(|dns| (text(dns, "name"), text(dns, "qtype"))).collect()
    };
    assert_eq!(asked("getent"), BTreeSet::from([(SUMDB_HOST, "A"), (SUMDB_HOST, "AAAA")]));
    assert_eq!(asked("go"), BTreeSet::from([(PROXY_HOST, "A"), (PROXY_HOST, "AAAA")]));
}

#[test]
fn a_local_resolver_that_was_started_later_is_found_by_watch() {
    let Some(lab) = ready("a_local_resolver_that_was_started_later_is_found_by_watch") else { return };
    seen_by_watch(&lab, &lab);
}

#[test]
fn the_local_resolver_of_another_network_namespace_is_found_by_watch() {
    let test = "the_local_resolver_of_another_network_namespace_is_found_by_watch";
    let Some(outside) = ready(test) else { return };
    let Some(inside) = Lab::for_test_in(test, Place::Veth) else { return };
    seen_by_watch(&outside, &inside);
}

/// Watches in one lab what happens in another one, where a local resolver is started.
#[track_caller]
fn seen_by_watch(outside: &Lab, lab: &Lab) {
    let own = outside.go_run(&GoOptions::default()).unwrap();
    let mut command = own.goobserve().unwrap();
    let watch = outside.begin(command.args(["watch", "--output", "jsonl"])).unwrap();
    wait::until("goobserve to watch", || watch.stderr().contains("watching every go").then_some(()));
    let dnsmasq = lab.dnsmasq(0, false).unwrap();
    // The first command's query makes goobserve look; a later one's is seen whole.
    wait::until("a query of the local resolver", || {
        let run = lab.go_run(&GoOptions { go_sum: true, ..GoOptions::default() }).unwrap();
        let output = lab.output(&mut run.go(&["mod", "download"])).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let stdout = watch.stdout();
        let lines = stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut dns = lines.filter(|line| line["type"] == "dns" && line["pid"] == dnsmasq.pid());
        dns.any(|line| !line["on_behalf_of"].is_null() && !line["end_ns"].is_null()).then_some(())
    });
    watch.signal(Signal::SIGTERM).unwrap();
    assert_eq!(watch.end().status.code(), Some(0));
}

#[test]
fn a_wait_for_a_local_resolver_names_whom_the_local_resolver_waits_for() {
    let Some(lab) = ready("a_wait_for_a_local_resolver_names_whom_the_local_resolver_waits_for") else {
        return;
    };
    let dnsmasq = lab.dnsmasq(0, false).unwrap();
    lab.dns.set_faults(DnsFaults { delay: Duration::from_millis(2500), ..DnsFaults::default() });
    let run = lab.go_run(&GoOptions { go_sum: true, ..GoOptions::default() }).unwrap();
    let recording = run.file("recording.jsonl");
    let args = ["run", "--record", recording.to_str().unwrap(), "--", "go", "mod", "download"];
    assert_eq!(lab.goobserve(&run, &args).unwrap().status.code(), Some(0));
    let text_ = std::fs::read_to_string(&recording).unwrap();
    let lines = text_.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let waits: Vec<Value> = lines.filter(|line| line["type"] == "waiting").collect();
    let wanted = format!("{}:53 (dnsmasq), which waits for {}:53,", dnsmasq.address, lab.net.dns);
    assert!(waits.iter().any(|wait| text(wait, "summary").contains(&wanted)), "{waits:?}");
}
