//! The archive that a kernel unpacks as its first root: cpio, "newc" (Linux,
//! Documentation/driver-api/early-userspace/buffer-format.rst). In: files and where they go. Out: bytes.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive being written. Folders come by themselves.
pub(super) struct Archive<W> {
    out: W,
    /// Inode numbers; equal ones would be hard links
    entries: u32,
    folders: HashSet<String>,
}

impl<W: Write> Archive<W> {
    /// An empty one.
    pub(super) fn new(out: W) -> Self {
        Self { out, entries: 0, folders: HashSet::new() }
    }

    /// A file at that absolute path; everyone may run it.
    pub(super) fn file(&mut self, path: &Path, content: &[u8]) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        self.entry(&name(path), PROGRAM, content)
    }

    /// A folder at that absolute path, and those it lies in.
    pub(super) fn folder(&mut self, path: &Path) -> io::Result<()> {
        let name = name(path);
        if name.is_empty() || self.folders.contains(&name) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        self.entry(&name, FOLDER, &[])?;
        self.folders.insert(name);
        Ok(())
    }

    /// Ends the archive.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let name_size = name.len() as u32 + 1;
        // Inode, mode, user, group, links, time, size, device twice, name's size, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let mut header = String::from("070701");
        fields.iter().for_each(|field| header += &format!("{field:08x}"));
        self.padded(format!("{header}{name}\0").as_bytes())?;
        self.padded(content)
    }

    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.write_all(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()])
    }
}

/// As an archive has it: without the first slash.
fn name(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_brings_its_folders_once_and_everything_is_padded_to_four() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.file(Path::new("/a/b/c"), b"12345").unwrap();
        archive.file(Path::new("/a/b/d"), b"").unwrap();
        archive.end().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        let names: Vec<&str> =
            text.split("070701").skip(1).map(|entry| entry[104..].split('\0').next().unwrap()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/b/d", "TRAILER!!!"]);
        assert!(text.contains("12345\x00\x00\x00070701"));
    }
}
