//! Which lines of the log are shown, and where the reader holds it.
//! Never moves under the reader: what is held is a line by its number, whatever comes after or falls out before it.

use super::app::App;
use super::lines::Line;
use crate::model::{Level, text};

/// Everything; 3 is without what only begins.
pub const ALL: u8 = 4;

/// How the log page is looked at.
#[derive(Clone, Debug)]
pub struct LogView {
    /// 1 errors, 2 warnings too, 3 what was done too, 4 everything.
    pub level: u8,
    pub step: Option<usize>,
    pub place: Option<String>,
    /// Long lines are broken, not cut.
    pub wrap: bool,
    /// `None` follows; else the number of the line that is held at the bottom.
    pub held: Option<u64>,
}

impl Default for LogView {
    fn default() -> Self {
        Self { level: ALL, step: None, place: None, wrap: false, held: None }
    }
}

impl LogView {
    fn keeps(&self, line: &Line) -> bool {
        let loud = match (line.level, line.begins) {
            (Level::Error, _) => 1,
            (Level::Warn, _) => 2,
            (Level::Info, false) => 3,
            (Level::Info, true) => ALL,
        };
        loud <= self.level
            && self.step.is_none_or(|step| line.step == Some(step))
            && self.place.as_ref().is_none_or(|place| line.place == *place)
    }
}

impl App {
    /// The lines that are shown, oldest first.
    pub fn log_lines(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.lines.iter().filter(|line| self.log.keeps(line) && self.shows(|| line.words()))
    }

    /// The line at the bottom: the one that is held, or the newest.
    pub fn log_line(&self) -> Option<&Line> {
        let held = self.log.held;
        self.log_lines().rev().find(|line| held.is_none_or(|held| line.no <= held)).or_else(|| self.log_lines().next())
    }

    /// How many shown lines are newer than the one at the bottom.
    pub fn log_newer(&self) -> usize {
        self.log.held.map_or(0, |held| self.log_lines().rev().take_while(|line| line.no > held).count())
    }

    /// The place of the bottom line among those that are shown.
    pub fn log_row(&self) -> usize {
        let n = match self.log.held {
            Some(held) => self.log_lines().filter(|line| line.no <= held).count(),
            None => self.log_lines().count(),
        };
        n.saturating_sub(1)
    }

    /// Holds the log at one of its shown lines; at the last of them it follows.
    pub fn hold_at(&mut self, row: usize) {
        let at: Vec<u64> = self.log_lines().map(|line| line.no).skip(row).take(2).collect();
        self.log.held = if let [held, _] = at.as_slice() { Some(*held) } else { None };
    }

    /// Moves the bottom line.
    pub fn log_by(&mut self, by: isize) {
        let n = self.log_lines().count();
        let row = self.log_row().saturating_add_signed(by).min(n.saturating_sub(1));
        self.hold_at(row);
    }

    /// Only the step of the bottom line, or the selected one; and all again.
    pub fn one_step(&mut self) {
        let step = self.log_line().and_then(|line| line.step).unwrap_or(self.step);
        self.log.step = if self.log.step.is_some() { None } else { Some(step) };
        self.look_for(false);
    }

    /// Only the place of the bottom line; and all again.
    pub fn one_place(&mut self) {
        let place = self.log_line().map(|line| line.place.clone()).filter(|place| !place.is_empty());
        if self.log.place.is_none() && place.is_none() {
            self.notice = Some((Level::Warn, "this line is of no agent: hold one that is".to_owned()));
        }
        self.log.place = if self.log.place.is_some() { None } else { place };
        self.look_for(false);
    }

    /// `show: warn and up, step 7`: what the log leaves out; empty while it shows everything.
    pub fn log_shows(&self) -> String {
        let mut parts = vec![];
        match self.log.level {
            1 => parts.push("errors".to_owned()),
            2 => parts.push("warn and up".to_owned()),
            3 => parts.push("what was done".to_owned()),
            _ => {}
        }
        parts.extend(self.log.step.map(|step| format!("step {}", step + 1)));
        parts.extend(self.log.place.as_deref().map(text::clean));
        if parts.is_empty() { String::new() } else { format!("show: {}", parts.join(", ")) }
    }

    /// `Held at line 2 996. 132 newer lines below. End follows again.`
    pub fn log_held(&self) -> Option<String> {
        let held = self.log.held?;
        let newer = text::count(self.log_newer() as u64, "newer line");
        Some(format!("Held at line {}. {newer} below. End follows again.", text::number(held)))
    }
}
