//! A recording's file, opened to be read with the rights of whoever calls.

use std::fs::{File, Metadata};
use std::io::{BufReader, ErrorKind};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use model::user_error::UserError;
use pipeline::replay::Replay;

/// Opens a recording.
pub(super) fn open(file: &Path) -> Result<Replay<BufReader<File>>, UserError> {
    let cannot = |error: &dyn std::fmt::Display, hint: &str| {
        UserError::new(format!("cannot read {}: {error}", file.display()), hint)
    };
    let opened = File::open(file).map_err(|error| match error.kind() {
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

/// Whether what is printed goes into that regular file.
fn is_stdout(input: &Metadata) -> bool {
    let Ok(stdout) = std::io::stdout().as_fd().try_clone_to_owned() else { return false };
    let same = |out: Metadata| (out.dev(), out.ino()) == (input.dev(), input.ino());
    input.is_file() && File::from(stdout).metadata().is_ok_and(same)
}

pub(super) fn refused(file: &Path, error: &dyn std::fmt::Display) -> UserError {
    let what = format!("{}: {error}", file.display());
    UserError::new(what, "make one with `goobserve run --record FILE -- CMD`")
}
