//! How fast something comes, over the last ten seconds.
//! Never an average of all time: a pull that stands still shows nothing coming.

use std::collections::VecDeque;

const WINDOW_MS: i64 = 10_000;

/// Samples: (unix time in milliseconds, bytes so far).
#[derive(Clone, Debug, Default)]
pub struct Flow {
    samples: VecDeque<(i64, u64)>,
}

impl Flow {
    /// Takes a sample at most once a second.
    pub fn sample(&mut self, at_ms: i64, bytes: u64) {
        // The clock was set back: what was measured by the old one measures nothing any more.
        if self.samples.back().is_some_and(|(last, _)| at_ms + 1000 < *last) {
            self.samples.clear();
        }
        if self.samples.back().is_some_and(|(last, _)| at_ms < last + 1000) {
            return;
        }
        // A pull that starts again counts from nothing; what came before does not come twice.
        let bytes = self.samples.back().map_or(bytes, |(_, before)| bytes.max(*before));
        self.samples.push_back((at_ms, bytes));
        while self.samples.front().is_some_and(|(first, _)| at_ms - first > WINDOW_MS) {
            self.samples.pop_front();
        }
    }

    /// Nothing is on its way any more.
    pub fn stop(&mut self) {
        self.samples.clear();
    }

    /// Bytes a second, once two seconds are measured.
    pub fn rate(&self) -> Option<u64> {
        let (first, before) = *self.samples.front()?;
        let (last, bytes) = *self.samples.back()?;
        let took_ms = u64::try_from(last - first).ok().filter(|ms| *ms >= 2000)?;
        Some((bytes - before).saturating_mul(1000) / took_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let mut flow = Flow::default();
        assert_eq!(flow.rate(), None);
        for second in 0..=20 {
            flow.sample(second * 1000, second.unsigned_abs() * if second < 10 { 100 } else { 5_000 });
        }
        assert_eq!(flow.rate(), Some(5_000));
        for second in 21..=40 {
            flow.sample(second * 1000, 20);
        }
        assert_eq!(flow.rate(), Some(0));
    }
}
