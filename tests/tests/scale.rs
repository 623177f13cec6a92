//! Many commands: at the same time, and one after the other.

use tests::bench::short::{Short, USER};
use tests::crowd;
use tests::lab::Lab;
use tests::net::Place;
use tests::watching::Watching;

/// Some ten seconds on two CPUs.
const AT_ONCE: usize = 200;

#[test]
fn commands_of_five_users_in_three_containers_are_told_apart() {
    let name = "commands_of_five_users_in_three_containers_are_told_apart";
    let Some(lab) = Lab::for_test_in(name, Place::Veth) else { return };
    let crowd = crowd::download(&lab, AT_ONCE).unwrap_or_else(|error| panic!("{error:#}"));
    let differences = crowd.differences();
    assert!(
        differences.is_empty(),
        "{} of them: {:#?}, loss {}",
        differences.len(),
        &differences[..differences.len().min(5)],
        crowd.told.loss
    );
    assert_eq!(crowd.told.lost(), Some(0), "{}", crowd.told.loss);
    assert!(crowd.at_once > AT_ONCE / 4, "only {} ran at the same time", crowd.at_once);
}

/// Commands in each half. The bench has thousands: `cargo xtask bench short`.
const HALF: usize = 250;
/// What the second half may add to the worker's and the agent's anonymous memory: a tenth of what
/// 250 commands' lines take (a kilobyte each, four a command), for the allocator's sake.
const GROWTH: u64 = 512 << 10;

#[test]
fn short_commands_are_all_told_and_take_no_memory() {
    let Some(lab) = Lab::for_test("short_commands_are_all_told_and_take_no_memory") else { return };
    let short = Short::new(&lab).unwrap();
    let watching = Watching::start(&lab).unwrap();
    let memory = [1, 2].map(|half| {
        short.run(HALF, 2).unwrap();
        // Until the last of them is told, the worker holds it.
        assert!(watching.has_told(half * HALF, &[USER]).unwrap(), "not all commands were told");
        watching.memory().unwrap()
    });
    let told = watching.end().unwrap();
    assert_eq!(told.lost(), Some(0), "{}", told.loss);
    let commands: Vec<_> = told.of(&[USER]).collect();
    assert_eq!(commands.len(), 2 * HALF);
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
