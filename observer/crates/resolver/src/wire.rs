//! DNS messages as bytes (RFC 1035, RFC 6891). In: a message. Out: what a forwarder must know of it; the
//! records themselves are passed on as they came. Never panics, whatever the bytes are.

use std::net::IpAddr;

/// Types that are asked for here by name.
pub const A: u16 = 1;
/// See [`A`].
pub const AAAA: u16 = 28;
const OPT: u16 = 41;
const SOA: u16 = 6;
/// Codes of answers.
pub const NOERROR: u8 = 0;
/// See [`NOERROR`].
pub const FORMERR: u8 = 1;
/// See [`NOERROR`].
pub const SERVFAIL: u8 = 2;
/// See [`NOERROR`].
pub const NXDOMAIN: u8 = 3;
/// See [`NOERROR`].
pub const REFUSED: u8 = 5;
/// See [`NOERROR`].
pub const NOTIMP: u8 = 4;

const HEADER: usize = 12;
/// Bytes that an answer over UDP may have at every client (RFC 1035), and that we ask servers for.
const PLAIN_MAX: usize = 512;
const UDP_MAX: u16 = 1232;
/// Records of one message that are looked at.
const RECORDS_MAX: usize = 4096;

/// What is asked: the key of the cache.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question {
    /// The name as on the wire, in lower case
    pub name: Vec<u8>,
    /// The type
    pub qtype: u16,
    /// The class
    pub class: u16,
}

impl Question {
    /// An address of a host; `None` for what is no name.
    pub fn of(host: &str, qtype: u16) -> Option<Self> {
        let mut name = Vec::new();
        for label in host.trim_end_matches('.').split('.') {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
            name.push(length);
            name.extend(label.to_ascii_lowercase().bytes());
        }
        name.push(0);
        (name.len() <= 255 && host.is_ascii()).then_some(Self { name, qtype, class: 1 })
    }

    /// The same name's other type.
    #[must_use]
    pub fn with_type(&self, qtype: u16) -> Self {
        Self { qtype, ..self.clone() }
    }

    fn wire(&self) -> Vec<u8> {
        [&self.name[..], &self.qtype.to_be_bytes(), &self.class.to_be_bytes()].concat()
    }

    /// A query for a server. `edns`: with room for large answers.
    pub fn query(&self, id: u16, edns: bool) -> Vec<u8> {
        let mut query = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)]].concat();
        query.extend(self.wire());
        if edns {
            query.push(0);
            query.extend([OPT, UDP_MAX].map(u16::to_be_bytes).as_flattened());
            query.extend([0; 6]);
        }
        query
    }
}

/// A client's query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// What it asks
    pub question: Question,
    /// Bytes of an answer over UDP
    pub udp_max: usize,
    id: u16,
    /// The question as it was written
    asked: Vec<u8>,
    recursion_desired: bool,
    edns: bool,
}

impl Query {
    /// Reads a query: one question, and nothing that is not understood.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let flags = number(message, 2)?;
        let (is_answer, opcode) = (flags & 0x8000 != 0, flags >> 11 & 15);
        if is_answer || opcode != 0 || number(message, 4)? != 1 || number(message, 6)? != 0 {
            return None;
        }
        let (question, end) = question(message)?;
        let mut at = end;
        let (mut edns, mut udp_max) = (false, PLAIN_MAX);
        for _ in 0..usize::from(number(message, 8)?) + usize::from(number(message, 10)?) {
            let record = Record::read(message, at)?;
            if record.kind == OPT {
                (edns, udp_max) = (true, usize::from(record.class).max(PLAIN_MAX));
            }
            at = record.end;
        }
        let asked = message.get(HEADER..end)?.to_vec();
        let recursion_desired = flags & 0x100 != 0;
        Some(Self { question, udp_max, id: number(message, 0)?, asked, recursion_desired, edns })
    }

    /// The answer for this client: a server's, with this query's id and letters, and TTLs as of now.
    pub fn answer(&self, answer: &Answer, age_s: u32) -> Vec<u8> {
        let mut message = answer.message.clone();
        for &at in &answer.ttls {
            let left = long(&message, at).unwrap_or(0).saturating_sub(age_s);
            message[at..at + 4].copy_from_slice(&left.to_be_bytes());
        }
        // Without EDNS of its own, a client is not to see ours.
        if let (false, Some(at)) = (self.edns, answer.opt_at_end) {
            let records = number(&message, 10).unwrap_or(0).saturating_sub(1);
            message.truncate(at);
            message[10..12].copy_from_slice(&records.to_be_bytes());
        }
        message[HEADER..HEADER + self.asked.len()].copy_from_slice(&self.asked);
        message[..2].copy_from_slice(&self.id.to_be_bytes());
        message[2] = message[2] & !1 | u8::from(self.recursion_desired);
        message
    }

    /// An answer of our own, without records.
    pub fn empty(&self, rcode: u8, truncated: bool) -> Vec<u8> {
        let flags = 0x80 | u8::from(truncated) << 1 | u8::from(self.recursion_desired);
        let counts = [flags, 0x80 | rcode, 0, 1, 0, 0, 0, 0, 0, 0];
        [&self.id.to_be_bytes()[..], &counts, &self.asked].concat()
    }
}

/// A server's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The code
    pub rcode: u8,
    /// It was cut
    pub truncated: bool,
    /// It has records that answer
    pub has_records: bool,
    /// Seconds that it may be kept, where it says so
    pub ttl_s: Option<u32>,
    message: Vec<u8>,
    ttls: Vec<usize>,
    opt_at_end: Option<usize>,
}

impl Answer {
    /// Reads the answer to a query with that id; `None` for everything else.
    pub fn parse(message: &[u8], id: u16, asked: &Question) -> Option<Self> {
        let flags = number(message, 2)?;
        let (is_answer, opcode) = (flags & 0x8000 != 0, flags >> 11 & 15);
        if number(message, 0)? != id || !is_answer || opcode != 0 || number(message, 4)? != 1 {
            return None;
        }
        let (question, mut at) = question(message)?;
        if question != *asked {
            return None;
        }
        let [answers, authority, additional] =
            [6, 8, 10].map(|at| usize::from(number(message, at).unwrap_or(0)));
        let rcode = (flags & 15) as u8;
        let mut answer = Self {
            rcode,
            truncated: flags & 0x200 != 0,
            has_records: answers > 0,
            ttl_s: None,
            message: message.to_vec(),
            ttls: Vec::new(),
            opt_at_end: None,
        };
        let all = answers + authority + additional;
        // What was cut may end anywhere.
        if all > RECORDS_MAX || answer.truncated {
            return answer.truncated.then_some(answer);
        }
        for index in 0..all {
            let record = Record::read(message, at)?;
            if record.kind == OPT {
                answer.opt_at_end = (index + 1 == all).then_some(at);
            } else {
                answer.ttls.push(record.ttl_at);
                let ttl_s = long(message, record.ttl_at)?;
                // How long there is nothing: the last number of the SOA (RFC 2308).
                let nothing =
                    (record.kind == SOA && answers == 0).then(|| long(message, record.end.checked_sub(4)?));
                let counts =
                    if answers == 0 { nothing.flatten() } else { (index < answers).then_some(ttl_s) };
                let ttl_s = counts.map(|counts| counts.min(ttl_s));
                answer.ttl_s = answer.ttl_s.into_iter().chain(ttl_s).min();
            }
            at = record.end;
        }
        Some(answer)
    }

    /// The addresses that it has, in its order; what a name stands for was followed by the server.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let message = &self.message;
        let mut found = Vec::new();
        let Some((_, mut at)) = question(message) else { return found };
        for _ in 0..usize::from(number(message, 6).unwrap_or(0)).min(RECORDS_MAX) {
            let Some(record) = Record::read(message, at) else { break };
            let data = &message[record.ttl_at + 6..record.end];
            found.extend(match record.kind {
                A => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
                AAAA => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
                _ => None,
            });
            at = record.end;
        }
        found
    }

    /// The bytes.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Whether it says what there is, or that there is nothing.
    pub const fn is_good(&self) -> bool {
        matches!(self.rcode, NOERROR | NXDOMAIN) && !self.truncated
    }
}

/// Where a record's parts are.
struct Record {
    kind: u16,
    class: u16,
    ttl_at: usize,
    end: usize,
}

impl Record {
    fn read(message: &[u8], at: usize) -> Option<Self> {
        let at = skip_name(message, at)?;
        let length = usize::from(number(message, at + 8)?);
        let end = at + 10 + length;
        (end <= message.len()).then_some(Self {
            kind: number(message, at)?,
            class: number(message, at + 2)?,
            ttl_at: at + 4,
            end,
        })
    }
}

/// The one question, and where it ends. A name of a question has no pointers.
fn question(message: &[u8]) -> Option<(Question, usize)> {
    let end = skip_name(message, HEADER)?;
    let name = message.get(HEADER..end)?.to_ascii_lowercase();
    if name.len() > 255 || name.last() != Some(&0) {
        return None;
    }
    Some((Question { name, qtype: number(message, end)?, class: number(message, end + 2)? }, end + 4))
}

/// Behind a name: its labels, or a pointer that ends it.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

fn long(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(message.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
