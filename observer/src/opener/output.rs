//! Files that goobserve writes. In: a FILE argument. Out: a regular file, 0600, of the user who
//! called, never through a symbolic link, and always a new one; or an open stream (a pipe, a
//! device, a descriptor). What may not be written is refused when it is opened, so before anything
//! is done.

mod stream;
mod target;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use model::user_error::UserError;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
pub(crate) use stream::Stream;
use target::{Place, Target, cannot, named_by};
pub use target::{descriptors, distinct};

use crate::unique;

/// Permissions of every file.
fn private() -> Mode {
    Mode::S_IRUSR | Mode::S_IWUSR
}

/// A file that is there when it is finished, whole. Until then there is nothing on the disk that a
/// process which is killed could leave behind.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    to: To,
}

#[derive(Debug)]
enum To {
    Stream(Stream),
    /// A file without a name
    Nameless(Place, File),
    /// The file system has no files without a name
    Later(Place),
    /// … and by now it is made, under a name that nobody knows
    Hidden(Place, File, Option<OsString>),
}

impl AtomicFile {
    /// Opens it, so that a folder that cannot be written is known before anything is done.
    pub fn create(path: &Path) -> Result<Self, UserError> {
        let to = match Target::open(path)? {
            Target::Stream(stream) => To::Stream(stream),
            Target::New(place) => match nameless(&place).map_err(|errno| cannot(path, errno))? {
                Some(file) => To::Nameless(place, file),
                None => {
                    // Whether it can be written is to be known all the same.
                    let (_, name) = hidden(&place).map_err(|errno| cannot(path, errno))?;
                    remove(&place, &name);
                    To::Later(place)
                }
            },
        };
        Ok(Self { path: path.to_path_buf(), to })
    }

    /// Writes all of it and gives it its name. A reader of a stream that has gone is no failure.
    pub fn finish(mut self, bytes: &[u8]) -> Result<(), UserError> {
        let written = match &mut self.to {
            To::Stream(stream) => whole(stream, bytes),
            To::Nameless(_, file) => file.write_all(bytes),
            To::Later(_) => File::from(self.make()?).write_all(bytes),
            To::Hidden(_, file, _) => file.write_all(bytes),
        };
        match written {
            Ok(()) => self.name(),
            Err(error) => Err(failed(&self.path, &error)),
        }
    }

    /// What another process is to write.
    pub(super) fn handed_on(&self) -> io::Result<Handed> {
        match &self.to {
            To::Stream(stream) => stream.descriptor().map(Handed::Stream),
            To::Nameless(_, file) | To::Hidden(_, file, _) => Ok(Handed::File(file.try_clone()?.into())),
            To::Later(_) => Ok(Handed::Later),
        }
    }

    /// It is made when it is written.
    pub(super) const fn is_later(&self) -> bool {
        matches!(self.to, To::Later(_))
    }

    /// Makes the file where the file system has none without a name.
    pub(super) fn make(&mut self) -> Result<OwnedFd, UserError> {
        let path = &self.path;
        let To::Later(place) = &self.to else {
            return Err(UserError::new(format!("{} is made already", named_by(path)), ""));
        };
        let made = || {
            let (file, name) = hidden(place)?;
            Ok::<_, io::Error>((file.try_clone()?.into(), To::Hidden(place.try_clone()?, file, Some(name))))
        };
        let (handed, to) = made().map_err(|error| failed(path, &error))?;
        self.to = to;
        Ok(handed)
    }

    /// It is written: it gets its name.
    pub(super) fn name(mut self) -> Result<(), UserError> {
        let named = match &mut self.to {
            To::Nameless(place, file) => name(place, file),
            To::Hidden(place, _, beside) => beside.take().map_or(Ok(()), |beside| replace(place, &beside)),
            To::Stream(_) | To::Later(_) => Ok(()),
        };
        named.map_err(|errno| failed(&self.path, &errno.into()))
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let To::Hidden(place, _, Some(name)) = &self.to {
            remove(place, name);
        }
    }
}

/// What another process writes.
#[derive(Debug)]
pub(super) enum Handed {
    /// Bytes go there
    Stream(OwnedFd),
    /// A regular file, empty
    File(OwnedFd),
    /// Nothing yet: see [`AtomicFile::make`]
    Later,
}

/// All of it, into a stream whose reader may have gone.
pub(crate) fn whole(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    match stream.write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Why something could not be written.
pub(crate) fn failed(path: &Path, error: &io::Error) -> UserError {
    UserError::new(format!("cannot write {}: {error}", named_by(path)), hint(error))
}

/// A file that grows while it is written, under its name from the beginning: a recording.
#[derive(Debug)]
pub(super) enum Growing {
    /// A pipe or a device
    Stream(Stream),
    /// A regular file, where it is, and its inode
    File(File, Place, libc::ino_t),
}

impl Growing {
    /// Opens it, empty; an earlier file of that name is replaced.
    pub(super) fn open(path: &Path) -> Result<Self, UserError> {
        let place = match Target::open(path)? {
            Target::Stream(stream) => return Ok(Self::Stream(stream)),
            Target::New(place) => place,
        };
        let file = match nameless(&place).map_err(|errno| cannot(path, errno))? {
            Some(file) => name(&place, &file).map(|()| file),
            None => hidden(&place).and_then(|(file, name)| replace(&place, &name).map(|()| file)),
        };
        let file = file.map_err(|errno| cannot(path, errno))?;
        let number = fstat(&file).map_err(|errno| cannot(path, errno))?.st_ino;
        Ok(Self::File(file, place, number))
    }

    /// What another process is to write.
    pub(super) fn handed_on(&self) -> io::Result<Handed> {
        match self {
            Self::Stream(stream) => stream.descriptor().map(Handed::Stream),
            Self::File(file, ..) => Ok(Handed::File(file.try_clone()?.into())),
        }
    }

    /// Nothing was recorded: no trace is left.
    pub(super) fn abandon(self) {
        let Self::File(_, place, number) = self else { return };
        let now = fstatat(&place.folder, &*place.name, AtFlags::AT_SYMLINK_NOFOLLOW);
        if now.is_ok_and(|now| now.st_ino == number) {
            remove(&place, &place.name);
        }
    }
}

/// A file that is in the folder and has no name; `None` where the file system has none.
fn nameless(place: &Place) -> nix::Result<Option<File>> {
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    match openat(&place.folder, ".", flags, private()) {
        Ok(file) => {
            // A mask of the user's must not take the owner's rights away.
            fchmod(&file, private())?;
            Ok(Some(file.into()))
        }
        // What file systems say that know nothing of it, and kernels.
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT | Errno::EINVAL | Errno::ENOSYS) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A file with a name that nobody can know beforehand.
fn hidden(place: &Place) -> nix::Result<(File, OsString)> {
    let name = unique::name(".goobserve-");
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(&place.folder, &*name, flags, private())?;
    fchmod(&file, private())?;
    Ok((file.into(), name))
}

/// Gives a nameless file its name; a file that has it is replaced in one step.
fn name(place: &Place, file: &File) -> nix::Result<()> {
    use std::os::fd::AsRawFd as _;
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link =
        |name: &OsStr| linkat(nix::fcntl::AT_FDCWD, &*own, &place.folder, name, AtFlags::AT_SYMLINK_FOLLOW);
    match link(&place.name) {
        Err(Errno::EEXIST) => {
            let beside = unique::name(".goobserve-");
            link(&beside)?;
            replace(place, &beside)
        }
        other => other,
    }
}

/// Moves a file of ours onto its name. What appeared there meanwhile is looked at again.
fn replace(place: &Place, beside: &OsStr) -> nix::Result<()> {
    let replaced = if place.is_free() {
        renameat(&place.folder, beside, &place.folder, &*place.name)
    } else {
        Err(Errno::EEXIST)
    };
    if replaced.is_err() {
        remove(place, beside);
    }
    replaced
}

fn remove(place: &Place, name: &OsStr) {
    let _ = unlinkat(&place.folder, name, UnlinkatFlags::NoRemoveDir); // nothing half-written is left
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or name a file on another disk"
        }
        io::ErrorKind::TimedOut => "whatever reads it must go on reading",
        io::ErrorKind::AlreadyExists => "something else took its name meanwhile; name another file",
        _ => "name a file in a folder of the calling user's",
    }
}

#[cfg(test)]
#[path = "output/tests.rs"]
mod tests;
