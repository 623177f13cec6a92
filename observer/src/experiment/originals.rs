//! go.mod and go.sum as they were found, and putting them back. In: where a command works.
//! Out: the files the go command may rewrite there, kept in memory and as copies in a folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::goenv::GoEnv;

/// Bytes of a file that are kept; a go.sum of 100,000 modules has a tenth of it.
const FILE_MAX: u64 = 256 << 20;
/// Modules of a workspace that are kept.
const MODULES_MAX: usize = 1000;
/// Name of the file that says what the copies are.
pub const NOTE: &str = "READ-ME";

/// One file.
#[derive(Debug)]
struct Original {
    path: PathBuf,
    /// `None`: there was none
    was: Option<Was>,
}

#[derive(Debug)]
struct Was {
    content: Vec<u8>,
    mode: u32,
    modified: Option<SystemTime>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Originals(Vec<Original>);

impl Originals {
    /// Reads the files that a command in `cwd` may rewrite, too.
    pub fn add(&mut self, cwd: &Path, argv: &[String], go: &GoEnv) -> io::Result<()> {
        for path in files(cwd, argv, go) {
            if !self.0.iter().any(|known| known.path == path) {
                self.0.push(Original::take(path)?);
            }
        }
        Ok(())
    }

    /// Leaves copies in a folder, with a note of where they belong, for the case that nobody is
    /// left to put them back.
    pub fn keep(&self, folder: &Path) -> io::Result<()> {
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
                    let copy = folder.join(format!("{number}-{name}"));
                    create(&copy, 0o600)?.write_all(&was.content)?;
                    note += &format!("cp {} {path}\n", copy.display());
                }
                None => note += &format!("rm -f {path}    # there was none\n"),
            }
        }
        note += "\nThen remove this folder: chmod -R u+w FOLDER && rm -r FOLDER\n";
        create(&folder.join(NOTE), 0o600)?.write_all(note.as_bytes())
    }

    /// Whether a note of another experiment names one of these files.
    pub fn are_in(&self, note: &str) -> bool {
        self.0.iter().any(|original| note.contains(&format!(" {}", original.path.display())))
    }

    /// Makes every file what it was; one that has not changed is not touched. Goes on after a
    /// failure, and tells the first.
    pub fn put_back(&self) -> Result<(), String> {
        let mut failed = Ok(());
        for original in &self.0 {
            if let Err(error) = original.put_back() {
                failed = failed.and(Err(format!("cannot put {} back: {error}", original.path.display())));
            }
        }
        failed
    }
}

impl Original {
    fn take(path: PathBuf) -> io::Result<Self> {
        let was = match read(&path) {
            Ok((content, about)) => Some(Was {
                content,
                mode: about.permissions().mode() & 0o777,
                modified: about.modified().ok(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        };
        Ok(Self { path, was })
    }

    fn put_back(&self) -> io::Result<()> {
        let now = match read(&self.path) {
            Ok((content, _)) => Some(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match (&self.was, now) {
            (Some(was), Some(now)) if was.content == now => Ok(()),
            (Some(was), _) => {
                // In place: its owner, links and other names stay.
                let mut file = OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(was.mode)
                    .custom_flags(libc::O_NONBLOCK)
                    .open(&self.path)?;
                file.write_all(&was.content)?;
                was.modified.map_or(Ok(()), |modified| file.set_modified(modified))
            }
            (None, Some(_)) => std::fs::remove_file(&self.path),
            (None, None) => Ok(()),
        }
    }
}

/// An ordinary file.
pub fn read(path: &Path) -> io::Result<(Vec<u8>, std::fs::Metadata)> {
    // A pipe of that name must not hold this process up.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() || about.len() > FILE_MAX {
        return Err(io::Error::other("it is no ordinary file, or far too long"));
    }
    let mut content = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut content)?;
    Ok((content, about))
}

/// A new file, never an old one and never through a link.
pub fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// The files that the go command may rewrite when it is called in `cwd`.
fn files(cwd: &Path, argv: &[String], go: &GoEnv) -> Vec<PathBuf> {
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
fn flag<'a>(mut words: impl Iterator<Item = &'a String>, name: &str) -> Option<&'a str> {
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
