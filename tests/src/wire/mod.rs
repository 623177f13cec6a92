//! The way between the lab's commands and its servers, in user space: two TUN devices, one in
//! each network namespace, and two threads that carry packets from one to the other. In go
//! [`WireFaults`]; out comes a network with that round-trip time that loses, holds or changes what
//! the faults say.
//!
//! Packets are delayed, so TCP handshakes, retransmissions and name servers take as long as
//! on a real way of that length. What it cannot do: limit the bandwidth, reorder, or be faster
//! than about a gigabit a second.

mod device;
mod faults;
mod flow;
mod packet;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(crate) use self::device::tun;
pub use self::faults::{Death, Direction, HelloLoss, LargeLoss, Loss, LostSyns, WireFaults, ZeroWindow};
use self::flow::{Flows, Verdict};
use crate::clock::monotonic_ns;
use crate::lock;

/// Larger than any packet of a device with the usual MTU.
const MTU: usize = 2048;
/// Packets on their way in one direction; beyond it they are lost, as in a router.
const QUEUE: usize = 4096;

/// A way that carries packets until it is dropped.
#[derive(Debug)]
pub struct Wire {
    flows: Arc<Mutex<Flows>>,
    /// Closed, it ends the threads.
    stop: Option<PipeWriter>,
    threads: Vec<JoinHandle<()>>,
}

impl Wire {
    /// Joins the devices of the clients and the servers.
    pub(crate) fn join(client: &File, server: &File) -> Result<Self> {
        let (end, stop) = std::io::pipe().context("make a pipe")?;
        let flows = Arc::<Mutex<Flows>>::default();
        let mut threads = Vec::new();
        for (direction, name) in [(Direction::ToServer, "wire-up"), (Direction::ToClient, "wire-down")] {
            let (from, to) = match direction {
                Direction::ToServer => (client.try_clone()?, server.try_clone()?),
                Direction::ToClient => (server.try_clone()?, client.try_clone()?),
            };
            let (flows, end) = (Arc::clone(&flows), end.try_clone()?);
            let carrier = Carrier { from, to, end, direction, flows, on_the_way: OnTheWay::default() };
            threads.push(thread::Builder::new().name(name.to_owned()).spawn(move || carrier.carry())?);
        }
        Ok(Self { flows, stop: Some(stop), threads })
    }

    /// What happens to packets from now on. What was counted for the faults before is forgotten.
    pub fn set_faults(&self, faults: WireFaults) {
        *lock(&self.flows) = Flows::new(faults);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        drop(self.stop.take());
        for thread in self.threads.drain(..) {
            // A panic of it was printed; there is nobody else to report.
            let _ = thread.join();
        }
    }
}

/// One direction.
struct Carrier {
    from: File,
    to: File,
    end: PipeReader,
    direction: Direction,
    flows: Arc<Mutex<Flows>>,
    on_the_way: OnTheWay,
}

/// Packets by when they arrive, `CLOCK_MONOTONIC`, nanoseconds; those of one time in order.
#[derive(Default)]
struct OnTheWay {
    packets: BTreeMap<(u64, u64), Vec<u8>>,
    taken: u64,
}

impl OnTheWay {
    fn add(&mut self, due_ns: u64, packet: Vec<u8>) {
        if self.packets.len() < QUEUE {
            self.taken += 1;
            self.packets.insert((due_ns, self.taken), packet);
        }
    }

    /// The first packet, when its time has come.
    fn arrived(&mut self, now_ns: u64) -> Option<Vec<u8>> {
        let first = self.packets.first_entry()?;
        (first.key().0 <= now_ns).then(|| first.remove())
    }

    /// Until the first packet's time.
    fn wait(&self, now_ns: u64) -> Option<Duration> {
        let ((due_ns, _), _) = self.packets.first_key_value()?;
        Some(Duration::from_nanos(due_ns.saturating_sub(now_ns)))
    }
}

impl Carrier {
    fn carry(mut self) {
        loop {
            while let Some(packet) = self.on_the_way.arrived(monotonic_ns()) {
                // Refused is lost: the device's queue is full, or its namespace is going.
                let _ = self.to.write(&packet);
            }
            let Some(readable) = self.wait(self.on_the_way.wait(monotonic_ns())) else { return };
            if readable {
                self.take();
            }
        }
    }

    /// Waits for a packet; `false` when there is none in that time, `None` at the end.
    fn wait(&self, limit: Option<Duration>) -> Option<bool> {
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut files = [PollFd::new(&self.from, PollFlags::IN), PollFd::new(&self.end, PollFlags::IN)];
        match poll(&mut files, limit.as_ref()) {
            Ok(_) if !files[1].revents().is_empty() => None,
            Ok(_) => Some(files[0].revents().contains(PollFlags::IN)),
            Err(rustix::io::Errno::INTR) => Some(false),
            Err(_) => None,
        }
    }

    /// Takes what the device has.
    fn take(&mut self) {
        let mut buffer = [0; MTU];
        while let Ok(size @ 1..) = self.from.read(&mut buffer) {
            let now_ns = monotonic_ns();
            let mut packet = buffer[..size].to_vec();
            let mut flows = lock(&self.flows);
            let delay_ns = flows.faults().rtt.as_nanos() as u64 / 2;
            let late_ns = match flows.judge(self.direction, &mut packet, now_ns) {
                Verdict::Drop => continue,
                Verdict::Pass => 0,
                Verdict::Late(late_ns) => late_ns,
                Verdict::Changed { original, again_ns } => {
                    self.on_the_way.add(again_ns + delay_ns, original);
                    0
                }
            };
            self.on_the_way.add(now_ns + delay_ns + late_ns, packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_arrive_in_order_of_their_times_and_then_of_their_coming() {
        let mut way = OnTheWay::default();
        for (due, name) in [(20, b'c'), (10, b'a'), (10, b'b')] {
            way.add(due, vec![name]);
        }
        assert_eq!(way.wait(4), Some(Duration::from_nanos(6)));
        let arrived = [9, 10, 10, 19, 30, 30].map(|now| way.arrived(now));
        let [a, b, c] = [b"a", b"b", b"c"].map(|name| Some(name.to_vec()));
        assert_eq!(arrived, [None, a, b, None, c, None]);
    }
}
