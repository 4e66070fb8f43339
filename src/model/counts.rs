//! What is counted of a step's changes, kept while a run is folded so that no screen and no turn counts them again.
//! Never the truth: `StepState::changes` is, and a test counts it again.

use super::run::{ChangeState, Status};
use std::collections::BTreeSet;

/// How many changes of a step stand in each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub waiting: u64,
    pub running: u64,
    pub retrying: u64,
    pub found: u64,
    pub done: u64,
    pub failed: u64,
    pub skipped: u64,
    pub undone: u64,
}

impl Tally {
    pub fn total(&self) -> u64 {
        self.waiting + self.running + self.retrying + self.found + self.done + self.failed + self.skipped + self.undone
    }

    /// Changes of which nothing is left to do.
    pub fn over(&self) -> u64 {
        self.found + self.done + self.skipped
    }

    fn of(&mut self, status: &Status) -> &mut u64 {
        match status {
            Status::Waiting => &mut self.waiting,
            Status::Running | Status::Undoing => &mut self.running,
            Status::Retrying(_) => &mut self.retrying,
            Status::Found => &mut self.found,
            Status::Done => &mut self.done,
            Status::Failed(_) | Status::UndoFailed(_) => &mut self.failed,
            Status::Skipped(_) => &mut self.skipped,
            Status::Undone => &mut self.undone,
        }
    }
}

/// The counts of one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    pub tally: Tally,
    /// Changes that may still be applied, by wave and index: those of the first waves first.
    pub open: BTreeSet<(usize, usize)>,
    /// Indexes of the changes on their way, or between two attempts: running, retrying, undoing.
    pub busy: BTreeSet<usize>,
    /// Of those, the ones between two attempts.
    pub retrying: BTreeSet<usize>,
    /// Indexes of the changes that failed, forward or back.
    pub failed: BTreeSet<usize>,
    /// Of those, the ones whose undo failed.
    pub undo_failed: u64,
    /// Changes that a rollback would take back: ours, and neither undone nor left as it is.
    pub undoable: u64,
    /// Bytes of the changes that are there now, without what was there when the plan was made.
    pub bytes: u64,
    /// Unix times in milliseconds of the first start and the last end, forward, or back once something of it goes back.
    pub first_ms: Option<i64>,
    pub last_ms: Option<i64>,
}

impl Counts {
    /// A change of this size is counted as it stands.
    pub fn add(&mut self, (wave, n): (usize, usize), change: &ChangeState, size_bytes: u64) {
        if change.is_open() {
            self.open.insert((wave, n));
        }
        *self.tally.of(&change.status) += 1;
        self.undoable += u64::from(change.is_undoable());
        match &change.status {
            Status::Running | Status::Undoing => _ = self.busy.insert(n),
            Status::Retrying(_) => {
                self.busy.insert(n);
                self.retrying.insert(n);
            }
            Status::Failed(_) => _ = self.failed.insert(n),
            Status::UndoFailed(_) => {
                self.failed.insert(n);
                self.undo_failed += 1;
            }
            Status::Done | Status::Found => self.bytes += size_bytes,
            Status::Waiting | Status::Skipped(_) | Status::Undone => {}
        }
        self.first_ms = [self.first_ms, change.started_ms].into_iter().flatten().min();
        self.last_ms = self.last_ms.max(change.ended_ms);
    }

    /// The same change is counted no more, before it becomes something else. First and last times stay.
    pub fn remove(&mut self, (wave, n): (usize, usize), change: &ChangeState, size_bytes: u64) {
        self.open.remove(&(wave, n));
        *self.tally.of(&change.status) -= 1;
        self.undoable -= u64::from(change.is_undoable());
        match &change.status {
            Status::Running | Status::Undoing => _ = self.busy.remove(&n),
            Status::Retrying(_) => {
                self.busy.remove(&n);
                self.retrying.remove(&n);
            }
            Status::Failed(_) => _ = self.failed.remove(&n),
            Status::UndoFailed(_) => {
                self.failed.remove(&n);
                self.undo_failed -= 1;
            }
            Status::Done | Status::Found => self.bytes -= size_bytes,
            Status::Waiting | Status::Skipped(_) | Status::Undone => {}
        }
    }
}
