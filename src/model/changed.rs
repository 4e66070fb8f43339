//! What a step that stopped has changed, in words. Never says "nothing" of a change that was begun and can stand in part.

use super::{Change, PlannedChange, State, Status, text};

impl Change {
    /// What was begun and did not end well may stand: the files of a host and its daemon are changed one after the other.
    pub fn leaves_parts(&self) -> bool {
        matches!(self, Self::Configure { .. })
    }
}

impl State {
    /// Files of a host were begun, and it ended without reading back that they are as planned, or as before.
    pub fn may_stand(&self, planned: &PlannedChange) -> bool {
        let state = self.status(planned.id);
        let ended = match state.status {
            Status::Failed(_) | Status::Skipped(_) | Status::UndoFailed(_) => true,
            // Cut off, and the run was given up: nobody looks it up any more.
            Status::Running | Status::Retrying(_) | Status::Undoing => self.finished.is_some(),
            _ => false,
        };
        planned.change.leaves_parts() && state.ours && ended
    }

    /// `changed 4 of 12`, `changed nothing`; of files and their daemons also those that were begun and did not end well.
    pub fn changed(&self, step: usize) -> String {
        let tally = self.tally(step);
        let planned = self.plan.as_ref().map_or(&[][..], |plan| plan.steps[step].changes.as_slice());
        let begun = planned.iter().filter(|planned| self.may_stand(planned)).count() as u64;
        let (done, total) = (text::number(tally.done), text::number(tally.total()));
        match (tally.done, begun) {
            (0, 0) => "changed nothing".to_owned(),
            (_, 0) => format!("changed {done} of {total}"),
            (0, begun) => format!("began {} of {total}, ended none well", text::number(begun)),
            (_, begun) => format!("changed {done} of {total}, began {} more", text::number(begun)),
        }
    }
}
