//! Which file a command is. In: the word that was typed and the *user's* PATH. Out: the path
//! that execvp would take, or why there is none, known before anything is attached.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use model::redact;
use thiserror::Error;

/// What is searched when there is no PATH, as in libc.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Why a command cannot be started.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum NoProgram {
    /// Exit status 127
    #[error("{}: not found", redact::program_name(.0))]
    NotFound(String),
    /// Exit status 126
    #[error("{}: not executable", redact::file(&.0.to_string_lossy()))]
    NotExecutable(PathBuf),
}

impl NoProgram {
    /// The exit status a shell would give: 127 or 126.
    pub const fn status(&self) -> i32 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable(_) => 126,
        }
    }

    /// What to do about it, in one line.
    pub fn advice(&self) -> String {
        match self {
            Self::NotFound(_) => "check its name and the calling user's PATH, or give its whole path".into(),
            Self::NotExecutable(path) if path.is_dir() => "give a program, this is a folder".into(),
            Self::NotExecutable(path) => {
                let file = redact::file(&path.to_string_lossy());
                format!("give a program; if this is one: chmod +x {file}")
            }
        }
    }
}

/// What a file is to someone who wants to execute it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// A file with an execute bit. Whether it is one for this user, the kernel says at the exec
    Program,
    /// Something that is there and cannot be executed
    Other,
    /// Nothing there
    Missing,
}

/// Looks at a file of this machine.
pub fn presence(path: &Path) -> Presence {
    match std::fs::metadata(path) {
        Ok(about) if about.is_file() && about.permissions().mode() & 0o111 != 0 => Presence::Program,
        Ok(_) => Presence::Other,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Presence::Other,
        Err(_) => Presence::Missing,
    }
}

/// Finds the program. A word with a slash is a path; any other is looked for in each folder of
/// `path`, an empty one being the working folder. Something that cannot be executed is passed
/// over, and reported only when nothing better follows.
pub fn resolve(
    command: &OsStr,
    path: Option<&OsStr>,
    presence: impl Fn(&Path) -> Presence,
) -> Result<PathBuf, NoProgram> {
    let not_found = || NoProgram::NotFound(command.to_string_lossy().into_owned());
    if command.is_empty() {
        return Err(not_found());
    }
    if command.as_bytes().contains(&b'/') {
        let path = PathBuf::from(command);
        return match presence(&path) {
            Presence::Program => Ok(path),
            Presence::Other => Err(NoProgram::NotExecutable(path)),
            Presence::Missing => Err(not_found()),
        };
    }
    let mut passed_over = None;
    for folder in path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|byte| *byte == b':') {
        let folder = if folder.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(folder)) };
        let candidate = folder.join(command);
        match presence(&candidate) {
            Presence::Program => return Ok(candidate),
            Presence::Other => passed_over = passed_over.or(Some(candidate)),
            Presence::Missing => {}
        }
    }
    Err(passed_over.map_or_else(not_found, NoProgram::NotExecutable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(command: &str, path: Option<&str>) -> Result<PathBuf, NoProgram> {
        resolve(OsStr::new(command), path.map(OsStr::new), |path| match path.to_str().unwrap() {
            "/bin/go" | "/opt/go/bin/go" | "./go" | "sub/go" => Presence::Program,
            "/data/go" | "/data" => Presence::Other,
            _ => Presence::Missing,
        })
    }

    #[test]
    fn the_first_folder_that_has_it_wins() {
        assert_eq!(find("go", Some("/none:/opt/go/bin:/bin")).unwrap(), Path::new("/opt/go/bin/go"));
        assert_eq!(find("go", None).unwrap(), Path::new("/bin/go"));
        assert_eq!(find("go", Some("/none::/bin")).unwrap(), Path::new("./go"));
    }

    #[test]
    fn what_cannot_be_executed_is_passed_over_but_remembered() {
        assert_eq!(find("go", Some("/data:/bin")).unwrap(), Path::new("/bin/go"));
        let error = find("go", Some("/data:/none")).unwrap_err();
        assert_eq!((error.clone(), error.status()), (NoProgram::NotExecutable("/data/go".into()), 126));
    }

    #[test]
    fn a_word_with_a_slash_is_not_searched() {
        assert_eq!(find("sub/go", Some("/bin")).unwrap(), Path::new("sub/go"));
        assert_eq!(find("x/go", Some("/bin")).unwrap_err().status(), 127);
        assert_eq!(find("/data", Some("/bin")).unwrap_err().status(), 126);
    }

    #[test]
    fn nothing_is_found_for_nothing() {
        assert_eq!(find("", Some("/bin")).unwrap_err().status(), 127);
        assert_eq!(find("rust", Some("/bin")).unwrap_err().to_string(), "rust: not found");
    }

    #[test]
    fn this_machines_files_are_distinguished() {
        assert_eq!(presence(Path::new("/bin/sh")), Presence::Program);
        assert_eq!(presence(Path::new("/bin")), Presence::Other);
        assert_eq!(presence(Path::new("/proc/version")), Presence::Other);
        assert_eq!(presence(Path::new("/nothing/here")), Presence::Missing);
    }
}
