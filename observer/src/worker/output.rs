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
use stream::Stream;
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
}

impl AtomicFile {
    /// Opens it, so that a folder that cannot be written is known before anything is done.
    pub fn create(path: &Path) -> Result<Self, UserError> {
        Self::open(path, None)
    }

    /// As [`AtomicFile::create`]; `passed` is what [`descriptors`] made of the path in another process.
    pub fn open(path: &Path, passed: Option<OwnedFd>) -> Result<Self, UserError> {
        let to = match Target::open(path, passed)? {
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

    /// It is made when it is finished, and not before.
    pub(super) const fn is_later(&self) -> bool {
        matches!(self.to, To::Later(_))
    }

    /// Writes all of it and gives it its name. A reader of a stream that has gone is no failure.
    pub fn finish(self, bytes: &[u8]) -> Result<(), UserError> {
        let written = match self.to {
            To::Stream(mut stream) => match stream.write_all(bytes) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                other => other,
            },
            To::Nameless(place, mut file) => {
                file.write_all(bytes).and_then(|()| name(&place, &file).map_err(io::Error::from))
            }
            To::Later(place) => write_neighbour(&place, bytes),
        };
        written.map_err(|error| {
            UserError::new(format!("cannot write {}: {error}", named_by(&self.path)), hint(&error))
        })
    }
}

/// A file that grows while it is written, under its name from the beginning: a recording.
pub(super) struct Growing {
    out: Box<dyn Write>,
    /// Of a regular file, with its inode
    place: Option<(Place, libc::ino_t)>,
}

impl Growing {
    /// Opens it, empty; an earlier file of that name is replaced. `passed`: as with [`AtomicFile::open`].
    pub(super) fn open(path: &Path, passed: Option<OwnedFd>) -> Result<Self, UserError> {
        let place = match Target::open(path, passed)? {
            Target::Stream(stream) => return Ok(Self { out: Box::new(stream), place: None }),
            Target::New(place) => place,
        };
        let file = match nameless(&place).map_err(|errno| cannot(path, errno))? {
            Some(file) => name(&place, &file).map(|()| file),
            None => hidden(&place).and_then(|(file, name)| replace(&place, &name).map(|()| file)),
        };
        let file = file.map_err(|errno| cannot(path, errno))?;
        let number = fstat(&file).map_err(|errno| cannot(path, errno))?.st_ino;
        Ok(Self { out: Box::new(file), place: Some((place, number)) })
    }

    /// Nothing was recorded: no trace is left.
    pub(super) fn abandon(self) {
        let Some((place, number)) = self.place else { return };
        let now = fstatat(&place.folder, &*place.name, AtFlags::AT_SYMLINK_NOFOLLOW);
        if now.is_ok_and(|now| now.st_ino == number) {
            remove(&place, &place.name);
        }
    }
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
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

fn write_neighbour(place: &Place, bytes: &[u8]) -> io::Result<()> {
    let (mut file, name) = hidden(place)?;
    if let Err(error) = file.write_all(bytes) {
        remove(place, &name);
        return Err(error);
    }
    Ok(replace(place, &name)?)
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
