//! The hash that go.sum has of a module's zip. In: the zip. Out: `h1:` and the hash that go computes
//! (`golang.org/x/mod/sumdb/dirhash`): SHA-256 of a line a file, `HASH  NAME`, in the order of the names.
//!
//! A zip that this does not read (of more than one disk, with names twice, of other methods than store and
//! deflate, larger than go takes) has no hash.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::bufread::DeflateDecoder;
use ring::digest::{Context, SHA256, digest};

/// Bytes of all files of a module, and of its zip: go takes no more.
const MODULE_MAX: u64 = 500 << 20;
/// Bytes of the list of files.
const LIST_MAX: u32 = 64 << 20;
/// How far before the end the list's own record begins: 22 bytes and a comment.
const RECORD_MAX: u64 = 22 + 65_535;
/// Bytes that are read at once.
const READ: usize = 64 * 1024;

/// Bytes at an offset.
pub trait Bytes {
    /// How many there are.
    fn size(&self) -> io::Result<u64>;
    /// Some of them.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
}

impl Bytes for [u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// A zip at the beginning of a file.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// The file
    pub file: &'a File,
    /// Bytes of the zip
    pub size: u64,
}

impl Bytes for Beginning<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let length = buffer.len().min(self.size.saturating_sub(at) as usize);
        self.file.read_at(&mut buffer[..length], at)
    }
}

/// A part of the bytes, as a stream.
struct Part<'a, B: ?Sized> {
    bytes: &'a B,
    at: u64,
    left: u64,
}

impl<B: Bytes + ?Sized> Read for Part<'_, B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.bytes.read_at(&mut buffer[..length], self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// A file's hash in go.sum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sum {
    /// Of a zip
    Zip(String),
    /// Of a go.mod
    GoMod(String),
}

impl Sum {
    /// Whether a file has it; blocks.
    pub fn is_of<B: Bytes + ?Sized>(&self, file: &B) -> bool {
        match self {
            Self::Zip(hash) => of_zip(file).is_ok_and(|is| is == *hash),
            Self::GoMod(hash) => of_go_mod(file).is_ok_and(|is| is == *hash),
        }
    }
}

/// A file in the zip.
struct Entry {
    method: u16,
    compressed: u64,
    size: u64,
    header: u64,
}

/// The hash; blocks.
pub fn of_zip<B: Bytes + ?Sized>(zip: &B) -> io::Result<String> {
    let mut lines = Context::new(&SHA256);
    let mut left = MODULE_MAX;
    for (name, entry) in list(zip)? {
        left = left.checked_sub(entry.size).ok_or_else(|| unread("larger than go takes"))?;
        let hash = of_file(zip, &entry)?;
        lines.update(format!("{hash}  ").as_bytes());
        lines.update(&name);
        lines.update(b"\n");
    }
    Ok(format!("h1:{}", BASE64_STANDARD.encode(lines.finish())))
}

/// The hash of a go.mod: that of a module with no other file.
fn of_go_mod<B: Bytes + ?Sized>(file: &B) -> io::Result<String> {
    let size = file.size()?;
    let hash = hashed(Part { bytes: file, at: 0, left: size }, size)?;
    let line = format!("{hash}  go.mod\n");
    Ok(format!("h1:{}", BASE64_STANDARD.encode(digest(&SHA256, line.as_bytes()))))
}

/// The files by name, as the zip's own list has them.
fn list<B: Bytes + ?Sized>(zip: &B) -> io::Result<BTreeMap<Vec<u8>, Entry>> {
    let size = zip.size()?;
    if size > MODULE_MAX {
        return Err(unread("larger than go takes"));
    }
    let end = exactly(zip, size.saturating_sub(RECORD_MAX), size.min(RECORD_MAX) as usize)?;
    let is_record = |at: &usize| {
        end[*at..].starts_with(b"PK\x05\x06") && *at + 22 + usize::from(number(&end[*at..], 20)) == end.len()
    };
    let at = (0..(end.len() + 1).saturating_sub(22)).rev().find(is_record);
    let record = &end[at.ok_or_else(|| unread("no zip"))?..];
    let (disk, files) = (number(record, 4), number(record, 10));
    let (length, offset) = (long(record, 12), long(record, 16));
    if disk != 0 || files == u16::MAX || length > LIST_MAX || offset == u32::MAX {
        return Err(unread("a zip of another form"));
    }
    let bytes = exactly(zip, u64::from(offset), length as usize)?;
    let (mut rest, mut entries) = (bytes.as_slice(), BTreeMap::new());
    for _ in 0..files {
        let head = rest.get(..46).filter(|head| head.starts_with(b"PK\x01\x02"));
        let head = head.ok_or_else(|| unread("a list that is cut"))?;
        let (name, extra, comment) = (number(head, 28), number(head, 30), number(head, 32));
        let entry = Entry {
            method: number(head, 10),
            compressed: u64::from(long(head, 20)),
            size: u64::from(long(head, 24)),
            header: u64::from(long(head, 42)),
        };
        let whole = 46 + usize::from(name) + usize::from(extra) + usize::from(comment);
        let name = rest.get(46..46 + usize::from(name)).ok_or_else(|| unread("a list that is cut"))?;
        if name.contains(&b'\n') || entries.insert(name.to_vec(), entry).is_some() {
            return Err(unread("names that are none"));
        }
        rest = rest.get(whole..).ok_or_else(|| unread("a list that is cut"))?;
    }
    Ok(entries)
}

/// A file's SHA-256, in hexadecimal.
fn of_file<B: Bytes + ?Sized>(zip: &B, entry: &Entry) -> io::Result<String> {
    let head = exactly(zip, entry.header, 30)?;
    if !head.starts_with(b"PK\x03\x04") {
        return Err(unread("a file that is not there"));
    }
    let at = entry.header + 30 + u64::from(number(&head, 26)) + u64::from(number(&head, 28));
    let part = BufReader::with_capacity(READ, Part { bytes: zip, at, left: entry.compressed });
    match entry.method {
        0 => hashed(part, entry.size),
        8 => hashed(DeflateDecoder::new(part), entry.size),
        _ => Err(unread("compressed by another method")),
    }
}

/// Hashes what must be of that size.
fn hashed(mut file: impl Read, size: u64) -> io::Result<String> {
    let (mut hash, mut left, mut buffer) = (Context::new(&SHA256), size, vec![0; READ]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 && left == 0 {
            break;
        }
        left = left.checked_sub(read as u64).filter(|_| read > 0).ok_or_else(|| unread("of another size"))?;
        hash.update(&buffer[..read]);
    }
    Ok(hash.finish().as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

fn exactly<B: Bytes + ?Sized>(zip: &B, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let end = zip.size()?.saturating_sub(at);
    if end < length as u64 {
        return Err(unread("cut"));
    }
    Part { bytes: zip, at, left: length as u64 }.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn number(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn unread(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
#[path = "dirhash_tests.rs"]
mod tests;
