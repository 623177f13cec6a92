//! What is written to and is no regular file: a pipe, a terminal, a device. It may have a reader
//! that does not read, which must not hold us for ever.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long nothing may be read before it is given up: less than a worker has for its report.
const PATIENCE: Duration = Duration::from_secs(10);
/// Written at once, bytes: as much as a pipe that takes any takes without blocking (`PIPE_BUF`).
const PIECE: usize = 4096;

/// An open stream.
#[derive(Debug)]
pub(crate) struct Stream {
    file: File,
    patience: Duration,
}

impl Stream {
    /// Of an open file.
    pub(crate) const fn new(file: File) -> Self {
        Self { file, patience: PATIENCE }
    }

    /// Where it leads, for another process.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// With less patience.
    #[cfg(test)]
    pub(super) const fn impatient(file: File, patience: Duration) -> Self {
        Self { file, patience }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let limit = Instant::now() + self.patience;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)], timeout) {
                Ok(0) => {
                    let what = format!("nothing was read from it for {} s", self.patience.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, what));
                }
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
                Ok(_) => {}
            }
            match self.file.write(&bytes[..bytes.len().min(PIECE)]) {
                // Another writer was faster.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
