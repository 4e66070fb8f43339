//! Looking on at a run that another castoff drives: what is said in place of what could be done.
//! Never a command that acts: those are the run's own terminal's, or `castoff pause`, `go-on`, `stop` and `limit`.

use super::app::{App, Popup, Screen};
use super::keys::Intent;
use super::question::Purpose;
use crate::model::{Command, Level, Next, Stop, text};
use crossterm::event::KeyCode;

/// Whose run is looked at.
#[derive(Clone, Debug)]
pub struct Watching {
    /// Who runs it: name, host, process, since when.
    pub holder: String,
    /// It goes on; otherwise it is still being looked at before its begin.
    pub begun: bool,
    /// The page opens because this was wanted here and is held there.
    pub held: Option<Held>,
}

/// A lock that another castoff holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// `cluster `prod-a``.
    pub what: String,
    /// Why it cannot be watched, if so.
    pub unreachable: Option<String>,
}

impl App {
    pub fn watches(&self) -> bool {
        self.watching.is_some()
    }

    /// Why a key that would act does nothing here, and what does it.
    pub(super) fn why_not_watching(&self, intent: Intent) -> Option<String> {
        let watching = self.watching.as_ref()?;
        let (run, again) = (&self.run, &self.again);
        if intent == Intent::Watch {
            return watching.held.as_ref().and_then(|held| held.unreachable.clone());
        }
        if !intent.acts() && intent != Intent::Verify {
            return None;
        }
        if self.over {
            return Some(format!("you are watching, and its castoff is gone: castoff resume {run}{again}"));
        }
        Some(match intent {
            Intent::Pause if self.state.paused.is_some() => format!("you are watching: castoff go-on {run}{again} goes on"),
            Intent::Pause => format!("you are watching: castoff pause {run}{again} pauses it"),
            Intent::Limit => format!("you are watching: castoff limit pulls=4 {run}{again} changes one"),
            Intent::StopAndLeave => format!("you are watching: castoff stop {run}{again} stops it"),
            _ => format!("you are watching: that is chosen only where it runs, by {}", watching.holder),
        })
    }

    /// A key that would type into a gate, or act, where neither is done.
    pub(super) fn no_answer_from_here(&mut self, code: KeyCode) {
        let Some(watching) = &self.watching else { return };
        let would = code == KeyCode::Enter || matches!(code, KeyCode::Char(c) if c.is_alphanumeric());
        if would && self.shows_a_gate() {
            self.notice =
                Some((Level::Warn, format!("you are watching: a gate is answered only where it runs, by {}", watching.holder)));
        }
    }

    /// The last door: whatever a key led to, of a watcher's commands only the one that looks goes out.
    pub(super) fn only_looks(&mut self, command: Option<Command>) -> Option<Command> {
        match command {
            Some(command) if self.watches() && command.writes() => {
                self.notice = Some((Level::Warn, format!("you are watching run {}: nothing is done from here", self.run)));
                None
            }
            command => command,
        }
    }

    /// The sentence of a screen, where it is another than the operator's own.
    pub(super) fn watching_headline(&self) -> Option<String> {
        let watching = self.watching.as_ref()?;
        let state = &self.state;
        if let (Screen::Held, Some(held)) = (self.screen, &watching.held) {
            return Some(format!("{} is held. Nothing was begun here.", capital(&held.what)));
        }
        if self.over && state.finished.is_none() {
            return Some(match state.paused {
                Some(_) => "Its castoff has left at a safe point. Nothing runs it now.".to_owned(),
                None => "Its castoff is gone without a word. Nothing runs it now; the journal is safe.".to_owned(),
            });
        }
        if !self.begun && state.finished.is_none() {
            return Some("Nothing is begun yet: the operator still looks at it.".to_owned());
        }
        match state.next() {
            Next::Gate(step) if super::words::asks(state.gate(step)) && state.steps[step].gate_reached_ms.is_some() => {
                let waited = state.steps[step].gate_reached_ms.map_or_else(String::new, |at| text::duration(self.now_ms - at));
                let against = self.problems(step).unwrap_or_default();
                Some(if against.is_empty() {
                    format!("Step {} has waited for {waited} for an answer, given where it runs.", step + 1)
                } else {
                    let who = super::words::who(against);
                    format!("Step {} waits for {who}, {waited} so far; then for an answer, given where it runs.", step + 1)
                })
            }
            Next::Canary(step) => Some(format!("Step {} holds after its canary for an answer, given where it runs.", step + 1)),
            Next::Stop(Stop::Paused) => {
                let (why, at) = state.paused.clone().unwrap_or_default();
                let n = super::words::in_flight(state);
                let still = if n > 0 { format!(" {} still in flight.", text::count(n, "change")) } else { String::new() };
                Some(format!("Paused since {}: {}.{still}", self.look.clock(at), text::clean(&why)))
            }
            Next::Stop(Stop::Failed(step)) => {
                Some(format!("Step {} failed. Nothing starts until the operator chooses.", step + 1))
            }
            _ => None,
        }
    }

    /// The engine's side of the socket is closed.
    pub(super) fn castoff_is_gone(&mut self) {
        self.over = true;
        if self.state.finished.is_none() && self.screen != Screen::Held {
            self.popup = Some(Popup::Gone);
        }
    }

    /// `w` on the page of a held lock.
    pub(super) fn watch(&mut self, now_ms: i64) {
        if let Some(watching) = &mut self.watching {
            watching.held = None;
        }
        self.show(self.first_screen());
        if self.over && self.state.finished.is_none() {
            self.popup = Some(Popup::Gone);
        }
        self.settle(now_ms);
    }

    /// What somebody who looks on sees first.
    pub(super) fn first_screen(&self) -> Screen {
        match (&self.state.plan, &self.state.finished) {
            (None, _) => Screen::Plan,
            (Some(_), Some(_)) => Screen::End,
            (Some(_), None) if self.begun => Screen::Overview,
            (Some(_), None) => Screen::Resume,
        }
    }

    /// A gate is shown, and nothing can be typed into it.
    pub(super) fn shows_a_gate(&self) -> bool {
        matches!(&self.popup, Some(Popup::Question(question)) if self.watches() && matches!(question.purpose, Purpose::Approve(_) | Purpose::Canary(_)))
    }
}

fn capital(words: &str) -> String {
    let mut characters = words.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
