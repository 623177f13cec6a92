//! Is the report complete whatever Go it is, and however that was built? The go command of the
//! oldest to the newest version, and clients built with them. `cargo xtask bench versions` tries
//! every build of every version; here each is tried that takes another way through the program.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::builds::{Build, PAGES};
use tests::complete::{Download, SETTLE, int, same, text};
use tests::go_env::GoOptions;
use tests::lab::{Lab, PROXY_HOST, SUMDB_HOST};
use tests::proxy::{Answer, Faults, ending, paths};
use tests::toolchains::{NEWEST, OLDEST, OWN, Toolchain};
use tests::wait;

/// The fewest modules a run must be about.
const MODULES: usize = 60;

/// Observes `go mod download` of that go command, and fails unless the report is complete.
#[track_caller]
fn complete(lab: &Lab, toolchain: &Toolchain, build: Build, options: &GoOptions) -> Download {
    let go = toolchain.go(build).unwrap_or_else(|error| panic!("{error:#}"));
    let run = lab.go_run(options).unwrap();
    toolchain.fit(&run).unwrap();
    // Which place is probed: the cheap one in all code that the compiler has optimized.
    let plan = goelf::plan(&*std::fs::read(&go).unwrap()).unwrap();
    let cheap = matches!(plan.received, goelf::Received::Records { .. });
    assert_eq!(cheap, build != Build::Unoptimized, "{:?}", plan.received);
    let download = Download::of(lab, &run, &[go.to_str().unwrap(), "mod", "download", "-x"]);
    let zips = download.requests.iter().filter(|request| request.path.rsplit('.').next() == Some("zip"));
    assert!(zips.count() >= MODULES, "the sample is too small");
    download.is_complete(lab);
    download.has_the_printed_urls();

    let [command] = download.observed.list("commands") else {
        panic!("one command: {}", download.observed.report["commands"])
    };
    let said = &command["go"];
    assert_eq!(said["version"], format!("go{}", toolchain.version), "{said}");
    assert_eq!((&said["cgo"], &said["binary"]), (&build.cgo().into(), &go.to_str().into()), "{said}");
    download
}

#[track_caller]
fn builds_are_complete(test: &str, version: &str, builds: &[Build]) {
    let Some(lab) = Lab::for_test(test) else { return };
    let Some(toolchain) = Toolchain::for_test(test, version) else { return };
    for build in builds {
        println!("go{} {}", toolchain.version, build.name());
        complete(&lab, &toolchain, *build, &GoOptions::default());
    }
}

#[test]
fn go_1_21_is_complete_normal_and_stripped() {
    let test = "go_1_21_is_complete_normal_and_stripped";
    builds_are_complete(test, OLDEST, &[Build::Normal, Build::Stripped]);
}

#[test]
fn go_1_22_is_complete_normal_and_stripped() {
    let test = "go_1_22_is_complete_normal_and_stripped";
    builds_are_complete(test, "1.22.12", &[Build::Normal, Build::Stripped]);
}

#[test]
fn go_1_24_is_complete_normal_and_stripped() {
    let test = "go_1_24_is_complete_normal_and_stripped";
    builds_are_complete(test, "1.24.6", &[Build::Normal, Build::Stripped]);
}

#[test]
fn the_machines_own_go_is_complete_normal_and_stripped() {
    let test = "the_machines_own_go_is_complete_normal_and_stripped";
    builds_are_complete(test, OWN, &[Build::Normal, Build::Stripped]);
}

#[test]
fn go_1_27_is_complete_normal_and_stripped() {
    let test = "go_1_27_is_complete_normal_and_stripped";
    builds_are_complete(test, NEWEST, &[Build::Normal, Build::Stripped]);
}

#[test]
fn the_oldest_go_is_complete_position_independent_and_with_cgo() {
    let test = "the_oldest_go_is_complete_position_independent_and_with_cgo";
    builds_are_complete(test, OLDEST, &[Build::Pie, Build::PieStripped, Build::Cgo, Build::LinkedStripped]);
}

#[test]
fn the_newest_go_is_complete_position_independent_and_with_cgo() {
    let test = "the_newest_go_is_complete_position_independent_and_with_cgo";
    builds_are_complete(test, NEWEST, &[Build::Pie, Build::PieStripped, Build::Cgo, Build::LinkedStripped]);
}

#[test]
fn the_oldest_and_the_newest_go_are_complete_unoptimized() {
    let test = "the_oldest_and_the_newest_go_are_complete_unoptimized";
    for version in [OLDEST, NEWEST] {
        builds_are_complete(test, version, &[Build::Unoptimized]);
    }
}

#[test]
fn the_oldest_and_the_newest_go_are_complete_over_http1() {
    let test = "the_oldest_and_the_newest_go_are_complete_over_http1";
    for version in [OLDEST, NEWEST] {
        let Some(lab) = Lab::for_test(test) else { return };
        let Some(toolchain) = Toolchain::for_test(test, version) else { return };
        let options = GoOptions { http1: true, ..GoOptions::default() };
        let download = complete(&lab, &toolchain, Build::Stripped, &options);
        assert!(download.observed.list("requests").iter().all(|r| r["protocol"] == "http/1.1"));
    }
}

#[test]
fn the_oldest_and_the_newest_go_are_complete_when_the_checksum_database_is_asked_directly() {
    let test = "the_oldest_and_the_newest_go_are_complete_when_the_checksum_database_is_asked_directly";
    for version in [OLDEST, NEWEST] {
        let Some(lab) = Lab::for_test(test) else { return };
        let Some(toolchain) = Toolchain::for_test(test, version) else { return };
        let refused = Answer { matches: ending("/supported"), status: 404, retry_after_s: None };
        lab.proxy.set_faults(Faults { answers: vec![refused], ..Faults::default() });
        let options = GoOptions { sumdb_direct: true, ..GoOptions::default() };
        let download = complete(&lab, &toolchain, Build::Normal, &options);
        let lookups = download.observed.list("requests").iter();
        let lookups = lookups.filter(|r| r["authority"] == SUMDB_HOST && r["class"] == "sumdb-lookup");
        assert!(lookups.count() >= MODULES);
    }
}

#[test]
fn the_oldest_and_the_newest_go_are_complete_when_watched() {
    let test = "the_oldest_and_the_newest_go_are_complete_when_watched";
    for version in [OLDEST, NEWEST] {
        let Some(lab) = Lab::for_test(test) else { return };
        let Some(toolchain) = Toolchain::for_test(test, version) else { return };
        watched(&lab, &toolchain);
    }
}

#[track_caller]
fn watched(lab: &Lab, toolchain: &Toolchain) {
    let go = toolchain.go(Build::Stripped).unwrap_or_else(|error| panic!("{error:#}"));
    let run = lab.go_run(&GoOptions::default()).unwrap();
    toolchain.fit(&run).unwrap();
    // It is in the caller's PATH, so that it is known before it is called.
    let mut goobserve = run.goobserve().unwrap();
    goobserve.args(["watch", "--output", "jsonl"]).env("PATH", go.parent().unwrap());
    let watch = lab.begin(&mut goobserve).unwrap();
    wait::until("goobserve to watch", || watch.stderr().contains("watching every go").then_some(()));

    let download = lab.begin(run.command(&go).args(["mod", "download"])).unwrap();
    let pid = download.pid();
    let output = download.end();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let reported = wait::until("the command's end", || {
        let printed = watch.stdout();
        let whole = printed.rsplit_once('\n')?.0;
        let lines: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let is_over =
            |line: &&Value| line["type"] == "command" && line["pid"] == pid && !line["wall_ns"].is_null();
        let last = lines.iter().find(is_over)?.clone();
        Some((lines, last))
    });
    watch.signal(Signal::SIGTERM).unwrap();
    let ended = watch.end();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));

    let (lines, last) = reported;
    assert_eq!(last["go"]["version"], format!("go{}", toolchain.version), "{last}");
    assert!(lab.proxy.log().settled(SETTLE), "connections stayed open");
    let logged = lab.proxy.log().take().1;
    let requests = lines.iter().filter(|l| l["type"] == "request" && l["command"] == last["command"]);
    let requests: BTreeMap<u64, &Value> = requests.map(|line| (int(line, "id"), line)).collect();
    same(
        "requests",
        requests.values().map(|r| (text(r, "method"), text(r, "path"))),
        logged.iter().map(|r| (&*r.method, &*r.path)),
    );
}

#[track_caller]
fn clients_are_complete(test: &str, version: &str) {
    let Some(lab) = Lab::for_test(test) else { return };
    let Some(toolchain) = Toolchain::for_test(test, version) else { return };
    let page = Answer { matches: paths(|path| path.starts_with("/page/")), status: 200, retry_after_s: None };
    lab.proxy.set_faults(Faults { answers: vec![page], ..Faults::default() });
    for build in Build::ALL {
        for http1 in [false, true] {
            println!("a client of go{} {}, http1 {http1}", toolchain.version, build.name());
            let run = lab.go_run(&GoOptions { http1, ..GoOptions::default() }).unwrap();
            let client = toolchain.client(build, run.dir()).unwrap_or_else(|error| panic!("{error:#}"));
            let urls: Vec<String> = (0..PAGES).map(|n| format!("https://{PROXY_HOST}/page/{n}")).collect();
            let command: Vec<&str> =
                [client.to_str().unwrap()].into_iter().chain(urls.iter().map(|url| &**url)).collect();
            let download = Download::of(&lab, &run, &command);
            assert_eq!(download.requests.len(), 2 * PAGES + 1);
            download.is_complete(&lab);
            let requests = download.observed.list("requests");
            let protocol = if http1 { "http/1.1" } else { "h2" };
            assert!(requests.iter().all(|r| r["class"] == "other" && r["protocol"] == protocol));
            // It is no go command, so nothing is said of go's settings.
            let go = &download.observed.list("commands")[0]["go"];
            assert!(go.is_null() || go["goproxy"].is_null(), "{go}");
        }
    }
}

#[test]
fn clients_built_with_the_oldest_go_are_complete() {
    clients_are_complete("clients_built_with_the_oldest_go_are_complete", OLDEST);
}

#[test]
fn clients_built_with_the_newest_go_are_complete() {
    clients_are_complete("clients_built_with_the_newest_go_are_complete", NEWEST);
}
