//! The pclntab's address in, the module data's address out, where neither a section nor a symbol
//! names them: go1.21 to go1.25, stripped.
//!
//! The first word of the module data is the address of the pclntab's header. Every place in the
//! writable data that holds it, or that a relocation fills with it, is read as module data and
//! checked as such; exactly one must pass.

use object::ReadRef;
use object::elf::SHT_RELA;

use super::Refusal;
use super::image::{Extent, Image, MAX_TABLE, u64_at};
use super::moduledata::{RELA, holds, relative};

/// Sections that hold the pclntab; the second is a PIE's.
const PCLNTAB: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// Data that is looked through, bytes; the largest Go programs known have some 20 MB.
const MAX_DATA: u64 = 64 << 20;
/// Read at once; a multiple of a word, so that none lies across two.
const CHUNK: u64 = 1 << 20;
/// Places that are checked; in the programs tried there was one, in a PIE twice over.
const MAX_PLACES: usize = 16;

/// Finds the module data. `None` when no place holds them.
pub fn find<'d, R: ReadRef<'d>>(image: &Image<'d, R>) -> Result<Option<u64>, Refusal> {
    let Some(header) = PCLNTAB.iter().find_map(|name| image.section(name)).map(|section| section.addr) else {
        return Ok(None);
    };
    let mut places = Vec::new();
    in_data(image, header, &mut places)?;
    if image.movable {
        relocated(image, header, &mut places)?;
    }
    // In a PIE the word stands in place as well, with most linkers.
    places.sort_unstable();
    places.dedup();
    let mut found = None;
    for at in places {
        // Anything may hold that address: a place that fails the checks is none of the module's.
        if holds(image, at) && found.replace(at).is_some() {
            return Err(Refusal::Damaged { what: "second module data", at });
        }
    }
    Ok(found)
}

/// The places that hold the address in the file.
fn in_data<'d, R: ReadRef<'d>>(
    image: &Image<'d, R>,
    header: u64,
    places: &mut Vec<u64>,
) -> Result<(), Refusal> {
    let what = "data";
    let mut left = MAX_DATA;
    for section in image.writable() {
        if section.size > left {
            return Err(Refusal::TooLarge { what, size: section.size, limit: MAX_DATA });
        }
        left -= section.size;
        // The module data are aligned in memory, and so in the section if that is.
        let mut at = section.addr.wrapping_neg() % 8;
        while at < section.size {
            let size = CHUNK.min(section.size - at);
            let addr = section.addr.saturating_add(at);
            let bytes = image.memory(Extent { addr, size }, what)?;
            for (index, word) in bytes.chunks_exact(8).enumerate() {
                if u64_at(word, 0) == Some(header) {
                    add(places, addr + index as u64 * 8)?;
                }
            }
            at += size;
        }
    }
    Ok(())
}

/// The places that a relocation fills with the address.
fn relocated<'d, R: ReadRef<'d>>(
    image: &Image<'d, R>,
    header: u64,
    places: &mut Vec<u64>,
) -> Result<(), Refusal> {
    let relative = u64::from(relative(image.arch));
    let mut left = MAX_TABLE;
    for section in image.sections_of(SHT_RELA).filter(|section| section.loaded()) {
        let table = image.contents(section, "relocations", left)?;
        left -= table.len() as u64;
        for entry in table.chunks_exact(RELA) {
            let fields = (u64_at(entry, 0), u64_at(entry, 8), u64_at(entry, 16));
            let (Some(at), Some(info), Some(addend)) = fields else { continue };
            if info == relative && addend == header && at % 8 == 0 {
                add(places, at)?;
            }
        }
    }
    Ok(())
}

fn add(places: &mut Vec<u64>, at: u64) -> Result<(), Refusal> {
    if places.len() == MAX_PLACES {
        return Err(Refusal::Damaged { what: "number of pointers to the pclntab", at });
    }
    places.push(at);
    Ok(())
}
