//! What a step that stopped has changed, in words. Never says "nothing" of a change that was begun and can stand in part.

use super::{Change, PlannedChange, State, Status, text};

impl State {
    /// Files of a host were begun, and it ended without reading back that they are as planned, or as before.
    pub fn may_stand(&self, planned: &PlannedChange) -> bool {
        let state = self.status(planned.id);
        let open = matches!(state.status, Status::Failed(_) | Status::Skipped(_) | Status::UndoFailed(_));
        matches!(planned.change, Change::Configure { .. }) && state.ours && open
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
