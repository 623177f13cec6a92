//! `goobserve check`: what this machine allows. And what every command that observes checks first.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use model::user_error::UserError;

use super::caller;
use super::output::{colored, refused, status_of, write_out};
use crate::check::{self, Check, Unverified};
use crate::cli::options::Common;
use crate::kernel;

pub(super) fn execute(common: Common) -> i32 {
    match check_all(Some(caller().var("PATH"))) {
        Ok(mut checks) => {
            checks.push(check::programs(&checks, kernel::verify().map_err(|error| Unverified::new(&error))));
            checks.extend(check::observing(&checks, kernel::prove));
            checks.push(check::locks(Path::new("/"), crate::worker::landlock()));
            let text = check::view::text(&checks, colored(common, io::stdout().is_terminal()), common.quiet);
            match status_of(write_out(text.as_bytes()), common, 3) {
                0 => check::status(&checks),
                failed => failed,
            }
        }
        Err(user_error) => refused(common, &user_error, 3),
    }
}

/// Whether observing can work here at all.
pub(super) fn preflight() -> Result<(), UserError> {
    check::preflight(&check_all(None)?)
}

/// Checks this machine; `go_in`: and the go command in this PATH.
pub(super) fn check_all(go_in: Option<Option<&OsStr>>) -> Result<Vec<Check>, UserError> {
    let uname = nix::sys::utsname::uname().map_err(|errno| {
        UserError::new(format!("the kernel's release is not known: uname: {}", errno.desc()), "")
    })?;
    let release = uname.release().to_string_lossy();
    let (needed, optional) = kernel::tracepoints();
    let root = check::Root {
        root: Path::new("/"),
        release: &release,
        tracepoints: needed,
        optional,
        path: go_in.flatten(),
    };
    Ok(check::checks(&root, go_in.map(|_| &plan as check::machine::Plan<'_>)))
}

/// Looks whether a go binary can be probed: its version, or why not.
pub(super) fn plan(binary: &Path) -> Result<String, String> {
    let file = File::open(binary).map_err(|error| error.to_string())?;
    let plan = goelf::plan(&object::ReadCache::new(file)).map_err(|user_error| user_error.to_string())?;
    Ok(plan.build.go_version)
}
