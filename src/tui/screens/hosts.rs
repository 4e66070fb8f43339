//! The rows of a step that configures hosts: each with its wave, how it stands, and what proved it or why it failed.
//! Never builds a row that is not visible.

use super::{changes, detail};
use crate::model::{ChangeId, Status, text};
use crate::tui::app::App;
use crate::tui::facts::Listed;
use crate::tui::parts::{brief, cell, prose, right, rows, window};
use crate::tui::theme::{Face, Tone};
use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};
use unicode_width::UnicodeWidthStr;

/// So many columns give room to all causes of failure above the rows.
const WIDE: usize = 100;
/// More causes than this are on the failure page.
const CAUSES: usize = 3;
/// From so many rows on there is room for a heading and the causes.
const HIGH: u16 = 8;

struct Widths {
    name: usize,
    wave: usize,
    word: usize,
}

pub fn draw(frame: &mut Frame<'_>, app: &App, listed: &Listed, area: Rect) {
    let width = area.width as usize;
    let causes = app.causes_of(app.step);
    let above = if area.height < HIGH { 0 } else { causes.len().min(CAUSES) };
    let heading = u16::from(area.height >= HIGH);
    let [top, head, list] = rows(area, [u16::try_from(above).unwrap_or(0), heading]);
    let of = causes.iter().take(above).map(|(fault, ids)| detail::cause(app, fault, ids, width));
    frame.render_widget(Paragraph::new(of.collect::<Vec<_>>()), top);
    let step = &app.plan.steps[app.step];
    let longest = step.changes.iter().map(|planned| planned.place.width()).max().unwrap_or_default();
    let widths = Widths {
        name: longest.clamp(4, if width < WIDE { 16 } else { 28 }),
        wave: if step.waves.is_some() { 6 } else { 0 },
        word: if width < WIDE { 10 } else { 13 },
    };
    let dim = app.look.style(Tone::Dim);
    let titles = Line::from(vec![
        cell("   host", widths.name + 3, dim),
        right(if widths.wave > 0 { "wave" } else { "" }, widths.wave, dim),
        cell("   state", widths.word + 3, dim),
        cell(
            if app.state.plan.is_some() { "what proved it, or why not" } else { "file" },
            width.saturating_sub(widths.name + widths.wave + widths.word + 6),
            dim,
        ),
    ]);
    frame.render_widget(titles, head);
    let shown = window(app.change, listed.len(), list.height as usize);
    let rows = shown.filter_map(|i| Some(row(app, listed.get(i)?, i == app.change, &widths, width)));
    frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), list);
}

fn row(app: &App, n: usize, selected: bool, widths: &Widths, width: usize) -> Line<'static> {
    let look = &app.look;
    let id = ChangeId { step: app.step, n };
    let planned = app.plan.change(id);
    let (face, word) = stands(app, id);
    let style = |tone: Tone| if selected { look.style(Tone::Selected) } else { look.style(tone) };
    let quiet = matches!(face, Face::ToDo | Face::Done | Face::Already | Face::NotRun);
    let plain = style(if quiet { Tone::Dim } else { Tone::Plain });
    let wave = app.plan.steps[app.step]
        .waves
        .as_ref()
        .and_then(|waves| waves.hosts.iter().position(|hosts| hosts.contains(&planned.place)));
    let wave = wave.map_or_else(String::new, |wave| (wave + 1).to_string());
    let room = width.saturating_sub(widths.name + widths.wave + widths.word + 6);
    let side = if face == Face::Failed { brief(&said(app, id, room), room) } else { said(app, id, room) };
    Line::from(vec![
        cell(&format!(" {}", look.sign(face)), 3, style(face.tone())),
        cell(&text::clean(&planned.place), widths.name, plain),
        right(&wave, widths.wave, plain),
        cell("", 3, plain),
        cell(word, widths.word, style(face.tone())),
        prose(&side, room, style(if face == Face::Failed { Tone::Failed } else { Tone::Dim })),
    ])
}

/// How a host stands: one that is set aside comes back, and has not failed for good.
fn stands(app: &App, id: ChangeId) -> (Face, &'static str) {
    let (face, word) = changes::face(app, id);
    let place = &app.plan.change(id).place;
    let waits = app.state.goes_forward();
    let aside = waits && app.state.steps.get(id.step).is_some_and(|step| step.waves.is_aside(place));
    if aside && face == Face::Failed { (Face::Waiting, "set aside") } else { (face, word) }
}

/// What is to be said of a host, by how it stands.
fn said(app: &App, id: ChangeId, room: usize) -> String {
    let planned = app.plan.change(id);
    let what = || detail::short_subject(&planned.subject, room);
    if app.state.plan.is_none() {
        return what();
    }
    let now = app.state.status(id);
    match &now.status {
        Status::Running | Status::Undoing => detail::said(app, id).1,
        Status::Done => now.proof.as_ref().map_or_else(|| "read back".to_owned(), |proof| text::clean(proof)),
        Status::Found => "it was already so".to_owned(),
        Status::Undone => "as it was before".to_owned(),
        Status::Waiting => what(),
        other => other.why().map(text::clean).unwrap_or_default(),
    }
}
