//! A file's bytes in, its sections and segments out, checked, with every read bounded.
//!
//! Only 64-bit little-endian ELF: that is all that amd64 and arm64 Linux have.

use std::cell::RefCell;
use std::collections::HashSet;

use object::elf::{
    EM_386, EM_AARCH64, EM_ARM, EM_LOONGARCH, EM_MIPS, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64, ET_DYN,
    FileHeader64, Machine, PF_X, PT_LOAD, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS, SectionFlags,
    SectionType,
};
use object::read::elf::FileHeader as _;
use object::{LittleEndian, ReadRef};

use super::{Arch, PlanError};

/// The order of bytes; the crate wants it with every field.
pub(crate) const LE: LittleEndian = LittleEndian;
/// Go programs have about 40 sections; C code linked in may bring a few more.
const MAX_SECTIONS: u32 = 4096;
/// Go programs have about ten.
const MAX_SEGMENTS: u32 = 256;
/// Names of sections: a few hundred bytes.
const MAX_NAMES: u64 = 1 << 20;
/// Of one file so much is held in memory, bytes. The go command takes 2 MB, the largest Go programs
/// known, of 200 MB, some 50.
pub(crate) const MAX_READ: u64 = 80 << 20;
/// What is gone through again counts again: so much may be in all.
const MAX_WORK: u64 = 256 << 20;
/// The longest name of a section that is looked for has 24.
const MAX_NAME: usize = 64;

const EHDR: u64 = 64;
const PHDR: u64 = 56;
const SHDR: u64 = 64;

/// A range of memory, as the file's addresses have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    /// Address of its first byte
    pub addr: u64,
    /// Bytes
    pub size: u64,
}

/// A section that has bytes in the file or in memory.
#[derive(Debug)]
pub(crate) struct Section {
    name: Vec<u8>,
    /// `SHT_*`
    pub kind: SectionType,
    flags: SectionFlags,
    /// Address in memory, 0 when it is not loaded
    pub addr: u64,
    offset: u64,
    /// Bytes
    pub size: u64,
    /// Number of the section that belongs to it
    pub link: u32,
}

impl Section {
    /// It is part of memory when the program runs.
    pub(crate) fn loaded(&self) -> bool {
        self.flags.contains(SHF_ALLOC)
    }
}

#[derive(Debug)]
struct Segment {
    addr: u64,
    offset: u64,
    /// Bytes in the file; what memory has beyond them is zero
    size: u64,
    executable: bool,
}

/// An ELF file whose headers hold together.
#[derive(Debug)]
pub(crate) struct Image<'d, R> {
    file: R,
    len: u64,
    spent: RefCell<Spent>,
    /// Machine it is for
    pub arch: Arch,
    /// Loaded anywhere, so that relocations fill its pointers
    pub movable: bool,
    sections: Vec<Section>,
    segments: Vec<Segment>,
    bytes: std::marker::PhantomData<&'d [u8]>,
}

/// What was read of a file so far.
#[derive(Debug, Default)]
struct Spent {
    /// Offsets and sizes
    ranges: HashSet<(u64, u64)>,
    /// Bytes of them
    read: u64,
    /// Bytes gone through
    work: u64,
}

impl<'d, R: ReadRef<'d>> Image<'d, R> {
    /// Reads the headers.
    pub(crate) fn open(file: R) -> Result<Self, PlanError> {
        let len = file.len().map_err(|()| PlanError::Unreadable { what: "the file's length", at: 0 })?;
        if len < 4 || read(file, len, 0, 4, "ELF header")? != b"\x7fELF" {
            return Err(PlanError::NotElf);
        }
        check(len, 0, EHDR, "ELF header")?;
        let ident = read(file, len, 0, 16, "ELF header")?;
        if ident[4] != 2 || ident[5] != 1 {
            return Err(PlanError::UnsupportedArch("a 32-bit or big-endian machine".into()));
        }
        let header = FileHeader64::<LittleEndian>::parse(file).map_err(damaged("ELF header", 0))?;
        let arch = match header.e_machine(LE) {
            EM_X86_64 => Arch::Amd64,
            EM_AARCH64 => Arch::Arm64,
            other => return Err(PlanError::UnsupportedArch(machine(other))),
        };
        Ok(Self {
            file,
            len,
            spent: RefCell::default(),
            arch,
            movable: header.e_type(LE) == ET_DYN,
            sections: sections(file, len, header)?,
            segments: segments(file, len, header)?,
            bytes: std::marker::PhantomData,
        })
    }

    /// The section of that name, if the file has bytes of it.
    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name.as_bytes() && s.kind != SHT_NOBITS)
    }

    /// All sections of a kind (`SHT_*`).
    pub(crate) fn sections_of(&self, kind: SectionType) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |s| s.kind == kind)
    }

    /// The sections of data that the program may change, if the file has bytes of them.
    pub(crate) fn writable(&self) -> impl Iterator<Item = &Section> {
        let writable = |s: &&Section| s.loaded() && s.flags.contains(SHF_WRITE) && s.kind != SHT_NOBITS;
        self.sections.iter().filter(writable)
    }

    /// The section of that number, if the file has bytes of it.
    pub(crate) fn section_number(&self, number: u32) -> Option<&Section> {
        self.sections.get(number as usize).filter(|s| s.kind != SHT_NOBITS)
    }

    /// A section's bytes, no more than `limit`.
    pub(crate) fn contents(
        &self,
        section: &Section,
        what: &'static str,
        limit: u64,
    ) -> Result<&'d [u8], PlanError> {
        if section.size > limit {
            return Err(PlanError::TooLarge { what, size: section.size, limit });
        }
        self.read(section.offset, section.size, what)
    }

    /// The bytes that memory has at `extent` before anything runs or is relocated.
    pub(crate) fn memory(&self, extent: Extent, what: &'static str) -> Result<&'d [u8], PlanError> {
        let offset = self.offset(extent, false).ok_or(PlanError::Damaged { what, at: extent.addr })?;
        self.read(offset, extent.size, what)
    }

    /// Reads within the limits of a whole file.
    fn read(&self, offset: u64, size: u64, what: &'static str) -> Result<&'d [u8], PlanError> {
        check(self.len, offset, size, what)?;
        let mut spent = self.spent.borrow_mut();
        let Spent { ranges, read: before, work } = &mut *spent;
        *work = work.saturating_add(size);
        if ranges.insert((offset, size)) {
            *before = before.saturating_add(size);
        }
        if *before > MAX_READ || *work > MAX_WORK {
            return Err(PlanError::TooLarge { what, size, limit: MAX_READ });
        }
        read(self.file, self.len, offset, size, what)
    }

    /// File offset and bytes of machine code. It must lie in `.text`, and in a segment that says
    /// the same about where in the file that is.
    pub(crate) fn code(&self, extent: Extent, what: &'static str) -> Result<(u64, &'d [u8]), PlanError> {
        let wrong = PlanError::Damaged { what, at: extent.addr };
        let text = self.text().ok_or(PlanError::Damaged { what: "section .text", at: 0 })?;
        let inside = extent.addr.checked_sub(text.addr);
        let Some(inside) = inside.filter(|at| within(*at, extent.size, text.size)) else {
            return Err(wrong);
        };
        let offset = self.offset(extent, true);
        let Some(offset) = offset.filter(|at| text.offset.checked_add(inside) == Some(*at)) else {
            return Err(wrong);
        };
        Ok((offset, self.read(offset, extent.size, what)?))
    }

    /// The section that holds Go's machine code.
    pub(crate) fn text(&self) -> Option<&Section> {
        self.section(".text").filter(|s| s.flags.contains(SHF_EXECINSTR))
    }

    fn offset(&self, extent: Extent, executable: bool) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let at = extent.addr.checked_sub(segment.addr)?;
            let fits = within(at, extent.size, segment.size) && (segment.executable || !executable);
            // Checked when the segments were read: offset + size does not overflow.
            fits.then(|| segment.offset + at)
        })
    }
}

/// `size` bytes from `at` on lie within `len`.
fn within(at: u64, size: u64, len: u64) -> bool {
    at.checked_add(size).is_some_and(|end| end <= len)
}

/// `size` bytes at `offset` lie in the file.
fn check(len: u64, offset: u64, size: u64, what: &'static str) -> Result<(), PlanError> {
    match offset.checked_add(size) {
        Some(end) if end <= len => Ok(()),
        Some(end) => Err(PlanError::Truncated { what, end, len }),
        None => Err(PlanError::Damaged { what, at: offset }),
    }
}

fn read<'d, R: ReadRef<'d>>(
    file: R,
    len: u64,
    offset: u64,
    size: u64,
    what: &'static str,
) -> Result<&'d [u8], PlanError> {
    check(len, offset, size, what)?;
    file.read_bytes_at(offset, size).map_err(|()| PlanError::Unreadable { what, at: offset })
}

fn damaged(what: &'static str, at: u64) -> impl Fn(object::Error) -> PlanError {
    move |_| PlanError::Damaged { what, at }
}

fn sections<'d, R: ReadRef<'d>>(
    file: R,
    len: u64,
    header: &FileHeader64<LittleEndian>,
) -> Result<Vec<Section>, PlanError> {
    let what = "section headers";
    let at = header.e_shoff(LE);
    if at != 0 {
        check(len, at, SHDR, what)?;
    }
    let count = header.shnum(LE, file).map_err(damaged(what, at))?;
    if count > MAX_SECTIONS {
        let size = u64::from(count) * SHDR;
        return Err(PlanError::TooLarge { what, size, limit: u64::from(MAX_SECTIONS) * SHDR });
    }
    check(len, at, u64::from(count) * SHDR, what)?;
    let headers = header.section_headers(LE, file).map_err(damaged(what, at))?;
    if headers.is_empty() {
        return Err(PlanError::Damaged { what, at });
    }
    let names = header.shstrndx(LE, file).map_err(damaged("section names", at))?;
    let names = headers.get(names as usize).ok_or(PlanError::Damaged { what: "section names", at })?;
    let (start, size) = (names.sh_offset.get(LE), names.sh_size.get(LE));
    if size > MAX_NAMES {
        return Err(PlanError::TooLarge { what: "section names", size, limit: MAX_NAMES });
    }
    let names = read(file, len, start, size, "section names")?;
    headers
        .iter()
        .map(|h| {
            let name = names.get(h.sh_name.get(LE) as usize..);
            let name = name.ok_or(PlanError::Damaged { what: "name of a section", at: start })?;
            // Many long ones that overlap would add up.
            let name = name.get(..MAX_NAME).unwrap_or(name);
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            Ok(Section {
                name: name[..end].to_vec(),
                kind: h.sh_type.get(LE),
                flags: h.sh_flags.get(LE),
                addr: h.sh_addr.get(LE),
                offset: h.sh_offset.get(LE),
                size: h.sh_size.get(LE),
                link: h.sh_link.get(LE),
            })
        })
        .collect()
}

fn segments<'d, R: ReadRef<'d>>(
    file: R,
    len: u64,
    header: &FileHeader64<LittleEndian>,
) -> Result<Vec<Segment>, PlanError> {
    let what = "program headers";
    let at = header.e_phoff(LE);
    let count = header.phnum(LE, file).map_err(damaged(what, at))?;
    if count > MAX_SEGMENTS {
        let size = u64::from(count) * PHDR;
        return Err(PlanError::TooLarge { what, size, limit: u64::from(MAX_SEGMENTS) * PHDR });
    }
    check(len, at, u64::from(count) * PHDR, what)?;
    let headers = header.program_headers(LE, file).map_err(damaged(what, at))?;
    let mut segments = Vec::new();
    let mut end_before = 0;
    for h in headers.iter().filter(|h| h.p_type.get(LE) == PT_LOAD) {
        let (addr, offset, size) = (h.p_vaddr.get(LE), h.p_offset.get(LE), h.p_filesz.get(LE));
        check(len, offset, size, "segment")?;
        // Were they to overlap, the kernel would map the later one over the earlier.
        let end = addr.checked_add(h.p_memsz.get(LE).max(size));
        let Some(end) = end.filter(|_| addr >= end_before) else {
            return Err(PlanError::Damaged { what: "segment", at: addr });
        };
        end_before = end;
        segments.push(Segment { addr, offset, size, executable: h.p_flags.get(LE).contains(PF_X) });
    }
    Ok(segments)
}

/// The little-endian word at a byte offset.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The little-endian double word at a byte offset.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn machine(number: Machine) -> String {
    match number {
        EM_386 => "386".into(),
        EM_ARM => "arm".into(),
        EM_RISCV => "riscv64".into(),
        EM_PPC64 => "ppc64le".into(),
        EM_S390 => "s390x".into(),
        EM_LOONGARCH => "loong64".into(),
        EM_MIPS => "mips64le".into(),
        other => format!("ELF machine {other}"),
    }
}
