//! Tests that cannot run here say so: a line on stdout, and one in the file `GOOBSERVE_SKIPS`
//! names, which whoever runs the suites counts.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;

use nix::unistd::Uid;

use crate::paths;

/// Reports the test as skipped.
pub fn skipped(test: &str, reason: &str) {
    println!("SKIPPED {test}: {reason}");
    if let Some(file) = env::var_os("GOOBSERVE_SKIPS") {
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            // One write, so that tests of several processes do not mix their lines.
            .and_then(|mut file| file.write_all(format!("{test}: {reason}\n").as_bytes()));
        if let Err(error) = written {
            println!("cannot write to {}: {error}", file.display());
        }
    }
}

/// Whether that program of that Debian package is there; reports the test as skipped otherwise.
pub fn has(test: &str, program: &str, package: &str) -> bool {
    let there = paths::program(program).is_some();
    if !there {
        skipped(test, &format!("needs {program} (package {package})"));
    }
    there
}

/// Whether the test may go on; reports it as skipped otherwise.
pub fn is_root(test: &str) -> bool {
    let root = Uid::effective().is_root();
    if !root {
        skipped(test, "needs root: ports 53 and 443, a mount namespace, BPF");
    }
    root
}
