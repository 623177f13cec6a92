//! DNS over TCP: the bytes of calls in, whole messages out. Each message follows its length in
//! two bytes; calls cut the stream anywhere.

/// The stream of one direction of one connection. Holds at most one message (64 KB).
#[derive(Debug, Default)]
pub struct DnsTcp {
    /// Length prefix as far as it came
    prefix: Vec<u8>,
    /// Bytes of the current message that are still to come
    missing: usize,
    /// Bytes of the current message
    message: Vec<u8>,
    /// A part of the current message was not copied; what came before it is in `message`
    cut: bool,
    lost: bool,
}

impl DnsTcp {
    /// Takes the bytes of a call, of which there were `len` in all (fewer are given when the copy
    /// was cut), and gives the messages that are whole now. A message of which a part was not
    /// copied is given as far as it was known. When the length of a message was not copied, the
    /// stream is lost: nothing comes out any more.
    pub fn push(&mut self, bytes: &[u8], len: usize) -> impl Iterator<Item = Vec<u8>> + use<> {
        let mut out = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() && !self.lost {
            rest = self.step(rest, &mut out);
        }
        let mut gap = len.saturating_sub(bytes.len());
        if gap > 0 && self.missing == 0 {
            self.lost = true;
        }
        if gap > 0 && !self.lost {
            gap = gap.saturating_sub(self.missing);
            self.cut = true;
            self.missing -= self.missing.min(len - bytes.len());
            if self.missing == 0 {
                self.finish(&mut out);
            }
            self.lost = gap > 0;
        }
        if self.lost {
            *self = Self { lost: true, ..Self::default() };
        }
        out.into_iter()
    }

    fn step<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<Vec<u8>>) -> &'a [u8] {
        if self.missing == 0 {
            self.prefix.push(bytes[0]);
            if let [high, low] = self.prefix[..] {
                self.missing = usize::from(u16::from_be_bytes([high, low]));
                self.prefix.clear();
            }
            return &bytes[1..];
        }
        let (now, rest) = bytes.split_at(self.missing.min(bytes.len()));
        if !self.cut {
            self.message.extend_from_slice(now);
        }
        self.missing -= now.len();
        if self.missing == 0 {
            self.finish(out);
        }
        rest
    }

    fn finish(&mut self, out: &mut Vec<Vec<u8>>) {
        self.cut = false;
        out.push(std::mem::take(&mut self.message));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in messages {
            out.extend((message.len() as u16).to_be_bytes());
            out.extend(message);
        }
        out
    }

    #[test]
    fn several_messages_in_one_call_come_out_one_by_one() {
        let bytes = stream(&[b"one".to_vec(), Vec::new(), b"two".to_vec()]);
        let got: Vec<_> = DnsTcp::default().push(&bytes, bytes.len()).collect();
        assert_eq!(got, [b"one".to_vec(), b"two".to_vec()]);
    }

    #[test]
    fn a_cut_message_is_given_as_far_as_it_came_and_the_next_one_whole() {
        let mut tcp = DnsTcp::default();
        assert_eq!(tcp.push(b"\0\x08abcd", 8).count(), 0);
        let got: Vec<_> = tcp.push(b"gh\0\x02xy", 6).collect();
        assert_eq!(got, [b"abcd".to_vec(), b"xy".to_vec()]);
        let got: Vec<_> = tcp.push(b"\0\x08abcd", 10).collect();
        assert_eq!(got, [b"abcd".to_vec()]);
        assert_eq!(tcp.push(b"\0\x01z", 3).count(), 1);
    }

    #[test]
    fn a_length_that_was_not_copied_loses_the_stream() {
        for (bytes, len) in [(&b"\0\x04ab"[..], 7), (b"\0", 2), (b"", 1)] {
            let mut tcp = DnsTcp::default();
            tcp.push(bytes, len).for_each(drop);
            assert_eq!(tcp.push(b"\0\x01z", 3).count(), 0);
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..6),
            cuts in proptest::collection::vec(1usize..40, 1..200),
        ) {
            let bytes = stream(&messages);
            let (mut tcp, mut got, mut rest) = (DnsTcp::default(), Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at(rest.len().min(*cut));
                got.extend(tcp.push(now, now.len()));
                rest = later;
            }
            prop_assert_eq!(got, messages);
        }

        #[test]
        fn no_bytes_panic_and_no_more_than_a_message_is_held(
            calls in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), 0usize..400), 0..50),
        ) {
            let mut tcp = DnsTcp::default();
            for (bytes, len) in calls {
                tcp.push(&bytes, len).for_each(drop);
                prop_assert!(tcp.message.len() + tcp.missing <= 65_535);
            }
        }
    }
}
