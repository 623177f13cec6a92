//! What holds on every kernel that goobserve supports. Short, because `cargo xtask vm` has it run by
//! other kernels, in virtual machines.

use tests::complete::Download;
use tests::go_env::GoOptions;
use tests::lab::Lab;
use tests::store::Store;

#[test]
fn the_lab_has_modules_to_serve() {
    Store::shared().unwrap();
}

/// Instructions that the verifier of Linux 6.18 goes through for all programs, and a tenth more.
const VERIFIED: u64 = 30_000;

#[test]
fn check_finds_nothing_wrong_and_loads_every_program() {
    let Some(lab) = Lab::for_test("check_finds_nothing_wrong_and_loads_every_program") else { return };
    let run = lab.go_run(&GoOptions::default()).unwrap();
    let check = lab.goobserve(&run, &["check"]).unwrap();
    let text = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(0), "{text}");
    assert!(text.contains("✓ BPF programs: "), "{text}");
    // Nearly all of a start is spent on these; what is more was not meant to be.
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let through = text.split_once("verifier (").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    assert!(through.is_some_and(|count: u64| count <= VERIFIED || !release.starts_with("6.18.")), "{text}");
}

#[test]
fn every_request_and_query_is_reported() {
    let Some(lab) = Lab::for_test("every_request_and_query_is_reported") else { return };
    for http1 in [false, true] {
        let download = Download::observe(&lab, &GoOptions { few: true, http1, ..GoOptions::default() });
        assert!(download.requests.len() > 30, "{} requests", download.requests.len());
        download.is_complete(&lab);
    }
}
