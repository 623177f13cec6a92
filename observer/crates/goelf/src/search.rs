//! The pclntab's address in, the module data's address out, where neither a section nor a symbol
//! names them: go1.21 to go1.25, stripped.
//!
//! The first word of the module data is the address of the pclntab's header. Every place in the
//! writable data that holds it, or that a relocation fills with it, is read as module data and
//! checked as such; exactly one must pass.
//!
//! A PIE that the C compiler's linker made has no section of the pclntab's own: there every place
//! that begins as the header does is taken for one.

use object::ReadRef;
use object::elf::SHT_RELA;

use super::PlanError;
use super::image::{Extent, Image, MAX_READ, Section, u64_at};
use super::moduledata::{RELA, header_word, holds, relative};

/// Sections that hold the pclntab; the second is a PIE's.
const PCLNTAB: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// Where the second is merged into.
const MERGED: &str = ".data.rel.ro";
/// Data that is looked through, bytes; the largest Go programs known have some 20 MB.
const MAX_DATA: u64 = 64 << 20;
/// Read at once; a multiple of a word, so that none lies across two.
const CHUNK: u64 = 1 << 20;
/// Places that are checked; in the programs tried there was one, in a PIE twice over.
const MAX_PLACES: usize = 16;

/// Finds the module data. `None` when no place holds them.
pub(crate) fn find<'d, R: ReadRef<'d>>(image: &Image<'d, R>) -> Result<Option<u64>, PlanError> {
    let headers = match PCLNTAB.iter().find_map(|name| image.section(name)) {
        Some(section) => vec![section.addr],
        None => {
            let mut places = Vec::new();
            in_data(image, image.section(MERGED), &[header_word(image.arch)], &mut places)?;
            places
        }
    };
    let mut places = Vec::new();
    in_data(image, image.writable(), &headers, &mut places)?;
    if image.movable {
        relocated(image, &headers, &mut places)?;
    }
    // In a PIE the word stands in place as well, with most linkers.
    places.sort_unstable();
    places.dedup();
    let mut found = None;
    for at in places {
        // Anything may hold that address: a place that fails the checks is none of the module's.
        if holds(image, at) && found.replace(at).is_some() {
            return Err(PlanError::Damaged { what: "second module data", at });
        }
    }
    Ok(found)
}

/// The places in those sections that hold one of the words in the file.
fn in_data<'a, 'd, R: ReadRef<'d> + 'a>(
    image: &'a Image<'d, R>,
    sections: impl IntoIterator<Item = &'a Section>,
    words: &[u64],
    places: &mut Vec<u64>,
) -> Result<(), PlanError> {
    let what = "data";
    let mut left = MAX_DATA;
    for section in sections {
        if section.size > left {
            return Err(PlanError::TooLarge { what, size: section.size, limit: MAX_DATA });
        }
        left -= section.size;
        // The module data are aligned in memory, and so in the section if that is.
        let mut at = section.addr.wrapping_neg() % 8;
        while at < section.size {
            let size = CHUNK.min(section.size - at);
            let addr = section.addr.saturating_add(at);
            let bytes = image.memory(Extent { addr, size }, what)?;
            for (index, word) in bytes.as_chunks().0.iter().enumerate() {
                if words.contains(&u64::from_le_bytes(*word)) {
                    add(places, addr + index as u64 * 8)?;
                }
            }
            at += size;
        }
    }
    Ok(())
}

/// The places that a relocation fills with one of the addresses.
fn relocated<'d, R: ReadRef<'d>>(
    image: &Image<'d, R>,
    headers: &[u64],
    places: &mut Vec<u64>,
) -> Result<(), PlanError> {
    let relative = u64::from(relative(image.arch).0);
    let mut left = MAX_READ;
    for section in image.sections_of(SHT_RELA).filter(|section| section.loaded()) {
        let table = image.contents(section, "relocations", left)?;
        left -= table.len() as u64;
        for entry in table.as_chunks::<RELA>().0 {
            let fields = (u64_at(entry, 0), u64_at(entry, 8), u64_at(entry, 16));
            let (Some(at), Some(info), Some(addend)) = fields else { continue };
            if info == relative && headers.contains(&addend) && at % 8 == 0 {
                add(places, at)?;
            }
        }
    }
    Ok(())
}

fn add(places: &mut Vec<u64>, at: u64) -> Result<(), PlanError> {
    if places.len() == MAX_PLACES {
        return Err(PlanError::Damaged {
            what: "number of places that may be the pclntab's or point to it",
            at,
        });
    }
    places.push(at);
    Ok(())
}
