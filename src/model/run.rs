//! A run is a fold of entries over a state. The engine, resume, the screens, `status` and the report share this fold.

use super::{ChangeId, Counts, Fault, Gate, Limits, Plan, Problem, Tally, WaveState, Window, fault::root};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// One durable fact of a run, in the past tense. Written before it is acted upon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "is", deny_unknown_fields)]
pub enum Entry {
    /// The first entry: the whole plan.
    Planned {
        plan: Arc<Plan>,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    GateReached {
        step: usize,
    },
    /// `typed` is what the operator typed; for an answer given ahead, the option that gave it.
    GateApproved {
        step: usize,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
        plan: String,
        #[serde(deserialize_with = "super::edge::line")]
        typed: String,
    },
    /// What a brown-out that waits at this gate has brought to light: once for each.
    Seen {
        step: usize,
        problem: Problem,
    },
    /// This wave of the step begins; counted from 0.
    WaveReached {
        step: usize,
        wave: usize,
    },
    /// The canary is good: it has proved itself, or a person says so. `typed` is empty where nobody was asked.
    WavePassed {
        step: usize,
        wave: usize,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
        plan: String,
        #[serde(deserialize_with = "super::edge::line")]
        typed: String,
    },
    /// What is left to do on this host waits, so that the others go on.
    SetAside {
        step: usize,
        #[serde(deserialize_with = "super::edge::line")]
        place: String,
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
    },
    /// Nothing else of the step was open, or an operator asked.
    CameBack {
        step: usize,
        #[serde(deserialize_with = "super::edge::list")]
        places: Vec<String>,
    },
    /// It was true before we came: a rollback leaves it alone.
    Found {
        change: ChangeId,
    },
    Started {
        change: ChangeId,
    },
    /// It will be tried again: after a passing fault, or because an operator asked.
    Retried {
        change: ChangeId,
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
        after_ms: u64,
    },
    /// What proved the change that is done next: who served its pull.
    Proven {
        change: ChangeId,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    Done {
        change: ChangeId,
    },
    Failed {
        change: ChangeId,
        fault: Fault,
    },
    /// Left out by a person, with a reason; in a rollback: left as it is, with a reason.
    Skipped {
        change: ChangeId,
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    Paused {
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    Continued {
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    LimitChanged {
        limits: Limits,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    /// The window of the run, as it was agreed when it began.
    WindowSet {
        window: Window,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    /// Another window, given on purpose while the run went on or when it was resumed.
    WindowMoved {
        window: Window,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
    },
    /// Every change of this step and of later steps will be undone.
    RollbackBegun {
        to: usize,
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
        #[serde(deserialize_with = "super::edge::line")]
        why: String,
    },
    UndoStarted {
        change: ChangeId,
    },
    Undone {
        change: ChangeId,
    },
    /// A human is needed: the run is stuck.
    UndoFailed {
        change: ChangeId,
        fault: Fault,
    },
    /// Another castoff goes on with the run: another operator's, or the same one's elsewhere.
    TakenOver {
        #[serde(deserialize_with = "super::edge::line")]
        by: String,
        why: String,
    },
    Finished {
        outcome: Outcome,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Done,
    /// Done, but something was skipped.
    DoneWithSkips,
    RolledBack,
    /// Ended by a person; what is left is left.
    Aborted(#[serde(deserialize_with = "super::edge::line")] String),
}

/// An entry with its place in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stamped {
    /// From 1, without gaps.
    pub seq: u64,
    /// Unix time in milliseconds.
    #[serde(deserialize_with = "super::edge::moment")]
    pub at_ms: i64,
    pub entry: Entry,
}

impl Entry {
    /// The change it is about, if it is about one.
    pub fn change(&self) -> Option<ChangeId> {
        match self {
            Self::Found { change }
            | Self::Started { change }
            | Self::Retried { change, .. }
            | Self::Done { change }
            | Self::Failed { change, .. }
            | Self::Skipped { change, .. }
            | Self::UndoStarted { change }
            | Self::Undone { change }
            | Self::UndoFailed { change, .. } => Some(*change),
            _ => None,
        }
    }
}

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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {seq} cannot follow: {why}")]
pub struct IllegalEntry {
    pub seq: u64,
    pub why: String,
}

impl State {
    /// Folds one entry in. An entry that cannot follow is an error and changes nothing.
    pub fn apply(&mut self, stamped: &Stamped) -> Result<(), IllegalEntry> {
        let illegal = |why: String| IllegalEntry { seq: stamped.seq, why };
        if stamped.seq != self.seq + 1 {
            return Err(illegal(format!("entry {} was expected", self.seq + 1)));
        }
        let at_ms = stamped.at_ms;
        if !matches!(stamped.entry, Entry::Planned { .. }) && self.plan.is_none() {
            return Err(illegal("the run has no plan".to_owned()));
        }
        if self.finished.is_some() && !matches!(stamped.entry, Entry::RollbackBegun { .. } | Entry::TakenOver { .. }) {
            return Err(illegal("the run is over".to_owned()));
        }
        match &stamped.entry {
            Entry::Planned { plan, by } => {
                if self.plan.is_some() {
                    return Err(illegal("the run has a plan already".to_owned()));
                }
                if !plan.is_in_order() {
                    return Err(illegal("the changes of the plan do not stand where their ids say".to_owned()));
                }
                let step = |step: &super::PlannedStep| {
                    let mut state = StepState {
                        changes: vec![ChangeState::default(); step.changes.len()],
                        waves: WaveState::of_step(step),
                        ..StepState::default()
                    };
                    for (n, change) in state.changes.iter().enumerate() {
                        state.counts.add((state.waves.of(n), n), change, step.pending_bytes(n));
                    }
                    state
                };
                self.steps = plan.steps.iter().map(step).collect();
                self.limits = plan.limits;
                self.by.clone_from(by);
                self.begun_ms = at_ms;
                self.plan = Some(plan.clone());
            }
            Entry::GateReached { step } => {
                self.step_mut(*step).map_err(&illegal)?.gate_reached_ms = Some(at_ms);
            }
            Entry::GateApproved { step, by, plan, .. } => {
                if self.plan.as_ref().is_none_or(|p| p.plan != *plan) {
                    return Err(illegal(format!("the approval is for plan `{plan}`")));
                }
                self.step_mut(*step).map_err(&illegal)?.approved = Some((by.clone(), at_ms));
            }
            Entry::Seen { step, problem } => self.step_mut(*step).map_err(&illegal)?.seen.push(problem.clone()),
            Entry::WaveReached { .. } | Entry::WavePassed { .. } | Entry::SetAside { .. } | Entry::CameBack { .. } => {
                self.fold_wave(&stamped.entry, at_ms).map_err(illegal)?;
            }
            Entry::Found { change } => self.turn(*change, at_ms, Status::Found).map_err(illegal)?,
            Entry::Started { change } => {
                self.may_begin(*change).map_err(&illegal)?;
                let first = self.steps.get(change.step).and_then(|s| s.changes.get(change.n)).is_some_and(|c| !c.ours);
                self.turn(*change, at_ms, Status::Running).map_err(illegal)?;
                if first {
                    self.order.push(*change);
                }
            }
            Entry::Retried { change, why, .. } => self.turn(*change, at_ms, Status::Retrying(why.clone())).map_err(illegal)?,
            Entry::Proven { change, by } => self.prove(*change, by).map_err(illegal)?,
            Entry::Done { change } => self.turn(*change, at_ms, Status::Done).map_err(illegal)?,
            Entry::Failed { change, fault } => {
                self.turn(*change, at_ms, Status::Failed(Box::new(fault.clone()))).map_err(illegal)?;
            }
            Entry::Skipped { change, why, .. } => self.turn(*change, at_ms, Status::Skipped(why.clone())).map_err(illegal)?,
            Entry::Paused { why, .. } => self.paused = Some((why.clone(), at_ms)),
            Entry::Continued { .. } => self.paused = None,
            Entry::LimitChanged { limits, .. } => self.limits = *limits,
            Entry::WindowSet { window, .. } | Entry::WindowMoved { window, .. } => {
                if window.until_ms <= window.from_ms {
                    return Err(illegal("the window ends before it opens".to_owned()));
                }
                self.window = Some(window.clone());
            }
            Entry::RollbackBegun { to, .. } => {
                if *to >= self.steps.len() {
                    return Err(illegal(format!("there is no step {}", to.saturating_add(1))));
                }
                self.rolling_back = Some(self.rolling_back.map_or(*to, |before| before.min(*to)));
                self.finished = None;
                self.paused = None;
            }
            Entry::UndoStarted { change } => self.turn(*change, at_ms, Status::Undoing).map_err(illegal)?,
            Entry::Undone { change } => self.turn(*change, at_ms, Status::Undone).map_err(illegal)?,
            Entry::UndoFailed { change, fault } => {
                self.turn(*change, at_ms, Status::UndoFailed(Box::new(fault.clone()))).map_err(illegal)?;
            }
            Entry::TakenOver { by, .. } => self.by.clone_from(by),
            Entry::Finished { outcome } => self.finished = Some(outcome.clone()),
        }
        self.seq = stamped.seq;
        self.last_ms = at_ms;
        Ok(())
    }

    pub(super) fn step_mut(&mut self, step: usize) -> Result<&mut StepState, String> {
        let n = self.steps.len();
        self.steps.get_mut(step).ok_or_else(|| format!("there is no step {} of {n}", step.saturating_add(1)))
    }

    /// Keeps what proved a change that is being made.
    fn prove(&mut self, id: ChangeId, by: &str) -> Result<(), String> {
        let change = self.steps.get_mut(id.step).and_then(|step| step.changes.get_mut(id.n));
        let change = change.ok_or_else(|| format!("there is no change {id}"))?;
        if change.status != Status::Running {
            return Err(format!("change {id} is not under way"));
        }
        change.proof = Some(by.to_owned());
        Ok(())
    }

    /// Moves one change on, if that is a legal move.
    fn turn(&mut self, id: ChangeId, at_ms: i64, to: Status) -> Result<(), String> {
        let back = self.rolling_back.is_some();
        let size_bytes = self.plan.as_ref().map_or(0, |plan| plan.steps.get(id.step).map_or(0, |step| step.pending_bytes(id.n)));
        let leaves_parts = self.plan.as_ref().and_then(|plan| plan.steps.get(id.step)?.changes.get(id.n));
        let leaves_parts = leaves_parts.is_some_and(|planned| planned.change.leaves_parts());
        let StepState { changes, counts, waves, .. } =
            self.steps.get_mut(id.step).ok_or_else(|| format!("there is no change {id}"))?;
        let change = changes.get_mut(id.n).ok_or_else(|| format!("there is no change {id}"))?;
        let from = &change.status;
        use Status::{Done, Failed, Found, Retrying, Running, Skipped, UndoFailed, Undoing, Undone, Waiting};
        let legal = match &to {
            Waiting => false,
            Found => !change.ours && matches!(from, Waiting | Retrying(_)),
            Running => !back && matches!(from, Waiting | Retrying(_)),
            Retrying(_) => !back && matches!(from, Waiting | Running | Retrying(_) | Failed(_)),
            Done => change.ours && matches!(from, Running | Retrying(_)),
            Failed(_) => matches!(from, Waiting | Running | Retrying(_)),
            Skipped(_) => {
                matches!(from, Waiting | Retrying(_) | Failed(_))
                    || (back && matches!(from, Running | Done | Undoing | UndoFailed(_)))
            }
            Undoing => back && change.is_undoable(),
            Undone => matches!(from, Undoing),
            UndoFailed(_) => matches!(from, Undoing),
        };
        if !legal {
            return Err(format!("change {id} is {from:?} and cannot become {to:?}"));
        }
        counts.remove((waves.of(id.n), id.n), change, size_bytes);
        let was_over = change.is_over();
        match &to {
            Running | Undoing => {
                change.ours = true;
                change.attempts += 1;
                change.started_ms = change.started_ms.or(Some(at_ms));
                change.ended_ms = None;
            }
            Retrying(_) if matches!(from, Failed(_)) => change.attempts = 0,
            Retrying(_) => {}
            _ => change.ended_ms = Some(at_ms),
        }
        change.left_begun = matches!(to, Skipped(_)) && !back && change.ours && leaves_parts;
        change.status = to;
        change.turned_ms = at_ms;
        counts.add((waves.of(id.n), id.n), change, size_bytes);
        waves.count(id.n, was_over, change.is_over());
        Ok(())
    }

    /// Folds a whole journal.
    pub fn fold<'a>(entries: impl IntoIterator<Item = &'a Stamped>) -> Result<Self, IllegalEntry> {
        let mut state = Self::default();
        for entry in entries {
            state.apply(entry)?;
        }
        Ok(state)
    }

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

    /// Whether anything stands failed.
    pub fn any_failed(&self) -> bool {
        self.steps.iter().any(|step| step.counts.tally.failed > 0)
    }

    /// Failed changes, grouped by cause: kind of fault and the root of its words, with the changes that met it. The fault is
    /// that of the first.
    pub fn causes(&self) -> Vec<(Fault, Vec<ChangeId>)> {
        let mut out: Vec<(Fault, Vec<ChangeId>)> = vec![];
        let mut known = BTreeMap::new();
        for (step, state) in self.steps.iter().enumerate() {
            for n in state.counts.failed.iter().copied() {
                let (Status::Failed(fault) | Status::UndoFailed(fault)) = &state.changes[n].status else { continue };
                let id = ChangeId { step, n };
                let at = *known.entry((fault.kind as u8, root(&fault.why))).or_insert(out.len());
                match out.get_mut(at) {
                    Some((_, ids)) => ids.push(id),
                    None => out.push(((**fault).clone(), vec![id])),
                }
            }
        }
        out
    }
}
