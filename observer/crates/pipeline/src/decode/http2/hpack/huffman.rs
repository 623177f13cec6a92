//! The Huffman code of RFC 7541, appendix B. It is canonical (codes of a length follow one
//! another in the order of their symbols), so its lengths are all there is to know of it.

use super::Broken;

/// Bits of each symbol's code; the last symbol is EOS.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];
const EOS: u16 = 256;
const LONGEST: usize = 30;

/// Symbols in the order of their codes, and for each length where its codes begin and end.
struct Code {
    symbols: [u16; 257],
    /// Place in `symbols` of the first symbol of a length
    at: [u16; LONGEST + 1],
    /// First code of a length, aligned to the left of 32 bits
    first: [u32; LONGEST + 1],
    /// Beyond the last code of a length, likewise; saturated for the longest
    limit: [u32; LONGEST + 1],
}

static CODE: Code = code();

const fn code() -> Code {
    let mut out =
        Code { symbols: [0; 257], at: [0; LONGEST + 1], first: [0; LONGEST + 1], limit: [0; LONGEST + 1] };
    let mut placed = 0;
    let mut next: u64 = 0;
    let mut len = 1;
    while len <= LONGEST {
        out.at[len] = placed;
        out.first[len] = next as u32;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol as usize] as usize == len {
                out.symbols[placed as usize] = symbol;
                placed += 1;
                next += 1 << (32 - len);
            }
            symbol += 1;
        }
        out.limit[len] = if next > u32::MAX as u64 { u32::MAX } else { next as u32 };
        len += 1;
    }
    out
}

/// Unpacks a string, appending to `out`: at most eight bytes for five of input.
pub(super) fn unpack(packed: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    let mut window: u64 = 0;
    let mut bits = 0;
    let mut rest = packed.iter();
    loop {
        while bits <= 56 {
            let Some(byte) = rest.next() else { break };
            window |= u64::from(*byte) << (56 - bits);
            bits += 8;
        }
        // Beyond the end stand ones, as padding does: no code but EOS is made of ones only.
        let ahead = (window >> 32) as u32 | if bits < 32 { u32::MAX >> bits } else { 0 };
        let len = (5..LONGEST).find(|len| ahead < CODE.limit[*len]).unwrap_or(LONGEST);
        let symbol =
            CODE.symbols[usize::from(CODE.at[len]) + ((ahead - CODE.first[len]) >> (32 - len)) as usize];
        if len > bits {
            // What is left must be padding: fewer than eight ones.
            return if bits < 8 && ahead == u32::MAX { Ok(()) } else { Err(Broken) };
        }
        if symbol == EOS {
            return Err(Broken);
        }
        out.push(symbol as u8);
        window <<= len;
        bits -= len;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unpacked(packed: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut out = Vec::new();
        unpack(packed, &mut out).map(|()| out)
    }

    /// The encoder that the decoder is tried against.
    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for byte in bytes {
            let len = usize::from(LENGTHS[usize::from(*byte)]);
            let place = CODE.symbols.iter().position(|symbol| *symbol == u16::from(*byte)).unwrap();
            let code = (CODE.first[len] >> (32 - len)) + (place as u32 - u32::from(CODE.at[len]));
            bits.extend((0..len).rev().map(|bit| code >> bit & 1 == 1));
        }
        bits.chunks(8)
            .map(|chunk| (0..8).fold(0, |byte, bit| byte << 1 | u8::from(*chunk.get(bit).unwrap_or(&true))))
            .collect()
    }

    #[test]
    fn the_code_is_complete() {
        let kraft: u64 = LENGTHS.iter().map(|len| 1 << (32 - len)).sum();
        assert_eq!(kraft, 1 << 32);
    }

    #[test]
    fn the_examples_of_the_rfc_are_unpacked() {
        let packed = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(unpacked(&packed).unwrap(), b"www.example.com");
        assert_eq!(unpacked(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), b"no-cache");
        assert_eq!(unpacked(&[]).unwrap(), b"");
    }

    #[test]
    fn wrong_padding_and_eos_are_refused() {
        // `0` is five zeros; after it come three bits of padding.
        assert_eq!(unpacked(&[0x07]).unwrap(), b"0");
        for packed in [&[0x06][..], &[0x07, 0xff], &[0xff], &[0xff; 4], &[0x07, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(unpacked(packed), Err(Broken), "{packed:x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(unpacked(&pack(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn no_bytes_panic_and_there_is_one_packing(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(out) = unpacked(&bytes) {
                prop_assert!(out.len() * 5 <= bytes.len() * 8);
                prop_assert_eq!(pack(&out), bytes);
            }
        }
    }
}
