//! What stands between ssh and its login, with delays: an agent that answers late, and a way on which the
//! server's greeting comes late. For labs on loopback addresses.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;

use crate::lab::Lab;
use crate::{lock, paths};

/// Where sshd is reached with a late greeting.
const DELAYED_PORT: u16 = 2222;
/// `SSH_AGENTC_REQUEST_IDENTITIES`, `SSH_AGENT_IDENTITIES_ANSWER` without any, `SSH_AGENT_FAILURE`, each with
/// its length in front where it is an answer (draft-ietf-sshm-ssh-agent, 3 and 4).
const LIST: u8 = 11;
const NOTHING: &[u8] = &[0, 0, 0, 5, 12, 0, 0, 0, 0];
const FAILURE: &[u8] = &[0, 0, 0, 1, 5];
/// Longest message that is read.
const MESSAGE_MAX: usize = 1 << 16;

/// How long something takes, from now on.
type Delay = Arc<Mutex<Duration>>;

/// An ssh agent without keys; its socket goes when this is dropped.
#[derive(Debug)]
pub struct Agent {
    dir: TempDir,
    delay: Delay,
}

impl Agent {
    /// One that answers at once.
    pub fn start() -> Result<Self> {
        let dir = paths::temp("goobserve-agent-").context("make a folder for an ssh agent")?;
        let delay = Delay::default();
        let listener = UnixListener::bind(dir.path().join("socket")).context("listen as an ssh agent")?;
        let of = Arc::clone(&delay);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let delay = Arc::clone(&of);
                // Whoever hangs up has what it wanted.
                thread::spawn(move || drop(serve(stream, &delay)));
            }
        });
        Ok(Self { dir, delay })
    }

    /// What `SSH_AUTH_SOCK` is to be.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// How long it takes from now on to say which keys it has.
    pub fn set_delay(&self, delay: Duration) {
        *lock(&self.delay) = delay;
    }
}

fn serve(mut stream: UnixStream, delay: &Delay) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        let mut message = vec![0; length.min(MESSAGE_MAX)];
        stream.read_exact(&mut message)?;
        if message.first() == Some(&LIST) {
            thread::sleep(*lock(delay));
            stream.write_all(NOTHING)?;
        } else {
            stream.write_all(FAILURE)?;
        }
    }
}

/// A way to sshd.
#[derive(Debug)]
pub struct DelayedGreeting {
    delay: Delay,
}

impl DelayedGreeting {
    /// How long it takes from now on until the server hears of a connection.
    pub fn set_delay(&self, delay: Duration) {
        *lock(&self.delay) = delay;
    }

    /// What ssh needs to take that way.
    pub fn option(&self) -> String {
        format!("-o Port={DELAYED_PORT}")
    }
}

impl Lab {
    /// Another port of [`crate::lab::SSH_HOST`] that leads to its sshd.
    pub fn delayed_greeting(&self) -> Result<DelayedGreeting> {
        let address = self.net.free(6);
        let listener = self.net.serve(address, DELAYED_PORT)?;
        let delay = Delay::default();
        let of = Arc::clone(&delay);
        let _entered = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.runtime.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let delay = *lock(&of);
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let server = SocketAddr::from((address, 22));
                    // Either side may hang up: that is the end of it.
                    if let Ok(mut server) = tokio::net::TcpStream::connect(server).await {
                        let _ = copy_bidirectional(&mut stream, &mut server).await;
                    }
                });
            }
        });
        Ok(DelayedGreeting { delay })
    }
}

/// Gives the key in that file a passphrase, which ssh then asks for.
pub fn protect(key: &Path, passphrase: &str) -> Result<()> {
    let mut command = std::process::Command::new("ssh-keygen");
    command.args(["-q", "-p", "-P", "", "-N", passphrase, "-f"]).arg(key);
    let output = command.output().context("run ssh-keygen")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
