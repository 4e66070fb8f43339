//! The help: the key table of the place one comes from, with the reason beside a key that does nothing now.
//! Never a list of its own.

use crate::tui::app::App;
use crate::tui::keys::{self, Binding};
use crate::tui::parts::{boxed, cell, cut_end, prose, rows as cut_rows};
use crate::tui::theme::Tone;
use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};

/// From this width on there are two columns.
const WIDE: u16 = 116;

/// The lines of the help of the screen below it.
pub fn rows(app: &App) -> Vec<&'static Binding> {
    keys::here(super::super::act::screen_place(app.screen)).filter(|binding| !binding.shown.is_empty()).collect()
}

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let all = rows(app);
    let two = area.width >= WIDE;
    let width = if two { area.width } else { area.width.min(96) };
    let lessons = [
        "Lower case looks, CAPITALS act, and what cannot be undone wants a sentence.",
        "Ctrl-C stops at the safe point, twice stops at once; the journal makes both safe.",
    ];
    let wanted = if two { all.len().div_ceil(2) } else { all.len() };
    let height = u16::try_from(wanted + lessons.len() + 4).unwrap_or(u16::MAX).min(area.height);
    let inside = boxed(frame, area, (width, height), "HELP   esc closes", look);
    let under = if inside.height > 12 { 3 } else { 0 };
    let [list, foot] = cut_rows(inside, [inside.height.saturating_sub(under)]);
    let rows = list.height as usize;
    let fit = if two { rows * 2 } else { rows };
    let first = app.help_at.min(all.len().saturating_sub(fit));
    let column = |from: usize, width: usize| -> Vec<Line<'static>> {
        all.iter().skip(from).take(rows).map(|binding| row(app, binding, width)).collect()
    };
    if two {
        let half = list.width / 2;
        frame.render_widget(Paragraph::new(column(first, half as usize)), Rect { width: half, ..list });
        let beside = Rect { x: list.x + half, width: list.width - half, ..list };
        frame.render_widget(Paragraph::new(column(first + rows, beside.width as usize)), beside);
    } else {
        frame.render_widget(Paragraph::new(column(first, list.width as usize)), list);
    }
    let left = all.len().saturating_sub(first + fit);
    let more = if left > 0 { format!("  {left} more below: j and k") } else { String::new() };
    let mut out = vec![Line::styled(more, look.style(Tone::Dim))];
    out.extend(lessons.map(|lesson| Line::styled(cut_end(&format!("  {lesson}"), width as usize - 2), look.style(Tone::Plain))));
    frame.render_widget(Paragraph::new(out), foot);
}

fn row(app: &App, binding: &Binding, width: usize) -> Line<'static> {
    let look = &app.look;
    let why = app.why_not(binding.intent);
    let tone = if why.is_some() { Tone::Dim } else { Tone::Plain };
    let words = match why {
        Some(why) => format!("{}   (not now: {why})", binding.help),
        None => binding.help.to_owned(),
    };
    Line::from(vec![
        cell(&format!("  {}", binding.shown), 13, look.style(if tone == Tone::Dim { Tone::Dim } else { Tone::Strong })),
        prose(&words, width.saturating_sub(14), look.style(tone)),
        cell("", 1, look.style(Tone::Plain)),
    ])
}
