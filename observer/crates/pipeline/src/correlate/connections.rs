//! TCP connections and the hellos on them.

mod preexisting;
mod tunnel;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::event::{Body, Mark, ResetMark, WindowMark};
use model::id::{CommandId, ConnectionId, TreeId};
use model::record::{AnsweredIn, Connection, ConnectionOutcome, NoWay, Side};
use model::time::{Ns, SinceStart};
use model::tunnel::TunnelProtocol;
use observer_common::{
    Handshake, Mark as WireMark, PAYLOAD_RECEIVED, Payload, SockMark, SockState, TcpInfo, TcpStats,
    UNKNOWN32, UNKNOWN64,
};
use preexisting::tcp_state;

use super::numbers::ByNumber;
use super::{Out, Owner};
use crate::decode::ssh::{Ssh, Step};
use crate::decode::tls_hello::{Alert, Hello, HelloBuffer, Progress};
use crate::decode::tunnel::Tunnel;

/// States of `include/net/tcp_states.h`.
mod state {
    pub(super) const ESTABLISHED: u8 = 1;
    pub(super) const SYN_SENT: u8 = 2;
    pub(super) const FIN_WAIT1: u8 = 4;
    pub(super) const FIN_WAIT2: u8 = 5;
    pub(super) const TIME_WAIT: u8 = 6;
    pub(super) const CLOSE: u8 = 7;
    pub(super) const CLOSE_WAIT: u8 = 8;
    pub(super) const CLOSING: u8 = 11;
}
/// Linux error numbers of a socket that ended.
mod errno {
    pub(super) const PERMITTED: u32 = 1;
    pub(super) const ACCESS: u32 = 13;
    pub(super) const NO_ADDRESS: u32 = 99;
    pub(super) const NETWORK_UNREACHABLE: u32 = 101;
    pub(super) const RESET: u32 = 104;
    pub(super) const TIMED_OUT: u32 = 110;
    pub(super) const REFUSED: u32 = 111;
    pub(super) const HOST_UNREACHABLE: u32 = 113;
}

/// That payload comes in is reported at most this often.
const PROGRESS_NS: Ns = 1_000_000_000;

/// Connections that are kept when they have ended.
const OVER_MAX: usize = 64;

struct Live {
    record: Connection,
    sent: HelloBuffer,
    received: HelloBuffer,
    /// What is spoken with a forward proxy, until its tunnel stands
    tunnel: Option<Tunnel>,
    /// How ssh begins on it
    ssh: Option<Ssh>,
    /// The peer has sent its last byte
    fin: bool,
    /// Go's handshake is probed: its end is known exactly
    probed: bool,
    /// The peer's window and ours were 0
    zero: (bool, bool),
    /// When a segment was last reported, and when that payload comes in
    info_ns: SinceStart,
    emitted_ns: SinceStart,
    /// It was there before it could be seen, in that tree
    preexisting: Option<TreeId>,
    /// Records were lost meanwhile
    gap: bool,
    /// The record has what was not reported, which alone is not worth it
    unreported: bool,
    /// What was reported of it is in doubt, for records were lost since
    in_doubt: bool,
}

impl Live {
    fn new(record: Connection, preexisting: Option<TreeId>) -> Self {
        let (sent, received) = <(HelloBuffer, HelloBuffer)>::default();
        Self {
            record,
            sent,
            received,
            tunnel: None,
            ssh: None,
            fin: false,
            probed: false,
            zero: (false, false),
            info_ns: SinceStart::ZERO,
            emitted_ns: SinceStart::ZERO,
            preexisting,
            gap: false,
            unreported: false,
            in_doubt: false,
        }
    }

    fn report(&mut self, out: &mut Out<'_>) {
        (self.unreported, self.in_doubt) = (false, false);
        out.push(Body::Connection(self.record.clone()));
    }
}

/// Every connection, by the kernel side's number.
pub(super) struct Connections {
    live: ByNumber<u64, Live>,
    /// Those that ended last: what had come by then is read behind a reset
    over: VecDeque<(u64, Connection)>,
    next: ConnectionId,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self { live: ByNumber::default(), over: VecDeque::new(), next: ConnectionId::FIRST }
    }

    /// `name`: by which the remote end was looked up.
    pub(super) fn state(
        &mut self,
        owner: Owner<'_>,
        event: &SockState,
        name: impl FnOnce() -> Option<String>,
        out: &mut Out<'_>,
    ) {
        if event.new == state::SYN_SENT {
            let record = Connection {
                command: owner.command,
                id: self.next.give(),
                pid: owner.pid,
                comm: owner.comm.to_owned(),
                remote: address(event.family, &event.remote.bytes(), event.remote_port),
                remote_name: name(),
                start_ns: out.at_ns,
                ..Connection::default()
            };
            out.push(Body::Connection(record.clone()));
            self.live.insert(event.conn, Live::new(record, None));
            return;
        }
        let Some(live) = self.live.get_mut(&event.conn) else { return };
        let record = &mut live.record;
        if event.local_port != 0 {
            // Not chosen yet, or given back already.
            record.local = address(event.family, &event.local.bytes(), event.local_port);
        }
        take(record, &event.stats);
        // The kernel counts the peer's FIN as a byte.
        live.fin |= matches!(event.new, state::CLOSE_WAIT | state::TIME_WAIT | state::CLOSING)
            || (event.old == state::FIN_WAIT2 && event.new == state::CLOSE && event.error == 0);
        if live.fin && event.stats.bytes_received != UNKNOWN64 {
            record.bytes_received = Some(event.stats.bytes_received.saturating_sub(1));
        }
        if let (Some(preexisting), Some(state)) = (&mut record.preexisting, tcp_state(event.new))
            && event.new == state::ESTABLISHED
        {
            // That it is being closed says nothing of what was waited for until then.
            preexisting.state = state;
        }
        if event.old == state::SYN_SENT && live.preexisting.is_none() {
            record.connect_ns = Some(out.at_ns.saturating_sub(record.start_ns));
        }
        let ended = record.end_ns.is_some();
        if event.new == state::CLOSE && event.old == state::SYN_SENT {
            record.end_ns = Some(out.at_ns);
            record.no_way = no_way(event.error);
            record.outcome = match event.error {
                _ if record.no_way.is_some() => ConnectionOutcome::Unreachable,
                errno::TIMED_OUT => ConnectionOutcome::TimedOut,
                // Given up by the process: it waited in vain, or needed it no longer.
                0 if record.syn_retransmits > 0 => ConnectionOutcome::TimedOut,
                0 => ConnectionOutcome::Unused,
                _ => ConnectionOutcome::Refused,
            };
        } else if event.new != state::ESTABLISHED && record.end_ns.is_none() {
            record.end_ns = Some(out.at_ns);
            // What a program without probes (git, curl) sent through it nobody knows.
            let none = record.requests == 0 && record.tls_start_ns.is_some() && live.probed && !live.gap;
            record.outcome = if none { ConnectionOutcome::Unused } else { ConnectionOutcome::Established };
        }
        record.closed_by = record.closed_by.or(match (event.old, event.new) {
            (state::ESTABLISHED, state::CLOSE_WAIT) => Some(Side::Peer),
            (state::ESTABLISHED, state::FIN_WAIT1) => Some(Side::Here),
            // Without a FIN: what the peer's reset leaves is an error.
            (state::ESTABLISHED, state::CLOSE) if event.error == errno::RESET => Some(Side::Peer),
            (state::ESTABLISHED, state::CLOSE) if event.error == 0 => Some(Side::Here),
            _ => None,
        });
        // A reset that answers a connection which was closed already takes nothing from it.
        if matches!(event.error, errno::RESET | errno::REFUSED) && event.old != state::SYN_SENT && !ended {
            record.outcome = ConnectionOutcome::Reset;
        }
        live.report(out);
        if event.new == state::CLOSE
            && let Some(live) = self.live.remove(&event.conn)
        {
            self.over.truncate(OVER_MAX - 1);
            self.over.push_front((event.conn, live.record));
        }
    }

    pub(super) fn mark(&mut self, event: &SockMark, out: &mut Out<'_>) {
        let Some(live) = self.live.get_mut(&event.conn) else { return };
        let record = &mut live.record;
        let (command, connection) = (record.command, record.id);
        if event.mark == WireMark::Retransmit as u32 {
            let syn = event.state == u32::from(state::SYN_SENT);
            if syn {
                record.syn_retransmits += 1;
            } else {
                record.retransmits += 1;
            }
            out.push(Body::Retransmission(Mark { command, connection, syn }));
        } else if event.mark == WireMark::AnsweredInTls as u32 {
            record.answered_in = Some(AnsweredIn::Tls);
        } else {
            record.resets += 1;
            let received = event.mark == WireMark::ResetReceived as u32;
            if received && event.state != u32::from(state::SYN_SENT) && record.end_ns.is_none() {
                record.outcome = ConnectionOutcome::Reset;
                record.end_ns = Some(out.at_ns);
                record.closed_by.get_or_insert(Side::Peer);
            }
            out.push(Body::Reset(ResetMark { command, connection, received }));
        }
        live.report(out);
    }

    pub(super) fn info(&mut self, event: &TcpInfo, out: &mut Out<'_>) {
        let Some(live) = self.live.get_mut(&event.conn) else { return };
        let record = &mut live.record;
        let before = (record.received_out_of_order, record.zero_windows);
        let received = record.bytes_received;
        take(record, &event.stats);
        // The count is that before this segment: what raised it came by the time of the last one.
        if record.bytes_received > received {
            record.received_ns = Some(live.info_ns).filter(|at_ns| *at_ns > SinceStart::ZERO);
        }
        live.info_ns = out.at_ns;
        let progress = record.received_ns.is_some_and(|at_ns| at_ns >= live.emitted_ns + PROGRESS_NS);
        let zero = (event.stats.snd_wnd == 0, event.stats.rcv_wnd == 0);
        let (command, connection) = (record.command, record.id);
        // Our window was closed by what came before; the peer's by this segment, which says so.
        let gap = Some(event.gap_ns).filter(|gap| *gap != UNKNOWN64);
        for (ours, was, is) in [(false, live.zero.0, zero.0), (true, live.zero.1, zero.1)] {
            if was != is {
                record.zero_windows += u32::from(is);
                let since_ns = gap.filter(|_| ours && is).map(|gap| out.at_ns.earlier_by(gap));
                out.push(Body::Window(WindowMark { command, connection, ours, zero: is, since_ns }));
            }
        }
        live.zero = zero;
        // Round-trip times and byte counts alone are reported with the next event that matters.
        if progress || before != (record.received_out_of_order, record.zero_windows) {
            live.emitted_ns = record.received_ns.unwrap_or(live.emitted_ns);
            live.report(out);
        } else {
            live.unreported = true;
        }
    }

    pub(super) fn hello(&mut self, flags: u16, payload: &Payload, bytes: &[u8], out: &mut Out<'_>) {
        let Some(live) = self.live.get_mut(&payload.conn) else { return };
        let received = flags & PAYLOAD_RECEIVED != 0;
        if tunnel::bytes(live, received, bytes, out.at_ns) {
            return live.report(out);
        }
        // What is inside a tunnel to a proxy that is spoken to over TLS nobody sees here.
        let hidden = live.record.tunnel.as_ref().is_some_and(|tunnel| tunnel.proxy_tls_ns.is_some());
        if hidden || live.tunnel.as_ref().is_some_and(|tunnel| !tunnel.is_over()) {
            return;
        }
        if !received && live.ssh.is_none() && live.sent.is_empty() && live.received.is_empty() {
            live.ssh = Ssh::begins(bytes);
        }
        if let Some(ssh) = &mut live.ssh {
            let steps = ssh.bytes(received, bytes, payload.len as usize);
            let record = &mut live.record;
            let spoken = record.ssh.get_or_insert_with(model::ssh::Ssh::default);
            for step in &steps {
                let at = match (step, received) {
                    (Step::Greeting, true) => &mut spoken.greeting_ns,
                    (Step::HostKey, true) => &mut spoken.host_key_ns,
                    (Step::NewKeys, false) => &mut spoken.accepted_ns,
                    _ => continue,
                };
                at.get_or_insert(out.at_ns);
            }
            let news = record.alpn.is_none() || !steps.is_empty();
            record.alpn.get_or_insert_with(|| "ssh".to_owned());
            if news {
                live.report(out);
            }
            return;
        }
        let buffer = if received { &mut live.received } else { &mut live.sent };
        let record = &mut live.record;
        // A client that writes again has read the server's part of the handshake. Without probes
        // (git, curl) nothing closer to its end can be seen.
        if !received && !live.probed && record.tls_version.is_some() && record.tls_ns.is_none() {
            record.tls_ns = record.tls_start_ns.map(|start| out.at_ns.saturating_sub(start));
            live.report(out);
            return;
        }
        let begins = received && buffer.is_empty();
        match buffer.push(bytes) {
            Progress::NotTls if begins && record.hello_bytes.is_some() => {
                let Some(spoken) = plain_text(bytes) else { return };
                record.answered_in = Some(spoken);
            }
            Progress::Done(Hello::Alert(alert)) if received && !live.probed => {
                record.alert.get_or_insert_with(|| alert.name().to_owned());
            }
            Progress::Done(Hello::Client(hello)) if record.hello_bytes.is_none() => {
                record.server_name = hello.server_name;
                // A record's header is 5 bytes, and a hello is one record unless it is huge.
                record.hello_bytes = u32::try_from(hello.size + 5).ok();
                record.alpn_offered = Some(hello.alpn);
                record.tls_start_ns.get_or_insert(out.at_ns);
            }
            Progress::Done(Hello::Server(hello)) if record.tls_version.is_none() => {
                record.tls_version = Some(hello.version);
                record.server_hello_ns = Some(out.at_ns);
            }
            _ => return,
        }
        live.report(out);
    }

    pub(super) fn handshake(&mut self, event: &Handshake, ended: bool, out: &mut Out<'_>) {
        let Some(live) = self.live.get_mut(&event.conn) else { return };
        let record = &mut live.record;
        if ended {
            record.tls_ns = record.tls_start_ns.map(|start| out.at_ns.saturating_sub(start));
            record.tls_failed = event.failed != 0;
        } else {
            live.probed = true;
            tunnel::second_handshake(record);
            record.tls_start_ns = Some(out.at_ns);
        }
        live.report(out);
    }

    /// The peer refused TLS, by an alert of that number.
    pub(super) fn alert(&mut self, event: &Handshake, out: &mut Out<'_>) {
        let over = self.over.iter_mut().find(|(conn, _)| *conn == event.conn).map(|(_, record)| record);
        let record = self.live.get_mut(&event.conn).map(|live| &mut live.record).or(over);
        let Some(record) = record else { return };
        let description = u8::try_from(event.failed).unwrap_or(u8::MAX);
        let name = Alert { level: 2, description }.name();
        record.alert.get_or_insert_with(|| name.to_owned());
        out.push(Body::Connection(record.clone()));
    }

    /// The connection carries one request more, of that protocol. Its number and command.
    pub(super) fn carries(
        &mut self,
        conn: u64,
        protocol: &str,
        request: bool,
        out: &mut Out<'_>,
    ) -> Option<ConnectionId> {
        let live = self.live.get_mut(&conn)?;
        let record = &mut live.record;
        record.requests += u32::from(request);
        let news = record.alpn.is_none();
        if news {
            record.alpn = Some(protocol.to_owned());
        }
        if news || live.in_doubt {
            live.report(out);
        } else {
            live.unreported = true; // the request itself says it
        }
        Some(live.record.id)
    }

    /// The peer said over HTTP/2 how many streams it allows, or that it takes no new ones.
    pub(super) fn peer_says(
        &mut self,
        conn: u64,
        stream_limit: Option<u32>,
        goaway: Option<String>,
        out: &mut Out<'_>,
    ) {
        let Some(live) = self.live.get_mut(&conn) else { return };
        let record = &mut live.record;
        let before = (record.stream_limit, record.goaway.clone());
        record.stream_limit = stream_limit.or(record.stream_limit);
        record.goaway = goaway.or(record.goaway.take());
        if before != (record.stream_limit, record.goaway.clone()) {
            live.report(out);
        }
    }

    /// A forward proxy that is spoken to over TLS is asked for a tunnel.
    pub(super) fn tunnel_asked(
        &mut self,
        conn: u64,
        target: Option<String>,
        at_ns: SinceStart,
        out: &mut Out<'_>,
    ) {
        if let Some(live) = self.live.get_mut(&conn) {
            tunnel::asked(&mut live.record, TunnelProtocol::Connect, target, at_ns);
            live.report(out);
        }
    }

    /// It has answered, with that status.
    pub(super) fn tunnel_answered(
        &mut self,
        conn: u64,
        status: Option<u16>,
        at_ns: SinceStart,
        out: &mut Out<'_>,
    ) {
        if let Some(live) = self.live.get_mut(&conn) {
            tunnel::answered(&mut live.record, status, at_ns);
            live.report(out);
        }
    }

    /// The connection's beginning was not seen. False when that was known.
    pub(super) fn joined_late(&mut self, conn: u64, out: &mut Out<'_>) -> bool {
        let Some(live) = self.live.get_mut(&conn) else { return true };
        let news = !std::mem::replace(&mut live.record.joined_late, true);
        if news {
            live.report(out);
        }
        news
    }

    /// So many requests of a connection were made before it was joined.
    pub(super) fn requests_missed(&mut self, conn: u64, requests: u32, out: &mut Out<'_>) {
        if let Some(live) = self.live.get_mut(&conn) {
            live.record.requests_missed = Some(requests);
            live.report(out);
        }
    }

    /// The name a connection was made for, or its address.
    pub(super) fn host(&self, conn: u64) -> Option<&str> {
        let record = &self.live.get(&conn)?.record;
        record.host()
    }

    /// What these connections carried may be among records that were lost. What is known from before is
    /// reported before the gap is.
    pub(super) fn behind_gap(&mut self, out: &mut Out<'_>) {
        self.settle(None, out);
        for live in self.live.values_mut() {
            (live.gap, live.in_doubt) = (true, true);
        }
    }

    /// Shows what was not reported yet, of that command's connections or of all: the command, or the
    /// observation, ends.
    pub(super) fn settle(&mut self, command: Option<CommandId>, out: &mut Out<'_>) {
        let of = |live: &&mut Live| command.is_none_or(|command| live.record.command == command);
        let mut unreported: Vec<_> =
            self.live.values_mut().filter(of).filter(|live| live.unreported).collect();
        unreported.sort_by_key(|live| live.record.id);
        unreported.into_iter().for_each(|live| live.report(out));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    pub(super) fn forget(&mut self, command: CommandId) {
        self.live.retain(|_, live| live.record.command != command);
        self.over.retain(|(_, record)| record.command != command);
    }
}

/// What an error of `connect` says of the way.
const fn no_way(error: u32) -> Option<NoWay> {
    match error {
        errno::NETWORK_UNREACHABLE => Some(NoWay::Network),
        errno::HOST_UNREACHABLE => Some(NoWay::Host),
        errno::PERMITTED | errno::ACCESS => Some(NoWay::Permission),
        errno::NO_ADDRESS => Some(NoWay::Address),
        _ => None,
    }
}

/// What plain text an answer begins with; `None` when it is no text.
fn plain_text(bytes: &[u8]) -> Option<AnsweredIn> {
    let first = bytes.get(..5)?;
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    match first {
        b"HTTP/" => Some(AnsweredIn::Http),
        _ => first.iter().all(is_text).then_some(AnsweredIn::Other),
    }
}

fn take(record: &mut Connection, stats: &TcpStats) {
    let known = |value: u32| (value != UNKNOWN32).then_some(value);
    let known64 = |value: u64| (value != UNKNOWN64).then_some(value);
    record.bytes_sent = known64(stats.bytes_sent).or(record.bytes_sent);
    record.bytes_received = known64(stats.bytes_received).or(record.bytes_received);
    record.received_out_of_order = known(stats.out_of_order).or(record.received_out_of_order);
    record.spurious_retransmits = known(stats.duplicates).or(record.spurious_retransmits);
    // 0 means that no segment has been measured yet.
    let rtt = known(stats.srtt_us).filter(|rtt| *rtt > 0).map(|rtt| Ns::from(rtt) * 1000);
    record.rtt_ns = rtt.or(record.rtt_ns);
}

/// `address:port`, IPv6 in brackets.
pub(super) fn address(family: u16, bytes: &[u8; 16], port: u16) -> String {
    let ip = if family == 2 {
        IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))
    } else {
        // An IPv4 peer of an IPv6 socket is written as IPv4.
        Ipv6Addr::from(*bytes).to_canonical()
    };
    SocketAddr::new(ip, port).to_string()
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;
    use model::id::Pid;

    #[test]
    fn payload_is_dated_by_the_segment_before_the_one_that_reports_it() {
        const S: Ns = PROGRESS_NS;
        let (mut connections, mut events) = (Connections::new(), Vec::new());
        let owner = Owner { command: CommandId(1), pid: Pid(1), comm: "go" };
        let begun = SockState { conn: 7, new: state::SYN_SENT, ..SockState::new_zeroed() };
        connections.state(owner, &begun, || None, &mut Out { events: &mut events, at_ns: SinceStart(1) });
        // The last but one brings the last bytes; a keepalive's answer comes much later.
        for (at_ns, bytes_received) in [(2 * S, 10), (3 * S, 20), (30 * S, 30)] {
            let mut info = TcpInfo { conn: 7, ..TcpInfo::new_zeroed() };
            info.stats.bytes_received = bytes_received;
            connections.info(&info, &mut Out { events: &mut events, at_ns: SinceStart(at_ns) });
        }
        let reported = events.iter().filter_map(|event| match &event.body {
            Body::Connection(connection) => connection.received_ns,
            _ => None,
        });
        assert_eq!(reported.collect::<Vec<_>>(), [2 * S, 3 * S].map(SinceStart));
    }

    #[test]
    fn our_window_was_closed_by_the_segment_before_the_one_that_reports_it() {
        let (mut connections, mut events) = (Connections::new(), Vec::new());
        let owner = Owner { command: CommandId(1), pid: Pid(1), comm: "go" };
        let begun = SockState { conn: 7, new: state::SYN_SENT, ..SockState::new_zeroed() };
        connections.state(owner, &begun, || None, &mut Out { events: &mut events, at_ns: SinceStart(1) });
        // The peer's probe, a quarter of a second later; then the window is open again.
        for (at_ns, gap_ns, rcv_wnd) in [(5, UNKNOWN64, 9), (300, 250, 0), (900, 600, 9)] {
            let mut info = TcpInfo { conn: 7, gap_ns, ..TcpInfo::new_zeroed() };
            (info.stats.snd_wnd, info.stats.rcv_wnd) = (9, rcv_wnd);
            connections.info(&info, &mut Out { events: &mut events, at_ns: SinceStart(at_ns) });
        }
        let reported = events.iter().filter_map(|event| match &event.body {
            Body::Window(mark) => Some((event.at_ns, mark.zero, mark.since_ns)),
            _ => None,
        });
        assert_eq!(
            reported.collect::<Vec<_>>(),
            [(SinceStart(300), true, Some(SinceStart(50))), (SinceStart(900), false, None)]
        );
    }

    #[test]
    fn an_end_that_was_missed_says_nothing_of_the_socket() {
        let (mut connections, mut events) = (Connections::new(), Vec::new());
        let owner = Owner { command: CommandId(1), pid: Pid(1), comm: "go" };
        let [begun, open, closing, over] = [(7, 2), (2, 1), (1, 4), (4, 7)].map(|(old, new)| SockState {
            conn: 7,
            family: 2,
            old,
            new,
            ..SockState::new_zeroed()
        });
        let open = SockState { local_port: 50_000, local: [10; 16].into(), ..open };
        let over = SockState { family: 0, stats: TcpStats::UNKNOWN, ..over };
        for (at_ns, state) in [(1, begun), (2, open), (3, closing), (900, over)] {
            connections.state(
                owner,
                &state,
                || None,
                &mut Out { events: &mut events, at_ns: SinceStart(at_ns) },
            );
        }
        let Some(Body::Connection(last)) = events.pop().map(|event| event.body) else {
            panic!("nothing reported")
        };
        assert_eq!((last.local.as_str(), last.end_ns), ("10.10.10.10:50000", Some(SinceStart(3))));
        assert_eq!((last.bytes_sent, last.rtt_ns), (Some(0), None));
        assert!(connections.live.is_empty());
    }
}
