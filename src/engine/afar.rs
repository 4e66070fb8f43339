//! Commands from other terminals: followed like the operator's own, but the entries name who asked, and a refusal goes
//! back to them. Never one that the front end does not have too.

use super::{Engine, EngineError};
use crate::model::{Asked, Command, Event, Level};
use std::sync::OnceLock;

/// Who asks at this moment.
pub struct Asker {
    by: String,
    refused: OnceLock<String>,
}

impl Asker {
    pub fn refuse(&self, why: &str) {
        let _ = self.refused.set(why.to_owned());
    }
}

impl Engine {
    /// Follows a command from another terminal, then says so: whoever asked has seen its entries by then.
    pub(super) async fn follow(&mut self, asked: Asked) -> Result<(), EngineError> {
        let Asked { id, by, command } = asked;
        if self.state.finished.is_some() {
            let refused = Some("the run is over".to_owned());
            let _ = self.setup.events.send(Event::Answered { id, refused }).await;
            return Ok(());
        }
        if command == Command::Stop && self.stopping.is_none() {
            self.stopped_by = Some(by.clone());
            self.say(Level::Warn, "", &format!("{by} asked to stop: what is in flight is finished first")).await;
        }
        self.asker = Some(Asker { by, refused: OnceLock::new() });
        let followed = self.obey(command).await;
        let refused = self.asker.take().and_then(|asker| asker.refused.into_inner());
        let _ = self.setup.events.send(Event::Answered { id, refused }).await;
        followed
    }

    /// Before the run has begun there is nothing to act on.
    pub(super) async fn not_begun(&self, asked: Asked) {
        let refused = Some("the run has not begun".to_owned());
        let _ = self.setup.events.send(Event::Answered { id: asked.id, refused }).await;
    }

    /// Who acts at this moment: the operator of the run, or whoever asks from another terminal.
    pub(super) fn by(&self) -> String {
        self.asker.as_ref().map_or_else(|| self.setup.by.clone(), |asker| asker.by.clone())
    }

    pub(super) fn why_paused(&self) -> String {
        let elsewhere = if self.asker.is_some() { " from another terminal" } else { "" };
        format!("asked for{elsewhere}")
    }

    /// The words and the name with which a stop is written down.
    pub(super) fn why_stopped(&self) -> (String, String) {
        match &self.stopped_by {
            Some(by) => ("stopped at a safe point, asked for from another terminal".to_owned(), by.clone()),
            None => ("stopped at a safe point".to_owned(), self.setup.by.clone()),
        }
    }
}
