//! Git repositories on hosts of the lab, for `GOPROXY=direct`: over https, where git's dumb
//! protocol is files and no more, and over ssh, with a real sshd. Also a host that resets.
//!
//! For labs on loopback addresses; all but sshd also for labs on a wire.

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use hyper::body::Bytes;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use crate::lab::{CODE_HOST, GIT_HOST, Lab, RESET_HOST, SSH_HOST};
use crate::proxy::Proxy;
use crate::store::Store;
use crate::{paths, wait};

/// Version of every module here.
pub const VERSION: &str = "v1.0.0";

/// A module in a git repository.
#[derive(Debug)]
pub struct Repository {
    dir: TempDir,
}

impl Repository {
    /// A bare repository with one commit, tagged [`VERSION`]: a module of that path.
    pub fn of_module(module: &str) -> Result<Self> {
        let dir = paths::temp("goobserve-git-").context("make a folder for a git repository")?;
        let work = dir.path().join("work");
        fs::create_dir(&work)?;
        fs::write(work.join("go.mod"), format!("module {module}\n\ngo 1.21\n"))?;
        fs::write(work.join("lib.go"), "package lib\n")?;
        let repository = Self { dir };
        for line in
            ["init -q -b main", "add .", "commit -q -m first", "tag v1.0.0", "clone -q --bare . ../lib.git"]
        {
            git(&work, line)?;
        }
        git(&repository.path(), "update-server-info")?;
        Ok(repository)
    }

    /// The bare repository.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("lib.git")
    }
}

/// Git with nobody's settings.
fn git(at: &Path, line: &str) -> Result<()> {
    let mut command = Command::new("git");
    command.current_dir(at).args(["-c", "user.name=lab", "-c", "user.email=lab@git.test"]);
    command.args(line.split(' ')).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output().context("run git")?;
    ensure!(output.status.success(), "git {line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Files of a folder by their path below it.
fn files(folder: &Path, prefix: &str, into: &mut HashMap<String, Bytes>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            files(&entry.path(), &name, into)?;
        } else {
            into.insert(name, fs::read(entry.path())?.into());
        }
    }
    Ok(())
}

/// What `?go-get=1` answers.
fn page(module: &str, url: &str) -> Bytes {
    format!("<html><head><meta name=\"go-import\" content=\"{module} git {url}\"></head></html>").into()
}

/// A module at that host, with its repository there.
fn library(host: &str, name: &str, served: &mut HashMap<String, Bytes>) -> Result<()> {
    let module = format!("{host}/{name}");
    files(&Repository::of_module(&module)?.path(), &format!("{name}.git"), served)?;
    served.insert(name.to_owned(), page(&module, &format!("https://{module}.git")));
    Ok(())
}

impl Lab {
    /// Serves at [`GIT_HOST`]: `lib`, a module whose repository is there too; `over-ssh`, whose
    /// repository is `ssh` at [`SSH_HOST`]; `reset`, whose repository is at [`RESET_HOST`]. At
    /// [`CODE_HOST`], which is the same server: `tool`, a module with its repository.
    pub fn git_host(&self, ssh: Option<&Repository>) -> Result<Proxy> {
        let mut served = HashMap::new();
        library(GIT_HOST, "lib", &mut served)?;
        library(CODE_HOST, "tool", &mut served)?;
        let mut point = |name: &str, url: String| {
            served.insert(name.to_owned(), page(&format!("{GIT_HOST}/{name}"), &url));
        };
        point("reset", format!("https://{RESET_HOST}/lib.git"));
        if let Some(ssh) = ssh {
            point("over-ssh", format!("ssh://root@{SSH_HOST}{}", ssh.path().display()));
        }
        self.git_files(served)
    }

    /// Serves modules of these names at [`GIT_HOST`], each with a repository of its own there.
    pub fn git_libraries(&self, names: &[&str]) -> Result<Proxy> {
        let mut served = HashMap::new();
        names.iter().try_for_each(|name| library(GIT_HOST, name, &mut served))?;
        self.git_files(served)
    }

    fn git_files(&self, served: HashMap<String, Bytes>) -> Result<Proxy> {
        let listener = self.net.serve(self.net.free(5), 443)?;
        let _entered = self.runtime.enter();
        let store = Arc::new(Store::new(String::new(), served));
        Ok(Proxy::start(vec![listener], Arc::clone(&self.tls), store, "no sumdb")?)
    }

    /// Resets every connection to [`RESET_HOST`] once the client has said hello.
    pub fn reset_host(&self) -> Result<()> {
        let listener = self.net.serve(self.net.free(7), 443)?;
        let _entered = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.runtime.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // The hello has come: what is closed now with no time to linger is reset.
                let _ = stream.read(&mut [0; 16]).await;
                let _ = stream.set_zero_linger();
            }
        });
        Ok(())
    }

    /// An sshd at [`SSH_HOST`] that lets root in with a key of its own.
    ///
    /// # Panics
    /// When it does not listen.
    pub fn sshd(&self) -> Result<Sshd> {
        let dir = paths::temp("goobserve-ssh-").context("make a folder for sshd")?;
        for name in ["host", "user"] {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.path().join(name));
            let output = command.output().context("run ssh-keygen")?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let at = dir.path().display();
        let address = SocketAddr::from((self.net.free(6), 22));
        let config = format!(
            "ListenAddress {address}\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        );
        fs::write(dir.path().join("config"), config)?;
        // It wants a folder in /run, and its own program by its whole path. The mount is seen by
        // nobody else and ends with it.
        let script =
            "mount -t tmpfs none /run && mkdir /run/sshd && exec \"$(command -v sshd)\" -D -e -f \"$1\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(dir.path().join("config"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let sshd = Sshd { child: self.spawn(&mut command)?, dir };
        wait::until("sshd to listen", || TcpStream::connect(address).ok());
        Ok(sshd)
    }
}

/// A running sshd; it goes when this is dropped.
#[derive(Debug)]
pub struct Sshd {
    child: Child,
    dir: TempDir,
}

impl Sshd {
    /// The user's key.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("user")
    }

    /// `GIT_SSH_COMMAND` that leads to it and asks nobody.
    pub fn command(&self) -> String {
        format!("{} -o BatchMode=yes", self.asking())
    }

    /// The same, which may ask for the key's passphrase.
    pub fn asking(&self) -> String {
        let at = self.dir.path().display();
        format!(
            "ssh -F /dev/null -i {at}/user -o IdentitiesOnly=yes -o ControlMaster=no \
             -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        )
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Its children end with their connections.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
