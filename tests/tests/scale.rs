//! Many commands: at the same time, and one after the other.

use tests::crowd;
use tests::lab::Lab;
use tests::net::Place;

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
