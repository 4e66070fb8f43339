//! Before a resumed run goes on: what the journal says, and what the cluster says. It changes nothing; the engine asks
//! each change again at its turn.

use super::Engine;
use crate::model::{Change, ChangeId, Event, Inventory, Level, Part, Standing, State, Status, SurveyLine, Wants};

impl Engine {
    /// Before a resumed run goes on: what the journal says and what the cluster says.
    pub(super) async fn survey(&mut self) {
        let parts = [Part::Keys, Part::Tables, Part::Sessions, Part::Managers, Part::Hosts];
        let wants = Wants { parts: parts.into_iter().collect(), ..Wants::default() };
        let inventory = self.setup.cluster.read(&wants).await;
        for unanswered in &inventory.unanswered {
            self.say(Level::Warn, &unanswered.subject, &unanswered.why).await;
        }
        let lines = (0..self.state.steps.len()).map(|step| survey_line(&self.state, &inventory, step)).collect();
        let _ = self.setup.events.send(Event::Survey(lines)).await;
    }
}

fn survey_line(state: &State, inventory: &Inventory, step: usize) -> SurveyLine {
    let planned = &state.plan.as_ref().expect("a resumed run has a plan").steps[step];
    let tally = state.tally(step);
    let done = tally.done + tally.found;
    let (mut stands, mut drifted) = (0_u64, 0_u64);
    for (n, change) in planned.changes.iter().enumerate() {
        match inventory.standing(&change.change) {
            // A manager that still runs is no proof that it was started: it was not stopped yet.
            Standing::After if awaited(state, step, n) => {}
            Standing::After => stands += 1,
            // A stopped manager that was started again later in the run is as it should be.
            _ if overtaken(state, step, n) => stands += 1,
            // A name in use is what the drain gate waits for.
            Standing::Neither(_) if matches!(change.change, Change::Remove { .. }) => {}
            Standing::Before => {}
            Standing::Neither(_) => drifted += 1,
        }
    }
    let total = tally.total();
    let journal = if total == 0 { "nothing to do".to_owned() } else { format!("{done} of {total} done") };
    let cluster = if total == 0 { "-".to_owned() } else { format!("{stands} of {total} stand") };
    let verdict = match () {
        () if stands < done => "less than the journal: looked at again, change by change".to_owned(),
        () if stands > done => format!("{} more than the journal: taken as they are", stands - done),
        () if drifted > 0 && done < total => format!("{drifted} stand otherwise now"),
        () => "agree".to_owned(),
    };
    let agrees = verdict == "agree";
    SurveyLine { step, journal, cluster, verdict, agrees }
}

/// Whether a later step that is done changed the same thing again.
fn overtaken(state: &State, step: usize, n: usize) -> bool {
    let plan = state.plan.as_ref().expect("a resumed run has a plan");
    let planned = &plan.steps[step].changes[n];
    let mut later = plan.steps[step + 1..].iter().flat_map(|s| &s.changes);
    is_over(state, planned.id) && later.any(|other| other.is_about(planned) && is_over(state, other.id))
}

/// Whether an earlier step, which is not done yet, has to change the same thing first.
fn awaited(state: &State, step: usize, n: usize) -> bool {
    let plan = state.plan.as_ref().expect("a resumed run has a plan");
    let planned = &plan.steps[step].changes[n];
    let mut earlier = plan.steps[..step].iter().flat_map(|s| &s.changes);
    !is_over(state, planned.id) && earlier.any(|other| other.is_about(planned) && !is_over(state, other.id))
}

fn is_over(state: &State, id: ChangeId) -> bool {
    matches!(state.status(id).status, Status::Done | Status::Found)
}
