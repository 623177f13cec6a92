//! What a suite measured on the kernel that it ran on: a line `name: value` in the file that
//! `GOOBSERVE_FACTS` names. `cargo xtask vm` makes `tests/kernels.md` of them.

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;

/// Writes a fact down where somebody asked for it; else it is printed.
///
/// # Panics
/// When the file cannot be written to.
pub fn fact(name: &str, value: impl std::fmt::Display) {
    println!("{name}: {value}");
    if let Some(path) = env::var_os("GOOBSERVE_FACTS") {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| writeln!(file, "{name}: {value}"));
        written.unwrap_or_else(|error| panic!("cannot write to {}: {error}", path.display()));
    }
}
