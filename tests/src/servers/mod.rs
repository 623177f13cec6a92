//! Real servers between the commands and the lab's module proxy: module proxies that ask it, and forward
//! proxies. In go a lab and one of [`ALL`], out come the running server and the variables that lead go
//! commands to it.

mod list;

use std::fs::{self, File, Permissions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

pub use self::list::{ALL, Role, Software};
use crate::forward::FORWARD_PORT;
use crate::lab::{FORWARD_HOST, FRONT_HOST, Lab, PLAIN_PORT, PROXY_HOST};
use crate::{paths, wait};

/// One written in Python takes seconds.
const START: Duration = Duration::from_secs(20);
/// How long a server that was asked to end may take: squid removes its files in shared memory only then.
const END: Duration = Duration::from_secs(10);

/// A running server; it ends when this is dropped, with all of its processes.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    env: Vec<(String, String)>,
    dir: TempDir,
}

impl Software {
    /// Why it cannot be started here.
    pub fn missing(&self) -> Option<String> {
        let program = self.program?;
        paths::program(program).is_none().then(|| format!("needs {program} (package {})", self.package))
    }

    /// Where it listens.
    fn port(&self) -> u16 {
        match self.role {
            Role::Front { plain: false } => 443,
            Role::Front { plain: true } => 80,
            Role::Forward(_) | Role::ForwardPlain | Role::Bump => FORWARD_PORT,
        }
    }

    /// Variables that lead go commands to it.
    fn env(&self) -> Vec<(String, String)> {
        let forward = |scheme: &str| format!("{scheme}://{FORWARD_HOST}:{FORWARD_PORT}");
        let pairs: Vec<(&str, String)> = match self.role {
            Role::Front { .. } if self.program.is_none() => {
                vec![("GOPROXY", format!("http://{PROXY_HOST}:{PLAIN_PORT}"))]
            }
            Role::Front { plain: false } => vec![("GOPROXY", format!("https://{FRONT_HOST}"))],
            Role::Front { plain: true } => vec![("GOPROXY", format!("http://{FRONT_HOST}"))],
            Role::Forward(scheme) => vec![("HTTPS_PROXY", forward(scheme))],
            Role::Bump => vec![("HTTPS_PROXY", forward("http"))],
            Role::ForwardPlain => vec![
                ("HTTP_PROXY", forward("http")),
                ("GOPROXY", format!("http://{PROXY_HOST}:{PLAIN_PORT}")),
            ],
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Server {
    /// Starts it in a lab on loopback whose module proxy listens in plain http, too, and waits until it
    /// listens.
    pub fn start(lab: &Lab, software: &Software) -> Result<Self> {
        let dir = paths::temp("goobserve-server-").context("make a server's folder")?;
        let Some(program) = software.program else {
            return Ok(Self { child: None, env: software.env(), dir });
        };
        // Most of them give root up before they write there.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).context("open a server's folder")?;
        let write = |name: &str, text: &str| -> Result<()> {
            fs::write(dir.path().join(name), text).with_context(|| format!("write a server's {name}"))
        };
        let [ca, ca_key, certificate, key] = lab.certificates();
        write("authority.pem", &format!("{ca}{ca_key}"))?;
        write("certificate.pem", certificate)?;
        write("key.pem", key)?;
        write("both.pem", &format!("{certificate}{key}"))?;
        let fill = |text: &str| filled(text, lab, software, dir.path());
        write("settings", &fill(software.settings))?;

        let said = || {
            let file = File::options().create(true).append(true).open(dir.path().join("said"));
            file.context("make a file for what a server says")
        };
        if !software.prepare.is_empty() {
            let mut prepare = Command::new("/bin/sh");
            prepare.arg("-c").arg(fill(software.prepare)).stdin(Stdio::null());
            let status = prepare.stdout(said()?).stderr(said()?).status().context("run a shell")?;
            ensure!(status.success(), "{} ended with {status}", fill(software.prepare));
        }
        let mut command = Command::new(program);
        command.args(fill(software.args).split(' ').filter(|word| !word.is_empty()));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", dir.path());
        command.current_dir(dir.path()).process_group(0).stdin(Stdio::null());
        let child = lab.spawn(command.stdout(said()?).stderr(Stdio::from(said()?)))?;
        let mut server = Self { child: Some(child), env: software.env(), dir };
        let address = SocketAddr::from((lab.front(), software.port()));
        let listens = wait::within(START, || {
            server.has_ended().or_else(|| TcpStream::connect(address).is_ok().then_some(false))
        });
        if listens != Some(false) {
            let said = fs::read_to_string(server.dir.path().join("said")).unwrap_or_default();
            bail!("{} does not listen at {address}: {said}", software.name);
        }
        Ok(server)
    }

    /// Variables that lead go commands to it.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    fn has_ended(&mut self) -> Option<bool> {
        matches!(self.child.as_mut()?.try_wait(), Ok(Some(_))).then_some(true)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let group = Pid::from_raw(child.id() as i32);
        // Whoever is left after a while; a group without processes is no error here.
        let _ = killpg(group, Signal::SIGTERM);
        let _ = wait::within(END, || matches!(child.try_wait(), Ok(Some(_))).then_some(()));
        let _ = killpg(group, Signal::SIGKILL);
        let _ = child.wait();
    }
}

/// Settings and arguments with the lab's addresses and the server's files in their places.
fn filled(text: &str, lab: &Lab, software: &Software, dir: &Path) -> String {
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let http2 = if software.name.ends_with("-http1") { "" } else { " http2" };
    [
        ("@address@", lab.front().to_string()),
        ("@backend@", format!("{}:{PLAIN_PORT}", lab.net.proxy)),
        ("@service@", format!("lab{}", std::process::id())),
        ("@http2@", http2.to_owned()),
        ("@ca@", lab.ca().to_string_lossy().into_owned()),
        ("@authority@", file("authority.pem")),
        ("@certificate@", file("certificate.pem")),
        ("@key@", file("key.pem")),
        ("@both@", file("both.pem")),
        ("@settings@", file("settings")),
        ("@dir@", dir.to_string_lossy().into_owned()),
    ]
    .iter()
    .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        for software in ALL {
            assert_eq!(
                ALL.iter().filter(|other| other.name == software.name).count(),
                1,
                "{}",
                software.name
            );
        }
    }

    #[test]
    fn a_program_that_is_nowhere_is_missing() {
        let software = Software { program: Some("no-such-server"), package: "none", ..ALL[0] };
        assert_eq!(software.missing().as_deref(), Some("needs no-such-server (package none)"));
    }
}
