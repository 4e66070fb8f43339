//! What a run needs of a person at this moment, if anything: the bell, the window title and the notices ask here.
//! Pure, and never a claim about what the person will do.

use super::{Ask, GateReport, Next, Outcome, State, Stop, hold};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// The gate of this step waits for an answer, and one would count: its checks hold.
    Question(usize),
    /// The canary of this step is done, and the others wait for an approval.
    Canary(usize),
    /// The window holds the run before this step, and only a person ends that.
    Window(usize),
    /// Changes of this step failed, and nothing else starts.
    Failed(usize),
    /// An undo failed.
    Stuck,
    /// The run is over: its last page wants to be read.
    Over(Outcome),
}

/// `report`: how the checks of the waiting gate stand, if they were asked.
pub fn need(state: &State, report: Option<&GateReport>) -> Option<Need> {
    match state.next() {
        Next::Gate(step) if report.is_some_and(|report| report.step == step && report.problems.iter().any(hold::is_hold)) => {
            Some(Need::Window(step))
        }
        Next::Stop(Stop::Paused) if state.paused.as_ref().is_some_and(|(why, _)| hold::is_hold_words(why)) => {
            state.current_step().map(Need::Window)
        }
        Next::Gate(step) => {
            let asks = state.gate(step).is_some_and(|gate| gate.ask != Ask::Nothing);
            let holds = report.is_some_and(|report| report.step == step && report.problems.is_empty());
            (asks && holds && state.steps[step].gate_reached_ms.is_some()).then_some(Need::Question(step))
        }
        Next::Canary(step) => Some(Need::Canary(step)),
        Next::Stop(Stop::Failed(step)) => Some(Need::Failed(step)),
        Next::Stop(Stop::Stuck) => Some(Need::Stuck),
        Next::Over => state.finished.clone().map(Need::Over),
        _ => None,
    }
}

/// Which question of how many the gate of a step is: (3, 4).
pub fn question(state: &State, step: usize) -> (usize, usize) {
    let Some(plan) = &state.plan else { return (0, 0) };
    let asks = |step: &super::PlannedStep| step.gate.as_ref().is_some_and(|gate| gate.ask != Ask::Nothing);
    let of = |steps: &[super::PlannedStep]| steps.iter().filter(|step| asks(step)).count();
    (of(&plan.steps[..=step.min(plan.steps.len() - 1)]), of(&plan.steps))
}
