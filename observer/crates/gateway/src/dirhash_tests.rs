//! A zip that another program made, with a hash that a third one computed; and what is not read.

use std::io::Write as _;

use super::*;

/// Python's `zipfile` made it: `z.go` deflated, `go.mod` and an empty `a b/empty` stored, in this order.
const ZIP: &str = "504b030414000000080000002100153f6c780f000000c800000014000000622e746573742f6d4076312e302e302f7a2e\
     676f2b484cce4e4c4f55c8e52a18d22c00504b0304140000000000000021001936e53c10000000100000001600000062\
     2e746573742f6d4076312e302e302f676f2e6d6f646d6f64756c6520622e746573742f6d0a504b030414000000000000\
     00210000000000000000000000000019000000622e746573742f6d4076312e302e302f6120622f656d707479504b0102\
     140314000000080000002100153f6c780f000000c8000000140000000000000000000000800100000000622e74657374\
     2f6d4076312e302e302f7a2e676f504b01021403140000000000000021001936e53c1000000010000000160000000000\
     000000000000800141000000622e746573742f6d4076312e302e302f676f2e6d6f64504b010214031400000000000000\
     2100000000000000000000000000190000000000000000000000800185000000622e746573742f6d4076312e302e302f\
     6120622f656d707479504b05060000000003000300cd000000bc0000000000";
/// By `sha256sum` of the sorted lines.
const HASH: &str = "h1:/MmAS8b6zYU8GnFPmFXN4vCYBBXqjXTvteiDb4edZ1U=";

fn zip() -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    ZIP.as_bytes().chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}

fn hash(zip: &[u8]) -> Option<String> {
    of_zip(zip).ok()
}

/// Where a text is.
fn find(zip: &[u8], text: &[u8]) -> usize {
    zip.windows(text.len()).position(|window| window == text).unwrap()
}

#[test]
fn the_hash_is_that_of_the_sorted_files() {
    assert_eq!(of_zip(zip().as_slice()).unwrap(), HASH);
    let commented = [&zip()[..zip().len() - 2], b"\x03\x00PK\x05"].concat();
    assert_eq!(hash(&commented).as_deref(), Some(HASH));
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[&zip()[..], b"and more"].concat()).unwrap();
    assert_eq!(of_zip(&Beginning { file: &file, size: zip().len() as u64 }).unwrap(), HASH);
}

#[test]
fn another_byte_of_a_file_or_a_name_is_another_hash() {
    for text in [&b"module b.test"[..], b"go.mod"] {
        let mut zip = zip();
        // The names stand in front of the files and in the list; the list counts.
        let at = zip.len()
            - 1
            - find(
                &zip.iter().rev().copied().collect::<Vec<_>>(),
                &text.iter().rev().copied().collect::<Vec<_>>(),
            );
        zip[at] ^= 1;
        let other = hash(&zip);
        assert!(other.is_some() && other.as_deref() != Some(HASH), "{text:?}");
    }
}

#[test]
fn what_is_cut_or_changed_anywhere_has_no_hash_or_another_and_panics_nowhere() {
    let zip = zip();
    for length in 0..zip.len() {
        assert_eq!(hash(&zip[..length]), None, "{length}");
    }
    for at in 0..zip.len() {
        for bit in 0..8 {
            let mut zip = zip.clone();
            zip[at] ^= 1 << bit;
            let _ = hash(&zip);
        }
    }
}

#[test]
fn names_that_are_there_twice_and_sizes_beyond_gos_are_refused() {
    let mut twice = zip();
    let list = find(&twice, b"PK\x01\x02");
    let name = |zip: &[u8], text: &[u8]| list + find(&zip[list..], text);
    let (one, other) = (name(&twice, b"z.go"), name(&twice, b"PK\x01\x02"));
    assert!(one > other);
    twice.splice(one..one + 4, *b"\nxgo");
    assert_eq!(hash(&twice), None, "a name of two lines");
    let mut large = zip();
    let size = find(&large, b"PK\x01\x02") + 24;
    large[size..size + 4].copy_from_slice(&(600_u32 << 20).to_le_bytes());
    assert_eq!(hash(&large), None, "600 MiB by its list");
    large[size..size + 4].copy_from_slice(&7_u32.to_le_bytes());
    assert_eq!(hash(&large), None, "more than its list says");
}
