//! One picture of the interface's state.
//! Never changes what it draws.

use super::app::{App, Popup, Screen};
use super::{parts, screens};
use ratatui::Frame;

/// Below this nothing is legible.
const SMALLEST: (u16, u16) = (60, 16);

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
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
        Screen::Failure => " > failure",
        Screen::Waiting => " > gate",
        Screen::Resume => " > resume",
        Screen::End => " > end",
    };
    let crumb = if matches!(app.popup, Some(Popup::Question(_))) { " > question" } else { crumb };
    let body = parts::head(frame, app, area, crumb);
    let body = parts::foot(frame, app, body, app.place());
    if let Some(Popup::Question(question)) = &app.popup {
        screens::gate::draw(frame, app, question, body);
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
        Screen::Failure => screens::failure::draw(frame, app, body),
        Screen::Waiting => screens::waiting::draw(frame, app, body),
        Screen::Resume => screens::resume::draw(frame, app, body),
        Screen::End => screens::end::draw(frame, app, body),
    }
    match &app.popup {
        Some(Popup::Help) => screens::help::draw(frame, app, body),
        Some(Popup::Leave) => screens::leave::draw(frame, app, body),
        Some(Popup::Retry { .. }) => screens::leave::draw_retry(frame, app, body),
        Some(Popup::Question(_)) | None => {}
    }
}
