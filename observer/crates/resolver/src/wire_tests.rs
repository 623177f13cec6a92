//! Messages as others write them, and bytes that are none.

use proptest::prelude::*;

use super::*;

fn a(name: &str) -> Question {
    Question::of(name, A).unwrap()
}

/// An answer with records: type, TTL, data.
fn answer(
    question: &Question,
    id: u16,
    flags: u16,
    records: &[(u16, u32, &[u8])],
    authority: usize,
) -> Vec<u8> {
    let counts = [1, (records.len() - authority) as u16, authority as u16, 0];
    let mut message =
        [id, 0x8180 | flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    message.extend(question.wire());
    for (kind, ttl, data) in records {
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        message.extend(ttl.to_be_bytes());
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(*data);
    }
    message
}

#[test]
fn a_query_is_read_as_it_was_written() {
    for edns in [false, true] {
        let message = a("Proxy.Test.").query(7, edns);
        let query = Query::parse(&message).unwrap();
        assert_eq!(query.question, a("proxy.test"));
        assert_eq!(query.udp_max, if edns { 1232 } else { 512 });
        assert_eq!((query.id, query.recursion_desired, query.edns), (7, true, edns));
    }
    assert_eq!(Question::of("a..test", A), None);
    assert_eq!(Question::of(&"x".repeat(64), A), None);
    assert_eq!(Question::of("", A), None);
}

#[test]
fn a_clients_letters_and_id_are_given_back_and_times_run_down() {
    let asked = a("proxy.test");
    let mut message = asked.query(9, false);
    message[13] = b'P';
    let query = Query::parse(&message).unwrap();
    let got = answer(&asked, 3, 0, &[(A, 60, &[127, 0, 0, 1]), (5, 20, &[0])], 0);
    let got = Answer::parse(&got, 3, &asked).unwrap();
    assert_eq!((got.rcode, got.has_records, got.ttl_s, got.is_good()), (0, true, Some(20), true));
    let given = query.answer(&got, 25);
    assert_eq!(&given[..2], &[0, 9]);
    assert_eq!(&given[12..24], &message[12..24]);
    let again = Answer::parse(&given, 9, &asked).unwrap();
    assert_eq!(again.ttls.iter().map(|at| long(&given, *at).unwrap()).collect::<Vec<_>>(), [35, 0]);
}

#[test]
fn that_there_is_nothing_is_believed_as_long_as_the_soa_says() {
    let soa = [&[0, 0][..], &[0; 16], &30_u32.to_be_bytes()].concat();
    let got = answer(&a("x.test"), 3, 3, &[(SOA, 900, &soa)], 1);
    let got = Answer::parse(&got, 3, &a("x.test")).unwrap();
    assert_eq!((got.rcode, got.has_records, got.ttl_s), (NXDOMAIN, false, Some(30)));
    let got = Answer::parse(&answer(&a("x.test"), 3, 0, &[], 0), 3, &a("x.test")).unwrap();
    assert_eq!((got.rcode, got.has_records, got.ttl_s), (NOERROR, false, None));
}

#[test]
fn edns_is_taken_off_for_a_client_without_it() {
    let asked = a("x.test");
    let mut message = answer(&asked, 3, 0, &[(A, 60, &[127, 0, 0, 1])], 0);
    let plain = message.clone();
    message[11] = 1;
    message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    let got = Answer::parse(&message, 3, &asked).unwrap();
    let query = |edns| Query::parse(&asked.query(3, edns)).unwrap();
    assert_eq!(query(false).answer(&got, 0), plain);
    assert_eq!(query(true).answer(&got, 0), message);
}

#[test]
fn an_answer_to_something_else_is_none() {
    let right = answer(&a("x.test"), 3, 0, &[(A, 60, &[127, 0, 0, 1])], 0);
    assert!(Answer::parse(&right, 3, &a("x.test")).is_some());
    assert_eq!(Answer::parse(&right, 4, &a("x.test")), None);
    assert_eq!(Answer::parse(&right, 3, &a("y.test")), None);
    assert_eq!(Answer::parse(&right, 3, &Question::of("x.test", AAAA).unwrap()), None);
    assert_eq!(Answer::parse(&a("x.test").query(3, true), 3, &a("x.test")), None, "a query");
    assert_eq!(Query::parse(&right), None);
    for length in 0..right.len() {
        assert_eq!(Answer::parse(&right[..length], 3, &a("x.test")), None, "{length}");
    }
    let cut = answer(&a("x.test"), 3, 0x200, &[], 0);
    assert!(Answer::parse(&cut, 3, &a("x.test")).is_some_and(|answer| answer.truncated && !answer.is_good()));
}

#[test]
fn an_answer_of_our_own_is_one() {
    let query = Query::parse(&a("x.test").query(5, true)).unwrap();
    let got = Answer::parse(&query.empty(SERVFAIL, false), 5, &a("x.test")).unwrap();
    assert_eq!((got.rcode, got.truncated), (SERVFAIL, false));
    assert!(Answer::parse(&query.empty(NOERROR, true), 5, &a("x.test")).unwrap().truncated);
}

proptest! {
    #[test]
    fn no_bytes_panic(message in proptest::collection::vec(any::<u8>(), 0..600), age in any::<u32>()) {
        let asked = a("x.test");
        let query = Query::parse(&asked.query(1, false)).unwrap();
        let _ = Query::parse(&message);
        if let Some((question, _)) = question(&message)
            && let Some(got) = Answer::parse(&message, number(&message, 0).unwrap(), &question)
            && question == asked
        {
            let _ = query.answer(&got, age);
        }
    }

    #[test]
    fn no_change_of_an_answer_panics(at in 0_usize..200, byte in any::<u8>(), age in any::<u32>()) {
        let asked = a("x.test");
        let soa = [0; 22];
        let mut message = answer(&asked, 3, 0, &[(A, 60, &[127, 0, 0, 1]), (SOA, 900, &soa)], 1);
        let at = at % message.len();
        message[at] = byte;
        let query = Query::parse(&asked.query(1, false)).unwrap();
        if let Some(got) = Answer::parse(&message, 3, &asked) {
            let _ = query.answer(&got, age);
        }
        let _ = Query::parse(&message);
    }
}
