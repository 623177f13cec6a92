//! Random order, so that a drift of the machine falls on both sides of a pair alike. In goes a
//! seed, which is printed, out come coin flips that can be had again.

use crate::clock::monotonic_ns;

/// A coin (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Coin(u64);

impl Coin {
    /// The coin of that seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed nobody chose.
    pub fn seed() -> u64 {
        monotonic_ns() % 1_000_000
    }

    /// The next flip.
    pub const fn flip(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 63 == 1
    }

    /// Runs both in random order; the results come in the order of the arguments.
    pub fn pair<A, B, E>(
        &mut self,
        first: impl FnOnce() -> Result<A, E>,
        second: impl FnOnce() -> Result<B, E>,
    ) -> Result<(A, B), E> {
        if self.flip() {
            let first = first()?;
            Ok((first, second()?))
        } else {
            let second = second()?;
            Ok((first()?, second))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_flips_again_and_both_sides_come() {
        let flips = |seed| {
            let mut coin = Coin::new(seed);
            (0..64).map(|_| coin.flip()).collect::<Vec<_>>()
        };
        assert_eq!(flips(1), flips(1));
        assert_ne!(flips(1), flips(2));
        assert!(flips(1).contains(&true) && flips(1).contains(&false));
    }

    #[test]
    fn the_results_of_a_pair_keep_their_places_in_either_order() {
        let mut coin = Coin::new(3);
        for _ in 0..32 {
            assert_eq!(coin.pair(|| Ok::<_, ()>(1), || Ok(2)), Ok((1, 2)));
        }
    }
}
