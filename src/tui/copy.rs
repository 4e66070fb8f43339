//! What leaves the screen: the selected thing as text to copy, and a whole page as text for the pager.
//! Never writes a file and never starts a program: it says what is wished, and the loop does it.

use super::app::{App, Screen};
use super::words;
use crate::model::{ChangeId, text};
use std::fmt::Write as _;

/// What the loop is to do outside the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To a file of the run's folder and to the terminal's clipboard.
    Copy {
        what: &'static str,
        text: String,
    },
    /// A page in the pager; the name is that of its file.
    Pager {
        name: &'static str,
        text: String,
    },
    Shell,
}

/// A name in a command: without a name there is no word.
fn word(name: &str) -> String {
    if name.is_empty() { String::new() } else { text::quoted(&text::clean(name)) }
}

impl App {
    /// What `y` copies here, or the part that is asked for by its word.
    pub fn copied(&self, part: Option<&str>) -> Option<Wish> {
        let copy = |what: &'static str, text: String| Some(Wish::Copy { what, text });
        match part {
            Some("cause") => return copy("the cause", self.cause_text()?),
            Some("line") => return copy("the line", self.line_text()?),
            Some("command") => return copy("the command", self.command_text()?),
            Some(_) => return None,
            None => {}
        }
        match self.screen {
            Screen::Failure => copy("the cause", self.cause_text()?),
            Screen::Resume | Screen::End => self
                .command_text()
                .map_or_else(|| copy("the page", self.end_lines().join("\n")), |text| copy("the command", text)),
            Screen::Diff => copy("the diff", self.diff_text()),
            Screen::Changes | Screen::Matrix | Screen::Cell if self.cause_text().is_some() => {
                copy("the cause", self.cause_text()?)
            }
            _ => copy("the line", self.line_text()?),
        }
    }

    /// The root cause of what is selected, with its places and what helps.
    fn cause_text(&self) -> Option<String> {
        let causes = self.state.causes();
        let (fault, ids) = match self.screen {
            Screen::Failure => causes.get(self.cause)?,
            Screen::Changes | Screen::Matrix | Screen::Cell => {
                let id = self.selected_change()?;
                causes.iter().find(|(_, ids)| ids.contains(&id))?
            }
            _ => causes.iter().find(|(_, ids)| ids.iter().any(|id| id.step == self.step)).or_else(|| causes.first())?,
        };
        let step = ids[0].step;
        let title = self.plan.steps.get(step).map_or("", |step| step.title.as_str());
        let mut places: Vec<&str> = ids.iter().map(|id| self.plan.change(*id).place.as_str()).collect();
        places.dedup();
        let mut out = format!("{}: {}\n", text::clean(&fault.what), text::clean(&fault.why));
        let _ = writeln!(
            out,
            "step {}, {}; {} on {}",
            step + 1,
            text::clean(title),
            text::count(ids.len() as u64, "change"),
            text::clean(&places.join(" "))
        );
        if let Some(hint) = &fault.hint {
            let _ = writeln!(out, "helps: {}", text::clean(hint));
        }
        let _ = writeln!(out, "run {} of plan {} on {}", self.run, self.plan.plan, text::clean(&self.plan.cluster));
        Some(out)
    }

    /// The selected row, with everything it says.
    fn line_text(&self) -> Option<String> {
        let text = match self.screen {
            Screen::Log => {
                let line = self.log_line()?;
                format!("{}  {}", self.look.clock_with_zone(line.at_ms), line.words())
            }
            Screen::Changes | Screen::Matrix | Screen::Cell | Screen::Diff => {
                let id = self.selected_change()?;
                format!("{}\n{}", self.plan.steps[id.step].title, self.change_text(id))
            }
            Screen::Explain => self.change_text(ChangeId {
                step: self.step,
                n: self.scroll.min(self.plan.steps.get(self.step)?.changes.len().checked_sub(1)?),
            }),
            Screen::Waiting => {
                let problem = self.report.as_ref()?.problems.get(self.scroll)?;
                let owner = problem.owner.as_ref().map_or_else(String::new, |owner| format!(" of {owner}"));
                let place = problem.place.as_ref().map_or_else(String::new, |place| format!(" on {place}"));
                format!("{}{owner}{place}: {}", problem.subject, problem.why)
            }
            Screen::Notes => {
                let (_, problem) = *self.note_rows().get(self.scroll)?;
                let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!("\nhelps: {hint}"));
                format!("{} {}{hint}", problem.subject, problem.why)
            }
            Screen::Ledger => {
                let rows = self.ledger_rows();
                let line = rows.get(self.scroll)?;
                let new = line.new.as_ref().map_or_else(|| "(none)".to_owned(), ToString::to_string);
                format!("{} -> {new}  {}: {}", line.old.familiar(), line.verdict, line.proof)
            }
            Screen::Held => return None,
            Screen::Failure => return self.cause_text(),
            Screen::End => self.end_lines().get(self.scroll)?.clone(),
            Screen::Plan | Screen::Overview | Screen::Resume => {
                let step = self.plan.steps.get(self.step)?;
                format!("step {}, {}: {}", self.step + 1, step.title, step.summary)
            }
        };
        Some(text.lines().map(text::clean).collect::<Vec<_>>().join("\n") + "\n")
    }

    /// The command that goes on with this run, or undoes it: whole, to be pasted.
    fn command_text(&self) -> Option<String> {
        if self.state.plan.is_none() || self.simulated {
            return None;
        }
        let command = match (&self.state.finished, self.state.undoable().first().copied()) {
            (None, _) => format!("castoff resume {}{}", word(&self.run), self.again),
            (Some(_), None) => format!("castoff report {}{}", word(&self.run), self.again),
            (Some(_), Some(to)) => {
                format!("castoff rollback {} --to {}{}", word(&self.run), word(&self.plan.steps[to].id), self.again)
            }
        };
        Some(command + "\n")
    }

    fn change_text(&self, id: ChangeId) -> String {
        let planned = self.plan.change(id);
        let mut out = format!("{id}  {} {} on {}\n", words::verb(&planned.kind).would, planned.subject, planned.place);
        for request in planned.change.requests() {
            let _ = writeln!(out, "  {request}");
        }
        out
    }

    fn diff_text(&self) -> String {
        let Some(id) = self.selected_change() else { return String::new() };
        let planned = self.plan.change(id);
        let head = format!("{id}  {} {} on {}", words::verb(&planned.kind).would, planned.subject, planned.place);
        let lines = std::iter::once(text::clean(&head)).chain(self.diff_lines());
        lines.flat_map(|line| [line, "\n".to_owned()]).collect()
    }

    /// The page that is shown, whole, as text for the pager.
    pub fn page_text(&self) -> Wish {
        let (name, lines): (&'static str, Vec<String>) = match self.screen {
            Screen::Log => {
                let line = |line: &super::lines::Line| format!("{}  {}", self.look.clock(line.at_ms), line.words());
                ("log.txt", self.log_lines().map(line).collect())
            }
            Screen::Diff => ("diff.txt", vec![self.diff_text()]),
            Screen::End => {
                ("report.txt", super::screens::end::end_page(&self.state, &self.run, &self.journal, &self.look, 120, &self.again))
            }
            Screen::Notes => {
                let line = |(blocks, p): (bool, &crate::model::Problem)| {
                    let word = if blocks { "IN THE WAY" } else { "note" };
                    let hint = p.hint.as_ref().map_or_else(String::new, |hint| format!("; helps: {hint}"));
                    format!("{word}  {} {}{hint}", p.subject, p.why)
                };
                ("notes.txt", self.note_rows().into_iter().map(line).collect())
            }
            Screen::Ledger => {
                let line = |line: &crate::model::LedgerLine| {
                    let new = line.new.as_ref().map_or_else(|| "(none)".to_owned(), ToString::to_string);
                    format!("{} -> {new}  {}: {}; on {}", line.old.familiar(), line.verdict, line.proof, line.hosts.join(" "))
                };
                ("ledger.txt", self.ledger_rows().into_iter().map(line).collect())
            }
            Screen::Plan => ("plan.txt", (0..self.plan.steps.len()).flat_map(|step| self.step_text(step)).collect()),
            _ => ("step.txt", self.step_text(self.step)),
        };
        let text = lines.iter().flat_map(|line| line.lines()).flat_map(|line| [text::clean(line), "\n".to_owned()]).collect();
        Wish::Pager { name, text }
    }

    /// A step with all its changes, requests and sides.
    fn step_text(&self, step: usize) -> Vec<String> {
        let Some(planned) = self.plan.steps.get(step) else { return vec![] };
        let mut out = vec![format!("STEP {}  {}: {}", step + 1, planned.title, planned.summary)];
        for change in &planned.changes {
            out.push(self.change_text(change.id));
            out.extend(super::screens::sides::plain_lines(change));
            out.extend(change.change.undo_requests().into_iter().map(|request| format!("  undo: {request}")));
        }
        out
    }
}
