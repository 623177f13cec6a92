//! `run --with deadline`: a command that hangs is ended and started again, one that moves never is.

use std::process::Output;
use std::time::{Duration, Instant};

use tests::dns::DnsFaults;
use tests::go_env::{GoOptions, GoRun};
use tests::lab::Lab;
use tests::proxy::{BodyStall, Faults, HeadDelay, SlowBody, ending};
use tests::wait;

const FOR_EVER: Duration = Duration::from_mins(5);

fn options() -> GoOptions {
    GoOptions { few: true, go_sum: true, ..GoOptions::default() }
}

fn with_deadline(lab: &Lab, run: &GoRun, deadline: &str, command: &[&str]) -> Output {
    let arguments = [&["run", "--report", "none", "--with", deadline, "--"], command].concat();
    lab.goobserve(run, &arguments).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Each zip stops after its first bytes.
fn hang(lab: &Lab) {
    lab.proxy.set_faults(Faults {
        body_stalls: vec![BodyStall { matches: ending(".zip"), after_bytes: 1000, delay: FOR_EVER }],
        ..Faults::default()
    });
}

#[test]
fn a_hung_command_is_started_again_and_succeeds_when_the_fault_has_gone() {
    let Some(lab) = Lab::for_test("a_hung_command_is_started_again_and_succeeds_when_the_fault_has_gone")
    else {
        return;
    };
    hang(&lab);
    let run = lab.go_run(&options()).unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait::until("a zip to be asked for", || {
                lab.proxy.log().requests().iter().any(|request| request.path.contains(".zip")).then_some(())
            });
            // What began under the fault hangs on.
            lab.proxy.set_faults(Faults::default());
        });
        with_deadline(&lab, &run, "deadline=3s", &["go", "mod", "download"])
    });
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("started again, 1 of 3"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("2 of 3"), "{}", stderr(&output));
}

#[test]
fn one_that_hangs_each_time_is_given_up_with_a_status_of_its_own() {
    let Some(lab) = Lab::for_test("one_that_hangs_each_time_is_given_up_with_a_status_of_its_own") else {
        return;
    };
    hang(&lab);
    let run = lab.go_run(&options()).unwrap();
    let began = Instant::now();
    let output = with_deadline(&lab, &run, "deadline=2s", &["sh", "-c", "go mod download & wait"]);
    assert_eq!(output.status.code(), Some(124), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains("given up after 4 starts") && text.contains("3 of 3"), "{text}");
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    // Nothing of it is left, its grandchildren included.
    let modcache = run.modcache().to_string_lossy().into_owned();
    let running = std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environ).contains(&modcache)
    });
    assert!(!running);
}

#[test]
fn one_that_moves_or_waits_for_no_network_is_never_ended() {
    let Some(lab) = Lab::for_test("one_that_moves_or_waits_for_no_network_is_never_ended") else { return };
    let never = |name: &str, output: &Output| {
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(output));
        assert!(!stderr(output).contains("deadline:"), "{name}: {}", stderr(output));
    };
    // A body that comes slowly, answers that come late but soon enough.
    lab.proxy.set_faults(Faults {
        slow_bodies: vec![SlowBody { matches: ending("uuid/@v/v1.6.0.zip"), bytes_per_s: 4000 }],
        head_delays: vec![HeadDelay { matches: ending(".mod"), delay: Duration::from_millis(800) }],
        ..Faults::default()
    });
    let run = lab.go_run(&options()).unwrap();
    never("slow", &with_deadline(&lab, &run, "deadline=3s", &["go", "mod", "download"]));
    lab.proxy.set_faults(Faults::default());
    for script in ["sleep 6", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 4"] {
        let run = lab.go_run(&options()).unwrap();
        never(script, &with_deadline(&lab, &run, "deadline=2s", &["sh", "-c", script]));
    }
    // Another's lock.
    let run = lab.go_run(&options()).unwrap();
    let lock = run.file("lock");
    let script = format!("flock {0} sleep 6 & sleep 1; flock {0} true", lock.display());
    never("lock", &with_deadline(&lab, &run, "deadline=2s", &["sh", "-c", &script]));
}

#[test]
fn its_own_status_stays() {
    let Some(lab) = Lab::for_test("its_own_status_stays") else { return };
    let run = lab.go_run(&options()).unwrap();
    let output = with_deadline(&lab, &run, "deadline=2s", &["sh", "-c", "kill -TERM $$"]);
    assert_eq!(output.status.code(), Some(143), "{}", stderr(&output));
    lab.dns.set_faults(DnsFaults { servfail: true, ..DnsFaults::default() });
    let run = lab.go_run(&options()).unwrap();
    let output = with_deadline(&lab, &run, "deadline=2s", &["go", "mod", "download"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}
