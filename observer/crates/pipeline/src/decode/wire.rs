//! Ring records: bytes in, a [`Record`] out. The struct that a record's kind names is copied
//! (records are not aligned in a recording), its variable part is borrowed.

use observer_common::{
    Began, Exec, Exit, Fork, Frame, Handshake, Header, Http1, Interval, Kind, Lock, Payload, SockMark,
    SockState, TcpInfo,
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::Undecoded;

/// An event of the kernel side.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What leads every event
    pub header: Header,
    /// The event itself
    pub body: Body<'a>,
}

/// What follows the header, one variant a [`Kind`]. A variable part never goes beyond the length
/// that its header claims for it.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// A new process
    Fork(Fork),
    /// A new program, and its argument block (NUL separated)
    Exec(Exec, &'a [u8]),
    /// A process ended
    Exit(Exit),
    /// An idle interval ended
    Interval(Interval),
    /// A TCP socket changed its state
    SockState(SockState),
    /// A retransmission or a reset
    SockMark(SockMark),
    /// Counters of a live connection
    TcpInfo(TcpInfo),
    /// Bytes of a DNS message
    Dns(Payload, &'a [u8]),
    /// Bytes of a TLS hello
    Hello(Payload, &'a [u8]),
    /// A TLS handshake of Go began or ended
    Handshake(Handshake),
    /// An HTTP/2 frame, and a slice of its payload
    Frame(Frame, &'a [u8]),
    /// An HTTP/1.1 call, and its bytes of a head
    Http1(Http1, &'a [u8]),
    /// A file lock is waited for or taken
    Lock(Lock),
    /// Where and with what a go command began, and a part of its environment
    Began(Began, &'a [u8]),
}

/// The process and its new program, when that is what a record reports. Looks at nothing else, so that
/// it can be asked of every record.
pub fn exec(bytes: &[u8]) -> Option<(u32, Exec)> {
    let (header, rest) = Header::read_from_prefix(bytes).ok()?;
    let exec = (header.kind == Kind::Exec as u16).then(|| Exec::read_from_prefix(rest).ok()).flatten()?;
    Some((header.pid, exec.0))
}

/// The part of a record that has a meaning: the kernel side may reserve more of the ring than it fills.
/// Of one that cannot be read, all.
pub fn used(bytes: &[u8]) -> &[u8] {
    let whole = || {
        let (header, rest) = Header::read_from_prefix(bytes).ok()?;
        let body = kind(header.kind).ok()?.size();
        let data = rest.len().checked_sub(body)?.min(header.data as usize);
        bytes.get(..size_of::<Header>() + body + data)
    };
    whole().unwrap_or(bytes)
}

/// Reads one record.
///
/// # Errors
/// [`Undecoded::Short`] when it ends before its struct does, [`Undecoded::Kind`] when its kind is
/// unknown.
pub fn record(bytes: &[u8]) -> Result<Record<'_>, Undecoded> {
    let (header, rest) = take::<Header>("record header", bytes)?;
    let body = match kind(header.kind)? {
        Kind::Fork => Body::Fork(take("fork", rest)?.0),
        Kind::Exec => {
            let (exec, data): (Exec, _) = take("exec", rest)?;
            Body::Exec(exec, upto(data, header.data))
        }
        Kind::Exit => Body::Exit(take("exit", rest)?.0),
        Kind::Interval => Body::Interval(take("interval", rest)?.0),
        Kind::SockState => Body::SockState(take("socket state", rest)?.0),
        Kind::SockMark => Body::SockMark(take("socket mark", rest)?.0),
        Kind::TcpInfo => Body::TcpInfo(take("tcp counters", rest)?.0),
        Kind::Dns => {
            let (payload, data): (Payload, _) = take("dns payload", rest)?;
            Body::Dns(payload, upto(data, header.data))
        }
        Kind::Hello => {
            let (payload, data): (Payload, _) = take("hello payload", rest)?;
            Body::Hello(payload, upto(data, header.data))
        }
        Kind::Handshake => Body::Handshake(take("handshake", rest)?.0),
        Kind::Frame => {
            let (frame, data): (Frame, _) = take("frame", rest)?;
            Body::Frame(frame, upto(data, header.data))
        }
        Kind::Http1 => {
            let (http1, data): (Http1, _) = take("http/1.1 call", rest)?;
            Body::Http1(http1, upto(data, header.data))
        }
        Kind::Lock => Body::Lock(take("lock", rest)?.0),
        Kind::Began => {
            let (began, data): (Began, _) = take("beginning of a command", rest)?;
            Body::Began(began, upto(data, header.data))
        }
    };
    Ok(Record { header, body })
}

fn take<'a, T: FromBytes + KnownLayout + Immutable>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<(T, &'a [u8]), Undecoded> {
    T::read_from_prefix(bytes).map_err(|_| Undecoded::Short { what, need: size_of::<T>(), have: bytes.len() })
}

/// The kernel side may reserve more of the ring than it fills.
fn upto(data: &[u8], len: u32) -> &[u8] {
    data.get(..len as usize).unwrap_or(data)
}

const fn kind(raw: u16) -> Result<Kind, Undecoded> {
    match Kind::of(raw) {
        Some(kind) => Ok(kind),
        None => Err(Undecoded::Kind(raw)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;

    fn bytes(kind: u16, body: &[u8], data: &[u8]) -> Vec<u8> {
        let mut header = Header::new_zeroed();
        header.kind = kind;
        header.pid = 7;
        header.data = data.len() as u32;
        [header.as_bytes(), body, data].concat()
    }

    #[test]
    fn a_lock_is_read_back() {
        let mut lock = Lock::new_zeroed();
        lock.ino = 99;
        let raw = bytes(13, lock.as_bytes(), &[]);
        let record = record(&raw).unwrap();
        assert_eq!(record.header.pid, 7);
        assert!(matches!(record.body, Body::Lock(Lock { ino: 99, .. })));
    }

    #[test]
    fn data_ends_where_its_header_says() {
        let mut raw = bytes(8, Payload::new_zeroed().as_bytes(), b"abcdef");
        raw[24] = 3;
        assert!(matches!(record(&raw).unwrap().body, Body::Dns(_, b"abc")));
    }

    #[test]
    fn data_that_was_cut_is_what_is_there() {
        let mut raw = bytes(9, Payload::new_zeroed().as_bytes(), b"ab");
        raw[24] = 200;
        assert!(matches!(record(&raw).unwrap().body, Body::Hello(_, b"ab")));
    }

    #[test]
    fn what_is_used_reads_the_same() {
        for kind in 0..=14 {
            for data in [0, 3, 600] {
                let mut raw = bytes(kind, &[7; 600], &[]);
                raw[24..28].copy_from_slice(&u32::to_ne_bytes(data));
                let used = used(&raw);
                assert_eq!(format!("{:?}", record(used)), format!("{:?}", record(&raw)), "kind {kind}");
            }
        }
        assert_eq!(used(&bytes(8, Payload::new_zeroed().as_bytes(), b"abcdef")).len(), 32 + 40 + 6);
        assert_eq!(used(&[1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn an_unknown_kind_is_reported() {
        assert_eq!(record(&bytes(0, &[], &[])).unwrap_err(), Undecoded::Kind(0));
        assert_eq!(record(&bytes(15, &[0; 64], &[])).unwrap_err(), Undecoded::Kind(15));
    }

    #[test]
    fn every_kind_of_a_short_record_is_refused() {
        for kind in 1..=13 {
            let raw = bytes(kind, &[0; 7], &[]);
            assert!(matches!(record(&raw), Err(Undecoded::Short { have: 7, .. })), "kind {kind}");
            assert!(record(&bytes(kind, &[0; 512], &[])).is_ok(), "kind {kind}");
        }
        assert!(matches!(record(&[1, 0]), Err(Undecoded::Short { need: 32, have: 2, .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(raw in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = record(&raw);
        }
    }
}
