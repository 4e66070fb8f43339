//! A key while a question is open: the answer, what is looked at from there, another step to roll back to.
//! Never answers with less than all that is asked for.

use super::app::{App, Popup, Screen};
use super::keys::{Intent, Place, intent};
use super::question::{Answer, DEAF_MS, HELD, NOT_YET, Purpose};
use crate::model::{Command, hold};
use crossterm::event::KeyEvent;

impl App {
    /// A key while a question is open.
    pub fn answer(&mut self, key: KeyEvent, at_ms: i64) -> Option<Command> {
        let Some(Popup::Question(question)) = &mut self.popup else { return None };
        // No answer begins with a colon: there it is the way to the words.
        let empty = question.fields[question.at].input.value().is_empty();
        let looks = match intent(Place::Question, key.code) {
            Some(
                intent @ (Intent::Help | Intent::List | Intent::Log | Intent::Recheck | Intent::Explain | Intent::MoveWindow),
            ) => Some(intent),
            Some(Intent::Palette) if empty && !question.sent => Some(Intent::Palette),
            _ => None,
        };
        if let Some(looks) = looks {
            if at_ms < question.opened_ms + DEAF_MS || self.why_not(looks).is_some() {
                return None;
            }
            return self.look_from_question(looks);
        }
        let problems = match question.purpose {
            Purpose::Approve(step) => self.report.as_ref().filter(|r| r.step == step).map_or(&[][..], |r| r.problems.as_slice()),
            _ => &[],
        };
        let by_window = problems.iter().all(|problem| hold::is_hold(problem) || hold::is_early(problem));
        let against = problems.first().map(|_| if by_window { HELD } else { NOT_YET });
        match question.key(key, at_ms) {
            Answer::Open => None,
            Answer::NotNow => {
                self.back();
                None
            }
            Answer::Given(_) if against.is_some() => {
                question.note = against.map(str::to_owned);
                None
            }
            Answer::Given(typed) => {
                question.sent = true;
                let purpose = question.purpose.clone();
                Some(self.command(purpose, &typed))
            }
            Answer::Step(by) => {
                self.other_rollback(by, at_ms);
                None
            }
        }
    }

    fn command(&mut self, purpose: Purpose, typed: &[String]) -> Command {
        match purpose {
            Purpose::Approve(step) => Command::Approve { step, plan: self.plan.plan.clone(), typed: typed[0].clone() },
            Purpose::Canary(step) => Command::ApproveCanary { step, plan: self.plan.plan.clone(), typed: typed[0].clone() },
            Purpose::RollBack(to) => {
                self.begun = true;
                Command::RollBack { to, why: typed[0].clone() }
            }
            Purpose::Skip(target) => Command::Skip { target, why: typed[0].clone() },
            Purpose::Window { window, at_ms } => {
                Command::MoveWindow { window: window.moved(&typed[0], at_ms).expect("the field holds a window") }
            }
            Purpose::Abort => {
                self.begun = true;
                Command::Abort { why: typed[0].clone() }
            }
        }
    }

    /// Looking at the list or the log puts the question away; enter on the step opens it anew.
    pub fn look_from_question(&mut self, looks: Intent) -> Option<Command> {
        match looks {
            Intent::Recheck => return Some(Command::Recheck),
            Intent::MoveWindow => {
                self.back();
                self.ask_window(self.last_key_ms);
            }
            Intent::Palette | Intent::Explain => return self.look(looks),
            Intent::Help => {
                self.back();
                self.help_at = 0;
                self.popup = Some(Popup::Help);
            }
            Intent::List => {
                self.back();
                let held = self.report.as_ref().is_some_and(|report| report.step == self.step && !report.problems.is_empty());
                self.change = 0;
                self.scroll = 0;
                self.open(if held { Screen::Waiting } else { Screen::Changes });
            }
            _ => {
                self.back();
                self.open(Screen::Log);
            }
        }
        None
    }

    /// Another step to roll back to: what was typed for the first does not count for it.
    fn other_rollback(&mut self, by: isize, at_ms: i64) {
        let steps = self.undoable();
        let Some(Popup::Question(question)) = &mut self.popup else { return };
        let Purpose::RollBack(to) = question.purpose else { return };
        let at = steps.iter().position(|step| *step == to).unwrap_or_default();
        // The last step stands first in the list: down is further back.
        let at = at.saturating_add_signed(-by).min(steps.len().saturating_sub(1));
        if let Some(step) = steps.get(at).filter(|step| **step != to) {
            question.purpose = Purpose::RollBack(*step);
            question.again(at_ms - DEAF_MS, None);
        }
    }

    /// What an open question has no use for.
    pub fn question_lacks(&self, intent: Intent) -> Option<String> {
        let Some(Popup::Question(question)) = &self.popup else { return None };
        let gate = match question.purpose {
            Purpose::Approve(step) => self.state.gate(step),
            _ => None,
        };
        let useful = match intent {
            Intent::NextField => question.fields.len() > 1,
            Intent::List if matches!(question.purpose, Purpose::Canary(_)) => true,
            Intent::Recheck => gate.is_some_and(|gate| !gate.checks.is_empty()),
            _ => gate.is_some(),
        };
        (!useful).then(|| "this question has none".to_owned())
    }
}
