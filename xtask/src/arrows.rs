//! Which package may know which: the one direction that data takes, held by a test. That an arrow back
//! does not compile is cargo's doing; that nobody adds one unnoticed is this file's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::workspace::Workspace;

/// A package, and the packages of ours that its code knows.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("export", &["diagnose", "gateway", "model", "pipeline", "render"]),
    ("doctor", &["gateway", "model", "resolver"]),
    ("gateway", &[]),
    ("resolver", &[]),
    ("goelf", &[]),
    ("observer-common", &[]),
    ("model", &[]),
    ("pipeline", &["model", "observer-common"]),
    ("diagnose", &["model"]),
    ("stats", &["model"]),
    ("render", &["diagnose", "model", "stats"]),
    (
        "observer",
        &[
            "diagnose",
            "doctor",
            "export",
            "gateway",
            "goelf",
            "model",
            "observer-common",
            "pipeline",
            "render",
            "resolver",
            "stats",
        ],
    ),
];
/// Others' packages that one of ours alone knows, or few.
const ALONE: [(&str, &[&str]); 7] = [
    ("aya", &["observer", "tests"]),
    ("clap", &["observer", "xtask"]),
    ("ratatui", &["render", "tests"]),
    ("object", &["goelf", "observer", "tests"]),
    ("hyper", &["doctor", "export", "gateway", "tests"]),
    ("ring", &["gateway"]),
    ("tokio", &["doctor", "export", "gateway", "observer", "resolver", "tests"]),
];

/// Each package's dependencies, those of its tests left out.
fn dependencies(workspace: &Workspace) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut cargo = workspace.cargo();
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]);
    let output = cargo.output().context("cannot start cargo")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let normal = |dependency: &&Value| dependency["kind"].is_null();
    Ok(packages
        .iter()
        .map(|package| {
            let all = package["dependencies"].as_array().into_iter().flatten();
            (name(package), all.filter(normal).map(name).collect())
        })
        .collect())
}

#[test]
fn packages_know_only_what_is_below_them() {
    let all = dependencies(&Workspace::find().unwrap()).unwrap();
    let ours: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in ALLOWED {
        let known = &all[name];
        let known: BTreeSet<&str> = known.iter().map(String::as_str).filter(|of| ours.contains(of)).collect();
        assert_eq!(known, allowed.iter().copied().collect(), "{name}");
    }
}

#[test]
fn every_package_of_the_program_has_its_place() {
    let all = dependencies(&Workspace::find().unwrap()).unwrap();
    let others = ["observer-ebpf", "tests", "xtask"];
    for name in all.keys().filter(|name| !others.contains(&name.as_str())) {
        assert!(ALLOWED.iter().any(|(known, _)| known == name), "{name}: say in arrows.rs what it may know");
    }
}

#[test]
fn the_kernel_the_command_line_and_the_terminal_are_known_in_one_place() {
    let all = dependencies(&Workspace::find().unwrap()).unwrap();
    for (library, allowed) in ALONE {
        let knowing = all.iter().filter(|(_, known)| known.contains(library)).map(|(name, _)| name.as_str());
        assert_eq!(knowing.collect::<BTreeSet<_>>(), allowed.iter().copied().collect(), "{library}");
    }
}
