//! What can be attached on this machine and what cannot. In: files of this machine (through
//! [`Root`], so that tests bring their own), a kernel release, a user. Out: a list of
//! [`Check`]s, each with its reason and a command that fixes it.

mod container;
pub mod machine;
pub mod view;

use std::io;
use std::path::Path;

pub use machine::{Root, checks};
use model::user_error::UserError;

use crate::kernel::Verified;

/// The oldest kernel goobserve works on.
pub const OLDEST_KERNEL: (u32, u32) = (5, 18);

/// How a check turned out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// As it should be
    Ok,
    /// Works, but something will not be seen
    Degraded,
    /// Nothing can be observed without it
    Missing,
    /// It could not be tried
    Unknown,
}

/// One thing that was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What was checked
    pub name: String,
    /// How it turned out
    pub state: State,
    /// What was found
    pub why: String,
    /// A command, or a sentence, that fixes it, a line for each way; `None` when there is nothing to fix
    pub hint: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, why: why.into(), hint: None }
    }

    fn bad(state: State, name: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name: name.into(), state, why: why.into(), hint: Some(hint.into()) }
    }

    fn missing(name: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::bad(State::Missing, name, why, hint)
    }

    fn degraded(name: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::bad(State::Degraded, name, why, hint)
    }
}

/// Why the kernel has not verified the BPF programs.
#[derive(Debug)]
pub enum Unverified {
    /// This process may not load any
    NotAllowed,
    /// Which program is refused, or what failed before, and why
    Refused(String),
}

impl Unverified {
    /// By the error of a load: `EPERM` says that nothing was looked at; a verifier that refuses says
    /// something else.
    pub fn new(error: &anyhow::Error) -> Self {
        let errno = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
        if errno == Some(nix::errno::Errno::EPERM as i32) {
            Self::NotAllowed
        } else {
            Self::Refused(format!("{error:#}"))
        }
    }
}

/// Whether this kernel takes the BPF programs, by the outcome of loading them, which is the only way
/// to know. What `before` says may be why they could not be loaded at all.
pub fn programs(before: &[Check], verified: Result<Verified, Unverified>) -> Check {
    let name = "BPF programs";
    match verified {
        Ok(Verified { programs, instructions }) => {
            let through = instructions.map(|count| format!(" ({count} instructions gone through)"));
            let through = through.unwrap_or_default();
            Check::ok(name, format!("all {programs} pass this kernel's verifier{through}"))
        }
        Err(Unverified::NotAllowed) => {
            let lacking = before.iter().find(|check| check.state == State::Missing);
            let hint = lacking
                .and_then(|check| check.hint.as_deref()?.lines().next())
                .unwrap_or(machine::NEEDS_ROOT);
            let why = "whether this kernel takes them is not known: it must be allowed to load them";
            Check::bad(State::Unknown, name, why, hint)
        }
        Err(Unverified::Refused(why)) => {
            Check::missing(name, why, "boot another kernel, and report this one with this line")
        }
    }
}

/// Whether observing works, by the outcome of trying it; `None` where something is known that it cannot do without.
pub fn observing(before: &[Check], prove: impl FnOnce() -> anyhow::Result<()>) -> Option<Check> {
    let name = "observing";
    let possible = before.iter().all(|check| matches!(check.state, State::Ok | State::Degraded));
    possible.then(|| match prove() {
        Ok(()) => {
            Check::ok(name, "everything attached, and a child of this command's was seen to start and to end")
        }
        Err(error) => Check::missing(
            name,
            format!("{error:#}"),
            "boot another kernel, and report this one with this line",
        ),
    })
}

/// By what the half that parses is locked in here, beside having no rights. `landlock`: its version in this kernel.
pub fn locks(root: &Path, landlock: Option<u32>) -> Check {
    let name = "locks";
    let seccomp = std::fs::read_to_string(root.join("proc/sys/kernel/seccomp/actions_avail"));
    let seccomp = seccomp.is_ok_and(|actions| actions.split_whitespace().any(|action| action == "errno"));
    match (seccomp, landlock) {
        (true, Some(version)) => Check::ok(name, format!("seccomp and Landlock {version} hold the worker")),
        (true, None) => Check::ok(name, "seccomp holds the worker; Landlock is not in this kernel"),
        (false, Some(version)) => {
            Check::degraded(name, format!("Landlock {version} alone holds the worker"), SECCOMP)
        }
        (false, None) => Check::degraded(name, "nothing but its user holds the worker", SECCOMP),
    }
}

const SECCOMP: &str =
    "boot a kernel built with CONFIG_SECCOMP_FILTER=y (every distribution's is), with /proc mounted";

/// Refuses when something is missing that an observation cannot do without: the first such
/// check, which the others may depend on.
pub fn preflight(checks: &[Check]) -> Result<(), UserError> {
    match checks.iter().find(|check| check.state == State::Missing) {
        None => Ok(()),
        Some(check) => Err(UserError {
            what: format!("{}: {}", check.name, check.why),
            // In a line: what it says may come from elsewhere.
            hint: check.hint.as_deref().unwrap_or_default().replace('\n', "; "),
        }),
    }
}

/// The exit status of `goobserve check`: 0 nothing wrong, 1 something wrong.
pub fn status(checks: &[Check]) -> i32 {
    i32::from(checks.iter().any(|check| check.state != State::Ok))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_refuses_and_the_first_of_it() {
        let degraded = Check::degraded("a", "b", "c");
        assert_eq!(preflight(&[Check::ok("x", "y"), degraded.clone()]), Ok(()));
        let user_error =
            preflight(&[degraded, Check::missing("d", "e", "f"), Check::missing("g", "h", "i")]).unwrap_err();
        assert_eq!((user_error.what.as_str(), user_error.hint.as_str()), ("d: e", "f"));
    }

    #[test]
    fn a_refused_program_is_named_with_the_verifiers_last_line() {
        let refused = anyhow::Error::new(io::Error::from_raw_os_error(13))
            .context("R2 unbounded memory access")
            .context("the kernel refuses program read_return");
        let check = programs(&[], Err(Unverified::new(&refused)));
        assert_eq!(check.state, State::Missing);
        assert!(check.why.starts_with("the kernel refuses program read_return: R2 unbounded"), "{check:?}");
    }

    #[test]
    fn a_machine_says_which_locks_it_has() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(locks(root.path(), None).state, State::Degraded);
        assert_eq!(locks(root.path(), Some(3)).state, State::Degraded);
        let folder = root.path().join("proc/sys/kernel/seccomp");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("actions_avail"), "kill_process trap errno log allow\n").unwrap();
        assert_eq!(locks(root.path(), None).state, State::Ok);
        assert_eq!(locks(root.path(), Some(6)).why, "seccomp and Landlock 6 hold the worker");
    }

    #[test]
    fn what_may_not_be_loaded_is_not_known_and_not_refused() {
        let error = anyhow::Error::new(io::Error::from_raw_os_error(1)).context("cannot make map RING");
        let lacking = Check::missing("privileges", "CAP_BPF is missing", "add it");
        let check = programs(&[lacking], Err(Unverified::new(&error)));
        assert_eq!((check.state, check.hint.as_deref()), (State::Unknown, Some("add it")));
        assert_eq!(status(&[check]), 1);
    }

    #[test]
    fn what_loads_is_tried_and_what_does_not_is_not() {
        let loads = [Check::ok("BPF programs", "all pass"), Check::degraded("go", "none", "install it")];
        assert_eq!(observing(&loads, || Ok(())).unwrap().state, State::Ok);
        let failed = observing(&loads, || anyhow::bail!("cannot attach to tcp:tcp_probe")).unwrap();
        assert_eq!((failed.state, &*failed.why), (State::Missing, "cannot attach to tcp:tcp_probe"));
        let refused = [Check::missing("BPF programs", "refused", "another kernel")];
        assert_eq!(observing(&refused, || panic!("not to be tried")), None);
    }

    #[test]
    fn whatever_is_not_ok_is_something_wrong() {
        assert_eq!(status(&[Check::ok("x", "y")]), 0);
        assert_eq!(status(&[Check::ok("x", "y"), Check::degraded("a", "b", "c")]), 1);
        assert_eq!(status(&[Check::missing("a", "b", "c")]), 1);
    }
}
