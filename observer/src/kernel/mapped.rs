//! A file of the kernel as bytes: mapped where the kernel can (its BTF, since Linux 6.16), else
//! read, which takes a call a page.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Deref;
use std::os::fd::AsRawFd as _;

/// The bytes of a file that does not change.
pub(super) enum Mapped {
    /// Mapped: address and length
    Map(*const u8, usize),
    /// Read
    Read(Vec<u8>),
}

impl Mapped {
    /// Opens and maps, or reads.
    pub(super) fn open(path: &str) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len() as usize;
        if len > 0 {
            #[expect(unsafe_code, reason = "mapping a file")]
            // SAFETY: a new private read-only mapping, unmapped when this is dropped; the
            // kernel's own BTF never changes.
            let map = unsafe {
                libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
            };
            if map != libc::MAP_FAILED {
                return Ok(Self::Map(map.cast(), len));
            }
        }
        let mut bytes = Vec::with_capacity(len);
        file.read_to_end(&mut bytes)?;
        Ok(Self::Read(bytes))
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            #[expect(unsafe_code, reason = "mapping a file")]
            // SAFETY: the mapping of that length lives as long as this.
            Self::Map(at, len) => unsafe { std::slice::from_raw_parts(*at, *len) },
            Self::Read(bytes) => bytes,
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if let Self::Map(at, len) = *self {
            #[expect(unsafe_code, reason = "mapping a file")]
            // SAFETY: the mapping made in `open`, which nothing borrows any more.
            unsafe {
                libc::munmap(at.cast_mut().cast(), len)
            };
        }
    }
}
