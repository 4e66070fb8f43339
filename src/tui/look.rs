//! What the looking keys do: pages, filters, copies, and what leaves the screen for a while.
//! Never returns a command that writes.

use super::app::{App, Leaving, Popup, Screen};
use super::copy::Wish;
use super::keys::{Intent, Place};
use super::words;
use crate::model::{ChangeId, Command, Level, Next, text};

impl App {
    /// The intents that only look. `None` also for those that are not of this kind.
    pub fn look(&mut self, intent: Intent) -> Option<Command> {
        match intent {
            Intent::Diff => self.open_page(Screen::Diff),
            Intent::Explain => self.explain(),
            Intent::Level(level) => {
                self.log.level = level;
                self.look_for(false);
            }
            Intent::OneStep => self.one_step(),
            Intent::OneAgent => self.one_place(),
            Intent::Wrap if self.screen == Screen::Log => self.log.wrap = !self.log.wrap,
            Intent::Wrap => self.wrap = !self.wrap,
            Intent::Find => self.begin_find(None),
            Intent::FindNext => self.find_again(true),
            Intent::FindPrevious => self.find_again(false),
            Intent::Copy => self.outside = self.copied(None),
            Intent::Pager => self.outside = Some(self.page_text()),
            Intent::Shell => self.outside = Some(Wish::Shell),
            Intent::Palette => self.open_palette(),
            Intent::Mouse => {
                self.mouse = !self.mouse;
                let now = if self.mouse {
                    "the mouse is castoff's: the wheel moves"
                } else {
                    "the mouse is the terminal's: select and copy"
                };
                self.notice = Some((Level::Info, now.to_owned()));
            }
            Intent::Still => {
                self.still = !self.still;
                let now = if self.still { "still: drawn only when something changes" } else { "the clock ticks" };
                self.notice = Some((Level::Info, now.to_owned()));
            }
            Intent::Verify => {
                self.notice = Some((Level::Info, "the cluster is being looked at again; nothing is changed".to_owned()));
                self.survey = None;
                self.changed = None;
                return Some(Command::Verify);
            }
            _ => {}
        }
        None
    }

    /// Why a looking key does nothing now.
    pub fn why_not_look(&self, intent: Intent) -> Option<String> {
        let no = |why: &str| Some(why.to_owned());
        match intent {
            Intent::FindNext | Intent::FindPrevious
                if self.finding().and_then(super::find::Find::word).is_none_or(|(_, out)| out) =>
            {
                no("nothing is looked for: / finds")
            }
            Intent::Diff if self.selected_change().is_none() => no("the step changes nothing"),
            Intent::Explain if self.selected_change().is_none() => no("the step asks for nothing"),
            Intent::Shell if words::in_flight(&self.state) > 0 => {
                let n = text::count(words::in_flight(&self.state), "change");
                Some(format!("{n} in flight: the shell waits until the run stands still"))
            }
            Intent::Shell if matches!(self.state.next(), Next::Apply(_) | Next::Undo(_)) && self.begun => {
                no("the run goes on: P pauses it first")
            }
            Intent::Verify if self.survey.is_none() => no("the cluster is being looked at already"),
            Intent::Verify if self.begun => no("the run goes on already"),
            Intent::Run | Intent::Complete if self.palette.as_ref().is_some_and(|palette| palette.armed.is_some()) => {
                no("the word waits for its capital")
            }
            Intent::Limit if !self.begun || self.over => no("nothing is running"),
            Intent::Limit if self.state.finished.is_some() => no("the run is over"),
            Intent::Limit if self.leaving != Leaving::No => no("castoff is leaving: nothing new is begun"),
            _ => None,
        }
    }

    /// The change that is selected, or the first of the selected step.
    pub fn selected_change(&self) -> Option<ChangeId> {
        let step = if self.screen == Screen::Failure {
            return self.state.causes().get(self.cause).map(|(_, ids)| ids[0]);
        } else {
            self.step
        };
        let of_cells = |screen: Screen| matches!(screen, Screen::Matrix | Screen::Cell);
        if of_cells(self.screen) || self.behind.last().is_some_and(|screen| of_cells(*screen)) {
            return self.cells.selected();
        }
        let inside = self.screen == Screen::Changes || self.behind.last() == Some(&Screen::Changes);
        let n = if inside { self.listed().get(self.change)? } else { self.change };
        (n < self.plan.steps.get(step)?.changes.len()).then_some(ChangeId { step, n })
    }

    /// Every request of the selected step, from the selected change on.
    fn explain(&mut self) {
        let from = self.selected_change();
        if matches!(self.popup, Some(Popup::Question(_))) {
            self.back();
        }
        if let Some(id) = from {
            self.step = id.step;
        }
        let all = !matches!(self.screen, Screen::Changes | Screen::Cell | Screen::Failure);
        self.open(Screen::Explain);
        self.scroll = if all { 0 } else { from.map_or(0, |id| id.n) };
    }

    /// The terminal is ours again after somebody else had it: what was typed meanwhile counts for nothing here.
    pub fn came_back(&mut self, now_ms: i64) {
        self.focused = true;
        self.redraw = true;
        self.last_key_ms = now_ms;
        if let Some(Popup::Question(question)) = &mut self.popup {
            question.opened_ms = now_ms;
        }
    }

    /// Which part of the key table holds below the palette and the line of what is looked for.
    pub fn place_below(&self) -> Place {
        match (&self.popup, self.screen) {
            (Some(Popup::Help), _) => Place::Help,
            (Some(Popup::Leave), _) => Place::Leave,
            (Some(Popup::Retry { .. }), _) => Place::RetryBox,
            (Some(Popup::Question(_)), _) if self.shows_a_gate() => Place::ShownGate,
            (Some(Popup::Question(_)), _) => Place::Question,
            (Some(Popup::Gone), _) => Place::Gone,
            (None, screen) => super::act::screen_place(screen),
        }
    }
}
