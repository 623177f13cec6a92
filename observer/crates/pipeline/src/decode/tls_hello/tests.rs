//! Hellos made by hand.

use proptest::prelude::*;

use super::*;

fn ext(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
}

fn list(data: &[u8]) -> Vec<u8> {
    [&(data.len() as u16).to_be_bytes()[..], data].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

fn record(message: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &list(message)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    ext(0, &list(&[&[0][..], &list(name)].concat()))
}

fn client_message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let fixed = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 0x01], &[1, 0]].concat();
    handshake(1, &[fixed, list(&extensions.concat())].concat())
}

fn go_like() -> Vec<u8> {
    let shares =
        [&[0x0a, 0x0a, 0, 1, 0][..], &[0x11, 0xec], &list(&[1; 1216]), &[0, 29], &list(&[2; 32])].concat();
    client_message(&[
        // Malformed on purpose: what follows must be read all the same.
        ext(10, &[0]),
        sni(b"proxy.test"),
        ext(16, &list(b"\x02h2\x08http/1.1")),
        ext(43, &[6, 0x1a, 0x1a, 3, 4, 3, 3]),
        ext(51, &list(&shares)),
    ])
}

fn server_message(random: [u8; 32], extensions: &[Vec<u8>]) -> Vec<u8> {
    let fixed = [&[3, 3][..], &random, &[0], &[0x13, 0x01], &[0]].concat();
    handshake(2, &[fixed, list(&extensions.concat())].concat())
}

fn one(bytes: &[u8]) -> Progress {
    HelloBuffer::default().push(bytes)
}

fn expect_client(progress: Progress) -> ClientHello {
    match progress {
        Progress::Done(Hello::Client(hello)) => hello,
        other => panic!("no client hello but {other:?}"),
    }
}

#[test]
fn a_client_hello_is_read_past_a_malformed_extension() {
    let message = go_like();
    let hello = expect_client(one(&record(&message)));
    assert_eq!(hello.server_name.as_deref(), Some("proxy.test"));
    assert_eq!(hello.alpn, ["h2", "http/1.1"]);
    assert_eq!(hello.size, message.len());
    assert_eq!(hello.key_shares, [0x11ec, 29]);
    assert_eq!(hello.versions, [0x0304, 0x0303]);
    assert!(hello.ml_kem);
}

#[test]
fn a_hello_without_extensions_is_read() {
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 0x01], &[1, 0]].concat();
    let hello = expect_client(one(&record(&handshake(1, &body))));
    assert_eq!(hello, ClientHello { size: body.len() + 4, ..ClientHello::default() });
}

#[test]
fn a_name_that_is_no_host_name_is_left_out() {
    for name in [&b"a b.test"[..], b"", b"a..test", b"\xff\xfe", &[b'a'; 64], &b"a.".repeat(150)] {
        assert_eq!(expect_client(one(&record(&client_message(&[sni(name)])))).server_name, None);
    }
}

#[test]
fn the_extension_decides_the_version() {
    let old = one(&record(&server_message([1; 32], &[ext(16, &list(b"\x02h2"))])));
    let expected = ServerHello { version: "1.2".into(), alpn: Some("h2".into()), retry: false };
    assert_eq!(old, Progress::Done(Hello::Server(expected)));
    let new = one(&record(&server_message([1; 32], &[ext(43, &[3, 4])])));
    let expected = ServerHello { version: "1.3".into(), alpn: None, retry: false };
    assert_eq!(new, Progress::Done(Hello::Server(expected)));
}

#[test]
fn a_retry_request_is_distinguished() {
    let random = [
        207, 33, 173, 116, 229, 154, 97, 17, 190, 29, 140, 2, 30, 101, 184, 145, 194, 162, 17, 22, 122, 187,
        140, 94, 7, 158, 9, 226, 200, 168, 51, 156,
    ];
    let Progress::Done(Hello::Server(hello)) = one(&record(&server_message(random, &[ext(43, &[3, 4])])))
    else {
        panic!("no server hello")
    };
    assert!(hello.retry);
}

#[test]
fn an_alert_instead_of_a_hello_is_reported() {
    let Progress::Done(Hello::Alert(alert)) = one(&[21, 3, 3, 0, 2, 2, 40]) else { panic!("no alert") };
    assert_eq!((alert.level, alert.name()), (2, "handshake_failure"));
    assert_eq!(one(&[21, 3, 3, 0, 3, 2, 40, 0]), Progress::NotTls);
}

#[test]
fn other_protocols_are_not_tls() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"SSH-2.0-x", &[22, 9], &[22, 3, 1, 0, 0], &[22, 3, 1, 0, 1, 9]]
    {
        assert_eq!(one(bytes), Progress::NotTls, "{bytes:?}");
    }
}

#[test]
fn a_hello_above_the_limit_is_given_up() {
    assert_eq!(one(&[22, 3, 1, 0x10, 0, 1, 0, 0x40, 0]), Progress::TooLong);
    assert_eq!(one(&[22, 3, 1, 0x10, 0, 1, 0, 0x3f, 0]), Progress::NeedMore);
}

proptest! {
    #[test]
    fn any_split_into_records_and_reads_gives_the_same_hello(
        records in proptest::collection::vec(1usize..600, 1..30),
        reads in proptest::collection::vec(1usize..700, 1..30),
    ) {
        let message = go_like();
        let (mut bytes, mut rest) = (Vec::new(), &message[..]);
        for size in records.iter().cycle() {
            if rest.is_empty() { break; }
            let (now, later) = rest.split_at(rest.len().min(*size));
            bytes.extend(record(now));
            rest = later;
        }
        let (mut buffer, mut last, mut rest) = (HelloBuffer::default(), Progress::NeedMore, &bytes[..]);
        for size in reads.iter().cycle() {
            if rest.is_empty() { break; }
            prop_assert_eq!(&last, &Progress::NeedMore);
            let (now, later) = rest.split_at(rest.len().min(*size));
            last = buffer.push(now);
            rest = later;
        }
        prop_assert_eq!(last, one(&record(&message)));
    }

    #[test]
    fn a_damaged_hello_never_panics(at in 0usize..1400, value in any::<u8>(), more in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut bytes = record(&go_like());
        if let Some(byte) = bytes.get_mut(at) { *byte = value; }
        bytes.extend(more);
        let mut buffer = HelloBuffer::default();
        let _ = buffer.push(&bytes);
        prop_assert!(buffer.message.len() <= bytes.len());
    }
}
