//! What a FILE argument leads to. In: the path as it was typed. Out: a folder and a free name in it,
//! or an open stream; or in two lines why nothing is written there.

use std::ffi::OsString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use model::user_error::UserError;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, FdFlag, OFlag, fcntl, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::geteuid;

use super::stream::Stream;

/// What to do about most of what is refused.
const ANOTHER: &str = "name another file";

/// Where bytes go.
#[derive(Debug)]
pub(super) enum Target {
    /// Into a new file
    New(Place),
    /// Into what is there
    Stream(Stream),
}

/// A name in a folder. The folder stays the same whatever becomes of its path.
#[derive(Debug)]
pub(in crate::opener) struct Place {
    pub folder: OwnedFd,
    pub name: OsString,
}

impl Place {
    fn find(path: &Path) -> Result<Self, UserError> {
        let slash = path.as_os_str().as_bytes().ends_with(b"/");
        let Some(name) = path.file_name().filter(|_| !slash) else { return Err(folder(path)) };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = openat(AT_FDCWD, parent.unwrap_or(Path::new(".")), flags, Mode::empty());
        Ok(Self { folder: folder.map_err(|errno| cannot(path, errno))?, name: name.to_owned() })
    }

    pub(super) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self { folder: self.folder.try_clone()?, name: self.name.clone() })
    }

    fn there(&self) -> nix::Result<Option<FileStat>> {
        match fstatat(&self.folder, &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(there) => Ok(Some(there)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Whether the name may be given to a new file: nobody has it, or a regular file of the user's.
    pub(super) fn is_free(&self) -> bool {
        let own = |there: FileStat| kind(&there) == SFlag::S_IFREG && there.st_uid == geteuid().as_raw();
        self.there().is_ok_and(|there| there.is_none_or(own))
    }
}

impl Target {
    /// Looks at it, and opens what is no regular file.
    pub(super) fn open(path: &Path) -> Result<Self, UserError> {
        if let Some(number) = number(path) {
            return Ok(Self::Stream(Stream::new(inherited(path, number)?.into())));
        }
        let place = Place::find(path)?;
        let Some(there) = place.there().map_err(|errno| cannot(path, errno))? else {
            return Ok(Self::New(place));
        };
        let refused = |what: &str| Err(UserError::new(format!("{} {what}", named_by(path)), ANOTHER));
        match kind(&there) {
            SFlag::S_IFLNK => refused("is a symbolic link, and goobserve writes through none"),
            SFlag::S_IFDIR => Err(folder(path)),
            SFlag::S_IFREG if there.st_uid != geteuid().as_raw() => Err(foreign(path, &there)),
            SFlag::S_IFREG => Ok(Self::New(place)),
            SFlag::S_IFIFO | SFlag::S_IFCHR => open(path, &place).map(Self::Stream),
            SFlag::S_IFBLK => refused("is a block device"),
            _ => refused("is a socket"),
        }
    }
}

/// Opens a named pipe or a device, without waiting for anybody.
fn open(path: &Path, place: &Place) -> Result<Stream, UserError> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = match openat(&place.folder, &*place.name, flags, Mode::empty()) {
        Err(Errno::ENXIO) => {
            let what = format!("nobody reads the pipe {}", named_by(path));
            return Err(UserError::new(what, "start its reader first"));
        }
        other => other.map_err(|errno| cannot(path, errno))?,
    };
    // It may be another one by now.
    let about = fstat(&file).map_err(|errno| cannot(path, errno))?;
    let own = about.st_uid == geteuid().as_raw();
    match kind(&about) {
        SFlag::S_IFCHR if own || about.st_uid == 0 || is_terminal(&file) => {}
        SFlag::S_IFIFO if own => {}
        SFlag::S_IFCHR | SFlag::S_IFIFO => return Err(foreign(path, &about)),
        _ => return Err(cannot(path, Errno::EAGAIN)),
    }
    Ok(Stream::new(file.into()))
}

fn is_terminal(file: &OwnedFd) -> bool {
    nix::unistd::isatty(file).unwrap_or(false)
}

fn kind(about: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(about.st_mode & SFlag::S_IFMT.bits())
}

/// The descriptor that a path means: `-` is stdout, `/dev/fd/63` is what a shell puts for `>(CMD)`.
pub(super) fn number(path: &Path) -> Option<i32> {
    match path.to_str()? {
        "-" | "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        text => {
            let number =
                ["/dev/fd/", "/proc/self/fd/"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
            number.parse().ok().filter(|number| *number >= 0)
        }
    }
}

/// A descriptor that the caller left open for us. Those we opened ourselves are closed on exec, and
/// are nobody's business.
fn inherited(path: &Path, number: i32) -> Result<OwnedFd, UserError> {
    #[expect(unsafe_code, reason = "a descriptor that somebody else opened has no owner here")]
    // SAFETY: it is only asked about and duplicated; a number that is not open is refused.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl(descriptor, FcntlArg::F_GETFD).map(FdFlag::from_bits_truncate);
    if !flags.is_ok_and(|flags| !flags.contains(FdFlag::FD_CLOEXEC)) {
        return Err(UserError::new(
            format!("{} is not open here", named_by(path)),
            "sudo closes descriptors above 2; name a file, or `-` for stdout",
        ));
    }
    let access = fcntl(descriptor, FcntlArg::F_GETFL).map(OFlag::from_bits_truncate);
    if access.is_ok_and(|flags| flags & OFlag::O_ACCMODE == OFlag::O_RDONLY) {
        return Err(UserError::new(format!("{} is open for reading only", named_by(path)), ANOTHER));
    }
    descriptor.try_clone_to_owned().map_err(|error| {
        UserError::new(format!("cannot write {}: {error}", named_by(path)), "check the limit on open files")
    })
}

/// The descriptors that these paths mean, for another process to write to; `None` for a path that
/// means none.
pub fn descriptors(paths: &[Option<&Path>]) -> Result<Vec<Option<OwnedFd>>, UserError> {
    let of = |path: Option<&Path>| match path.and_then(|path| Some((path, number(path)?))) {
        Some((path, number)) => inherited(path, number).map(Some),
        None => Ok(None),
    };
    paths.iter().copied().map(of).collect()
}

/// Refuses two outputs in one file: one would be lost, or both be mixed.
pub fn distinct(paths: &[Option<&Path>]) -> Result<(), UserError> {
    let real = |path: &Path| match (number(path), path.parent(), path.file_name()) {
        (Some(number), ..) => PathBuf::from(number.to_string()),
        (None, Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            parent.canonicalize().map_or_else(|_| path.to_path_buf(), |parent| parent.join(name))
        }
        _ => path.to_path_buf(),
    };
    let mut seen: Vec<PathBuf> = Vec::new();
    for path in paths.iter().flatten().filter(|path| **path != Path::new("/dev/null")) {
        let real = real(path);
        if seen.contains(&real) {
            return Err(UserError::new(
                format!("{} is named for two outputs", named_by(path)),
                "name two files",
            ));
        }
        seen.push(real);
    }
    Ok(())
}

/// How a path is called in a complaint.
pub(super) fn named_by(path: &Path) -> String {
    if path == Path::new("-") { "stdout".to_owned() } else { path.display().to_string() }
}

fn folder(path: &Path) -> UserError {
    UserError::new(format!("cannot write {}: it is a folder", path.display()), "name a file in it")
}

fn foreign(path: &Path, about: &FileStat) -> UserError {
    UserError::new(
        format!(
            "{} belongs to user {}, and goobserve writes only into files of user {}, who called it",
            path.display(),
            about.st_uid,
            geteuid()
        ),
        "name another file, or remove that one first",
    )
}

/// Why it cannot be opened, and what root may not expect.
pub(super) fn cannot(path: &Path, errno: Errno) -> UserError {
    let denied = matches!(errno, Errno::EACCES | Errno::EPERM);
    let hint = match errno {
        Errno::ENOENT => "make its folder first",
        Errno::EROFS => "name a file on a file system that can be written",
        _ if denied && geteuid().is_root() => {
            "files are written as the calling user without special rights, root's here: name a file in a \
             folder of root's"
        }
        _ => "name a file in a folder of the calling user's",
    };
    UserError::new(format!("cannot write {}: {}", named_by(path), errno.desc()), hint)
}
