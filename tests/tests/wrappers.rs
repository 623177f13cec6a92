//! `goobserve run` where the go command is behind something: a version manager's script that is the
//! first `go` on PATH and calls a binary that lies where nobody looks, and that nobody has ever run.

use std::env;
use std::fs;
use std::path::PathBuf;

use tests::complete::Download;
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::paths;
use tests::starts::Fresh;
use tests::toolchains::{OWN, Toolchain};

/// A script in the project's folder that calls others, as make does.
const NESTED: &str = "set -e\nfor step in download; do\n  sh -ec \"true; go mod $step -x\"\ndone\n";

/// Has that command call go through a script, which calls a binary that is new: the report is complete.
#[track_caller]
fn is_complete(lab: &Lab, command: &[&str]) {
    let fresh = Fresh::new().unwrap();
    let (shims, script) = (fresh.neighbour("shims"), fresh.neighbour("script"));
    fs::create_dir(&shims).unwrap();
    fs::write(&script, format!("#!/bin/sh\nset -e\nexec {} \"$@\"\n", fresh.binary().display())).unwrap();
    paths::copy_program(&script, &shims.join("go")).unwrap();
    let rest = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(shims).chain(env::split_paths(&rest))).unwrap();
    let goroot: PathBuf = Toolchain::get(OWN).unwrap().root;
    let env = [("PATH", path), ("GOROOT", goroot.into())];
    let env = env.map(|(name, value)| (name.to_owned(), value.into_string().unwrap())).into();
    let run = lab.go_run(&GoOptions { env, ..GoOptions::default() }).unwrap();
    fs::write(run.project().join("build.sh"), NESTED).unwrap();
    Download::of(lab, &run, command).is_complete(lab);
}

#[test]
fn every_request_behind_a_script_named_go_is_reported_at_its_first_run() {
    let Some(lab) = Lab::for_test("every_request_behind_a_script_named_go_is_reported_at_its_first_run")
    else {
        return;
    };
    for _ in 0..5 {
        is_complete(&lab, &["go", "mod", "download", "-x"]);
    }
}

#[test]
fn every_request_is_reported_when_a_shell_calls_such_a_script() {
    let Some(lab) = Lab::for_test("every_request_is_reported_when_a_shell_calls_such_a_script") else {
        return;
    };
    for _ in 0..5 {
        is_complete(&lab, &["sh", "-c", "go mod download -x"]);
    }
}

#[test]
fn every_request_is_reported_when_env_or_scripts_of_scripts_call_it() {
    let Some(lab) = Lab::for_test("every_request_is_reported_when_env_or_scripts_of_scripts_call_it") else {
        return;
    };
    is_complete(&lab, &["env", "go", "mod", "download", "-x"]);
    is_complete(&lab, &["sh", "build.sh"]);
}
