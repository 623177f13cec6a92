//! The lab itself, without goobserve: a real go command works in it, its logs are complete, its
//! faults happen, and nothing is left behind.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use simple_dns::{RCODE, TYPE};
use tests::client::{ask_tcp, ask_udp, get};
use tests::dns::DnsFaults;
use tests::go_env::GoOptions;
use tests::lab::{Lab, PROXY_HOST, SUMDB_HOST};
use tests::net::Place;
use tests::proxy::{Answer, BodyStall, Faults, HeadDelay, RequestRecord, ending};

/// Long enough for a closed socket to be noticed on a busy machine.
const SETTLE: Duration = Duration::from_secs(10);
/// A delay that cannot come from a busy machine alone, in the tests that compare.
const DELAY: Duration = Duration::from_millis(300);

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

/// Runs `go mod download -x` and checks that it succeeded and that the log has exactly the URLs
/// it printed. Returns the log.
fn download(lab: &Lab, options: &GoOptions) -> Vec<RequestRecord> {
    let run = lab.go_run(options).unwrap();
    let output = lab.output(&mut run.go(&["mod", "download", "-x"])).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(lab.proxy.log().settled(SETTLE), "connections stayed open");

    // go prints an answered URL as `# get URL: 200 OK (0.012s)`.
    let printed = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("# get https://")?.split_once(": 200 OK"))
        .map(|(url, _)| url.to_owned());
    let (connections, requests) = lab.proxy.log().take();
    let logged = requests.iter().map(|request| format!("{}{}", request.authority, request.path));
    assert_eq!(sorted(printed), sorted(logged));

    for connection in &connections {
        assert!(connection.closed_ns > Some(connection.accepted_ns));
        if connection.tls_done_ns.is_some() {
            // go offers no ALPN at all when HTTP/2 is off.
            assert_eq!(connection.alpn.as_deref(), (!options.http1).then_some("h2"));
        }
    }
    for request in &requests {
        assert_eq!(request.status, 200, "{request:?}");
        assert!(request.first_byte_ns >= Some(request.received_ns), "{request:?}");
        assert!(request.end_ns >= request.first_byte_ns, "{request:?}");
        assert!(connections[request.connection].tls_done_ns.unwrap() <= request.received_ns, "{request:?}");
    }
    requests
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort_unstable();
    lines
}

/// Requests by the last part of what they ask for.
fn kinds(requests: &[RequestRecord]) -> BTreeMap<&'static str, usize> {
    let mut kinds = BTreeMap::new();
    for request in requests {
        let kind = ["/supported", "/lookup/", "/tile/", ".info", ".mod", ".zip"]
            .into_iter()
            .find(|part| request.path.contains(part))
            .unwrap_or("other");
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// Stored files whose path ends so.
fn stored(lab: &Lab, suffix: &str) -> usize {
    lab.store().paths().filter(|path| path.ends_with(suffix)).count()
}

/// Modules of the sample's build list.
fn modules(lab: &Lab) -> usize {
    stored(lab, ".zip")
}

#[track_caller]
fn downloads_ten_times(test: &str, options: &GoOptions) {
    let Some(lab) = Lab::for_test(test) else { return };
    let modules = modules(&lab);
    assert!(modules >= 60);
    for _ in 0..10 {
        let mut kinds = kinds(&download(&lab, options));
        assert!(kinds.remove("/tile/") >= Some(1));
        // Versions that were not selected have a go.mod, too, and a lookup for it.
        let mods = stored(&lab, ".mod");
        let lookups = lab.store().paths().filter(|path| path.contains("/lookup/")).count();
        let each =
            [(".info", modules), (".mod", mods), (".zip", modules), ("/lookup/", lookups), ("/supported", 1)];
        assert_eq!(kinds, BTreeMap::from(each));
        let queries = lab.dns.take_log();
        assert!(queries.iter().all(|q| q.name == PROXY_HOST && q.answered_ns.is_some()), "{queries:?}");
        assert!(queries.iter().any(|q| q.qtype == "A") && queries.iter().any(|q| q.qtype == "AAAA"));
    }
}

#[test]
fn go_downloads_ten_times_over_http2() {
    downloads_ten_times("go_downloads_ten_times_over_http2", &GoOptions::default());
}

#[test]
fn go_downloads_ten_times_over_http1() {
    let options = GoOptions { http1: true, ..GoOptions::default() };
    downloads_ten_times("go_downloads_ten_times_over_http1", &options);
}

#[test]
fn a_complete_go_sum_spares_the_checksum_database() {
    let Some(lab) = Lab::for_test("a_complete_go_sum_spares_the_checksum_database") else { return };
    let requests = download(&lab, &GoOptions { go_sum: true, ..GoOptions::default() });
    assert!(requests.len() >= modules(&lab));
    assert!(requests.iter().all(|request| !request.path.contains("/sumdb/")));
}

#[test]
fn the_checksum_database_can_be_asked_at_its_own_host() {
    let Some(lab) = Lab::for_test("the_checksum_database_can_be_asked_at_its_own_host") else { return };
    // The proxy must refuse, else go asks through it.
    let refused = Answer { matches: ending("/supported"), status: 404, retry_after_s: None };
    lab.proxy.set_faults(Faults { answers: vec![refused], ..Faults::default() });
    let run = lab.go_run(&GoOptions { sumdb_direct: true, ..GoOptions::default() }).unwrap();
    let output = lab.output(&mut run.go(&["mod", "download"])).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let requests = lab.proxy.log().requests();
    let at_its_host = requests.iter().filter(|request| request.authority == SUMDB_HOST);
    assert!(at_its_host.filter(|request| request.path.starts_with("/lookup/")).count() >= modules(&lab));
}

#[test]
fn go_downloads_over_a_veth_pair_that_ends_with_its_lab() {
    let test = "go_downloads_over_a_veth_pair_that_ends_with_its_lab";
    if tests::paths::program("ip").is_none() {
        return tests::skip::skipped(test, "needs the program ip (iproute2)");
    }
    let Some(lab) = Lab::for_test_in(test, Place::Veth) else { return };
    assert!(download(&lab, &GoOptions::default()).len() >= 3 * modules(&lab));

    let run = lab.go_run(&GoOptions::default()).unwrap();
    let space = lab.output(run.command("readlink").arg("/proc/self/ns/net")).unwrap().stdout;
    let space = String::from_utf8(space).unwrap().trim().to_owned();
    assert!(network_namespaces().contains(&space), "the lab holds it: {space}");
    drop(lab);
    assert!(!network_namespaces().contains(&space));
}

#[test]
fn a_narrower_tile_is_the_beginning_of_a_stored_one() {
    let Some(lab) = Lab::for_test("a_narrower_tile_is_the_beginning_of_a_stored_one") else { return };
    let stored = lab.store().paths().filter(|path| path.contains("/tile/8/") && !path.contains("/data/"));
    let partial = stored.filter_map(|path| path.rsplit_once(".p/"));
    let widths = partial.map(|(tile, width)| (width.parse::<usize>().unwrap(), tile));
    let (width, tile) = widths.max().unwrap();
    assert!(width > 1, "a tile that can be cut: {tile}");
    let fetch = |width| get(&lab, lab.net.proxy, PROXY_HOST, &format!("/{tile}.p/{width}")).unwrap();
    let whole = fetch(width);
    let narrow = fetch(width - 1);
    assert_eq!((whole.status, whole.body.len()), (200, width * 32));
    assert_eq!(narrow.body, &whole.body[..(width - 1) * 32]);
    assert_eq!(fetch(256).status, 404);
}

#[test]
fn faults_of_the_proxy_happen_where_they_are_put() {
    let Some(lab) = Lab::for_test("faults_of_the_proxy_happen_where_they_are_put") else { return };
    let zip = lab.store().paths().find(|path| path.ends_with("cobra/@v/v1.8.1.zip")).unwrap();
    let is_zip = || ending(".zip");
    let fetch = |faults| {
        lab.proxy.set_faults(faults);
        get(&lab, lab.net.proxy, PROXY_HOST, &format!("/{zip}")).unwrap()
    };
    let delay = nanos(DELAY);

    let slow_hello = fetch(Faults { tls_delay: DELAY, ..Faults::default() });
    assert!(slow_hello.tls_ns >= delay, "{}", slow_hello.tls_ns);

    let far = fetch(Faults { request_delay: DELAY, ..Faults::default() });
    assert!(far.head_ns >= delay, "{}", far.head_ns);

    let head = HeadDelay { matches: is_zip(), delay: DELAY };
    let slow_head = fetch(Faults { head_delays: vec![head], ..Faults::default() });
    assert!(slow_head.head_ns >= delay, "{}", slow_head.head_ns);

    let stall = BodyStall { matches: is_zip(), after_bytes: 20_000, delay: DELAY };
    let slow_body = fetch(Faults { body_stalls: vec![stall], ..Faults::default() });
    assert!(slow_body.whole_ns >= delay, "{}", slow_body.whole_ns);
    assert_eq!(slow_body.body, lab.store().get(zip).unwrap());

    let busy = Answer { matches: is_zip(), status: 503, retry_after_s: Some(9) };
    let refused = fetch(Faults { answers: vec![busy], ..Faults::default() });
    assert_eq!(refused.status, 503);
    assert!(refused.head.to_ascii_lowercase().contains("retry-after: 9"), "{}", refused.head);

    assert!(lab.proxy.log().settled(SETTLE));
    let requests = lab.proxy.log().requests();
    let held = |n: usize| requests[n].first_byte_ns.unwrap() - requests[n].received_ns;
    assert!(held(1) >= delay && held(2) >= delay);
    assert!(requests[3].end_ns.unwrap() - requests[3].first_byte_ns.unwrap() >= delay);
}

#[test]
fn the_name_server_answers_what_it_knows() {
    let Some(lab) = Lab::for_test("the_name_server_answers_what_it_knows") else { return };
    let ask = |name, qtype| ask_udp(&lab, name, qtype, SETTLE).unwrap().unwrap();
    let a = ask(PROXY_HOST, TYPE::A);
    assert_eq!((a.rcode, a.addresses), (RCODE::NoError, vec![lab.net.proxy]));
    let aaaa = ask(PROXY_HOST, TYPE::AAAA);
    assert_eq!((aaaa.rcode, aaaa.addresses), (RCODE::NoError, vec![]));
    assert_eq!(ask("unknown.test", TYPE::A).rcode, RCODE::NameError);
    assert_eq!(ask_tcp(&lab, SUMDB_HOST, TYPE::A).unwrap().addresses, [lab.net.sumdb]);

    let log = lab.dns.log();
    let seen: Vec<_> =
        log.iter().map(|q| (q.name.as_str(), q.qtype.as_str(), q.transport, q.rcode)).collect();
    assert_eq!(
        seen,
        [
            (PROXY_HOST, "A", "udp", "NOERROR"),
            (PROXY_HOST, "AAAA", "udp", "NOERROR"),
            ("unknown.test", "A", "udp", "NXDOMAIN"),
            (SUMDB_HOST, "A", "tcp", "NOERROR"),
        ]
    );
}

#[test]
fn faults_of_the_name_server_happen() {
    let Some(lab) = Lab::for_test("faults_of_the_name_server_happen") else { return };
    let ask = |qtype| ask_udp(&lab, PROXY_HOST, qtype, SETTLE).unwrap().unwrap();
    let delay = nanos(DELAY);

    lab.dns.set_faults(DnsFaults { delay_aaaa: DELAY, ..DnsFaults::default() });
    assert!(ask(TYPE::AAAA).took_ns >= delay);

    lab.dns.set_faults(DnsFaults { delay: DELAY, ..DnsFaults::default() });
    assert!(ask(TYPE::A).took_ns >= delay);

    lab.dns.set_faults(DnsFaults { servfail: true, ..DnsFaults::default() });
    assert_eq!(ask(TYPE::A).rcode, RCODE::ServerFailure);

    lab.dns.set_faults(DnsFaults { truncate: true, ..DnsFaults::default() });
    let cut = ask(TYPE::A);
    assert!(cut.truncated && cut.addresses.is_empty());
    assert_eq!(ask_tcp(&lab, PROXY_HOST, TYPE::A).unwrap().addresses, [lab.net.proxy]);

    lab.dns.set_faults(DnsFaults { drop_first: 1, ..DnsFaults::default() });
    assert_eq!(ask_udp(&lab, PROXY_HOST, TYPE::A, DELAY).unwrap(), None);
    assert_eq!(ask(TYPE::A).addresses, [lab.net.proxy]);
    let log = lab.dns.log();
    assert_eq!(log[log.len() - 2].answered_ns, None);
}

#[test]
fn go_waits_for_a_slow_name_server() {
    let Some(lab) = Lab::for_test("go_waits_for_a_slow_name_server") else { return };
    lab.dns.set_faults(DnsFaults { delay_aaaa: DELAY, ..DnsFaults::default() });
    download(&lab, &GoOptions { go_sum: true, ..GoOptions::default() });
    let slow = lab.dns.take_log();
    let slow = slow.iter().find(|q| q.qtype == "AAAA").unwrap();
    assert!(slow.answered_ns.unwrap() - slow.received_ns >= nanos(DELAY));

    // A truncated answer is retried over TCP.
    lab.dns.set_faults(DnsFaults { truncate: true, ..DnsFaults::default() });
    download(&lab, &GoOptions { go_sum: true, ..GoOptions::default() });
    assert!(lab.dns.log().iter().any(|q| q.transport == "tcp" && q.qtype == "A"));
}

#[test]
fn labs_side_by_side_have_logs_of_their_own() {
    let Some(one) = Lab::for_test("labs_side_by_side_have_logs_of_their_own") else { return };
    let other = Lab::start().unwrap();
    assert_ne!(one.net.proxy, other.net.proxy);
    download(&one, &GoOptions { go_sum: true, ..GoOptions::default() });
    assert_ne!(one.dns.log().len(), 0);
    assert_eq!((other.dns.log().len(), other.proxy.log().connections().len()), (0, 0));
}

#[test]
fn a_command_sees_the_labs_resolv_conf_and_nobody_else_does() {
    let test = "a_command_sees_the_labs_resolv_conf_and_nobody_else_does";
    let Some(lab) = Lab::for_test(test) else { return };
    let before = fs::read("/etc/resolv.conf").unwrap();
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let mut command = run.command("sh");
    let output = lab.output(command.args(["-c", "cat /etc/resolv.conf; kill -TERM $$"])).unwrap();
    assert_eq!(output.stdout, format!("nameserver {}\n", lab.net.dns).into_bytes());
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(15));
    assert_eq!(fs::read("/etc/resolv.conf").unwrap(), before);
}

#[test]
fn nothing_is_left_behind() {
    let Some(lab) = Lab::for_test("nothing_is_left_behind") else { return };
    let run = lab.go_run(&GoOptions::default()).unwrap();
    // Each lab has a folder of its own, and its resolv.conf is mounted from there.
    let folder = lab.ca().parent().unwrap().to_owned();
    let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let mut command = run.command("sleep");
    let mut sleeper = lab.spawn(command.arg("1000")).unwrap();
    let seen = processes_with_mount(&name);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(seen, [sleeper.id().to_string()], "only the command sees the mount");

    let (caches, dns, proxy) = (run.dir().to_owned(), lab.net.dns, lab.net.proxy);
    drop((run, lab));
    assert!(!caches.exists() && !folder.exists());
    assert_eq!(processes_with_mount(&name), [""; 0]);
    for (address, port) in [(dns, 53), (proxy, 443)] {
        TcpListener::bind((address, port)).unwrap();
    }
    UdpSocket::bind((dns, 53)).unwrap();
}

/// Pids of the processes that see a mount of that folder.
fn processes_with_mount(folder: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let seeing = processes.filter(|entry| {
        fs::read_to_string(entry.path().join("mountinfo")).is_ok_and(|mounts| mounts.contains(folder))
    });
    let names = seeing.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.parse::<u32>().is_ok()).collect()
}

/// Network namespaces that a process is in, or this process holds open.
fn network_namespaces() -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("ns/net"));
    let held = fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| entry.path());
    let links = processes.chain(held).filter_map(|path| fs::read_link(path).ok());
    links.map(|link| link.to_string_lossy().into_owned()).collect()
}
