//! Many commands: at the same time, and one after the other.

use std::sync::{Mutex, PoisonError};

use tests::bench::short::{Short, user};
use tests::crowd;
use tests::lab::Lab;
use tests::net::Place;
use tests::watching::Watching;

/// One at a time: each has the machine busy by itself.
static TURN: Mutex<()> = Mutex::new(());

/// Some ten seconds on two CPUs.
const AT_ONCE: usize = 200;

#[test]
fn commands_of_five_users_in_three_containers_are_distinguished() {
    let name = "commands_of_five_users_in_three_containers_are_distinguished";
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(lab) = Lab::for_test_in(name, Place::Veth) else { return };
    let crowd = crowd::download(&lab, AT_ONCE, false).unwrap_or_else(|error| panic!("{error:#}"));
    let differences = crowd.differences();
    assert!(
        differences.is_empty(),
        "{} of them: {:#?}, loss {}",
        differences.len(),
        &differences[..differences.len().min(5)],
        crowd.reported.loss
    );
    assert_eq!(crowd.reported.lost_records(), Some(0), "{}", crowd.reported.loss);
    assert!(crowd.at_once > AT_ONCE / 4, "only {} ran at the same time", crowd.at_once);
}

/// Commands until the memory is looked at, and then again. The first are more than run in the two
/// seconds for which an ended command is kept, and as many as the second, so that it has had bursts as
/// large. The bench has 10,000: `cargo xtask bench short`.
const PARTS: [usize; 2] = [1200, 1200];
/// What the second part may add to a process's anonymous memory, which grows by its high-water
/// marks. Of 1200 commands that were kept the worker would grow by four times that.
const GROWTH: u64 = 1 << 20;

#[test]
fn short_commands_are_all_reported_and_take_no_memory() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(lab) = Lab::for_test("short_commands_are_all_reported_and_take_no_memory") else { return };
    let short = Short::new(&lab).unwrap();
    let watching = Watching::start(&lab).unwrap();
    let memory = PARTS.map(|commands| {
        short.run(commands, 2).unwrap();
        watching.memory().unwrap()
    });
    let all = PARTS.iter().sum();
    assert_eq!(watching.has_reported(all, &[user()]).unwrap(), all, "commands were reported");
    let reported = watching.end().unwrap();
    assert_eq!(reported.lost_records(), Some(0), "{}", reported.loss);
    let commands: Vec<_> = reported.of(&[user()]).collect();
    assert_eq!(commands.len(), all);
    for command in commands {
        assert_eq!(command["exit_code"], 0, "{command}");
        assert!(command["wall_ns"].is_u64() && command["go"]["version"].is_string(), "{command}");
    }
    let [first, second] = memory;
    for (name, first, second) in [("agent", first[0], second[0]), ("worker", first[1], second[1])] {
        let grown = second.anonymous.saturating_sub(first.anonymous);
        assert!(grown <= GROWTH, "the {name} grew by {grown} bytes");
    }
}

#[test]
fn what_a_full_ring_loses_is_counted_and_nothing_wrong_is_reported() {
    let name = "what_a_full_ring_loses_is_counted_and_nothing_wrong_is_reported";
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(lab) = Lab::for_test_in(name, Place::Veth) else { return };
    let crowd = crowd::download(&lab, AT_ONCE, true).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(crowd.reported.loss["kernel_events_lost"].as_u64() > Some(0), "the ring was never full");
    let (right, wrong) = crowd.verdicts();
    assert!(wrong.is_empty(), "{} of them: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(right > 0 && right < crowd.requests(), "{right} of {} were reported", crowd.requests());
}
