//! From a key to what it does: moves the selection, opens a box, or returns a command.
//! Never returns a command that writes for a lower-case key, nor for enter outside a question.

use super::Left;
use super::app::{App, Leaving, Popup, Screen};
use super::cells::Side;
use super::grid::Stand;
use super::keys::{Intent, Place, intent};
use super::question::{DEAF_MS, Field, Purpose, Question};
use super::words;
use crate::model::{Ask, ChangeId, Command, Level, Next, Stop, Target};
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
        if self.is_typing() {
            let command = self.typed(key, at_ms);
            return self.only_looks(command);
        }
        if matches!(self.popup, Some(Popup::Question(_))) && !self.shows_a_gate() {
            let command = self.answer(key, at_ms);
            return self.only_looks(command);
        }
        if control || key.modifiers.contains(KeyModifiers::ALT) {
            return None;
        }
        if matches!(self.popup, Some(Popup::Retry { opened_ms }) if at_ms < opened_ms + DEAF_MS) {
            return None;
        }
        let Some(intent) = intent(self.place(), key.code) else {
            self.no_answer_from_here(key.code);
            return None;
        };
        if let Some(why) = self.why_not(intent) {
            self.notice = Some((Level::Warn, why));
            return None;
        }
        self.notice = None;
        let command = self.act(intent, at_ms);
        self.only_looks(command)
    }

    /// A key while a word is typed. What the run wants meanwhile comes up when that is over.
    fn typed(&mut self, key: KeyEvent, at_ms: i64) -> Option<Command> {
        let command = if self.palette.is_some() {
            self.palette_key(key, at_ms)
        } else {
            self.find_key(key);
            None
        };
        if !self.is_typing() {
            self.settle(at_ms);
        }
        command
    }

    /// Pasted text: only what is typed in takes any.
    pub fn paste(&mut self, pasted: &str, at_ms: i64) {
        if self.palette.is_some() {
            self.palette_paste(pasted);
        } else if self.is_typing() {
            self.find_paste(pasted);
        } else if let Some(Popup::Question(question)) = &mut self.popup {
            question.paste(pasted, at_ms);
        }
    }

    /// Which part of the key table holds.
    pub fn place(&self) -> Place {
        match () {
            () if self.palette.is_some() => Place::Palette,
            () if self.is_typing() => Place::Find,
            () => self.place_below(),
        }
    }

    /// Why a key that is known here does nothing now. Said in the help and when it is pressed.
    pub fn why_not(&self, intent: Intent) -> Option<String> {
        if let Some(why) = self.why_not_watching(intent) {
            return Some(why);
        }
        let no = |why: &str| Some(why.to_owned());
        let acts_on_a_run = matches!(
            intent,
            Intent::Pause | Intent::Retry | Intent::Skip | Intent::RollBack | Intent::Abort | Intent::Close | Intent::MoveWindow
        );
        if acts_on_a_run && self.over {
            return match (intent, self.state.finished.is_some()) {
                (Intent::RollBack, true) => {
                    Some(format!("the engine has ended: castoff rollback {} --to STEP{}", self.run, self.again))
                }
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
            Intent::Retry | Intent::Skip if !self.state.any_failed() => no("nothing has failed"),
            Intent::Retry | Intent::Skip if self.screen == Screen::Cell && self.cells.selected_failed().is_none() => {
                no("this change has not failed")
            }
            Intent::RetryOne if self.cells.selected_failed().is_none() || self.screen != Screen::Matrix => {
                no("no failed change is selected")
            }
            Intent::Ledger if self.plan.ledger.is_empty() => no("no image gets another name"),
            Intent::OtherList if self.grid().is_none() => no("the step is not about images"),
            Intent::RollBack if self.undoable().is_empty() => no("this run has changed nothing that could be undone"),
            Intent::RollBack if self.state.rolling_back.is_some() && self.state.finished.is_none() => {
                no("the rollback is going on already")
            }
            Intent::NextChange | Intent::PreviousChange if self.plan.steps[self.step].changes.len() < 2 => {
                no("the step has no other change")
            }
            Intent::Open if self.screen == Screen::Changes && !self.waits_here() => no("nothing lies deeper"),
            Intent::NextField | Intent::List | Intent::Recheck => self.question_lacks(intent),
            _ => self.why_not_look(intent),
        }
    }

    /// The run waits at the gate of the selected step.
    fn waits_here(&self) -> bool {
        self.begun && matches!(self.state.next(), Next::Gate(step) | Next::Canary(step) if step == self.step)
    }

    /// The steps with something that an undo would undo.
    pub fn undoable(&self) -> Vec<usize> {
        self.state.undoable()
    }

    pub fn act(&mut self, intent: Intent, at_ms: i64) -> Option<Command> {
        match intent {
            Intent::Help => {
                self.help_at = 0;
                self.popup = Some(Popup::Help);
            }
            Intent::Back => self.back(),
            Intent::Quit => return self.quit(),
            Intent::Up => self.step_by(-1),
            Intent::Down => self.step_by(1),
            Intent::Left => self.cells.move_columns(-1, self.size.0),
            Intent::Right => self.cells.move_columns(1, self.size.0),
            Intent::Turn => self.cells.turn(),
            Intent::Zoom => self.cells.zoom(),
            Intent::OtherList => self.other_list(),
            Intent::PageUp => self.step_by(-self.page()),
            Intent::PageDown => self.step_by(self.page()),
            Intent::Top => self.step_by(isize::MIN / 2),
            Intent::Bottom => self.step_by(isize::MAX / 2),
            Intent::Open => self.open_selected(at_ms),
            Intent::NextChange | Intent::PreviousChange => self.other_change(intent == Intent::NextChange),
            Intent::Log => {
                if self.shows_a_gate() {
                    self.back();
                }
                self.open(Screen::Log);
            }
            Intent::Watch => self.watch(at_ms),
            Intent::List if self.shows_a_gate() => return self.look_from_question(Intent::List),
            Intent::Notes => self.open_page(Screen::Notes),
            Intent::Ledger => self.open_page(Screen::Ledger),
            Intent::FailedOnly => {
                self.failed_only = !self.failed_only;
                self.change = 0;
                if self.screen == Screen::Matrix {
                    self.cells.go_to_top(self.failed_only);
                }
            }
            Intent::Recheck => {
                self.notice = Some((Level::Info, "the cluster is being read again".to_owned()));
                return Some(Command::Recheck);
            }
            Intent::Execute | Intent::GoOn => return Some(self.begin(at_ms)),
            Intent::Pause => return Some(self.pause()),
            Intent::Retry => return self.retry(at_ms),
            Intent::RetryOne => {
                self.popup = None;
                return self.cells.selected_failed().map(|id| Command::Retry(Target::Changes(vec![id])));
            }
            Intent::RetryCause => {
                let target = self.target();
                self.popup = None;
                return Some(Command::Retry(target));
            }
            Intent::Skip => {
                if self.screen == Screen::Matrix {
                    self.choose_cause();
                }
                let question = Question::new(Purpose::Skip(self.target()), at_ms, vec![Field::reason("why")]);
                self.popup = Some(Popup::Question(question));
            }
            Intent::RollBack => {
                let steps = self.undoable();
                let to = if steps.contains(&self.step) { self.step } else { steps[0] };
                self.ask_rollback(to, at_ms);
            }
            Intent::MoveWindow => self.ask_window(at_ms),
            Intent::Abort | Intent::Close => {
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
            _ => return self.look(intent),
        }
        None
    }

    pub fn back(&mut self) {
        if matches!(self.popup, None | Some(Popup::Help)) && self.end_find() {
            return;
        }
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
        let boxed = matches!(self.popup, Some(Popup::Gone)) || self.shows_a_gate();
        if !boxed && !self.behind.is_empty() && !matches!(self.screen, Screen::Overview | Screen::Waiting) {
            let first = self.behind[0];
            self.show(first);
            return None;
        }
        if self.over || !self.begun || self.state.finished.is_some() || self.watches() {
            self.left = Some(if self.state.finished.is_some() { Left::Finished } else { Left::Stopped });
            return None;
        }
        self.popup = Some(Popup::Leave);
        None
    }

    /// Ctrl-C: the first asks to stop at the safe point, the second within five seconds stops at once, the third leaves.
    /// While no step runs the first closes a box or asks, and the second stops.
    fn interrupt(&mut self, at_ms: i64) -> Option<Command> {
        if self.over || !self.begun || self.state.finished.is_some() || self.watches() {
            return if self.popup.is_some() && !self.watches() {
                self.back();
                None
            } else {
                self.left = Some(if self.state.finished.is_some() { Left::Finished } else { Left::Stopped });
                None
            };
        }
        // Also between two changes, when nothing is in flight for a moment.
        let runs =
            words::in_flight(&self.state) > 0 || matches!(self.state.next(), Next::Apply(_) | Next::Undo(_) | Next::Turn(_));
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
            Leaving::No if runs || matches!(self.popup, Some(Popup::Leave)) => {
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
        let failed: usize =
            (0..self.state.steps.len()).map(|step| self.state.failed(step)).sum::<u64>().try_into().unwrap_or(usize::MAX);
        match self.screen {
            Screen::Cell => return Some(Command::Retry(self.target())),
            // The cell, its cause or all may be meant: unless these are the same.
            Screen::Matrix if self.popup.is_none() && failed > 1 => {
                self.choose_cause();
                if self.cells.selected_failed().is_some() || self.state.causes().len() > 1 {
                    self.popup = Some(Popup::Retry { opened_ms: at_ms });
                    return None;
                }
            }
            _ => {}
        }
        let one = self.state.causes().len() == 1 || self.screen == Screen::Changes;
        if one || matches!(self.popup, Some(Popup::Retry { .. })) {
            let all = self.popup.take().is_some() || self.screen != Screen::Changes;
            return Some(Command::Retry(if all { Target::Failed } else { self.target() }));
        }
        self.popup = Some(Popup::Retry { opened_ms: at_ms });
        None
    }

    /// What retry and skip are about: the selected change, or the changes with the selected cause.
    pub fn target(&self) -> Target {
        let causes = self.state.causes();
        let failed = |id: &ChangeId| causes.iter().any(|(_, ids)| ids.contains(id));
        let selected = match self.screen {
            Screen::Changes => self.listed().get(self.change).map(|n| ChangeId { step: self.step, n }),
            Screen::Cell => self.cells.selected(),
            // The box asks which is meant; a reason is asked for the cell where the eye is.
            Screen::Matrix if !matches!(self.popup, Some(Popup::Retry { .. })) => self.cells.selected(),
            _ => None,
        };
        match selected.filter(failed) {
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
            (Screen::Overview, Next::Stop(Stop::Stuck)) if self.state.failed(self.step) > 0 => self.open(Screen::Failure),
            (Screen::Changes | Screen::Cell, _) => {}
            (Screen::Matrix, _) if self.cells.view.side == Side::Zoom => self.cells.zoom(),
            (Screen::Matrix, _) => {
                if !self.cells.toggle_fold(self.failed_only) && self.cells.selected().is_some() {
                    self.open_page(Screen::Cell);
                }
            }
            (Screen::Failure, _) => {
                let causes = self.state.causes();
                let first = causes.get(self.cause).map(|(_, ids)| ids[0]);
                if let Some(id) = first {
                    self.step = id.step;
                    self.follows = false;
                }
                self.change = 0;
                if let Some(id) = first.filter(|_| self.grid().is_some()) {
                    self.cells.turn_to_change(id);
                    return self.open(Screen::Matrix);
                }
                self.open(Screen::Changes);
            }
            // What has not begun is told best by what each change would do.
            _ if self.grid().is_some_and(|grid| grid.sums.count(Stand::ToDo) < grid.sums.total()) => {
                self.cells.turn_to(self.step);
                self.open(Screen::Matrix);
            }
            _ => {
                self.change = if self.screen == Screen::Plan { self.change } else { 0 };
                self.open(Screen::Changes);
            }
        }
    }

    /// From the matrix to the list of the same changes, and back; `esc` goes to where both were opened from.
    fn other_list(&mut self) {
        if self.screen == Screen::Changes {
            let id = self.listed().get(self.change).map(|n| ChangeId { step: self.step, n });
            match id {
                Some(id) => self.cells.turn_to_change(id),
                None => self.cells.turn_to(self.step),
            }
            self.screen = Screen::Matrix;
        } else {
            let n = self.cells.selected().map(|id| id.n);
            self.change = self.listed().iter().position(|listed| Some(listed) == n).unwrap_or_default();
            self.screen = Screen::Changes;
        }
    }

    /// The cause that is meant when the eye is on a cell, or on a host with a failed one.
    fn choose_cause(&mut self) {
        let Some(grid) = self.grid() else { return };
        let worst = || grid.worst([self.cells.view.host], 0..grid.images.len()).filter(|cell| cell.stand == Stand::Failed);
        let id = self.cells.selected_failed().or_else(|| worst().map(|cell| ChangeId { step: self.step, n: cell.n }));
        let causes = self.state.causes();
        if let Some(at) = id.and_then(|id| causes.iter().position(|(_, ids)| ids.contains(&id))) {
            self.cause = at;
        }
    }

    pub fn open_page(&mut self, screen: Screen) {
        self.scroll = 0;
        self.open(screen);
    }

    /// The next or the previous change of the step, around the end.
    fn other_change(&mut self, forward: bool) {
        let listed = self.screen == Screen::Diff && self.behind.last() == Some(&Screen::Changes);
        let n = if listed { self.listed().len() } else { self.plan.steps[self.step].changes.len() };
        if n > 0 {
            self.change = if forward { (self.change + 1) % n } else { (self.change + n - 1) % n };
        }
        if self.screen == Screen::Diff {
            self.scroll = 0;
        }
    }

    /// Moves whatever moves on this screen.
    fn step_by(&mut self, by: isize) {
        let moved = |at: usize, n: usize| at.saturating_add_signed(by).min(n.saturating_sub(1));
        if matches!(self.popup, Some(Popup::Help)) {
            self.help_at = moved(self.help_at, super::screens::help::rows(self).len());
            return;
        }
        match self.screen {
            Screen::Plan | Screen::Overview | Screen::Resume => {
                self.go_to_step(moved(self.step, self.plan.steps.len()));
            }
            Screen::Changes => self.change = moved(self.change, self.listed().len()),
            Screen::Matrix => self.cells.move_rows(by, self.failed_only, self.size.0),
            // As many layers as an image has; the picture keeps it within what there is.
            Screen::Cell => {
                let n = self.cells.selected().map_or(0, |id| self.cells.layers(id).len());
                self.scroll = moved(self.scroll, n);
            }
            Screen::Failure => self.cause = moved(self.cause, self.state.causes().len()),
            Screen::Waiting => self.scroll = moved(self.scroll, self.report.as_ref().map_or(0, |r| r.problems.len())),
            // As long as the page can be: the picture keeps it within what there is.
            Screen::End => self.scroll = moved(self.scroll, self.plan.steps.len() + self.plan.notes.len() + 20),
            Screen::Held => {}
            Screen::Notes => self.scroll = moved(self.scroll, self.note_rows().len()),
            Screen::Ledger => self.scroll = moved(self.scroll, self.ledger_rows().len()),
            Screen::Diff => self.scroll = moved(self.scroll, self.diff_lines().len()),
            Screen::Explain => self.scroll = moved(self.scroll, self.plan.steps[self.step].changes.len()),
            Screen::Log => self.log_by(by),
        }
    }

    fn page(&self) -> isize {
        isize::try_from(self.size.1.saturating_sub(8).max(1)).unwrap_or(1)
    }

    /// A suspended tool cannot answer anybody: only while nothing is in flight.
    fn suspend_if_idle(&mut self) {
        if words::in_flight(&self.state) == 0 || self.watches() {
            self.suspend = true;
        } else {
            self.notice = Some((Level::Warn, "changes are in flight and cannot be left alone: P pauses first".to_owned()));
        }
    }
}

pub fn screen_place(screen: Screen) -> Place {
    match screen {
        Screen::Plan => Place::Plan,
        Screen::Overview => Place::Overview,
        Screen::Changes => Place::Changes,
        Screen::Matrix => Place::Matrix,
        Screen::Cell => Place::Cell,
        Screen::Notes | Screen::Ledger | Screen::Explain => Place::Page,
        Screen::Diff => Place::Diff,
        Screen::Log => Place::Log,
        Screen::Failure => Place::Failure,
        Screen::Waiting => Place::Waiting,
        Screen::Resume => Place::Resume,
        Screen::End => Place::End,
        Screen::Held => Place::Held,
    }
}
