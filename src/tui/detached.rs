//! A run whose terminal is lost: nobody sees it and nobody can answer, so it goes on as far as it was told to, and stops.
//! Never answers a question, and never touches the terminal.

use super::app::App;
use super::{Heard, Signals};
use crate::model::{Ask, Command, Event, Next, State, Stop, hold};
use tokio::sync::mpsc::{Receiver, Sender};

/// What a run does that has lost its terminal.
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
    fn stops(self, state: &State, lost_in: Option<usize>) -> bool {
        match state.next() {
            Next::Gate(step) => self == Self::Pause || asks(state, step) || (self == Self::FinishStep && lost_in != Some(step)),
            Next::Stop(Stop::Paused | Stop::Failed(_) | Stop::Stuck) | Next::Plan | Next::Over => true,
            Next::Apply(step) | Next::Undo(step) => self == Self::Pause || (self == Self::FinishStep && lost_in != Some(step)),
            Next::Canary(_) => true,
            Next::Turn(_) => self == Self::Pause,
            Next::Finish(_) => false,
        }
    }
}

fn asks(state: &State, step: usize) -> bool {
    state.gate(step).is_some_and(|gate| gate.ask != Ask::Nothing)
}

/// Follows the run to where it stops, and takes the engine's last words so that it can end.
pub async fn follow(
    app: &mut App,
    how: OnHangup,
    events: &mut Receiver<Event>,
    commands: &Sender<Command>,
    signals: &mut Signals,
) {
    if !app.begun {
        return;
    }
    let lost_in = match app.state.next() {
        Next::Gate(step) | Next::Apply(step) | Next::Undo(step) => Some(step),
        Next::Turn(_) => app.state.current_step(),
        _ => None,
    };
    let mut asked = false;
    loop {
        if !asked && how.stops(&app.state, lost_in) {
            asked = true;
            let _ = commands.send(Command::Stop).await;
        }
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Entry(stamped)) => drop(app.state.apply(&stamped)),
                // Only a person ends what the window holds.
                Some(Event::Gate(report)) if !asked && report.problems.iter().any(hold::is_hold) => {
                    asked = true;
                    let _ = commands.send(Command::Stop).await;
                }
                Some(_) => {}
                None => return,
            },
            heard = signals.next() => if matches!(heard, Heard::Terminate(_)) {
                let _ = commands.send(if asked { Command::StopNow } else { Command::Stop }).await;
                asked = true;
            },
        }
    }
}
