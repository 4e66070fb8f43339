//! How somebody who does not look is told: the bell, once for each need, and the window title.
//! Never rings at somebody who is looking.

use super::app::App;
use crate::model::{Need, Next, Stop, need, question, text};

/// Without a key for this long nobody is taken to be looking.
const AWAY_MS: i64 = 60_000;

impl App {
    /// Rings if something needs a person now that did not before.
    pub(super) fn heed(&mut self, now_ms: i64) {
        let now = need(&self.state, self.report.as_ref());
        let reached = match &now {
            Some(Need::Question(step)) => self.state.steps[*step].gate_reached_ms,
            _ => None,
        };
        let now = now.map(|need| (need, reached));
        if now == self.heeded {
            return;
        }
        // A gate whose checks come and go is the same gate.
        let same_gate = |(need, _): &(Need, Option<i64>)| matches!(need, Need::Question(_));
        if now.is_none() && self.heeded.as_ref().is_some_and(same_gate) && matches!(self.state.next(), Next::Gate(_)) {
            return;
        }
        self.bell |= now.is_some() && (!self.focused || now_ms - self.last_key_ms >= AWAY_MS);
        self.heeded = now;
    }

    /// `# question 3/4 prod-a`, `> 7/10 prod-a`: what the tab of a terminal or tmux shows. ASCII on every terminal.
    pub fn window_title(&self) -> String {
        let n = self.plan.steps.len();
        let state = &self.state;
        let words = match state.next() {
            _ if state.plan.is_none() => "plan".to_owned(),
            _ if self.over && state.finished.is_none() => "x gone".to_owned(),
            _ if !self.begun && state.finished.is_none() => "\" resume".to_owned(),
            Next::Gate(step) => match need(state, self.report.as_ref()) {
                Some(Need::Window(_)) => "# window".to_owned(),
                Some(_) => {
                    let (at, all) = question(state, step);
                    format!("# question {at}/{all}")
                }
                None => format!("~ waits {}/{n}", step + 1),
            },
            Next::Canary(step) => format!("# canary {}/{n}", step + 1),
            Next::Turn(_) => "> goes on".to_owned(),
            Next::Apply(step) => format!("> {}/{n}", step + 1),
            Next::Undo(step) => format!("< {}/{n}", step + 1),
            Next::Stop(Stop::Paused) if need(state, None).is_some() => "# window".to_owned(),
            Next::Stop(Stop::Paused) => "\" paused".to_owned(),
            Next::Stop(Stop::Failed(step)) => format!("x failed {}/{n}", step + 1),
            Next::Stop(Stop::Stuck) => "x stuck".to_owned(),
            Next::Plan => "> begins".to_owned(),
            Next::Finish(_) | Next::Over => match &state.finished {
                Some(outcome) => format!("+ {}", super::words::outcome_face(outcome).1.to_lowercase()),
                None => "> ends".to_owned(),
            },
        };
        text::clean(&format!("{words} {}", self.plan.cluster))
    }
}
