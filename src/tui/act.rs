//! From a key to what it does: moves the selection, opens a box, or returns a command.
//! Never returns a command that writes for a lower-case key, nor for enter outside a question.

use super::Left;
use super::app::{App, Leaving, Popup, Screen};
use super::keys::{Intent, Place, intent};
use super::question::{Answer, DEAF_MS, Field, HELD, NOT_YET, Purpose, Question};
use super::words;
use crate::model::{Ask, ChangeId, Command, Level, Next, Stop, Target, hold};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// A second Ctrl-C within this time is meant.
const AGAIN_MS: i64 = 5000;

impl App {
    /// Takes one key that was read at a unix time in milliseconds.
    pub fn key(&mut self, key: KeyEvent, at_ms: i64) -> Option<Command> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        self.last_key_ms = at_ms;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return self.interrupt(at_ms),
            KeyCode::Char('l') if control => {
                self.redraw = true;
                return None;
            }
            KeyCode::Char('z') if control => {
                self.suspend_if_idle();
                return None;
            }
            _ => {}
        }
        if matches!(self.popup, Some(Popup::Question(_))) {
            return self.answer(key, at_ms);
        }
        if control || key.modifiers.contains(KeyModifiers::ALT) {
            return None;
        }
        if matches!(self.popup, Some(Popup::Retry { opened_ms }) if at_ms < opened_ms + DEAF_MS) {
            return None;
        }
        let intent = intent(self.place(), key.code)?;
        if let Some(why) = self.why_not(intent) {
            self.notice = Some((Level::Warn, why));
            return None;
        }
        self.notice = None;
        self.act(intent, at_ms)
    }

    /// Pasted text: only a question takes any.
    pub fn paste(&mut self, pasted: &str, at_ms: i64) {
        if let Some(Popup::Question(question)) = &mut self.popup {
            question.paste(pasted, at_ms);
        }
    }

    /// Which part of the key table holds.
    pub fn place(&self) -> Place {
        match (&self.popup, self.screen) {
            (Some(Popup::Help), _) => Place::Help,
            (Some(Popup::Leave), _) => Place::Leave,
            (Some(Popup::Retry { .. }), _) => Place::RetryBox,
            (Some(Popup::Question(_)), _) => Place::Question,
            (None, screen) => screen_place(screen),
        }
    }

    /// Why a key that is known here does nothing now. Said in the help and when it is pressed.
    pub fn why_not(&self, intent: Intent) -> Option<String> {
        let no = |why: &str| Some(why.to_owned());
        let acts_on_a_run = matches!(
            intent,
            Intent::Pause | Intent::Retry | Intent::Skip | Intent::RollBack | Intent::Abort | Intent::MoveWindow
        );
        if acts_on_a_run && self.over {
            return match (intent, self.state.finished.is_some()) {
                (Intent::RollBack, true) => Some(format!("the engine has ended: castoff rollback {} --to STEP", self.run)),
                _ => no("the engine has ended"),
            };
        }
        if acts_on_a_run && self.leaving != Leaving::No {
            return no("castoff is leaving: nothing new is begun");
        }
        match intent {
            Intent::Execute if !self.plan.blockers.is_empty() => {
                Some(format!("this plan cannot be run: {}: {}", self.plan.blockers[0].subject, self.plan.blockers[0].why))
            }
            Intent::Execute if self.plan.is_empty() => no("there is nothing to do"),
            Intent::Execute if self.begun => no("the run is begun already"),
            Intent::GoOn if self.begun => no("the run goes on already"),
            Intent::GoOn if self.survey.is_none() => no("the cluster is still being looked at"),
            Intent::Pause | Intent::Abort if self.state.finished.is_some() => no("the run is over"),
            Intent::MoveWindow if self.window().is_none() => {
                Some(format!("this run has no window; castoff resume {} --window 02:00-04:00 gives it one", self.run))
            }
            Intent::MoveWindow if matches!(&self.popup, Some(Popup::Question(q)) if matches!(q.purpose, Purpose::Window { .. })) => {
                no("its question is open")
            }
            Intent::MoveWindow if self.state.finished.is_some() => no("the run is over"),
            Intent::Pause if !self.begun => no("nothing is running"),
            Intent::Pause if self.state.paused.is_none() && matches!(self.state.next(), Next::Stop(_)) => {
                no("nothing is running: q leaves it as it is")
            }
            Intent::Retry | Intent::Skip if self.state.causes().is_empty() => no("nothing has failed"),
            Intent::RollBack if self.undoable().is_empty() => no("this run has changed nothing that could be undone"),
            Intent::RollBack if self.state.rolling_back.is_some() && self.state.finished.is_none() => {
                no("the rollback is going on already")
            }
            Intent::NextChange | Intent::PreviousChange if self.plan.steps[self.step].changes.len() < 2 => {
                no("the step has no other change")
            }
            Intent::Open if self.screen == Screen::Changes && !self.waits_here() => no("nothing lies deeper"),
            Intent::NextField | Intent::List | Intent::Recheck => self.question_lacks(intent),
            _ => None,
        }
    }

    /// The run waits at the gate of the selected step.
    fn waits_here(&self) -> bool {
        self.begun && matches!(self.state.next(), Next::Gate(step) | Next::Canary(step) if step == self.step)
    }

    /// What an open question has no use for.
    fn question_lacks(&self, intent: Intent) -> Option<String> {
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

    /// The steps with something that an undo would undo.
    pub fn undoable(&self) -> Vec<usize> {
        let ours = |step: &usize| self.state.order.iter().any(|id| id.step == *step);
        (0..self.state.steps.len()).filter(ours).collect()
    }

    fn act(&mut self, intent: Intent, at_ms: i64) -> Option<Command> {
        match intent {
            Intent::Help => self.popup = Some(Popup::Help),
            Intent::Back => self.back(),
            Intent::Quit => return self.quit(),
            Intent::Up => self.step_by(-1),
            Intent::Down => self.step_by(1),
            Intent::PageUp => self.step_by(-self.page()),
            Intent::PageDown => self.step_by(self.page()),
            Intent::Top => self.step_by(isize::MIN / 2),
            Intent::Bottom => self.step_by(isize::MAX / 2),
            Intent::Open => self.open_selected(at_ms),
            Intent::NextChange | Intent::PreviousChange => {
                let n = self.plan.steps[self.step].changes.len();
                self.change = if intent == Intent::NextChange { (self.change + 1) % n } else { (self.change + n - 1) % n };
            }
            Intent::Log => self.open(Screen::Log),
            Intent::Notes => self.open_page(Screen::Notes),
            Intent::Ledger => self.open_page(Screen::Ledger),
            Intent::FailedOnly => {
                self.failed_only = !self.failed_only;
                self.change = 0;
            }
            Intent::WarningsOnly => {
                self.warnings_only = !self.warnings_only;
                self.held = None;
            }
            Intent::Recheck => {
                self.notice = Some((Level::Info, "the cluster is being read again".to_owned()));
                return Some(Command::Recheck);
            }
            Intent::Execute | Intent::GoOn => return Some(self.begin(at_ms)),
            Intent::Pause => return Some(self.pause()),
            Intent::Retry => return self.retry(at_ms),
            Intent::RetryCause => {
                self.popup = None;
                return Some(Command::Retry(self.target()));
            }
            Intent::Skip => {
                let question = Question::new(Purpose::Skip(self.target()), at_ms, vec![Field::reason("why")]);
                self.popup = Some(Popup::Question(question));
            }
            Intent::RollBack => {
                let steps = self.undoable();
                let to = if steps.contains(&self.step) { self.step } else { steps[0] };
                self.ask_rollback(to, at_ms);
            }
            Intent::MoveWindow => self.ask_window(at_ms),
            Intent::Abort => {
                let fields = vec![Field::reason("why"), Field::exactly("cluster", &self.plan.cluster, false)];
                self.popup = Some(Popup::Question(Question::new(Purpose::Abort, at_ms, fields)));
            }
            Intent::StopAndLeave => {
                self.popup = None;
                self.leaving = Leaving::Stop(at_ms);
                return Some(Command::Stop);
            }
            // Taken by the question itself.
            Intent::List | Intent::NextField | Intent::Answer => {}
        }
        None
    }

    /// A key while a question is open.
    fn answer(&mut self, key: KeyEvent, at_ms: i64) -> Option<Command> {
        let Some(Popup::Question(question)) = &mut self.popup else { return None };
        let looks = match intent(Place::Question, key.code) {
            Some(intent @ (Intent::Help | Intent::List | Intent::Log | Intent::Recheck | Intent::MoveWindow)) => Some(intent),
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
        let against =
            problems.first().map(|_| if problems.iter().all(|p| hold::is_hold(p) || hold::is_early(p)) { HELD } else { NOT_YET });
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
    fn look_from_question(&mut self, looks: Intent) -> Option<Command> {
        match looks {
            Intent::Recheck => return Some(Command::Recheck),
            Intent::MoveWindow => {
                self.back();
                self.ask_window(self.last_key_ms);
            }
            Intent::Help => {
                self.back();
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

    fn back(&mut self) {
        match self.popup.take() {
            Some(Popup::Question(question)) => {
                if let Purpose::Approve(step) | Purpose::Canary(step) = question.purpose {
                    self.put_off = Some(step);
                }
            }
            Some(_) => {}
            None => match (self.behind.pop(), self.screen) {
                (Some(screen), _) => self.screen = screen,
                (None, Screen::Failure | Screen::End | Screen::Waiting) => {
                    self.screen = Screen::Overview;
                    self.follows = false;
                    self.step = self.at().unwrap_or(self.step);
                }
                (None, _) => {}
            },
        }
    }

    fn quit(&mut self) -> Option<Command> {
        if matches!(self.popup, Some(Popup::Help)) {
            self.popup = None;
            return None;
        }
        if !self.behind.is_empty() && !matches!(self.screen, Screen::Overview | Screen::Waiting) {
            let first = self.behind[0];
            self.show(first);
            return None;
        }
        if self.over || !self.begun || self.state.finished.is_some() {
            self.left = Some(if self.state.finished.is_some() { Left::Finished } else { Left::Stopped });
            return None;
        }
        self.popup = Some(Popup::Leave);
        None
    }

    /// Ctrl-C: the first asks to stop at the safe point, the second within five seconds stops at once, the third leaves.
    /// While nothing is in flight the first closes a box or asks, and the second stops.
    fn interrupt(&mut self, at_ms: i64) -> Option<Command> {
        if self.over || !self.begun || self.state.finished.is_some() {
            return if self.popup.is_some() {
                self.back();
                None
            } else {
                self.left = Some(if self.state.finished.is_some() { Left::Finished } else { Left::Stopped });
                None
            };
        }
        match self.leaving {
            Leaving::Now(_) => {
                self.left = Some(Left::Stopped);
                None
            }
            Leaving::Stop(asked) if at_ms - asked <= AGAIN_MS => {
                self.leaving = Leaving::Now(at_ms);
                Some(Command::StopNow)
            }
            Leaving::Stop(_) => {
                self.leaving = Leaving::Stop(at_ms);
                None
            }
            Leaving::No if matches!(self.popup, Some(Popup::Leave)) || words::in_flight(&self.state) > 0 => {
                self.popup = None;
                self.leaving = Leaving::Stop(at_ms);
                Some(Command::Stop)
            }
            Leaving::No if self.popup.is_some() => {
                self.back();
                None
            }
            Leaving::No => {
                self.popup = Some(Popup::Leave);
                None
            }
        }
    }

    fn pause(&mut self) -> Command {
        if self.state.paused.is_some() {
            self.notice = Some((Level::Info, "asked to go on".to_owned()));
            Command::Continue
        } else {
            self.notice = Some((Level::Info, "asked to pause: what is in flight is finished first".to_owned()));
            Command::Pause
        }
    }

    fn retry(&mut self, at_ms: i64) -> Option<Command> {
        let one = self.state.causes().len() == 1 || self.screen == Screen::Changes;
        if one || matches!(self.popup, Some(Popup::Retry { .. })) {
            let all = self.popup.take().is_some() || self.screen != Screen::Changes;
            return Some(Command::Retry(if all { Target::Failed } else { self.target() }));
        }
        self.popup = Some(Popup::Retry { opened_ms: at_ms });
        None
    }

    /// What retry and skip are about: the selected change, or the changes with the selected cause.
    fn target(&self) -> Target {
        let causes = self.state.causes();
        let selected = self.listed().get(self.change).map(|n| ChangeId { step: self.step, n: *n });
        let failed = |id: &ChangeId| causes.iter().any(|(_, ids)| ids.contains(id));
        match selected.filter(|id| self.screen == Screen::Changes && failed(id)) {
            Some(id) => Target::Changes(vec![id]),
            None => causes.get(self.cause).map_or(Target::Failed, |(_, ids)| Target::Changes(ids.clone())),
        }
    }

    fn open_selected(&mut self, at_ms: i64) {
        let next = if self.begun { self.state.next() } else { Next::Plan };
        match (self.screen, next) {
            (Screen::Overview | Screen::Waiting | Screen::Changes, Next::Gate(step))
                if step == self.step && self.state.steps[step].gate_reached_ms.is_some() =>
            {
                if self.state.gate(step).is_some_and(|gate| gate.ask != Ask::Nothing) {
                    self.ask_gate(step, at_ms);
                } else {
                    self.scroll = 0;
                    self.open(Screen::Waiting);
                }
            }
            (Screen::Overview | Screen::Changes, Next::Canary(step)) if step == self.step => self.ask_canary(step, at_ms),
            (Screen::Overview, Next::Stop(Stop::Failed(step))) if step == self.step => self.open(Screen::Failure),
            (Screen::Overview, Next::Stop(Stop::Stuck)) if self.state.tally(self.step).failed > 0 => self.open(Screen::Failure),
            (Screen::Changes, _) => {}
            (Screen::Failure, _) => {
                if let Some((_, ids)) = self.state.causes().get(self.cause) {
                    self.step = ids[0].step;
                    self.follows = false;
                }
                self.change = 0;
                self.open(Screen::Changes);
            }
            _ => {
                self.change = if self.screen == Screen::Plan { self.change } else { 0 };
                self.open(Screen::Changes);
            }
        }
    }

    fn open_page(&mut self, screen: Screen) {
        self.scroll = 0;
        self.open(screen);
    }

    /// Moves whatever moves on this screen.
    fn step_by(&mut self, by: isize) {
        let moved = |at: usize, n: usize| at.saturating_add_signed(by).min(n.saturating_sub(1));
        if matches!(self.popup, Some(Popup::Help)) {
            return;
        }
        match self.screen {
            Screen::Plan | Screen::Overview | Screen::Resume => {
                self.follows = false;
                let step = moved(self.step, self.plan.steps.len());
                if step != self.step {
                    self.change = 0;
                }
                self.step = step;
            }
            Screen::Changes => self.change = moved(self.change, self.listed().len()),
            Screen::Failure => self.cause = moved(self.cause, self.state.causes().len()),
            Screen::Waiting => self.scroll = moved(self.scroll, self.report.as_ref().map_or(0, |r| r.problems.len())),
            // As long as the page can be: the picture keeps it within what there is.
            Screen::End => self.scroll = moved(self.scroll, self.plan.steps.len() + self.plan.notes.len() + 20),
            Screen::Notes => self.scroll = moved(self.scroll, self.plan.notes.len() + self.plan.blockers.len()),
            Screen::Ledger => self.scroll = moved(self.scroll, self.plan.ledger.len()),
            Screen::Log => {
                let n = self.lines.count(self.log_level());
                let at = moved(self.held.unwrap_or(n.saturating_sub(1)), n);
                self.held = (at + 1 < n).then_some(at);
            }
        }
    }

    fn page(&self) -> isize {
        isize::try_from(self.size.1.saturating_sub(8).max(1)).unwrap_or(1)
    }

    /// A suspended tool cannot answer anybody: only while nothing is in flight.
    fn suspend_if_idle(&mut self) {
        if words::in_flight(&self.state) == 0 {
            self.suspend = true;
        } else {
            self.notice = Some((Level::Warn, "changes are in flight and cannot be left alone: P pauses first".to_owned()));
        }
    }
}

fn screen_place(screen: Screen) -> Place {
    match screen {
        Screen::Plan => Place::Plan,
        Screen::Overview => Place::Overview,
        Screen::Changes => Place::Changes,
        Screen::Notes | Screen::Ledger => Place::Page,
        Screen::Log => Place::Log,
        Screen::Failure => Place::Failure,
        Screen::Waiting => Place::Waiting,
        Screen::Resume => Place::Resume,
        Screen::End => Place::End,
    }
}
