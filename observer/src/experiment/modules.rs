//! The module files that a command of an experiment has: go.mod, go.sum, those of a workspace. In:
//! where it is called. Out: their content as the command finds it.

use std::path::{Path, PathBuf};

use super::originals::{self, files};
use super::place::Place;
use crate::goenv::GoEnv;

/// Of one way to run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ModuleFiles {
    /// go.mod, go.work, or what `-modfile` names
    pub modules: Vec<(PathBuf, Vec<u8>)>,
    /// go.sum and go.work.sum
    pub sums: Vec<(PathBuf, Vec<u8>)>,
    /// There is a vendor folder beside a go.mod
    pub vendor: bool,
}

impl ModuleFiles {
    /// Reads them; nothing is known where the command's words do not say where go is called.
    pub fn read(place: &Place, argv: &[String], go: &GoEnv) -> Option<Self> {
        place.certain.then(|| {
            let mut found = Self::default();
            for path in files(&place.folder, argv, go) {
                let Ok((content, _)) = originals::read(&path) else { continue };
                let is_sum = path.extension().is_some_and(|extension| extension == "sum");
                if is_sum { &mut found.sums } else { &mut found.modules }.push((path, content));
            }
            let beside = |(path, _): &(PathBuf, Vec<u8>)| {
                path.parent().unwrap_or(Path::new("/")).join("vendor/modules.txt").is_file()
            };
            found.vendor = found.modules.iter().any(beside);
            found
        })
    }
}
