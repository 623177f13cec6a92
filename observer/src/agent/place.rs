//! The way by which a file is probed. In goes an opened file, out comes a descriptor that leads to it
//! and keeps no mount busy, and word of when the file system is wanted back.
//!
//! Probes hold the path that they were attached by. So that they keep neither a mount from being
//! unmounted nor an overlay from being mounted again, that path is one of our own: what lies below an
//! overlay, where it can be reached, through a copy of its mount that is nowhere mounted.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::mounts::{Line, line_of, process_with, unescaped};
use super::table::Identity;
use super::targets::ended;
use crate::seam::FileId;

/// Layers of an overlay that are looked at; the kernel allows 500.
const LAYERS_MAX: usize = 500;

/// A file that is probed, or is to be.
pub(super) struct Place {
    file: OwnedFd,
    /// The mount that it was reached by
    mount: u64,
    /// Of a mount of another namespace: a process that is in there
    keeper: Option<OwnedFd>,
    is_below: bool,
}

impl Place {
    /// The place of an opened file: where it lies in our own namespace, if it does.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let mount = mount_id(file.as_fd()).unwrap_or_default();
        let own = if line_of("self", mount).is_none() { in_own_namespace(file) } else { None };
        match own {
            Some(own) => Self::by(&own, mount_id(own.as_fd()).unwrap_or_default()),
            None => Self::by(file, mount),
        }
    }

    fn by(file: &File, mount: u64) -> io::Result<Self> {
        let here = line_of("self", mount);
        let keeper = if here.is_none() { process_with(mount) } else { None };
        let line = here.or_else(|| line_of(&keeper?.to_string(), mount));
        if let Some(below) = line.and_then(|line| below(file, &line)) {
            let mount = mount_id(below.as_fd()).unwrap_or_default();
            let file = unmounted(below.as_fd()).unwrap_or(below);
            return Ok(Self { file, mount, keeper: None, is_below: true });
        }
        let file = match unmounted(file.as_fd()) {
            Ok(copy) => copy,
            Err(_) => file.try_clone()?.into(), // a mount of another namespace
        };
        Ok(Self { file, mount, keeper: keeper.and_then(|pid| ended(pid).ok()), is_below: false })
    }

    /// The file's number, when it was reached below an overlay, where it has another.
    pub(super) fn below(&self) -> Option<FileId> {
        let metadata = self.metadata().ok().filter(|_| self.is_below)?;
        Some(FileId { dev: metadata.dev(), ino: metadata.ino() })
    }

    /// What the file system says of the file.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        File::from(self.file.try_clone()?).metadata()
    }

    /// Whether that mount is there no longer: whoever unmounted it wants the file system back. `here`:
    /// the mounts of our own namespace.
    pub(super) fn is_unmounted(&mut self, here: &HashSet<u64>) -> bool {
        if self.keeper.is_none() {
            return !here.contains(&self.mount);
        }
        let keeper = process_with(self.mount);
        self.keeper = keeper.and_then(|pid| ended(pid).ok());
        keeper.is_none()
    }

    /// Readable when it is to be asked whether it is unmounted.
    pub(super) fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.keeper.as_ref().map(AsFd::as_fd)
    }

    /// Whether that process has ended.
    pub(super) fn has_news(&self) -> bool {
        let ended =
            |keeper: &OwnedFd| poll(&mut [PollFd::new(keeper.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO);
        self.keeper.as_ref().is_some_and(|keeper| ended(keeper).is_ok_and(|n| n > 0))
    }

    /// Whether the file was deleted.
    pub(super) fn is_deleted(&self) -> bool {
        self.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A file of another mount namespace by its path in our own, where that leads to the same file: what
/// is mounted there for a while (a service's, a job's private namespace) is no reason to let go of it.
fn in_own_namespace(file: &File) -> Option<File> {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    // Of the same file system, so the names are known already; whatever else is there is not asked.
    let flags = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::from_bits_retain(libc::RESOLVE_CACHED);
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(flags);
    let root = File::open("/").ok()?;
    let found = File::from(openat2(&root, &path, how).ok()?);
    let (one, other) = (file.metadata().ok()?, found.metadata().ok()?);
    (one.dev() == other.dev() && one.ino() == other.ino()).then_some(found)
}

/// The same file, through a copy of its mount that is nowhere mounted. Only of mounts of our own
/// namespace.
fn unmounted(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as libc::c_uint;
    #[expect(unsafe_code, reason = "open_tree(2) has no wrapper")]
    // SAFETY: a descriptor, an empty path and a number in; the result is a new descriptor.
    unsafe {
        let fd = libc::syscall(libc::SYS_open_tree, file.as_raw_fd(), c"".as_ptr(), flags);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as i32)) }
    }
}

/// The number of the mount that a file was opened by, as in a mount table.
fn mount_id(file: BorrowedFd<'_>) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

/// A file of an overlay where it lies below: the kernel puts probes there in any case. Overlays pass
/// on its size and times.
fn below(file: &File, overlay: &Line) -> Option<OwnedFd> {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let inside = overlay.root.join(path.strip_prefix(&overlay.point).ok()?);
    let inside = inside.strip_prefix("/").unwrap_or(&inside);
    let wanted = Identity::of(&file.metadata().ok()?);
    layers(overlay).into_iter().take(LAYERS_MAX).find_map(|layer| {
        let folder = File::open(layer).ok()?;
        // Looked at, not opened, and only inside of the layer: what is there may be anybody's.
        let flags = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(flags);
        let found = File::from(openat2(&folder, inside, how).ok()?);
        let metadata = found.metadata().ok()?;
        (metadata.is_file() && Identity::of(&metadata).is_below(&wanted)).then(|| found.into())
    })
}

/// The layers of an overlay, the topmost first. None of any other file system.
fn layers(line: &Line) -> Vec<PathBuf> {
    if line.kind != "overlay" {
        return Vec::new();
    }
    let mut layers = Vec::new();
    for option in line.options.split(|byte| *byte == b',') {
        let Some(at) = option.iter().position(|byte| *byte == b'=') else { continue };
        let value = unescaped(&option[at + 1..]);
        match &option[..at] {
            b"upperdir" => layers.insert(0, OsString::from_vec(value).into()),
            b"lowerdir" => layers.extend(colons(&value)),
            b"lowerdir+" => layers.push(OsString::from_vec(value).into()),
            _ => {}
        }
    }
    // Relative ones are meant from a folder that nobody knows any more.
    layers.retain(|layer: &PathBuf| layer.is_absolute());
    layers
}

/// What colons separate; a backslash makes one part of a name.
fn colons(value: &[u8]) -> Vec<PathBuf> {
    let mut parts = vec![Vec::new()];
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => parts.push(Vec::new()),
            b'\\' => parts.last_mut().into_iter().for_each(|part| part.extend(bytes.next())),
            _ => parts.last_mut().into_iter().for_each(|part| part.push(*byte)),
        }
    }
    parts.into_iter().map(|part| OsString::from_vec(part).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::mounts::Line;

    #[test]
    fn the_layers_of_an_overlay_are_its_upper_folder_and_then_the_lower_ones_in_order() {
        let line = |kind: &str, options: &str| Line {
            root: "/".into(),
            point: "/m".into(),
            kind: kind.into(),
            options: options.into(),
        };
        let options = r"rw,lowerdir=/a:/b\134:c\054d::l/REL,upperdir=/up,workdir=/wk,index=on";
        assert_eq!(layers(&line("overlay", options)), ["/up", "/a", "/b:c,d"].map(PathBuf::from));
        let options = "ro,lowerdir+=/a,lowerdir+=/b";
        assert_eq!(layers(&line("overlay", options)), ["/a", "/b"].map(PathBuf::from));
        assert_eq!(layers(&line("ext4", "rw,upperdir=/up")).len(), 0);
    }

    #[test]
    fn a_place_leads_to_the_file_and_is_where_its_mount_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("go");
        std::fs::write(&path, "go").unwrap();
        let file = File::open(&path).unwrap();
        let mut place = Place::of(&file).unwrap();
        assert_eq!(place.metadata().unwrap().ino(), file.metadata().unwrap().ino());
        assert!(!place.is_unmounted(&super::super::mounts::here()) && !place.is_deleted());
        std::fs::remove_file(&path).unwrap();
        assert!(place.is_deleted());
    }
}
