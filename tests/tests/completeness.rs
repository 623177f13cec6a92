//! Is the report complete? Against the logs of the servers, ten runs in a row, and against the
//! URLs that go prints itself.

use tests::complete::{Download, int, same, text};
use tests::dns::DnsFaults;
use tests::go_env::GoOptions;
use tests::lab::{Lab, SUMDB_HOST};
use tests::proxy::{Answer, Faults, ending};

/// The fewest modules a run must be about.
const MODULES: usize = 60;

#[track_caller]
fn complete(lab: &Lab, options: &GoOptions) -> Download {
    let download = Download::observe(lab, options);
    let zips = download.requests.iter().filter(|request| request.path.rsplit('.').next() == Some("zip"));
    assert!(zips.count() >= MODULES, "the sample is too small");
    download.is_complete(lab);
    download.has_the_printed_urls();
    download
}

#[test]
fn ten_reports_in_a_row_are_complete_over_http2() {
    let Some(lab) = Lab::for_test("ten_reports_in_a_row_are_complete_over_http2") else { return };
    for _ in 0..10 {
        complete(&lab, &GoOptions::default());
    }
}

#[test]
fn ten_reports_in_a_row_are_complete_over_http1() {
    let Some(lab) = Lab::for_test("ten_reports_in_a_row_are_complete_over_http1") else { return };
    for _ in 0..10 {
        complete(&lab, &GoOptions { http1: true, ..GoOptions::default() });
    }
}

#[test]
fn the_report_is_complete_with_sixteen_downloads_at_once() {
    let Some(lab) = Lab::for_test("the_report_is_complete_with_sixteen_downloads_at_once") else { return };
    for http1 in [false, true] {
        complete(&lab, &GoOptions { gomaxprocs: Some(16), http1, ..GoOptions::default() });
    }
}

#[test]
fn the_report_is_complete_when_dns_goes_over_tcp() {
    let Some(lab) = Lab::for_test("the_report_is_complete_when_dns_goes_over_tcp") else { return };
    lab.dns.set_faults(DnsFaults { truncate: true, ..DnsFaults::default() });
    let download = complete(&lab, &GoOptions { go_sum: true, ..GoOptions::default() });
    assert!(download.observed.list("dns").iter().any(|q| text(q, "transport") == "tcp"));
}

#[test]
fn the_report_is_complete_when_the_checksum_database_is_asked_directly() {
    let test = "the_report_is_complete_when_the_checksum_database_is_asked_directly";
    let Some(lab) = Lab::for_test(test) else { return };
    // The proxy must refuse, else go asks through it.
    let refused = Answer { matches: ending("/supported"), status: 404, retry_after_s: None };
    lab.proxy.set_faults(Faults { answers: vec![refused], ..Faults::default() });
    let download = Download::observe(&lab, &GoOptions { sumdb_direct: true, ..GoOptions::default() });
    download.has_the_printed_urls();
    let of = |host: &'static str| download.requests.iter().filter(move |r| r.authority == host);
    assert!(of(SUMDB_HOST).filter(|r| r.path.starts_with("/lookup/")).count() >= MODULES);
    let reported = download.observed.list("requests").iter().filter(|r| r["authority"] == SUMDB_HOST);
    let classes = reported.map(|r| (text(r, "path"), text(r, "class")));
    let logged = of(SUMDB_HOST)
        .map(|r| (&*r.path, if r.path.starts_with("/lookup/") { "sumdb-lookup" } else { "sumdb-tile" }));
    same("requests to the checksum database", classes, logged);

    let command = &download.observed.report["commands"][0];
    let phase = command["phases"].as_array().unwrap().iter().find(|p| p["phase"] == "sumdb").unwrap();
    assert!(int(phase, "count") >= MODULES as u64, "{phase}");
    let hosts = command["hosts"].as_array().unwrap();
    assert!(hosts.iter().any(|host| host["host"] == SUMDB_HOST), "{hosts:?}");
}

#[test]
fn connections_have_the_addresses_the_server_saw() {
    let Some(lab) = Lab::for_test("connections_have_the_addresses_the_server_saw") else { return };
    for http1 in [false, true] {
        let Download { observed, connections, .. } =
            Download::observe(&lab, &GoOptions { http1, ..GoOptions::default() });
        let reported = observed.list("connections").iter().map(|c| (text(c, "local"), text(c, "remote")));
        let logged: Vec<(String, String)> = connections
            .iter()
            .map(|c| (c.peer.to_string(), c.local.map(|local| local.to_string()).unwrap_or_default()))
            .collect();
        same("addresses", reported, logged.iter().map(|(local, remote)| (&**local, &**remote)));
    }
}
