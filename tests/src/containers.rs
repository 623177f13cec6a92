//! Containers as far as the kernel knows them: mount, pid, network and uts namespaces of their
//! own. In goes a lab with [`Place::Veth`](crate::net::Place), out come places where commands
//! reach its servers and see no process but each other.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::sethostname;

use crate::lab::Lab;
use crate::net::on_a_thread;

/// One container. It ends with this value, and with this process: its first process reads a pipe
/// of ours to the end, and all others end with that one.
#[derive(Debug)]
pub struct Container {
    init: Child,
    spaces: Vec<(OwnedFd, CloneFlags)>,
}

impl Container {
    /// Starts a container; `number` (1 to 60) makes its addresses. Needs root.
    pub fn start(lab: &Lab, number: u8) -> Result<Self> {
        let network = lab.net.another(number)?;
        let init = on_a_thread(|| {
            setns(&network, CloneFlags::CLONE_NEWNET).context("enter a container's network")?;
            let kinds = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWUTS;
            unshare(kinds).context("make a container's namespaces")?;
            sethostname(OsStr::new(&format!("container-{number}"))).context("name a container")?;
            lab.net.bind_resolv()?;
            Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .context("start a container's first process")
        })?;
        let space = |name: &str| {
            let path = format!("/proc/{}/ns/{name}", init.id());
            File::open(&path).with_context(|| format!("open {path}")).map(OwnedFd::from)
        };
        let spaces = vec![
            (space("uts")?, CloneFlags::CLONE_NEWUTS),
            (space("pid")?, CloneFlags::CLONE_NEWPID),
            (network, CloneFlags::CLONE_NEWNET),
            (space("mnt")?, CloneFlags::CLONE_NEWNS),
        ];
        let container = Self { init, spaces };
        container.inside(|| {
            let (proc, none) = (Some(Path::new("proc")), None::<&Path>);
            mount(proc, Path::new("/proc"), proc, MsFlags::empty(), none).context("mount a container's /proc")
        })??;
        Ok(container)
    }

    /// Runs `inside` on a thread whose children are in the container.
    pub fn inside<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T> {
        on_a_thread(|| {
            // A mount namespace cannot be entered while other threads share the working folder.
            unshare(CloneFlags::CLONE_FS).context("part from the other threads' folder")?;
            for (space, kind) in &self.spaces {
                setns(space, *kind).context("enter a container")?;
            }
            Ok(inside())
        })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.init.stdin.take()); // the end of its input is its end
        let _ = self.init.wait();
    }
}
