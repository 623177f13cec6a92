//! What is asked of the upstream, and how often; what is kept, and for whom.

use std::fs;
use std::time::Duration;

use gateway::dirhash::of_zip;

use crate::upstream::{Act, Gate, Options, Upstream, body, first, get, header, healthy, same, zip};

const ZIP: &str = "a.test/m/@v/v1.0.0.zip";
const INFO: &str = "a.test/m/@v/v1.0.0.info";
const LIST: &str = "a.test/m/@v/list";

#[tokio::test]
async fn equal_requests_at_once_are_one_at_the_upstream() {
    for (cached, size) in [(false, 100), (true, 100), (false, 600_000), (true, 3_000_000)] {
        let dir = tempfile::tempdir().unwrap();
        let zip = body(size, 5);
        let upstream = Upstream::start(&[(ZIP, &zip)], healthy()).await;
        let options = Options { cache: cached.then_some(dir.path()), ..Options::default() };
        let gate = Gate::start(&upstream.url(), options).await;
        upstream.hold(true);
        let address = gate.address;
        let all: Vec<_> = (0..64)
            .map(|_| tokio::spawn(async move { get(address, &format!("/0/{ZIP}"), &[]).await.unwrap().1 }))
            .collect();
        gate.until("all requests", || gate.gateway.metrics().requests_total.get() == 64).await;
        upstream.hold(false);
        for one in all {
            assert!(same(&one.await.unwrap(), &zip));
        }
        assert_eq!(upstream.asked(ZIP), 1, "{cached} {size}");
    }
}

#[tokio::test]
async fn what_never_changes_is_kept_and_what_does_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let zip = body(300_000, 6);
    let upstream = Upstream::start(&[(ZIP, &zip), (INFO, b"{}"), (LIST, b"v1.0.0\n")], healthy()).await;
    for round in 1..=2 {
        // The second finds what the first has kept.
        let gate =
            Gate::start(&upstream.url(), Options { cache: Some(dir.path()), ..Options::default() }).await;
        for _ in 0..2 {
            assert!(same(&gate.file(&format!("/0/{ZIP}")).await, &zip));
            assert_eq!(gate.file(&format!("/{INFO}")).await, b"{}");
            assert_eq!(gate.file(&format!("/0/{LIST}")).await, b"v1.0.0\n");
        }
        assert_eq!((upstream.asked(ZIP), upstream.asked(INFO), upstream.asked(LIST)), (1, 1, 2 * round));
        gate.until("the small file on disk", || fs::read_dir(dir.path().join("v1")).unwrap().count() >= 3)
            .await;
    }
}

#[tokio::test]
async fn a_tampered_file_is_asked_for_anew() {
    let dir = tempfile::tempdir().unwrap();
    let zip = body(300_000, 7);
    let upstream = Upstream::start(&[(ZIP, &zip)], healthy()).await;
    let gate = Gate::start(&upstream.url(), Options { cache: Some(dir.path()), ..Options::default() }).await;
    for round in 1..5 {
        assert!(same(&gate.file(&format!("/0/{ZIP}")).await, &zip));
        assert_eq!(upstream.asked(ZIP), round);
        gate.until("the file on disk", || gate.gateway.metrics().cache_bytes.get() > 300_000).await;
        let folders = fs::read_dir(dir.path().join("v1")).unwrap().flatten();
        for folder in folders.filter(|folder| folder.file_name() != "tmp") {
            for file in fs::read_dir(folder.path()).unwrap().flatten() {
                let mut bytes = fs::read(file.path()).unwrap();
                match round {
                    1 => bytes[150_000] ^= 1,
                    2 => bytes.truncate(200_000),
                    _ => bytes[300_010] ^= 1,
                }
                fs::write(file.path(), bytes).unwrap();
            }
        }
    }
    assert_eq!(gate.gateway.metrics().cache_damaged_total.get(), 3);
}

#[tokio::test]
async fn what_go_sum_has_another_hash_of_is_passed_on_and_not_kept() {
    const MOD: &str = "a.test/m/@v/v1.0.0.mod";
    // By `sha256sum` of the line that it gives of `module a.test/m`.
    const GO_MOD: &str = "h1:mVciCQsdewnl21SZaxlFfA6w4/EmffdUtudQ7NyuWWg=";
    for size in [100, 300_000] {
        let (good, bad) =
            (zip("a.test/m@v1.0.0/x", &body(size, 1)), zip("a.test/m@v1.0.0/x", &body(size, 2)));
        let hash = of_zip(good.as_slice()).unwrap();
        let go_sum = format!("a.test/m v1.0.0 {hash}\na.test/m v1.0.0/go.mod {GO_MOD}\n");
        let dir = tempfile::tempdir().unwrap();
        let upstream = Upstream::start(&[(ZIP, &bad), (MOD, b"module b.test/m\n")], healthy()).await;
        let options = Options { cache: Some(dir.path()), go_sum: &go_sum, ..Options::default() };
        let gate = Gate::start(&upstream.url(), options).await;
        let refused = || gate.gateway.metrics().cache_refused_total.get();
        assert!(same(&gate.file(&format!("/0/{ZIP}")).await, &bad), "go judges");
        assert_eq!(gate.file(&format!("/0/{MOD}")).await, b"module b.test/m\n");
        gate.until("both to be refused", || refused() == 2).await;
        upstream.set(ZIP, &good);
        upstream.set(MOD, b"module a.test/m\n");
        for _ in 0..3 {
            assert!(same(&gate.file(&format!("/0/{ZIP}")).await, &good));
            assert_eq!(gate.file(&format!("/0/{MOD}")).await, b"module a.test/m\n");
        }
        assert_eq!((upstream.asked(ZIP), upstream.asked(MOD), refused()), (2, 2, 2), "{size}");
    }
}

#[tokio::test]
async fn a_404_is_remembered_and_other_failures_are_not() {
    let upstream = Upstream::start(&[], healthy()).await;
    let gate = Gate::start(&upstream.url(), Options::default()).await;
    for _ in 0..3 {
        assert_eq!(gate.get(&format!("/0/{LIST}")).await.unwrap().0, 404);
    }
    assert_eq!(upstream.asked(LIST), 1);
    let upstream = Upstream::start(&[], first(9, Act::Status(403, None))).await;
    let gate = Gate::start(&upstream.url(), Options::default()).await;
    for _ in 0..3 {
        assert_eq!(gate.get(&format!("/0/{LIST}")).await.unwrap().0, 403);
    }
    assert_eq!(upstream.asked(LIST), 3);
}

#[tokio::test]
async fn a_clients_credentials_are_passed_on_and_what_they_got_is_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let zip = body(100_000, 8);
    let upstream = Upstream::start(&[(ZIP, &zip), (INFO, b"{}")], healthy()).await;
    let gate = Gate::start(&upstream.url(), Options { cache: Some(dir.path()), ..Options::default() }).await;
    for path in [ZIP, INFO] {
        for _ in 0..2 {
            let got = gate
                .get_with(&format!("/0/{path}"), &[("authorization", "Basic aHVudGVyMg==")])
                .await
                .unwrap();
            assert_eq!(got.0, 200);
        }
        gate.file(&format!("/0/{path}")).await;
        let sent: Vec<_> = upstream
            .log()
            .iter()
            .filter(|received| received.path == path)
            .map(|received| header(&received.head, "authorization"))
            .collect();
        assert_eq!(
            sent,
            [Some("Basic aHVudGVyMg==".to_owned()), Some("Basic aHVudGVyMg==".to_owned()), None]
        );
    }
    // To one of several hosts they would be a stranger's.
    let other = Upstream::start(&[], healthy()).await;
    let gate = Gate::start(&format!("{},{}", other.url(), upstream.url()), Options::default()).await;
    gate.get_with(&format!("/{INFO}"), &[("authorization", "Basic aHVudGVyMg==")]).await.unwrap();
    assert!(other.log().iter().all(|received| header(&received.head, "authorization").is_none()));
}

#[tokio::test]
async fn credentials_of_a_url_are_sent_as_go_sends_them() {
    let upstream = Upstream::start(&[(INFO, b"{}")], healthy()).await;
    let gate = Gate::start(&format!("http://me:hunter2@{}", upstream.address), Options::default()).await;
    assert_eq!(gate.file(&format!("/0/{INFO}")).await, b"{}");
    assert_eq!(header(&upstream.log()[0].head, "authorization").as_deref(), Some("Basic bWU6aHVudGVyMg=="));
    assert!(gate.gateway.has_credentials());
    assert!(!gate.gateway.metrics().text().contains("hunter2"));
}

const GO_MOD: &str =
    "module m.test\ngo 1.22\nrequire (\n\ta.test/m v1.0.0\n\tb.test v1.0.0\n\tgit.corp.test/p v1.0.0\n)\n";

/// A database's answer, with a tree in which the record's first two tiles are full.
fn record(id: u64) -> Vec<u8> {
    format!("{id}\na.test/m v1.0.0 h1:x\n\ngo.sum database tree\n200000\nhash\n\n— s.test x\n").into_bytes()
}

#[tokio::test]
async fn what_go_will_ask_is_asked_once_and_nothing_else() {
    let module = tempfile::tempdir().unwrap();
    fs::write(module.path().join("go.mod"), GO_MOD).unwrap();
    fs::write(module.path().join("go.sum"), "b.test v1.0.0 h1:x=\nb.test v1.0.0/go.mod h1:y=\n").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let lookup = "sumdb/s.test/lookup/a.test/m@v1.0.0";
    let (zip, record) = (body(400_000, 9), record(70_000));
    let mut files: Vec<(String, Vec<u8>)> = ["a.test/m", "b.test", "git.corp.test/p"]
        .iter()
        .flat_map(|name| ["info", "mod", "zip"].map(|end| (format!("{name}/@v/v1.0.0.{end}"), zip.clone())))
        .collect();
    files.push((lookup.to_owned(), record.clone()));
    files.push(("sumdb/s.test/supported".to_owned(), Vec::new()));
    for tile in ["tile/8/0/273", "tile/8/1/001"] {
        files.push((format!("sumdb/s.test/{tile}"), zip[..8192].to_vec()));
    }
    let all: Vec<(&str, &[u8])> = files.iter().map(|(path, body)| (path.as_str(), body.as_slice())).collect();
    let upstream = Upstream::start(&all, healthy()).await;
    let options = Options {
        cache: Some(dir.path()),
        no_proxy: "*.corp.test",
        module: Some(module.path()),
        ..Options::default()
    };
    let gate = Gate::start(&upstream.url(), options).await;

    // Nothing is asked before go asks, nor for what is not in the plan.
    gate.gateway.warm().await;
    gate.get("/0/other.test/@v/v1.0.0.info").await.unwrap();
    assert_eq!(upstream.log().len(), 1);
    // One request, and all that follows it.
    gate.file(&format!("/0/{INFO}")).await;
    gate.file("/0/sumdb/s.test/supported").await;
    gate.until("the tiles", || upstream.asked("sumdb/s.test/tile/8/1/001") == 1).await;
    gate.until("all files", || gate.gateway.metrics().in_flight.get() == 0).await;
    let mut asked: Vec<String> = upstream.log().into_iter().skip(1).map(|received| received.path).collect();
    asked.sort();
    let mut planned: Vec<String> =
        files.iter().map(|(path, _)| path.clone()).filter(|path| !path.contains("corp")).collect();
    planned.sort();
    assert_eq!(asked, planned);
    // Go's own requests are answered from there.
    for (path, body) in
        files.iter().filter(|(path, _)| !path.contains("corp") && !path.ends_with("supported"))
    {
        assert!(same(&gate.file(&format!("/0/{path}")).await, body), "{path}");
    }
    assert_eq!(upstream.log().len(), planned.len() + 1);
    // Nobody's request makes the gateway ask for a private name.
    assert_eq!(gate.get("/0/git.corp.test/p/@v/v1.0.0.info").await.unwrap().0, 404);
    assert_eq!(gate.get("/sumdb/s.test/lookup/git.corp.test/p@v1.0.0").await.unwrap().0, 404);
    assert!(upstream.log().iter().all(|received| !received.path.contains("corp")));
}

#[tokio::test]
async fn what_a_client_is_served_waits_for_no_other_client() {
    let zip = body(6_000_000, 10);
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::start(&[(ZIP, &zip)], healthy()).await;
    let gate = Gate::start(&upstream.url(), Options { cache: Some(dir.path()), ..Options::default() }).await;
    // One that asks and never reads.
    let mut idle = tokio::net::TcpStream::connect(gate.address).await.unwrap();
    let request = format!("GET /0/{ZIP} HTTP/1.1\r\nhost: x\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut idle, request.as_bytes()).await.unwrap();
    gate.until("the first", || upstream.asked(ZIP) == 1).await;
    let got = tokio::time::timeout(Duration::from_secs(10), gate.file(&format!("/0/{ZIP}"))).await.unwrap();
    assert!(same(&got, &zip));
    assert_eq!(upstream.asked(ZIP), 1);
}

#[tokio::test]
async fn paths_that_are_none_ask_no_upstream() {
    let upstream = Upstream::start(&[], healthy()).await;
    let gate = Gate::start(&upstream.url(), Options { secret: Some("s3cret"), ..Options::default() }).await;
    for path in [
        "/",
        "/0/",
        "/0/../x/@v/list",
        "/s3cret/0/x",
        "/s3cret/9/a.test/@v/list",
        "/s3cret/0/a.test/@v/list?x=1",
    ] {
        assert_eq!(gate.get(path).await.unwrap().0, 404, "{path}");
    }
    // Without the secret nothing is there.
    assert_eq!(gate.get(&format!("/0/{INFO}")).await.unwrap().0, 404);
    assert_eq!(upstream.log().len(), 0);
    gate.get(&format!("/s3cret/0/{INFO}")).await.unwrap();
    assert_eq!(upstream.log().len(), 1);
    assert!(gate.gateway.for_go("http://127.0.0.1:1").starts_with("http://127.0.0.1:1/s3cret/0"));
    assert_eq!(gate.get("/healthz").await.unwrap().1, b"ok\n");
    let metrics = String::from_utf8(gate.get("/metrics").await.unwrap().1).unwrap();
    assert!(metrics.contains("\ngoobserve_gateway_requests_total "), "{metrics}");
}

#[tokio::test]
async fn connections_are_few_and_used_again() {
    let files: Vec<String> = (0..100).map(|n| format!("m{n}.test/@v/v1.0.0.mod")).collect();
    let all: Vec<(&str, &[u8])> = files.iter().map(|path| (path.as_str(), &b"module m\n"[..])).collect();
    let upstream = Upstream::start(&all, healthy()).await;
    let gate = Gate::start(&upstream.url(), Options::default()).await;
    gate.gateway.warm().await;
    for path in &files {
        gate.file(&format!("/0/{path}")).await;
    }
    assert_eq!(upstream.connections(), 1);
}
