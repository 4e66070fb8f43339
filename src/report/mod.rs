//! Layer 3: plans and runs as text, Markdown and JSON. Reads the two folds of the model and nothing else.

pub mod bundle;
mod decisions;
mod hosts;
mod lines;
mod plan;
mod run;
mod window;

pub use decisions::decisions;
pub use plan::{ledger_text, plan_text, sum};
pub use run::{entry_text, report_json, report_markdown, standing, status_text};
pub use window::window_text;

use crate::model::{PlannedStep, WayBack};
use jiff::{Timestamp, tz::TimeZone};

/// `2026-11-21 02:14:32 KST`, in the zone of this machine.
pub fn moment(ms: i64) -> String {
    let Ok(at) = Timestamp::from_millisecond(ms) else { return "(no time)".to_owned() };
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// `02:14:32`, in the zone of this machine.
pub fn clock(ms: i64) -> String {
    let Ok(at) = Timestamp::from_millisecond(ms) else { return "--:--:--".to_owned() };
    at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// The way back of a step in one word, written out where there is none.
pub fn undo_word(step: &PlannedStep) -> &'static str {
    if step.pending().next().is_none() {
        return "-";
    }
    match step.way_back() {
        WayBack::Whole => "whole",
        WayBack::Partly(_) => "PARTLY",
        WayBack::None(_) => "NO UNDO",
    }
}
