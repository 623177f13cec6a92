//! Which tiles of the checksum database go reads after a record. In: the record as the database answered it.
//! Out: the full tiles that hold the record's hash and those above it, in any later tree as well.
//!
//! Go reads the tile with the record's hash and the ones that lead from it to the tree's head. Tiles that are
//! full in the tree that the record came with are full in every later one, so go asks for just those; partial
//! ones depend on the tree that go has by then, and are left to it.

use crate::asset::Asset;

/// Hashes of a tile, as a power of two.
const HEIGHT: u32 = 8;
/// No tree has more levels of tiles: 2⁶³ records.
const LEVELS: u32 = 8;

/// The tiles.
pub fn of(database: &str, record: &[u8]) -> Vec<Asset> {
    let Some((id, size)) = numbers(record).filter(|(id, size)| id < size) else { return Vec::new() };
    let full = |level: &u32| {
        let shift = HEIGHT * (level + 1);
        shift < 63 && ((id >> shift) + 1) << shift <= size
    };
    let path =
        |level: u32| format!("sumdb/{database}/tile/8/{level}/{}", index(id >> (HEIGHT * (level + 1))));
    (0..LEVELS).take_while(full).filter_map(|level| Asset::parse(&path(level))).collect()
}

/// The record's number, and how many records the tree has: the first line, and the second of the signed
/// note behind the empty line.
fn numbers(record: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(record).ok()?;
    let id = text.lines().next()?.parse().ok()?;
    let (_, note) = text.split_once("\n\n")?;
    let mut lines = note.lines();
    (lines.next()? == "go.sum database tree").then_some(())?;
    Some((id, lines.next()?.parse().ok()?))
}

/// A tile's number in a path: groups of three digits, all but the last behind an `x`.
fn index(mut number: u64) -> String {
    let mut text = format!("{:03}", number % 1000);
    while number >= 1000 {
        number /= 1000;
        text = format!("x{:03}/{text}", number % 1000);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(id: u64, size: u64) -> Vec<String> {
        let record = format!("{id}\nm v1 h1:x\n\ngo.sum database tree\n{size}\nhash\n\n— s sig\n");
        of("s.test", record.as_bytes()).into_iter().map(|asset| asset.path).collect()
    }

    #[test]
    fn full_tiles_from_the_record_up_are_read() {
        assert_eq!(paths(70_000, 200_000), ["sumdb/s.test/tile/8/0/273", "sumdb/s.test/tile/8/1/001"]);
        assert_eq!(paths(199_999, 200_000), [""; 0], "the last tile is partial");
        assert_eq!(paths(31_234_567, 40_000_000)[0], "sumdb/s.test/tile/8/0/x122/010");
        assert_eq!(
            paths(31_234_567, 40_000_000)[1..],
            ["sumdb/s.test/tile/8/1/476", "sumdb/s.test/tile/8/2/001"]
        );
        assert_eq!(index(1_234_067), "x001/x234/067");
    }

    #[test]
    fn what_is_no_record_has_no_tiles() {
        for text in [
            "",
            "x\n\ngo.sum database tree\n9\n",
            "1\n\nother\n9\n",
            "9\n\ngo.sum database tree\n9\n",
            "\u{fffd}",
        ] {
            assert_eq!(of("s.test", text.as_bytes()), []);
        }
        assert_eq!(paths(0, u64::MAX).len(), 7);
    }
}
