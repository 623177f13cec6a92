//! Any conversation with a forward proxy; and of each direction, the same first answer at once and in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::decode::tunnel::{Step, Tunnel};

/// Beginnings that random bytes seldom reach.
const BEGINNINGS: [&[u8]; 4] =
    [b"CONNECT a.test:443 HTTP/1.1\r\n\r\n", b"CONN", &[5, 1, 0], &[5, 2, 0, 2]];

fn first(mut tunnel: Tunnel, sent: bool, pieces: impl Iterator<Item = Vec<u8>>) -> Option<Step> {
    for piece in pieces {
        let step = if sent { tunnel.sent(&piece) } else { tunnel.received(&piece) };
        if step.is_some() {
            return step;
        }
    }
    None
}

fuzz_target!(|input: (u8, Vec<(bool, Vec<u8>)>, Vec<u8>)| {
    let (which, calls, stream) = input;
    let _ = Tunnel::begins(&stream);
    let beginning = BEGINNINGS[usize::from(which) % BEGINNINGS.len()];
    let begun = || Tunnel::begins(beginning).expect("a beginning");
    let mut tunnel = begun();
    tunnel.sent(beginning);
    for (sent, bytes) in calls {
        let over = tunnel.is_over();
        let step = if sent { tunnel.sent(&bytes) } else { tunnel.received(&bytes) };
        assert!(!over || step.is_none(), "it was over");
        assert_eq!(step == Some(Step::Stands), !over && tunnel.is_over() && !refused(step.as_ref()));
    }
    for sent in [true, false] {
        let after = || {
            let mut tunnel = begun();
            if !sent {
                tunnel.sent(beginning);
            }
            tunnel
        };
        let at_once = first(after(), sent, std::iter::once(stream.clone()));
        for size in [1, 7] {
            let slowly = first(after(), sent, stream.chunks(size).map(<[u8]>::to_vec));
            assert!(at_once.is_none() || at_once == slowly, "{at_once:?} {slowly:?}");
        }
    }
});

fn refused(step: Option<&Step>) -> bool {
    matches!(step, Some(Step::Refused(_)))
}
