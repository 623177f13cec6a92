//! The remedy `gateway`: a module proxy beside one command. In: the command and its user. Out: the GOPROXY
//! that leads go there, for as long as the value lives.
//!
//! It is `goobserve serve gateway` ([`super::server`]). Its cache is a folder of its own, gone with it: what a
//! run has is what it downloaded.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::remedy;
use model::user_error::UserError;
use nix::fcntl::{Flock, FlockArg};

use super::Invoker;
use super::server::Server;
use crate::experiment::user::AsUser;
use crate::experiment::{go_env, is_own};
use crate::goenv::GoEnv;
use crate::unique;

/// How its folder is called.
const PREFIX: &str = ".goobserve-gateway-";
/// What is younger may be about to be locked.
const LEFT_MIN: Duration = Duration::from_secs(10);
/// How large its cache may be.
const CACHE_SIZE: &str = "8G";

/// A running gateway. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Gateway {
    server: Server,
    cache: Folder,
    invoker: Invoker,
}

impl Gateway {
    /// Starts it and sets GOPROXY in the command's environment.
    pub(super) fn start(command: &[OsString], invoker: &mut Invoker) -> Result<Self, UserError> {
        let (cache, goproxy) = {
            let _user = AsUser::take(invoker)?;
            let go = go_env(command.first(), invoker);
            let goproxy = go.get("GOPROXY").map(str::to_owned);
            let goproxy = goproxy.ok_or_else(|| {
                UserError::new(
                    "the GOPROXY that go would use is not known",
                    "set GOPROXY, or add --with proxy=URL",
                )
            })?;
            (make_folder(&go, invoker)?, goproxy)
        };
        let mut env = invoker.env.clone();
        remedy::set(&mut env, "GOPROXY", &goproxy);
        let module = certain_module(command);
        let mut arguments: Vec<OsString> =
            ["gateway", "--for-command", "--listen", "127.0.0.1:0", "--cache-size", CACHE_SIZE, "--cache"]
                .map(Into::into)
                .to_vec();
        arguments.push(cache.path.clone().into());
        arguments.extend(module.into_iter().flat_map(|module| ["--module-dir".into(), module.into()]));
        let server = match Server::spawn(invoker, &env, &arguments, &[]) {
            Ok(server) => server,
            Err(error) => {
                remove(&cache.path, invoker);
                return Err(UserError::new(
                    format!("cannot start the gateway: {error}"),
                    "check the limit on processes (ulimit -u)",
                ));
            }
        };
        let mut gateway = Self { server, cache, invoker: invoker.clone() };
        let line = gateway.server.line("GOPROXY=").ok_or_else(|| {
            UserError::new("the gateway did not start", "leave it out, or try goobserve serve gateway")
        })?;
        remedy::set(&mut invoker.env, "GOPROXY", line);
        Ok(gateway)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.end();
        remove(&self.cache.path, &self.invoker);
    }
}

/// The folder of which `go mod download` downloads all, when the command is just that.
fn certain_module(command: &[OsString]) -> Option<PathBuf> {
    let words: Vec<&str> = command.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
    let [program, "mod", "download", flags @ ..] = words.as_slice() else { return None };
    let is_go = Path::new(program).file_name().is_some_and(|name| name == "go");
    let plain = flags.iter().all(|flag| matches!(*flag, "-x" | "-json" | "-modcacherw"));
    if is_go && plain { std::env::current_dir().ok() } else { None }
}

/// A folder beside the module cache, which will take as many bytes anyway; else a temporary one.
fn make_folder(go: &GoEnv, invoker: &Invoker) -> Result<Folder, UserError> {
    let beside = go.gomodcache().and_then(|cache| Some(Path::new(&cache).parent()?.to_owned()));
    let temporary = invoker.var("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let mut failed = String::new();
    for base in beside.into_iter().chain([temporary]).filter(|base| base.is_absolute()) {
        remove_left(&base);
        match Folder::create(&base) {
            Ok(folder) => return Ok(folder),
            Err(error) => failed = format!("{}: {error}", base.display()),
        }
    }
    Err(UserError::new(
        format!("cannot make a folder for the gateway's files in {failed}"),
        "set TMPDIR to a folder that may be written to",
    ))
}

fn remove(folder: &Path, invoker: &Invoker) {
    if let Ok(_user) = AsUser::take(invoker) {
        let _ = fs::remove_dir_all(folder);
    }
}

/// A folder of the cache. The lock says that somebody has it, whatever becomes of who made it.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Folder {
    fn create(base: &Path) -> io::Result<Self> {
        let path = base.join(unique::name(PREFIX));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        match locked(&path) {
            Some(lock) => Ok(Self { path, _lock: lock }),
            None => {
                let _ = fs::remove_dir(&path);
                Err(io::Error::other("a folder there cannot be locked"))
            }
        }
    }
}

/// A folder of the user's that nobody else holds.
fn locked(folder: &Path) -> Option<Flock<File>> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let open = File::options().read(true).custom_flags(flags).open(folder).ok()?;
    open.metadata().ok().filter(is_own)?;
    Flock::lock(open, FlockArg::LockExclusiveNonblock).ok()
}

/// Removes what gateways left whose goobserve was killed: nobody holds it any more, and who has just made
/// one had time to lock it.
fn remove_left(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let age =
            || entry.metadata().and_then(|about| about.modified()).map(|at| at.elapsed().unwrap_or_default());
        if is_one && age().is_ok_and(|age| age > LEFT_MIN) && locked(&entry.path()).is_some() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_gateway_left_is_removed_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let old = |name: &str| {
            let folder = base.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("file"), "").unwrap();
            let long_ago = std::time::SystemTime::now() - LEFT_MIN * 2;
            File::open(&folder).unwrap().set_modified(long_ago).unwrap();
            folder
        };
        let (left, held) = (old(".goobserve-gateway-1"), old(".goobserve-gateway-2"));
        let others = [old(".goobserve-1"), old("gateway")];
        let lock = locked(&held).unwrap();
        let young = Folder::create(base.path()).unwrap();
        std::os::unix::fs::symlink(&others[0], base.path().join(".goobserve-gateway-link")).unwrap();
        remove_left(base.path());
        assert!(!left.exists() && held.exists() && young.path.exists());
        assert!(others.iter().all(|folder| folder.join("file").exists()));
        drop(lock);
        remove_left(base.path());
        assert!(!held.exists() && young.path.exists());
    }

    #[test]
    fn only_a_plain_download_says_what_go_will_ask() {
        let of =
            |line: &str| certain_module(&line.split(' ').map(OsString::from).collect::<Vec<_>>()).is_some();
        for line in ["go mod download", "go mod download -x", "/usr/bin/go mod download -json"] {
            assert!(of(line), "{line}");
        }
        for line in [
            "go build ./...",
            "go mod download x.test@v1.0.0",
            "go -C x mod download",
            "go mod download -modfile=x",
            "make",
            "cargo mod download",
        ] {
            assert!(!of(line), "{line}");
        }
    }
}
