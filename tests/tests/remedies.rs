//! `goobserve run --with`: what each remedy changes for the command, that the report says so, and
//! that nothing else is changed and nothing stays.

use std::fs;
use std::process::Output;

use serde_json::Value;
use tests::go_env::{GoOptions, GoRun};
use tests::goobserve::binary;
use tests::lab::Lab;

fn ready(test: &str) -> Option<(Lab, GoRun)> {
    ready_with(test, &[])
}

fn ready_with(test: &str, env: &[(&str, &str)]) -> Option<(Lab, GoRun)> {
    let lab = Lab::for_test(test)?;
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let run = lab.go_run(&GoOptions { env, ..GoOptions::default() }).unwrap();
    Some((lab, run))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Arguments of `goobserve run` with these remedies.
fn with<'a>(remedies: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    let remedies = remedies.iter().flat_map(|remedy| ["--with", remedy]);
    ["run", "--report", "none"]
        .into_iter()
        .chain(remedies)
        .chain(["--"])
        .chain(command.iter().copied())
        .collect()
}

#[test]
fn each_changes_its_variable_and_godebug_is_merged() {
    let test = "each_changes_its_variable_and_godebug_is_merged";
    let Some((lab, run)) = ready_with(test, &[("GODEBUG", "netdns=go,http2client=1"), ("OTHER", "kept")])
    else {
        return;
    };
    let remedies = [
        "concurrency=16",
        "http1",
        "no-mlkem",
        "proxy=https://mirror.test|direct",
        "sumdb=sumdb.test https://sumdb.test",
        "env=GOPRIVATE=corp.test",
    ];
    let output = lab.goobserve(&run, &with(&remedies, &["env"])).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let env = stdout(&output);
    for line in [
        "GOMAXPROCS=16",
        "GODEBUG=netdns=go,http2client=0,tlsmlkem=0",
        "GOPROXY=https://mirror.test|direct",
        "GOSUMDB=sumdb.test https://sumdb.test",
        "GOPRIVATE=corp.test",
        "OTHER=kept",
    ] {
        assert!(env.lines().any(|is| is == line), "{line} not in\n{env}");
    }
    let plain = stdout(&lab.goobserve(&run, &with(&[], &["env"])).unwrap());
    let changed = ["GOMAXPROCS=", "GODEBUG=", "GOPROXY=", "GOSUMDB=", "GOPRIVATE="];
    let rest = |env: &str| -> Vec<String> {
        let other = |line: &&str| !changed.iter().any(|name| line.starts_with(name));
        env.lines().filter(other).map(str::to_owned).collect()
    };
    assert_eq!(rest(&env), rest(&plain));
}

#[test]
fn a_private_resolv_conf_is_the_commands_alone_and_gone_with_it() {
    let Some((lab, run)) = ready("a_private_resolv_conf_is_the_commands_alone_and_gone_with_it") else {
        return;
    };
    // One shell in the lab looks before, meanwhile and afterwards: at mounts, at the file, at /tmp.
    let script = "look() { cat /etc/resolv.conf; cat /proc/self/mounts; ls -A /tmp /dev/shm /run; }
        look > \"$2/before\"
        \"$1\" run --report none --with 'resolv=options timeout:1 attempts:3' --with 'resolv=search a.test' \\
            -- sh -c 'cat /etc/resolv.conf; ls /proc/self/status; echo; cat /proc/self/mounts' > \"$2/inside\" &
        sleep 0; wait $!; status=$?
        look > \"$2/after\"; exit $status";
    let mut command = run.command("sh");
    command.args(["-c", script, "sh"]).arg(binary().unwrap()).arg(run.dir());
    let output = lab.output(&mut command).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let read = |name: &str| fs::read_to_string(run.file(name)).unwrap();
    let inside = read("inside");
    let resolv_conf = format!("nameserver {}\noptions timeout:1 attempts:3\nsearch a.test\n", lab.net.dns);
    assert!(inside.starts_with(&resolv_conf), "{inside}");
    assert!(inside.contains("/proc/self/status"), "its /proc is not the machine's:\n{inside}");
    // Other tests come and go in the shared folders; only what is ours matters.
    let ours = |text: String| -> Vec<String> {
        text.lines().filter(|line| !line.contains("goobserve-")).map(str::to_owned).collect()
    };
    assert_eq!(ours(read("before")), ours(read("after")));
    let mounts = inside.split_once("\n\n").unwrap().1;
    let news: Vec<&str> = mounts.lines().filter(|line| !read("before").contains(*line)).collect();
    assert!(news.len() == 1 && news[0].contains(" /etc/resolv.conf tmpfs "), "{news:?}");
}

#[test]
fn the_report_names_the_remedies_and_sees_their_effect() {
    let Some((lab, run)) = ready("the_report_names_the_remedies_and_sees_their_effect") else { return };
    let file = run.file("report.json");
    let remedies = ["http1", "concurrency=3", "resolv=options timeout:2", "env=TOKEN=hunter2"];
    let arguments = with(&remedies, &["go", "mod", "download", "rsc.io/quote@v1.5.2"]);
    let json = ["run", "--json", file.to_str().unwrap()];
    let output = lab.goobserve(&run, &[&json[..], &arguments[1..]].concat()).unwrap();
    let report: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap_or_else(|error| {
        panic!("{error}: {}", stderr(&output));
    });
    let names = ["http1", "concurrency=3", "resolv=options timeout:2", "env=TOKEN=…"];
    assert_eq!(report["remedies"], Value::from(names.to_vec()));
    assert!(!report.to_string().contains("hunter2"));
    assert_eq!(report["machine"]["resolver"]["timeout_s"], 2);
    let go = &report["commands"][0]["go"];
    assert_eq!((&go["gomaxprocs"], &go["godebug"]), (&Value::from(3), &Value::from("http2client=0")));
    // Settings are read although the command has a mount namespace of its own.
    assert!(go["goproxy"].is_string() && go["gosumdb"].is_string(), "{go}");
    let requests = report["requests"].as_array().unwrap();
    assert!(!requests.is_empty() && requests.iter().all(|request| request["protocol"] == "http/1.1"));
    tests::schema::Schema::published("report").unwrap().check(&report).unwrap();
}

#[test]
fn another_name_server_is_asked() {
    let Some((lab, run)) = ready("another_name_server_is_asked") else { return };
    let file = run.file("report.json");
    // Nobody answers at the first; the second is the lab's.
    let nobody = format!("resolv=nameserver {}", lab.net.free(9));
    let second = format!("resolv=nameserver {}", lab.net.dns);
    let arguments =
        with(&[&nobody, &second, "resolv=options timeout:1"], &["go", "list", "-m", "rsc.io/quote@v1.5.2"]);
    let json = ["run", "--json", file.to_str().unwrap()];
    lab.goobserve(&run, &[&json[..], &arguments[1..]].concat()).unwrap();
    let report: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let servers: Vec<&str> =
        report["dns"].as_array().unwrap().iter().filter_map(|dns| dns["server"].as_str()).collect();
    let first = format!("{}:53", lab.net.free(9));
    assert_eq!(servers.first(), Some(&first.as_str()), "{servers:?}");
    assert!(servers.contains(&format!("{}:53", lab.net.dns).as_str()), "{servers:?}");
}

#[test]
fn wrong_values_are_status_2_before_anything_is_done() {
    let Some((lab, run)) = ready("wrong_values_are_status_2_before_anything_is_done") else { return };
    for remedy in [
        "fly",
        "concurrency=0",
        "http1=1",
        "proxy=nowhere",
        "resolv=x",
        "dns-cache=9",
        "gateway=9",
        "deadline=9h",
        "env=x",
    ] {
        let output = lab.goobserve(&run, &with(&[remedy], &["touch", "done"])).unwrap();
        assert_eq!(output.status.code(), Some(2), "{remedy}: {}", stderr(&output));
        let text = stderr(&output);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.len() == 2 && lines[0].starts_with("goobserve: ") && lines[1].starts_with("  hint: "),
            "{text}"
        );
        assert!(!run.project().join("done").exists(), "{remedy}");
    }
}

#[test]
fn what_sumdb_off_gives_up_is_said_once_and_not_with_q() {
    let Some((lab, run)) = ready("what_sumdb_off_gives_up_is_said_once_and_not_with_q") else { return };
    let arguments = with(&["sumdb=off"], &["true"]);
    let said = |output: &Output| stderr(output).matches("unchecked").count();
    assert_eq!(said(&lab.goobserve(&run, &arguments).unwrap()), 1);
    assert_eq!(said(&lab.goobserve(&run, &[&["-q"], &arguments[..]].concat()).unwrap()), 0);
}
