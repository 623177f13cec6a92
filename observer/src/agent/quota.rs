//! Who may have how much of a table that any user can fill. In go what users hold, out comes whether
//! one of them may add something, and what has to go first.
//!
//! A user may hold as much as is left for others: alone a half, a second one a half of the rest. So
//! whoever has nothing in the table yet finds room, unless a handful of users work together.

use std::collections::HashMap;

/// Whether something can be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room<K> {
    /// There is room
    Free,
    /// When this has gone
    After(K),
    /// Not now: whoever holds most can give nothing up
    None,
}

/// A thing in the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<K> {
    /// Its key
    pub key: K,
    /// Whose it is
    pub uid: u32,
    /// How gladly it is given up: least first; `None`: not at all
    pub worth: Option<(u8, u64)>,
}

/// Whether that user may hold one more in a table of `max`.
pub(super) fn has_room(held: impl IntoIterator<Item = u32>, uid: u32, max: usize) -> bool {
    let (mut all, mut own) = (0, 0);
    for owner in held {
        all += 1;
        own += usize::from(owner == uid);
    }
    all < max && own < max - all
}

/// Room for one more of that user's: what the user who holds most would give up first is to go, when
/// there is none.
pub(super) fn room<K: Copy>(held: &[Held<K>], uid: u32, max: usize) -> Room<K> {
    if has_room(held.iter().map(|held| held.uid), uid, max) {
        return Room::Free;
    }
    let mut counts: HashMap<u32, usize> = HashMap::new();
    held.iter().for_each(|held| *counts.entry(held.uid).or_default() += 1);
    // Among equals whoever wants more gives something up.
    let heaviest =
        counts.iter().max_by_key(|(owner, count)| (**count, **owner == uid)).map(|(owner, _)| *owner);
    let of_it = held.iter().filter(|held| Some(held.uid) == heaviest);
    let given_up = of_it.filter(|held| held.worth.is_some()).min_by_key(|held| held.worth);
    given_up.map_or(Room::None, |held| Room::After(held.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(key: u32, uid: u32, worth: Option<(u8, u64)>) -> Held<u32> {
        Held { key, uid, worth }
    }

    #[test]
    fn one_user_leaves_room_for_the_next_and_that_one_for_a_third() {
        let mut owners = Vec::new();
        for (uid, share) in [(1, 128), (2, 64), (3, 32)] {
            while has_room(owners.iter().copied(), uid, 256) {
                owners.push(uid);
            }
            assert_eq!(owners.iter().filter(|owner| **owner == uid).count(), share);
        }
        assert!(has_room(owners, 4, 256));
    }

    #[test]
    fn a_user_beyond_the_share_gives_up_its_own_oldest_and_nobody_elses() {
        let all = [held(1, 7, Some((0, 5))), held(2, 7, Some((0, 3))), held(3, 8, Some((0, 1)))];
        assert_eq!(room(&all, 7, 4), Room::After(2));
        assert_eq!(room(&all, 9, 4), Room::Free);
    }

    #[test]
    fn what_is_worth_more_stays_and_what_is_in_use_is_never_given_up() {
        let all = [held(1, 7, None), held(2, 7, Some((1, 3))), held(3, 7, Some((0, 9)))];
        assert_eq!(room(&all, 7, 4), Room::After(3));
        assert_eq!(room(&all[..2], 7, 3), Room::After(2));
        assert_eq!(room(&all[..1], 7, 1), Room::None);
    }
}
