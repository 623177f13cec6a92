//! A recording's file, opened to be read with the rights of whoever calls.

use std::fs::{File, Metadata};
use std::io::{BufReader, ErrorKind, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use model::user_error::UserError;
use pipeline::replay::Replay;

/// Opens a recording; `-` is stdin.
pub(super) fn open(file: &Path) -> Result<Replay<BufReader<File>>, UserError> {
    let stdin = file == Path::new("-");
    if stdin && std::io::stdin().is_terminal() {
        return Err(UserError::new(
            "stdin is a terminal, and - reads a recording from it",
            "send one: zcat slow.jsonl.gz | goobserve report -",
        ));
    }
    let cannot = |error: &dyn std::fmt::Display, hint: &str| {
        UserError::new(format!("cannot read {}: {error}", named(file)), hint)
    };
    // Opened by whoever calls, not by us.
    let opened =
        if stdin { std::io::stdin().as_fd().try_clone_to_owned().map(File::from) } else { File::open(file) };
    let opened = opened.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => {
            cannot(&error, "it is read with the rights of whoever calls, with sudo as well")
        }
        _ => cannot(&error, "check the name of the recording"),
    })?;
    if opened.metadata().is_ok_and(|input| is_stdout(&input)) {
        return Err(cannot(&"stdout leads to it as well", "send the output to another file"));
    }
    Replay::new(BufReader::new(opened)).map_err(|error| refused(file, &error))
}

/// How a recording is called in a complaint.
fn named(file: &Path) -> std::path::Display<'_> {
    if file == Path::new("-") { Path::new("stdin").display() } else { file.display() }
}

/// Whether what is printed goes into that regular file.
fn is_stdout(input: &Metadata) -> bool {
    let Ok(stdout) = std::io::stdout().as_fd().try_clone_to_owned() else { return false };
    let same = |out: Metadata| (out.dev(), out.ino()) == (input.dev(), input.ino());
    input.is_file() && File::from(stdout).metadata().is_ok_and(same)
}

pub(super) fn refused(file: &Path, error: &dyn std::fmt::Display) -> UserError {
    let what = format!("{}: {error}", named(file));
    UserError::new(what, "make one with `goobserve run --record FILE -- CMD`")
}
