//! Commands that run, or hang, when `goobserve watch` is started: what they wait for is reported at
//! once, and what they do from then on as if they had been watched from their beginning.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::builds::{Build, PAGES};
use tests::clock::monotonic_ns;
use tests::complete::{SETTLE, int, same, text};
use tests::dns::DnsFaults;
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::binary;
use tests::lab::{Lab, PROXY_HOST};
use tests::net::Place;
use tests::proxy::{Answer, BodyStall, Faults, ending, paths};
use tests::running::Running;
use tests::schema::Schema;
use tests::skip;
use tests::toolchains::{OWN, Toolchain};
use tests::wait;
use tests::watching::update;

/// How soon after "watching" a wait that goes on is to be reported.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Longer than any test.
const FOR_EVER: Duration = Duration::from_hours(1);
/// What the kernel counts in, and a busy machine.
const INEXACT_NS: u64 = 500_000_000;

/// What `goobserve watch` has printed so far, whole lines.
fn reported(watch: &Running) -> Vec<Value> {
    let text = watch.stdout();
    let whole = text.rsplit_once('\n').unwrap_or_default().0;
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Starts `goobserve watch --output jsonl` in this test's own network namespace, which need not be
/// the commands', and waits until it watches.
#[track_caller]
fn watching(lab: &Lab, run: &GoRun, args: &[&str]) -> Running {
    let mut command = run.command("nsenter");
    command.arg(format!("--net=/proc/{}/ns/net", std::process::id())).arg(binary().unwrap());
    let watch = lab.begin(command.args(["watch", "--output", "jsonl"]).args(args)).unwrap();
    wait::until("goobserve to watch", || watch.stderr().contains("watching").then_some(()));
    watch
}

/// Ends it in order; every line is of the schema.
#[track_caller]
fn end(watch: Running) -> Vec<Value> {
    watch.signal(Signal::SIGTERM).unwrap();
    let output = watch.end();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let schema = Schema::published("recording").unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        schema.check(line).unwrap_or_else(|error| panic!("{error:#}: {line}"));
    }
    lines
}

/// The latest line about the command whose topmost process that is.
fn command(lines: &[Value], pid: u32) -> Option<&Value> {
    lines.iter().rfind(|line| line["type"] == "command" && line["pid"] == pid)
}

/// A command that hangs, from before goobserve is started.
struct Hung {
    lab: Lab,
    run: GoRun,
    go: Running,
    begun_ns: u64,
}

impl Hung {
    #[track_caller]
    fn start(lab: Lab, args: &[&str], break_it: impl FnOnce(&Lab, &GoRun)) -> Self {
        let run = lab.go_run(&GoOptions { gomaxprocs: Some(2), ..GoOptions::default() }).unwrap();
        break_it(&lab, &run);
        let begun_ns = monotonic_ns();
        let go = lab.begin(&mut run.go(args)).unwrap();
        Self { lab, run, go, begun_ns }
    }

    /// Starts goobserve; the first wait of the command that it reports, at most two seconds after it
    /// has said that it watches.
    #[track_caller]
    fn first_wait(&self) -> (Running, Value) {
        let watch = watching(&self.lab, &self.run, &[]);
        let begun = Instant::now();
        let waiting = wait::within(AT_ONCE, || {
            let lines = reported(&watch);
            let id = command(&lines, self.go.pid())?["command"].clone();
            lines.into_iter().find(|line| line["type"] == "waiting" && line["command"] == id)
        });
        let lines = reported(&watch);
        let waiting = waiting.unwrap_or_else(|| {
            let of_it: Vec<String> = lines.iter().map(ToString::to_string).collect();
            panic!("no wait within {AT_ONCE:?}:\n{}", of_it.join("\n"))
        });
        println!("{:?} after `watching`: {waiting}", begun.elapsed());
        (watch, waiting)
    }

    /// A state of a TCP socket of the command, with so many tries in vain.
    #[track_caller]
    fn until_tcp(&self, state: &str, retries: u32) {
        wait::until("a socket of that state", || {
            let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.go.pid())).ok()?;
            let is_it = |line: &str| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [_, _, remote, of, _, _, tried, ..] = words[..] else { return false };
                remote.ends_with(":01BB")
                    && of == state
                    && u32::from_str_radix(tried, 16).is_ok_and(|n| n >= retries)
            };
            table.lines().any(is_it).then_some(())
        });
    }

    /// Kills it; goobserve shows that end.
    #[track_caller]
    fn end_is_reported(self, watch: Running) {
        let pid = self.go.pid();
        self.go.signal(Signal::SIGKILL).unwrap();
        let last = wait::until("the command's end", || {
            command(&reported(&watch), pid).filter(|line| !line["wall_ns"].is_null()).cloned()
        });
        assert_eq!(last["signal"], 9, "{last}");
        let lines = end(watch);
        let latest = lines.iter().rfind(|line| line["type"] == "process" && line["pid"] == pid);
        assert!(latest.is_some_and(|line| !line["end_ns"].is_null()));
    }

    /// Since when the wait lasts at most: the command's own age.
    fn lasts_at_most(&self) -> u64 {
        monotonic_ns() - self.begun_ns
    }
}

/// A lab that can lose packets.
fn lossy_lab(test: &str) -> Option<Lab> {
    skip::has(test, "nft", "nftables").then(|| Lab::for_test_in(test, Place::Veth)).flatten()
}

fn age(waiting: &Value) -> Option<u64> {
    assert!(waiting["earlier"].is_object(), "it began before it could be seen: {waiting}");
    waiting["earlier"]["age_ns"].as_u64()
}

#[test]
fn a_name_server_that_does_not_answer_is_reported_of_a_command_that_hangs() {
    let Some(lab) = Lab::for_test("a_name_server_that_does_not_answer_is_reported_of_a_command_that_hangs")
    else {
        return;
    };
    let hung = Hung::start(lab, &["mod", "download"], |lab, _| {
        lab.dns.set_faults(DnsFaults { drop_first: u32::MAX, ..DnsFaults::default() });
    });
    wait::until("its queries", || (hung.lab.dns.log().len() >= 2).then_some(()));
    let (watch, waiting) = hung.first_wait();
    assert_eq!(
        (text(&waiting, "phase"), text(&waiting, "host")),
        ("dns", &*format!("{}:53", hung.lab.net.dns))
    );
    assert_eq!(age(&waiting), None, "the kernel does not know: {waiting}");
    hung.end_is_reported(watch);
}

#[test]
fn a_handshake_without_an_answer_is_reported_of_a_command_that_hangs() {
    let name = "a_handshake_without_an_answer_is_reported_of_a_command_that_hangs";
    let Some(lab) = lossy_lab(name) else { return };
    let hung = Hung::start(lab, &["mod", "download"], |lab, _| lab.net.silence(443).unwrap());
    hung.until_tcp("02", 1);
    let (watch, waiting) = hung.first_wait();
    assert_eq!((text(&waiting, "phase"), text(&waiting, "host")), ("connect", "192.0.2.2:443"));
    assert!(text(&waiting, "summary").contains("SYN retransmitted"), "{waiting}");
    assert_eq!(age(&waiting), None, "the kernel does not know: {waiting}");
    // Its next SYN is reported as it is sent.
    let of_late = wait::until("a SYN that is retransmitted", || {
        reported(&watch).into_iter().find(|line| line["type"] == "retransmission" && line["syn"] == true)
    });
    assert!(of_late["connection"].is_u64());
    hung.end_is_reported(watch);
}

#[test]
fn a_hello_without_an_answer_is_reported_of_a_command_that_hangs() {
    let Some(lab) = Lab::for_test("a_hello_without_an_answer_is_reported_of_a_command_that_hangs") else {
        return;
    };
    let hung = Hung::start(lab, &["mod", "download"], |lab, _| {
        lab.proxy.set_faults(Faults { tls_delay: FOR_EVER, ..Faults::default() });
    });
    let accepted = wait::until("its connection", || {
        hung.lab.proxy.log().connections().iter().map(|connection| connection.accepted_ns).min()
    });
    let (watch, waiting) = hung.first_wait();
    let host = format!("{}:443", hung.lab.net.proxy);
    assert_eq!((text(&waiting, "phase"), text(&waiting, "host")), ("tls", &*host));
    let summary = text(&waiting, "summary");
    assert!(summary.contains("bytes sent and acknowledged, nothing received"), "{summary}");
    let known = age(&waiting).expect("the kernel knows when the hello was sent");
    let reported_ago = monotonic_ns() - accepted;
    assert!(
        known <= reported_ago && known + 2 * INEXACT_NS + 1_500_000_000 >= reported_ago,
        "{known} of {reported_ago}"
    );
    hung.end_is_reported(watch);
}

#[test]
fn a_response_that_stopped_is_reported_of_a_command_that_hangs() {
    let Some(lab) = Lab::for_test("a_response_that_stopped_is_reported_of_a_command_that_hangs") else {
        return;
    };
    let hung = Hung::start(lab, &["mod", "download"], |lab, _| {
        let stall = BodyStall { matches: ending(".zip"), after_bytes: 16 << 10, delay: FOR_EVER };
        lab.proxy.set_faults(Faults { body_stalls: vec![stall], ..Faults::default() });
    });
    until_silent(&hung.lab);
    let (watch, waiting) = hung.first_wait();
    let host = format!("{}:443", hung.lab.net.proxy);
    assert_eq!((text(&waiting, "phase"), text(&waiting, "host")), ("proxy", &*host));
    let summary = text(&waiting, "summary");
    assert!(summary.contains("everything sent is acknowledged, nothing received for"), "{summary}");
    let known = age(&waiting).expect("the kernel knows when the last byte came");
    assert!((1_000_000_000..hung.lasts_at_most()).contains(&known), "{known}");
    hung.end_is_reported(watch);
}

#[test]
fn a_dead_path_is_reported_of_a_command_that_hangs() {
    let Some(lab) = lossy_lab("a_dead_path_is_reported_of_a_command_that_hangs") else { return };
    let hung = Hung::start(lab, &["mod", "download"], |lab, _| {
        let delay = Duration::from_millis(30);
        lab.proxy.set_faults(Faults { request_delay: delay, ..Faults::default() });
    });
    wait::until("some requests", || (hung.lab.proxy.log().requests().len() >= 10).then_some(()));
    // It has answers to read, and so queries to ask, when nothing comes any more.
    hung.go.signal(Signal::SIGSTOP).unwrap();
    until_silent(&hung.lab);
    hung.lab.net.silence(443).unwrap();
    hung.go.signal(Signal::SIGCONT).unwrap();
    hung.until_tcp("01", 2);
    let (watch, waiting) = hung.first_wait();
    assert_eq!((text(&waiting, "phase"), text(&waiting, "host")), ("proxy", "192.0.2.2:443"));
    let summary = text(&waiting, "summary");
    assert!(
        summary.contains("not acknowledged, retransmitted") && summary.contains("nothing heard"),
        "{summary}"
    );
    let known = age(&waiting).expect("the kernel knows when it was heard last");
    assert!(known < hung.lasts_at_most(), "{known}");
    hung.end_is_reported(watch);
}

#[test]
fn a_lock_and_its_holder_are_reported_of_a_command_that_hangs_and_then_goes_on() {
    let name = "a_lock_and_its_holder_are_reported_of_a_command_that_hangs_and_then_goes_on";
    let Some(lab) = Lab::for_test(name) else { return };
    let module = "github.com/felixge/httpsnoop";
    let mut lock = None;
    let hung = Hung::start(lab, &["mod", "download", "github.com/felixge/httpsnoop@v1.0.4"], |_, run| {
        let folder = run.modcache().join("cache/download").join(module).join("@v");
        fs::create_dir_all(&folder).unwrap();
        let file = fs::File::create(folder.join("v1.0.4.lock")).unwrap();
        file.lock().unwrap();
        lock = Some(file);
    });
    let pid = hung.go.pid();
    wait::until("its wait for the lock", || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
        let waits = |task: &Path| {
            fs::read_to_string(task.join("wchan")).is_ok_and(|at| at == "locks_lock_inode_wait")
        };
        threads.map(|task| task.path()).any(|task| waits(&task)).then_some(())
    });
    let (watch, waiting) = hung.first_wait();
    assert_eq!(text(&waiting, "phase"), "lock");
    let holder = format!("held by pid {}", std::process::id());
    assert!(text(&waiting, "summary").contains(&holder), "{waiting}");
    assert_eq!(age(&waiting), None, "the kernel does not know: {waiting}");

    drop(lock);
    let last = wait::until("the command's end", || {
        command(&reported(&watch), pid).filter(|line| !line["wall_ns"].is_null()).cloned()
    });
    let output = hung.go.end();
    assert_eq!(last["exit_code"].as_i64(), output.status.code().map(i64::from), "{last}");
    let lines = end(watch);
    let id = &last["command"];
    let taken = lines
        .iter()
        .any(|line| line["type"] == "lock" && line["command"] == *id && !line["end_ns"].is_null());
    assert!(taken, "the lock was taken");
    // It goes on on the connection that it had.
    let connection =
        lines.iter().rfind(|line| line["type"] == "connection" && line["command"] == *id).unwrap();
    assert!(connection["joined_late"] == true && !connection["end_ns"].is_null(), "{connection}");
    assert!(int(connection, "bytes_received") > 50_000, "its zip: {connection}");
}

/// Waits until the proxy has sent nothing for a while.
fn until_silent(lab: &Lab) {
    let sent = || lab.proxy.log().requests().iter().map(|request| request.bytes).sum::<u64>();
    let mut last = (sent(), Instant::now());
    wait::until("silence", || {
        let now = sent();
        if now != last.0 || now == 0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(300)).then_some(())
    });
}

#[test]
fn a_download_joined_in_the_middle_is_complete_from_its_next_connection_on() {
    let name = "a_download_joined_in_the_middle_is_complete_from_its_next_connection_on";
    let Some(lab) = Lab::for_test(name) else { return };
    let delay = Duration::from_millis(20);
    lab.proxy.set_faults(Faults { request_delay: delay, one_request_each: true, ..Faults::default() });
    let run = lab.go_run(&GoOptions { http1: true, ..GoOptions::default() }).unwrap();
    let go = lab.begin(&mut run.go(&["mod", "download"])).unwrap();
    let pid = go.pid();
    wait::until("some requests", || (lab.proxy.log().requests().len() >= 20).then_some(()));
    let watch = watching(&lab, &run, &[]);
    let since = monotonic_ns();
    assert_eq!(go.end().status.code(), Some(0));
    let last = wait::until("the command's end", || {
        command(&reported(&watch), pid).filter(|line| !line["wall_ns"].is_null()).cloned()
    });
    assert_eq!(last["exit_code"], 0, "{last}");
    assert!(int(&last, "age_ns") > 0, "it ran already");
    assert!(lab.proxy.log().settled(SETTLE));
    let lines = end(watch);
    let id = &last["command"];
    let reported_of = |kind: &str| -> BTreeMap<u64, &Value> {
        let of_it = lines.iter().filter(|line| line["type"] == kind && line["command"] == *id);
        of_it.map(|line| (int(line, "id"), line)).collect()
    };
    let (connections, requests) = (reported_of("connection"), reported_of("request"));
    assert!(connections.values().all(|line| !line["end_ns"].is_null()), "every connection's end is reported");
    let of_address: BTreeMap<&str, u64> = connections
        .values()
        .filter(|line| line["joined_late"] == false)
        .map(|line| (text(line, "local"), int(line, "id")))
        .collect();

    let (accepted, served) = lab.proxy.log().take();
    let later = accepted.iter().filter(|connection| connection.accepted_ns > since);
    let missing: Vec<_> =
        later.filter(|connection| !of_address.contains_key(&*connection.peer.to_string())).collect();
    assert!(missing.is_empty(), "connections that were not reported: {missing:?}");
    // A port may have been another connection's before; the latest one counts.
    let latest =
        |connection: usize| !accepted[connection + 1..].iter().any(|c| c.peer == accepted[connection].peer);
    let known = |connection: usize| {
        latest(connection) && of_address.contains_key(&*accepted[connection].peer.to_string())
    };
    let seen: Vec<&str> = served.iter().filter(|r| known(r.connection)).map(|r| &*r.path).collect();
    assert!(seen.len() > 50, "{}", seen.len());
    let of_seen = |line: &&&Value| {
        line["connection"].as_u64().is_some_and(|id| of_address.values().any(|of| *of == id))
    };
    same("requests", requests.values().filter(of_seen).map(|line| text(line, "path")), seen);
}

/// Everything over one connection with HTTP/2 that is there already: what is asked on it from then on.
#[test]
fn of_a_connection_joined_in_the_middle_requests_are_known_by_path_and_status() {
    let name = "of_a_connection_joined_in_the_middle_requests_are_known_by_path_and_status";
    let Some(lab) = Lab::for_test(name) else { return };
    let delay = Duration::from_millis(20);
    lab.proxy.set_faults(Faults { request_delay: delay, ..Faults::default() });
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let go = lab.begin(&mut run.go(&["mod", "download"])).unwrap();
    let pid = go.pid();
    wait::until("some requests", || (lab.proxy.log().requests().len() >= 20).then_some(()));
    let watch = watching(&lab, &run, &[]);
    let since = monotonic_ns();
    assert_eq!(go.end().status.code(), Some(0));
    wait::until("the command's end", || {
        command(&reported(&watch), pid).filter(|line| !line["wall_ns"].is_null()).map(drop)
    });
    assert!(lab.proxy.log().settled(SETTLE));
    let lines = end(watch);
    let id = command(&lines, pid).unwrap()["command"].clone();
    let mut requests: BTreeMap<u64, Value> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["command"] == id) {
        match text(line, "type") {
            "request" => drop(requests.insert(int(line, "id"), line.clone())),
            "request_update" => requests.get_mut(&int(line, "id")).into_iter().for_each(|r| update(r, line)),
            _ => {}
        }
    }
    let known: Vec<(&str, u64)> =
        requests.values().filter_map(|r| Some((r["path"].as_str()?, r["status"].as_u64()?))).collect();
    let (_, served) = lab.proxy.log().take();
    let of: Vec<(&str, u64)> = served.iter().map(|r| (&*r.path, u64::from(r.status))).collect();
    let after: Vec<_> =
        of.iter().zip(&served).filter(|(_, r)| r.received_ns > since).map(|(of, _)| of).collect();
    let seen = after.iter().filter(|of| known.contains(of)).count();
    println!(
        "{seen} of {} after the attachment are known, {} came before",
        after.len(),
        of.len() - after.len()
    );
    assert!(after.len() > 50, "{}", after.len());
    assert!(seen * 100 >= after.len() * 95, "{seen} of {}", after.len());
    let wrong: Vec<_> = known.iter().filter(|one| !of.contains(one)).collect();
    assert!(wrong.is_empty(), "nobody asked for {wrong:?}");
    // What is missing is counted, where the connection is known.
    let connections = lines.iter().filter(|line| line["type"] == "connection" && line["command"] == id);
    let missed = connections.filter_map(|line| line["requests_missed"].as_u64()).max();
    let unseen = (served.len() - requests.len()) as u64;
    assert!(
        missed.is_none_or(|missed| missed.abs_diff(unseen) <= 1),
        "{missed:?} were counted, {unseen} are missing"
    );
    let loss = lines.iter().rfind(|line| line["type"] == "loss").expect("what was not observed");
    assert!(int(loss, "connections_joined_late") > 0, "{loss}");
}

#[test]
fn nothing_is_left_of_commands_that_have_ended() {
    let Some(lab) = Lab::for_test("nothing_is_left_of_commands_that_have_ended") else { return };
    let stall = BodyStall { matches: ending(".zip"), after_bytes: 1024, delay: FOR_EVER };
    lab.proxy.set_faults(Faults { body_stalls: vec![stall], ..Faults::default() });
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let go = lab.begin(&mut run.go(&["mod", "download"])).unwrap();
    until_silent(&lab);
    let watch = watching(&lab, &run, &[]);
    let pid = go.pid();
    wait::until("the command", || command(&reported(&watch), pid).map(drop));
    let there = tests::bpf::entries(watch.pid(), pid).unwrap();
    assert!(there > 1, "its process and its threads: {there}");
    go.signal(Signal::SIGKILL).unwrap();
    drop(go);
    wait::until("an end to all entries", || {
        (tests::bpf::entries(watch.pid(), pid).unwrap() == 0).then_some(())
    });
    end(watch);
}

#[test]
fn with_a_pid_only_that_process_is_reported_and_its_end_ends_it() {
    let Some(lab) = Lab::for_test("with_a_pid_only_that_process_is_reported_and_its_end_ends_it") else {
        return;
    };
    lab.proxy.set_faults(Faults { tls_delay: FOR_EVER, ..Faults::default() });
    let runs = [(); 2].map(|()| lab.go_run(&GoOptions::default()).unwrap());
    let [wanted, other] = runs.each_ref().map(|run| lab.begin(&mut run.go(&["mod", "download"])).unwrap());
    wait::until("both connections", || (lab.proxy.log().connections().len() >= 2).then_some(()));
    let watch = watching(&lab, &runs[0], &["--pid", &wanted.pid().to_string()]);
    assert!(watch.stderr().contains(&format!("watching process {}", wanted.pid())), "{}", watch.stderr());
    let third = lab.begin(&mut runs[1].go(&["version"])).unwrap().end();
    assert_eq!(third.status.code(), Some(0));
    wait::until("its wait", || reported(&watch).into_iter().find(|line| line["type"] == "waiting"));
    wanted.signal(Signal::SIGTERM).unwrap();
    let output = watch.end();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let pids: Vec<u64> = lines.iter().filter(|l| l["type"] == "process").map(|l| int(l, "pid")).collect();
    assert!(!pids.is_empty() && pids.iter().all(|pid| *pid == u64::from(wanted.pid())), "{pids:?}");
    assert_eq!(command(&lines, wanted.pid()).unwrap()["signal"], 15);
    assert_eq!(lines.last().unwrap()["type"], "end");
    drop(other);
}

#[test]
fn a_pid_that_cannot_be_observed_is_refused_with_the_reason() {
    let Some(lab) = Lab::for_test("a_pid_that_cannot_be_observed_is_refused_with_the_reason") else { return };
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let sleep = lab.begin(run.command("sleep").arg("1000")).unwrap();
    let gone = {
        let short = lab.begin(&mut run.command("true")).unwrap();
        let pid = short.pid();
        short.end();
        pid
    };
    for (pid, why) in
        [(gone, format!("there is no process {gone}")), (sleep.pid(), "not a Go program".to_owned())]
    {
        let output = lab.goobserve(&run, &["watch", "--pid", &pid.to_string()]).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let lines: Vec<&str> = stderr.lines().collect();
        let [what, hint] = lines[..] else { panic!("two lines: {stderr:?}") };
        assert!(what.contains(&why) && what.contains(&pid.to_string()), "{what}");
        assert!(hint.starts_with("  hint: "), "{hint}");
    }
    let output = lab.goobserve(&run, &["watch", "--pid", "1", "--all-go"]).unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// A client that asks for pages of the lab's proxy, with its folder.
fn client(lab: &Lab, toolchain: &Toolchain) -> (GoRun, Vec<String>) {
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let program = toolchain.client(Build::Normal, run.dir()).unwrap_or_else(|error| panic!("{error:#}"));
    let pages = (0..PAGES).map(|n| format!("https://{PROXY_HOST}/page/{n}"));
    let command = std::iter::once(program.to_str().unwrap().to_owned()).chain(pages).collect();
    (run, command)
}

#[test]
fn all_go_reports_the_callers_own_clients_those_that_run_and_those_that_begin() {
    let name = "all_go_reports_the_callers_own_clients_those_that_run_and_those_that_begin";
    let Some(lab) = Lab::for_test(name) else { return };
    let Some(toolchain) = Toolchain::for_test(name, OWN) else { return };
    let page = Answer { matches: paths(|path| path.starts_with("/page/")), status: 200, retry_after_s: None };
    lab.proxy.set_faults(Faults { tls_delay: FOR_EVER, answers: vec![page.clone()], ..Faults::default() });
    let (run, args) = client(&lab, &toolchain);
    let start = |uid: Option<u32>| {
        let mut command = match uid {
            None => run.command(&args[0]),
            Some(uid) => {
                let mut command = run.command("setpriv");
                command.args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into()]);
                command.arg(&args[0]);
                command
            }
        };
        lab.begin(command.args(&args[1..])).unwrap()
    };
    std::os::unix::fs::chown(run.dir(), Some(0), Some(0)).unwrap();
    fs::set_permissions(run.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let hung = start(None);
    let foreign = start(Some(61_801));
    wait::until("both connections", || (lab.proxy.log().connections().len() >= 2).then_some(()));

    let watch = watching(&lab, &run, &["--all-go"]);
    let waiting = wait::within(AT_ONCE, || {
        let lines = reported(&watch);
        let id = command(&lines, hung.pid())?["command"].clone();
        lines.into_iter().find(|line| line["type"] == "waiting" && line["command"] == id)
    });
    let waiting = waiting.expect("the wait of the client that hangs");
    assert_eq!(text(&waiting, "phase"), "tls");

    lab.proxy.set_faults(Faults { answers: vec![page], ..Faults::default() });
    let mut later = Vec::new();
    for _ in 0..3 {
        let new = start(None);
        later.push(new.pid());
        assert_eq!(new.end().status.code(), Some(0));
    }
    let over = |pid: &u32| command(&reported(&watch), *pid).is_some_and(|line| !line["wall_ns"].is_null());
    wait::until("their ends", || later.iter().all(over).then_some(()));
    drop(hung);
    let lines = end(watch);
    for pid in &later {
        let id = &command(&lines, *pid).unwrap()["command"];
        let mut latest: BTreeMap<u64, Value> = BTreeMap::new();
        for line in lines.iter().filter(|line| line["command"] == *id) {
            match line["type"].as_str() {
                Some("request") => drop(latest.insert(int(line, "id"), line.clone())),
                Some("request_update") => update(latest.get_mut(&int(line, "id")).unwrap(), line),
                _ => {}
            }
        }
        assert_eq!(latest.len(), 2 * PAGES + 1, "requests of {pid}");
        assert!(latest.values().all(|line| line["status"] == 200 && line["path"].is_string()));
    }
    assert!(command(&lines, foreign.pid()).is_none(), "another user's program takes --pid");

    let watch = watching(&lab, &run, &["--pid", &foreign.pid().to_string()]);
    wait::until("the other user's command", || command(&reported(&watch), foreign.pid()).map(drop));
    end(watch);
}
