//! `goobserve run` from outside: its exit statuses, and what its JSON report says. Whether the
//! report is complete is the subject of `completeness.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use tests::complete::{SETTLE, int, text};
use tests::dns::DnsFaults;
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::Observed;
use tests::lab::{Lab, PROXY_HOST};
use tests::proxy::{Answer, Faults, HeadDelay, RequestRecord, ending};

const PHASES: [&str; 15] = [
    "dns",
    "connect",
    "tls",
    "tunnel",
    "auth",
    "proxy",
    "sumdb",
    "toolchain",
    "vcs",
    "cache",
    "backoff",
    "child",
    "lock",
    "local",
    "unexplained",
];
const DOWNLOAD: [&str; 3] = ["go", "mod", "download"];

fn ready(test: &str) -> Option<(Lab, GoRun)> {
    let lab = Lab::for_test(test)?;
    let run = lab.go_run(&GoOptions::default()).unwrap();
    Some((lab, run))
}

/// Observes `go mod download` and takes the proxy's log of it.
#[track_caller]
fn download(lab: &Lab, options: &GoOptions) -> (Observed, Vec<RequestRecord>) {
    let run = lab.go_run(options).unwrap();
    let observed = lab.observe(&run, &DOWNLOAD).unwrap();
    assert_eq!(observed.output.status.code(), Some(0), "{}", observed.stderr());
    assert!(lab.proxy.log().settled(SETTLE), "connections stayed open");
    (observed, lab.proxy.log().take().1)
}

#[test]
fn a_complete_go_sum_leaves_no_sumdb_request() {
    let Some((lab, _)) = ready("a_complete_go_sum_leaves_no_sumdb_request") else { return };
    let (observed, requests) = download(&lab, &GoOptions { go_sum: true, ..GoOptions::default() });
    assert_eq!(observed.list("requests").len(), requests.len());
    let classes: BTreeSet<&str> = observed.list("requests").iter().map(|r| text(r, "class")).collect();
    assert_eq!(classes, BTreeSet::from(["info", "mod", "zip"]));
}

#[test]
fn classes_modules_and_versions_follow_from_the_path() {
    let Some((lab, _)) = ready("classes_modules_and_versions_follow_from_the_path") else { return };
    let (observed, ..) = download(&lab, &GoOptions::default());
    for request in observed.list("requests") {
        let (path, class) = (text(request, "path"), text(request, "class"));
        let expected = match path {
            _ if path.ends_with("/supported") => "sumdb-supported",
            _ if path.contains("/lookup/") => "sumdb-lookup",
            _ if path.contains("/tile/") => "sumdb-tile",
            _ => path.rsplit_once('.').unwrap().1,
        };
        assert_eq!(class, expected, "{path}");
        if ["info", "mod", "zip"].contains(&class) {
            let (module, version) = (text(request, "module"), text(request, "version"));
            assert!(path.ends_with(&format!("/@v/{version}.{class}")), "{path}: {version}");
            // A capital letter is escaped by an exclamation mark, which is escaped again in a URL.
            let escaped: String =
                module
                    .chars()
                    .map(|c| {
                        if c.is_ascii_uppercase() { format!("!{}", c.to_ascii_lowercase()) } else { c.into() }
                    })
                    .collect();
            assert!(path.replace("%21", "!").starts_with(&format!("/{escaped}/@v/")), "{path}: {module}");
        }
    }
}

#[test]
fn phases_add_up_to_the_wall_time() {
    let Some((lab, _)) = ready("phases_add_up_to_the_wall_time") else { return };
    for options in [GoOptions::default(), GoOptions { http1: true, ..GoOptions::default() }] {
        let (observed, ..) = download(&lab, &options);
        let [command] = observed.list("commands") else {
            panic!("one command: {}", observed.report["commands"])
        };
        let phases = command["phases"].as_array().unwrap();
        let names: Vec<&str> = phases.iter().map(|phase| text(phase, "phase")).collect();
        assert_eq!(names, PHASES);
        let wall = int(command, "wall_ns");
        assert_eq!(phases.iter().map(|phase| int(phase, "blocked_ns")).sum::<u64>(), wall);
        assert!(wall > 0 && int(command, "start_ns") + wall <= int(&observed.report, "duration_ns"));

        let blocked = |name| phases.iter().find(|p| p["phase"] == name).map(|p| int(p, "blocked_ns"));
        let parts = ["cpu_ns", "runqueue_ns", "disk_ns"].map(|part| int(&command["local"], part));
        assert_eq!(Some(parts.iter().sum()), blocked("local"));

        let of_hosts: u64 =
            command["hosts"].as_array().unwrap().iter().map(|host| int(host, "blocked_ns")).sum();
        assert!(of_hosts <= wall, "hosts {of_hosts}, wall {wall}");
        for (class, phase) in [("sumdb-", "sumdb"), ("zip", "proxy")] {
            let requests = observed.list("requests").iter().filter(|r| text(r, "class").starts_with(class));
            let entry = phases.iter().find(|p| p["phase"] == phase).unwrap();
            assert!(int(entry, "count") >= requests.count() as u64, "{entry}");
            assert!(int(entry, "busy_ns") > 0 && int(entry, "max_ns") >= int(entry, "p50_ns"), "{entry}");
        }
    }
}

#[test]
fn the_phase_that_is_slowed_is_the_one_that_grows() {
    let Some((lab, _)) = ready("the_phase_that_is_slowed_is_the_one_that_grows") else { return };
    let options = GoOptions { go_sum: true, ..GoOptions::default() };
    let delay = Duration::from_millis(500);
    let blocked = |observed: &Observed, name: &str| {
        let phases = observed.report["commands"][0]["phases"].as_array().unwrap();
        int(phases.iter().find(|phase| phase["phase"] == name).unwrap(), "blocked_ns")
    };
    // The whole delay shows, but for what go computes meanwhile.
    let most = 450_000_000;

    lab.dns.set_faults(DnsFaults { delay, ..DnsFaults::default() });
    let (slow_dns, ..) = download(&lab, &options);
    assert!(blocked(&slow_dns, "dns") > most, "{}", slow_dns.stderr());
    lab.dns.set_faults(DnsFaults::default());

    lab.proxy.set_faults(Faults { tls_delay: delay, ..Faults::default() });
    let (slow_tls, ..) = download(&lab, &options);
    assert!(blocked(&slow_tls, "tls") > most, "{}", slow_tls.stderr());

    let supported = HeadDelay { matches: ending("/supported"), delay };
    lab.proxy.set_faults(Faults { head_delays: vec![supported], ..Faults::default() });
    let (slow_sumdb, ..) = download(&lab, &GoOptions::default());
    let supported = slow_sumdb.list("requests").iter().find(|r| r["class"] == "sumdb-supported").unwrap();
    assert!(int(supported, "first_byte_ns") - int(supported, "start_ns") >= 500_000_000, "{supported}");
}

#[test]
fn the_report_has_the_fields_of_the_contract() {
    let Some((lab, _)) = ready("the_report_has_the_fields_of_the_contract") else { return };
    let (observed, ..) = download(&lab, &GoOptions::default());
    let report = &observed.report;
    assert_eq!(report["schema"], "goobserve.report/1");
    assert!(text(report, "tool").starts_with("goobserve "));
    let lists = ["commands", "processes", "dns", "connections", "requests"];
    has_fields(report, &["schema", "tool", "started_unix_ns", "duration_ns", "machine", "loss"]);
    has_fields(report, &lists);
    has_fields(&report["machine"], &["kernel", "arch", "cpus", "resolver"]);
    has_fields(&report["machine"]["resolver"], &["servers", "search", "timeout_s", "attempts"]);
    let command = &report["commands"][0];
    has_fields(
        command,
        &["id", "argv", "uid", "cwd", "cgroup", "start_ns", "wall_ns", "exit_code", "signal"],
    );
    has_fields(command, &["go", "phases", "local", "hosts", "stalls"]);
    has_fields(&command["go"], &["version", "binary", "cgo", "gomaxprocs", "goproxy", "gosumdb", "goflags"]);
    has_fields(&command["go"], &["godebug", "gomodcache", "gocache"]);
    for phase in command["phases"].as_array().unwrap() {
        has_fields(
            phase,
            &["phase", "blocked_ns", "busy_ns", "count", "errors", "p50_ns", "p95_ns", "p99_ns"],
        );
        has_fields(phase, &["max_ns", "bytes"]);
    }
    for process in observed.list("processes") {
        has_fields(process, &["command", "pid", "ppid", "comm", "args", "start_ns", "end_ns", "exit_code"]);
        has_fields(process, &["cpu_ns"]);
    }
    for query in observed.list("dns") {
        has_fields(query, &["command", "pid", "comm", "server", "transport", "name", "qtype", "attempt"]);
        has_fields(query, &["rcode", "answers", "start_ns", "end_ns", "timed_out"]);
    }
    for connection in observed.list("connections") {
        has_fields(connection, &["command", "id", "pid", "comm", "local", "remote", "server_name", "alpn"]);
        has_fields(connection, &["tls_version", "start_ns", "connect_ns", "tls_ns", "end_ns", "outcome"]);
        has_fields(connection, &["syn_retransmits", "retransmits", "received_out_of_order", "resets"]);
        has_fields(connection, &["zero_windows", "rtt_ns", "bytes_sent", "bytes_received", "requests"]);
    }
    for request in observed.list("requests") {
        has_fields(request, &["command", "pid", "connection", "protocol", "stream", "method", "authority"]);
        has_fields(request, &["path", "class", "module", "version", "status", "start_ns", "first_byte_ns"]);
        has_fields(request, &["end_ns", "bytes", "outcome"]);
    }
}

#[track_caller]
fn has_fields(value: &Value, fields: &[&str]) {
    for field in fields {
        assert!(value.get(field).is_some(), "no field {field} in {value}");
    }
}

#[test]
fn the_report_says_what_ran_where() {
    let Some((lab, run)) = ready("the_report_says_what_ran_where") else { return };
    let observed = lab.observe(&run, &DOWNLOAD).unwrap();
    let command = &observed.report["commands"][0];
    assert_eq!(command["argv"], serde_json::json!(DOWNLOAD));
    assert_eq!(text(command, "cwd"), run.project().to_str().unwrap());
    assert_eq!((&command["exit_code"], &command["signal"]), (&Value::from(0), &Value::Null));
    let go = &command["go"];
    assert!(text(go, "version").starts_with("go1."));
    assert_eq!(text(go, "goproxy"), format!("https://{PROXY_HOST}"));
    assert_eq!(text(go, "gosumdb"), lab.store().sumdb());
    assert_eq!(text(go, "gomodcache"), run.modcache().to_str().unwrap());
    let servers = &observed.report["machine"]["resolver"]["servers"];
    assert_eq!(servers, &serde_json::json!([lab.net.dns.to_string()]));
    for query in observed.list("dns") {
        assert_eq!(text(query, "server"), format!("{}:53", lab.net.dns));
        assert!(!query["timed_out"].as_bool().unwrap() && int(query, "attempt") >= 1);
    }
}

#[test]
fn connections_say_what_was_agreed_on() {
    let Some((lab, _)) = ready("connections_say_what_was_agreed_on") else { return };
    for (http1, protocol) in [(false, "h2"), (true, "http/1.1")] {
        let (observed, ..) = download(&lab, &GoOptions { http1, ..GoOptions::default() });
        for connection in observed.list("connections").iter().filter(|c| int(c, "requests") > 0) {
            assert_eq!(text(connection, "server_name"), PROXY_HOST);
            assert_eq!(text(connection, "tls_version"), "1.3");
            assert_eq!(text(connection, "outcome"), "established");
            assert!(int(connection, "connect_ns") > 0 && int(connection, "tls_ns") > 0);
            // Over HTTP/1.1 go offers no ALPN, so there is nothing to be agreed on.
            if !http1 {
                assert_eq!(text(connection, "alpn"), "h2");
            }
        }
        for request in observed.list("requests") {
            assert_eq!(text(request, "protocol"), protocol);
            assert_eq!(request["stream"].is_null(), http1, "{request}");
        }
    }
}

#[test]
fn times_are_in_order_and_within_the_observation() {
    let Some((lab, _)) = ready("times_are_in_order_and_within_the_observation") else { return };
    for http1 in [false, true] {
        let (observed, ..) = download(&lab, &GoOptions { http1, ..GoOptions::default() });
        let duration = int(&observed.report, "duration_ns");
        for request in observed.list("requests") {
            let times = ["start_ns", "first_byte_ns", "end_ns"].map(|key| int(request, key));
            assert!(times.is_sorted() && times[2] <= duration, "{request}");
        }
        for query in observed.list("dns") {
            assert!(int(query, "start_ns") < int(query, "end_ns"), "{query}");
        }
        for connection in observed.list("connections") {
            let shaken = int(connection, "start_ns") + int(connection, "connect_ns");
            assert!(shaken <= int(connection, "end_ns"), "{connection}");
        }
    }
}

#[test]
fn a_refused_request_is_an_error_with_its_status() {
    let Some((lab, run)) = ready("a_refused_request_is_an_error_with_its_status") else { return };
    let refused = Answer { matches: ending(".zip"), status: 503, retry_after_s: Some(1) };
    lab.proxy.set_faults(Faults { answers: vec![refused], ..Faults::default() });
    let observed = lab.observe(&run, &DOWNLOAD).unwrap();
    assert_eq!(observed.output.status.code(), Some(1), "go's own status");
    assert_eq!(observed.report["commands"][0]["exit_code"], 1);
    let zips: Vec<&Value> = observed.list("requests").iter().filter(|r| r["class"] == "zip").collect();
    assert_ne!(zips.len(), 0);
    for zip in zips {
        assert_eq!((int(zip, "status"), text(zip, "outcome")), (503, "error"), "{zip}");
    }
}

#[test]
fn the_exit_status_is_the_commands_own() {
    let Some((lab, run)) = ready("the_exit_status_is_the_commands_own") else { return };
    let status = |command: &[&str]| {
        let output = lab.goobserve(&run, &[&["run", "--"], command].concat()).unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let not_executable = run.dir().join("not-executable");
    fs::write(&not_executable, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&not_executable, fs::Permissions::from_mode(0o644)).unwrap();

    for (command, expected) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["sh", "-c", "kill -KILL $$"], 128 + 9),
        (&[not_executable.to_str().unwrap()], 126),
        (&["/"], 126),
        (&["no-such-program-anywhere"], 127),
        (&["./no-such-file"], 127),
    ] {
        let (code, stderr) = status(command);
        assert_eq!(code, Some(expected), "{command:?}: {stderr}");
    }
}

#[test]
fn a_killed_command_has_a_signal_and_no_exit_code() {
    let Some((lab, run)) = ready("a_killed_command_has_a_signal_and_no_exit_code") else { return };
    let observed = lab.observe(&run, &["sh", "-c", "kill -TERM $$"]).unwrap();
    let command = &observed.report["commands"][0];
    assert_eq!((&command["exit_code"], &command["signal"]), (&Value::Null, &Value::from(15)));
}

#[test]
fn wrong_use_is_status_two_before_anything_is_done() {
    let Some((lab, run)) = ready("wrong_use_is_status_two_before_anything_is_done") else { return };
    let touched = run.dir().join("touched");
    let touch = format!("touch {}", touched.display());
    for args in [&["run"][..], &["run", "--no-such-flag", "--", "sh", "-c", &touch], &["no-such-command"]] {
        let output = lab.goobserve(&run, args).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}");
    }
    assert!(!touched.exists());
}

#[test]
fn the_commands_output_is_its_own_and_the_report_goes_to_stderr() {
    let test = "the_commands_output_is_its_own_and_the_report_goes_to_stderr";
    let Some((lab, run)) = ready(test) else { return };
    let script = "echo out; echo err >&2; pwd; echo $GOPROXY";
    let output = lab.goobserve(&run, &["run", "--", "sh", "-c", script]).unwrap();
    let expected = format!("out\n{}\nhttps://{PROXY_HOST}\n", run.project().display());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("err\n") && stderr.len() > "err\n".len(), "{stderr}");

    // Without the report a line still says that a shell is no Go program; -q leaves that out, too.
    let quiet = lab.goobserve(&run, &["run", "-q", "--report", "none", "--", "sh", "-c", script]).unwrap();
    assert_eq!(String::from_utf8_lossy(&quiet.stderr), "err\n");
}

#[test]
fn the_report_file_is_private_and_never_reached_through_a_link() {
    let test = "the_report_file_is_private_and_never_reached_through_a_link";
    let Some((lab, run)) = ready(test) else { return };
    let file = run.dir().join("private.json");
    let output = lab.goobserve(&run, &["run", "--json", file.to_str().unwrap(), "--", "true"]).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let (victim, link) = (run.dir().join("victim"), run.dir().join("link.json"));
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    lab.goobserve(&run, &["run", "--json", link.to_str().unwrap(), "--", "true"]).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

#[test]
fn what_children_do_belongs_to_the_command() {
    let Some((lab, run)) = ready("what_children_do_belongs_to_the_command") else { return };
    let observed = lab.observe(&run, &["sh", "-c", "go mod download; exit 3"]).unwrap();
    assert_eq!(observed.output.status.code(), Some(3));
    let [command] = observed.list("commands") else { panic!("one command: {}", observed.report["commands"]) };
    assert_eq!(command["exit_code"], 3);
    assert!(lab.proxy.log().settled(SETTLE));
    let requests = lab.proxy.log().requests();
    assert_eq!(observed.list("requests").len(), requests.len());
    let id = &command["id"];
    let lists = ["processes", "dns", "connections", "requests"];
    assert!(lists.iter().flat_map(|name| observed.list(name)).all(|entry| &entry["command"] == id));
    let comms: BTreeSet<&str> = observed.list("processes").iter().map(|p| text(p, "comm")).collect();
    assert!(comms.is_superset(&BTreeSet::from(["go", "sh"])), "{comms:?}");
}

#[test]
fn a_command_that_does_nothing_has_empty_lists() {
    let Some((lab, run)) = ready("a_command_that_does_nothing_has_empty_lists") else { return };
    let observed = lab.observe(&run, &["true"]).unwrap();
    for name in ["dns", "connections", "requests"] {
        assert_eq!(observed.report[name], serde_json::json!([]), "{name}");
    }
    let command = &observed.report["commands"][0];
    let phases = command["phases"].as_array().unwrap();
    let blocked: u64 = phases.iter().map(|phase| int(phase, "blocked_ns")).sum();
    assert_eq!(blocked, int(command, "wall_ns"));
}

#[test]
fn settings_of_a_command_that_has_gone_at_once_are_those_of_its_environment() {
    let test = "settings_of_a_command_that_has_gone_at_once_are_those_of_its_environment";
    let Some((lab, run)) = ready(test) else { return };
    let report = run.file("report.json");
    for _ in 0..10 {
        let mut command = run.goobserve().unwrap();
        command.args(["run", "--report", "none", "--json"]).arg(&report).args(["--", "go", "version"]);
        command.env("HTTPS_PROXY", "http://user:hunter2@corp-proxy.test:3128").env("NO_PROXY", "proxy.test");
        assert!(lab.output(&mut command).unwrap().status.success());
        let text = fs::read_to_string(&report).unwrap();
        let go = &serde_json::from_str::<Value>(&text).unwrap()["commands"][0]["go"];
        assert!(go["ssl_cert_file"].as_str().is_some_and(|file| file.ends_with("ca.pem")), "{go}");
        assert!(go["https_proxy"].as_str().is_some_and(|url| url.contains("corp-proxy.test:3128")), "{go}");
        assert_eq!(go["no_proxy"], "proxy.test", "{go}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
