//! Chance that can be repeated.

use std::time::{SystemTime, UNIX_EPOCH};

/// Dice that fall the same for the same seed (<https://prng.di.unimi.it/splitmix64.c>).
pub struct Dice(u64);

impl Dice {
    /// Dice whose seed is printed; `USHER_SEED` repeats it.
    pub fn new() -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| u64::from(now.subsec_nanos()));
        let seed = std::env::var("USHER_SEED").ok().map_or_else(now, |seed| seed.parse().expect("USHER_SEED is a number"));
        println!("the dice: USHER_SEED={seed}");
        Self(seed)
    }

    /// Dice that somebody else's dice have chosen.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).expect("small")
    }

    /// One of two.
    pub fn coin(&mut self) -> bool {
        self.roll(2) == 0
    }

    /// One of some.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.roll(of.len())) }
    }
}
