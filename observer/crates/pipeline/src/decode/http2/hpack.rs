//! HPACK (RFC 7541): header blocks in, name and value pairs out, with the dynamic table of one
//! direction between them.
//!
//! Ours, because the crate that was tried, loona-hpack 0.4.3, builds the Huffman code's hash maps
//! anew for every string; a download has thousands of them, on the machine that is observed.
//! It also copies a name into the table for two bytes of input, which makes a header block an
//! amplifier. `tests/fuzz` compares the two.

use std::collections::VecDeque;
use std::sync::Arc;

mod huffman;
mod static_table;

use static_table::STATIC;

/// Table size before any setting (RFC 9113, 6.5.2).
pub const DEFAULT_SIZE: usize = 4096;
/// Largest table that is kept, whatever a peer allows, bytes by RFC 7541's count.
pub const SIZE_MAX: usize = 65_536;
/// What an entry counts beyond its name and value (RFC 7541, 4.1).
const OVERHEAD: usize = 32;

/// The block does not follow the rules, or needs a larger table than is kept: what the table holds
/// is no longer known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

/// The dynamic table of one direction, or what is known of it: behind a gap its newest entries, those
/// that were added since. An encoder counts from the newest one, so what is older leaves their numbers
/// alone. Holds header values that must not be shown, so it has no `Debug`.
pub struct Table {
    /// The newest first
    entries: VecDeque<Entry>,
    /// Older entries may be there that were not seen
    older: bool,
    size: usize,
    /// What it may hold; while there may be older entries, the most that it may
    max: usize,
    bound: usize,
}

/// Shared, for a literal may take the name of an entry for two bytes of input; `None` when it took that
/// of an entry that is not known.
type EntryName = Option<Arc<[u8]>>;

struct Entry {
    name: EntryName,
    value: Box<[u8]>,
}

impl Entry {
    fn size(&self) -> usize {
        self.name.as_ref().map_or(0, |name| name.len()) + self.value.len() + OVERHEAD
    }
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), older: false, size: 0, max: DEFAULT_SIZE, bound: DEFAULT_SIZE }
    }
}

impl Table {
    /// The peer of the encoder allows a table of this size. The largest size ever allowed is the
    /// one that counts: when exactly the encoder learns of a smaller one cannot be seen, and it
    /// reports the size that it uses in its next block.
    pub fn allow(&mut self, bytes: usize) {
        self.bound = self.bound.max(bytes.min(SIZE_MAX));
    }

    /// Bytes in the table, by RFC 7541's count, as far as they are known.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// What it holds is not known any more: blocks were missed, or not understood. What an encoder adds
    /// from here on is known again.
    pub fn forget(&mut self) {
        self.entries.clear();
        (self.older, self.size, self.max, self.bound) = (true, 0, SIZE_MAX, SIZE_MAX);
    }

    /// Not all that it holds is known.
    pub const fn is_partial(&self) -> bool {
        self.older
    }

    /// Decodes a whole header block, giving each pair that is known to `visit`.
    ///
    /// # Errors
    /// [`Broken`]: pairs given so far are right, and the table has to [`Self::forget`].
    pub fn decode(&mut self, block: &[u8], mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), Broken> {
        let mut input = Input(block);
        let mut scratch = Scratch::default();
        let mut fields = false;
        while let Some(&first) = input.0.first() {
            match first {
                0x80.. => {
                    let index = input.integer(7)?;
                    if let Some((name, value)) = self.pair(index)? {
                        visit(name, value);
                    }
                }
                0x20..0x40 => {
                    let size = input.integer(5)?;
                    if fields || size > self.bound {
                        return Err(Broken);
                    }
                    self.max = size;
                    self.evict(0);
                    // With no room there is nothing older either.
                    self.older &= size > 0;
                    continue;
                }
                _ => self.literal(first & 0x40 != 0, &mut input, &mut scratch, &mut visit)?,
            }
            fields = true;
        }
        Ok(())
    }

    fn literal(
        &mut self,
        indexed: bool,
        input: &mut Input<'_>,
        scratch: &mut Scratch,
        visit: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Broken> {
        let index = input.integer(if indexed { 6 } else { 4 })?;
        let name = match index {
            0 => Name::Literal(input.string(&mut scratch.name)?),
            index if index <= STATIC.len() => Name::Literal(STATIC[index - 1].0.as_bytes()),
            index => Name::Shared(self.dynamic(index)?.and_then(|entry| entry.name.clone())),
        };
        let value = input.string(&mut scratch.value)?;
        let bytes = match &name {
            Name::Literal(bytes) => Some(*bytes),
            Name::Shared(bytes) => bytes.as_deref(),
        };
        if let Some(bytes) = bytes {
            visit(bytes, value);
        }
        if indexed {
            self.add(name, value);
        }
        Ok(())
    }

    fn add(&mut self, name: Name<'_>, value: &[u8]) {
        let len = match &name {
            Name::Literal(bytes) => bytes.len(),
            Name::Shared(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len()),
        };
        let size = len + value.len() + OVERHEAD;
        if self.older && size > DEFAULT_SIZE {
            // It was added, or was too large and emptied the table: nobody knows.
            return self.forget();
        }
        self.evict(size);
        // Larger than the whole table: that is empty now, and it is not kept.
        if size <= self.max {
            let name = match name {
                Name::Literal(bytes) => Some(bytes.into()),
                Name::Shared(bytes) => bytes,
            };
            self.size += size;
            self.entries.push_front(Entry { name, value: value.into() });
        }
    }

    /// The pair of that number; `None` when it is one that was not seen.
    fn pair(&self, index: usize) -> Result<Option<Pair<'_>>, Broken> {
        match index.checked_sub(1).ok_or(Broken)? {
            at if at < STATIC.len() => Ok(Some((STATIC[at].0.as_bytes(), STATIC[at].1.as_bytes()))),
            _ => Ok(self.dynamic(index)?.and_then(|entry| Some((entry.name.as_deref()?, &*entry.value)))),
        }
    }

    fn dynamic(&self, index: usize) -> Result<Option<&Entry>, Broken> {
        let at = index.checked_sub(1 + STATIC.len()).ok_or(Broken)?;
        match self.entries.get(at) {
            None if !self.older => Err(Broken),
            entry => Ok(entry),
        }
    }

    /// Makes room for `more` bytes.
    fn evict(&mut self, more: usize) {
        while self.size + more > self.max {
            let Some(entry) = self.entries.pop_back() else { break };
            self.size -= entry.size();
        }
    }
}

/// A name and a value.
type Pair<'a> = (&'a [u8], &'a [u8]);

enum Name<'a> {
    Literal(&'a [u8]),
    Shared(EntryName),
}

#[derive(Default)]
struct Scratch {
    name: Vec<u8>,
    value: Vec<u8>,
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, Broken> {
        let (&byte, rest) = self.0.split_first().ok_or(Broken)?;
        self.0 = rest;
        Ok(byte)
    }

    /// RFC 7541, 5.1; refused above 32 bits.
    fn integer(&mut self, prefix: u32) -> Result<usize, Broken> {
        let mask = (1_u64 << prefix) - 1;
        let mut value = u64::from(self.byte()?) & mask;
        if value == mask {
            for shift in (0..).step_by(7).take(5) {
                let byte = self.byte()?;
                value += u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    return u32::try_from(value).map(|value| value as usize).map_err(|_| Broken);
                }
            }
            return Err(Broken);
        }
        Ok(value as usize)
    }

    /// RFC 7541, 5.2. A Huffman string is unpacked into `scratch`.
    fn string<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], Broken>
    where
        'a: 's,
    {
        let packed = self.0.first().ok_or(Broken)? & 0x80 != 0;
        let len = self.integer(7)?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Broken)?;
        self.0 = rest;
        if !packed {
            return Ok(bytes);
        }
        scratch.clear();
        huffman::unpack(bytes, scratch)?;
        Ok(scratch)
    }
}

#[cfg(test)]
mod tests;
