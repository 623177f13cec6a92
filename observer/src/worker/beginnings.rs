//! Where and with what go commands began: what the kernel side read as they did, in parts, in; facts of a
//! command out. A short one has gone before anybody can look at `/proc`.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use model::id::Pid;
use observer_common::{Began, ENVIRON_MAX, Exec};
use pipeline::correlate::Facts;

use super::binaries::{Binaries, device};
use super::files::Files;
use super::settings::settings;
use crate::opener::{Opener, Request};

/// Beginnings known at a time; of an older one the environment is not known when its command has gone.
const BEGINNINGS_MAX: usize = 64;

/// How one process began.
pub(super) struct Beginning {
    pid: Pid,
    program: Exec,
    began: Option<Began>,
    /// What is there of it
    environ: Vec<u8>,
}

/// Those that began last, the newest in the end.
pub(super) struct Beginnings {
    latest: VecDeque<Beginning>,
    /// This process's mount namespace, as [`Began::mounts`]
    mounts: Option<u32>,
    /// The inode of its root, as [`Began::root_ino`]
    root: Option<u64>,
}

impl Beginnings {
    pub(super) fn new() -> Self {
        let mounts = std::fs::metadata("/proc/self/ns/mnt").ok().map(|namespace| namespace.st_ino() as u32);
        let root = std::fs::metadata("/").ok().map(|root| root.st_ino());
        Self { latest: VecDeque::new(), mounts, root }
    }

    /// A process has a new program: how it began before has no meaning any more.
    pub(super) fn exec(&mut self, pid: Pid, program: Exec) {
        self.latest.retain(|one| one.pid != pid);
        if self.latest.len() >= BEGINNINGS_MAX {
            self.latest.pop_front();
        }
        self.latest.push_back(Beginning { pid, program, began: None, environ: Vec::new() });
    }

    /// A part has come; what is known when it was the last one. A part that does not follow the one before
    /// (that was lost) is of no use.
    pub(super) fn part(
        &mut self,
        pid: Pid,
        began: &Began,
        part: &[u8],
        binaries: &Binaries,
        opener: &Opener,
    ) -> Option<Facts> {
        let one = self.latest.iter_mut().rev().find(|one| one.pid == pid)?;
        if began.len as usize > ENVIRON_MAX || began.at as usize != one.environ.len() {
            return None;
        }
        one.environ.extend_from_slice(part);
        if one.environ.len() != began.len as usize {
            return None;
        }
        one.began = Some(*began);
        // Others are looked at when there is somebody to look at.
        let ours = self.mounts == Some(began.mounts) && self.root == Some(began.root_ino);
        let files = if ours { Files::Ours(opener) } else { Files::Unknown };
        let binary = binaries.of(&one.program);
        let cpus = Some(began.cpus).filter(|cpus| *cpus > 0);
        let cwd = ours.then(|| folder(&one.environ, began, opener)).flatten();
        let go = binary
            .map(|binary| settings(Some(&one.environ), binary, &binary.path, cpus, cwd.as_deref(), &files));
        Some(Facts { cwd, cgroup: opener.text(&Request::Group(began.cgroup)), container: None, go })
    }

    /// The whole environment that a process began with; `None` when it is not known.
    pub(super) fn environ(&self, pid: Pid) -> Option<&[u8]> {
        let one = self.latest.iter().rev().find(|one| one.pid == pid)?;
        one.began.map(|_| one.environ.as_slice())
    }
}

/// The working folder, as the shell called it, when that is still the same one: as go itself asks.
fn folder(environ: &[u8], began: &Began, opener: &Opener) -> Option<String> {
    let value = environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"PWD="))?;
    let path: PathBuf = Path::new(OsStr::from_bytes(value)).to_owned();
    let number = path.is_absolute().then(|| opener.number(&path)).flatten()?;
    let same = number == (device(began.cwd_dev), began.cwd_ino);
    same.then(|| path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    const PID: Pid = Pid(7);

    /// A command with that environment, its parts of `size` bytes, the one of number `lost` left out.
    fn facts(
        beginnings: &mut Beginnings,
        environ: &[u8],
        size: usize,
        lost: Option<usize>,
        began: Began,
    ) -> Option<Facts> {
        let mut last = None;
        for (n, part) in environ.chunks(size).enumerate().filter(|(n, _)| Some(*n) != lost) {
            let began = Began { at: (n * size) as u32, len: environ.len() as u32, ..began };
            last = beginnings.part(PID, &began, part, &Binaries::default(), &Opener::here());
        }
        last
    }

    fn here(beginnings: &Beginnings) -> Began {
        let here = std::fs::metadata(".").unwrap();
        let (major, minor) = (nix::sys::stat::major(here.st_dev()), nix::sys::stat::minor(here.st_dev()));
        Began {
            cwd_ino: here.st_ino(),
            cwd_dev: (major << 20 | minor) as u32,
            mounts: beginnings.mounts.unwrap(),
            root_ino: beginnings.root.unwrap(),
            ..Began::new_zeroed()
        }
    }

    #[test]
    fn an_environment_in_parts_is_whole_with_its_last_one_and_unknown_when_one_is_lost() {
        let environ = b"A=1\0PWD=/\0GOPROXY=https://proxy.test\0";
        let mut beginnings = Beginnings::new();
        beginnings.exec(PID, Exec::new_zeroed());
        assert!(facts(&mut beginnings, environ, 8, None, Began::new_zeroed()).is_some());
        assert_eq!(beginnings.environ(PID), Some(&environ[..]));
        for lost in 0..5 {
            beginnings.exec(PID, Exec::new_zeroed());
            assert!(facts(&mut beginnings, environ, 8, Some(lost), Began::new_zeroed()).is_none(), "{lost}");
            assert_eq!(beginnings.environ(PID), None, "{lost}");
        }
        let nobodys = facts(&mut Beginnings::new(), environ, 8, None, Began::new_zeroed());
        assert!(nobodys.is_none(), "nobody began");
    }

    #[test]
    fn a_folder_is_what_the_shell_called_it_when_it_is_that_one() {
        let mut beginnings = Beginnings::new();
        let began = here(&beginnings);
        let path = std::env::current_dir().unwrap().to_string_lossy().into_owned();
        let mut cwd = |pwd: &str, began| {
            beginnings.exec(PID, Exec::new_zeroed());
            facts(&mut beginnings, format!("PWD={pwd}\0").as_bytes(), 4096, None, began).unwrap().cwd
        };
        assert_eq!(cwd(&path, began), Some(path.clone()));
        assert_eq!(cwd("/", began), None, "it went elsewhere since");
        assert_eq!(cwd(".", began), None);
        assert_eq!(cwd(&path, Began { mounts: 1, ..began }), None, "a path in another namespace");
        assert_eq!(cwd(&path, Began { root_ino: 1, ..began }), None, "a path below another root");
    }

    #[test]
    fn any_number_of_commands_takes_bounded_memory() {
        let mut beginnings = Beginnings::new();
        (0..1000).for_each(|pid| beginnings.exec(Pid(pid), Exec::new_zeroed()));
        assert_eq!(beginnings.latest.len(), BEGINNINGS_MAX);
    }
}
