//! A run whose terminal is lost: nobody sees it and nobody can answer, so it goes on as far as it was told to, and stops.
//! Never answers a question, and never touches the terminal.

use super::app::App;
use super::{Heard, Signals};
use crate::model::{Command, Event, OnHangup, hold};
use tokio::sync::mpsc::{Receiver, Sender};

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
    let lost_in = OnHangup::lost_in(&app.state);
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
