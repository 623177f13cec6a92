//! What a go command starts: git over https and ssh, compilers, test binaries. Their network and
//! CPU belong to the command.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tests::clock::ClockPair;
use tests::complete::{int, text};
use tests::dns::DnsFaults;
use tests::git::{Repository, VERSION};
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::Observed;
use tests::lab::{GIT_HOST, Lab, PROXY_HOST, RESET_HOST};
use tests::proxy::{Faults, HeadDelay, paths};
use tests::ssh::Agent;
use tests::{paths as places, skip, wait};

const DELAY: Duration = Duration::from_millis(300);

fn with_git(test: &str) -> Option<Lab> {
    skip::has(test, "git", "git").then(|| Lab::for_test(test)).flatten()
}

/// A project that needs that module of the git host, straight from its repository.
fn direct(lab: &Lab, module: &str, more: &[(&str, &str)]) -> GoRun {
    let ca = lab.ca().to_str().unwrap();
    let env = [
        ("GOPROXY", "direct"),
        ("GOSUMDB", "off"),
        ("GIT_SSL_CAINFO", ca),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
    ];
    let env = env.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let run = lab.go_run(&GoOptions { env: env.collect(), ..GoOptions::default() }).unwrap();
    let wants = format!("module sample.test/app\n\ngo 1.21\n\nrequire {GIT_HOST}/{module} {VERSION}\n");
    fs::write(run.project().join("go.mod"), wants).unwrap();
    run
}

/// Nothing was lost, and all of it is the one command's.
#[track_caller]
fn one_command(observed: &Observed) -> &Value {
    assert_eq!(int(&observed.report["loss"], "kernel_events_lost"), 0);
    assert_eq!(int(&observed.report["loss"], "events_undecoded"), 0);
    let [command] = observed.list("commands") else { panic!("{}", observed.report["commands"]) };
    for list in ["processes", "dns", "connections", "requests"] {
        for entry in observed.list(list) {
            assert_eq!(entry["command"], command["id"], "{entry}");
        }
    }
    command
}

#[track_caller]
fn phase<'a>(command: &'a Value, name: &str) -> &'a Value {
    command["phases"].as_array().unwrap().iter().find(|phase| phase["phase"] == name).unwrap()
}

fn of<'a>(observed: &'a Observed, list: &str, comm: &str) -> Vec<&'a Value> {
    observed.list(list).iter().filter(|entry| entry["comm"] == comm).collect()
}

#[test]
fn git_over_https_belongs_to_the_command() {
    let Some(lab) = with_git("git_over_https_belongs_to_the_command") else { return };
    let host = lab.git_host(None).unwrap();
    let slow = HeadDelay { matches: paths(|path| path.contains("/info/refs")), delay: DELAY };
    host.set_faults(Faults { head_delays: vec![slow], ..Faults::default() });
    let run = direct(&lab, "lib", &[]);
    let observed = lab.observe(&run, &["go", "mod", "download"]).unwrap();
    assert_eq!(observed.output.status.code(), Some(0), "{}", observed.stderr());
    let command = one_command(&observed);

    let git = of(&observed, "processes", "git");
    assert_ne!(git.len(), 0);
    // The kernel cuts the name to 15 bytes.
    let helpers = of(&observed, "processes", "git-remote-http");
    assert_ne!(helpers.len(), 0);
    let pids: Vec<u64> = helpers.iter().map(|process| int(process, "pid")).collect();
    let connections = of(&observed, "connections", "git-remote-http");
    assert_ne!(connections.len(), 0);
    for connection in &connections {
        assert!(pids.contains(&int(connection, "pid")), "{connection}");
        assert_eq!(text(connection, "server_name"), GIT_HOST);
        assert_eq!(text(connection, "remote"), format!("{}:443", lab.net.free(5)));
        assert_eq!(text(connection, "outcome"), "established", "{connection}");
        assert!(int(connection, "bytes_sent") > 0 && int(connection, "bytes_received") > 0);
        assert!(int(connection, "connect_ns") > 0 && int(connection, "tls_ns") > 0, "{connection}");
    }
    let asked = of(&observed, "dns", "git-remote-http");
    assert!(asked.iter().any(|dns| text(dns, "name") == GIT_HOST && dns["rcode"] == "NOERROR"), "{asked:?}");

    // The server logs one connection more or less: go's own, for the look-up.
    let (accepted, requests) = host.log().take();
    assert_eq!(
        accepted.len(),
        observed.list("connections").iter().filter(|c| text(c, "remote").ends_with(":443")).count()
    );
    let delayed = requests.iter().filter(|request| request.path.contains("/info/refs")).count() as u32;
    assert!(delayed > 0);
    let vcs = phase(command, "vcs");
    let least = (DELAY * delayed * 9 / 10).as_nanos() as u64;
    assert!(int(vcs, "blocked_ns") > least, "{delayed} delays: {vcs}");
    let look_up = observed.list("requests").iter().find(|request| request["class"] == "go-get").unwrap();
    assert_eq!(int(look_up, "status"), 200);
}

#[test]
fn git_over_ssh_belongs_to_the_command() {
    let test = "git_over_ssh_belongs_to_the_command";
    if !skip::has(test, "sshd", "openssh-server") {
        return;
    }
    let Some(lab) = with_git(test) else { return };
    let repository = Repository::of_module(&format!("{GIT_HOST}/over-ssh")).unwrap();
    let _host = lab.git_host(Some(&repository)).unwrap();
    let sshd = lab.sshd().unwrap();
    let run = direct(&lab, "over-ssh", &[("GIT_SSH_COMMAND", &sshd.command())]);
    let observed = lab.observe(&run, &["go", "mod", "download"]).unwrap();
    assert_eq!(observed.output.status.code(), Some(0), "{}", observed.stderr());
    let command = one_command(&observed);

    let ssh = of(&observed, "processes", "ssh");
    assert_ne!(ssh.len(), 0);
    assert!(ssh.iter().all(|process| process["exit_code"] == 0 && int(process, "cpu_ns") > 0), "{ssh:?}");
    let connections = of(&observed, "connections", "ssh");
    assert_eq!(connections.len(), ssh.len(), "one of each");
    for connection in &connections {
        assert_eq!(text(connection, "remote"), format!("{}:22", lab.net.free(6)));
        assert_eq!(text(connection, "outcome"), "established", "{connection}");
        assert!(int(connection, "bytes_sent") > 0 && int(connection, "bytes_received") > 0);
        assert!(connection["server_name"].is_null() && connection["tls_version"].is_null(), "{connection}");
    }
    let vcs = phase(command, "vcs");
    assert!(int(vcs, "count") as usize > ssh.len() && int(vcs, "blocked_ns") > 0, "{vcs}");
}

#[test]
fn a_late_ssh_agent_is_named_and_the_host_is_not_blamed_for_it() {
    let test = "a_late_ssh_agent_is_named_and_the_host_is_not_blamed_for_it";
    if !skip::has(test, "sshd", "openssh-server") {
        return;
    }
    let Some(lab) = with_git(test) else { return };
    let repository = Repository::of_module(&format!("{GIT_HOST}/over-ssh")).unwrap();
    let _host = lab.git_host(Some(&repository)).unwrap();
    let (sshd, agent) = (lab.sshd().unwrap(), Agent::start().unwrap());
    let socket = agent.socket().display().to_string();
    for delay in [Duration::ZERO, Duration::from_secs(1)] {
        agent.set_delay(delay);
        let run = direct(
            &lab,
            "over-ssh",
            &[("GIT_SSH_COMMAND", &sshd.command()), ("SSH_AUTH_SOCK", socket.as_str())],
        );
        let observed = lab.observe(&run, &["go", "mod", "download"]).unwrap();
        assert_eq!(observed.output.status.code(), Some(0), "{}", observed.stderr());
        let command = one_command(&observed);
        let asked = of(&observed, "processes", "ssh").len() as u32;
        assert_ne!(asked, 0);
        let stalls = command["stalls"].as_array().unwrap();
        let named = stalls.iter().find(|stall| stall["kind"] == "helper-waiting");
        let auth = phase(command, "auth");
        if delay.is_zero() {
            assert_eq!((named, int(auth, "blocked_ns")), (None, 0), "{stalls:?}");
            continue;
        }
        let least = (delay * asked * 9 / 10).as_nanos() as u64;
        assert!(int(auth, "blocked_ns") > least, "{auth}");
        let named = named.unwrap();
        assert!(text(named, "summary").contains("asks its ssh agent"), "{named}");
        assert!(named["host"].is_null() && int(named, "cost_ns") > least, "{named}");
    }
}

#[test]
fn a_reset_of_gits_connection_is_shown_with_its_host() {
    let Some(lab) = with_git("a_reset_of_gits_connection_is_shown_with_its_host") else { return };
    let _host = lab.git_host(None).unwrap();
    lab.reset_host().unwrap();
    let run = direct(&lab, "reset", &[]);
    let observed = lab.observe(&run, &["go", "mod", "download"]).unwrap();
    assert_eq!(observed.output.status.code(), Some(1), "{}", observed.stderr());
    let command = one_command(&observed);
    let connections = of(&observed, "connections", "git-remote-http");
    assert_ne!(connections.len(), 0);
    for connection in &connections {
        assert_eq!(text(connection, "server_name"), RESET_HOST, "{connection}");
        assert_eq!(text(connection, "outcome"), "reset", "{connection}");
        assert!(int(connection, "resets") > 0 && connection["tls_ns"].is_null(), "{connection}");
    }
    assert!(int(phase(command, "vcs"), "errors") >= connections.len() as u64);
}

/// What is built once for all tests: Go's own packages.
fn cache() -> (String, String) {
    let folder = places::target().join("lab").join("gocache");
    fs::create_dir_all(&folder).unwrap();
    ("GOCACHE".into(), folder.canonicalize().unwrap().display().to_string())
}

/// A project of these files.
fn project(lab: &Lab, files: &[(&str, String)]) -> GoRun {
    let env = vec![cache(), ("CGO_ENABLED".into(), "0".into())];
    let run = lab.go_run(&GoOptions { env, ..GoOptions::default() }).unwrap();
    fs::write(run.project().join("go.mod"), "module sample.test/app\n\ngo 1.21\n").unwrap();
    for (name, text) in files {
        fs::write(run.project().join(name), text).unwrap();
    }
    run
}

#[test]
fn compilers_and_their_cpu_time_belong_to_the_command() {
    let Some(lab) = Lab::for_test("compilers_and_their_cpu_time_belong_to_the_command") else { return };
    let main =
        |text: &str| format!("package main\n\nimport \"fmt\"\n\nfunc main() {{ fmt.Println({text:?}) }}\n");
    let warm = project(&lab, &[("main.go", main("warm"))]);
    let output = lab.output(&mut warm.go(&["build", "-o", "/dev/null", "."])).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));

    // Never built before: its own package is compiled.
    let run = project(&lab, &[("main.go", main(&format!("{:?}", std::time::SystemTime::now())))]);
    let observed = lab.observe(&run, &["sh", "-c", "go build -o app . && times"]).unwrap();
    assert_eq!(observed.output.status.code(), Some(0), "{}", observed.stderr());
    let command = one_command(&observed);
    for comm in ["compile", "link"] {
        let tools = of(&observed, "processes", comm);
        assert!(tools.iter().any(|tool| tool["exit_code"] == 0 && int(tool, "cpu_ns") > 1_000_000), "{comm}");
    }
    // The shell counts what its children and theirs used; its own is the first line.
    let stdout = String::from_utf8_lossy(&observed.output.stdout).into_owned();
    let counted: f64 = stdout.lines().nth(1).unwrap().split_whitespace().map(seconds).sum();
    let below = observed.list("processes").iter().filter(|process| process["comm"] != "sh");
    let reported = below.map(|process| int(process, "cpu_ns")).sum::<u64>() as f64 / 1e9;
    assert!((reported - counted).abs() < 0.05 + counted * 0.05, "reported {reported} s, counted {counted} s");
    let local = &command["local"];
    assert!(int(local, "cpu_ns") as f64 / 1e9 < reported + 0.1, "{local}");
}

/// `0m1.250000s`
fn seconds(text: &str) -> f64 {
    let (minutes, seconds) = text.trim_end_matches('s').split_once('m').unwrap();
    minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
}

#[test]
fn requests_of_a_test_binary_are_the_commands() {
    let Some(lab) = Lab::for_test("requests_of_a_test_binary_are_the_commands") else { return };
    // As long as a name server takes on a network, for a program that nobody has seen before.
    lab.dns.set_faults(DnsFaults { delay: Duration::from_millis(100), ..DnsFaults::default() });
    let source = format!(
        "package app\n\nimport (\n\t\"io\"\n\t\"net/http\"\n\t\"testing\"\n)\n\n\
         // {:?}\nfunc TestFetch(t *testing.T) {{\n\
         \tfor range [3]int{{}} {{\n\
         \t\tanswer, err := http.Get(\"https://{PROXY_HOST}/nothing/@v/list\")\n\
         \t\tif err != nil {{\n\t\t\tt.Fatal(err)\n\t\t}}\n\
         \t\tio.Copy(io.Discard, answer.Body)\n\t\tanswer.Body.Close()\n\t}}\n}}\n",
        std::time::SystemTime::now()
    );
    let run = project(&lab, &[("fetch_test.go", source)]);
    fs::remove_file(run.project().join("main.go")).unwrap();
    let observed = lab.observe(&run, &["go", "test", "."]).unwrap();
    assert_eq!(observed.output.status.code(), Some(0), "{}", observed.stderr());
    one_command(&observed);
    let [binary] = of(&observed, "processes", "app.test")[..] else {
        panic!("{}", observed.report["processes"])
    };
    let requests = observed.list("requests");
    assert_eq!(requests.len(), 3, "{requests:?}");
    for request in requests {
        assert_eq!(request["pid"], binary["pid"], "{request}");
        assert_eq!((text(request, "authority"), int(request, "status")), (PROXY_HOST, 404));
    }
    assert_eq!(int(&observed.report["loss"], "connections_joined_late"), 0);
}

#[test]
fn a_childs_wait_for_a_lock_is_the_commands() {
    let Some(lab) = Lab::for_test("a_childs_wait_for_a_lock_is_the_commands") else { return };
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let [held, json, recording] = ["held", "report.json", "recording.jsonl"].map(|name| run.file(name));
    let lock = fs::File::create(&held).unwrap();
    lock.lock().unwrap();
    let mut command = run.goobserve().unwrap();
    command.arg("run").arg("--json").arg(&json).arg("--record").arg(&recording);
    let running = lab.begin(command.args(["--", "sh", "-c", "flock ../held true; exit 3"])).unwrap();
    wait::until("the wait for the lock", || {
        fs::read_to_string(&recording).ok().filter(|text| text.contains("\"type\":\"lock\"")).map(drop)
    });
    drop(lock);
    let output = running.end();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let observed = Observed {
        report: serde_json::from_slice(&fs::read(&json).unwrap()).unwrap(),
        output,
        clocks: ClockPair::sample(),
        ended: ClockPair::sample(),
    };
    let command = one_command(&observed);
    let [flock] = of(&observed, "processes", "flock")[..] else { panic!("{}", observed.report["processes"]) };
    let lines = fs::read_to_string(&recording).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let taken: Vec<Value> =
        lines.filter(|line| line["type"] == "lock" && !line["end_ns"].is_null()).collect();
    let [taken] = &taken[..] else { panic!("one wait: {taken:?}") };
    assert_eq!((&taken["pid"], &taken["command"]), (&flock["pid"], &command["id"]));
    assert_eq!(taken["holder"], std::process::id());
    let waited = int(taken, "end_ns") - int(taken, "start_ns");
    let phase = phase(command, "lock");
    assert_eq!((int(phase, "count"), int(phase, "max_ns")), (1, waited), "{phase}");
    assert!(int(phase, "blocked_ns") > 0, "{phase}");
}
