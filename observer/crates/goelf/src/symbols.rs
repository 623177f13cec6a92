//! Names in, places out, by the ELF symbol table.

use object::ReadRef;
use object::elf::{SHN_UNDEF, SHT_SYMTAB};

use super::PlanError;
use super::image::{Extent, Image, MAX_READ, u32_at, u64_at};

const SYM: usize = 24;

/// Looks the names up; `None` for those that are not defined, and for all of them in a file
/// without symbols.
pub(crate) fn find<'d, R: ReadRef<'d>, const N: usize>(
    image: &Image<'d, R>,
    names: [&str; N],
) -> Result<[Option<Extent>; N], PlanError> {
    let mut found = [None; N];
    let Some(table) = image.sections_of(SHT_SYMTAB).next() else { return Ok(found) };
    let strings = image
        .section_number(table.link)
        .ok_or(PlanError::Damaged { what: "link of the symbol table", at: u64::from(table.link) })?;
    let symbols = image.contents(table, "symbol table", MAX_READ)?;
    let strings = image.contents(strings, "symbol names", MAX_READ)?;
    for symbol in symbols.as_chunks::<SYM>().0 {
        // name: u32, info: u8, other: u8, section: u16, value: u64, size: u64
        let fields = (u32_at(symbol, 0), u64_at(symbol, 8), u64_at(symbol, 16));
        let (Some(name), Some(addr), Some(size)) = fields else { continue };
        if [symbol[6], symbol[7]] == SHN_UNDEF.0.to_le_bytes() {
            continue;
        }
        // A name outside the table belongs to nothing that is looked for.
        let Some(name) = strings.get(name as usize..) else { continue };
        let Some(index) = names.iter().position(|wanted| is(name, wanted)) else { continue };
        let extent = Extent { addr, size };
        match found[index].replace(extent) {
            Some(other) if other != extent => {
                return Err(PlanError::Damaged { what: "a second symbol of one name", at: addr });
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The NUL-terminated text that `bytes` begins with is `wanted`.
pub(crate) fn is(bytes: &[u8], wanted: &str) -> bool {
    bytes.get(wanted.len()) == Some(&0) && bytes.starts_with(wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::is;

    #[test]
    fn a_name_ends_where_its_nul_is() {
        assert!(is(b"a.Read\0b", "a.Read"));
        assert!(!is(b"a.Reader\0", "a.Read"));
        assert!(!is(b"a.Read", "a.Read"), "no NUL");
        assert!(!is(b"", "a.Read"));
    }
}
