//! The window of a run: written when the run begins, moved when a person asks, and what it holds. It never ends anything
//! by itself: what is begun is finished, and a way back is always open.

use super::{Engine, EngineError};
use crate::model::{Entry, Next, Problem, Stop, Window, hold};

impl Engine {
    /// The entry with which the window that was given to this process becomes the run's, if it is not already.
    pub(super) fn window_entry(&mut self) -> Option<Entry> {
        let window = self.setup.window.take()?;
        let by = self.setup.by.clone();
        match &self.state.window {
            Some(known) if *known == window => None,
            Some(_) => Some(Entry::WindowMoved { window, by }),
            None => Some(Entry::WindowSet { window, by }),
        }
    }

    /// What the window says against opening a gate.
    pub(super) fn window_at_gate(&self, gate: usize) -> Option<Problem> {
        hold::at_gate(self.plan(), &self.state, self.state.window.as_ref()?, (self.setup.now_ms)(), gate)
    }

    /// Pauses before a step that cannot be undone wholly, when the rest would end after the window. Returns whether.
    pub(super) async fn window_pauses(&mut self, step: usize) -> Result<bool, EngineError> {
        let Some(window) = &self.state.window else { return Ok(false) };
        if !self.flights.is_empty() {
            return Ok(false);
        }
        let now_ms = (self.setup.now_ms)();
        let Some(problem) = hold::before_step(self.plan(), &self.state, window, now_ms, step) else { return Ok(false) };
        let why = format!("{}: {}", problem.subject, problem.why);
        self.write(vec![Entry::Paused { why, by: "the window".to_owned() }]).await?;
        Ok(true)
    }

    /// What the window says against going on from a pause of its own.
    pub(super) fn window_holds(&self) -> Option<Problem> {
        let (why, _) = self.state.paused.as_ref().filter(|_| self.state.next() == Next::Stop(Stop::Paused))?;
        let step = self.state.current_step().filter(|_| hold::is_hold_words(why))?;
        hold::before_step(self.plan(), &self.state, self.state.window.as_ref()?, (self.setup.now_ms)(), step)
    }

    /// Another window, on purpose: an entry of the journal, and what was held by the old one is asked again.
    pub(super) async fn move_window(&mut self, window: Window) -> Result<(), EngineError> {
        let now_ms = (self.setup.now_ms)();
        if self.state.finished.is_some() {
            self.refuse("the run is over").await;
        } else if window.until_ms <= window.from_ms {
            self.refuse("the window would end before it opens").await;
        } else if window.is_over(now_ms) {
            self.refuse(&format!("this window ended at {}", window.minute_with_zone(window.until_ms))).await;
        } else {
            let by = self.setup.by.clone();
            let held = self.window_holds().is_some();
            let entry = match self.state.window {
                Some(_) => Entry::WindowMoved { window, by: by.clone() },
                None => Entry::WindowSet { window, by: by.clone() },
            };
            self.write(vec![entry]).await?;
            if held && self.window_holds().is_none() {
                self.write(vec![Entry::Continued { by }]).await?;
            }
            self.gate.ask_again();
        }
        Ok(())
    }
}
