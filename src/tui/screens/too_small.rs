//! Said when the terminal has too few columns or rows.
//! Never hides that the run goes on.

use crate::model::Next;
use crate::tui::app::App;
use crate::tui::parts::wrap;
use ratatui::{Frame, text::Line, widgets::Paragraph};

pub fn draw(frame: &mut Frame<'_>, app: &App, (columns, rows): (u16, u16)) {
    let area = frame.area();
    let goes_on = match app.state.next() {
        _ if !app.begun => "Nothing is running.",
        Next::Apply(_) | Next::Undo(_) if app.watches() => "The run goes on.",
        Next::Apply(_) | Next::Undo(_) => "The run goes on. P pauses it.",
        _ => "Nothing is running; the run waits.",
    };
    let sentence = format!("{}x{} is too small: {columns}x{rows} needed. {goes_on}", area.width, area.height);
    let lines: Vec<Line<'_>> = wrap(&sentence, area.width as usize).into_iter().map(Line::raw).collect();
    frame.render_widget(Paragraph::new(lines), area);
}
