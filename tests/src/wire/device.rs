//! A TUN device: a network interface whose packets a program reads and writes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context, Result};
use nix::libc;

/// `TUNSETIFF` of `linux/if_tun.h`.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
/// `IFF_TUN | IFF_NO_PI`: packets with their IP headers and nothing before.
const FLAGS: u16 = 0x1001;
/// Bytes of a `struct ifreq`.
const IFREQ: usize = 40;

/// Makes the device in this thread's network namespace, down. It goes when the file is closed.
pub(crate) fn tun(name: &str) -> Result<File> {
    let mut options = File::options();
    let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun");
    let file = file.context("open /dev/net/tun (modprobe tun)")?;
    let mut request = [0_u8; IFREQ];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16..18].copy_from_slice(&FLAGS.to_ne_bytes());
    #[expect(unsafe_code, reason = "no safe wrapper makes a TUN device")]
    // SAFETY: the request is as large as the kernel's structure, and lives until the call is over.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF as _, request.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("make the TUN device {name}"));
    }
    Ok(file)
}
