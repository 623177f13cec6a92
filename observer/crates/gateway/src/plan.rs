//! What go is certain to ask. In: a main module's go.mod and go.sum, the module cache, private patterns. Out:
//! the files that `go mod download` of that module asks its first proxy for.
//!
//! # What is certain
//!
//! `go mod download` without arguments downloads what go.mod requires, when that says `go 1.17` or later: info,
//! mod and zip of each, and a record of the checksum database for each that go.sum has not both hashes of.
//! Nothing else is certain: go.sum has hashes of versions that only the module graph names, and lines that
//! nobody tidied; `go build` asks for zips by import. So nothing else is planned. (When go shows that it reads the
//! module graph, [`crate::graph`] knows the rest.) Left out is what go does not ask: modules that are replaced or
//! excluded, private ones, and files that its cache has.
//!
//! The plan begins with the first request for a file of it: a command that asks for nothing costs no upstream
//! a request.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::asset::{Asset, Kind, escaped};
use crate::gomod::{self, GoMod, GoSum, Versioned};
use crate::patterns::Patterns;

/// Where to look.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    /// The folder with go.mod, or one below it
    pub dir: PathBuf,
    /// GOMODCACHE
    pub mod_cache: Option<PathBuf>,
    /// GONOPROXY, or GOPRIVATE
    pub no_proxy: Patterns,
    /// GONOSUMDB, or GOPRIVATE
    pub no_sumdb: Patterns,
    /// `GOWORK=off`
    pub no_workspace: bool,
}

/// What go will ask, in its order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Files of modules
    pub files: Vec<Asset>,
    /// Modules whose record go looks up
    pub lookups: Vec<Versioned>,
    paths: HashSet<String>,
    /// The main module's
    pub go_mod: GoMod,
    go_sum: GoSum,
    no_sumdb: Patterns,
    /// `cache/download` of the module cache
    pub downloads: Option<PathBuf>,
}

impl Plan {
    /// Reads the sources; blocks. An empty plan when go.mod is not found or does not say enough.
    pub fn read(sources: &Sources) -> Self {
        let Some(dir) = sources.dir.ancestors().find(|dir| dir.join("go.mod").is_file()) else {
            return Self::default();
        };
        // Of a workspace go downloads what all its modules require together.
        if !sources.no_workspace && dir.ancestors().any(|dir| dir.join("go.work").is_file()) {
            return Self::default();
        }
        let go_mod = GoMod::parse(&limited(&dir.join("go.mod")));
        let go_sum = GoSum::parse(&limited(&dir.join("go.sum")));
        Self::of(&go_mod, &go_sum, sources)
    }

    fn of(go_mod: &GoMod, go_sum: &GoSum, sources: &Sources) -> Self {
        let downloads = sources.mod_cache.as_ref().map(|cache| cache.join("cache/download"));
        let mut plan = Self { downloads, ..Self::default() };
        if !go_mod.is_complete() {
            return plan;
        }
        (plan.go_mod, plan.go_sum) = (go_mod.clone(), go_sum.clone());
        plan.no_sumdb.clone_from(&sources.no_sumdb);
        for module in &go_mod.requires {
            if !go_mod.is_asked(module) || sources.no_proxy.cover(&module.0) {
                continue;
            }
            let before = plan.files.len();
            for kind in [Kind::Info, Kind::Mod, Kind::Zip] {
                let asset = Asset::of(&module.0, &module.1, kind).filter(Asset::is_immutable);
                plan.files.extend(asset.filter(|asset| !plan.is_cached(&asset.path)));
            }
            if plan.files.len() > before && !go_sum.is_complete(module) && !sources.no_sumdb.cover(&module.0)
            {
                plan.lookups.push(module.clone());
            }
        }
        plan.paths = plan.files.iter().map(|asset| asset.path.clone()).collect();
        plan
    }

    /// Whether a file is in it.
    pub fn has(&self, asset: &Asset) -> bool {
        self.paths.contains(&asset.path)
    }

    /// Whether go's cache has a file of that path.
    pub fn is_cached(&self, path: &str) -> bool {
        self.downloads.as_ref().is_some_and(|downloads| downloads.join(path).exists())
    }

    /// The record that go looks up for a go.mod alone; `None` when it looks none up.
    pub fn lookup_of(&self, database: &str, module: &Versioned) -> Option<Asset> {
        let is_known = self.go_sum.has_go_mod(module) || self.no_sumdb.cover(&module.0);
        let lookup = Asset::lookup(database, &module.0, &module.1).filter(|_| !is_known)?;
        (!self.is_cached(&lookup.path)).then_some(lookup)
    }

    /// The records that go looks up in a database.
    pub fn lookups_in<'a>(&'a self, database: &'a str) -> impl Iterator<Item = Asset> + 'a {
        let path = move |module: &Versioned| {
            format!("sumdb/{database}/lookup/{}@{}", escaped(&module.0), escaped(&module.1))
        };
        let asked = self.lookups.iter().filter(move |module| !self.is_cached(&path(module)));
        asked.filter_map(move |(module, version)| Asset::lookup(database, module, version))
    }
}

/// The go.sum of the main module that a folder is in; blocks. Empty when there is none.
pub fn go_sum(dir: &Path) -> GoSum {
    let of_module = dir.ancestors().find(|dir| dir.join("go.mod").is_file());
    of_module.map(|dir| GoSum::parse(&limited(&dir.join("go.sum")))).unwrap_or_default()
}

/// A file's text, as far as it is read; empty when it cannot be.
fn limited(path: &Path) -> String {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(gomod::FILE_MAX).read_to_end(&mut text));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO_MOD: &str = "module m.test\ngo 1.21\nrequire (\n\ta.test/A v1.0.0\n\tb.test v1.0.0\n\tc.corp.test v1.0.0\n\
                          \td.test v1.0.0\n)\nreplace d.test => ../d\n";

    fn plan(go_mod: &str, go_sum: &str, sources: &Sources) -> (Vec<String>, Vec<String>) {
        let plan = Plan::of(&GoMod::parse(go_mod), &GoSum::parse(go_sum), sources);
        let files = plan.files.iter().map(|asset| asset.path.clone()).collect();
        (files, plan.lookups.iter().map(|(name, _)| name.clone()).collect())
    }

    #[test]
    fn what_is_required_is_planned_but_for_private_and_replaced_modules() {
        let private = Patterns::parse("*.corp.test");
        let sources = Sources { no_proxy: private.clone(), no_sumdb: private, ..Sources::default() };
        let (files, lookups) = plan(
            GO_MOD,
            "b.test v1.0.0 h1:x=\nb.test v1.0.0/go.mod h1:y=\nold.test v1.0.0 h1:z=\n",
            &sources,
        );
        assert_eq!(
            files,
            [
                "a.test/!a/@v/v1.0.0.info",
                "a.test/!a/@v/v1.0.0.mod",
                "a.test/!a/@v/v1.0.0.zip",
                "b.test/@v/v1.0.0.info",
                "b.test/@v/v1.0.0.mod",
                "b.test/@v/v1.0.0.zip",
            ]
        );
        assert_eq!(lookups, ["a.test/A"]);
    }

    #[test]
    fn what_go_has_is_not_planned() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("cache/download/b.test/@v");
        std::fs::create_dir_all(&folder).unwrap();
        for end in ["info", "mod", "zip"] {
            std::fs::write(folder.join(format!("v1.0.0.{end}")), "").unwrap();
        }
        let sources = Sources { mod_cache: Some(cache.path().to_owned()), ..Sources::default() };
        let (files, lookups) = plan("go 1.20\nrequire b.test v1.0.0\n", "", &sources);
        assert_eq!((files.len(), lookups.len()), (0, 0));
    }

    #[test]
    fn an_older_go_mod_says_too_little() {
        assert_eq!(plan(&GO_MOD.replace("1.21", "1.16"), "", &Sources::default()).0.len(), 0);
        assert_eq!(Plan::read(&Sources::default()), Plan::default());
    }

    #[test]
    fn of_a_workspace_nothing_is_certain() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("m")).unwrap();
        std::fs::write(dir.path().join("m/go.mod"), GO_MOD).unwrap();
        std::fs::write(dir.path().join("go.work"), "go 1.22\n").unwrap();
        let mut sources = Sources { dir: dir.path().join("m"), ..Sources::default() };
        assert_eq!(Plan::read(&sources).files, []);
        sources.no_workspace = true;
        assert_eq!(Plan::read(&sources).files.len(), 9);
    }
}
