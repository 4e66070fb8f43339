//! How a soak is told how much, and made to do the same again.

use std::time::SystemTime;

/// How many kills: `CASTOFF_SOAK_KILLS`.
pub fn kills(usual: u64) -> u64 {
    of_environment("CASTOFF_SOAK_KILLS").unwrap_or(usual)
}

/// Random numbers that can be had again.
pub struct Random(u64);

impl Random {
    /// From `CASTOFF_SOAK_SEED`, or the clock; the seed is printed.
    pub fn seeded() -> Self {
        let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let seed = of_environment("CASTOFF_SOAK_SEED").unwrap_or_else(clock).max(1);
        println!("seed {seed}: CASTOFF_SOAK_SEED={seed} does the same again");
        Self(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn of_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
