//! The pipe to the exporter. In: whole lines. Out: as many of them as the pipe takes now; the others wait, up to a
//! limit, beyond which they are left out and counted. Nobody waits for a reader until the end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Bytes that wait.
const WAITING_MAX: usize = 16 << 20;
/// How long the end may take.
const END_MAX: Duration = Duration::from_secs(5);

/// An open pipe, which does not block.
pub(crate) struct Feed {
    pipe: File,
    waiting: VecDeque<u8>,
    lost: u64,
}

impl Feed {
    /// Of an open pipe.
    pub(crate) fn new(pipe: OwnedFd) -> Self {
        Self { pipe: pipe.into(), waiting: VecDeque::new(), lost: 0 }
    }

    /// Waits until all is written, for a while. Out: lines that were left out.
    pub(crate) fn finish(&mut self) -> u64 {
        let limit = Instant::now() + END_MAX;
        while !self.waiting.is_empty() && self.flush().is_ok() {
            let left = limit.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut writable = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLOUT)];
            if left.is_zero() || poll(&mut writable, timeout) == Ok(0) {
                break;
            }
        }
        self.lost + self.waiting.iter().filter(|byte| **byte == b'\n').count() as u64
    }
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        if self.waiting.len() > WAITING_MAX {
            self.lost += bytes.split(|byte| *byte == b'\n').count() as u64 - 1;
        } else {
            self.waiting.extend(bytes);
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match self.pipe.write(self.waiting.as_slices().0) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    #[test]
    fn nobody_waits_for_a_reader_and_what_is_left_out_is_counted() {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut feed = Feed::new(write);
        let line = [vec![b'x'; (1 << 20) - 1], vec![b'\n']].concat();
        for _ in 0..24 {
            feed.write_all(&line).unwrap();
        }
        assert!(feed.lost > 0 && feed.waiting.len() <= WAITING_MAX + line.len(), "{}", feed.lost);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            File::from(read).read_to_end(&mut all).unwrap();
            all
        });
        let lost = feed.finish();
        drop(feed);
        let all = reader.join().unwrap();
        assert_eq!(all.len() as u64, (24 - lost) << 20);
        assert!(all.chunks(1 << 20).all(|of| of == line));
    }
}
