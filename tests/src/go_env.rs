//! What a go command in the lab is given: a copy of the sample project, fresh caches in memory,
//! and an environment that holds nothing of the machine's but `PATH`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::paths;

/// Modules of the sample that need no others.
const FEW: [&str; 10] = [
    "BurntSushi/toml",
    "cenkalti/backoff",
    "cespare/xxhash",
    "dustin/go-humanize",
    "felixge/httpsnoop",
    "go-chi/chi",
    "google/uuid",
    "gorilla/mux",
    "gorilla/websocket",
    "julienschmidt/httprouter",
];

/// How a go command differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct GoOptions {
    /// The project has its complete go.sum, so the checksum database is not asked
    pub go_sum: bool,
    /// Only ten modules that need no others: a run takes a third of a second
    pub few: bool,
    /// HTTP/1.1 instead of HTTP/2
    pub http1: bool,
    /// The checksum database is asked at its own host, not through the proxy
    pub sumdb_direct: bool,
    /// GOMAXPROCS, and so the number of downloads at once
    pub gomaxprocs: Option<u32>,
    /// Any other variables
    pub env: Vec<(String, String)>,
}

/// A project with fresh caches, removed when dropped. One command each: the second would find
/// the caches full.
#[derive(Debug)]
pub struct GoRun {
    dir: TempDir,
    env: Vec<(String, OsString)>,
}

impl GoRun {
    /// A copy of the sample project for a lab with these host names; `ca` is the PEM file of its
    /// authority, `sumdb` the checksum database's name.
    pub(crate) fn new(
        proxy: &str,
        sumdb_host: &str,
        sumdb: &str,
        ca: &Path,
        options: &GoOptions,
    ) -> Result<Self> {
        let dir = paths::temp("goobserve-go-").context("make a folder for a go command")?;
        let folder = |name: &str| -> Result<PathBuf> {
            let path = dir.path().join(name);
            fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
            Ok(path)
        };
        let project = folder("project")?;
        let go_sum = options.go_sum.then_some("go.sum");
        for name in ["go.mod", "main.go"].into_iter().chain(go_sum) {
            fs::copy(paths::sample().join(name), project.join(name)).context("copy the sample")?;
        }

        if options.few {
            let go_mod = project.join("go.mod");
            let all = fs::read_to_string(&go_mod)?;
            let kept = |line: &&str| !line.starts_with('\t') || FEW.iter().any(|name| line.contains(name));
            let few: Vec<&str> = all.lines().filter(kept).collect();
            fs::write(&go_mod, few.join("\n") + "\n").context("write a small go.mod")?;
        }

        // A copy, so that everything another user needs is in here.
        let authority = dir.path().join("ca.pem");
        fs::copy(ca, &authority).context("copy the lab's authority")?;

        // A setting of `go telemetry`, no variable: else go leaves a process behind that writes counters.
        let home = folder("home")?;
        let telemetry = home.join(".config/go/telemetry");
        fs::create_dir_all(&telemetry).context("create a folder for go's telemetry")?;
        fs::write(telemetry.join("mode"), "off").context("turn go's telemetry off")?;

        let sumdb =
            if options.sumdb_direct { format!("{sumdb} https://{sumdb_host}") } else { sumdb.to_owned() };
        let mut env: Vec<(String, OsString)> = vec![
            ("PATH".into(), std::env::var_os("PATH").unwrap_or_default()),
            ("HOME".into(), home.into()),
            ("GOPATH".into(), folder("gopath")?.into()),
            ("GOMODCACHE".into(), folder("modcache")?.into()),
            ("GOCACHE".into(), folder("gocache")?.into()),
            ("GOPROXY".into(), format!("https://{proxy}").into()),
            ("GOSUMDB".into(), sumdb.into()),
            ("GOFLAGS".into(), "-modcacherw".into()),
            ("GOTOOLCHAIN".into(), "local".into()),
            ("GOENV".into(), "off".into()),
            ("GOWORK".into(), "off".into()),
            ("SSL_CERT_FILE".into(), authority.into()),
            // Else go reads the machine's certificates too, and its start depends on their number.
            ("SSL_CERT_DIR".into(), folder("certificates")?.into()),
        ];
        if options.http1 {
            env.push(("GODEBUG".into(), "http2client=0".into()));
        }
        if let Some(n) = options.gomaxprocs {
            env.push(("GOMAXPROCS".into(), n.to_string().into()));
        }
        env.extend(options.env.iter().map(|(name, value)| (name.clone(), value.into())));
        Ok(Self { dir, env })
    }

    /// The project's folder.
    pub fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    /// The module cache.
    pub fn modcache(&self) -> PathBuf {
        self.dir.path().join("modcache")
    }

    /// The folder that holds all the others; files put into it are removed with them.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Gives the folder and all that is in it to that user. Needs root.
    pub fn give_to(&self, uid: u32) -> Result<()> {
        fn give(path: &Path, uid: u32) -> Result<()> {
            lchown(path, Some(uid), Some(uid)).with_context(|| format!("give {} away", path.display()))?;
            if path.symlink_metadata()?.is_dir() {
                for entry in fs::read_dir(path)? {
                    give(&entry?.path(), uid)?;
                }
            }
            Ok(())
        }
        give(self.dir(), uid)
    }

    /// A file in the run's folder, by name; it need not be there.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command in the project's folder with exactly this run's environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.project()).env_clear();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// `go` with these arguments.
    pub fn go(&self, args: &[&str]) -> Command {
        let mut command = self.command("go");
        command.args(args);
        command
    }
}
