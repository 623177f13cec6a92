//! DNS messages: the bytes of a datagram in, a [`Message`] out; and [`DnsTcp`], which cuts a TCP
//! stream into messages.
//!
//! The reader is our own, because a message is often a copy that was cut: header and question
//! are then whole, and the answers are read as far as they go. A parser for whole messages
//! refuses such a copy, and one that reserves memory by the header's counts gives a 12-byte
//! message tens of megabytes.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Undecoded;

mod tcp;
pub use tcp::DnsTcp;

/// Records looked at in one message, whatever its header claims.
const RECORDS_MAX: u32 = 1024;
/// Names and addresses kept of one message.
const RETAINED_MAX: usize = 64;
/// Longest name, bytes on the wire (RFC 1035, 2.3.4).
const NAME_MAX: usize = 255;
const HEADER: usize = 12;

/// What is kept of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Ties an answer to its question
    pub id: u16,
    /// An answer, not a question
    pub response: bool,
    /// The TC bit: the server asks for a repetition over TCP
    pub truncated: bool,
    /// Response code; the upper bits are those of the OPT record, when it was readable
    pub rcode: Rcode,
    /// The first question; `None` when there is none or it was cut
    pub question: Option<Question>,
    /// Answer records, as the header counts them
    pub answers: u32,
    /// Addresses in the answer that were readable, at most 64
    pub addresses: Vec<IpAddr>,
    /// Canonical names in the answer that were readable, at most 64
    pub cnames: Vec<String>,
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The name as sent, without the final dot (`.` for the root). Bytes that are not printable,
    /// dots in a label and backslashes are escaped as in zone files.
    pub name: String,
    /// `A`, `AAAA`, …, `TYPE65280` when the type has no name here
    pub qtype: String,
}

/// A response code; displays as `NOERROR`, …, `RCODE23` when it has no name here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rcode(pub u16);

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            6 => "YXDOMAIN",
            7 => "YXRRSET",
            8 => "NXRRSET",
            9 => "NOTAUTH",
            10 => "NOTZONE",
            16 => "BADVERS",
            code => return write!(f, "RCODE{code}"),
        };
        f.write_str(name)
    }
}

/// Reads a message, or the beginning of one.
///
/// # Errors
/// [`Undecoded::Short`] when not even the header is there.
pub fn message(bytes: &[u8]) -> Result<Message, Undecoded> {
    let mut reader = Reader { bytes, at: 0 };
    let short = Undecoded::Short { what: "dns header", need: HEADER, have: bytes.len() };
    let [id, flags, questions, answers, authorities, additional] =
        reader.header().ok_or(short)?.map(u32::from);
    let mut message = Message {
        id: id as u16,
        response: flags & 0x8000 != 0,
        truncated: flags & 0x0200 != 0,
        rcode: Rcode((flags & 0xf) as u16),
        question: None,
        answers,
        addresses: Vec::new(),
        cnames: Vec::new(),
    };
    // What cannot be read ends the reading; what was read until then stands.
    let _ = reader.sections(&mut message, questions, answers, authorities + additional);
    Ok(message)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn header(&mut self) -> Option<[u16; 6]> {
        let mut fields = [0; 6];
        for field in &mut fields {
            *field = self.u16()?;
        }
        Some(fields)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let slice = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(slice)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn sections(&mut self, message: &mut Message, questions: u32, answers: u32, others: u32) -> Option<()> {
        for n in 0..questions.min(RECORDS_MAX) {
            let name = self.name()?;
            let qtype = type_name(self.u16()?);
            self.u16()?;
            if n == 0 {
                message.question = Some(Question { name, qtype });
            }
        }
        let answers = answers.min(RECORDS_MAX);
        for n in 0..(answers + others).min(RECORDS_MAX) {
            self.record(message, n < answers)?;
        }
        Some(())
    }

    fn record(&mut self, message: &mut Message, answer: bool) -> Option<()> {
        self.skip_name()?;
        let rtype = self.u16()?;
        let class = self.u16()?;
        let ttl = self.take(4)?;
        let len = usize::from(self.u16()?);
        let start = self.at;
        let data = self.take(len)?;
        match (rtype, class) {
            (41, _) => message.rcode.0 = message.rcode.0 & 0xf | u16::from(ttl[0]) << 4,
            (1, 1) if answer => {
                let address: [u8; 4] = data.try_into().ok()?;
                keep(&mut message.addresses, Ipv4Addr::from(address).into());
            }
            (28, 1) if answer => {
                let address: [u8; 16] = data.try_into().ok()?;
                keep(&mut message.addresses, Ipv6Addr::from(address).into());
            }
            (5, 1) if answer => {
                let name = Reader { bytes: self.bytes, at: start }.name()?;
                keep(&mut message.cnames, name);
            }
            _ => {}
        }
        Some(())
    }

    /// A name ends at its first pointer: there is no need to follow it.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.take(1)?[0] {
                0 => return Some(()),
                len @ 1..0x40 => self.take(len.into()).map(|_| ())?,
                0xc0.. => return self.take(1).map(|_| ()),
                _ => return None,
            }
        }
    }

    fn name(&mut self) -> Option<String> {
        let mut out = String::new();
        let mut wire = 1;
        let mut reader = Reader { bytes: self.bytes, at: self.at };
        let mut jumped = false;
        // Each pointer must point before the last place read from, so there is no loop.
        let mut before = self.at;
        loop {
            let len = reader.take(1)?[0];
            if len >= 0xc0 {
                let target = usize::from(len & 0x3f) << 8 | usize::from(reader.take(1)?[0]);
                if !jumped {
                    self.at = reader.at;
                }
                if target >= before {
                    return None;
                }
                (jumped, before, reader.at) = (true, target, target);
            } else if len == 0 {
                break;
            } else if len < 0x40 {
                wire += 1 + usize::from(len);
                if wire > NAME_MAX {
                    return None;
                }
                if !out.is_empty() {
                    out.push('.');
                }
                push_label(&mut out, reader.take(len.into())?);
            } else {
                return None;
            }
        }
        if !jumped {
            self.at = reader.at;
        }
        if out.is_empty() {
            out.push('.');
        }
        Some(out)
    }
}

fn keep<T>(list: &mut Vec<T>, item: T) {
    if list.len() < RETAINED_MAX {
        list.push(item);
    }
}

fn push_label(out: &mut String, label: &[u8]) {
    for &byte in label {
        match byte {
            b'.' | b'\\' => {
                out.push('\\');
                out.push(byte.into());
            }
            0x21..=0x7e => out.push(byte.into()),
            _ => {
                let _ = write!(out, "\\{byte:03}");
            }
        }
    }
}

fn type_name(code: u16) -> String {
    let name = match code {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        41 => "OPT",
        43 => "DS",
        46 => "RRSIG",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        257 => "CAA",
        _ => return format!("TYPE{code}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::rdata::{A, AAAA, CNAME, RData};
    use simple_dns::{CLASS, Name, Packet, PacketFlag, Question as Asked, RCODE, ResourceRecord, TYPE};

    use super::*;

    fn answer() -> Vec<u8> {
        let mut packet = Packet::new_reply(0x1234);
        let name = Name::new_unchecked("Proxy.test");
        let alias = Name::new_unchecked("edge.proxy.test");
        packet.questions.push(Asked::new(name.clone(), TYPE::A.into(), CLASS::IN.into(), false));
        let mut add = |name: &Name<'static>, data| {
            packet.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, 60, data));
        };
        add(&name, RData::CNAME(CNAME(alias.clone())));
        add(&alias, RData::A(A::from(Ipv4Addr::new(192, 0, 2, 1))));
        add(&alias, RData::AAAA(AAAA::from(Ipv6Addr::LOCALHOST)));
        packet.build_bytes_vec_compressed().unwrap()
    }

    #[test]
    fn an_answer_is_read() {
        let message = message(&answer()).unwrap();
        assert_eq!((message.id, message.response, message.truncated), (0x1234, true, false));
        assert_eq!(message.rcode.to_string(), "NOERROR");
        let question = message.question.unwrap();
        assert_eq!((&*question.name, &*question.qtype), ("Proxy.test", "A"));
        assert_eq!(message.answers, 3);
        assert_eq!(message.addresses, [IpAddr::from([192, 0, 2, 1]), IpAddr::from(Ipv6Addr::LOCALHOST)]);
        assert_eq!(message.cnames, ["edge.proxy.test"]);
    }

    #[test]
    fn an_answer_cut_anywhere_keeps_what_was_whole() {
        let bytes = answer();
        let whole = message(&bytes).unwrap();
        for len in HEADER..bytes.len() {
            let cut = message(&bytes[..len]).unwrap();
            assert_eq!((cut.id, cut.answers, cut.rcode), (whole.id, whole.answers, whole.rcode));
            assert!(whole.addresses.starts_with(&cut.addresses), "cut at {len}");
            assert_eq!(cut.question.is_some(), len >= HEADER + 16, "cut at {len}");
        }
        assert!(matches!(message(&bytes[..11]), Err(Undecoded::Short { have: 11, .. })));
    }

    #[test]
    fn a_refused_query_and_a_truncation_are_seen() {
        let mut packet = Packet::new_reply(1);
        packet.set_flags(PacketFlag::TRUNCATION);
        *packet.rcode_mut() = RCODE::NameError;
        let message = message(&packet.build_bytes_vec().unwrap()).unwrap();
        assert!(message.truncated);
        assert_eq!(message.rcode.to_string(), "NXDOMAIN");
        assert_eq!(message.question, None);
    }

    #[test]
    fn an_extended_response_code_is_put_together() {
        let mut bytes = vec![0, 1, 0x80, 7, 0, 0, 0, 0, 0, 0, 0, 1];
        bytes.extend([0, 0, 41, 4, 0xd0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(message(&bytes).unwrap().rcode.to_string(), "RCODE23");
    }

    #[test]
    fn names_and_types_without_a_letter_are_written_out() {
        let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(b"\x03a.\x00\x02\\b\x00\xff\x00\x00\x01");
        let question = message(&bytes).unwrap().question.unwrap();
        assert_eq!((&*question.name, &*question.qtype), (r"a\.\000.\\b", "TYPE65280"));
        bytes.truncate(HEADER);
        bytes.extend([0, 0, 65, 0, 1]);
        let question = message(&bytes).unwrap().question.unwrap();
        assert_eq!((&*question.name, &*question.qtype), (".", "HTTPS"));
    }

    #[test]
    fn a_pointer_to_itself_is_no_loop() {
        let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend([0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(message(&bytes).unwrap().question, None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_the_result_is_small(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
            if let Ok(message) = message(&bytes) {
                prop_assert!(message.addresses.len() <= RETAINED_MAX && message.cnames.len() <= RETAINED_MAX);
                prop_assert!(message.question.is_none_or(|question| question.name.len() <= 4 * NAME_MAX));
            }
        }

        #[test]
        fn no_address_is_read_that_another_parser_does_not_see(flips in proptest::collection::vec((12usize..80, any::<u8>()), 0..4)) {
            let mut bytes = answer();
            for (at, value) in flips {
                if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            }
            if let Ok(theirs) = Packet::parse(&bytes) {
                let ours = message(&bytes).unwrap();
                let addresses: Vec<IpAddr> = theirs.answers.iter().filter(|record| record.class == CLASS::IN)
                    .filter_map(|record| match &record.rdata {
                        RData::A(a) => Some(Ipv4Addr::from(a.address).into()),
                        RData::AAAA(a) => Some(Ipv6Addr::from(a.address).into()),
                        _ => None,
                    }).collect();
                prop_assert!(ours.addresses.iter().all(|address| addresses.contains(address)));
            }
        }
    }
}
