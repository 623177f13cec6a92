//! go.mod and go.sum as they were found, and putting them back. In: where a command works.
//! Out: the files the go command may rewrite there, kept in memory and as copies in a folder.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use model::id::Pid;
use model::user_error::UserError;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::goenv::GoEnv;
use crate::unique;

/// Bytes of a file that are kept; a go.sum of 100,000 modules has a tenth of it.
const FILE_MAX: u64 = 256 << 20;
/// Modules of a workspace that are kept.
const MODULES_MAX: usize = 1000;
/// Name of the file that says what the copies are.
pub(super) const NOTE: &str = "READ-ME";

/// Which file it is, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Inode {
    /// Device
    pub dev: u64,
    /// Number
    pub ino: u64,
}

impl Inode {
    fn of(about: &std::fs::Metadata) -> Self {
        Self { dev: about.dev(), ino: about.ino() }
    }
}

/// One file. What its name leads to was followed once; from then on only that folder counts, and
/// no link in it.
#[derive(Debug)]
struct Original {
    path: PathBuf,
    folder: OwnedFd,
    name: OsString,
    /// `None`: there was none
    was: Option<Was>,
    /// Somebody else has changed it meanwhile: it is not ours any more
    left: Cell<bool>,
}

#[derive(Debug)]
struct Was {
    content: Vec<u8>,
    mode: u32,
    modified: Option<SystemTime>,
    inode: Inode,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Originals(Vec<Original>);

/// Why not every file is as it was.
#[derive(Debug)]
pub(super) enum NotBack {
    /// A file cannot be written
    Failed(String),
    /// Somebody else has changed it, and it was left so
    Edited(UserError),
}

impl Originals {
    /// Reads the files that a command in `cwd` may rewrite, too.
    pub(super) fn add(&mut self, cwd: &Path, argv: &[String], go: &GoEnv) -> io::Result<()> {
        for path in files(cwd, argv, go) {
            if !self.0.iter().any(|known| known.path == path) {
                self.0.extend(Original::take(path)?);
            }
        }
        Ok(())
    }

    /// The folders that they are in.
    pub(super) fn folders(&self) -> impl Iterator<Item = &OwnedFd> {
        self.0.iter().map(|original| &original.folder)
    }

    /// Leaves copies in a folder, with a note of where they belong, for the case that nobody is
    /// left to put them back.
    pub(super) fn keep(&self, folder: &Path, shown: &Path) -> io::Result<()> {
        let mut note = format!(
            "goobserve (pid {}) runs an experiment here. While it does, and afterwards if it was killed\n\
             and this folder is still here, these are the files as they were:\n\n",
            std::process::id()
        );
        for (number, original) in self.0.iter().enumerate() {
            let path = original.path.display();
            match &original.was {
                Some(was) => {
                    let name = original.path.file_name().unwrap_or_default().to_string_lossy();
                    let copy = format!("{number}-{name}");
                    create(&folder.join(&copy), 0o600)?.write_all(&was.content)?;
                    note += &format!("cp {} {path}\n", shown.join(copy).display());
                }
                None => note += &format!("rm -f {path}    # there was none\n"),
            }
        }
        note += "\nThen remove this folder: chmod -R u+w FOLDER && rm -r FOLDER\n";
        create(&folder.join(NOTE), 0o600)?.write_all(note.as_bytes())
    }

    /// Whether a note of another experiment names one of these files.
    pub(super) fn are_in(&self, note: &str) -> bool {
        self.0.iter().any(|original| note.contains(&format!(" {}", original.path.display())))
    }

    /// Makes every file what it was; one that has not changed is not touched, and neither is one that
    /// a process wrote to which was no run's (`stranger`): what it was is kept beside it. Goes on
    /// after a failure, and returns the first.
    pub(super) fn put_back(&self, stranger: impl Fn(Inode) -> Option<Pid>) -> Result<(), NotBack> {
        let mut all = Ok(());
        for original in self.0.iter().filter(|original| !original.left.get()) {
            let done = original.put_back(&stranger).map_err(|error| {
                NotBack::Failed(format!("cannot put {} back: {error}", original.path.display()))
            });
            all =
                all.and(done.and_then(|edited| edited.map_or(Ok(()), |edited| Err(NotBack::Edited(edited)))));
        }
        all
    }
}

impl Original {
    /// `None` where not even its folder is there.
    fn take(path: PathBuf) -> io::Result<Option<Self>> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let real = match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.clone(),
            other => other.map_err(named)?,
        };
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else { return Ok(None) };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = match openat(AT_FDCWD, parent, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            other => other.map_err(|errno| named(errno.into()))?,
        };
        let mut taken = Self { name: name.to_owned(), folder, was: None, left: Cell::new(false), path };
        let now = taken
            .now()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", taken.path.display())))?;
        taken.was = now.map(|(content, about)| Was {
            content,
            mode: about.permissions().mode() & 0o777,
            modified: about.modified().ok(),
            inode: Inode::of(&about),
        });
        Ok(Some(taken))
    }

    /// What is there now.
    fn now(&self) -> io::Result<Option<(Vec<u8>, std::fs::Metadata)>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match openat(&self.folder, &*self.name, flags, Mode::empty()) {
            Ok(file) => content(file.into()).map(Some),
            Err(Errno::ENOENT) => Ok(None),
            Err(Errno::ELOOP) => Err(io::Error::other("it is a symbolic link now")),
            Err(errno) => Err(errno.into()),
        }
    }

    /// `Some`: it was left as somebody else has made it.
    fn put_back(&self, stranger: impl Fn(Inode) -> Option<Pid>) -> io::Result<Option<UserError>> {
        let now = self.now()?;
        match (&self.was, &now) {
            (None, None) => return Ok(None),
            (Some(was), Some((now, _))) if was.content == *now => return Ok(None),
            _ => {}
        }
        let inode = now.as_ref().map(|(_, about)| Inode::of(about));
        if let Some(pid) = inode.and_then(stranger) {
            self.left.set(true);
            return self.keep_neighbour().map(|kept| Some(self.edited(pid, kept)));
        }
        match &self.was {
            // In place: its owner, links and other names stay.
            Some(was) if inode == Some(was.inode) => {
                let flags = OFlag::O_WRONLY
                    | OFlag::O_TRUNC
                    | OFlag::O_NOFOLLOW
                    | OFlag::O_NONBLOCK
                    | OFlag::O_CLOEXEC;
                was.write(File::from(openat(&self.folder, &*self.name, flags, Mode::empty())?))?;
            }
            Some(was) => {
                let beside = self.write_neighbour(".goobserve-", was)?;
                renameat(&self.folder, &*beside, &self.folder, &*self.name)?;
            }
            None => unlinkat(&self.folder, &*self.name, UnlinkatFlags::NoRemoveDir)?,
        }
        Ok(None)
    }

    /// What it was, under another name; `None` when there was nothing.
    fn keep_neighbour(&self) -> io::Result<Option<PathBuf>> {
        let Some(was) = &self.was else { return Ok(None) };
        let name = format!("{}.original-", self.name.to_string_lossy());
        Ok(Some(self.path.with_file_name(self.write_neighbour(&name, was)?)))
    }

    fn write_neighbour(&self, prefix: &str, was: &Was) -> io::Result<OsString> {
        let name = unique::name(prefix);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file: File = openat(&self.folder, &*name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?.into();
        let written = file.set_permissions(std::fs::Permissions::from_mode(was.mode));
        if let Err(error) = written.and_then(|()| was.write(file)) {
            let _ = unlinkat(&self.folder, &*name, UnlinkatFlags::NoRemoveDir);
            return Err(error);
        }
        Ok(name)
    }

    fn edited(&self, pid: Pid, kept: Option<PathBuf>) -> UserError {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        let who = comm.map_or_else(|_| "another program".to_owned(), |comm| comm.trim_end().to_owned());
        let was = kept.map_or_else(
            || "there was none before".to_owned(),
            |kept| format!("as it was before it is in {}", kept.display()),
        );
        UserError::new(
            format!("{who} (process {pid}) changed {} during the experiment", self.path.display()),
            format!("it stays as it is now, and {was}; run the experiment again"),
        )
    }
}

impl Was {
    fn write(&self, mut file: File) -> io::Result<()> {
        file.write_all(&self.content)?;
        self.modified.map_or(Ok(()), |modified| file.set_modified(modified))
    }
}

/// An ordinary file.
pub(super) fn read(path: &Path) -> io::Result<(Vec<u8>, std::fs::Metadata)> {
    // A pipe of that name must not hold this process up.
    content(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?)
}

fn content(file: File) -> io::Result<(Vec<u8>, std::fs::Metadata)> {
    let about = file.metadata()?;
    if !about.is_file() || about.len() > FILE_MAX {
        return Err(io::Error::other("it is no ordinary file, or far too long"));
    }
    let mut content = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut content)?;
    Ok((content, about))
}

/// A new file, never an old one and never through a link.
pub(super) fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// The files that the go command may rewrite when it is called in `cwd`.
pub(super) fn files(cwd: &Path, argv: &[String], go: &GoEnv) -> Vec<PathBuf> {
    let cwd = match flag(argv.iter(), "-C") {
        Some(folder) => cwd.join(folder),
        None => cwd.to_path_buf(),
    };
    let above = |name: &str| cwd.ancestors().map(|folder| folder.join(name)).find(|file| file.is_file());
    let mut modules = Vec::new();
    let mut found = Vec::new();
    let work = match go.get("GOWORK") {
        Some("off") => None,
        Some(file) => Some(PathBuf::from(file)),
        None => above("go.work"),
    };
    if let Some(work) = work {
        let folder = work.parent().unwrap_or(Path::new("/")).to_path_buf();
        let text = read(&work).map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned());
        modules.extend(used(&text.unwrap_or_default()).map(|used| folder.join(used).join("go.mod")));
        found.extend([work.with_extension("work.sum"), work]);
    }
    modules.extend(above("go.mod"));
    let flags: Vec<String> =
        go.get("GOFLAGS").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let other = flag(argv.iter(), "-modfile").or_else(|| flag(flags.iter(), "-modfile"));
    modules.extend(other.map(|file| cwd.join(file)));
    modules.truncate(MODULES_MAX);
    for module in modules {
        found.extend([module.with_extension("sum"), module]);
    }
    found.sort();
    found.dedup();
    found
}

/// The value of a flag in Go's two forms: `-C dir`, `-C=dir`; also with two dashes.
pub(super) fn flag<'a>(mut words: impl Iterator<Item = &'a String>, name: &str) -> Option<&'a str> {
    while let Some(word) = words.next() {
        let word = word.strip_prefix('-').filter(|word| word.starts_with('-')).unwrap_or(word);
        match word.strip_prefix(name) {
            Some("") => return words.next().map(String::as_str),
            Some(rest) if rest.starts_with('=') => return Some(&rest[1..]),
            _ => {}
        }
    }
    None
}

/// Folders that a go.work uses: `use ./a`, and those of `use ( … )`.
fn used(text: &str) -> impl Iterator<Item = &str> {
    let mut block = false;
    text.lines()
        .filter_map(move |line| {
            let line = line.split("//").next().unwrap_or_default().trim();
            if block {
                block = line != ")";
                return Some(line).filter(|line| block && !line.is_empty());
            }
            let rest = line.strip_prefix("use")?.trim();
            block = rest == "(";
            Some(rest).filter(|rest| !block && !rest.is_empty())
        })
        .map(|folder| folder.trim_matches(['"', '`']))
}

#[cfg(test)]
#[path = "originals_tests.rs"]
mod tests;
