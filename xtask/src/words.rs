//! The words that CONTRIBUTING's glossary says not to use, looked for in names, comments, help and
//! documents. What the list means is in CONTRIBUTING.md, "Words".

use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::Workspace;

/// Words, as a whole and in any case, also between underscores.
const NOT: [&str; 14] = [
    "told", "tell", "tells", "telling", "untold", "spell", "spells", "flights", "mend", "mends", "mended",
    "wish", "refusals", "again_ns",
];
/// Parts of sentences.
const NOT_TOGETHER: [&str; 3] = ["asked again", "sent again", "idle spell"];
/// Names of types.
const NOT_TYPES: [&str; 6] = ["Refusal", "Flight", "Again", "Whole", "Wish", "Turn"];
/// Where they are looked for.
const ROOMS: [&str; 10] = [
    "observer/src",
    "observer/crates",
    "observer/tests",
    "observer-common/src",
    "observer-ebpf/src",
    "tests/src",
    "tests/tests",
    "xtask/src",
    "docs",
    "README.md",
];

fn sources(of: &Path, found: &mut Vec<PathBuf>) {
    if of.is_dir() {
        let entries = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
        entries.for_each(|path| sources(&path, found));
    } else if matches!(of.extension().and_then(|e| e.to_str()), Some("rs" | "md" | "snap")) {
        found.push(of.to_owned());
    }
}

/// What of the list stands in a line.
fn wrong(line: &str) -> Option<&'static str> {
    let lower = line.to_lowercase();
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    let is_type = |word: &str| NOT_TYPES.into_iter().find(|not| *not == word);
    let is_word = |word: &str| NOT.into_iter().find(|not| word.split('_').any(|part| part == *not));
    NOT_TOGETHER
        .into_iter()
        .find(|not| lower.contains(not))
        .or_else(|| words.find_map(is_type))
        .or_else(|| lower.split(|c: char| !c.is_alphanumeric() && c != '_').find_map(is_word))
}

#[test]
fn words_of_the_glossarys_last_column_are_not_used() {
    let root = Workspace::find().unwrap().root;
    let mut files = Vec::new();
    ROOMS.iter().for_each(|room| sources(&root.join(room), &mut files));
    assert!(files.len() > 300, "{}", files.len());
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("xtask/src/words.rs")) {
        let text = fs::read_to_string(file).unwrap();
        for (line, text) in text.lines().enumerate() {
            if let Some(word) = wrong(text) {
                let name = file.strip_prefix(&root).unwrap().display();
                found.push(format!("{name}:{}: {word}: {}", line + 1, text.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_word_is_found_in_names_and_prose_and_not_within_another() {
    for line in ["fn end_is_told() {", "/// Tells the user.", "was sent again", "pub struct Flight {"] {
        assert!(wrong(line).is_some(), "{line}");
    }
    for line in ["let stalled = 1;", "in flight", "Foretelling", "a recommendation, spelling"] {
        assert_eq!(wrong(line), None, "{line}");
    }
}
