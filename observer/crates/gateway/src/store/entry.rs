//! One kept file: its name, the note behind its body, and whether both are still what they were.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::digest::{Context, SHA256, digest};

/// The last bytes of an entry.
const MARK: &[u8; 8] = b"GOOBSGW1";
/// Length of the note's length and the mark.
const END: u64 = 12;
/// Longest note that is read.
const NOTE_MAX: u64 = 8 * 1024;

/// What is known of a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Bytes
    pub size: u64,
    /// SHA-256
    pub sha256: [u8; 32],
    /// As the upstream said
    pub content_type: Option<String>,
}

impl Note {
    /// The note of a body in memory.
    pub fn of(bytes: &[u8], content_type: Option<String>) -> Self {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self { size: bytes.len() as u64, sha256, content_type }
    }

    /// What stands behind the body.
    pub(super) fn trailer(&self, key: &str) -> Vec<u8> {
        let content_type = self.content_type.as_deref().unwrap_or_default();
        let note = format!("{key}\n{}\n{}\n{content_type}\n", self.size, hex(&self.sha256));
        let length = (note.len() as u32).to_le_bytes();
        [note.as_bytes(), &length, MARK].concat()
    }
}

/// What changes when somebody changes a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    pub(super) inode: u64,
    pub(super) length: u64,
    pub(super) modified: SystemTime,
    pub(super) changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let data = file.metadata()?;
        let changed = (data.ctime(), data.ctime_nsec());
        Ok(Self { inode: data.ino(), length: data.len(), modified: data.modified()?, changed })
    }
}

/// Where an entry is.
pub(super) fn path(root: &Path, key: &str) -> PathBuf {
    let name = hex(digest(&SHA256, key.as_bytes()).as_ref());
    root.join(&name[..2]).join(name)
}

/// Reads the note and compares everything with it.
pub(super) fn verify(file: &File, key: &str) -> io::Result<Note> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let length = file.metadata()?.len();
    let mut end = [0; END as usize];
    file.read_exact_at(&mut end, length.checked_sub(END).ok_or_else(damaged)?)?;
    let note_length = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    let size = length.checked_sub(END + note_length).ok_or_else(damaged)?;
    if end[4..] != MARK[..] || note_length > NOTE_MAX {
        return Err(damaged());
    }
    let mut note = vec![0; note_length as usize];
    file.read_exact_at(&mut note, size)?;
    let (mut context, mut at, mut buffer) = (Context::new(&SHA256), 0, vec![0; 64 * 1024]);
    while at < size {
        let part = buffer.len().min((size - at) as usize);
        file.read_exact_at(&mut buffer[..part], at)?;
        context.update(&buffer[..part]);
        at += part as u64;
    }
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(context.finish().as_ref());
    let text = String::from_utf8(note).map_err(|_| damaged())?;
    let content_type = text.lines().nth(3).filter(|text| !text.is_empty()).map(str::to_owned);
    let read = Note { size, sha256, content_type };
    // The whole trailer, made anew, must be what is there.
    (read.trailer(key)[..text.len()] == *text.as_bytes()).then_some(read).ok_or_else(damaged)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
