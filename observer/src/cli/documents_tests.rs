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
    for name in ["README.md", "docs/stalls.md"] {
        let text = fs::read_to_string(root.join(name)).unwrap();
        for line in text.split("```\n").skip(1).step_by(2).flat_map(str::lines) {
            let line = line.strip_prefix("sudo ").unwrap_or(line);
            if line.split(' ').next() != Some("goobserve") {
                continue;
            }
            // What the shell does with the output is its own.
            let line = line.split(" > ").next().unwrap();
            let parsed = super::parse(words(line));
            assert!(parsed.is_ok(), "{name}: {line}: {:?}", parsed.err());
            commands += 1;
        }
    }
    assert!(commands > 30, "{commands}");
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
        let stalls = report(&state).commands.into_iter().flat_map(|command| command.stalls);
        lines.extend(stalls.flat_map(|stall| stall.remedies).map(|remedy| remedy.attempt));
    }
    assert!(lines.len() >= 5, "{lines:?}");
    for line in lines {
        let line = line.split_once(" && ").map_or(&*line, |(_cd, line)| line);
        let parsed = super::parse(words(line.strip_prefix("sudo ").unwrap_or(line)));
        assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
    }
}
