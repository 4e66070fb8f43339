//! The list of steps of a run: sign, number, title, gate and time.
//! Never builds a row that is not visible.

use super::window;
use crate::model::{State, text};
use crate::tui::app::App;
use crate::tui::parts::{cell, prose, right};
use crate::tui::theme::{Face, Tone};
use crate::tui::{waves, words};
use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};

/// Below this the gate's class stands only at steps to come.
const WIDE: usize = 60;

/// Draws as many steps as fit, the selected one among them.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let width = area.width as usize;
    let shown = window::rows(app, area.height as usize).into_iter();
    let rows: Vec<Line<'_>> =
        shown.map(|step| step.map_or_else(|| window::point_line(app, width), |step| row(app, step, width))).collect();
    frame.render_widget(Paragraph::new(rows), area);
}

fn row(app: &App, step: usize, width: usize) -> Line<'static> {
    let look = &app.look;
    let planned = &app.plan.steps[step];
    let (face, word) = words::step_face(&app.state, step, app.stalled_since(step).is_some());
    let selected = step == app.step;
    let style = |tone: Tone| if selected { look.style(Tone::Selected) } else { look.style(tone) };
    let quiet = matches!(face, Face::ToDo | Face::NotRun);
    let title = style(if quiet { Tone::Dim } else { Tone::Plain });
    // The word is said in the columns that a done step uses for its time, and one to come for its gate.
    let passed = app.state.steps.get(step).is_some_and(|state| state.approved.is_some());
    let gate = if passed { "" } else { words::gate_class(planned.gate.as_ref()) };
    let side = match face {
        Face::ToDo if width < WIDE => gate.to_owned(),
        Face::Done | Face::ToDo => took(&app.state, step, app.now_ms),
        Face::Running | Face::Stalled => share(app, step).map_or_else(|| word.to_owned(), |share| format!("{word} {share}")),
        _ => word.to_owned(),
    };
    let gate_width = if width < WIDE { 0 } else { 8 };
    let side_width = if width < WIDE { 12 } else { 18 };
    let room = width.saturating_sub(8 + gate_width + side_width);
    Line::from(vec![
        cell(&format!(" {}", look.sign(face)), 3, style(face.tone())),
        right(&(step + 1).to_string(), 2, title),
        cell("", 2, title),
        prose(&text::clean(&planned.title), room, title),
        cell("", 1, title),
        cell(gate, gate_width, style(Tone::Dim)),
        right(&side, side_width, if matches!(face, Face::Done) { style(Tone::Dim) } else { style(face.tone()) }),
    ])
}

/// From the first start to the last end of a step; once it is taken back, of its way back.
pub fn took(state: &State, step: usize, now_ms: i64) -> String {
    let Some(state) = state.steps.get(step) else { return String::new() };
    let counts = &state.counts;
    let last = if counts.busy.is_empty() { counts.last_ms } else { Some(now_ms) };
    match counts.first_ms.zip(last) {
        Some((from, to)) => text::duration(to - from),
        None => String::new(),
    }
}

/// How much of a running step is done, by bytes where it moves any.
fn share(app: &App, step: usize) -> Option<String> {
    if app.state.in_canary(step) {
        let (over, all, _) = waves::canary(app, step);
        return (all > 0).then(|| format!("{}%", over * 100 / all));
    }
    let tally = app.state.tally(step);
    if app.state.rolling_back.is_some() {
        let total = tally.undone + app.state.steps[step].counts.undoable;
        return (total > 1).then(|| format!("{}%", tally.undone * 100 / total));
    }
    let (bytes, of_bytes) = app.bytes(step);
    let (done, total) = if of_bytes > 0 { (bytes, of_bytes) } else { (tally.done + tally.found + tally.skipped, tally.total()) };
    (total > 1).then(|| format!("{}%", done.saturating_mul(100) / total))
}
