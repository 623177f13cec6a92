//! The socket pair itself. In go messages and their descriptors, out they come at the other end, in
//! order; neither end ever waits for the other.
//!
//! What the socket has no room for waits here until [`Seam::flush`] is called: when the socket is
//! writable. Were sending to block, two ends that both send would wait for each other for ever.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message, bytes. Facts of a process are the longest: three paths of 4 KB.
pub(super) const MESSAGE_MAX: usize = 64 * 1024;
/// Most descriptors in one message.
const DESCRIPTORS_MAX: usize = 4;
/// With so many messages waiting there is no room for what can be left out.
const ROOM: usize = 128;
/// What must arrive has room for so many messages …
const WAITING_MAX: usize = 16 * 1024;
/// … and bytes: a command that ran already may have 512 processes of 16 KB each.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// One end of the seam.
#[derive(Debug)]
pub(crate) struct Seam {
    socket: OwnedFd,
    waiting: RefCell<Waiting>,
}

/// Messages that the socket had no room for.
#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    bytes: usize,
}

impl Seam {
    /// Both ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self::of(a), Self::of(b)))
    }

    /// An end that was inherited as descriptor `fd`.
    pub(crate) fn inherited(fd: i32) -> io::Result<Self> {
        #[expect(unsafe_code, reason = "taking over an inherited descriptor")]
        // SAFETY: the agent put the socket there for this process alone; a number that is no
        // socket fails below and is closed.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::SockType)?;
        nix::fcntl::fcntl(&socket, nix::fcntl::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        Ok(Self::of(socket))
    }

    fn of(socket: OwnedFd) -> Self {
        Self { socket, waiting: RefCell::default() }
    }

    /// Sends a message that must arrive, now or when there is room. That the other side has gone is
    /// reported by [`Seam::receive`] alone.
    ///
    /// # Errors
    /// Too long a message, or more waiting than the other side can be expected ever to read.
    pub(crate) fn send<M: Serialize>(&self, message: &M, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = encode(message)?;
        log::debug!("sends {}, {} bytes, {} descriptors", name(&bytes), bytes.len(), descriptors.len());
        if !self.is_waiting() && self.write(&bytes, descriptors)? {
            return Ok(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.messages.len() >= WAITING_MAX || waiting.bytes + bytes.len() > WAITING_BYTES_MAX {
            let count = waiting.messages.len();
            return Err(io::Error::other(format!("{count} messages wait for it to read them")));
        }
        let descriptors =
            descriptors.iter().map(BorrowedFd::try_clone_to_owned).collect::<io::Result<_>>()?;
        waiting.bytes += bytes.len();
        waiting.messages.push_back((bytes, descriptors));
        Ok(())
    }

    /// Whether there is room for a message that can be left out.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.borrow().messages.len() < ROOM
    }

    /// Sends a message that can be left out; whether it was not.
    pub(crate) fn offer<M: Serialize>(&self, message: &M, descriptors: &[BorrowedFd<'_>]) -> bool {
        self.has_room() && self.send(message, descriptors).is_ok()
    }

    /// Sends a message if it can go at once; whether it could.
    pub(crate) fn try_send<M: Serialize>(&self, message: &M, descriptors: &[BorrowedFd<'_>]) -> bool {
        let sent = || encode(message).and_then(|bytes| self.write(&bytes, descriptors));
        !self.is_waiting() && sent().unwrap_or(false)
    }

    /// Whether messages wait for the socket to be writable.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.borrow().messages.is_empty()
    }

    /// Sends what waits, as far as there is room.
    ///
    /// # Errors
    /// `WouldBlock` while some still waits.
    pub(crate) fn flush(&self) -> io::Result<()> {
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let Some((bytes, descriptors)) = waiting.messages.front() else { return Ok(()) };
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            if !self.write(bytes, &borrowed)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let sent = bytes.len();
            waiting.bytes -= sent;
            waiting.messages.pop_front();
        }
    }

    /// What to poll this end for.
    pub(crate) fn polled(&self) -> PollFd<'_> {
        let writable = if self.is_waiting() { PollFlags::POLLOUT } else { PollFlags::empty() };
        PollFd::new(self.socket.as_fd(), PollFlags::POLLIN | writable)
    }

    /// Writes a message; false when there is no room for it now.
    fn write(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<bool> {
        let raw: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        loop {
            let sent = sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None);
            match sent {
                Ok(_) => return Ok(true),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(false),
                // The other side has gone; what it said before can still be received.
                Err(Errno::ECONNRESET | Errno::EPIPE) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The next message; `None` when the other side has gone.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; anything else when it is no message.
    pub(crate) fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let mut bytes = vec![0; MESSAGE_MAX];
        let mut control = cmsg_space!([i32; DESCRIPTORS_MAX]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let (len, cut, descriptors) = loop {
            let mut vectors = [IoSliceMut::new(&mut bytes)];
            match recvmsg::<()>(self.socket.as_raw_fd(), &mut vectors, Some(&mut control), flags) {
                Ok(received) => {
                    let mut descriptors = Vec::new();
                    for message in received.cmsgs()? {
                        if let ControlMessageOwned::ScmRights(raw) = message {
                            #[expect(unsafe_code, reason = "descriptors arrive as numbers")]
                            // SAFETY: the kernel has just made them for this process.
                            descriptors.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                        }
                    }
                    let cut = received.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
                    break (received.bytes, cut, descriptors);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        };
        if len == 0 {
            return Ok(None);
        }
        if cut {
            return Err(io::Error::other("a message over the seam was cut"));
        }
        log::debug!("receives {}, {len} bytes, {} descriptors", name(&bytes[..len]), descriptors.len());
        Ok(Some((serde_json::from_slice(&bytes[..len])?, descriptors)))
    }

    /// As [`Seam::receive`], after a wait for a message.
    ///
    /// # Errors
    /// `TimedOut` when none has come by then.
    pub(crate) fn receive_within<M: DeserializeOwned>(
        &self,
        limit: Duration,
    ) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let until = Instant::now() + limit;
        loop {
            // What the other side is to answer may still wait here.
            let _ = self.flush();
            match self.receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match poll(&mut [self.polled()], PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// A message's name, where it is one of several: the first word of its JSON. What is in it is nobody's business.
fn name(bytes: &[u8]) -> &str {
    let mut parts = bytes.split(|byte| *byte == b'"');
    let word = parts.nth(1).filter(|word| word.first().is_some_and(u8::is_ascii_uppercase));
    word.and_then(|word| std::str::from_utf8(word).ok()).unwrap_or("a message")
}

fn encode<M: Serialize>(message: &M) -> io::Result<Vec<u8>> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_MAX {
        return Err(io::Error::other("a message is too long for the seam"));
    }
    Ok(bytes)
}

impl AsFd for Seam {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Seam {
    fn as_raw_fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::seam::{ToAgent, ToWorker};
    use model::id::Pid;

    /// Longer than a test takes on a busy machine.
    const LIMIT: Duration = Duration::from_secs(20);
    const MANY: u32 = 10_000;

    #[test]
    fn a_message_crosses_with_its_descriptors() {
        let (agent, worker) = Seam::pair().expect("a socket pair");
        let file = std::fs::File::open("/dev/null").expect("/dev/null");
        agent.send(&ToWorker::Maps, &[file.as_fd()]).expect("sent");
        let (message, descriptors) = worker.receive::<ToWorker>().expect("received").expect("a message");
        assert!(matches!(message, ToWorker::Maps));
        assert_eq!(descriptors.len(), 1);
    }

    #[test]
    fn the_other_sides_end_is_reported() {
        let (agent, worker) = Seam::pair().expect("a socket pair");
        drop(agent);
        assert!(worker.receive::<ToWorker>().expect("no error").is_none());
        worker.send(&ToAgent::Ready, &[]).expect("nobody to send to is no error");
    }

    #[test]
    fn a_foreign_message_is_an_error() {
        let (agent, worker) = Seam::pair().expect("a socket pair");
        worker.send(&"hello", &[]).expect("sent");
        assert!(agent.receive::<ToAgent>().is_err());
    }

    #[test]
    fn a_wait_for_nothing_ends() {
        let (agent, _worker) = Seam::pair().expect("a socket pair");
        let error = agent.receive_within::<ToAgent>(Duration::from_millis(1)).expect_err("nothing came");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn both_ends_send_ten_thousand_messages_before_either_receives() {
        let (done, over) = mpsc::channel();
        std::thread::spawn(move || {
            let (agent, worker) = Seam::pair().expect("a socket pair");
            let file = std::fs::File::open("/dev/null").expect("/dev/null");
            for pid in 0..MANY {
                // Now and then with a descriptor: those wait with their message.
                let fds = [file.as_fd()];
                let fds = if pid % 100 == 0 { &fds[..] } else { &[] };
                agent.send(&ToWorker::NoFacts { pid: Pid(pid) }, fds).expect("sent or waiting");
                worker.send(&ToAgent::Inspect { pid: Pid(pid) }, &[]).expect("sent or waiting");
            }
            for pid in 0..MANY {
                let (message, descriptors) =
                    worker.receive::<ToWorker>().expect("received").expect("a message");
                assert!(matches!(message, ToWorker::NoFacts { pid: it } if it == Pid(pid)), "in order");
                assert_eq!(descriptors.len(), usize::from(pid % 100 == 0));
                let _ = agent.flush();
                let (message, _) = agent.receive::<ToAgent>().expect("received").expect("a message");
                assert!(matches!(message, ToAgent::Inspect { pid: it } if it == Pid(pid)), "in order");
                let _ = worker.flush();
            }
            assert!(!agent.is_waiting() && !worker.is_waiting());
            done.send(()).expect("the test waits");
        });
        over.recv_timeout(LIMIT).expect("neither end waits for the other");
    }

    #[test]
    fn what_can_be_left_out_leaves_room_for_what_must_arrive() {
        let (agent, worker) = Seam::pair().expect("a socket pair");
        let offered = (0..MANY).filter(|pid| worker.offer(&ToAgent::Program { pid: Pid(*pid) }, &[])).count();
        assert!(offered < MANY as usize, "it is bounded");
        worker.send(&ToAgent::Ready, &[]).expect("there is room");
        let mut received = 0;
        loop {
            match agent.receive::<ToAgent>().expect("received").expect("a message").0 {
                ToAgent::Ready => break,
                _ => received += 1,
            }
            let _ = worker.flush();
        }
        assert_eq!(received, offered);
    }

    #[test]
    fn an_end_that_never_reads_is_an_error_in_the_end() {
        let (agent, _worker) = Seam::pair().expect("a socket pair");
        let long =
            ToWorker::Binary { file: crate::seam::FileId { dev: 0, ino: 0 }, path: "x".repeat(60_000) };
        assert!((0..1000).any(|_| agent.send(&long, &[]).is_err()));
    }
}
