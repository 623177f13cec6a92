//! The examples of RFC 7541, appendix C, and what must not happen.

use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn pairs(table: &mut Table, block: &[u8]) -> Result<Vec<(String, String)>, Broken> {
    let mut out = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    table.decode(block, |name, value| out.push((text(name), text(value))))?;
    Ok(out)
}

fn expect(table: &mut Table, block: &str, fields: &[(&str, &str)], size: usize) {
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    assert_eq!(pairs(table, &hex(block)).unwrap(), fields);
    assert_eq!(table.size(), size);
}

#[test]
fn c1_integers() {
    assert_eq!(Input(&[0b1110_1010]).integer(5), Ok(10));
    assert_eq!(Input(&[31, 154, 10]).integer(5), Ok(1337));
    assert_eq!(Input(&[42]).integer(8), Ok(42));
}

#[test]
fn c2_single_fields() {
    let mut table = Table::default();
    expect(
        &mut table,
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        &[("custom-key", "custom-header")],
        55,
    );
    let mut table = Table::default();
    expect(&mut table, "040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")], 0);
    expect(&mut table, "1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")], 0);
    expect(&mut table, "82", &[(":method", "GET")], 0);
}

const REQUESTS: [&[(&str, &str)]; 3] = [
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];

#[test]
fn c3_requests_without_huffman() {
    let mut table = Table::default();
    expect(&mut table, "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", REQUESTS[0], 57);
    expect(&mut table, "8286 84be 5808 6e6f 2d63 6163 6865", REQUESTS[1], 110);
    let block = "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65";
    expect(&mut table, block, REQUESTS[2], 164);
}

#[test]
fn c4_requests_with_huffman() {
    let mut table = Table::default();
    expect(&mut table, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUESTS[0], 57);
    expect(&mut table, "8286 84be 5886 a8eb 1064 9cbf", REQUESTS[1], 110);
    expect(&mut table, "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", REQUESTS[2], 164);
}

const COOKIE: &str = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";

fn responses() -> [Vec<(&'static str, &'static str)>; 3] {
    let url = ("location", "https://www.example.com");
    let early = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    let late = ("date", "Mon, 21 Oct 2013 20:13:22 GMT");
    let private = ("cache-control", "private");
    [
        vec![(":status", "302"), private, early, url],
        vec![(":status", "307"), private, early, url],
        vec![(":status", "200"), private, late, url, ("content-encoding", "gzip"), ("set-cookie", COOKIE)],
    ]
}

fn evicting_table() -> Table {
    Table { max: 256, ..Table::default() }
}

#[test]
fn c5_responses_without_huffman_evict() {
    let (mut table, expected) = (evicting_table(), responses());
    expect(
        &mut table,
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a
         3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        &expected[0],
        222,
    );
    expect(&mut table, "4803 3330 37c1 c0bf", &expected[1], 222);
    expect(
        &mut table,
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04
         677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49
         553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
        &expected[2],
        215,
    );
}

#[test]
fn c6_responses_with_huffman_evict() {
    let (mut table, expected) = (evicting_table(), responses());
    expect(
        &mut table,
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e
         919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        &expected[0],
        222,
    );
    expect(&mut table, "4883 640e ffc1 c0bf", &expected[1], 222);
    expect(
        &mut table,
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7
         821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed
         4ee5 b106 3d50 07",
        &expected[2],
        215,
    );
}

#[test]
fn the_size_may_be_changed_up_to_what_was_allowed() {
    let mut table = Table::default();
    // 3fe13f is 8192 in five bits of prefix.
    assert_eq!(pairs(&mut table, &hex("3fe13f82")), Err(Broken));
    let mut table = Table::default();
    table.allow(8192);
    assert!(pairs(&mut table, &hex("3fe13f82")).is_ok());
    table.allow(0);
    assert!(pairs(&mut table, &hex("203fe13f82")).is_ok());
    table.allow(usize::MAX);
    assert_eq!(table.bound, SIZE_MAX);
}

#[test]
fn a_size_of_zero_empties_the_table() {
    let mut table = Table::default();
    assert!(pairs(&mut table, &hex("4001 6101 62 be")).is_ok());
    assert_eq!(table.size(), 34);
    assert!(pairs(&mut table, &hex("20 4001 6101 62")).is_ok());
    assert_eq!((table.size(), table.entries.len()), (0, 0));
    assert_eq!(pairs(&mut table, &hex("be")), Err(Broken));
}

#[test]
fn what_breaks_the_rules_is_refused() {
    for block in [
        "80",
        "be",
        "ff",
        "ffffffffff0f",
        "ffffffffffff01",
        "40",
        "4001",
        "400161",
        "000a61",
        "8220",
        "418107ff",
    ] {
        assert_eq!(pairs(&mut Table::default(), &hex(block)), Err(Broken), "{block}");
    }
}

/// A literal that is added: the name of index 4 (`:path`) and a value.
fn added(value: &str) -> Vec<u8> {
    [&[0x44, value.len() as u8][..], value.as_bytes()].concat()
}

#[test]
fn of_a_table_that_was_forgotten_what_is_added_since_is_known() {
    let mut table = Table::default();
    table.decode(&added("/old"), |_, _| {}).unwrap();
    table.forget();
    let path = |value: &str| (":path".to_owned(), value.to_owned());
    assert_eq!(
        pairs(&mut table, &hex("be 82")).unwrap(),
        [(":method".into(), "GET".into())],
        "one that is gone"
    );
    assert_eq!(pairs(&mut table, &added("/a")).unwrap(), [path("/a")]);
    assert_eq!(pairs(&mut table, &added("/b")).unwrap(), [path("/b")]);
    assert_eq!(pairs(&mut table, &hex("be bf c0")).unwrap(), [path("/b"), path("/a")]);
    // A name that is not known, with a value that is: neither is given, and the entry counts.
    assert_eq!(pairs(&mut table, &hex("7f01 0161")).unwrap(), []);
    assert_eq!(pairs(&mut table, &hex("be bf c0")).unwrap(), [path("/b"), path("/a")]);
    assert!(table.is_partial());
    // With no room it is known that there is nothing.
    assert!(pairs(&mut table, &hex("20 3f80 04 82")).is_ok());
    assert!(!table.is_partial());
    assert_eq!(pairs(&mut table, &hex("be")), Err(Broken));
}

#[test]
fn an_entry_that_may_have_emptied_a_forgotten_table_leaves_nothing_known() {
    let mut table = Table::default();
    table.forget();
    assert!(pairs(&mut table, &added("/a")).is_ok());
    let long = "x".repeat(DEFAULT_SIZE);
    let block = [&[0x44, 0x7f, 0x81, 0x1f][..], long.as_bytes()].concat();
    assert_eq!(pairs(&mut table, &block).unwrap().len(), 1);
    assert_eq!(pairs(&mut table, &hex("be bf")).unwrap(), []);
}

proptest! {
    #[test]
    fn a_table_joined_at_any_block_says_what_the_whole_one_says_or_nothing(
        blocks in proptest::collection::vec(proptest::collection::vec((0usize..6, 0usize..8), 0..6), 1..30),
        joined in 0usize..30,
    ) {
        // What an encoder adds, and what it refers to; a reference that is none is left out.
        let (mut whole, mut late) = (Table::default(), Table::default());
        let mut size = 0;
        for (n, fields) in blocks.iter().enumerate() {
            if n == joined { late.forget(); }
            let mut block = Vec::new();
            for (kind, value) in fields {
                if *kind < 3 { block.extend(added(&format!("/{value}"))); size += 1; }
                else if *value < size { block.push(0xbe + *value as u8); }
            }
            let (mut all, mut known) = (Vec::new(), Vec::new());
            whole.decode(&block, |name, value| all.push((name.to_vec(), value.to_vec()))).unwrap();
            late.decode(&block, |name, value| known.push((name.to_vec(), value.to_vec()))).unwrap();
            let mut rest = all.iter();
            prop_assert!(known.iter().all(|pair| rest.any(|other| other == pair)), "{:?} of {:?}", known, all);
            let literals = fields.iter().filter(|(kind, _)| *kind < 3).count();
            prop_assert!(known.len() >= literals);
        }
    }

    #[test]
    fn any_blocks_stay_within_the_table(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let mut table = Table::default();
        table.allow(600);
        for block in blocks {
            let _ = table.decode(&block, |_, _| {});
            let counted: usize = table.entries.iter().map(Entry::size).sum();
            prop_assert_eq!(counted, table.size);
            prop_assert!(table.size <= table.max && table.max <= table.bound);
        }
    }
}
