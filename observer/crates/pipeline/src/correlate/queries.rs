//! DNS queries and their answers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use model::event::{Body, DnsWait};
use model::id::{CommandId, DnsId, DnsWaitId, Pid, TreeId};
use model::operations::is_go;
use model::record::{Dns, Resolver, Transport};
use model::time::{Ns, SinceStart};
use observer_common::{Header, PAYLOAD_FAILED, PAYLOAD_RECEIVED, PAYLOAD_TCP, PAYLOAD_VARLINK, Payload};

use super::connections::address;
use super::local_resolvers::LocalResolvers;
use super::names::Names;
use super::preexisting::PreexistingSockets;
use super::{Out, Owner};
use crate::decode::dns::{self, DnsTcp, Message, Question};
use crate::decode::varlink::{self, Messages};

/// A socket of a process: pid and the generation the kernel side gave it.
type Socket = (Pid, u32);

/// Names asked for in vain whose attempts are counted; the attempts at those beyond it are not,
/// and each such query counts as not understood.
const ASKED_MAX: usize = 16_384;
/// DNS streams followed; those beyond it are not understood, and counted.
const STREAMS_MAX: usize = 1024;

/// Whom a call over systemd-resolved's unix socket asks.
const RESOLVED: &str = "systemd-resolved";
/// A call over a unix socket has no number of its own: one is open at a time.
const CALL: u16 = 0;

#[derive(Default)]
struct Streams {
    sent: DnsTcp,
    received: DnsTcp,
}

/// How often a process has asked for a name in vain, and for which command.
type Asked = HashMap<(Pid, String, String), (CommandId, u32)>;

/// Every query without an answer.
pub(super) struct Queries {
    open: HashMap<(Socket, u16), Vec<Dns>>,
    /// What was answered
    pub(super) names: Names,
    /// TCP connections, and for which command; `None` for a stub resolver's
    streams: HashMap<Socket, (Option<CommandId>, Streams)>,
    asked: Asked,
    /// Calls of systemd-resolved and their replies, by socket
    calls: HashMap<Socket, (CommandId, Messages, Messages)>,
    /// Sockets to name servers that were there already, by tree and cookie
    preexisting: HashMap<(TreeId, u64), DnsWait>,
    next_found: DnsWaitId,
    next: DnsId,
    timeout_ns: Ns,
    /// Servers of resolv.conf, with port 53
    servers: Vec<String>,
    /// So many queries without an answer make a resolver give a lookup up; what follows is another lookup's
    attempts: u32,
    /// What was asked before may have been answered unseen
    gap_ns: SinceStart,
}

/// Whose query it is.
#[derive(Clone, Copy)]
enum Asker<'a> {
    Process(Owner<'a>),
    /// That process of a stub resolver
    LocalResolver(&'a LocalResolvers, Pid),
}

impl Asker<'_> {
    const fn pid(self) -> Pid {
        match self {
            Self::Process(owner) => owner.pid,
            Self::LocalResolver(_, pid) => pid,
        }
    }
}

/// Connections of stub resolvers whose bytes are kept together; when there are more, a message
/// cut by the end of a call is lost.
const LOCAL_RESOLVER_STREAMS_MAX: usize = 64;

impl Queries {
    pub(super) fn new(resolver: &Resolver) -> Self {
        let ip = |server: &String| server.parse::<IpAddr>().ok();
        let servers: Vec<String> = resolver
            .servers
            .iter()
            .filter_map(ip)
            .map(|ip| SocketAddr::new(ip.to_canonical(), 53).to_string())
            .collect();
        let attempts = resolver.attempts.saturating_mul(servers.len() as u32);
        Self {
            open: HashMap::new(),
            names: Names::default(),
            streams: HashMap::new(),
            asked: HashMap::new(),
            calls: HashMap::new(),
            preexisting: HashMap::new(),
            next_found: DnsWaitId::FIRST,
            next: DnsId::FIRST,
            timeout_ns: Ns::from(resolver.timeout_s) * 1_000_000_000,
            servers,
            attempts,
            gap_ns: SinceStart::ZERO,
        }
    }

    /// Bytes of a message of a command's process; how many messages could not be understood.
    pub(super) fn payload(
        &mut self,
        owner: Owner<'_>,
        flags: u16,
        payload: &Payload,
        bytes: &[u8],
        out: &mut Out<'_>,
    ) -> u64 {
        self.bytes(Asker::Process(owner), flags, payload, bytes, out)
    }

    /// Bytes of a message that a stub resolver exchanged with its own server. What it asks for
    /// others than commands is dropped.
    pub(super) fn of_local_resolver(
        &mut self,
        local_resolvers: &LocalResolvers,
        header: &Header,
        payload: &Payload,
        bytes: &[u8],
        out: &mut Out<'_>,
    ) -> u64 {
        if !self.streams.contains_key(&(Pid(header.pid), payload.generation))
            && self.streams.values().filter(|(command, _)| command.is_none()).count()
                >= LOCAL_RESOLVER_STREAMS_MAX
        {
            self.streams.retain(|_, (command, _)| command.is_some());
        }
        self.bytes(Asker::LocalResolver(local_resolvers, Pid(header.pid)), header.flags, payload, bytes, out)
    }

    fn bytes(
        &mut self,
        asker: Asker<'_>,
        flags: u16,
        payload: &Payload,
        bytes: &[u8],
        out: &mut Out<'_>,
    ) -> u64 {
        let socket = (asker.pid(), payload.generation);
        let received = flags & PAYLOAD_RECEIVED != 0;
        let tcp = flags & PAYLOAD_TCP != 0;
        if flags & PAYLOAD_FAILED != 0 {
            self.refused(socket, out);
            return 0;
        }
        if flags & PAYLOAD_VARLINK != 0 {
            if let Asker::Process(owner) = asker {
                self.call(owner, socket, received, payload.len as usize > bytes.len(), bytes, out);
            }
            return 0;
        }
        if tcp && self.streams.len() >= STREAMS_MAX && !self.streams.contains_key(&socket) {
            return 1;
        }
        let messages = if tcp {
            let command = match asker {
                Asker::Process(owner) => Some(owner.command),
                Asker::LocalResolver(..) => None,
            };
            let (_, streams) = self.streams.entry(socket).or_insert_with(|| (command, Streams::default()));
            let stream = if received { &mut streams.received } else { &mut streams.sent };
            stream.push(bytes, payload.len as usize).collect()
        } else {
            vec![bytes.to_vec()]
        };
        let mut undecoded = 0;
        for message in messages {
            match dns::message(&message) {
                Ok(message) if message.response == received => {
                    if received {
                        self.answered(socket, payload, &message, out);
                    } else {
                        undecoded += self.sent(asker, socket, tcp, payload, &message, out);
                    }
                }
                // A local resolver that asks from port 53 itself answers its clients there.
                Ok(_) if matches!(asker, Asker::LocalResolver(..)) => {}
                Ok(_) | Err(_) => undecoded += 1,
            }
        }
        undecoded
    }

    /// The oldest open query of a command that a local resolver's query can be about: one that was asked
    /// of that local resolver, or of another that asked this one.
    fn behind(
        &self,
        query: &Question,
        local_resolvers: &LocalResolvers,
        pid: Pid,
    ) -> Option<(CommandId, DnsId)> {
        let asked = |dns: &&Dns| match dns.transport {
            Transport::Unix => local_resolvers.is_resolved(pid),
            _ => local_resolvers.serves(pid, &dns.server, dns.on_behalf_of.is_some()),
        };
        let same = |dns: &&Dns| {
            let kind = dns.qtype == query.qtype || dns.qtype.split('/').any(|one| one == query.qtype);
            kind && dns.name.eq_ignore_ascii_case(&query.name)
        };
        let open = self.open.values().flatten().filter(same).filter(asked);
        open.min_by_key(|dns| dns.id).map(|dns| (dns.command, dns.on_behalf_of.unwrap_or(dns.id)))
    }

    /// A query; 1 when its attempts are not counted.
    fn sent(
        &mut self,
        asker: Asker<'_>,
        socket: Socket,
        tcp: bool,
        payload: &Payload,
        message: &Message,
        out: &mut Out<'_>,
    ) -> u64 {
        let Some(query) = &message.question else { return 0 };
        let (owner, on_behalf_of) = match asker {
            Asker::Process(owner) => (owner, None),
            Asker::LocalResolver(local_resolvers, pid) => {
                let Some((command, id)) = self.behind(query, local_resolvers, pid) else { return 0 };
                (local_resolvers.owner(pid, command), Some(id))
            }
        };
        // The same query once more: the former one was given up. Only a resolver that asks
        // several servers on one socket waits for both; a local resolver has a socket for each.
        let server = address(payload.family, &payload.remote.bytes(), payload.remote_port);
        let same = |of: Socket, dns: &Dns| {
            dns.pid == owner.pid
                && dns.name.eq_ignore_ascii_case(&query.name)
                && dns.qtype == query.qtype
                && (dns.server == server || (of != socket && on_behalf_of.is_none()))
        };
        self.give_up(same, out);
        let asked = (owner.pid, query.name.to_ascii_lowercase(), query.qtype.clone());
        let counts = self.asked.len() < ASKED_MAX || self.asked.contains_key(&asked);
        let mut uncounted = (owner.command, 0);
        let (command, attempt) = if counts { self.asked.entry(asked).or_default() } else { &mut uncounted };
        if *command != owner.command {
            (*command, *attempt) = (owner.command, 0);
        }
        // Each server in turn, so many times (resolv.conf(5); go's net/dnsclient_unix.go): then the lookup failed.
        if *attempt >= self.attempts && self.servers.contains(&server) {
            *attempt = 0;
        }
        *attempt += 1;
        let dns = Dns {
            command: owner.command,
            id: self.next.give(),
            pid: owner.pid,
            comm: owner.comm.to_owned(),
            on_behalf_of,
            server,
            transport: if tcp { Transport::Tcp } else { Transport::Udp },
            name: query.name.clone(),
            qtype: query.qtype.clone(),
            attempt: *attempt,
            start_ns: out.at_ns,
            ..Dns::default()
        };
        out.push(Body::Dns(dns.clone()));
        self.open.entry((socket, message.id)).or_default().push(dns);
        u64::from(!counts)
    }

    /// The name server of that socket is not there, as ICMP says: what was asked through it has its end.
    fn refused(&mut self, socket: Socket, out: &mut Out<'_>) {
        self.open.retain(|(of, _), open| {
            if *of != socket {
                return true;
            }
            for mut dns in std::mem::take(open) {
                (dns.refused, dns.end_ns) = (true, Some(out.at_ns));
                out.push(Body::Dns(dns));
            }
            false
        });
    }

    /// Bytes of a call of systemd-resolved over its unix socket, or of its reply.
    fn call(
        &mut self,
        owner: Owner<'_>,
        socket: Socket,
        received: bool,
        cut: bool,
        bytes: &[u8],
        out: &mut Out<'_>,
    ) {
        if self.calls.len() >= STREAMS_MAX && !self.calls.contains_key(&socket) {
            return;
        }
        let new = || (owner.command, Messages::default(), Messages::default());
        let (_, sent, replies) = self.calls.entry(socket).or_insert_with(new);
        let Some(message) = (if received { replies } else { sent }).push(bytes, cut) else { return };
        if !received {
            let Some(call) = varlink::call(&message) else { return };
            let dns = Dns {
                command: owner.command,
                id: self.next.give(),
                pid: owner.pid,
                comm: owner.comm.to_owned(),
                server: RESOLVED.to_owned(),
                transport: Transport::Unix,
                name: call.name,
                qtype: call.qtype.to_owned(),
                attempt: 1,
                start_ns: out.at_ns,
                ..Dns::default()
            };
            out.push(Body::Dns(dns.clone()));
            self.open.insert((socket, CALL), vec![dns]);
            return;
        }
        let reply = varlink::reply(&message);
        for mut dns in self.open.remove(&(socket, CALL)).unwrap_or_default() {
            dns.end_ns = Some(out.at_ns);
            dns.answers = u32::try_from(reply.addresses.len()).ok();
            dns.rcode = Some(reply.rcode.clone());
            self.names.add(dns.command, &dns.name, &reply.addresses);
            out.push(Body::Dns(dns));
        }
    }

    fn answered(&mut self, socket: Socket, payload: &Payload, message: &Message, out: &mut Out<'_>) {
        let key = (socket, message.id);
        let Some(open) = self.open.get_mut(&key) else {
            let server = address(payload.family, &payload.remote.bytes(), payload.remote_port);
            let waits =
                self.preexisting.iter().filter(|(_, wait)| wait.pid == socket.0 && wait.server == server);
            if let Some(key) = waits.map(|(key, _)| *key).min() {
                self.preexisting_over(key, out);
            }
            return;
        };
        let matches = |dns: &Dns| {
            let query = message.question.as_ref();
            query.is_none_or(|q| q.name.eq_ignore_ascii_case(&dns.name) && q.qtype == dns.qtype)
        };
        let Some(at) = open.iter().position(matches) else { return };
        // Go's own resolver takes nothing for an answer that does not repeat the query, and waits on.
        if message.question.is_none() && is_go(&open[at].comm) {
            open[at].unusable = Some(message.rcode.to_string());
            return out.push(Body::Dns(open[at].clone()));
        }
        let mut dns = open.remove(at);
        if open.is_empty() {
            self.open.remove(&key);
        }
        dns.end_ns = Some(out.at_ns);
        dns.rcode = Some(message.rcode.to_string());
        dns.answers = Some(message.answers);
        if dns.on_behalf_of.is_none() {
            self.names.add(dns.command, &dns.name, &message.addresses);
        }
        dns.truncated = message.truncated;
        if !message.truncated {
            self.asked.remove(&(dns.pid, dns.name.to_ascii_lowercase(), dns.qtype.clone()));
        }
        out.push(Body::Dns(dns));
    }

    /// Sockets to name servers that were there already, as they are now. Reported first when `first`.
    pub(super) fn preexisting<'a>(
        &mut self,
        reported: &PreexistingSockets,
        first: bool,
        owner: impl Fn(Pid) -> Option<Owner<'a>>,
        out: &mut Out<'_>,
    ) {
        let sockets = reported.sockets.iter().filter(|socket| socket.conn == 0);
        for socket in sockets.clone().filter(|_| first) {
            let Some(owner) = owner(socket.pid) else { continue };
            let wait = DnsWait {
                command: owner.command,
                id: self.next_found.give(),
                pid: owner.pid,
                comm: owner.comm.to_owned(),
                server: socket.remote.to_string(),
                start_ns: out.at_ns,
                end_ns: None,
            };
            out.push(Body::DnsWait(wait.clone()));
            self.preexisting.insert((reported.root, socket.cookie), wait);
        }
        let of_tree = self.preexisting.keys().filter(|(root, _)| *root == reported.root);
        let there = |cookie| sockets.clone().any(|socket| socket.cookie == cookie);
        let over: Vec<_> =
            of_tree.copied().filter(|(_, cookie)| reported.unreported == 0 && !there(*cookie)).collect();
        over.into_iter().for_each(|key| self.preexisting_over(key, out));
    }

    fn preexisting_over(&mut self, key: (TreeId, u64), out: &mut Out<'_>) {
        if let Some(mut wait) = self.preexisting.remove(&key) {
            wait.end_ns = Some(out.at_ns);
            out.push(Body::DnsWait(wait));
        }
    }

    /// Whether a socket of that tree is still waited for.
    pub(super) fn any_preexisting(&self, tree: TreeId) -> bool {
        self.preexisting.keys().any(|(root, _)| *root == tree)
    }

    /// No resolver waits longer for an answer than its time-out.
    pub(super) fn expire(&mut self, now: SinceStart, out: &mut Out<'_>) {
        let timeout_ns = self.timeout_ns;
        let over = |dns: &Dns| now.saturating_sub(dns.start_ns) >= timeout_ns;
        // Whoever asks systemd-resolved waits for as long as that does.
        self.give_up(|_, dns| dns.transport != Transport::Unix && over(dns), out);
    }

    fn give_up(&mut self, which: impl Fn(Socket, &Dns) -> bool, out: &mut Out<'_>) {
        let gap_ns = self.gap_ns;
        self.open.retain(|(socket, _), open| {
            open.retain_mut(|dns| {
                let gone = which(*socket, dns);
                if gone && dns.start_ns >= gap_ns {
                    dns.timed_out = true;
                    out.push(Body::Dns(dns.clone()));
                }
                !gone
            });
            !open.is_empty()
        });
    }

    /// Records until `end` were lost: a former attempt may have had its answer.
    pub(super) fn gap(&mut self, end: SinceStart) {
        self.gap_ns = end;
        self.asked.clear();
    }

    /// A process ended: its open queries stay what they are, unanswered.
    pub(super) fn process_ended(&mut self, pid: Pid) {
        self.open.retain(|((owner, _), _), _| *owner != pid);
        self.preexisting.retain(|_, wait| wait.pid != pid);
        self.streams.retain(|(owner, _), _| *owner != pid);
        self.calls.retain(|(owner, _), _| *owner != pid);
        self.asked.retain(|(owner, _, _), _| *owner != pid);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
            && self.streams.is_empty()
            && self.calls.is_empty()
            && self.asked.is_empty()
            && self.preexisting.is_empty()
            && self.names.is_empty()
    }

    pub(super) fn forget(&mut self, command: CommandId) {
        self.names.forget(command);
        self.calls.retain(|_, (of, ..)| *of != command);
        self.open.retain(|_, open| {
            open.retain(|dns| dns.command != command);
            !open.is_empty()
        });
        self.streams.retain(|_, (owner, _)| *owner != Some(command));
        self.asked.retain(|_, (owner, _)| *owner != command);
        self.preexisting.retain(|_, wait| wait.command != command);
    }
}

#[cfg(test)]
#[path = "queries_tests.rs"]
mod tests;
