//! A local stub resolver between the lab's commands and its name server: dnsmasq, which goes when
//! its handle is dropped.

use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::Result;

use crate::lab::Lab;
use crate::wait;

/// A running dnsmasq.
#[derive(Debug)]
pub struct Dnsmasq {
    child: Child,
    /// Where it listens, at port 53
    pub address: Ipv4Addr,
}

impl Dnsmasq {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // It may have ended by itself; what it forked ends with its connection.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lab {
    /// Starts dnsmasq before the lab's name server, and has commands ask it. It keeps
    /// `cache_size` answers, also empty ones. With `forks` it handles each TCP connection in a
    /// child.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn dnsmasq(&self, cache_size: u32, forks: bool) -> Result<Dnsmasq> {
        let address = self.net.local_resolver();
        let mut command = Command::new("dnsmasq");
        command.args(["--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"]);
        command.args(["--user=root", "--pid-file", "--neg-ttl=60"]);
        command.arg(if forks { "--keep-in-foreground" } else { "--no-daemon" });
        command.arg(format!("--listen-address={address}"));
        command.arg(format!("--server={}#53", self.net.dns));
        command.arg(format!("--cache-size={cache_size}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let dnsmasq = Dnsmasq { child: self.spawn(&mut command)?, address };
        wait::until("dnsmasq to listen", || {
            self.net.inside(|| TcpStream::connect((address, 53)).ok()).ok().flatten()
        });
        self.net.ask(address)?;
        Ok(dnsmasq)
    }
}
