//! What is looked for on a page: the word, the lines that hold it, the way from one to the next, lines left out by `!word`.
//! Never changes what is looked at, only what is shown of it.

use super::app::{App, Popup, Screen};
use super::screens::{end, sides};
use crate::model::{ChangeId, LedgerLine, Level, Problem, text};
use crossterm::event::{Event, KeyCode, KeyEvent};
use tui_input::{Input, backend::crossterm::EventHandler};

#[derive(Clone, Debug)]
pub struct Find {
    pub input: Input,
    /// The word is still being typed.
    pub typing: bool,
    /// The page it belongs to; `None` is the help.
    page: Option<Screen>,
    /// The row that was selected before.
    before: usize,
    /// Rows that hold the word, or that are left out by it.
    pub count: usize,
}

impl Find {
    /// The word in small letters, and whether its rows are left out.
    pub fn word(&self) -> Option<(String, bool)> {
        let value = self.input.value().to_lowercase();
        let (word, out) = value.strip_prefix('!').map_or((value.as_str(), false), |word| (word, true));
        (!word.is_empty()).then(|| (word.to_owned(), out))
    }
}

impl App {
    /// What is looked for on the page that is shown.
    pub fn finding(&self) -> Option<&Find> {
        self.find.as_ref().filter(|find| find.page == self.page_of_find())
    }

    fn page_of_find(&self) -> Option<Screen> {
        if matches!(self.popup, Some(Popup::Help)) { None } else { Some(self.screen) }
    }

    /// Whether a row is shown: `!word` leaves out those that hold it.
    pub fn shows(&self, words: impl FnOnce() -> String) -> bool {
        match self.finding().and_then(Find::word) {
            Some((word, true)) => !words().to_lowercase().contains(&word),
            _ => true,
        }
    }

    /// Opens the line in which a word is typed; or looks for one at once.
    pub fn begin_find(&mut self, word: Option<&str>) {
        let find = Find {
            input: Input::new(word.unwrap_or_default().to_owned()),
            typing: word.is_none(),
            page: self.page_of_find(),
            before: self.row(),
            count: 0,
        };
        self.find = Some(find);
        self.look_for(true);
    }

    /// A key while the word is typed.
    pub fn find_key(&mut self, key: KeyEvent) {
        let Some(find) = &mut self.find else { return };
        match key.code {
            KeyCode::Backspace if !find.input.value().is_empty() => {
                find.input.handle_event(&Event::Key(key));
                self.look_for(true);
            }
            KeyCode::Esc | KeyCode::Backspace => {
                self.end_find();
            }
            KeyCode::Enter => {
                find.typing = false;
                if find.word().is_none() {
                    self.end_find();
                } else if find.count == 0 {
                    self.notice = Some((Level::Warn, "no line holds this word".to_owned()));
                }
            }
            _ => {
                find.input.handle_event(&Event::Key(key));
                self.look_for(true);
            }
        }
    }

    /// Text that was pasted into the line.
    pub fn find_paste(&mut self, pasted: &str) {
        if let Some(find) = self.find.as_mut().filter(|find| find.typing) {
            find.input = format!("{}{}", find.input.value(), text::clean(pasted)).into();
            self.look_for(true);
        }
    }

    /// Nothing is looked for any more; whether something was.
    pub fn end_find(&mut self) -> bool {
        if self.finding().is_none() {
            return false;
        }
        let Some(find) = self.find.take() else { return false };
        if find.typing {
            self.go_to_row(find.before);
        }
        self.change = self.change.min(self.listed().len().saturating_sub(1));
        true
    }

    /// Counts anew, and while it is typed goes to the first row from where it began.
    pub fn look_for(&mut self, go: bool) {
        let Some(find) = self.finding() else { return };
        let (before, typing) = (find.before, find.typing);
        let Some((word, out)) = find.word() else {
            if let Some(find) = &mut self.find {
                find.count = 0;
            }
            return;
        };
        if out {
            let count = self.left_out(&word);
            self.change = self.change.min(self.listed().len().saturating_sub(1));
            if let Some(find) = &mut self.find {
                find.count = count;
            }
            return;
        }
        let holds: Vec<bool> = self.row_words().iter().map(|words| words.to_lowercase().contains(&word)).collect();
        let count = holds.iter().filter(|holds| **holds).count();
        let n = holds.len();
        let at = before.min(n);
        // The log is read from its end: what is looked for there is the last that was said.
        let to = match (go && typing, self.screen) {
            (false, _) => None,
            (true, Screen::Log) => (0..(at + 1).min(n)).rev().chain(at..n).find(|row| holds[*row]),
            (true, _) => (at..n).chain(0..at).find(|row| holds[*row]),
        };
        if let Some(find) = &mut self.find {
            find.count = count;
        }
        if let Some(row) = to {
            self.go_to_row(row);
        }
    }

    /// To the next row with the word, or the one before; around the end.
    pub fn find_again(&mut self, forward: bool) {
        let Some((word, false)) = self.finding().and_then(Find::word) else { return };
        let rows: Vec<bool> = self.row_words().iter().map(|words| words.to_lowercase().contains(&word)).collect();
        let (n, at) = (rows.len(), self.row());
        let holds = |row: &usize| rows[*row];
        let to = if forward {
            (at + 1..n).chain(0..(at + 1).min(n)).find(holds)
        } else {
            (0..at.min(n)).rev().chain((at.min(n)..n).rev()).find(holds)
        };
        if let Some(row) = to {
            self.go_to_row(row);
        }
    }

    /// What the sentence of the page says of it: `find: no space (12)`.
    pub fn find_words(&self) -> String {
        let Some(find) = self.finding() else { return String::new() };
        match find.word() {
            Some((word, true)) => format!("without: {} ({} left out)", text::clean(&word), find.count),
            Some((word, false)) => format!("find: {} ({})", text::clean(&word), find.count),
            None => String::new(),
        }
    }

    /// Everything that each row of the page says; made when a key is pressed, never for a picture.
    fn row_words(&self) -> Vec<String> {
        if matches!(self.popup, Some(Popup::Help)) {
            return super::screens::help::rows(self).iter().map(|b| format!("{} {}", b.shown, b.help)).collect();
        }
        match self.screen {
            Screen::Plan | Screen::Overview | Screen::Resume => {
                let steps = self.plan.steps.iter().enumerate();
                steps.map(|(i, step)| format!("{} {} {} {}", i + 1, step.id, step.title, step.summary)).collect()
            }
            Screen::Changes => self.listed().iter().map(|n| self.change_words(n)).collect(),
            Screen::Matrix => self.cells.row_names(),
            Screen::Cell => {
                let layers = self.cells.selected().map_or(&[][..], |id| self.cells.layers(id));
                layers.iter().map(|layer| layer.id.clone()).collect()
            }
            Screen::Explain => (0..self.plan.steps[self.step].changes.len()).map(|n| self.change_words(n)).collect(),
            Screen::Diff => self.diff_lines(),
            Screen::Failure => {
                let causes = self.state.causes();
                causes.iter().map(|(fault, ids)| format!("{fault} {}", super::screens::places(self, ids))).collect()
            }
            Screen::Waiting => self.report.iter().flat_map(|report| &report.problems).map(problem_words).collect(),
            Screen::Notes => self.note_rows().into_iter().map(|(_, problem)| problem_words(problem)).collect(),
            Screen::Ledger => self.ledger_rows().into_iter().map(ledger_words).collect(),
            Screen::Held => vec![],
            Screen::End => self.end_lines(),
            Screen::Log => self.log_lines().map(super::lines::Line::words).collect(),
        }
    }

    /// How many rows `!word` leaves out here.
    fn left_out(&self, word: &str) -> usize {
        let holds = |words: &String| words.to_lowercase().contains(word);
        match self.screen {
            Screen::Changes => {
                let changes = self.plan.steps.get(self.step).map_or(0, |step| step.changes.len());
                (0..changes).map(|n| self.change_words(n)).filter(holds).count()
            }
            Screen::Log => self.lines.iter().map(super::lines::Line::words).filter(holds).count(),
            Screen::Ledger => self.plan.ledger.iter().map(ledger_words).filter(holds).count(),
            Screen::Notes => self.plan.blockers.iter().chain(&self.plan.notes).map(problem_words).filter(holds).count(),
            _ => 0,
        }
    }

    /// The row that is selected, or stands first on a page without selection.
    fn row(&self) -> usize {
        if matches!(self.popup, Some(Popup::Help)) {
            return self.help_at;
        }
        match self.screen {
            Screen::Plan | Screen::Overview | Screen::Resume => self.step,
            Screen::Changes => self.change,
            Screen::Matrix => self.cells.name_selected(),
            Screen::Failure => self.cause,
            Screen::Log => self.log_row(),
            _ => self.scroll,
        }
    }

    fn go_to_row(&mut self, row: usize) {
        if matches!(self.popup, Some(Popup::Help)) {
            self.help_at = row;
            return;
        }
        match self.screen {
            Screen::Plan | Screen::Overview | Screen::Resume => self.go_to_step(row),
            Screen::Changes => self.change = row,
            Screen::Matrix => self.cells.go_to_name(row),
            Screen::Failure => self.cause = row,
            Screen::Log => self.hold_at(row),
            _ => self.scroll = row,
        }
    }

    /// Selects a step, and goes with the run no more.
    pub fn go_to_step(&mut self, step: usize) {
        self.follows = false;
        if step != self.step {
            self.change = 0;
        }
        self.step = step.min(self.plan.steps.len().saturating_sub(1));
    }

    /// Everything the row of a change of the selected step says.
    pub fn change_words(&self, n: usize) -> String {
        let id = ChangeId { step: self.step, n };
        let Some(planned) = self.plan.steps.get(self.step).and_then(|step| step.changes.get(n)) else { return String::new() };
        let status = self.state.steps.get(self.step).and_then(|step| step.changes.get(n));
        let (word, why) = status.map_or(("", String::new()), |status| {
            let why = super::words::fault(status).map_or_else(String::new, ToString::to_string);
            (super::words::change_face(status, false).1, why)
        });
        format!("{id} {word} {} {} {} {why}", planned.place, planned.kind, planned.subject)
    }

    /// The lines of the ledger that are shown.
    pub fn ledger_rows(&self) -> Vec<&LedgerLine> {
        self.plan.ledger.iter().filter(|line| self.shows(|| ledger_words(line))).collect()
    }

    /// What is in the way and what is to be noted, as far as it is shown; blockers say so.
    pub fn note_rows(&self) -> Vec<(bool, &Problem)> {
        let all = self.plan.blockers.iter().map(|p| (true, p)).chain(self.plan.notes.iter().map(|p| (false, p)));
        all.filter(|(_, problem)| self.shows(|| problem_words(problem))).collect()
    }

    /// The selected change before and after, as plain lines.
    pub fn diff_lines(&self) -> Vec<String> {
        let Some(change) = self.selected_change() else { return vec![] };
        sides::plain_lines(self.plan.change(change))
    }

    /// The last page, as plain lines.
    pub fn end_lines(&self) -> Vec<String> {
        end::end_page(&self.state, &self.run, &self.journal, &self.look, self.size.0, &self.again).into_iter().skip(2).collect()
    }
}

fn ledger_words(line: &LedgerLine) -> String {
    let new = line.new.as_ref().map_or_else(String::new, ToString::to_string);
    format!("{} {} {new} {} {} {}", line.old, line.old.familiar(), line.verdict, line.proof, line.hosts.join(" "))
}

fn problem_words(problem: &Problem) -> String {
    let or = |words: &Option<String>| words.clone().unwrap_or_default();
    format!("{} {} {} {} {}", problem.subject, problem.why, or(&problem.owner), or(&problem.place), or(&problem.hint))
}
