//! DNS questions and their answers.

use std::collections::HashMap;

use observer_common::{PAYLOAD_RECEIVED, PAYLOAD_TCP, Payload};

use super::connections::address;
use super::{Out, Owner};
use crate::decode::dns::{self, DnsTcp, Message};
use crate::model::event::Body;
use crate::model::record::{Dns, Ns, Transport};

/// A socket of a process: pid and the generation the kernel side gave it.
type Socket = (u32, u32);

/// Names asked for in vain whose attempts are counted; the attempts at those beyond it are not,
/// and each such question counts as not understood.
const ASKED_MAX: usize = 16_384;
/// DNS streams followed; those beyond it are not understood, and counted.
const STREAMS_MAX: usize = 1024;

#[derive(Default)]
struct Streams {
    sent: DnsTcp,
    received: DnsTcp,
}

/// How often a process has asked for a name in vain.
type Asked = HashMap<(u32, String, String), u32>;

/// Every question without an answer.
pub(super) struct Questions {
    open: HashMap<(Socket, u16), Vec<Dns>>,
    streams: HashMap<Socket, (u32, Streams)>,
    asked: Asked,
    next: u32,
    timeout_ns: Ns,
}

impl Questions {
    pub(super) fn new(timeout_ns: Ns) -> Self {
        Self { open: HashMap::new(), streams: HashMap::new(), asked: HashMap::new(), next: 1, timeout_ns }
    }

    /// Bytes of a message; how many messages could not be understood.
    pub(super) fn payload(
        &mut self,
        owner: &Owner,
        flags: u16,
        payload: &Payload,
        bytes: &[u8],
        out: &mut Out<'_>,
    ) -> u64 {
        let socket = (owner.pid, payload.generation);
        let received = flags & PAYLOAD_RECEIVED != 0;
        let tcp = flags & PAYLOAD_TCP != 0;
        if tcp && self.streams.len() >= STREAMS_MAX && !self.streams.contains_key(&socket) {
            return 1;
        }
        let messages = if tcp {
            let (_, streams) =
                self.streams.entry(socket).or_insert_with(|| (owner.command, Streams::default()));
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
                        self.answered(socket, &message, out);
                    } else {
                        undecoded += self.sent(owner, socket, tcp, payload, &message, out);
                    }
                }
                Ok(_) | Err(_) => undecoded += 1,
            }
        }
        undecoded
    }

    /// A question; 1 when its attempts are not counted.
    fn sent(
        &mut self,
        owner: &Owner,
        socket: Socket,
        tcp: bool,
        payload: &Payload,
        message: &Message,
        out: &mut Out<'_>,
    ) -> u64 {
        let Some(question) = &message.question else { return 0 };
        // The same question once more: the former one was given up. Only a resolver that asks
        // several servers on one socket waits for both.
        let server = address(payload.family, &payload.remote, payload.remote_port);
        let same = |of: Socket, dns: &Dns| {
            dns.pid == owner.pid
                && dns.name == question.name
                && dns.qtype == question.qtype
                && (dns.server == server || of != socket)
        };
        self.give_up(same, out);
        let asked = (owner.pid, question.name.clone(), question.qtype.clone());
        let counts = self.asked.len() < ASKED_MAX || self.asked.contains_key(&asked);
        let mut uncounted = 0;
        let attempt = if counts { self.asked.entry(asked).or_default() } else { &mut uncounted };
        *attempt += 1;
        let dns = Dns {
            command: owner.command,
            id: self.next,
            pid: owner.pid,
            comm: owner.comm.clone(),
            server,
            transport: if tcp { Transport::Tcp } else { Transport::Udp },
            name: question.name.clone(),
            qtype: question.qtype.clone(),
            attempt: *attempt,
            start_ns: out.at_ns,
            ..Dns::default()
        };
        self.next += 1;
        out.push(Body::Dns(dns.clone()));
        self.open.entry((socket, message.id)).or_default().push(dns);
        u64::from(!counts)
    }

    fn answered(&mut self, socket: Socket, message: &Message, out: &mut Out<'_>) {
        let key = (socket, message.id);
        let Some(open) = self.open.get_mut(&key) else { return };
        let matches = |dns: &Dns| {
            let question = message.question.as_ref();
            question.is_none_or(|q| q.name.eq_ignore_ascii_case(&dns.name) && q.qtype == dns.qtype)
        };
        let Some(at) = open.iter().position(matches) else { return };
        let mut dns = open.remove(at);
        if open.is_empty() {
            self.open.remove(&key);
        }
        dns.end_ns = Some(out.at_ns);
        dns.rcode = Some(message.rcode.to_string());
        dns.answers = Some(message.answers);
        if !message.truncated {
            self.asked.remove(&(dns.pid, dns.name.clone(), dns.qtype.clone()));
        }
        out.push(Body::Dns(dns));
    }

    /// No resolver waits longer for an answer than its time-out.
    pub(super) fn expire(&mut self, now: Ns, out: &mut Out<'_>) {
        let timeout_ns = self.timeout_ns;
        self.give_up(|_, dns| now.saturating_sub(dns.start_ns) >= timeout_ns, out);
    }

    fn give_up(&mut self, which: impl Fn(Socket, &Dns) -> bool, out: &mut Out<'_>) {
        self.open.retain(|(socket, _), open| {
            open.retain_mut(|dns| {
                let gone = which(*socket, dns);
                if gone {
                    dns.timed_out = true;
                    out.push(Body::Dns(dns.clone()));
                }
                !gone
            });
            !open.is_empty()
        });
    }

    /// A process ended: its open questions stay what they are, unanswered.
    pub(super) fn process_ended(&mut self, pid: u32) {
        self.open.retain(|((owner, _), _), _| *owner != pid);
        self.streams.retain(|(owner, _), _| *owner != pid);
        self.asked.retain(|(owner, _, _), _| *owner != pid);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.streams.is_empty() && self.asked.is_empty()
    }

    pub(super) fn forget(&mut self, command: u32) {
        self.open.retain(|_, open| {
            open.retain(|dns| dns.command != command);
            !open.is_empty()
        });
        self.streams.retain(|_, (owner, _)| *owner != command);
    }
}
