//! The remedy `dns-cache`: a caching name server beside one command. In: the command's user, and the resolv.conf
//! that it would have. Out: the resolv.conf with that server alone, for as long as the value lives.
//!
//! It is `goobserve serve dns` ([`super::server`]) at a loopback address that nobody else listens at. Port 53 is
//! root's, so the sockets are made here and handed over.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};

use model::remedy::Remedies;
use model::user_error::UserError;
use resolver::resolv_conf::Servers;

use super::Invoker;
use super::server::Server;
use crate::unique;

/// Where name servers listen.
const PORT: u16 = 53;
/// Addresses that are tried.
const TRIES: usize = 16;

/// A running resolver. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Resolver {
    _server: Server,
}

impl Resolver {
    /// Starts it, and says what the command's resolv.conf is.
    pub(super) fn start(invoker: &Invoker, text: &str) -> Result<(Self, String), UserError> {
        let (address, udp, tcp) = listen().map_err(|error| {
            UserError::new(
                format!("cannot listen on port {PORT} of a loopback address: {error}"),
                "leave dns-cache out; port 53 takes root outside of a user namespace",
            )
        })?;
        let mut arguments: Vec<OsString> = ["dns", "--for-command", "--sockets"].map(Into::into).to_vec();
        arguments.push(format!("{},{}", udp.as_raw_fd(), tcp.as_raw_fd()).into());
        for server in Servers::parse(text).addresses {
            arguments.extend(["--server".into(), server.to_string().into()]);
        }
        let spawned = Server::spawn(invoker, &invoker.env, &arguments, &[udp.as_fd(), tcp.as_fd()]);
        let mut server = spawned.map_err(|error| {
            UserError::new(
                format!("cannot start the resolver: {error}"),
                "check the limit on processes (ulimit -u)",
            )
        })?;
        server.line("nameserver ").ok_or_else(|| {
            UserError::new("the resolver did not start", "leave it out, or try goobserve serve dns")
        })?;
        Ok((Self { _server: server }, Remedies::with_name_server(text, address.into())))
    }
}

/// Both sockets at port 53 of an address that is free. Whoever listens at all addresses has them all.
fn listen() -> io::Result<(Ipv4Addr, UdpSocket, TcpListener)> {
    let mut failed = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        // 127.64.0.0/10: away from what others choose (127.0.0.53, 127.0.1.1).
        let address = Ipv4Addr::from_bits(0x7f40_0001 | (unique::random() as u32 & 0x003f_fffe));
        let at = SocketAddrV4::new(address, PORT);
        match UdpSocket::bind(at).and_then(|udp| Ok((udp, TcpListener::bind(at)?))) {
            Ok((udp, tcp)) => return Ok((address, udp, tcp)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => failed = error,
            Err(error) => return Err(error),
        }
    }
    Err(failed)
}
