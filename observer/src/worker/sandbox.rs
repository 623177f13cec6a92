//! What worker and opener give up before the worker reads the first byte that somebody else wrote. Out: how they are
//! locked in, in words for the log.
//!
//! The worker makes the system calls of [`calls`] and no others, for good and in all of its threads: no file is opened,
//! named, removed or even looked at; no socket, no process, no namespace, no other user, no memory that is executed; of
//! `bpf` only what reads. What is refused fails with EPERM, so that a part of the program that was overlooked says
//! so instead of ending the report. Landlock holds the same once more where the kernel has it: no file, no TCP port, no
//! signal and no abstract socket to anybody outside. A kernel without either is no reason not to observe:
//! the worker is nobody and has no capability.
//!
//! The opener reads files and makes the output files, and no other calls either. Not with Landlock: whoever is in a
//! domain of Landlock may not look at processes outside of it (`/proc/PID/exe`, `fd` and `root`; the kernel counts
//! that as ptrace), and the opener looks at those that are observed.

mod actions;
mod calls;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetStatus, Scope,
};
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};

/// The newest Landlock that is asked for (Linux 6.12); an older kernel gives what it has.
const NEWEST: ABI = ABI::V6;

/// What the opener may open to be changed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Opens {
    /// New files only (`O_EXCL`): an output file on a file system that has none without a name
    pub new_files: bool,
}

/// Locks the worker in.
pub(crate) fn enter() -> String {
    let files = match files() {
        Ok(RulesetStatus::FullyEnforced) => "files and ports are locked (Landlock)".into(),
        Ok(RulesetStatus::PartiallyEnforced) => {
            "files are locked as far as this kernel can (Landlock)".into()
        }
        Ok(RulesetStatus::NotEnforced) => "this kernel has no Landlock".into(),
        Err(error) => format!("no Landlock: {error:#}"),
    };
    format!("{files}; {}", said(calls::worker()))
}

/// Locks the opener in.
pub(crate) fn enter_opener(opens: Opens) -> String {
    said(calls::opener(opens))
}

/// Tries what the locks are there for, and says of each action what came of it: for a test that looks at a real
/// observation. Nothing of it succeeds; what of it would change a file would in that folder.
pub(crate) fn try_all(folder: &std::path::Path) -> Vec<String> {
    let said = |(name, result): actions::Tried| match result {
        Ok(()) => format!("{name}: SUCCEEDED"),
        Err(error) => format!("{name}: {error}"),
    };
    actions::all(folder).into_iter().map(said).collect()
}

fn said(calls: Result<Vec<(i64, Vec<SeccompRule>)>>) -> String {
    match calls.and_then(only) {
        Ok(()) => "system calls are locked".into(),
        Err(error) => format!("system calls are not locked: {error:#}"),
    }
}

/// The version of Landlock in this kernel; `None` without it.
pub(crate) fn landlock() -> Option<u32> {
    /// `LANDLOCK_CREATE_RULESET_VERSION` (include/uapi/linux/landlock.h)
    const VERSION: u32 = 1;
    #[expect(unsafe_code, reason = "the crate does not say it")]
    // SAFETY: no pointer, no size, and the flag by which the kernel only answers.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, VERSION) };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// No file is opened or changed any more, no port is reached, and nothing outside of this process.
fn files() -> Result<RulesetStatus> {
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    Ok(rules.restrict_self()?.ruleset)
}

/// Only the system calls that are listed. Flags of clone3 lie in memory, where no filter looks: it seems not to be
/// there, and the C library takes clone.
fn only(calls: Vec<(i64, Vec<SeccompRule>)>) -> Result<()> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let clone3 = [(libc::SYS_clone3, Vec::new())].into();
    let clone3 = SeccompFilter::new(clone3, SeccompAction::Allow, missing, arch)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let listed = SeccompFilter::new(calls.into_iter().collect(), refused, SeccompAction::Allow, arch)?;
    // Of two that refuse, the later one's error counts; so the later one allows clone3.
    for filter in [clone3, listed] {
        let filter: BpfProgram = filter.try_into()?;
        seccompiler::apply_filter_all_threads(&filter).context("seccomp")?;
    }
    Ok(())
}
