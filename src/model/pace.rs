//! How fast bytes come in: rates over a window, and an honest range for the end.
//! Never guesses early: no end before one percent and thirty seconds.

use super::{ChangeId, Plan, Progress, State, Status};
use std::collections::{BTreeMap, VecDeque};

const SHORT_MS: i64 = 60_000;
const LONG_MS: i64 = 600_000;

/// Samples of the running step: (unix time in milliseconds, bytes so far).
#[derive(Clone, Debug, Default)]
pub struct Pace {
    step: Option<usize>,
    samples: VecDeque<(i64, u64)>,
}

impl Pace {
    /// Takes a sample at most once a second. Another step begins anew.
    pub fn sample(&mut self, step: usize, at_ms: i64, bytes: u64) {
        if self.step != Some(step) {
            self.step = Some(step);
            self.samples.clear();
        }
        // The clock was set back: what was measured by the old one measures nothing any more.
        if self.samples.back().is_some_and(|(last, _)| at_ms + 1000 < *last) {
            self.samples.clear();
        }
        if self.samples.back().is_some_and(|(last, _)| at_ms < last + 1000) {
            return;
        }
        // Progress never goes back, not even when a pull starts again.
        let bytes = self.samples.back().map_or(bytes, |(_, before)| bytes.max(*before));
        self.samples.push_back((at_ms, bytes));
        while self.samples.front().is_some_and(|(first, _)| at_ms - first > LONG_MS) {
            self.samples.pop_front();
        }
    }

    /// Bytes a second, and the seconds over which that was measured: a minute at most.
    pub fn rate(&self, step: usize) -> Option<(u64, u64)> {
        if self.step == Some(step) { self.over(SHORT_MS) } else { None }
    }

    /// Between which unix times in milliseconds the rest is through, if the rates of the last minute and of the last ten
    /// minutes hold.
    pub fn ends(&self, step: usize, done: u64, total: u64) -> Option<(i64, i64)> {
        let (first, _) = *self.samples.front().filter(|_| self.step == Some(step))?;
        let (last, _) = *self.samples.back()?;
        if last - first < 30_000 || done.saturating_mul(100) < total || done >= total {
            return None;
        }
        let left_ms = |rate: u64| (total - done).saturating_mul(1000).checked_div(rate);
        // An end in more than a year is none.
        let end = |rate: u64| Some(last + i64::try_from(left_ms(rate)?).ok().filter(|left| *left < 31_536_000_000)?);
        let (a, b) = (end(self.over(SHORT_MS)?.0)?, end(self.over(LONG_MS)?.0)?);
        Some((a.min(b), a.max(b)))
    }

    fn over(&self, window_ms: i64) -> Option<(u64, u64)> {
        let (last, bytes) = *self.samples.back()?;
        let (first, before) = *self.samples.iter().find(|(at, _)| last - at <= window_ms)?;
        let took_ms = u64::try_from(last - first).ok().filter(|ms| *ms >= 2000)?;
        Some(((bytes - before).saturating_mul(1000) / took_ms, took_ms / 1000))
    }
}

/// Bytes of a step: (there, in all). What was already there when the plan was made counts in neither.
pub fn bytes(plan: &Plan, state: &State, progress: &BTreeMap<ChangeId, Progress>, step: usize) -> (u64, u64) {
    let mut done = 0;
    let mut total = 0;
    for planned in plan.steps[step].pending() {
        let size = planned.change.size_bytes();
        total += size;
        let status = state.steps.get(step).map(|s| &s.changes[planned.id.n].status);
        done += match status {
            Some(Status::Done | Status::Found) => size,
            Some(Status::Running | Status::Retrying(_)) => {
                progress.get(&planned.id).map_or(0, |progress| progress.done.min(size))
            }
            _ => 0,
        };
    }
    (done, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_end_is_told_before_a_percent_and_half_a_minute() {
        let mut pace = Pace::default();
        for second in 0..=20 {
            pace.sample(1, second * 1000, second.unsigned_abs() * 1_000_000);
        }
        assert_eq!(pace.rate(1), Some((1_000_000, 20)));
        assert_eq!(pace.rate(2), None);
        assert_eq!(pace.ends(1, 20_000_000, 100_000_000), None);
        for second in 21..=40 {
            pace.sample(1, second * 1000, second.unsigned_abs() * 1_000_000);
        }
        assert_eq!(pace.ends(1, 40_000_000, 100_000_000), Some((100_000, 100_000)));
        assert_eq!(pace.ends(1, 40_000_000, 100_000_000_000), None);
    }

    #[test]
    fn progress_never_goes_back() {
        let mut pace = Pace::default();
        pace.sample(1, 0, 500);
        pace.sample(1, 5000, 100);
        assert_eq!(pace.rate(1), Some((0, 5)));
    }
}
