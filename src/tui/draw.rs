//! One picture of the interface's state.
//! Never changes what it draws.

use super::app::{App, Popup, Screen};
use super::{parts, screens};
use crate::model::text;
use ratatui::{Frame, buffer::Buffer, layout::Rect, style::Modifier};
use unicode_width::UnicodeWidthStr;

/// Below this nothing is legible.
const SMALLEST: (u16, u16) = (60, 16);

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    pages(frame, app);
    sweep(frame.buffer_mut());
}

fn pages(frame: &mut Frame<'_>, app: &App) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        screens::too_small::draw(frame, app, SMALLEST);
        return;
    }
    let crumb = match app.screen {
        Screen::Plan => " > plan",
        Screen::Overview => "",
        Screen::Changes => " > changes",
        Screen::Matrix => " > matrix",
        Screen::Cell => " > matrix > cell",
        Screen::Log => " > log",
        Screen::Notes => " > notes",
        Screen::Ledger => " > ledger",
        Screen::Diff => " > diff",
        Screen::Explain => " > explain",
        Screen::Failure => " > failure",
        Screen::Waiting => " > gate",
        Screen::Resume => " > resume",
        Screen::End => " > end",
        Screen::Held => " > lock",
    };
    let crumb = if matches!(app.popup, Some(Popup::Question(_))) { " > question" } else { crumb };
    let body = parts::head(frame, app, area, crumb);
    let body = parts::foot(frame, app, body, app.place());
    if let Some(Popup::Question(question)) = &app.popup {
        screens::gate::draw(frame, app, question, body);
        screens::palette::draw(frame, app, body);
        return;
    }
    match app.screen {
        Screen::Plan => screens::plan::draw(frame, app, body),
        Screen::Overview => screens::overview::draw(frame, app, body),
        Screen::Changes => screens::changes::draw(frame, app, body),
        Screen::Matrix => screens::matrix::draw(frame, app, body),
        Screen::Cell => screens::cell::draw(frame, app, body),
        Screen::Log => screens::log::draw(frame, app, body),
        Screen::Notes => screens::notes::draw(frame, app, body),
        Screen::Ledger => screens::ledger::draw(frame, app, body),
        Screen::Diff => screens::diff::draw(frame, app, body),
        Screen::Explain => screens::explain::draw(frame, app, body),
        Screen::Failure => screens::failure::draw(frame, app, body),
        Screen::Waiting => screens::waiting::draw(frame, app, body),
        Screen::Resume => screens::resume::draw(frame, app, body),
        Screen::End => screens::end::draw(frame, app, body),
        Screen::Held => screens::held::draw(frame, app, body),
    }
    match &app.popup {
        Some(Popup::Help) => screens::help::draw(frame, app, body),
        Some(Popup::Leave) => screens::leave::draw(frame, app, body),
        Some(Popup::Retry { .. }) => screens::leave::draw_retry(frame, app, body),
        Some(Popup::Gone) => screens::held::draw_gone(frame, app, body),
        Some(Popup::Question(_)) | None => {}
    }
    underline(frame, app, body);
    screens::palette::draw(frame, app, body);
}

/// The last look at a picture: whatever slipped through a screen, no cell holds what a terminal must not see.
pub fn sweep(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let symbol = cell.symbol();
        if symbol.len() > 1 && !text::is_clean(symbol) {
            let cleaned = text::clean(symbol);
            cell.set_symbol(if cleaned.width() == 0 { " " } else { &cleaned });
        }
    }
}

/// Marks what is looked for wherever it stands on the page.
fn underline(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let Some((word, false)) = app.finding().and_then(super::find::Find::word) else { return };
    let wanted: Vec<char> = word.chars().collect();
    let buffer = frame.buffer_mut();
    for y in area.top()..area.bottom() {
        let row: Vec<char> = (area.left()..area.right())
            .map(|x| buffer[(x, y)].symbol().chars().next().and_then(|c| c.to_lowercase().next()).unwrap_or(' '))
            .collect();
        for x in 0..row.len().saturating_sub(wanted.len() - 1) {
            if row[x..].starts_with(&wanted) {
                let at = Rect {
                    x: area.x + u16::try_from(x).unwrap_or(0),
                    y,
                    width: u16::try_from(wanted.len()).unwrap_or(1),
                    height: 1,
                };
                buffer.set_style(at, Modifier::BOLD | Modifier::UNDERLINED);
            }
        }
    }
}
