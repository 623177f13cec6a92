//! TCP handshakes as tshark sees them on loopback. In goes a capture filter, out come the times
//! of SYN and SYN-ACK by the client's address. Only these packets are captured: no load.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a packet may take to be shown.
const LIMIT: Duration = Duration::from_secs(20);

/// A handshake, `CLOCK_REALTIME`, nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handshake {
    /// The first SYN
    pub syn_ns: Option<u64>,
    /// The answer to it
    pub syn_ack_ns: Option<u64>,
}

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    tshark: Child,
    lines: Receiver<String>,
    seen: HashMap<SocketAddr, Handshake>,
    /// Connecting here shows whether the capture is at work, and how far it has come.
    mark: TcpListener,
}

impl Capture {
    /// Starts to capture handshakes with `server`; returns when the capture is at work.
    pub fn start(server: Ipv4Addr) -> Result<Self> {
        let mark = TcpListener::bind((Ipv4Addr::new(127, 77, 255, 1), 0)).context("listen on loopback")?;
        let SocketAddr::V4(at) = mark.local_addr()? else { bail!("an address of IPv4 was asked for") };
        let filter = format!(
            "tcp[tcpflags] & tcp-syn != 0 and (host {server} or (host {} and port {}))",
            at.ip(),
            at.port()
        );
        let fields = ["frame.time_epoch", "ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "tcp.flags.ack"];
        let mut tshark = Command::new("tshark");
        tshark.args(["-i", "lo", "-l", "-n", "-q", "-P", "-f", &filter, "-T", "fields"]);
        tshark.args(fields.iter().flat_map(|field| ["-e", field]));
        tshark.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut tshark = tshark.spawn().context("start tshark (Debian's package tshark)")?;
        let output = tshark.stdout.take().context("tshark's output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            let read = BufReader::new(output).lines().map_while(Result::ok);
            let _ = read.into_iter().try_for_each(|line| sender.send(line));
        });
        let mut capture = Self { tshark, lines, seen: HashMap::new(), mark };
        capture.sync()?;
        Ok(capture)
    }

    /// The handshakes since the last call, by the client's address.
    pub fn take(&mut self) -> Result<HashMap<SocketAddr, Handshake>> {
        self.sync()?;
        Ok(std::mem::take(&mut self.seen))
    }

    /// Reads until a connection made now is seen.
    fn sync(&mut self) -> Result<()> {
        let limit = Instant::now() + LIMIT;
        while Instant::now() < limit {
            let client = TcpStream::connect(self.mark.local_addr()?).context("connect over loopback")?;
            self.mark.accept().context("accept over loopback")?;
            let client = client.local_addr()?;
            let again = Instant::now() + Duration::from_millis(500);
            loop {
                match self.lines.recv_timeout(again.saturating_duration_since(Instant::now())) {
                    Ok(line) => {
                        self.line(&line);
                        if self.seen.get(&client).is_some_and(|seen| seen.syn_ack_ns.is_some()) {
                            return Ok(());
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => bail!("tshark ended: does it run as this user?"),
                }
            }
        }
        bail!("tshark showed no packet of a connection over loopback")
    }

    fn line(&mut self, line: &str) {
        if let Some((client, time, answer)) = parse(line) {
            let seen = self.seen.entry(client).or_default();
            let place = if answer { &mut seen.syn_ack_ns } else { &mut seen.syn_ns };
            *place = place.or(Some(time));
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // SIGTERM, so that tshark ends its own child, which captures.
        let pid = nix::unistd::Pid::from_raw(self.tshark.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.tshark.wait();
    }
}

/// The client, the time, and whether it is the SYN-ACK.
fn parse(line: &str) -> Option<(SocketAddr, u64, bool)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [time, src, src_port, dst, dst_port, ack] = fields[..] else { return None };
    let (seconds, fraction) = time.split_once('.')?;
    let nanos: u64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let answer = matches!(ack, "1" | "True");
    let (address, port) = if answer { (dst, dst_port) } else { (src, src_port) };
    let client = SocketAddrV4::new(address.parse().ok()?, port.parse().ok()?);
    Some((client.into(), seconds.parse::<u64>().ok()? * 1_000_000_000 + nanos, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_packets_of_a_handshake_belong_to_the_client() {
        let client: SocketAddr = "127.0.0.1:40000".parse().unwrap();
        let syn = "1700000000.000001500\t127.0.0.1\t40000\t127.77.1.2\t443\tFalse";
        let answer = "1700000000.1\t127.77.1.2\t443\t127.0.0.1\t40000\t1";
        assert_eq!(parse(syn), Some((client, 1_700_000_000_000_001_500, false)));
        assert_eq!(parse(answer), Some((client, 1_700_000_000_100_000_000, true)));
        assert_eq!(parse("Capturing on lo"), None);
    }
}
