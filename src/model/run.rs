//! The state of a run, and what comes next: pure. The engine, resume, the screens, `status` and the report share it.

use super::{ChangeId, Counts, Entry, Fault, Gate, Limits, Outcome, Plan, Problem, Tally, WaveState, Window, fault::root, text};
use std::{collections::BTreeMap, sync::Arc};

/// Where one change is in its life.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Status {
    #[default]
    Waiting,
    Running,
    /// After a passing fault, waiting for the next attempt.
    Retrying(String),
    Found,
    Done,
    // A fault is large and rare: in a box, the other 100 000 changes need no room for one.
    Failed(Box<Fault>),
    Skipped(String),
    Undoing,
    Undone,
    UndoFailed(Box<Fault>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeState {
    pub status: Status,
    /// `Started` was written: what stands `After` now is our work.
    pub ours: bool,
    pub attempts: u32,
    /// Unix times in milliseconds.
    pub started_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    /// What proved it, if anything did.
    pub proof: Option<String>,
    /// Since when it is what it is; 0 while nothing has happened to it.
    pub turned_ms: i64,
    /// Left out after it was begun, so that a part of it may stand: a rollback looks, and takes that back.
    pub left_begun: bool,
}

impl Status {
    /// Why it is not done, where there is a reason.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Failed(fault) | Self::UndoFailed(fault) => Some(&fault.why),
            Self::Skipped(why) | Self::Retrying(why) => Some(why),
            _ => None,
        }
    }
}

/// How often something was begun, in words: a fault may come when it is only looked at.
pub fn tried(attempts: u32) -> String {
    if attempts == 0 { "not begun".to_owned() } else { text::count(u64::from(attempts), "attempt") }
}

impl ChangeState {
    /// It may still be applied.
    pub fn is_open(&self) -> bool {
        matches!(self.status, Status::Waiting | Status::Running | Status::Retrying(_))
    }

    /// Nothing is left to do.
    pub fn is_over(&self) -> bool {
        matches!(self.status, Status::Found | Status::Done | Status::Skipped(_))
    }

    /// It failed, forward or back.
    pub fn is_failed(&self) -> bool {
        matches!(self.status, Status::Failed(_) | Status::UndoFailed(_))
    }

    /// A rollback would take it back: it was started by us, and is neither undone nor left as it is by a rollback.
    pub fn is_undoable(&self) -> bool {
        use Status::{Done, Failed, Retrying, Running, UndoFailed, Undoing};
        let left_begun = matches!(self.status, Status::Skipped(_)) && self.left_begun;
        self.ours && (left_begun || matches!(self.status, Running | Retrying(_) | Done | Failed(_) | Undoing | UndoFailed(_)))
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepState {
    pub gate_reached_ms: Option<i64>,
    /// Who approved it and when.
    pub approved: Option<(String, i64)>,
    /// What a brown-out has brought to light.
    pub seen: Vec<Problem>,
    pub changes: Vec<ChangeState>,
    pub counts: Counts,
    pub waves: WaveState,
}

/// The run so far, as the journal tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Shared with the entry and with whoever shows it: a plan may have 100 000 changes.
    pub plan: Option<Arc<Plan>>,
    pub limits: Limits,
    pub window: Option<Window>,
    pub steps: Vec<StepState>,
    pub by: String,
    pub begun_ms: i64,
    pub last_ms: i64,
    pub paused: Option<(String, i64)>,
    /// Index of the step down to which everything is undone.
    pub rolling_back: Option<usize>,
    /// Changes in the order of their `Started`.
    pub order: Vec<ChangeId>,
    pub finished: Option<Outcome>,
    /// Number of entries folded in.
    pub seq: u64,
}

/// What comes next: the whole brain of the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// There is no plan yet.
    Plan,
    /// The gate of this step has to be passed.
    Gate(usize),
    /// These entries follow by themselves: a wave begins, a canary has proved itself, a host is set aside or comes back.
    Turn(Vec<Entry>),
    /// The canary of this step is done; the others wait until a person approves it.
    Canary(usize),
    /// Open changes of this step may be applied, side by side: `State::open` names them.
    Apply(usize),
    /// What was done of this step may be undone, side by side: `State::to_undo` names it.
    Undo(usize),
    Stop(Stop),
    /// Everything is done or undone; `Finished` has to be written.
    Finish(Outcome),
    Over,
}

/// Why nothing goes on until a person says so.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    Paused,
    /// Changes of this step failed, and nothing else of it is left to do.
    Failed(usize),
    /// Undo failed.
    Stuck,
}

impl State {
    pub fn status(&self, id: ChangeId) -> &ChangeState {
        &self.steps[id.step].changes[id.n]
    }

    /// The gate of a step that has something to do; steps with nothing to do ask nothing.
    pub fn gate(&self, step: usize) -> Option<&Gate> {
        self.plan.as_ref()?.steps.get(step)?.gate.as_ref()
    }

    /// The step that runs, waits or failed: the first that is not over. `None` when all are.
    pub fn current_step(&self) -> Option<usize> {
        self.steps.iter().enumerate().position(|(i, _)| !self.step_is_over(i))
    }

    /// Every change of the step is found, done or skipped, and its gate is passed.
    pub fn step_is_over(&self, step: usize) -> bool {
        let tally = self.tally(step);
        (self.gate(step).is_none() || self.steps[step].approved.is_some()) && tally.over() == tally.total()
    }

    /// Decides what comes next. Pure: the same journal always gives the same answer.
    pub fn next(&self) -> Next {
        if self.plan.is_none() {
            return Next::Plan;
        }
        if self.finished.is_some() {
            return Next::Over;
        }
        if let Some(to) = self.rolling_back {
            return self.next_back(to);
        }
        if self.paused.is_some() {
            return Next::Stop(Stop::Paused);
        }
        let Some(step) = self.current_step() else {
            let skipped = self.steps.iter().any(|step| step.counts.tally.skipped > 0);
            return Next::Finish(if skipped { Outcome::DoneWithSkips } else { Outcome::Done });
        };
        if self.gate(step).is_some() && self.steps[step].approved.is_none() {
            return Next::Gate(step);
        }
        self.next_in_step(step)
    }

    /// The way back: step by step from the last.
    fn next_back(&self, to: usize) -> Next {
        let undoable = |step: &usize| self.steps[*step].counts.undoable > 0;
        let Some(step) = (to..self.steps.len()).rev().find(undoable) else { return Next::Finish(Outcome::RolledBack) };
        if self.steps[to..].iter().any(|step| step.counts.undo_failed > 0) {
            return Next::Stop(Stop::Stuck);
        }
        if self.paused.is_some() { Next::Stop(Stop::Paused) } else { Next::Undo(step) }
    }

    /// Why the run cannot go back to before a step: it would end for good, with nothing undone.
    pub fn cannot_go_back(&self, to: usize) -> Option<String> {
        match self.current_step() {
            _ if self.plan.is_none() => Some("the run has not begun".to_owned()),
            _ if to >= self.steps.len() => Some("there is no such step".to_owned()),
            Some(now) if to > now => Some(format!("step {} has not begun: nothing of it could be undone", to + 1)),
            _ => None,
        }
    }

    /// The steps with something that a rollback would take back.
    pub fn undoable(&self) -> Vec<usize> {
        (0..self.steps.len()).filter(|step| self.steps[*step].counts.undoable > 0).collect()
    }

    /// The changes of a step that may be undone, in the reverse order of their `Started`.
    pub fn to_undo(&self, step: usize) -> impl Iterator<Item = ChangeId> {
        self.order.iter().rev().copied().filter(move |id| id.step == step && self.status(*id).is_undoable())
    }

    /// The entries with which failed changes are tried again, forward or on the way back, because `by` asked.
    pub fn again(&self, ids: impl IntoIterator<Item = ChangeId>, by: &str) -> Vec<Entry> {
        let entry = |change| match self.rolling_back {
            Some(_) => Entry::UndoStarted { change },
            None => Entry::Retried { change, why: format!("asked by {by}"), after_ms: 0 },
        };
        let ids: Vec<ChangeId> = ids.into_iter().collect();
        let back = if self.rolling_back.is_none() { self.back_for(&ids) } else { vec![] };
        back.into_iter().chain(ids.into_iter().map(entry)).collect()
    }

    /// How many changes of a step stand in each status.
    pub fn tally(&self, step: usize) -> Tally {
        self.steps[step].counts.tally
    }

    /// Whether what is not made yet will be: it is neither over nor on its way back.
    pub fn goes_forward(&self) -> bool {
        self.finished.is_none() && self.rolling_back.is_none()
    }

    /// Why a change stands in the way. On the way back only that its undo failed.
    pub fn fault<'a>(&self, change: &'a ChangeState) -> Option<&'a Fault> {
        match &change.status {
            Status::UndoFailed(fault) => Some(fault),
            Status::Failed(fault) if self.rolling_back.is_none() => Some(fault),
            _ => None,
        }
    }

    /// Changes of a step whose failure stands in the way. On the way back those whose undo failed: what failed before has
    /// nothing to be undone, or is undone like what is done.
    pub fn failed(&self, step: usize) -> u64 {
        let counts = &self.steps[step].counts;
        if self.rolling_back.is_some() { counts.undo_failed } else { counts.tally.failed }
    }

    /// Changes of a step that failed before the run turned back, and are not undone.
    pub fn had_failed(&self, step: usize) -> u64 {
        self.tally(step).failed - self.failed(step)
    }

    pub fn any_failed(&self) -> bool {
        (0..self.steps.len()).any(|step| self.failed(step) > 0)
    }

    /// The changes of [`State::failed`], grouped by cause: kind of fault and the root of its words, with the changes that met
    /// it. The fault is that of the first.
    pub fn causes(&self) -> Vec<(Fault, Vec<ChangeId>)> {
        let mut out: Vec<(Fault, Vec<ChangeId>)> = vec![];
        let mut known = BTreeMap::new();
        for (step, state) in self.steps.iter().enumerate() {
            for n in state.counts.failed.iter().copied() {
                let Some(fault) = self.fault(&state.changes[n]) else { continue };
                let id = ChangeId { step, n };
                let at = *known.entry((fault.kind as u8, root(&fault.why))).or_insert(out.len());
                match out.get_mut(at) {
                    Some((_, ids)) => ids.push(id),
                    None => out.push((fault.clone(), vec![id])),
                }
            }
        }
        out
    }
}
