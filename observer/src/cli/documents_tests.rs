//! Command lines in documents, beside what is understood.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::Command;

use diagnose::report::report;
use model::State;
use pipeline::replay::Replay;

/// Words of a command line, as a shell takes it apart.
///
/// # Panics
/// When a shell does not take it.
fn words(line: &str) -> Vec<OsString> {
    let output = Command::new("sh").args(["-c", &format!("printf '%s\\0' {line}")]).output().unwrap();
    let words = output.stdout.strip_suffix(b"\0").unwrap_or_else(|| panic!("{line}: {output:?}"));
    words.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

#[test]
fn each_command_in_the_documents_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut commands = 0;
    for (name, text) in documents(&root) {
        for line in text.split("```\n").skip(1).step_by(2).flat_map(str::lines) {
            let line = line.strip_prefix("sudo ").unwrap_or(line);
            if line.split(' ').next() != Some("goobserve") {
                continue;
            }
            // What the shell does with the output is its own.
            let line = line.split(" > ").next().unwrap().split(" | ").next().unwrap();
            let parsed = super::parse(words(line));
            assert!(parsed.is_ok(), "{name}: {line}: {:?}", parsed.err());
            commands += 1;
        }
    }
    assert!(commands > 60, "{commands}");
}

/// README and all of docs, by name.
fn documents(root: &Path) -> Vec<(String, String)> {
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let paths = docs.chain([root.join("README.md")]);
    paths.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect()
}

/// A block that begins with `$ goobserve report FILE` shows lines of that report, in its order.
#[test]
fn what_the_documents_show_is_what_the_program_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut blocks = 0;
    for (name, text) in documents(&root) {
        for block in text.split("```\n").skip(1).step_by(2) {
            let mut lines = block.lines();
            let Some(file) = lines.next().and_then(|line| line.strip_prefix("$ goobserve report ")) else {
                continue;
            };
            let recording = BufReader::new(File::open(root.join(file)).unwrap());
            let mut state = State::new();
            Replay::new(recording).unwrap().for_each(|event| state.apply(&event.unwrap()));
            let printed = render::text::text(&report(&state), render::page::Options::default());
            let mut printed = printed.lines();
            for line in lines.filter(|line| !line.is_empty()) {
                assert!(printed.any(|printed| printed == line), "{name}: {file} does not print: {line}");
            }
            blocks += 1;
        }
    }
    assert!(blocks >= 3, "{blocks}");
}

/// Of the recordings of the lab's faults.
#[test]
fn each_command_that_a_report_proposes_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/recordings");
    let mut lines = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let recording = BufReader::new(File::open(entry.unwrap().path()).unwrap());
        let mut state = State::new();
        Replay::new(recording).unwrap().for_each(|event| state.apply(&event.unwrap()));
        for command in report(&state).commands {
            let attempts = command.stalls.iter().flat_map(|stall| &stall.remedies);
            for line in attempts.map(|remedy| remedy.attempt.as_str()).filter(|line| !line.is_empty()) {
                assert!(!line.contains('\n'), "{line}");
                // The user's own command, word for word.
                let whole = words(line.split_once(" && ").map_or(line, |(_cd, line)| line));
                let argv: Vec<OsString> = command.argv.iter().map(OsString::from).collect();
                assert!(whole.ends_with(&argv), "{line} is not for {argv:?}");
                lines.insert(line.to_owned());
            }
        }
    }
    assert!(lines.len() >= 5, "{lines:?}");
    for line in lines {
        let taken = Command::new("sh").args(["-n", "-c", &line]).status().unwrap();
        assert!(taken.success(), "a shell does not take {line}");
        let line = line.split_once(" && ").map_or(&*line, |(_cd, line)| line);
        let parsed = super::parse(words(line.strip_prefix("sudo ").unwrap_or(line)));
        assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
    }
}

/// The rows of docs/contract.md's table below that header: the cells of each, without ticks.
fn table(header: &str) -> Vec<Vec<String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/contract.md");
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("| {header} |")));
    assert!(lines.next().is_some(), "no table {header}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.split('|').skip(1).map(|cell| cell.trim().replace('`', "")).collect();
    rows.map(cells).collect()
}

fn first_column(header: &str) -> Vec<String> {
    table(header).into_iter().map(|row| row[0].clone()).collect()
}

#[test]
fn the_contract_has_every_command_and_no_other() {
    use clap::CommandFactory as _;
    let program = super::args::Args::command();
    let mut known: Vec<_> =
        program.get_subcommands().map(|command| format!("goobserve {}", command.get_name())).collect();
    let mut written = first_column("command | needs root");
    known.sort();
    written.sort();
    assert_eq!(written, known);
    // Each long option that it names is one of that command's.
    for row in table("command | needs root") {
        let name = row[0].strip_prefix("goobserve ").unwrap();
        let command = program.get_subcommands().find(|command| command.get_name() == name).unwrap();
        let options: BTreeSet<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        for word in row[2..].iter().flat_map(|cell| cell.split([' ', ',', '.', ')', '\\'])) {
            if let Some(option) = word.trim_start_matches('(').strip_prefix("--") {
                assert!(options.contains(option), "{name} has no --{option}");
            }
        }
    }
}

#[test]
fn the_contract_has_the_phases_events_and_remedies_of_the_program_in_order() {
    use model::record::Phase;
    assert_eq!(first_column("phase"), Phase::ALL.map(Phase::name));

    let schema = include_str!("../../schema/recording.schema.json");
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    let events = schema["oneOf"].as_array().unwrap().iter();
    let events: Vec<_> =
        events.map(|event| event["properties"]["type"]["const"].as_str().unwrap().to_owned()).collect();
    assert_eq!(first_column("type"), events);

    for remedy in first_column("remedy") {
        let values =
            [("=NAME=VALUE", "=NAME=x"), ("=VALUE", "=off"), ("=N", "=4"), ("=URL", "=https://proxy.test")];
        let example = values
            .into_iter()
            .chain([("=LINE", "=options timeout:1")])
            .find_map(|(from, to)| Some(remedy.strip_suffix(from)?.to_owned() + to))
            .unwrap_or(remedy);
        let line = ["goobserve", "run", "--with", &example, "--", "true"];
        let parsed = super::parse(line.map(OsString::from));
        assert!(parsed.is_ok(), "{example}: {:?}", parsed.err());
    }
}

#[test]
fn the_contracts_statuses_are_the_programs() {
    use stats::gate::verdict::Verdict;
    let rows = table("command | status");
    let has =
        |command: &str, status: i32| rows.iter().any(|row| row[0] == command && row[1] == status.to_string());
    for verdict in [Verdict::Passed, Verdict::Regressed, Verdict::Inconclusive, Verdict::Invalid] {
        assert!(has("gate", verdict.status()), "{verdict:?}");
    }
    assert_eq!(super::parse(["goobserve", "run"].map(OsString::from)).unwrap_err().status, 2);
    assert!(has("any", 2) && has("run", 125) && has("run", 126) && has("run", 127));
    // What help says of itself.
    for (command, statuses) in [
        ("gate", &[0, 1, 3, 4][..]),
        ("compare", &[0, 4]),
        ("fix", &[0, 4]),
        ("check", &[0, 1, 3]),
        ("doctor", &[0, 1, 3]),
    ] {
        let stop = super::parse(["goobserve", command, "--help"].map(OsString::from)).unwrap_err();
        let (_, said) = stop.text.split_once("Exit status:").unwrap();
        for status in statuses {
            assert!(has(command, *status) && said.contains(&status.to_string()), "{command} {status}");
        }
    }
}
