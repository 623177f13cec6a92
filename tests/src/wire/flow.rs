//! What happens to each packet. In go faults and packets, out come verdicts.

use std::collections::HashMap;
use std::net::IpAddr;

use super::faults::{Direction, HelloLoss, WireFaults};
use super::packet::Segment;

/// First byte of a TLS record with a handshake message.
const HANDSHAKE: u8 = 22;
/// Bytes before a TLS record's content.
const RECORD_HEADER: usize = 5;

/// What is done with a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It goes on
    Pass,
    /// It goes on as it is now, and once more as it was before
    Changed {
        /// As it was
        original: Vec<u8>,
        /// When, `CLOCK_MONOTONIC`, nanoseconds
        again_ns: u64,
    },
    /// It goes on so much later, nanoseconds
    Late(u64),
    /// It is lost
    Drop,
}

/// The faults, and what they need to know of connections.
#[derive(Debug, Default)]
pub(super) struct Flows {
    faults: WireFaults,
    flows: HashMap<(IpAddr, u16), Flow>,
    /// Of connections that died of each of the faults' deaths
    died: Vec<u32>,
    /// Of the random numbers
    seed: u64,
}

/// A connection, by its server and the client's port.
#[derive(Debug, Default)]
struct Flow {
    syns: u32,
    /// Bytes of payload that were on their way to the client, again counted when retransmitted
    brought: u64,
    /// Its first payload was seen
    greeted: bool,
    /// The hello is lost, and all after it
    mute: bool,
    dead: bool,
    /// When its window was closed, `CLOCK_MONOTONIC`, nanoseconds
    closed_ns: Option<u64>,
}

impl Flows {
    pub(super) fn new(faults: WireFaults) -> Self {
        let died = vec![0; faults.deaths.len()];
        Self { faults, flows: HashMap::new(), died, seed: 1 }
    }

    pub(super) const fn faults(&self) -> &WireFaults {
        &self.faults
    }

    /// Says what happens to the packet at that time, and changes it if a fault does.
    pub(super) fn judge(&mut self, direction: Direction, packet: &mut [u8], now_ns: u64) -> Verdict {
        let Some(segment) = Segment::of(packet) else { return Verdict::Pass };
        let (server, port) = match direction {
            Direction::ToServer => (segment.addresses.1, segment.ports.0),
            Direction::ToClient => (segment.addresses.0, segment.ports.1),
        };
        let key = (server, port);
        let flow = self.flows.entry(key).or_default();
        if segment.is_syn {
            // The port may be a new connection's; of one, only SYNs come again.
            *flow = Flow { syns: flow.syns + 1, ..Flow::default() };
            let syns = flow.syns;
            let lost = |lost: &&super::LostSyns| lost.to == server && lost.first.is_none_or(|n| syns <= n);
            return if self.faults.lost_syns.iter().any(|fault| lost(&fault)) {
                Verdict::Drop
            } else {
                match self.faults.delayed_syns.as_nanos() as u64 {
                    0 => Verdict::Pass,
                    late_ns => Verdict::Late(late_ns),
                }
            };
        }
        let is_large = |loss: &super::LargeLoss| loss.direction == direction && packet.len() > loss.bytes;
        if self.faults.large_losses.iter().any(is_large) {
            return Verdict::Drop;
        }
        let payload = &packet[segment.payload.clone()];
        match direction {
            Direction::ToClient => flow.brought += payload.len() as u64,
            Direction::ToServer if !payload.is_empty() && !flow.greeted => {
                flow.greeted = true;
                match self.faults.lost_hellos.iter().find(|loss| is_lost(loss, payload)) {
                    Some(HelloLoss::Naming(_)) => flow.mute = true,
                    Some(HelloLoss::LargerThanAPacket) => {
                        flow.mute = true;
                        return Verdict::Pass;
                    }
                    None => {}
                }
            }
            Direction::ToServer => {}
        }
        let too_large = self.faults.large_lost.is_some_and(|most| payload.len() > most);
        if too_large && direction == Direction::ToClient {
            return Verdict::Drop;
        }
        if flow.dead || (flow.mute && direction == Direction::ToServer && !payload.is_empty()) {
            return Verdict::Drop;
        }
        for (death, died) in self.faults.deaths.iter().zip(&mut self.died) {
            // With something of the client's own, so that it has bytes nobody acknowledges.
            let speaks = direction == Direction::ToServer && !payload.is_empty();
            if death.with == server && speaks && flow.brought > death.after_bytes && *died < death.times {
                *died += 1;
                flow.dead = true;
                return Verdict::Drop;
            }
        }
        let brought = flow.brought;
        for zero in self.faults.zero_windows.iter().filter(|zero| zero.of == server) {
            if direction == Direction::ToClient && brought > zero.after_bytes {
                let again_ns = *flow.closed_ns.get_or_insert(now_ns) + zero.lasts.as_nanos() as u64;
                if now_ns < again_ns {
                    // Else the client learns of the window only when it probes it, ever later.
                    let original = packet.to_vec();
                    segment.close_window(packet);
                    return Verdict::Changed { original, again_ns };
                }
            }
        }
        let loss = self.faults.loss.iter().find(|l| l.direction == direction && brought > l.after_bytes);
        match loss.map(|loss| loss.percent) {
            Some(percent) if self.random() % 100 < u64::from(percent) => Verdict::Drop,
            _ => Verdict::Pass,
        }
    }

    /// `splitmix64`: the same numbers in every run.
    const fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Whether the first payload of a connection is a hello that is lost so.
fn is_lost(loss: &HelloLoss, payload: &[u8]) -> bool {
    payload.first() == Some(&HANDSHAKE)
        && match loss {
            HelloLoss::Naming(name) => payload.windows(name.len()).any(|part| part == name.as_bytes()),
            HelloLoss::LargerThanAPacket => payload.get(3..RECORD_HEADER).is_some_and(|size| {
                payload.len() < RECORD_HEADER + usize::from(u16::from_be_bytes([size[0], size[1]]))
            }),
        }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::super::faults::{Death, Loss, LostSyns, ZeroWindow};
    use super::super::packet::packet;
    use super::*;

    const CLIENT: [u8; 4] = [192, 0, 2, 10];
    const SERVER: [u8; 4] = [192, 0, 2, 2];
    const SYN: u8 = 0b10;
    const ACK: u8 = 0b1_0000;

    fn server() -> IpAddr {
        Ipv4Addr::from(SERVER).into()
    }

    fn up(flows: &mut Flows, flags: u8, payload: &[u8]) -> Verdict {
        flows.judge(Direction::ToServer, &mut packet(CLIENT, SERVER, (4000, 443), flags, payload), 0)
    }

    fn down(flows: &mut Flows, payload: &[u8]) -> Verdict {
        flows.judge(Direction::ToClient, &mut packet(SERVER, CLIENT, (443, 4000), ACK, payload), 0)
    }

    #[test]
    fn the_first_syns_are_lost_and_no_other() {
        let lost_syns = vec![LostSyns { to: server(), first: Some(2) }];
        let mut flows = Flows::new(WireFaults { lost_syns, ..WireFaults::default() });
        let verdicts = [0; 4].map(|_| up(&mut flows, SYN, b""));
        assert_eq!(verdicts, [Verdict::Drop, Verdict::Drop, Verdict::Pass, Verdict::Pass]);
    }

    #[test]
    fn late_syns_are_late_and_what_follows_is_not() {
        let mut flows =
            Flows::new(WireFaults { delayed_syns: Duration::from_nanos(7), ..WireFaults::default() });
        assert_eq!(up(&mut flows, SYN, b""), Verdict::Late(7));
        assert_eq!(up(&mut flows, ACK, b"x"), Verdict::Pass);
    }

    #[test]
    fn a_hello_that_names_the_server_and_all_after_it_is_lost() {
        let lost_hellos = vec![HelloLoss::Naming("sumdb.test".to_owned())];
        let mut flows = Flows::new(WireFaults { lost_hellos, ..WireFaults::default() });
        assert_eq!(up(&mut flows, ACK, b"\x16\x03\x01\x00\x0a..proxy.test"), Verdict::Pass);
        up(&mut flows, SYN, b"");
        assert_eq!(up(&mut flows, ACK, b"\x16\x03\x01\x00\x0a..sumdb.test"), Verdict::Drop);
        assert_eq!(up(&mut flows, ACK, b"again"), Verdict::Drop);
        assert_eq!(up(&mut flows, ACK, b""), Verdict::Pass, "an acknowledgement");
        assert_eq!(down(&mut flows, b"bye"), Verdict::Pass);
    }

    #[test]
    fn of_a_hello_larger_than_a_packet_the_first_packet_arrives() {
        let lost_hellos = vec![HelloLoss::LargerThanAPacket];
        let mut flows = Flows::new(WireFaults { lost_hellos, ..WireFaults::default() });
        assert_eq!(up(&mut flows, ACK, b"\x16\x03\x01\x00\x03abc"), Verdict::Pass);
        assert_eq!(up(&mut flows, ACK, b"more"), Verdict::Pass, "it fitted");
        up(&mut flows, SYN, b"");
        assert_eq!(up(&mut flows, ACK, b"\x16\x03\x01\x00\x04abc"), Verdict::Pass);
        assert_eq!(up(&mut flows, ACK, b"d"), Verdict::Drop);
    }

    #[test]
    fn of_an_answer_only_the_small_segments_arrive() {
        let mut flows = Flows::new(WireFaults { large_lost: Some(3), ..WireFaults::default() });
        assert_eq!((down(&mut flows, b"abcd"), down(&mut flows, b"abc")), (Verdict::Drop, Verdict::Pass));
        assert_eq!(up(&mut flows, ACK, b"abcd"), Verdict::Pass);
    }

    #[test]
    fn a_dead_connection_carries_nothing_and_the_next_one_lives() {
        let deaths = vec![Death { with: server(), after_bytes: 3, times: 1 }];
        let mut flows = Flows::new(WireFaults { deaths, ..WireFaults::default() });
        assert_eq!(down(&mut flows, b"abc"), Verdict::Pass);
        assert_eq!((down(&mut flows, b"d"), up(&mut flows, ACK, b"")), (Verdict::Pass, Verdict::Pass));
        assert_eq!(up(&mut flows, ACK, b"x"), Verdict::Drop);
        assert_eq!((up(&mut flows, ACK, b""), down(&mut flows, b"")), (Verdict::Drop, Verdict::Drop));
        up(&mut flows, SYN, b"");
        assert_eq!(down(&mut flows, b"abcdef"), Verdict::Pass);
        assert_eq!(up(&mut flows, ACK, b"x"), Verdict::Pass);
    }

    #[test]
    fn a_window_is_closed_for_its_time() {
        let zero_windows = vec![ZeroWindow { of: server(), after_bytes: 0, lasts: Duration::from_nanos(10) }];
        let mut flows = Flows::new(WireFaults { zero_windows, ..WireFaults::default() });
        let windows = [5, 14, 15].map(|now| {
            let mut packet = packet(SERVER, CLIENT, (443, 4000), ACK, b"x");
            let original = packet.clone();
            let verdict = flows.judge(Direction::ToClient, &mut packet, now);
            let changed = Verdict::Changed { original, again_ns: 15 };
            assert_eq!(verdict, if now < 15 { changed } else { Verdict::Pass });
            u16::from_be_bytes([packet[34], packet[35]])
        });
        assert_eq!(windows, [0, 0, 0x1234]);
    }

    #[test]
    fn loss_begins_after_the_handshake_and_is_about_as_much_as_was_asked_for() {
        let loss = vec![Loss { direction: Direction::ToClient, percent: 20, after_bytes: 1000 }];
        let mut flows = Flows::new(WireFaults { loss, ..WireFaults::default() });
        assert!((0..1000).all(|_| down(&mut flows, b"x") == Verdict::Pass));
        let lost = (0..1000).filter(|_| down(&mut flows, b"x") == Verdict::Drop).count();
        assert!((150..250).contains(&lost), "{lost}");
    }
}
