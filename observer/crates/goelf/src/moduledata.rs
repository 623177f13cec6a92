//! Names in, places out, by the tables that the Go runtime keeps for itself: `runtime.moduledata`,
//! and the pclntab it points to. Stripping leaves both alone.
//!
//! Only the first 24 words of the module data are used; they have been the same from go1.21 to
//! go1.27. They hold most facts twice, and where two differ the file is refused.

use object::ReadRef;
use object::elf::{R_AARCH64_RELATIVE, R_X86_64_RELATIVE, RelocationType, SHT_RELA};

use super::image::{Extent, Image, MAX_READ, u32_at, u64_at};
use super::{Arch, PlanError, search, symbols};

/// The symbol of the module data of a program.
pub(crate) const SYMBOL: &str = "runtime.firstmoduledata";
/// Its section, since go1.26.
const SECTION: &str = ".go.module";
/// Words of the module data that are used.
const WORDS: usize = 24;
/// `pcHeader`, since go1.20: magic, two zeros, instruction quantum, pointer size, eight words:
/// functions, files, start of code, then offsets of names, units, files, pcs and functions.
const HEADER: u64 = 8 + 8 * 8;
const MAGIC: u64 = 0xffff_fff1;
/// A million functions: twice what the largest programs known have.
const MAX_FUNCTIONS: u64 = 1 << 20;
/// Bytes of a relocation.
pub(crate) const RELA: usize = 24;

/// Where the module data lie. `None` when nothing says so.
pub(crate) fn address<'d, R: ReadRef<'d>>(
    image: &Image<'d, R>,
    symbol: Option<Extent>,
) -> Result<Option<u64>, PlanError> {
    let Some(section) = image.section(SECTION) else {
        return match symbol {
            Some(symbol) => Ok(Some(symbol.addr)),
            None => search::find(image),
        };
    };
    if section.size < WORDS as u64 * 8 {
        return Err(PlanError::Damaged { what: "section .go.module", at: section.addr });
    }
    Ok(Some(section.addr))
}

/// Whether `module` is the address of module data: they agree with the pclntab and with `.text`.
pub(crate) fn holds<'d, R: ReadRef<'d>>(image: &Image<'d, R>, module: u64) -> bool {
    Tables::read(image, module).is_ok()
}

/// Looks the names up in the module whose data are at `module`; `None` for those it has not.
pub(crate) fn find<'d, R: ReadRef<'d>, const N: usize>(
    image: &Image<'d, R>,
    module: u64,
    names: [&str; N],
) -> Result<[Option<Extent>; N], PlanError> {
    Tables::read(image, module)?.find(names)
}

/// The tables that name functions, checked against each other.
struct Tables<'d> {
    /// Address of the first byte of Go's code, to which all else is relative
    text: u64,
    functions: usize,
    names: &'d [u8],
    /// `functions` + 1 pairs (code, record), ascending, then the records
    pcln: &'d [u8],
    /// Address of `pcln`
    at: u64,
}

impl<'d> Tables<'d> {
    fn read<R: ReadRef<'d>>(image: &Image<'d, R>, module: u64) -> Result<Self, PlanError> {
        let words = words(image, module)?;
        let wrong = |what| PlanError::Damaged { what, at: module };
        let [header_at, names_at, names_len] = [words[0], words[1], words[2]];
        let [pcln_at, pcln_len, ftab_at, ftab_len] = [words[13], words[14], words[16], words[17]];
        let [min, max, text, etext] = [words[20], words[21], words[22], words[23]];

        let header = image.memory(Extent { addr: header_at, size: HEADER }, "pclntab header")?;
        let field = |index: usize| u64_at(header, 8 + 8 * index).unwrap_or(0);
        if u64_at(header, 0) != Some(header_word(image.arch)) {
            return Err(PlanError::Damaged { what: "pclntab header", at: header_at });
        }
        let functions = field(0);
        if functions > MAX_FUNCTIONS {
            let (size, limit) = (functions.saturating_mul(8), MAX_FUNCTIONS * 8);
            return Err(PlanError::TooLarge { what: "table of functions", size, limit });
        }
        // Zero since go1.26, and before it where a relocation fills it.
        let start = field(2);
        let agree = functions > 0
            && ftab_len == functions + 1
            && ftab_at == pcln_at
            && header_at.checked_add(field(3)) == Some(names_at)
            && header_at.checked_add(field(7)) == Some(pcln_at)
            && (start == 0 || start == text);
        if !agree {
            return Err(wrong("module data beside the pclntab header"));
        }
        let section = image.text().ok_or(wrong("section .text"))?;
        let end = section.addr.checked_add(section.size).ok_or(wrong("section .text"))?;
        if !(section.addr <= text && text <= min && min < max && max <= etext && etext <= end) {
            return Err(wrong("range of the code in the module data"));
        }
        let tables = Self {
            text,
            functions: functions as usize,
            names: image.memory(Extent { addr: names_at, size: names_len }, "table of function names")?,
            pcln: image.memory(Extent { addr: pcln_at, size: pcln_len }, "table of functions")?,
            at: pcln_at,
        };
        // With these two the code is known to be in one piece: were there several, with gaps, the
        // last offset would not lead to the last address.
        let ends = (tables.code(0)?, tables.code(tables.functions)?);
        if ends != (min, max) {
            return Err(wrong("ends of the code in the module data"));
        }
        Ok(tables)
    }

    /// Address of a function's code; after the last one, the end of all code.
    fn code(&self, index: usize) -> Result<u64, PlanError> {
        let offset = u32_at(self.pcln, index * 8).ok_or(self.wrong(index))?;
        self.text.checked_add(u64::from(offset)).ok_or(self.wrong(index))
    }

    fn find<const N: usize>(&self, names: [&str; N]) -> Result<[Option<Extent>; N], PlanError> {
        let mut found = [None; N];
        let mut addr = self.code(0)?;
        for index in 0..self.functions {
            let next = self.code(index + 1)?;
            let size = next.checked_sub(addr).ok_or(self.wrong(index))?;
            if let Some(wanted) = self.name(index, addr, &names)?
                && found[wanted].replace(Extent { addr, size }).is_some()
            {
                return Err(PlanError::Damaged { what: "a second function of one name", at: addr });
            }
            addr = next;
        }
        Ok(found)
    }

    /// Which of the names the function has whose code is at `addr`.
    fn name(&self, index: usize, addr: u64, names: &[&str]) -> Result<Option<usize>, PlanError> {
        // A record begins with the function's code (u32) and its name (i32), both as offsets.
        let wrong = || self.wrong(index);
        let record = u32_at(self.pcln, index * 8 + 4).ok_or_else(wrong)? as usize;
        let code = u32_at(self.pcln, record).ok_or_else(wrong)?;
        let name = u32_at(self.pcln, record + 4).ok_or_else(wrong)?;
        if self.text.checked_add(u64::from(code)) != Some(addr) {
            return Err(wrong());
        }
        let name = self.names.get(name as usize..).ok_or_else(wrong)?;
        Ok(names.iter().position(|wanted| symbols::is(name, wanted)))
    }

    fn wrong(&self, index: usize) -> PlanError {
        PlanError::Damaged { what: "table of functions", at: self.at.saturating_add(index as u64 * 8) }
    }
}

/// The module data's first words, as the loader leaves them.
fn words<'d, R: ReadRef<'d>>(image: &Image<'d, R>, module: u64) -> Result<[u64; WORDS], PlanError> {
    let bytes = image.memory(Extent { addr: module, size: WORDS as u64 * 8 }, "module data")?;
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    if image.movable {
        relocate(image, module, &mut words)?;
    }
    Ok(words)
}

/// Puts in what relocations do. Packed ones (`SHT_RELR`) need nothing: theirs stand in place.
fn relocate<'d, R: ReadRef<'d>>(
    image: &Image<'d, R>,
    module: u64,
    words: &mut [u64; WORDS],
) -> Result<(), PlanError> {
    let relative = relative(image.arch);
    let mut left = MAX_READ;
    for section in image.sections_of(SHT_RELA) {
        if !section.loaded() {
            continue;
        }
        let table = image.contents(section, "relocations", left)?;
        left -= table.len() as u64;
        for entry in table.as_chunks::<RELA>().0 {
            let fields = (u64_at(entry, 0), u64_at(entry, 8), u64_at(entry, 16));
            let (Some(at), Some(info), Some(addend)) = fields else { continue };
            let Some(inside) = at.checked_sub(module) else { continue };
            let Some(word) = words.get_mut((inside / 8) as usize) else { continue };
            if inside % 8 != 0 || info != u64::from(relative.0) {
                return Err(PlanError::Damaged { what: "relocation of the module data", at });
            }
            *word = addend;
        }
    }
    Ok(())
}

/// What the pclntab's header begins with: magic, two zeros, instruction quantum, pointer size.
pub(crate) const fn header_word(arch: Arch) -> u64 {
    let quantum = match arch {
        Arch::Amd64 => 1,
        Arch::Arm64 => 4,
    };
    MAGIC | quantum << 48 | 8 << 56
}

/// The kind of relocation that adds where the program was loaded.
pub(crate) const fn relative(arch: Arch) -> RelocationType {
    match arch {
        Arch::Amd64 => R_X86_64_RELATIVE,
        Arch::Arm64 => R_AARCH64_RELATIVE,
    }
}
