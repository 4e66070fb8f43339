//! What a run does that has lost its terminal: nobody sees it and nobody can answer, so it goes on as far as it was told.
//! Never answers a question.

use super::{Ask, Next, State, Stop};

/// How far a run goes whose terminal is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnHangup {
    /// Ends the step that runs, up to the next question, then stops.
    #[default]
    FinishStep,
    /// Stops at the next safe point.
    Pause,
    /// Goes on to the end, as long as no question comes.
    Finish,
}

impl OnHangup {
    /// Whether the run goes no further, when the terminal was lost in this step.
    pub fn stops(self, state: &State, lost_in: Option<usize>) -> bool {
        match state.next() {
            Next::Gate(step) => self == Self::Pause || asks(state, step) || (self == Self::FinishStep && lost_in != Some(step)),
            Next::Stop(Stop::Paused | Stop::Failed(_) | Stop::Stuck) | Next::Plan | Next::Over => true,
            Next::Apply(step) | Next::Undo(step) => self == Self::Pause || (self == Self::FinishStep && lost_in != Some(step)),
            Next::Canary(_) => true,
            Next::Turn(_) => self == Self::Pause,
            Next::Finish(_) => false,
        }
    }

    /// The step in which the terminal is lost now.
    pub fn lost_in(state: &State) -> Option<usize> {
        match state.next() {
            Next::Gate(step) | Next::Apply(step) | Next::Undo(step) => Some(step),
            Next::Turn(_) => state.current_step(),
            _ => None,
        }
    }
}

fn asks(state: &State, step: usize) -> bool {
    state.gate(step).is_some_and(|gate| gate.ask != Ask::Nothing)
}
