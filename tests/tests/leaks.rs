//! Names of private modules that leave: for settings and commands in turn, names and counts that the report
//! gives are those of the servers' logs, one for one.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use tests::git::VERSION;
use tests::go_env::{GoOptions, GoRun};
use tests::lab::{GIT_HOST, Lab, SUMDB_HOST};
use tests::skip;

/// Lists of proxies. `direct` has the checksum database asked at its own host.
const PROXIES: [&str; 4] =
    ["https://proxy.test,direct", "https://proxy.test|direct", "https://proxy.test", "direct"];

/// What keeps names in, or does not: GOPRIVATE, GONOPROXY, GONOSUMDB, GOINSECURE.
const SETTINGS: [[&str; 4]; 10] = [
    ["", "", "", ""],
    ["git.test", "", "", ""],
    ["test", "", "", ""],
    ["*.test", "", "", ""],
    ["git.test/lib", "", "", "git.test"],
    ["git.test", "none", "", ""],
    ["git.test", "", "other.test", ""],
    ["", "git.test", "", ""],
    ["", "", "git.test", ""],
    ["", "", "", "git.test"],
];

const COMMANDS: [&[&str]; 8] = [
    &["mod", "download"],
    &["mod", "tidy"],
    &["get", "git.test/lib@v1.0.0"],
    &["get", "-u", "./..."],
    &["list", "-m", "-u", "all"],
    &["build", "./..."],
    &["install", "git.test/lib/cmd/tool@latest"],
    &["mod", "vendor"],
];

/// To whom, as the checksum database, which name: in how many requests.
type Names = BTreeMap<(String, bool, String), u64>;

/// The main module is private, and requires another one of its host.
fn project(lab: &Lab, proxies: &str, settings: [&str; 4]) -> GoRun {
    let text = |text: &str| text.to_owned();
    let mut env = vec![
        (text("GOPROXY"), text(proxies)),
        (text("GOFLAGS"), text("-modcacherw -mod=mod")),
        (text("CGO_ENABLED"), text("0")),
        // git reads these and not go's.
        (text("GIT_SSL_CAINFO"), lab.ca().display().to_string()),
        (text("GIT_CONFIG_NOSYSTEM"), text("1")),
    ];
    for (name, value) in ["GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE"].into_iter().zip(settings) {
        if !value.is_empty() {
            env.push((text(name), text(value)));
        }
    }
    let sumdb_direct = proxies == "direct";
    let run = lab.go_run(&GoOptions { sumdb_direct, env, ..GoOptions::default() }).unwrap();
    let go_mod = format!("module {GIT_HOST}/app\n\ngo 1.21\n\nrequire {GIT_HOST}/lib {VERSION}\n");
    fs::write(run.project().join("go.mod"), go_mod).unwrap();
    let main = format!("package main\n\nimport _ \"{GIT_HOST}/lib\"\n\nfunc main() {{}}\n");
    fs::write(run.project().join("main.go"), main).unwrap();
    run
}

/// The module in a path of a proxy's or of the checksum database's.
fn module(path: &str) -> Option<(bool, &str)> {
    match path.split_once("/lookup/") {
        Some((_, rest)) => Some((true, rest.rsplit_once('@')?.0)),
        None if path.starts_with("/sumdb/") => None,
        None => {
            let end = path.find("/@v/").or_else(|| path.find("/@latest"))?;
            Some((false, &path[1..end]))
        }
    }
}

fn is_private(module: &str) -> bool {
    module.split('/').next() == Some(GIT_HOST)
}

/// By the servers' log, which is emptied.
fn logged(lab: &Lab) -> Names {
    assert!(lab.proxy.log().settled(Duration::from_secs(20)), "connections stay open");
    let mut names = Names::new();
    for request in lab.proxy.log().take().1 {
        if let Some((database, module)) = module(&request.path).filter(|(_, module)| is_private(module)) {
            let database = database || request.authority == SUMDB_HOST;
            *names.entry((request.authority, database, module.to_owned())).or_default() += 1;
        }
    }
    names
}

/// By the report.
fn reported(report: &Value) -> Names {
    let mut names = Names::new();
    let stalls = report["commands"][0]["stalls"].as_array().unwrap();
    for stall in stalls.iter().filter(|stall| stall["kind"] == "private-name-left") {
        assert!(["warning", "critical"].iter().any(|severity| stall["severity"] == **severity), "{stall}");
        for fact in stall["evidence"].as_array().unwrap() {
            let text = |name: &str| fact[name].as_str().unwrap().to_owned();
            let key = (text("host"), fact["database"] == true, text("module"));
            *names.entry(key).or_default() += fact["requests"].as_u64().unwrap();
        }
    }
    names
}

/// What differs, if anything does, and how many requests had a private name.
fn tried(lab: &Lab, proxies: &str, settings: [&str; 4], command: &[&str]) -> (Option<String>, u64) {
    let run = project(lab, proxies, settings);
    let observed = lab.observe(&run, &[&["go"], command].concat()).unwrap();
    let (wanted, is) = (logged(lab), reported(&observed.report));
    let all = wanted.values().sum();
    let what = || format!("go {command:?}, {proxies} {settings:?}: {wanted:?} left, {is:?} is reported");
    ((wanted != is).then(what), all)
}

fn lab(test: &str) -> Option<Lab> {
    skip::has(test, "git", "git").then(|| Lab::for_test(test)).flatten()
}

/// A command with all settings.
fn every_setting_of(test: &str, command: &[&str]) {
    let Some(lab) = lab(test) else { return };
    let _git = lab.git_libraries(&["lib", "app"]).unwrap();
    let (mut wrong, mut all) = (Vec::new(), 0);
    for proxies in PROXIES {
        for settings in SETTINGS {
            let (differs, names) = tried(&lab, proxies, settings, command);
            wrong.extend(differs);
            all += names;
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), PROXIES.len() * SETTINGS.len());
    assert!(all > 0, "no name left");
}

#[test]
fn each_command_with_settings_of_its_own() {
    let Some(lab) = lab("each_command_with_settings_of_its_own") else { return };
    let _git = lab.git_libraries(&["lib", "app"]).unwrap();
    for (n, command) in COMMANDS.iter().enumerate() {
        let (differs, _) = tried(&lab, PROXIES[n % 4], SETTINGS[n], command);
        assert_eq!(differs, None);
    }
}

// `go mod vendor` is not among these: with none of the settings a name leaves.
macro_rules! every_setting {
    ($($name:ident: $n:literal),*) => {
        $(#[test]
        fn $name() {
            every_setting_of(stringify!($name), COMMANDS[$n]);
        })*
    };
}

every_setting! {
    every_setting_of_mod_download: 0,
    every_setting_of_mod_tidy: 1,
    every_setting_of_get: 2,
    every_setting_of_get_u: 3,
    every_setting_of_list_u: 4,
    every_setting_of_build: 5,
    every_setting_of_install: 6
}
