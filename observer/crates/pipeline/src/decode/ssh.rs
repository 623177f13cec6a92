//! How an ssh connection begins: bytes of both directions in, its steps out. The greeting (RFC 4253, 4.2), then
//! packets in plain text (6) up to NEWKEYS (7.3), behind which everything is encrypted. Nothing of them is kept.

/// What has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A greeting, whole
    Greeting,
    /// The server's part of the key exchange, with its host key
    HostKey,
    /// What follows is encrypted by the new keys
    NewKeys,
}

/// Bytes of greetings, and of lines that a server may send before its own.
const LINES_MAX: usize = 2048;
/// Longest packet that every implementation takes (RFC 4253, 6.1).
const PACKET_MAX: u32 = 35_000;
/// `SSH_MSG_NEWKEYS`; `SSH_MSG_KEXDH_REPLY` and its kin, `SSH_MSG_KEX_DH_GEX_REPLY`
const NEWKEYS: u8 = 21;
const REPLIES: [u8; 2] = [31, 33];

/// Both directions of a connection.
#[derive(Debug, Default)]
pub struct Ssh {
    sent: Side,
    received: Side,
}

#[derive(Debug, Default)]
struct Side {
    state: State,
    /// The line, or the beginning of the packet, that is not whole yet
    part: Vec<u8>,
    lines: usize,
    /// Bytes of the packet still to come
    left: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Greeting,
    Packets,
    Over,
}

impl Ssh {
    /// A connection that begins with these bytes of the client; `None` when it is something else.
    pub fn begins(bytes: &[u8]) -> Option<Self> {
        bytes.starts_with(b"SSH-").then(Self::default)
    }

    /// Bytes of one call, of which `len` went through; the steps in them.
    pub fn bytes(&mut self, received: bool, bytes: &[u8], len: usize) -> Vec<Step> {
        let side = if received { &mut self.received } else { &mut self.sent };
        let mut steps = Vec::new();
        for byte in bytes {
            side.byte(*byte, received, &mut steps);
        }
        // What was not copied may only be the inside of a packet.
        let missing = len.saturating_sub(bytes.len());
        if missing > side.left {
            side.state = State::Over;
        }
        side.left -= missing.min(side.left);
        steps
    }
}

impl Side {
    fn byte(&mut self, byte: u8, received: bool, steps: &mut Vec<Step>) {
        match self.state {
            State::Over => {}
            State::Greeting => {
                self.lines += 1;
                if byte != b'\n' {
                    self.part.push(byte);
                } else if std::mem::take(&mut self.part).starts_with(b"SSH-") {
                    self.state = State::Packets;
                    steps.push(Step::Greeting);
                }
                if self.lines > LINES_MAX {
                    self.state = State::Over;
                }
            }
            State::Packets if self.left > 0 => self.left -= 1,
            State::Packets => {
                self.part.push(byte);
                let [a, b, c, d, _, kind] = self.part[..] else { return };
                self.part.clear();
                let length = u32::from_be_bytes([a, b, c, d]);
                if !(2..=PACKET_MAX).contains(&length) {
                    self.state = State::Over;
                    return;
                }
                self.left = length as usize - 2;
                if kind == NEWKEYS {
                    self.state = State::Over;
                    steps.push(Step::NewKeys);
                } else if received && REPLIES.contains(&kind) {
                    steps.push(Step::HostKey);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, payload: usize) -> Vec<u8> {
        let mut packet = (payload as u32 + 2).to_be_bytes().to_vec();
        packet.extend([4, kind]);
        packet.resize(packet.len() + payload, 9);
        packet
    }

    #[test]
    fn a_beginning_is_read_byte_by_byte_and_in_one_piece() {
        let server =
            [b"please wait\r\nSSH-2.0-x\r\n".to_vec(), packet(20, 900), packet(31, 700), packet(21, 10)]
                .concat();
        let wanted = [Step::Greeting, Step::HostKey, Step::NewKeys];
        let mut ssh = Ssh::begins(b"SSH-2.0-y\r\n").unwrap();
        assert_eq!(ssh.bytes(true, &server, server.len()), wanted);
        let mut ssh = Ssh::begins(b"SSH-2.0-y\r\n").unwrap();
        let steps: Vec<Step> = server.iter().flat_map(|byte| ssh.bytes(true, &[*byte], 1)).collect();
        assert_eq!(steps, wanted);
        let client = [b"SSH-2.0-y\r\n".to_vec(), packet(20, 900), packet(30, 300), packet(21, 10)].concat();
        assert_eq!(ssh.bytes(false, &client, client.len()), [Step::Greeting, Step::NewKeys]);
    }

    #[test]
    fn what_was_not_copied_is_skipped_inside_a_packet_and_ends_it_elsewhere() {
        let mut ssh = Ssh::begins(b"SSH-").unwrap();
        let server = [b"SSH-2.0-x\r\n".to_vec(), packet(20, 100)].concat();
        assert_eq!(ssh.bytes(true, &server[..50], server.len()), [Step::Greeting]);
        assert_eq!(ssh.bytes(true, &packet(31, 5), 11), [Step::HostKey]);
        assert_eq!(ssh.bytes(true, &[], 50), []);
        assert_eq!(ssh.bytes(true, &packet(21, 5), 11), []);
    }

    #[test]
    fn others_are_none() {
        assert!(Ssh::begins(b"GET / HTTP/1.1\r\n").is_none());
        let mut ssh = Ssh::begins(b"SSH-2.0-y\r\n").unwrap();
        let noise = [b"SSH-2.0-x\n".to_vec(), vec![0xff; 9000]].concat();
        assert_eq!(ssh.bytes(true, &noise, noise.len()), [Step::Greeting]);
        let mut ssh = Ssh::begins(b"SSH-2.0-y\r\n").unwrap();
        assert_eq!(ssh.bytes(true, &[b'x'; 9000], 9000), []);
    }
}
