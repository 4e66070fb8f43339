//! The log page's lines: every entry and every remark, in words, newest last.
//! Never the journal itself: old lines fall out of this list, and the file on disk has them all.

use super::words;
use crate::model::{Entry, Level, Outcome, Stamped, State, text};
use std::collections::VecDeque;

/// More than a night's reading; older lines are in the folder of the run.
const KEPT: usize = 10_000;

#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub at_ms: i64,
    pub level: Level,
    pub place: String,
    pub text: String,
}

#[derive(Clone, Debug, Default)]
pub struct Lines {
    lines: VecDeque<Line>,
    /// Lines in all, with those that have fallen out.
    pub total: u64,
}

impl Lines {
    pub fn push(&mut self, line: Line) {
        self.total += 1;
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The kept lines of at least this level, oldest first.
    pub fn at_least(&self, level: Level) -> impl DoubleEndedIterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.level >= level)
    }

    pub fn count(&self, level: Level) -> usize {
        if level == Level::Info { self.lines.len() } else { self.at_least(level).count() }
    }
}

/// An entry in words. `state` has it folded in already.
pub fn of_entry(stamped: &Stamped, state: &State) -> Line {
    let step = |step: &usize| {
        let title = state.plan.as_ref().and_then(|plan| plan.steps.get(*step)).map_or("", |s| s.title.as_str());
        format!("step {}, {title}", step + 1)
    };
    let (level, place, said) = match &stamped.entry {
        Entry::Planned { plan, by } => {
            (Level::Info, String::new(), format!("plan {} approved by {by}; the run begins", plan.plan))
        }
        Entry::GateReached { step: n } => (Level::Info, String::new(), format!("gate of {} reached", step(n))),
        Entry::GateApproved { step: n, by, .. } => (Level::Info, String::new(), format!("gate of {} passed by {by}", step(n))),
        Entry::WaveReached { .. } | Entry::WavePassed { .. } | Entry::SetAside { .. } | Entry::CameBack { .. } => {
            let level = if matches!(stamped.entry, Entry::SetAside { .. }) { Level::Warn } else { Level::Info };
            let (word, said) = state.wave_entry(&stamped.entry);
            (level, String::new(), format!("{word} {said}"))
        }
        Entry::Found { change }
        | Entry::Started { change }
        | Entry::Done { change }
        | Entry::UndoStarted { change }
        | Entry::Undone { change } => {
            let Some(plan) = &state.plan else { return blank(stamped) };
            let planned = plan.change(*change);
            let verb = words::verb(&planned.kind);
            let status = state.status(*change);
            let took = status.started_ms.zip(status.ended_ms).map(|(from, to)| text::duration(to - from));
            let said = match &stamped.entry {
                Entry::Found { .. } => format!("{} was already so", planned.subject),
                Entry::Started { .. } => format!("{} {}", verb.doing, planned.subject),
                Entry::Done { .. } => format!("{} {} in {}", verb.done, planned.subject, took.unwrap_or_default()),
                Entry::UndoStarted { .. } => format!("undoing: {} {}", verb.would, planned.subject),
                _ => format!("undone: {} {}", verb.would, planned.subject),
            };
            (Level::Info, planned.place.clone(), said)
        }
        Entry::Retried { change, why, after_ms } => {
            let wait = if *after_ms > 0 {
                format!(", again after {}", text::age((*after_ms).cast_signed()))
            } else {
                ", again now".to_owned()
            };
            (Level::Warn, place_of(state, *change), format!("{}: {why}{wait}", subject_of(state, *change)))
        }
        Entry::Failed { change, fault } => {
            (Level::Error, place_of(state, *change), format!("FAILED {}: {}", subject_of(state, *change), fault.why))
        }
        Entry::UndoFailed { change, fault } => {
            (Level::Error, place_of(state, *change), format!("UNDO FAILED {}: {}", subject_of(state, *change), fault.why))
        }
        Entry::Skipped { change, why, by } => {
            (Level::Warn, place_of(state, *change), format!("{} skipped by {by}: {why}", subject_of(state, *change)))
        }
        Entry::Paused { why, by } => (Level::Warn, String::new(), format!("paused by {by}: {why}")),
        Entry::Continued { by } => (Level::Info, String::new(), format!("continued by {by}")),
        Entry::LimitChanged { limits, by } => {
            let said = format!("limits set by {by}: {}", limits.words());
            (Level::Info, String::new(), said)
        }
        Entry::WindowSet { window, by } => (Level::Info, String::new(), format!("the window is {}, by {by}", window.words())),
        Entry::WindowMoved { window, by } => {
            (Level::Warn, String::new(), format!("window moved by {by}: now {}", window.words()))
        }
        Entry::RollbackBegun { to, by, why } => {
            (Level::Warn, String::new(), format!("rollback to before {} begun by {by}: {why}", step(to)))
        }
        Entry::TakenOver { by } => (Level::Warn, String::new(), format!("taken over by {by}")),
        Entry::Finished { outcome } => (Level::Info, String::new(), format!("the run is over: {}", outcome_words(outcome))),
    };
    Line { at_ms: stamped.at_ms, level, place: text::clean(&place), text: text::clean(&said) }
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

fn blank(stamped: &Stamped) -> Line {
    Line { at_ms: stamped.at_ms, level: Level::Info, place: String::new(), text: String::new() }
}

fn place_of(state: &State, id: crate::model::ChangeId) -> String {
    state.plan.as_ref().map_or_else(String::new, |plan| plan.change(id).place.clone())
}

fn subject_of(state: &State, id: crate::model::ChangeId) -> String {
    state.plan.as_ref().map_or_else(|| id.to_string(), |plan| plan.change(id).subject.clone())
}
