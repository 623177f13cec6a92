//! Upstreams that fail: what go gets all the same, and what it must get as it is.

use std::time::{Duration, Instant};

use crate::upstream::{Act, Gate, Options, Upstream, body, first, header, healthy, same};
use gateway::store::WriteAt;

const ZIP: &str = "a.test/m/@v/v1.0.0.zip";
const INFO: &str = "a.test/m/@v/v1.0.0.info";
const LIST: &str = "a.test/m/@v/list";

async fn one(files: &[(&str, &[u8])], faults: crate::upstream::Faults) -> (Upstream, Gate) {
    let upstream = Upstream::start(files, faults).await;
    let gate = Gate::start(&upstream.url(), Options::default()).await;
    (upstream, gate)
}

#[tokio::test]
async fn resets_and_temporary_statuses_never_reach_go() {
    for act in [
        Act::Reset,
        Act::Status(502, None),
        Act::Status(503, None),
        Act::Status(500, None),
        Act::Status(429, None),
    ] {
        let (upstream, gate) = one(&[(INFO, b"{}")], first(3, act)).await;
        assert_eq!(gate.file(&format!("/0/{INFO}")).await, b"{}", "{act:?}");
        assert!(upstream.asked(INFO) >= 4, "{act:?}");
    }
}

#[tokio::test]
async fn retry_after_is_waited_for_and_a_long_one_is_passed_on() {
    let (_upstream, gate) = one(&[(INFO, b"{}")], first(1, Act::Status(429, Some(1)))).await;
    let began = Instant::now();
    assert_eq!(gate.file(&format!("/0/{INFO}")).await, b"{}");
    assert!(began.elapsed() >= Duration::from_secs(1));
    let (upstream, gate) = one(&[(INFO, b"{}")], first(9, Act::Status(503, Some(3600)))).await;
    assert_eq!(gate.get(&format!("/0/{INFO}")).await.unwrap().0, 503);
    assert_eq!(upstream.asked(INFO), 1);
}

#[tokio::test]
async fn what_stays_broken_is_passed_on_as_it_is() {
    let (upstream, gate) = one(&[], first(99, Act::Status(502, None))).await;
    let (status, text) = gate.get(&format!("/0/{INFO}")).await.unwrap();
    assert_eq!((status.as_u16(), text.as_slice()), (502, &b"injected"[..]));
    assert_eq!(upstream.asked(INFO), 8);
    for status in [400, 401, 403, 404, 410] {
        let (upstream, gate) = one(&[], first(99, Act::Status(status, None))).await;
        assert_eq!(gate.get(&format!("/0/{INFO}")).await.unwrap().0, status);
        assert_eq!(upstream.asked(INFO), 1, "{status}");
    }
}

#[tokio::test]
async fn a_cut_body_is_resumed_where_it_was_cut() {
    let zip = body(700_000, 1);
    let faults = Box::new(|_: &str, number| if number < 5 { Act::Cut(100_000) } else { Act::Serve });
    let (upstream, gate) = one(&[(ZIP, &zip)], faults).await;
    assert!(same(&gate.file(&format!("/0/{ZIP}")).await, &zip));
    let ranges: Vec<_> = upstream.log().iter().map(|received| header(&received.head, "range")).collect();
    assert_eq!(ranges[0], None);
    assert_eq!(ranges[1].as_deref(), Some("bytes=100000-"));
    assert_eq!(ranges[5].as_deref(), Some("bytes=500000-"));
}

#[tokio::test]
async fn without_an_etag_a_cut_body_begins_again_and_must_be_the_same() {
    let zip = body(700_000, 2);
    let upstream = Upstream::with(&[(ZIP, &zip)], first(2, Act::Cut(300_000)), false).await;
    let gate = Gate::start(&upstream.url(), Options::default()).await;
    assert!(same(&gate.file(&format!("/0/{ZIP}")).await, &zip));
    assert!(upstream.log().iter().all(|received| header(&received.head, "range").is_none()));

    // Another body of the same length: its bytes must not follow the first one's.
    let upstream = Upstream::with(&[(ZIP, &zip)], first(1, Act::Cut(300_000)), false).await;
    let gate = Gate::start(&upstream.url(), Options::default()).await;
    upstream.hold(true);
    let path = format!("/0/{ZIP}");
    let (got, ()) = tokio::join!(gate.get(&path), async {
        upstream.hold(false);
        gate.until("the second attempt", || gate.gateway.metrics().retries_total.get() > 0).await;
        upstream.set(ZIP, &body(700_000, 3));
    });
    assert!(got.is_none_or(|(status, body)| status != 200 || body == zip));
}

#[tokio::test]
async fn a_slow_answer_is_asked_for_once_more_and_the_first_counts() {
    let faults =
        Box::new(|path: &str, number| if path == INFO && number == 0 { Act::Silent } else { Act::Serve });
    let (upstream, gate) = one(&[(INFO, b"{}")], faults).await;
    assert_eq!(gate.file(&format!("/0/{INFO}")).await, b"{}");
    assert_eq!(upstream.asked(INFO), 2);
    let metrics = gate.gateway.metrics();
    assert_eq!(
        (metrics.hedges_total.get(), metrics.hedges_won_total.get(), metrics.retries_total.get()),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn a_dead_upstream_with_another_behind_it_costs_go_little() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstream = Upstream::start(&[(INFO, b"{}")], healthy()).await;
    let gate = Gate::start(&format!("http://{dead}|{}", upstream.url()), Options::default()).await;
    // As go does it: the first, then the second; 20 files.
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(gate.get(&format!("/0/{INFO}")).await.unwrap().0, 502);
        assert_eq!(gate.file(&format!("/1/{INFO}")).await, b"{}");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(gate.file(&format!("/{INFO}")).await, b"{}");
}

#[tokio::test]
async fn the_list_is_walked_by_gos_rules() {
    let missing = |status| first(usize::MAX, Act::Status(status, None));
    for (status, separator, expected) in
        [(404, ',', 200), (410, ',', 200), (403, ',', 403), (403, '|', 200), (404, '|', 200), (401, ',', 401)]
    {
        let (a, b) = (
            Upstream::start(&[], missing(status)).await,
            Upstream::start(&[(LIST, b"v1.0.0\n")], healthy()).await,
        );
        let gate = Gate::start(&format!("{}{separator}{}", a.url(), b.url()), Options::default()).await;
        assert_eq!(gate.get(&format!("/{LIST}")).await.unwrap().0, expected, "{status}{separator}");
        assert_eq!(b.asked(LIST), usize::from(expected == 200));
        // Under its number each upstream says what it says.
        assert_eq!(gate.get(&format!("/0/{LIST}")).await.unwrap().0, status);
        assert_eq!(gate.get(&format!("/1/{LIST}")).await.unwrap().0, 200);
        assert_eq!(gate.get(&format!("/2/{LIST}")).await.unwrap().0, 404);
    }
}

#[tokio::test]
async fn a_full_disk_serves_on() {
    let never: WriteAt = |_, _, _| Err(std::io::ErrorKind::StorageFull.into());
    let later: WriteAt = |file, bytes, at| {
        if at > 600_000 {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
    };
    for write in [never, later] {
        let dir = tempfile::tempdir().unwrap();
        let zip = body(5_000_000, 4);
        let upstream = Upstream::start(&[(ZIP, &zip), (INFO, b"{}")], healthy()).await;
        let options = Options { cache: Some(dir.path()), write: Some(write), ..Options::default() };
        let gate = Gate::start(&upstream.url(), options).await;
        let path = format!("/0/{ZIP}");
        let (one, two) = tokio::join!(gate.file(&path), gate.file(&path));
        assert!(same(&one, &zip) && same(&two, &zip));
        assert!(same(&gate.file(&path).await, &zip));
        assert_eq!(gate.file(&format!("/0/{INFO}")).await, b"{}");
        assert!(gate.gateway.metrics().cache_write_errors_total.get() > 0);
    }
}

#[tokio::test]
async fn many_faults_at_once_are_survived() {
    let files: Vec<(String, Vec<u8>)> = (0..200_u8)
        .map(|n| (format!("m{n}.test/@v/v1.0.0.zip"), body(usize::from(n) * 1500 + 10, n)))
        .collect();
    let faults = Box::new(|_: &str, _| match fastrand::u8(..100) {
        0..10 => Act::Reset,
        10..15 => Act::Status(502, None),
        15..30 => Act::Cut(fastrand::usize(..100_000)),
        _ => Act::Serve,
    });
    let all: Vec<(&str, &[u8])> = files.iter().map(|(path, body)| (path.as_str(), body.as_slice())).collect();
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::start(&all, faults).await;
    let gate = Gate::start(&upstream.url(), Options { cache: Some(dir.path()), ..Options::default() }).await;
    for (path, body) in &files {
        assert!(same(&gate.file(&format!("/0/{path}")).await, body), "{path}");
    }
}

#[tokio::test]
async fn an_upstream_that_comes_back_is_waited_for_when_nothing_is_behind_it() {
    let place = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let gate = Gate::start(&format!("http://{address},direct"), Options::default()).await;
    let paths: Vec<String> = (0..10).map(|n| format!("/0/m{n}.test/@v/v1.0.0.info")).collect();
    let asking: Vec<_> = paths
        .iter()
        .cloned()
        .map(|path| tokio::spawn(crate::upstream::get_owned(gate.address, path)))
        .collect();
    gate.until("failed attempts", || gate.gateway.metrics().retries_total.get() > 30).await;
    let files: Vec<(&str, &[u8])> = paths.iter().map(|path| (&path[3..], &b"{}"[..])).collect();
    let _upstream = Upstream::at(address, &files).await;
    for one in asking {
        assert_eq!(one.await.unwrap().unwrap().0, 200);
    }
}
