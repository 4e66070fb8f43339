//! What the screens ask again and again of a step, found once or kept while news comes in: a step may have 100 000 changes.
//! Never a second truth: a test finds the same by counting.

use super::app::{App, STALLED_MS};
use super::words;
use crate::model::{ChangeId, Plan, PlannedStep, Progress, Status};

/// What the plan says of one step.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Bytes it is about to move.
    pub bytes: u64,
    pub no_way_back: bool,
    /// What an undo gives back: a class, and a sentence.
    pub way_back: (&'static str, String),
}

impl Facts {
    pub fn of(plan: &Plan) -> Vec<Self> {
        let of_step = |step: &PlannedStep| Self {
            bytes: step.pending().map(|planned| planned.change.size_bytes()).sum(),
            no_way_back: words::no_way_back(step),
            way_back: words::way_back(step),
        };
        plan.steps.iter().map(of_step).collect()
    }
}

impl App {
    /// Bytes of a step: (there, in all). What was already there when the plan was made counts in neither.
    pub fn bytes(&self, step: usize) -> (u64, u64) {
        let there = self.state.steps.get(step).map_or(0, |step| step.counts.bytes);
        (there + self.arriving.get(&step).copied().unwrap_or(0), self.facts[step].bytes)
    }

    /// Takes the newest progress of a change.
    pub(super) fn progressed(&mut self, progress: Progress) {
        let id = progress.change;
        let bytes = |app: &Self, done: u64| if app.arrives(id) { done.min(app.plan.steps[id.step].pending_bytes(id.n)) } else { 0 };
        let now = bytes(self, progress.done);
        let before = self.progress.insert(id, progress).map_or(0, |before| bytes(self, before.done));
        let sum = self.arriving.entry(id.step).or_default();
        *sum = *sum + now - before;
    }

    /// An entry about this change is folded in by `with`: what is on its way is counted anew.
    pub(super) fn refold<T>(&mut self, change: Option<ChangeId>, with: impl FnOnce(&mut Self) -> T) -> T {
        let Some(id) = change else { return with(self) };
        let before = self.on_its_way(id);
        let out = with(self);
        let now = self.on_its_way(id);
        let sum = self.arriving.entry(id.step).or_default();
        *sum = *sum + now - before;
        out
    }

    /// Bytes of one change that are on their way.
    fn on_its_way(&self, id: ChangeId) -> u64 {
        let Some(progress) = self.progress.get(&id).filter(|_| self.arrives(id)) else { return 0 };
        progress.done.min(self.plan.steps[id.step].pending_bytes(id.n))
    }

    fn arrives(&self, id: ChangeId) -> bool {
        let change = self.state.steps.get(id.step).and_then(|step| step.changes.get(id.n));
        change.is_some_and(|change| matches!(change.status, Status::Running | Status::Retrying(_)))
    }

    /// Unix time in milliseconds of the last sign of life of a running step, if that is long ago.
    pub fn stalled_since(&self, step: usize) -> Option<i64> {
        let state = self.state.steps.get(step)?;
        let mut last = None;
        for n in state.counts.busy.iter().copied().filter(|n| state.changes[*n].status == Status::Running) {
            let heard = self.progress.get(&ChangeId { step, n }).map(|progress| progress.at_ms);
            last = last.max(heard).max(state.changes[n].started_ms);
            // One that lives is enough: the others need not be asked.
            if last.is_some_and(|last| self.now_ms - last <= STALLED_MS) {
                return None;
            }
        }
        last
    }

    /// Failed changes of the selected step first, then the others, in order; or only the failed ones.
    pub fn listed(&self) -> Vec<usize> {
        let n = self.plan.steps.get(self.step).map_or(0, |step| step.changes.len());
        let Some(failed) = self.state.steps.get(self.step).map(|step| &step.counts.failed) else {
            return if self.failed_only { vec![] } else { (0..n).collect() };
        };
        let mut out: Vec<usize> = failed.iter().copied().collect();
        if !self.failed_only {
            out.extend((0..n).filter(|n| failed.is_empty() || !failed.contains(n)));
        }
        out
    }

    /// Changes of a step on their way just now, those in trouble before the others: how many, and the first few.
    pub fn busy(&self, step: usize, most: usize) -> (usize, Vec<usize>) {
        let Some(state) = self.state.steps.get(step) else { return (0, vec![]) };
        let busy = &state.counts.busy;
        let in_trouble = |n: &usize| {
            let silent = || self.progress.get(&ChangeId { step, n: *n }).is_some_and(|p| self.now_ms - p.at_ms > STALLED_MS);
            matches!(state.changes[*n].status, Status::Retrying(_)) || silent()
        };
        let mut out: Vec<usize> = busy.iter().copied().filter(in_trouble).take(most).collect();
        let others = busy.iter().copied().filter(|n| !in_trouble(n)).take(most - out.len());
        out.extend(others);
        (busy.len(), out)
    }
}
