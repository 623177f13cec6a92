//! `--with gateway` and `serve gateway` with a real go and a real checksum database: the same files, nothing
//! asked that go does not ask, faults that go does not see, and checks that still refuse.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::go_env::{GoOptions, GoRun};
use tests::lab::Lab;
use tests::proxy::{Answer, CutBody, Fake, Faults, Matcher, StreamReset, ending, paths};
use tests::{skip, wait};

/// Through the remedy.
fn with_gateway(lab: &Lab, run: &GoRun) -> Output {
    lab.goobserve(run, &["run", "--report", "none", "--with", "gateway", "--", "go", "mod", "download"])
        .unwrap()
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What a download leaves: each file with its bytes, but for locks and the database's own cache.
fn downloaded(run: &GoRun) -> BTreeMap<String, Vec<u8>> {
    fn read(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                read(root, &path, files);
            } else if path.extension().is_none_or(|end| end != "lock") && !name.starts_with("sumdb") {
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let (mut files, root) = (BTreeMap::new(), run.modcache().join("cache/download"));
    read(&root, &root, &mut files);
    files.insert("go.sum".into(), fs::read(run.project().join("go.sum")).unwrap());
    files
}

/// Whether a run has those files; shown, they would fill many screens.
fn same(run: &GoRun, files: &BTreeMap<String, Vec<u8>>) -> bool {
    downloaded(run) == *files
}

/// Paths that the proxy was asked for, each with how often. Which partial tiles there are depends on the order
/// of records, so of those nothing is said.
fn asked(lab: &Lab) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    assert!(lab.proxy.log().settled(Duration::from_secs(10)));
    for request in lab.proxy.log().take().1 {
        if !request.path.contains(".p/") {
            *asked.entry(request.path).or_default() += 1;
        }
    }
    asked
}

/// One of so many requests.
fn one_of(many: u32) -> Matcher {
    let count = AtomicU32::new(0);
    paths(move |_| count.fetch_add(1, Ordering::SeqCst) % many == many - 1)
}

fn options(go_sum: bool) -> GoOptions {
    GoOptions { go_sum, ..GoOptions::default() }
}

#[test]
fn the_same_files_come_and_nothing_else_is_asked() {
    let Some(lab) = Lab::for_test("the_same_files_come_and_nothing_else_is_asked") else { return };
    for go_sum in [true, false] {
        let plain = lab.go_run(&options(go_sum)).unwrap();
        succeeded(&lab.output(&mut plain.go(&["mod", "download"])).unwrap());
        let expected = asked(&lab);
        let run = lab.go_run(&options(go_sum)).unwrap();
        succeeded(&with_gateway(&lab, &run));
        assert!(same(&run, &downloaded(&plain)));
        let asked = asked(&lab);
        let unasked = |these: &BTreeMap<String, usize>, those: &BTreeMap<String, usize>| -> Vec<String> {
            these.keys().filter(|path| !those.contains_key(*path)).cloned().collect()
        };
        assert_eq!((unasked(&asked, &expected), unasked(&expected, &asked)), (Vec::new(), Vec::new()));
        // A hedge is a request more, where an answer took long.
        let more = asked.values().sum::<usize>() - expected.values().sum::<usize>();
        assert!(more <= expected.len() / 10, "{more}");
        // Nothing stays.
        let left = |folder: &Path| {
            fs::read_dir(folder)
                .unwrap()
                .flatten()
                .any(|entry| entry.file_name().to_string_lossy().contains("goobserve-gateway"))
        };
        assert!(!left(run.dir()) && !left(Path::new("/tmp")));
    }
}

#[test]
fn a_command_that_asks_for_nothing_costs_the_proxy_no_request() {
    let Some(lab) = Lab::for_test("a_command_that_asks_for_nothing_costs_the_proxy_no_request") else {
        return;
    };
    let run = lab.go_run(&options(true)).unwrap();
    for command in [&["true"][..], &["go", "version"], &["go", "list", "-m"]] {
        let arguments = [&["run", "--report", "none", "--with", "gateway", "--"], command].concat();
        succeeded(&lab.goobserve(&run, &arguments).unwrap());
    }
    assert_eq!(asked(&lab), BTreeMap::new());
}

#[test]
fn faults_do_not_reach_go() {
    let Some(lab) = Lab::for_test("faults_do_not_reach_go") else { return };
    let temporary = |status, retry_after_s| Answer { matches: one_of(20), status, retry_after_s };
    let faults = [
        (
            "reset",
            Faults {
                stream_resets: vec![StreamReset {
                    matches: one_of(10),
                    code: 2,
                    left: AtomicU32::new(u32::MAX).into(),
                }],
                ..Faults::default()
            },
        ),
        ("goaway", Faults { goaway_after: Some(20), ..Faults::default() }),
        ("502", Faults { answers: vec![temporary(502, None)], ..Faults::default() }),
        ("429", Faults { answers: vec![temporary(429, Some(0))], ..Faults::default() }),
        (
            "cut",
            Faults {
                cut_bodies: vec![CutBody { matches: one_of(7), after_bytes: 100 }],
                ..Faults::default()
            },
        ),
        (
            "cut over HTTP/1.1",
            Faults {
                cut_bodies: vec![CutBody { matches: one_of(7), after_bytes: 40_000 }],
                http1_only: true,
                ..Faults::default()
            },
        ),
    ];
    let plain = lab.go_run(&options(false)).unwrap();
    succeeded(&lab.output(&mut plain.go(&["mod", "download"])).unwrap());
    let expected = downloaded(&plain);
    for (name, faults) in faults {
        lab.proxy.set_faults(faults);
        let run = lab.go_run(&options(false)).unwrap();
        let output = with_gateway(&lab, &run);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(same(&run, &expected), "{name}");
    }
}

#[test]
fn tampered_zips_and_forged_records_are_still_refused() {
    let Some(lab) = Lab::for_test("tampered_zips_and_forged_records_are_still_refused") else { return };
    let forged = paths(|path| path.contains("/lookup/"));
    for (fake, go_sum) in
        [(ending("toml/@v/v1.4.0.mod"), true), (ending("toml/@v/v1.4.0.zip"), true), (forged, false)]
    {
        lab.proxy
            .set_faults(Faults { fakes: vec![Fake { matches: fake, bytes: 5000 }], ..Faults::default() });
        let run = lab.go_run(&options(go_sum)).unwrap();
        let output = with_gateway(&lab, &run);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{text}");
    }
}

#[test]
fn the_list_keeps_its_meaning() {
    let Some(lab) = Lab::for_test("the_list_keeps_its_meaning") else { return };
    let status = |status| Faults {
        answers: vec![Answer {
            matches: paths(|path| path.starts_with("/a~/")),
            status,
            retry_after_s: None,
        }],
        ..Faults::default()
    };
    for (separator, answered, works) in [(',', 404, true), (',', 403, false), ('|', 403, true)] {
        lab.proxy.set_faults(status(answered));
        let list = format!("https://proxy.test/a~{separator}https://mirror.test,off");
        let env = vec![("GOPROXY".to_owned(), list)];
        let run = lab.go_run(&GoOptions { go_sum: true, few: true, env, ..GoOptions::default() }).unwrap();
        let output = with_gateway(&lab, &run);
        assert_eq!(
            output.status.success(),
            works,
            "{separator}{answered}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn its_requests_are_reported_and_the_secret_of_its_address_is_not() {
    let Some(lab) = Lab::for_test("its_requests_are_reported_and_the_secret_of_its_address_is_not") else {
        return;
    };
    let run = lab.go_run(&options(false)).unwrap();
    let (json, record) = (run.file("report.json"), run.file("record.jsonl"));
    let mut command = run.goobserve().unwrap();
    command.args(["run", "-vv", "--with", "gateway", "--json"]).arg(&json).arg("--record").arg(&record);
    command.args(["--", "sh", "-c", "echo $GOPROXY; exec go mod download"]);
    let output = lab.output(&mut command).unwrap();
    succeeded(&output);
    let goproxy = String::from_utf8(output.stdout).unwrap();
    let (address, path) = goproxy.trim().strip_prefix("http://").unwrap().split_once('/').unwrap();
    let secret = path.split('/').next().unwrap();
    assert!(secret.len() == 32, "{goproxy}");

    let mut outputs = vec![
        ("stderr", String::from_utf8(output.stderr).unwrap()),
        ("json", fs::read_to_string(&json).unwrap()),
        ("record", fs::read_to_string(&record).unwrap()),
    ];
    for format in ["text", "markdown", "html", "perfetto", "json"] {
        let output = lab.goobserve(&run, &["report", record.to_str().unwrap(), "--format", format]).unwrap();
        outputs.push((format, String::from_utf8(output.stdout).unwrap()));
    }
    // Nor a part of it that shortens the search.
    for part in [&secret[..8], &secret[12..20], &secret[24..]] {
        for (name, text) in &outputs {
            assert!(!text.contains(part), "{part} is in {name}");
        }
    }

    let report: Value = serde_json::from_str(&outputs[1].1).unwrap();
    let command = &report["commands"][0];
    let requests = report["requests"].as_array().unwrap();
    let of = |class: &str| requests.iter().filter(|request| request["class"] == class).count();
    assert!(
        of("zip") > 10 && of("mod") > 10 && of("sumdb-lookup") > 10 && of("other") == 0,
        "{}",
        outputs[3].1
    );
    for request in requests {
        assert_eq!((&request["authority"], &request["status"]), (&address.into(), &200.into()), "{request}");
        let path = request["path"].as_str().unwrap();
        assert!(path.starts_with("/…/0/"), "{path}");
        assert!(!request["module"].as_str().is_some_and(|module| module.contains('…')), "{request}");
    }
    let proxy = command["go"]["goproxy"].as_str().unwrap();
    assert_eq!(proxy, format!("http://{address}/…/0"));
    // Nothing is wrong with a gateway: at most the machine is slow.
    for stall in command["stalls"].as_array().unwrap() {
        assert_eq!(stall["kind"], "local-bound", "{stall}");
    }
}

/// Folders that gateways have there.
fn folders(run: &GoRun) -> Vec<PathBuf> {
    let all = fs::read_dir(run.dir()).unwrap().flatten().map(|entry| entry.path());
    all.filter(|path| path.to_string_lossy().contains("goobserve-gateway")).collect()
}

#[test]
fn what_a_killed_goobserve_left_is_removed_by_the_next() {
    let Some(lab) = Lab::for_test("what_a_killed_goobserve_left_is_removed_by_the_next") else { return };
    let run = lab.go_run(&GoOptions { few: true, ..options(true) }).unwrap();
    let mut command = run.goobserve().unwrap();
    // The command ends when its stdin does.
    command.args(["run", "--report", "none", "--with", "gateway", "--", "sh", "-c", "echo; exec cat"]);
    let mut killed = lab.spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    BufReader::new(killed.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = folders(&run);
    assert_eq!(left.len(), 1, "{left:?}");
    File::open(&left[0]).unwrap().set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    // Its gateway ends by itself, and with it the last that holds the folder.
    wait::until("the folder to be removed", || {
        succeeded(&with_gateway(&lab, &run));
        folders(&run).is_empty().then_some(())
    });
}

#[test]
fn compare_proves_what_it_brings() {
    let Some(lab) = Lab::for_test("compare_proves_what_it_brings") else { return };
    let run = lab.go_run(&GoOptions { gomaxprocs: Some(2), ..options(true) }).unwrap();
    lab.proxy.set_faults(Faults { request_delay: Duration::from_millis(30), ..Faults::default() });
    let file = run.file("answer.json");
    let arguments = ["compare", "--with", "gateway", "--runs", "6", "--json", file.to_str().unwrap(), "--"];
    let output = lab.goobserve(&run, &[&arguments[..], &["go", "mod", "download"]].concat()).unwrap();
    succeeded(&output);
    let answer: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!((&answer["verdict"], &answer["end"]), (&"faster".into(), &"complete".into()), "{text}");
    assert!(text.starts_with("gateway: "), "{text}");
    assert_eq!(folders(&run), Vec::<PathBuf>::new());
}

/// `serve gateway`, and the GOPROXY that it printed.
fn serve(lab: &Lab, run: &GoRun) -> (Child, String) {
    let mut command = run.goobserve().unwrap();
    command.args(["serve", "gateway", "--listen", "127.0.0.1:0", "--cache"]).arg(run.file("cache"));
    let mut child = lab.spawn(command.stdout(Stdio::piped())).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().strip_prefix("GOPROXY=").unwrap().to_owned())
}

#[test]
fn a_server_killed_at_any_moment_leaves_a_cache_that_serves_no_wrong_byte() {
    let Some(lab) = Lab::for_test("a_server_killed_at_any_moment_leaves_a_cache_that_serves_no_wrong_byte")
    else {
        return;
    };
    let server = lab.go_run(&options(true)).unwrap();
    let plain = lab.go_run(&options(true)).unwrap();
    succeeded(&lab.output(&mut plain.go(&["mod", "download"])).unwrap());
    let expected = downloaded(&plain);
    for files in [3, 40, 80, 120] {
        let (mut child, goproxy) = serve(&lab, &server);
        let run = lab.go_run(&GoOptions { env: vec![("GOPROXY".into(), goproxy)], ..options(true) }).unwrap();
        let mut go = lab.spawn(run.go(&["mod", "download"]).stderr(Stdio::null())).unwrap();
        // Killed in the middle of the download, behind so many of go's requests.
        let before = lab.proxy.log().requests().len();
        while lab.proxy.log().requests().len() - before < files && go.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        go.kill().unwrap();
        go.wait().unwrap();
    }
    let (mut child, goproxy) = serve(&lab, &server);
    let mut before = 0;
    for _ in 0..2 {
        before = lab.proxy.log().requests().len();
        let run = lab
            .go_run(&GoOptions { env: vec![("GOPROXY".into(), goproxy.clone())], ..options(true) })
            .unwrap();
        succeeded(&lab.output(&mut run.go(&["mod", "download"])).unwrap());
        assert!(same(&run, &expected));
    }
    assert_eq!(lab.proxy.log().requests().len(), before, "all of it is in the cache");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn beyond_loopback_it_listens_only_when_that_is_allowed() {
    let Some(lab) = Lab::for_test("beyond_loopback_it_listens_only_when_that_is_allowed") else { return };
    let run = lab.go_run(&options(true)).unwrap();
    let output = lab.goobserve(&run, &["serve", "gateway", "--listen", "0.0.0.0:0"]).unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("--allow-remote") && text.contains("credentials"), "{text}");
}

/// A user of its own, for sudo.
const USER: u32 = 65_534;

#[test]
fn under_sudo_the_gateway_is_the_users_and_gone_with_the_command() {
    let test = "under_sudo_the_gateway_is_the_users_and_gone_with_the_command";
    if skip::is_root(test) && tests::paths::program("sudo").is_none() {
        skip::skipped(test, "needs the program sudo");
        return;
    }
    let Some(lab) = Lab::for_test(test) else { return };
    let run = lab.go_run(&options(true)).unwrap();
    run.give_to(USER).unwrap();
    fs::write(run.file("sudoers"), "Defaults env_reset, umask=0022\nALL ALL=(ALL) NOPASSWD: ALL\n").unwrap();
    fs::set_permissions(run.file("sudoers"), fs::Permissions::from_mode(0o440)).unwrap();
    let script = "mount --bind \"$1\" /etc/sudoers || exit 99; shift; exec setpriv \"$@\"";
    let mut command = run.command("sh");
    command.args(["-c", script, "sh"]).arg(run.file("sudoers"));
    command.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".into()]);
    command.args(["sh", "-c", "sudo -n \"$@\"; exit $?", "sh"]).arg(tests::goobserve::binary().unwrap());
    command.args(["run", "--report", "none", "--with", "gateway", "--", "sh", "-c"]);
    // Its folder, and the process that has it among its words.
    command.arg(
        "cd .. && folder=$(echo .goobserve-gateway-*) && stat -c '%u %a' $folder && for process in /proc/[0-9]*; do \
         tr '\\0' ' ' < $process/cmdline | grep -q \"for-command.*$folder\" && grep -E '^(Uid|CapEff|NoNewPrivs)' $process/status; \
         done; cd project && go mod download && echo ended $?",
    );
    let output = lab.output(&mut command).unwrap();
    let (said, text) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let words: Vec<&str> = said.split_whitespace().collect();
    let user = USER.to_string();
    let expected = [
        &user,
        "700",
        "Uid:",
        &user,
        &user,
        &user,
        &user,
        "CapEff:",
        "0000000000000000",
        "NoNewPrivs:",
        "1",
        "ended",
        "0",
    ];
    assert_eq!(words, expected, "{text}");
    let left = fs::read_dir(run.dir()).unwrap().flatten().map(|entry| entry.file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().contains("gateway")));
}
