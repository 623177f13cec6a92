//! Folders of an experiment, owned by the user: fresh caches for each cold run, a build cache that
//! the runs share, and what was kept of go.mod and go.sum. In: the user's settings of go. Out:
//! folders, and the variables that lead a run to them. All of it is removed at the end.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use model::user_error::UserError;
use nix::unistd::geteuid;

use super::ORIGINALS;
use super::originals::{self, NOTE, Originals, create};
use crate::cli::options::Cache;
use crate::goenv::{self, GoEnv};
use crate::unique;

/// How folders of experiments are named, before the pid; a dot, so that `./...` passes them over.
const PREFIX: &str = ".goobserve-";
/// Where files are in memory.
const MEMORY: &str = "/dev/shm";

/// Folders of one experiment.
#[derive(Debug)]
pub(super) struct Folders {
    base: Private,
    /// Where the caches of a run are, when that is not in the base
    memory: Option<Private>,
    /// `None` with the user's own caches
    cold: Option<Settings>,
}

/// What of the user's settings goes on beside the cold caches.
#[derive(Debug)]
struct Settings {
    gopath: Option<String>,
    gobin: Option<PathBuf>,
}

impl Folders {
    /// Makes them, with the rights this process has now.
    pub(super) fn create(go: &GoEnv, cache: Cache) -> Result<Self, UserError> {
        let beside = neighbour(go);
        let refused = |folder: &Path, error: &io::Error| {
            UserError::new(
                format!("cannot make a folder in {}: {error}", folder.display()),
                "check that the calling user may write there, and that the disk is not full",
            )
        };
        let make = |parent: &Path, prefix: &str| {
            Private::create(parent, &format!("{prefix}{}-", std::process::id()))
                .map_err(|error| refused(parent, &error))
        };
        let memory = (cache == Cache::Memory).then(|| make(Path::new(MEMORY), "goobserve-")).transpose()?;
        let base = match make(&beside, PREFIX) {
            Ok(base) => base,
            Err(user_error) => {
                let _ = memory.map(|memory| memory.remove());
                return Err(user_error);
            }
        };
        let mut folders = Self { base, memory, cold: None };
        if cache != Cache::Warm {
            let gopath = go.gopath();
            let first = gopath.as_deref().and_then(goenv::first);
            // Set, go would refuse to install what was built for another machine.
            let free = ["GOBIN", "GOOS", "GOARCH"].iter().all(|name| go.get(name).is_none());
            let gobin = first.filter(|_| free).map(|first| Path::new(&first).join("bin"));
            folders.cold = Some(Settings { gopath, gobin });
            folders.fresh().map_err(|error| refused(&folders.base.path, &error))?;
        }
        Ok(folders)
    }

    /// For what is kept and written between runs: as everybody calls it.
    pub(super) fn base(&self) -> &Path {
        &self.base.path
    }

    /// The same folder, as this process reaches it whatever becomes of its path.
    pub(super) fn own(&self) -> PathBuf {
        self.base.own()
    }

    fn run(&self) -> &Private {
        self.memory.as_ref().unwrap_or(&self.base)
    }

    /// Empties the caches of a run.
    pub(super) fn fresh(&self) -> io::Result<()> {
        if self.cold.is_none() {
            return Ok(());
        }
        let run = self.run().own().join("run");
        remove(&run)?;
        DirBuilder::new().mode(0o700).create(run)
    }

    /// Variables of a run.
    pub(super) fn variables(&self) -> Vec<(&'static str, PathBuf)> {
        let Some(cold) = &self.cold else { return Vec::new() };
        // The first folder of GOPATH is written to: its pkg/sumdb is fresh as well.
        let run = self.run().path.join("run");
        let mut gopath = run.join("path").into_os_string();
        if let Some(own) = &cold.gopath {
            gopath.push(":");
            gopath.push(own);
        }
        let mut variables = vec![
            ("GOMODCACHE", run.join("mod")),
            ("GOPATH", gopath.into()),
            ("GOCACHE", self.base.path.join("build")),
        ];
        variables.extend(cold.gobin.clone().map(|gobin| ("GOBIN", gobin)));
        variables
    }

    /// Removes all of it.
    pub(super) fn remove(&self) -> io::Result<()> {
        let memory = self.memory.as_ref().map_or(Ok(()), Private::remove);
        self.base.remove().and(memory)
    }
}

/// A folder that only the user can enter, with a name that nobody could know, held open.
#[derive(Debug)]
struct Private {
    path: PathBuf,
    handle: File,
}

impl Private {
    fn create(parent: &Path, prefix: &str) -> io::Result<Self> {
        let path = parent.join(unique::name(prefix));
        DirBuilder::new().mode(0o700).create(&path)?;
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let handle = File::options().read(true).custom_flags(flags).open(&path)?;
        let about = handle.metadata()?;
        if !is_own(&about) {
            return Err(io::Error::other("somebody else put another one in its place"));
        }
        Ok(Self { path, handle })
    }

    fn own(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.handle.as_raw_fd()).into()
    }

    /// Removes it with all that is in it.
    fn remove(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.own())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { remove(&entry.path())? } else { fs::remove_file(entry.path())? }
        }
        fs::remove_dir(&self.path)
    }
}

/// Whether a folder is the user's, and nobody else can write to it.
pub fn is_own(about: &fs::Metadata) -> bool {
    about.is_dir() && about.uid() == geteuid().as_raw() && about.mode() & 0o022 == 0
}

/// Folders that earlier experiments left behind: their process was killed, and so was its
/// guardian.
pub(super) fn left_behind(go: &GoEnv) -> Vec<PathBuf> {
    notes(go).into_iter().filter(|(_, lives, _)| !lives).map(|(folder, ..)| folder).collect()
}

/// The folder of an experiment that goes on and keeps one of the same files.
pub(super) fn in_use(go: &GoEnv, originals: &Originals) -> Option<PathBuf> {
    let same = |(_, lives, note): &(PathBuf, bool, String)| *lives && originals.are_in(note);
    notes(go).into_iter().find(same).map(|(folder, ..)| folder)
}

/// Folders of other experiments: whether their process lives, and their notes.
fn notes(go: &GoEnv) -> Vec<(PathBuf, bool, String)> {
    let entries = fs::read_dir(neighbour(go)).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()?;
        // Anybody can make a folder of that name where others may write.
        entry.metadata().ok().filter(is_own)?;
        let (note, _) = originals::read(&entry.path().join(ORIGINALS).join(NOTE)).ok()?;
        let lives = Path::new("/proc").join(pid.to_string()).exists();
        Some((entry.path(), lives, String::from_utf8_lossy(&note).into_owned()))
    });
    found.collect()
}

/// The folder that the user's module cache is in, or, before there is one, the nearest above it.
fn neighbour(go: &GoEnv) -> PathBuf {
    let cache = go.gomodcache().map(PathBuf::from).filter(|cache| cache.is_absolute());
    let above = cache.as_deref().into_iter().flat_map(|cache| cache.ancestors().skip(1));
    let mut usable = above.filter(|folder| is_usable(folder));
    usable
        .next()
        .filter(|folder| *folder != Path::new("/"))
        .map_or_else(std::env::temp_dir, Path::to_path_buf)
}

/// Whether what is made in a folder stays there: others may not rename it.
fn is_usable(folder: &Path) -> bool {
    const STICKY: u32 = 0o1000;
    let stays =
        |about: fs::Metadata| about.is_dir() && (about.mode() & 0o002 == 0 || about.mode() & STICKY != 0);
    folder.metadata().is_ok_and(stays)
}

/// Removes a folder with all that is in it; the go command makes its module cache read-only.
/// Nothing is done where there is none.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::symlink_metadata(folder) {
        Ok(about) if about.is_dir() => {}
        Ok(_) => return Err(io::Error::other("it is no folder")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(folder)
}

/// An empty file for a run's output, in place of an earlier one's.
pub(super) fn empty(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => create(path, 0o600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goenv::Source;

    fn go(environ: &str) -> GoEnv {
        GoEnv::gather(&Source { environ: environ.as_bytes(), binary: None, cpus: None }, |_| None)
    }

    #[test]
    fn a_cold_run_has_caches_of_its_own_beside_the_users() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        fs::create_dir_all(home.join("go/pkg/mod/cache")).unwrap();
        let go = go(&format!("HOME={}\0", home.display()));
        let folders = Folders::create(&go, Cache::Cold).unwrap();
        assert_eq!(folders.base().parent(), Some(home.join("go/pkg").as_path()));
        let variables = folders.variables();
        let of = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
        assert_eq!(of("GOMODCACHE"), Some(folders.base().join("run/mod")));
        let gopath = format!("{}:{}", folders.base().join("run/path").display(), home.join("go").display());
        assert_eq!(of("GOPATH"), Some(PathBuf::from(gopath)));
        assert_eq!(of("GOBIN"), Some(home.join("go/bin")));
        folders.remove().unwrap();
        assert_eq!(fs::read_dir(home.join("go/pkg")).unwrap().count(), 1);
    }

    #[test]
    fn a_read_only_cache_is_emptied_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let go = go(&format!("HOME={}\0", home.path().display()));
        let folders = Folders::create(&go, Cache::Cold).unwrap();
        let deep = folders.base().join("run/mod/a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "").unwrap();
        fs::set_permissions(deep.join("file"), Permissions::from_mode(0o444)).unwrap();
        for folder in [&deep, deep.parent().unwrap()] {
            fs::set_permissions(folder, Permissions::from_mode(0o555)).unwrap();
        }
        folders.fresh().unwrap();
        assert_eq!(fs::read_dir(folders.base().join("run")).unwrap().count(), 0);
        folders.remove().unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn removing_follows_no_link() {
        let home = tempfile::tempdir().unwrap();
        let (kept, gone) = (home.path().join("kept"), home.path().join("gone"));
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        fs::create_dir(&gone).unwrap();
        std::os::unix::fs::symlink(&kept, gone.join("link")).unwrap();
        remove(&gone).unwrap();
        assert!(kept.join("file").exists() && !gone.exists());
        std::os::unix::fs::symlink(&kept, &gone).unwrap();
        assert!(remove(&gone).is_err() && kept.join("file").exists());
    }

    #[test]
    fn warm_runs_have_the_users_caches() {
        let home = tempfile::tempdir().unwrap();
        let go = go(&format!("HOME={}\0", home.path().display()));
        let folders = Folders::create(&go, Cache::Warm).unwrap();
        assert_eq!(folders.variables().len(), 0);
        folders.fresh().unwrap();
        folders.remove().unwrap();
    }

    #[test]
    fn what_a_killed_experiment_left_is_found() {
        let home = tempfile::tempdir().unwrap();
        let go = go(&format!("HOME={}\0", home.path().display()));
        let left = home.path().join(format!("{PREFIX}{}", i32::MAX));
        fs::create_dir_all(left.join("originals")).unwrap();
        assert_eq!(left_behind(&go).len(), 0);
        fs::write(left.join("originals").join(NOTE), "").unwrap();
        assert_eq!(left_behind(&go), [left]);
    }

    #[test]
    fn the_folder_of_another_user_blocks_nothing() {
        let home = tempfile::tempdir().unwrap();
        let go = go(&format!("HOME={}\0", home.path().display()));
        for name in
            [i32::MAX.to_string(), std::process::id().to_string(), format!("{}-0", std::process::id())]
        {
            let theirs = home.path().join(format!("{PREFIX}{name}"));
            fs::create_dir_all(theirs.join("originals")).unwrap();
            fs::write(theirs.join("originals").join(NOTE), "").unwrap();
            if std::os::unix::fs::chown(&theirs, Some(61_503), None).is_err() {
                return; // only root has folders of others
            }
        }
        assert_eq!(left_behind(&go).len(), 0);
        let folders = Folders::create(&go, Cache::Cold).unwrap();
        folders.remove().unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_folder_put_in_the_place_of_ours_is_neither_emptied_nor_filled() {
        let home = tempfile::tempdir().unwrap();
        let go = go(&format!("HOME={}\0", home.path().display()));
        let folders = Folders::create(&go, Cache::Cold).unwrap();
        let moved = home.path().join("moved");
        fs::rename(folders.base(), &moved).unwrap();
        fs::create_dir_all(folders.base().join("run/precious")).unwrap();
        folders.fresh().unwrap();
        assert!(folders.remove().is_err());
        assert!(folders.base().join("run/precious").exists());
        assert_eq!(fs::read_dir(&moved).unwrap().count(), 0);
    }

    #[test]
    fn an_experiment_that_goes_on_with_the_same_go_mod_is_found() {
        let home = tempfile::tempdir().unwrap();
        let go = go(&format!("HOME={}\0GOWORK=off\0", home.path().display()));
        let project = |name: &str| {
            let folder = home.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("go.mod"), "module m\n").unwrap();
            let mut originals = Originals::default();
            originals.add(&folder, &[], &go).unwrap();
            originals
        };
        let (one, other) = (project("one"), project("other"));
        let folders = Folders::create(&go, Cache::Warm).unwrap();
        let copies = folders.base().join(ORIGINALS);
        fs::create_dir(&copies).unwrap();
        one.keep(&copies, &copies).unwrap();
        assert_eq!(in_use(&go, &one).as_deref(), Some(folders.base()));
        assert_eq!(in_use(&go, &other), None);
        assert_eq!(left_behind(&go).len(), 0);
        folders.remove().unwrap();
    }
}
