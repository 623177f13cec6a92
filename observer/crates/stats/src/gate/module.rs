//! What a go.mod asks for. In: its bytes. Out: the lines that decide what is downloaded. Bounded,
//! and lenient: go itself complains about what is wrong in it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requirements, replacements and exclusions that are kept, each.
const LINES_MAX: usize = 20_000;

/// A go.mod; of a workspace all of them together.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Module {
    /// The `go` line
    pub go: Option<String>,
    /// The `toolchain` line
    pub toolchain: Option<String>,
    /// Modules that it requires itself, with their versions
    pub require: BTreeMap<String, String>,
    /// Modules that others require (`// indirect`), with their versions
    pub indirect: BTreeMap<String, String>,
    /// `replace` lines
    pub replace: BTreeSet<String>,
    /// `exclude` lines
    pub exclude: BTreeSet<String>,
    /// There is a vendor folder
    pub vendor: bool,
}

impl Module {
    /// Adds what another file says; what is there already stays.
    pub fn add(&mut self, text: &str) {
        let mut block: Option<&str> = None;
        for line in text.lines() {
            let (code, comment) = line.split_once("//").unwrap_or((line, ""));
            let mut words: Vec<&str> =
                code.split_whitespace().map(|word| word.trim_matches(['"', '`'])).collect();
            let verb = match (block, words.as_slice()) {
                (_, []) => continue,
                (Some(_), [")"]) => {
                    block = None;
                    continue;
                }
                (Some(verb), _) => verb,
                (None, [verb, "("]) => {
                    block = Some(verb);
                    continue;
                }
                (None, _) => words.remove(0),
            };
            self.line(verb, &words, comment.trim().starts_with("indirect"));
        }
    }

    fn line(&mut self, verb: &str, words: &[&str], indirect: bool) {
        match (verb, words) {
            ("go", [version]) => drop(self.go.get_or_insert_with(|| (*version).to_owned())),
            ("toolchain", [name]) => drop(self.toolchain.get_or_insert_with(|| (*name).to_owned())),
            ("require", [path, version]) => {
                let all = if indirect { &mut self.indirect } else { &mut self.require };
                if all.len() < LINES_MAX {
                    all.entry((*path).to_owned()).or_insert_with(|| (*version).to_owned());
                }
            }
            ("replace" | "exclude", _) => {
                let all = if verb == "replace" { &mut self.replace } else { &mut self.exclude };
                if all.len() < LINES_MAX {
                    all.insert(words.join(" "));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_line_is_read() {
        let mut module = Module::default();
        module.add(
            "module app.test // a comment\n\ngo 1.24\ntoolchain go1.26.8\nrequire a.test/x v1.0.0\n\
             require (\n\ta.test/y v1.2.0 // indirect\n\t\"a.test/z\" v0.1.0\n)\n\
             replace a.test/x => ../x\nexclude a.test/y v1.1.0\nretract v0.0.1\n)\n",
        );
        assert_eq!(module.go.as_deref(), Some("1.24"));
        assert_eq!(module.toolchain.as_deref(), Some("go1.26.8"));
        assert_eq!(module.require.keys().collect::<Vec<_>>(), ["a.test/x", "a.test/z"]);
        assert_eq!(module.indirect.get("a.test/y").map(String::as_str), Some("v1.2.0"));
        assert_eq!(module.replace.iter().collect::<Vec<_>>(), ["a.test/x => ../x"]);
        assert_eq!(module.exclude.iter().collect::<Vec<_>>(), ["a.test/y v1.1.0"]);
    }
}
