//! What go.mod and go.sum say of the modules that go will ask for. In: the files' text. Out: requirements and
//! hashes. A line that is not understood is left out: nothing is asked for because of it.

use std::collections::{HashMap, HashSet};

use crate::asset::{Asset, Kind};
use crate::dirhash::Sum;

/// Bytes of a file that are read.
pub const FILE_MAX: u64 = 16 << 20;
/// Modules that are believed.
const MODULES_MAX: usize = 20_000;

/// A module in a version.
pub type Versioned = (String, String);

/// A main module's requirements.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GoMod {
    /// `go 1.N`: its N; from 17 on the list of requirements is complete
    pub minor: Option<u32>,
    /// In the file's order
    pub requires: Vec<Versioned>,
    /// What others stand in for: modules in all versions, or in one
    replaced: HashSet<(String, Option<String>)>,
    excluded: HashSet<Versioned>,
}

impl GoMod {
    /// Reads a go.mod.
    pub fn parse(text: &str) -> Self {
        let mut all = Self::default();
        let mut block = String::new();
        for line in text.lines() {
            let line = line.split("//").next().unwrap_or_default().trim();
            let mut words: Vec<&str> = line.split_whitespace().collect();
            match (words.as_slice(), block.as_str()) {
                ([], _) => continue,
                ([")"], _) => {
                    block.clear();
                    continue;
                }
                ([verb, "("], "") => {
                    block = (*verb).to_owned();
                    continue;
                }
                (_, "") => {}
                (_, verb) => words.insert(0, verb),
            }
            all.directive(&words);
        }
        all
    }

    fn directive(&mut self, words: &[&str]) {
        let plain = |word: &str| word.trim_matches(['"', '`']).to_owned();
        match words {
            ["go", version] => {
                let minor = version
                    .strip_prefix("1.")
                    .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
                self.minor = minor.and_then(|minor| minor.parse().ok());
            }
            ["require", module, version] if self.requires.len() < MODULES_MAX => {
                self.requires.push((plain(module), plain(version)));
            }
            ["exclude", module, version] => {
                self.excluded.insert((plain(module), plain(version)));
            }
            ["replace", module, "=>", ..] => {
                self.replaced.insert((plain(module), None));
            }
            ["replace", module, version, "=>", ..] => {
                self.replaced.insert((plain(module), Some(plain(version))));
            }
            _ => {}
        }
    }

    /// Whether go asks for a requirement as it stands.
    pub fn is_asked(&self, (module, version): &Versioned) -> bool {
        let replaced = |version: Option<&String>| self.replaced.contains(&(module.clone(), version.cloned()));
        !replaced(None)
            && !replaced(Some(version))
            && !self.excluded.contains(&(module.clone(), version.clone()))
    }

    /// Whether go downloads just what is required here, when it is asked to download all.
    pub fn is_complete(&self) -> bool {
        self.minor.is_some_and(|minor| minor >= 17)
    }
}

/// Hashes of a go.sum.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GoSum(HashMap<Versioned, Hashes>);

/// What it has of one module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Hashes {
    zip: Option<String>,
    go_mod: Option<String>,
}

impl GoSum {
    /// Reads a go.sum.
    pub fn parse(text: &str) -> Self {
        let mut all: HashMap<Versioned, Hashes> = HashMap::new();
        for line in text.lines().take(4 * MODULES_MAX) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [module, version, hash] = words[..] else { continue };
            if !hash.starts_with("h1:") {
                continue;
            }
            let version = version.strip_suffix("/go.mod").map_or((version, false), |version| (version, true));
            let hashes = all.entry((module.to_owned(), version.0.to_owned())).or_default();
            let known = if version.1 { &mut hashes.go_mod } else { &mut hashes.zip };
            known.get_or_insert_with(|| hash.to_owned());
        }
        Self(all)
    }

    /// Whether both hashes of a module are there, so that the checksum database is not asked.
    pub fn is_complete(&self, module: &Versioned) -> bool {
        self.0.get(module).is_some_and(|hashes| hashes.zip.is_some() && hashes.go_mod.is_some())
    }

    /// Whether the hash of its go.mod is there.
    pub fn has_go_mod(&self, module: &Versioned) -> bool {
        self.0.get(module).is_some_and(|hashes| hashes.go_mod.is_some())
    }

    /// The hash that a file must have, where it has one.
    pub fn of(&self, asset: &Asset) -> Option<Sum> {
        let hashes = self.0.get(&(asset.module.clone(), asset.version.clone()?))?;
        match asset.kind {
            Kind::Zip => hashes.zip.clone().map(Sum::Zip),
            Kind::Mod => hashes.go_mod.clone().map(Sum::GoMod),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_replacements_and_exclusions_are_read() {
        let file = GoMod::parse(
            "module m.test // comment\n\ngo 1.22.3\n\nrequire a.test/x v1.0.0\nrequire (\n\tb.test/y v1.1.0 // indirect\n\
             \t\"c.test/z\" v0.1.0\n\td.test v1.0.0\n)\nreplace b.test/y => ../y\nreplace c.test/z v0.1.0 => z.test v1.0.0\n\
             exclude d.test v1.0.0\nretract v1.0.0\n",
        );
        assert_eq!(file.minor, Some(22));
        assert!(file.is_complete());
        let asked: Vec<&str> = file
            .requires
            .iter()
            .filter(|module| file.is_asked(module))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!((file.requires.len(), asked), (4, vec!["a.test/x"]));
        assert!(!GoMod::parse("go 1.16\n").is_complete());
        assert!(!GoMod::parse("module x\n").is_complete());
        assert_eq!(GoMod::parse("require (\nx\n)\nrequire a b c d\n)(\n").requires, []);
    }

    #[test]
    fn a_sum_is_complete_with_both_hashes() {
        let sum = GoSum::parse(
            "a.test v1.0.0 h1:x=\na.test v1.0.0/go.mod h1:y=\nb.test v1.0.0/go.mod h1:z=\nc.test v1 h2:q\nx\n",
        );
        let has = |name: &str| sum.is_complete(&(name.to_owned(), "v1.0.0".to_owned()));
        assert!(has("a.test") && !has("b.test") && !has("c.test"));
    }
}
