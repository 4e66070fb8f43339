//! Each entry moves the state of a run on, or is illegal there.

use super::{ChangeId, ChangeState, Entry, Stamped, State, Status, StepState, WaveState};

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
        let goes_back = |n: &usize| changes.get(*n).is_some_and(|change| change.status == Status::Undoing);
        let any_back = counts.tally.undone + counts.undo_failed > 0 || counts.busy.iter().any(goes_back);
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
        if to == Undoing && !matches!(from, Undoing | UndoFailed(_)) {
            // Its way back has its own beginning and its own attempts, and so has that of its step.
            (change.started_ms, change.attempts) = (None, 0);
            if !any_back {
                (counts.first_ms, counts.last_ms) = (None, None);
            }
        }
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

    /// Entries that are not in a journal yet, in the places they will have there: what is written only after this, anybody can
    /// fold.
    pub fn apply_new(&mut self, at_ms: i64, entries: &[Entry]) -> Result<(), IllegalEntry> {
        for entry in entries {
            self.apply(&Stamped { seq: self.seq + 1, at_ms, entry: entry.clone() })?;
        }
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
}
