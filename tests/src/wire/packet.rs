//! TCP inside IP packets, as far as the wire's faults need it. In goes a packet as bytes, out
//! come its addresses, flags and payload, or nothing when it is no TCP.

use std::net::IpAddr;
use std::ops::Range;

const TCP: u8 = 6;
/// Bytes of an IPv6 header; extension headers never come from the lab.
const IPV6_HEADER: usize = 40;

/// A TCP segment inside a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Sender and receiver
    pub addresses: (IpAddr, IpAddr),
    /// Likewise
    pub ports: (u16, u16),
    /// SYN without ACK: a connection is asked for
    pub is_syn: bool,
    /// Where the payload is
    pub payload: Range<usize>,
    /// Where the TCP header begins
    tcp: usize,
}

impl Segment {
    /// Reads the packet.
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let (tcp, end, addresses) = match packet.first()? >> 4 {
            4 => {
                let header = usize::from(packet[0] & 0xf) * 4;
                let total = usize::from(word(packet, 2)?);
                (*packet.get(9)? == TCP).then_some(())?;
                (header, total, (address4(packet, 12)?, address4(packet, 16)?))
            }
            6 => {
                let total = IPV6_HEADER + usize::from(word(packet, 4)?);
                (*packet.get(6)? == TCP).then_some(())?;
                (IPV6_HEADER, total, (address6(packet, 8)?, address6(packet, 24)?))
            }
            _ => return None,
        };
        let data = tcp + usize::from(packet.get(tcp + 12)? >> 4) * 4;
        let flags = *packet.get(tcp + 13)?;
        (data <= end && end <= packet.len()).then_some(())?;
        Some(Self {
            addresses,
            ports: (word(packet, tcp)?, word(packet, tcp + 2)?),
            is_syn: flags & 0b1_0010 == 0b10,
            payload: data..end,
            tcp,
        })
    }

    /// Closes the sender's receive window, and fixes the checksum.
    pub(super) fn close_window(&self, packet: &mut [u8]) {
        let (window, sum) = (self.tcp + 14, self.tcp + 16);
        if let (Some(old), Some(checksum)) = (word(packet, window), word(packet, sum)) {
            packet[window..window + 2].fill(0);
            packet[sum..sum + 2].copy_from_slice(&without(checksum, old).to_be_bytes());
        }
    }
}

/// The checksum of a packet in which a word became zero (RFC 1624).
fn without(checksum: u16, word: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!word);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

fn word(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?))
}

fn address4(packet: &[u8], at: usize) -> Option<IpAddr> {
    Some(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?.into())
}

fn address6(packet: &[u8], at: usize) -> Option<IpAddr> {
    Some(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?.into())
}

/// A TCP packet over IPv4 for tests, its checksum left zero.
#[cfg(test)]
pub(super) fn packet(from: [u8; 4], to: [u8; 4], ports: (u16, u16), flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(40 + payload.len() as u16).to_be_bytes());
    packet[9] = TCP;
    packet[12..16].copy_from_slice(&from);
    packet[16..20].copy_from_slice(&to);
    packet[20..22].copy_from_slice(&ports.0.to_be_bytes());
    packet[22..24].copy_from_slice(&ports.1.to_be_bytes());
    packet[32] = 0x50;
    packet[33] = flags;
    packet[34..36].copy_from_slice(&0x1234_u16.to_be_bytes());
    packet.extend(payload);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of all 16-bit words of the TCP part, as the checksum counts it.
    fn sum(tcp: &[u8]) -> u16 {
        let words = tcp.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
        let sum: u32 = words.sum();
        ((sum & 0xffff) + (sum >> 16)) as u16
    }

    #[test]
    fn a_segment_is_read_and_a_cut_one_is_none() {
        let packet = packet([192, 0, 2, 10], [192, 0, 2, 2], (4000, 443), 0b10, b"hello");
        let segment = Segment::of(&packet).unwrap();
        assert_eq!((segment.ports, segment.is_syn), ((4000, 443), true));
        assert_eq!(&packet[segment.payload.clone()], b"hello");
        for size in 0..packet.len() {
            assert_eq!(Segment::of(&packet[..size]), None, "{size}");
        }
    }

    #[test]
    fn a_closed_window_keeps_the_checksum_right() {
        let mut packet = packet([192, 0, 2, 2], [192, 0, 2, 10], (443, 4000), 0b1_0000, b"");
        let checksum = !sum(&packet[20..]);
        packet[36..38].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(sum(&packet[20..]), 0xffff);
        Segment::of(&packet).unwrap().close_window(&mut packet);
        assert_eq!(&packet[34..36], [0, 0]);
        assert_eq!(sum(&packet[20..]), 0xffff);
    }
}
