//! Waiting for what another process does: in goes a look at the world, out comes what it saw.

use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything that is waited for takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until there is something to see, and returns that.
///
/// # Panics
/// When there is nothing after half a minute; the message says what was waited for.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(LIMIT, look).unwrap_or_else(|| panic!("not within {LIMIT:?}: {what}"))
}

/// Looks until `limit` has passed; `None` when there was nothing to see.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let seen = look();
        if seen.is_some() || begun.elapsed() > limit {
            return seen;
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_at_last_is_returned() {
        let mut looks = 0;
        let seen = until("the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(seen, 3);
    }

    #[test]
    fn a_wait_for_nothing_ends() {
        assert_eq!(within(Duration::ZERO, || None::<()>), None);
    }
}
