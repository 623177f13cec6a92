//! The gate's published schemas, `goobserve.baseline/1` and `goobserve.gate/1`.
//!
//! `UPDATE_SCHEMAS=1 cargo test -p stats --test schema` writes them anew.

use std::path::{Path, PathBuf};

use serde_json::Value;
use stats::gate::baseline::{Baseline, Recording, Requests, Run, SCHEMA, Settings};
use stats::gate::verdict::{Hypothesis, judge};
use stats::gate::{Design, Floors, Outcome};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema").join(format!("{name}.schema.json"))
}

#[test]
fn the_published_schemas_are_those_of_the_code() {
    let schemas = [
        ("baseline", serde_json::to_string_pretty(&schemars::schema_for!(Baseline)).unwrap() + "\n"),
        ("gate", serde_json::to_string_pretty(&schemars::schema_for!(Outcome)).unwrap() + "\n"),
    ];
    for (name, schema) in schemas {
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(path(name), &schema).unwrap();
        }
        let have = std::fs::read_to_string(path(name)).unwrap_or_default();
        assert!(have == schema, "{name}.schema.json is not up to date: run with UPDATE_SCHEMAS=1");
    }
}

fn baseline() -> Baseline {
    let run = |index: u64| Run {
        wall_ns: 1_000_000_000 + index,
        phases: [(model::record::Phase::Proxy, 900_000_000)].into(),
        hosts: [("proxy.test".to_owned(), 900_000_000)].into(),
        connections: 2,
        dns: 2,
        tiles: 0,
        retransmissions: 0,
        requests: 0,
        unseen: 0,
    };
    let request = Requests {
        class: model::record::Class::Zip,
        host: Some("proxy.test".into()),
        status: Some(200),
        module: Some("example.com/a".into()),
        version: None,
        count: 1,
    };
    let recording = Recording {
        started_unix_ns: 1,
        machine: model::record::Machine::default(),
        cpu: None,
        settings: Settings::default(),
        requests: vec![vec![request]],
        runs: (0..10).map(run).collect(),
        findings: vec![],
    };
    Baseline {
        schema: SCHEMA.into(),
        tool: "goobserve 0.1.0".into(),
        command: vec!["go".into()],
        cache: stats::compare::CacheKind::Cold,
        with: vec![],
        recordings: vec![recording],
    }
}

#[track_caller]
fn check(name: &str, value: &Value, wrong: &[(&str, Value)]) {
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path(name)).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    if let Err(error) = validator.validate(value) {
        panic!("{name}: {error} at {}", error.instance_path());
    }
    for (pointer, wrong) in wrong {
        let mut value = value.clone();
        *value.pointer_mut(pointer).unwrap() = wrong.clone();
        assert!(!validator.is_valid(&value), "{name}: {pointer}");
    }
}

#[test]
fn a_baseline_and_an_answer_are_valid_and_wrong_ones_are_not() {
    let baseline = baseline();
    let wrong = [
        ("/recordings/0/runs/0/wall_ns", Value::from("soon")),
        ("/cache", Value::from("lukewarm")),
        ("/recordings/0/requests/0/0/class", Value::from("coffee")),
    ];
    check("baseline", &serde_json::to_value(&baseline).unwrap(), &wrong);
    for design in [Design::Pairs, Design::Recordings] {
        let floors = Floors::PAIRS;
        let outcome = judge(&Hypothesis { before: &baseline, after: &baseline, design, floors, alpha: 0.05 });
        let wrong = [("/verdict", Value::from("fine")), ("/time/total/ratio", Value::from("large"))];
        check("gate", &serde_json::to_value(&outcome).unwrap(), &wrong);
    }
}
