//! Connections that were there before they could be seen: what the kernel says of them.

use model::id::{ConnectionId, Pid, TreeId};
use model::record::{Connection, Preexisting, TcpState};
use model::time::{Ns, SinceStart};

use super::{Connections, Live, state};
use crate::correlate::preexisting::{PreexistingSocket, PreexistingSockets, Tcp};
use crate::correlate::{Out, Owner};

impl Connections {
    /// Connections that were there already, as they are now. Reported first when `first`; how many
    /// those are.
    pub(in crate::correlate) fn preexisting<'a>(
        &mut self,
        reported: &PreexistingSockets,
        first: bool,
        owner: impl Fn(Pid) -> Option<Owner<'a>>,
        out: &mut Out<'_>,
    ) -> u64 {
        let mut new = 0;
        for socket in reported.sockets.iter().filter(|socket| socket.conn != 0) {
            if let Some(live) = self.live.get_mut(&socket.conn) {
                live.update(socket, out);
            } else if let Some(owner) = owner(socket.pid).filter(|_| first) {
                let mut live =
                    Live::new(joined(socket, owner, self.next.give(), out.at_ns), Some(reported.root));
                new += 1;
                live.update(socket, out);
                self.live.insert(socket.conn, live);
            }
        }
        new
    }

    /// Whether a connection of that tree that was there already is still open.
    pub(in crate::correlate) fn any_preexisting(&self, tree: TreeId) -> bool {
        self.live.values().any(|live| live.preexisting == Some(tree) && live.record.end_ns.is_none())
    }
}

impl Live {
    /// What the kernel says now of one that was there already. Reported also when nothing has happened:
    /// that is what matters.
    fn update(&mut self, socket: &PreexistingSocket, out: &mut Out<'_>) {
        let Some(state) = tcp_state(socket.state) else { return };
        let Tcp { unacked_bytes, retries, rtt_ns, bytes_sent, bytes_received, out_of_order, .. } = socket.tcp;
        let record = &mut self.record;
        record.rtt_ns = rtt_ns.or(record.rtt_ns);
        record.bytes_sent = bytes_sent.or(record.bytes_sent);
        record.bytes_received = bytes_received.or(record.bytes_received);
        record.received_out_of_order = out_of_order.or(record.received_out_of_order);
        // What never was is dated by the kernel to when it began to count.
        let was =
            |bytes: Option<u64>, since: Option<Ns>| since.filter(|_| bytes.is_some_and(|bytes| bytes > 0));
        let connected = state != TcpState::SynSent;
        let preexisting = Preexisting {
            at_ns: out.at_ns,
            state,
            unacked_bytes: if connected { unacked_bytes } else { 0 },
            retries,
            since_sent_ns: was(bytes_sent, socket.tcp.since_sent_ns),
            since_received_ns: was(bytes_received, socket.tcp.since_received_ns),
            since_acked_ns: socket.tcp.since_acked_ns.filter(|_| connected),
        };
        record.preexisting = Some(preexisting);
        self.report(out);
    }
}

/// The record of a connection that was there already.
fn joined(socket: &PreexistingSocket, owner: Owner<'_>, id: ConnectionId, at_ns: SinceStart) -> Connection {
    let syn = socket.state == state::SYN_SENT;
    let again = socket.tcp.retransmits;
    Connection {
        command: owner.command,
        id,
        pid: owner.pid,
        comm: owner.comm.to_owned(),
        local: socket.local.to_string(),
        remote: socket.remote.to_string(),
        start_ns: at_ns,
        syn_retransmits: if syn { again } else { 0 },
        retransmits: if syn { 0 } else { again },
        joined_late: true,
        ..Connection::default()
    }
}

pub(super) fn tcp_state(number: u8) -> Option<TcpState> {
    Some(match number {
        state::ESTABLISHED => TcpState::Established,
        state::SYN_SENT => TcpState::SynSent,
        4 => TcpState::FinWait1,
        5 => TcpState::FinWait2,
        8 => TcpState::CloseWait,
        9 => TcpState::LastAck,
        11 => TcpState::Closing,
        _ => return None,
    })
}
