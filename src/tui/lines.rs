//! The log page's lines: every entry and every remark, in words, newest last.
//! Never the journal itself: old lines fall out of this list, and the file on disk has them all.

use super::words;
use crate::model::{ChangeId, Entry, Level, Outcome, Stamped, State, text};
use std::collections::VecDeque;

/// More than a night's reading; older lines are in the folder of the run.
const KEPT: usize = 10_000;

#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// From 1, in the order of coming.
    pub no: u64,
    pub at_ms: i64,
    pub level: Level,
    /// Says only that something begins.
    pub begins: bool,
    pub step: Option<usize>,
    pub place: String,
    /// Of a change: its kind and what it is about. Empty otherwise.
    pub kind: String,
    pub subject: String,
    pub text: String,
}

impl Line {
    /// A remark that is of no change.
    pub fn remark(at_ms: i64, level: Level, place: &str, said: &str) -> Self {
        let (kind, subject) = (String::new(), String::new());
        let (place, text) = (text::clean(place), text::clean(said));
        Self { no: 0, at_ms, level, begins: false, step: None, place, kind, subject, text }
    }

    /// Everything it says, for what is looked for and copied.
    pub fn words(&self) -> String {
        let step = self.step.map(|step| format!("step {}", step + 1)).unwrap_or_default();
        let level = match self.level {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "ERROR",
        };
        let parts = [level, &step, &self.place, &self.kind, &self.subject, &self.text];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
    }
}

#[derive(Clone, Debug, Default)]
pub struct Lines {
    lines: VecDeque<Line>,
    /// Lines in all, with those that have fallen out.
    pub total: u64,
}

impl Lines {
    pub fn push(&mut self, mut line: Line) {
        self.total += 1;
        line.no = self.total;
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The kept lines, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.lines.iter()
    }
}

/// An entry in words. `state` has it folded in already.
pub fn of_entry(stamped: &Stamped, state: &State) -> Line {
    if let Some(line) = of_change(stamped, state) {
        return line;
    }
    let title = |step: &usize| {
        let title = state.plan.as_ref().and_then(|plan| plan.steps.get(*step)).map_or("", |s| s.title.as_str());
        format!("step {}, {title}", step + 1)
    };
    let (level, step, said) = match &stamped.entry {
        Entry::Planned { plan, by } => (Level::Info, None, format!("plan {} approved by {by}; the run begins", plan.plan)),
        Entry::GateReached { step } => (Level::Info, Some(*step), format!("gate of {} reached", title(step))),
        Entry::GateApproved { step, by, .. } => (Level::Info, Some(*step), format!("gate of {} passed by {by}", title(step))),
        Entry::Seen { step, problem } => (Level::Warn, Some(*step), problem.words()),
        Entry::WaveReached { step, .. }
        | Entry::WavePassed { step, .. }
        | Entry::SetAside { step, .. }
        | Entry::CameBack { step, .. } => {
            let level = if matches!(stamped.entry, Entry::SetAside { .. }) { Level::Warn } else { Level::Info };
            let (word, said) = state.wave_entry(&stamped.entry);
            (level, Some(*step), format!("{word} {said}"))
        }
        Entry::WindowSet { window, by } => (Level::Info, None, format!("the window is {}, by {by}", window.words())),
        Entry::WindowMoved { window, by } => (Level::Warn, None, format!("window moved by {by}: now {}", window.words())),
        Entry::Paused { why, by } => (Level::Warn, None, format!("paused by {by}: {why}")),
        Entry::Continued { by } => (Level::Info, None, format!("continued by {by}")),
        Entry::LimitChanged { limits, by } => (Level::Info, None, format!("limits set by {by}: {}", limits.words())),
        Entry::RollbackBegun { to, by, why } => {
            (Level::Warn, Some(*to), format!("rollback to before {} begun by {by}: {why}", title(to)))
        }
        Entry::TakenOver { by, why } => (Level::Warn, None, format!("taken over by {by}: {why}")),
        Entry::Finished { outcome } => (Level::Info, None, format!("the run is over: {}", outcome_words(outcome))),
        // Those of one change are above.
        _ => (Level::Info, None, String::new()),
    };
    Line { step, ..Line::remark(stamped.at_ms, level, "", &said) }
}

/// An entry about one change: its parts stand in columns.
fn of_change(stamped: &Stamped, state: &State) -> Option<Line> {
    let (level, id, said) = match &stamped.entry {
        Entry::Found { change } => (Level::Info, *change, "was already so".to_owned()),
        Entry::Started { change } => (Level::Info, *change, verb(state, *change).doing.to_owned()),
        Entry::Done { change } => (Level::Info, *change, format!("{} in {}", verb(state, *change).done, took(state, *change))),
        Entry::Proven { change, by } => (Level::Info, *change, format!("proven: {by}")),
        Entry::UndoStarted { change } => (Level::Info, *change, "undo begun".to_owned()),
        Entry::Undone { change } => (Level::Info, *change, "undone".to_owned()),
        Entry::Retried { change, why, after_ms } => {
            let wait = match after_ms {
                0 => "again now".to_owned(),
                ms => format!("again after {}", text::age((*ms).cast_signed())),
            };
            (Level::Warn, *change, format!("{why}, {wait}"))
        }
        Entry::Failed { change, fault } => (Level::Error, *change, format!("FAILED: {}", fault.why)),
        Entry::UndoFailed { change, fault } => (Level::Error, *change, format!("UNDO FAILED: {}", fault.why)),
        Entry::Skipped { change, why, by } => (Level::Warn, *change, format!("skipped by {by}: {why}")),
        _ => return None,
    };
    let begins = matches!(stamped.entry, Entry::Started { .. } | Entry::UndoStarted { .. });
    let planned = state.plan.as_ref()?.change(id);
    let (kind, subject) = (text::clean(&planned.kind), text::clean(&planned.subject));
    Some(Line { begins, step: Some(id.step), kind, subject, ..Line::remark(stamped.at_ms, level, &planned.place, &said) })
}

fn verb(state: &State, change: ChangeId) -> words::Verb {
    words::verb(state.plan.as_ref().map_or("", |plan| plan.change(change).kind.as_str()))
}

fn took(state: &State, change: ChangeId) -> String {
    let status = state.status(change);
    status.started_ms.zip(status.ended_ms).map(|(from, to)| text::duration(to - from)).unwrap_or_default()
}

/// How a run ended, in words.
pub fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::DoneWithSkips => "done, with changes left out".to_owned(),
        Outcome::RolledBack => "rolled back".to_owned(),
        Outcome::Aborted(why) => format!("aborted: {why}"),
    }
}
