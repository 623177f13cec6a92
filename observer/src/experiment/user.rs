//! Work on files with the rights of the user who called, and no others: folders that a user can
//! change must not make root read or write anything else.

use std::process::abort;

use model::user_error::UserError;
use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups, setegid, seteuid, setgroups, setresgid, setresuid};

use crate::run::Invoker;

/// While it lives, this process has the user's file rights. It needs a process of one thread, and
/// must be gone before a process is started that is to be root.
#[derive(Debug)]
pub struct AsUser {
    before: Option<(Uid, Gid, Vec<Gid>)>,
}

impl AsUser {
    /// Takes the user's rights; does nothing when we are that user.
    pub fn take(invoker: &Invoker) -> Result<Self, UserError> {
        if geteuid().as_raw() == invoker.uid {
            return Ok(Self { before: None });
        }
        let take = || -> nix::Result<Self> {
            let guard = Self { before: Some((geteuid(), getegid(), getgroups()?)) };
            let groups: Vec<Gid> = invoker.groups.iter().copied().map(Gid::from_raw).collect();
            setgroups(&groups)?;
            setegid(Gid::from_raw(invoker.gid))?;
            // The user last: afterwards nothing else may be changed.
            seteuid(Uid::from_raw(invoker.uid))?;
            Ok(guard)
        };
        take().map_err(|errno| {
            UserError::new(
                format!("cannot work as user {}: {}", invoker.uid, errno.desc()),
                "run goobserve as root, outside of a user namespace",
            )
        })
    }
}

/// Becomes the user who called, for good. Nothing is done when nobody did, or who did is root.
pub fn become_caller(invoker: &Invoker) -> Result<(), UserError> {
    if !geteuid().is_root() || invoker.uid == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(invoker.uid), Gid::from_raw(invoker.gid));
    let groups: Vec<Gid> = invoker.groups.iter().copied().map(Gid::from_raw).collect();
    // The user last: it takes every capability along.
    let become_user = || setgroups(&groups).and(setresgid(gid, gid, gid)).and(setresuid(uid, uid, uid));
    become_user().map_err(|errno| {
        UserError::new(
            format!("cannot go on as user {}, who called: {}", invoker.uid, errno.desc()),
            "run it without sudo: it needs no root",
        )
    })
}

impl Drop for AsUser {
    fn drop(&mut self) {
        let Some((uid, gid, groups)) = &self.before else { return };
        // A process with half its rights must not go on.
        if seteuid(*uid).and(setegid(*gid)).and(setgroups(groups)).is_err() {
            abort();
        }
    }
}
