//! A small workload: a project of its own and a few of the smallest modules by name, so that
//! what is waited for is not hidden by what is computed. In goes a lab and a number, out come a
//! project and a command line.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::go_env::{GoOptions, GoRun};
use crate::lab::Lab;

/// The lab's smallest modules, `path@version`, smallest first.
pub fn smallest(lab: &Lab, n: usize) -> Result<Vec<String>> {
    let store = lab.store();
    let mut zips: Vec<(usize, String)> = store
        .paths()
        // A capital is stored as `!` and the small letter; leave those out.
        .filter(|path| !path.contains('!') && !path.starts_with("golang.org/toolchain/"))
        .filter_map(|path| {
            let (module, version) = path.strip_suffix(".zip")?.split_once("/@v/")?;
            Some((store.get(path)?.len(), format!("{module}@{version}")))
        })
        .collect();
    zips.sort();
    ensure!(zips.len() >= n, "the lab has {} modules", zips.len());
    Ok(zips.into_iter().take(n).map(|(_, module)| module).collect())
}

/// Fresh caches and a project that requires nothing.
pub fn project(lab: &Lab, options: &GoOptions) -> Result<GoRun> {
    let run = lab.go_run(options)?;
    let go_mod = run.project().join("go.mod");
    fs::write(&go_mod, "module few.test/m\n\ngo 1.26\n").context("write the project's go.mod")?;
    Ok(run)
}
