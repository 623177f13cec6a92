//! The words that CONTRIBUTING's glossary says not to use, looked for in names, comments, help and
//! documents. What the list means is in CONTRIBUTING.md, "Words".

use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::Workspace;

/// Words, as a whole and in any case, also between underscores.
const NOT: [&str; 16] = [
    "told", "tell", "tells", "telling", "untold", "spell", "spells", "flights", "mend", "mends", "mended",
    "wish", "refusal", "refusals", "stub", "stubs",
];
/// Not in short names of items: good English in a sentence, and in the name of a test, that is one.
const NOT_NAMES: [&str; 12] = [
    "look",
    "looks",
    "looked",
    "found",
    "kept",
    "again",
    "beside",
    "late",
    "walk",
    "walks",
    "question",
    "questions",
];
/// Names that hold one of these and stay: fields of the report, a term of a standard.
const NAMES: [&str; 2] = ["joined_late", "question"];
/// Parts of sentences.
const NOT_TOGETHER: [&str; 7] = [
    "asked again",
    "sent again",
    "idle spell",
    "whom it waited for",
    "half within",
    "half of them within",
    "what was not seen\"",
];
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

/// The name that a line of code declares: of an item, or of a public field.
fn declared(line: &str) -> Option<&str> {
    let words: Vec<&str> =
        line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    let is_item =
        |word: &str| ["fn", "struct", "enum", "type", "mod", "trait", "const", "static"].contains(&word);
    let code = line.trim_start();
    if code.starts_with("//") || code.contains('"') {
        return None;
    }
    let field = code.starts_with("pub") && code.contains(':') && !words.iter().any(|word| is_item(word));
    let name = match words.iter().rposition(|word| is_item(word)) {
        Some(at) => words.get(at + 1),
        None if field => words.iter().find(|word| !["pub", "super", "crate", "in", "use"].contains(word)),
        None => None,
    };
    name.copied()
}

/// What of the names that are not to be declared stands in a line.
fn wrong_name(line: &str) -> Option<&'static str> {
    let name = declared(line)?.to_lowercase();
    let parts = name.split('_').count();
    if parts > 3 || NAMES.iter().any(|fine| name.contains(fine)) {
        return None;
    }
    NOT_NAMES.into_iter().find(|not| name.split('_').any(|part| part == *not))
}

/// What of the list stands in a line.
fn wrong(line: &str) -> Option<&'static str> {
    let lower = line.to_lowercase();
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    let is_type = |word: &str| NOT_TYPES.into_iter().find(|not| *not == word);
    let lower = lower.replace("stub resolver", "");
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
            let name = file.extension().is_some_and(|e| e == "rs").then(|| wrong_name(text)).flatten();
            if let Some(word) = wrong(text).or(name) {
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
    for line in ["pub fn look(&self) {", "    pub found: bool,", "mod walk;", "const KEPT: u8 = 1;"] {
        assert!(wrong_name(line).is_some(), "{line}");
    }
    for line in ["fn what_is_found_is_kept() {", "// mod walk", "let found = 1;", "pub joined_late: bool,"] {
        assert_eq!(wrong_name(line), None, "{line}");
    }
}
