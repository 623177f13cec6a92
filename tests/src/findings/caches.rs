//! GOCACHE and GOMODCACHE in one folder: what `go clean` takes away, and from whom.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use super::{Table, succeeded};
use crate::bench::few;
use crate::go_env::{GoOptions, GoRun};
use crate::lab::Lab;

/// How the two are one folder.
const WAYS: [&str; 4] = ["two folders", "by path", "by symbolic link", "by bind mount"];

/// One table; a run shows all there is to see.
pub(super) fn table(_: usize) -> Result<Table> {
    let lab = Lab::start()?;
    let mut table = Table::new(
        "A module downloaded and a package built, then cleaned:",
        &["GOCACHE and GOMODCACHE", "command", "status", "modules left", "built packages left", "go said"],
    );
    for way in WAYS {
        for clean in ["-cache", "-modcache"] {
            let run = few::project(&lab, &GoOptions::default())?;
            let module = few::smallest(&lab, 1)?.remove(0);
            let gocache = if way == "two folders" { run.file("gocache") } else { share(&run, way)? };
            let go = |args: &[&str]| {
                let mut go = run.go(args);
                go.env("GOCACHE", &gocache);
                let mounted = (way == "by bind mount").then(|| (run.modcache(), gocache.clone()));
                inside(&lab, mounted, &mut go)
            };
            succeeded(&go(&["mod", "download", &module])?)?;
            succeeded(&go(&["build", "errors"])?)?;
            let cleaned = go(&["clean", clean])?;
            let said = if cleaned.status.success() { "nothing".to_owned() } else { super::reason(&cleaned) };
            let built = if way == "by bind mount" { run.modcache() } else { gocache };
            table.row([
                way.into(),
                format!("go clean {clean}"),
                cleaned.status.code().map_or_else(|| "killed".into(), |code| code.to_string()),
                yes(run.modcache().join("cache/download").exists()),
                yes(has_entries(&built)),
                said.replace(&run.dir().display().to_string(), "…"),
            ]);
        }
    }
    Ok(table)
}

fn share(run: &GoRun, way: &str) -> Result<std::path::PathBuf> {
    let folder = run.file("shared");
    match way {
        "by path" => return Ok(run.modcache()),
        "by symbolic link" => symlink(run.modcache(), &folder)?,
        _ => fs::create_dir(&folder)?,
    }
    Ok(folder)
}

/// Runs it in a mount namespace in which the second folder is the first.
fn inside(
    lab: &Lab,
    mounted: Option<(std::path::PathBuf, std::path::PathBuf)>,
    command: &mut std::process::Command,
) -> Result<std::process::Output> {
    lab.net.inside(|| {
        if let Some((from, to)) = mounted {
            let none = None::<&str>;
            mount(Some(&from), &to, none, MsFlags::MS_BIND, none).context("bind the module cache")?;
        }
        command.output().context("run go")
    })?
}

/// Whether an entry of the build cache is there: `NN/…-a`, `NN/…-d`.
fn has_entries(cache: &Path) -> bool {
    let folders = fs::read_dir(cache).into_iter().flatten().flatten();
    let of_hashes = folders.filter(|entry| entry.file_name().len() == 2);
    of_hashes.flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten()).next().is_some()
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}
