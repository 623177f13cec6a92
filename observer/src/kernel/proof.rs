//! Whether observing works here, by doing it: everything is attached as an observation has it, this process is
//! followed, and what a child of its own does comes back through the ring. Out: nothing, or what did not work.

use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use model::id::Pid;
use observer_common::Kind;

use super::ring::Ring;
use super::{Entry, Kernel, Probes, Received, Shared, hastening};

/// Proves it.
pub fn prove() -> Result<()> {
    let mut kernel = Kernel::load(false, None)?;
    let Shared { ring, trees, lost } = kernel.share()?;
    let mut ring = Ring::new(ring, trees, lost)?;
    let nowhere = hastening::nowhere().context("cannot make a file to probe")?;
    let len = nowhere.metadata().context("cannot look at the file to probe")?.len();
    // No program runs what is in that file: only whether the kernel takes probes there is asked.
    let entry = |at| Entry { at, at_stack_check: false };
    let received = Received::Calls(entry(12), vec![16]);
    let places = Probes { handshake: (entry(0), vec![4]), write: entry(8), received };
    let probed = kernel.probe(nowhere.as_fd(), len, &places)?;
    kernel.unprobe(probed);

    // Its children are followed with it.
    kernel.follow_held(Pid(std::process::id()))?;
    let mut child = Command::new("/proc/self/exe");
    child.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.spawn().context("cannot start a child to observe")?;
    let pid = child.id();
    child.wait().context("cannot wait for the child that is observed")?;
    let (mut began, mut ended) = (false, false);
    ring.take(true, |record| {
        let word = |at: usize| record.get(at..at + 4).and_then(|word| word.try_into().ok());
        if word(4).map(u32::from_ne_bytes) == Some(pid) {
            let kind = record.get(..2).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
            began |= kind == Some(Kind::Exec as u16);
            ended |= kind == Some(Kind::Exit as u16);
        }
    });
    ensure!(began && ended, "of a child that was run, the kernel did not report {}", missing(began, ended));
    Ok(())
}

const fn missing(began: bool, ended: bool) -> &'static str {
    match (began, ended) {
        (false, true) => "the start",
        (true, _) => "the end",
        (false, false) => "anything",
    }
}
