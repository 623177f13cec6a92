//! The opener's own process. In: the worker's requests, which may be those of somebody who has taken the worker
//! over. Out: what [`Request`] says and nothing more.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use model::id::CommandId;
use model::user_error::UserError;
use nix::unistd::{Uid, User};
use observer_common::Lock;

use super::cgroups::Cgroups;
use super::containers::Containers;
use super::files::Rooted;
use super::locks::LockTable;
use super::output::{AtomicFile, Growing, Handed};
use super::throttle::Throttle;
use super::{Held, LOCKS_MAX, Out, Reply, Request, Tty, What};
use crate::seam::Seam;
use crate::worker::sandbox::{self, Opens};
use crate::worker::{harden, own_modules, runs};
use crate::{goenv, verbose};

/// Commands with a limit of CPU time at a time.
const QUOTAS_MAX: usize = 1024;
/// Bytes of a go.mod or go.work that are looked at.
const GO_MOD_MAX: u64 = 1 << 20;
/// A request comes within that, or the next wait begins.
const WAIT: Duration = Duration::from_secs(3600);

/// The opener's whole life; it ends with the worker.
pub fn main(seam_fd: i32) -> i32 {
    let option = std::env::args().nth(2).unwrap_or_default();
    verbose::begin("opener", verbose::level(&option));
    match serve(seam_fd) {
        Ok(()) => 0,
        Err(error) => {
            log::info!("the opener ends: {error:#}");
            1
        }
    }
}

fn serve(seam_fd: i32) -> Result<()> {
    harden()?;
    let seam = Seam::inherited(seam_fd).context("this is goobserve's inner part; it is not to be called")?;
    let mut desk = Desk::default();
    loop {
        let (request, descriptors) = match seam.receive_within::<Request>(WAIT) {
            Ok(Some(received)) => received,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => continue,
            Err(error) => return Err(error.into()),
        };
        let (reply, descriptor) = desk.answer(request, descriptors.into_iter().next());
        let descriptor = descriptor.as_ref().map(OwnedFd::as_fd);
        if seam.send(&reply, descriptor.as_slice()).is_err() {
            seam.send(&Reply::Nothing, &[])?; // too long
        }
    }
}

/// What it has open and knows.
#[derive(Default)]
pub(super) struct Desk {
    json: Option<AtomicFile>,
    record: Option<Growing>,
    /// No output is opened any more
    begun: bool,
    groups: Cgroups,
    containers: Containers,
    quotas: HashMap<CommandId, Throttle>,
}

type Answer = (Reply, Option<OwnedFd>);

impl Desk {
    /// The answer to one request, and the descriptor with it.
    pub(super) fn answer(&mut self, request: Request, root: Option<OwnedFd>) -> Answer {
        let text = |text: Option<String>| text.map_or(Reply::Nothing, Reply::Text);
        let reply = match request {
            Request::Open(..) | Request::Terminal(_) if self.begun => Reply::Nothing,
            Request::Open(out, path) => return refused(self.open(out, &path_of(path))),
            Request::Terminal(which) => return terminal(which),
            Request::Begun => {
                let new_files = self.json.as_ref().is_some_and(AtomicFile::is_later);
                self.begun = true;
                // Outside of the macro, which evaluates nothing that is not logged.
                let locked = sandbox::enter_opener(Opens { new_files });
                log::info!("{locked}");
                Reply::Yes
            }
            Request::Make => {
                let made = self.json.as_mut().map(AtomicFile::make).transpose();
                return refused(
                    made.map(|file| (file.as_ref().map_or(Reply::Nothing, |_| Reply::File), file)),
                );
            }
            Request::Name => {
                let named = self.json.take().map_or(Ok(()), AtomicFile::name);
                return refused(named.map(|()| (Reply::Yes, None)));
            }
            Request::Abandon => {
                if let Some(record) = self.record.take() {
                    record.abandon();
                }
                Reply::Yes
            }
            Request::File(path, what) => file(&path_of(path), what, root),
            Request::Runs(pid, path) => yes(runs(pid, &path)),
            Request::Locks(waits) => locks(waits),
            Request::Container(group, pid) => {
                self.containers.of(Some(&group), pid).map_or(Reply::Nothing, Reply::Container)
            }
            Request::Group(number) => text(self.groups.path(number)),
            Request::Quota(command, group) => {
                if self.quotas.len() < QUOTAS_MAX
                    && !self.quotas.contains_key(&command)
                    && let Some(throttle) = Throttle::begin(&group)
                {
                    self.quotas.insert(command, throttle);
                }
                yes(self.quotas.contains_key(&command))
            }
            Request::QuotaSince(command) => {
                let since = self.quotas.remove(&command).and_then(|throttle| throttle.since());
                since.map_or(Reply::Nothing, Reply::Quota)
            }
            Request::User(uid) => text(name(uid)),
        };
        (reply, None)
    }

    fn open(&mut self, out: Out, path: &Path) -> Result<Answer, UserError> {
        let handed = match out {
            Out::Json => {
                let file = AtomicFile::create(path)?;
                let handed = file.handed_on();
                // Nobody reads a pipe's end while it is open here as well.
                self.json = (!matches!(handed, Ok(Handed::Stream(_)))).then_some(file);
                handed
            }
            Out::Record => {
                let file = Growing::open(path)?;
                let handed = file.handed_on();
                self.record = (!matches!(handed, Ok(Handed::Stream(_)))).then_some(file);
                handed
            }
        };
        match handed {
            Ok(Handed::Stream(descriptor)) => Ok((Reply::Stream, Some(descriptor))),
            Ok(Handed::File(descriptor)) => Ok((Reply::File, Some(descriptor))),
            Ok(Handed::Later) => Ok((Reply::Later, None)),
            Err(error) => Err(super::output::failed(path, &error)),
        }
    }
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

fn yes(is: bool) -> Reply {
    if is { Reply::Yes } else { Reply::No }
}

fn refused(done: Result<Answer, UserError>) -> Answer {
    done.unwrap_or_else(|UserError { what, hint }| (Reply::Refused(what, hint), None))
}

fn terminal(which: Tty) -> Answer {
    let path = match which {
        Tty::Controlling => "/dev/tty",
        Tty::Stderr => "/dev/stderr",
    };
    match File::options().read(true).write(true).open(path) {
        Ok(file) if nix::unistd::isatty(&file).is_ok_and(|is| is) => (Reply::Stream, Some(file.into())),
        _ => (Reply::Nothing, None),
    }
}

/// What a file of a command's says: never more than is asked for, whatever the path leads to.
fn file(path: &Path, what: What, root: Option<OwnedFd>) -> Reply {
    let files = root.map_or(Rooted::Ours, Rooted::Below);
    let text = |limit: u64, of: fn(&str) -> String| {
        let bytes = files.read(path, limit);
        bytes.map_or(Reply::Nothing, |bytes| Reply::Text(of(&String::from_utf8_lossy(&bytes))))
    };
    match what {
        What::Variables => text(goenv::FILE_LIMIT as u64, goenv::of_go),
        What::Modules => text(GO_MOD_MAX, own_modules::extract),
        What::Exists => files.exists(path).map_or(Reply::Nothing, yes),
        What::Number => files.number(path).map_or(Reply::Nothing, |(dev, ino)| Reply::Number(dev, ino)),
    }
}

fn locks(mut waits: Vec<super::Wait>) -> Reply {
    waits.truncate(LOCKS_MAX);
    let mut table = LockTable::default();
    let held = waits.into_iter().map(|wait| {
        let lock = Lock { ino: wait.ino, dev: wait.dev, pad: 0 };
        let modules = wait.modules.map(path_of);
        let facts = table.facts(wait.pid, &lock, modules.as_deref());
        Held { path: facts.path, repository: facts.repository, holder: facts.holder }
    });
    Reply::Locks(held.collect())
}

fn name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use model::id::Pid;

    use super::*;

    fn ask(desk: &mut Desk, path: &Path, what: What) -> Reply {
        desk.answer(Request::File(path.as_os_str().as_bytes().to_vec(), what), None).0
    }

    #[test]
    fn of_a_file_that_is_none_of_gos_nothing_comes_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shadow");
        let secret = "root:$6$salt$hash:19000:0:99999:7:::\nSECRET=a\nAWS_KEY=b\nkey = c\n";
        std::fs::write(&path, secret).unwrap();
        let mut desk = Desk::default();
        for what in [What::Variables, What::Modules] {
            assert_eq!(ask(&mut desk, &path, what), Reply::Text(String::new()), "{what:?}");
        }
        std::fs::write(&path, format!("{secret}GOPROXY=https://proxy.test\nmodule a.test/b\n")).unwrap();
        let variables = ask(&mut desk, &path, What::Variables);
        assert_eq!(variables, Reply::Text("GOPROXY=https://proxy.test\n".into()));
        assert_eq!(ask(&mut desk, &path, What::Modules), Reply::Text("module a.test/b\n".into()));
    }

    #[test]
    fn no_output_is_opened_behind_the_beginning_and_one_that_was_gets_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).as_os_str().as_bytes().to_vec();
        let mut desk = Desk::default();
        let (reply, file) = desk.answer(Request::Open(Out::Json, path("a")), None);
        assert_eq!(reply, Reply::File);
        desk.begun = true;
        for request in [Request::Open(Out::Record, path("b")), Request::Terminal(Tty::Stderr)] {
            assert_eq!(desk.answer(request, None).0, Reply::Nothing);
        }
        std::io::Write::write_all(&mut File::from(file.unwrap()), b"{}").unwrap();
        assert_eq!(desk.answer(Request::Name, None).0, Reply::Yes);
        assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"{}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn this_process_runs_its_own_program_and_no_other() {
        let own = std::env::current_exe().unwrap().to_string_lossy().into_owned();
        let pid = Pid(std::process::id());
        let mut desk = Desk::default();
        assert_eq!(desk.answer(Request::Runs(pid, own), None).0, Reply::Yes);
        assert_eq!(desk.answer(Request::Runs(pid, "/bin/sleep".into()), None).0, Reply::No);
    }
}
