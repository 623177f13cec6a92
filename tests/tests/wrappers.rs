//! `goobserve run` where the go command is behind something: a version manager's script that is the
//! first `go` on PATH and calls a binary that lies where nobody looks, and that nobody has ever run.

use tests::lab::Lab;
use tests::skip;
use tests::wrapped::{WAYS, download};

#[test]
fn every_request_behind_a_script_named_go_is_reported_at_its_first_run() {
    let Some(lab) = Lab::for_test("every_request_behind_a_script_named_go_is_reported_at_its_first_run")
    else {
        return;
    };
    for _ in 0..5 {
        download(&lab, WAYS[0].1).unwrap().is_complete(&lab);
    }
}

#[test]
fn every_request_is_reported_when_something_calls_such_a_script() {
    let name = "every_request_is_reported_when_something_calls_such_a_script";
    let Some(lab) = Lab::for_test(name) else { return };
    for (way, command) in &WAYS[1..] {
        if *way == "make" && !skip::has(name, "make", "make") {
            continue;
        }
        download(&lab, command).unwrap().is_complete(&lab);
    }
}
