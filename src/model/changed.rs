//! What a step that stopped has changed, in words. Never says "nothing" of a change that was begun and can stand in part.

use super::{Change, State, Status, text};

impl State {
    /// `changed 4 of 12`, `changed nothing`; of files and their daemons also those that were begun and did not end well.
    pub fn changed(&self, step: usize) -> String {
        let tally = self.tally(step);
        let planned = self.plan.as_ref().map_or(&[][..], |plan| plan.steps[step].changes.as_slice());
        let begun = planned.iter().filter(|planned| {
            let state = self.status(planned.id);
            matches!(planned.change, Change::Configure { .. }) && state.ours && matches!(state.status, Status::Failed(_))
        });
        let (done, total) = (text::number(tally.done), text::number(tally.total()));
        match (tally.done, begun.count() as u64) {
            (0, 0) => "changed nothing".to_owned(),
            (_, 0) => format!("changed {done} of {total}"),
            (0, begun) => format!("began {} of {total} and ended none well", text::number(begun)),
            (_, begun) => format!("changed {done} of {total} and began {} more", text::number(begun)),
        }
    }
}
