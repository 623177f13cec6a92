//! Modules that only one side asks for, or asks for otherwise. In: two recordings whose go.mod may
//! be another. Out: modules that are listed and not judged.

use std::collections::{BTreeMap, BTreeSet};

use model::record::Class;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::baseline::{Recording, Requests};
use super::exact::Exact;

/// A module of both sides that is not the same on both.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModuleChange {
    /// Its path
    pub module: String,
    /// Versions that were asked for
    pub before: Vec<String>,
    /// Versions that are; the same: it is downloaded now and was not, or the other way round
    pub after: Vec<String>,
}

impl ModuleChange {
    /// `example.com/a v1.0.0 to v1.1.0`
    pub fn text(&self) -> String {
        if self.before == self.after {
            return format!("{} {} (whether it is downloaded)", self.module, self.after.join(", "));
        }
        format!("{} {} to {}", self.module, self.before.join(", "), self.after.join(", "))
    }
}

/// What is asked of a module.
#[derive(Default)]
struct Asked {
    versions: BTreeSet<String>,
    downloaded: bool,
}

/// Sorts modules into the lists of `exact`; those that are in one are not to be judged.
pub fn compare(exact: &mut Exact, after: &Recording, old: &[Requests], new: &[Requests]) -> BTreeSet<String> {
    let (old, new) = (asked(old), asked(new));
    for (module, now) in &new {
        match old.get(module) {
            None => {
                // Without a go.mod to look at, none is known to be reached through another.
                let required = after
                    .settings
                    .module
                    .as_ref()
                    .is_none_or(|own| own.require.is_empty() || own.require.contains_key(*module));
                if required { &mut exact.modules_added } else { &mut exact.modules_reached }
                    .push((*module).to_owned());
            }
            // Older baselines do not have versions.
            Some(was) if was.versions.is_empty() != now.versions.is_empty() => {}
            Some(was) if was.versions != now.versions || was.downloaded != now.downloaded => {
                let list = |asked: &Asked| asked.versions.iter().cloned().collect();
                let (before, after) = (list(was), list(now));
                exact.modules_changed.push(ModuleChange { module: (*module).to_owned(), before, after });
            }
            Some(_) => {}
        }
    }
    exact.modules_removed =
        old.keys().filter(|module| !new.contains_key(*module)).map(|module| (*module).to_owned()).collect();
    let changed = exact.modules_changed.iter().map(|change| &change.module);
    let one_sided = exact.modules_added.iter().chain(&exact.modules_reached).chain(&exact.modules_removed);
    changed.chain(one_sided).cloned().collect()
}

fn asked(requests: &[Requests]) -> BTreeMap<&str, Asked> {
    let mut all: BTreeMap<&str, Asked> = BTreeMap::new();
    for one in requests {
        let Some(module) = one.module.as_deref() else { continue };
        let asked = all.entry(module).or_default();
        // What a query for versions or a checksum names is not what is fetched.
        if matches!(one.class, Class::Info | Class::Mod | Class::Zip | Class::Toolchain) {
            asked.versions.extend(one.version.clone());
        }
        asked.downloaded |= one.class == Class::Zip;
    }
    all
}
