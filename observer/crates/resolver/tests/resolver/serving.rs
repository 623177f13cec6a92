//! What a client gets, when, and how often the servers are asked for it.

use std::time::{Duration, Instant};

use resolver::wire::{NXDOMAIN, SERVFAIL};

use crate::name_server::{Act, NameServer, Resolver, a, aaaa, last};

#[tokio::test]
async fn what_was_asked_comes_from_the_cache_and_equal_questions_are_one() {
    let server = NameServer::start(|question, _| match question.qtype {
        1 => Act::Late(50),
        _ => Act::Nothing,
    })
    .await;
    let resolver = Resolver::start(&[&server]).await;
    let (question, other) = (a("proxy.test"), a("Proxy.TEST"));
    let (one, two) = tokio::join!(resolver.ask(&question), resolver.ask(&other));
    assert_eq!((last(&one.unwrap()), last(&two.unwrap())), (1, 1));
    assert_eq!(last(&resolver.ask(&question).await.unwrap()), 1);
    assert_eq!(last(&resolver.ask_over_tcp(&question).await.unwrap()), 1);
    assert!(!resolver.ask(&aaaa("proxy.test")).await.unwrap().has_records);
    assert_eq!((server.asked(&question), server.asked(&aaaa("proxy.test"))), (1, 1));
    let metrics = resolver.forwarder.metrics();
    assert_eq!((metrics.queries.get(), metrics.cached.get(), metrics.sent.get()), (5, 2, 2));
}

#[tokio::test]
async fn names_are_there_before_they_are_asked_for() {
    let server = NameServer::start(|_, _| Act::Address(4, 60)).await;
    let resolver = Resolver::start(&[&server]).await;
    resolver.forwarder.fill(&["proxy.test".into(), "sum.test".into(), "no..name".into()]).await;
    for question in [a("proxy.test"), aaaa("proxy.test"), a("sum.test"), aaaa("sum.test")] {
        assert_eq!(last(&resolver.ask(&question).await.unwrap()), 4);
        assert_eq!(server.asked(&question), 1);
    }
    assert_eq!(resolver.forwarder.metrics().sent.get(), 4);
}

#[tokio::test]
async fn a_lost_packet_costs_a_part_of_a_second() {
    let server =
        NameServer::start(|_, number| if number < 2 { Act::Silent } else { Act::Address(2, 60) }).await;
    let resolver = Resolver::start(&[&server]).await;
    let began = Instant::now();
    assert_eq!(last(&resolver.ask(&a("proxy.test")).await.unwrap()), 2);
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
    assert_eq!(resolver.forwarder.metrics().repeated.get(), 2);
}

#[tokio::test]
async fn the_first_good_answer_of_all_servers_is_taken() {
    let dead = NameServer::start(|_, _| Act::Silent).await;
    let failing = NameServer::start(|_, _| Act::Fail).await;
    let well = NameServer::start(|_, _| Act::Address(3, 60)).await;
    let resolver = Resolver::start(&[&dead, &failing, &well]).await;
    let began = Instant::now();
    assert_eq!(last(&resolver.ask(&a("proxy.test")).await.unwrap()), 3);
    assert!(began.elapsed() < Duration::from_millis(350), "{:?}", began.elapsed());
}

#[tokio::test]
async fn that_there_is_no_such_name_is_believed_of_the_first_that_knows_it() {
    // As with a VPN: the first server knows more names than the second.
    let vpn = NameServer::start(|_, _| Act::Late(150)).await;
    let public = NameServer::start(|_, _| Act::Unknown).await;
    let resolver = Resolver::start(&[&vpn, &public]).await;
    assert_eq!(last(&resolver.ask(&a("git.corp.test")).await.unwrap()), 1);
    // One that is dead is waited for a second.
    let dead = NameServer::start(|_, _| Act::Silent).await;
    let resolver = Resolver::start(&[&dead, &public]).await;
    assert_eq!(resolver.ask(&a("x.test")).await.unwrap().rcode, NXDOMAIN);
    // The first is believed at once.
    let resolver = Resolver::start(&[&public, &dead]).await;
    let began = Instant::now();
    assert_eq!(resolver.ask(&a("x.test")).await.unwrap().rcode, NXDOMAIN);
    assert!(began.elapsed() < Duration::from_millis(350), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_aaaa_that_never_comes_is_not_waited_for_and_not_remembered() {
    let server = NameServer::start(|question, number| match (question.qtype, number) {
        (1, _) => Act::Address(1, 60),
        (_, 0..6) => Act::Silent,
        _ => Act::Address(6, 60),
    })
    .await;
    let resolver = Resolver::start(&[&server]).await;
    let began = Instant::now();
    let (a_question, aaaa_question) = (a("proxy.test"), aaaa("proxy.test"));
    let (first, second) = tokio::join!(resolver.ask(&a_question), resolver.ask(&aaaa_question));
    assert_eq!(last(&first.unwrap()), 1);
    assert!(!second.unwrap().has_records);
    let took = began.elapsed();
    assert!((300..1500).contains(&took.as_millis()), "{took:?}");
    assert_eq!(resolver.forwarder.metrics().aaaa_given_up.get(), 1);
    // The answer that comes in the end is given then.
    for _ in 0..100 {
        if resolver.ask(&aaaa_question).await.unwrap().has_records {
            return;
        }
    }
    panic!("the AAAA was remembered as none: {}", resolver.forwarder.metrics());
}

#[tokio::test]
async fn an_aaaa_without_its_a_is_waited_for() {
    let server = NameServer::start(|_, _| Act::Late(700)).await;
    let resolver = Resolver::start(&[&server]).await;
    assert!(resolver.ask(&aaaa("proxy.test")).await.unwrap().has_records);
}

#[tokio::test]
async fn what_was_cut_is_had_over_tcp() {
    let server = NameServer::start(|_, _| Act::Cut).await;
    let resolver = Resolver::start(&[&server]).await;
    assert_eq!(last(&resolver.ask(&a("proxy.test")).await.unwrap()), 9);
    assert_eq!(resolver.forwarder.metrics().tcp.get(), 1);
}

#[tokio::test]
async fn an_answer_whose_time_has_run_out_is_given_while_it_is_asked_for_anew() {
    let server = NameServer::start(|_, number| match number {
        0 => Act::Address(1, 1),
        _ => Act::Address(2, 60),
    })
    .await;
    let resolver = Resolver::start(&[&server]).await;
    let mut came = Vec::new();
    let began = Instant::now();
    while came.last() != Some(&2) && began.elapsed() < Duration::from_secs(10) {
        came.push(last(&resolver.ask(&a("proxy.test")).await.unwrap()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((came.first(), came.last(), server.asked(&a("proxy.test"))), (Some(&1), Some(&2), 2));
    assert!(resolver.forwarder.metrics().stale.get() > 0);
}

#[tokio::test]
async fn without_an_answer_it_fails_in_time_and_asks_anew() {
    let server =
        NameServer::start(|_, number| if number < 50 { Act::Silent } else { Act::Address(1, 60) }).await;
    let resolver = Resolver::start(&[&server]).await;
    let began = Instant::now();
    assert_eq!(resolver.ask(&a("proxy.test")).await.unwrap().rcode, SERVFAIL);
    assert!(began.elapsed() < Duration::from_millis(4500), "{:?}", began.elapsed());
    assert_eq!(resolver.forwarder.metrics().failed.get(), 1);
    let failing = NameServer::start(|_, _| Act::Fail).await;
    let resolver = Resolver::start(&[&failing]).await;
    for _ in 0..2 {
        assert_eq!(resolver.ask(&a("proxy.test")).await.unwrap().rcode, SERVFAIL);
    }
    assert_eq!(failing.asked(&a("proxy.test")), 2, "a failure is not kept");
}
