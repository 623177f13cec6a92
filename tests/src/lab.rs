//! The lab as a whole: servers, addresses and the commands that run among them. A test starts
//! one, runs go commands in it, reads the servers' logs and drops it.

use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_rustls::rustls::ServerConfig;

use crate::dns::Dns;
use crate::go_env::{GoOptions, GoRun};
use crate::net::{Net, Place};
use crate::paths;
use crate::proxy::Proxy;
use crate::skip;
use crate::store::Store;
use crate::tls::Authority;

/// Host of the module proxy.
pub const PROXY_HOST: &str = "proxy.test";
/// Another name of the module proxy: a proxy with the same modules.
pub const MIRROR_HOST: &str = "mirror.test";
/// Host of the checksum database, when it is asked directly.
pub const SUMDB_HOST: &str = "sumdb.test";
/// Host of git repositories over https; see [`crate::git`].
pub const GIT_HOST: &str = "git.test";
/// Another host of git repositories over https.
pub const CODE_HOST: &str = "code.test";
/// Host of git repositories over ssh.
pub const SSH_HOST: &str = "ssh.test";
/// Host of the forward proxy; see [`crate::forward`].
pub const FORWARD_HOST: &str = "forward.test";
/// Host of a module proxy that asks the lab's; see [`crate::servers`].
pub const FRONT_HOST: &str = "front.test";
/// A host that resets every connection.
pub const RESET_HOST: &str = "reset.test";
/// A host at which nothing listens.
pub const REFUSED_HOST: &str = "refused.test";
/// Where the module proxy speaks plain http, once [`Lab::plain_http`] was called.
pub const PLAIN_PORT: u16 = 8080;
/// A command that takes longer is killed: something in the lab hangs.
const LIMIT: Duration = Duration::from_mins(3);

/// A running lab. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Lab {
    /// The module proxy and checksum database
    pub proxy: Proxy,
    /// The name server
    pub dns: Dns,
    /// Where they are
    pub net: Net,
    names: HashMap<String, Ipv4Addr>,
    store: Arc<Store>,
    ca: PathBuf,
    pub(crate) authority: Authority,
    pub(crate) tls: Arc<ServerConfig>,
    _dir: TempDir,
    pub(crate) runtime: Runtime,
}

impl Lab {
    /// Starts a lab on loopback addresses. Needs root; the network, when no lab was ever
    /// started in this build folder.
    pub fn start() -> Result<Self> {
        Self::start_in(Place::Loopback)
    }

    /// Starts a lab. See [`Self::start`].
    pub fn start_in(place: Place) -> Result<Self> {
        let store = Store::shared()?;
        let dir = paths::temp("goobserve-lab-").context("make the lab's folder")?;
        let authority = Authority::new(&[
            PROXY_HOST,
            MIRROR_HOST,
            SUMDB_HOST,
            GIT_HOST,
            CODE_HOST,
            FORWARD_HOST,
            FRONT_HOST,
        ])?;
        let ca = dir.path().join("ca.pem");
        fs::write(&ca, &authority.pem).context("write the lab's authority")?;

        let (net, sockets) = Net::open(place, dir.path())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("lab")
            .enable_all()
            .build()
            .context("start the lab's runtime")?;
        let names: HashMap<String, Ipv4Addr> = HashMap::from(
            [
                (PROXY_HOST, net.proxy),
                (MIRROR_HOST, net.proxy),
                (SUMDB_HOST, net.sumdb),
                (GIT_HOST, net.free(5)),
                (CODE_HOST, net.free(5)),
                (SSH_HOST, net.free(6)),
                (RESET_HOST, net.free(7)),
                (REFUSED_HOST, net.free(8)),
                (FORWARD_HOST, net.free(9)),
                (FRONT_HOST, net.free(9)),
            ]
            .map(|(name, address)| (name.to_owned(), address)),
        );
        let tls = Arc::clone(&authority.server);
        let (dns, proxy) = {
            let _entered = runtime.enter();
            let dns = Dns::start(sockets.dns_udp, sockets.dns_tcp, names.clone())?;
            let listeners = vec![sockets.proxy, sockets.sumdb];
            (dns, Proxy::start(listeners, Arc::clone(&tls), Arc::clone(&store), SUMDB_HOST)?)
        };
        Ok(Self { proxy, dns, net, names, store, ca, authority, tls, _dir: dir, runtime })
    }

    /// Starts a lab for that test; `None`, and the test is reported as skipped, without root.
    ///
    /// # Panics
    /// When the lab cannot be started although it should.
    pub fn for_test(test: &str) -> Option<Self> {
        Self::for_test_in(test, Place::Loopback)
    }

    /// As [`Self::for_test`], in that place.
    ///
    /// # Panics
    /// When the lab cannot be started although it should.
    pub fn for_test_in(test: &str, place: Place) -> Option<Self> {
        skip::is_root(test)
            .then(|| Self::start_in(place).unwrap_or_else(|error| panic!("the lab: {error:#}")))
    }

    /// The PEM file of the lab's authority.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// PEM of the authority's certificate and key, and of the servers', which is of all of the lab's hosts.
    pub fn certificates(&self) -> [&str; 4] {
        let Authority { pem, key_pem, certificate_pem, certificate_key_pem, .. } = &self.authority;
        [pem, key_pem, certificate_pem, certificate_key_pem]
    }

    /// Where [`FORWARD_HOST`] and [`FRONT_HOST`] are.
    pub(crate) const fn front(&self) -> Ipv4Addr {
        self.net.free(9)
    }

    /// The address that the name server knows of that host.
    pub fn address(&self, host: &str) -> Option<Ipv4Addr> {
        self.names.get(host).copied()
    }

    /// All names that the name server knows.
    pub(crate) const fn names(&self) -> &HashMap<String, Ipv4Addr> {
        &self.names
    }

    /// Has the module proxy listen in plain http, too: the URL that GOPROXY is to have.
    pub fn plain_http(&self) -> Result<String> {
        let listener = self.net.serve(self.net.proxy, PLAIN_PORT)?;
        let _entered = self.runtime.enter();
        self.proxy.serve_plain(listener)?;
        Ok(format!("http://{PROXY_HOST}:{PLAIN_PORT}"))
    }

    /// What the proxy serves.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The same, for another proxy of it.
    pub(crate) fn shared_store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// A project with fresh caches whose environment leads to this lab.
    pub fn go_run(&self, options: &GoOptions) -> Result<GoRun> {
        GoRun::new(PROXY_HOST, SUMDB_HOST, self.store.sumdb(), &self.ca, options)
    }

    /// Spawns the command where it sees the lab's network and name server.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        let name = command.get_program().to_owned();
        self.net.inside(|| command.spawn())?.with_context(|| format!("start {}", name.display()))
    }

    /// Runs the command to its end in a process group of its own, with no input and captured
    /// output; kills the group and fails when it takes more than three minutes.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = self.spawn(command)?;
        let group = Pid::from_raw(child.id() as i32);
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        if let Ok(output) = receiver.recv_timeout(LIMIT) {
            return output.context("wait for a command in the lab");
        }
        // It may have ended this instant; then there is nobody to kill.
        let _ = killpg(group, Signal::SIGKILL);
        bail!("{command:?} was killed after {LIMIT:?}")
    }
}
