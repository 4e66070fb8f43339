//! The log page, and the newest lines of it at the foot of the overview.
//! Never moves under the reader: scrolled up, it holds and counts what is newer.

use crate::model::Level;
use crate::tui::app::App;
use crate::tui::lines;
use crate::tui::parts::{cell, cut_end, prose, rows};
use crate::tui::theme::Tone;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let level = app.log_level();
    let n = app.lines.count(level);
    let bottom = app.held.unwrap_or(n.saturating_sub(1)).min(n.saturating_sub(1));
    let [heading, body] = rows(area, [1]);
    let newer = n.saturating_sub(bottom + 1);
    let only = if app.warnings_only { "warnings and errors only; " } else { "" };
    let how = match newer {
        0 => "following".to_owned(),
        n => format!("held; {n} newer below, G follows again"),
    };
    let words = format!(" LOG  {only}{how}   {}", app.folder.display());
    frame.render_widget(Line::styled(cut_end(&words, area.width as usize), app.look.style(Tone::Strong)), heading);
    let height = body.height as usize;
    let first = (bottom + 1).saturating_sub(height);
    let shown: Vec<Line<'_>> =
        app.lines.at_least(level).skip(first).take(height.min(n)).map(|line| row(app, line, area.width as usize)).collect();
    frame.render_widget(Paragraph::new(shown), body);
}

/// The newest lines, for the foot of the overview.
pub fn newest(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let mut shown: Vec<Line<'_>> = app
        .lines
        .at_least(Level::Info)
        .rev()
        .take(area.height as usize)
        .map(|line| row(app, line, area.width as usize))
        .collect();
    shown.reverse();
    frame.render_widget(Paragraph::new(shown), area);
}

fn row(app: &App, line: &lines::Line, width: usize) -> Line<'static> {
    let look = &app.look;
    let (word, tone) = match line.level {
        Level::Info => ("info ", Tone::Dim),
        Level::Warn => ("warn ", Tone::Warning),
        Level::Error => ("ERROR", Tone::Failed),
    };
    let place = if line.place.is_empty() { "-" } else { &line.place };
    Line::from(vec![
        Span::styled(format!(" {} ", look.clock(line.at_ms)), look.style(Tone::Dim)),
        Span::styled(word, look.style(tone)),
        Span::raw(" "),
        cell(place, 12, look.style(Tone::Plain)),
        Span::raw(" "),
        prose(
            &line.text,
            width.saturating_sub(30),
            look.style(if line.level == Level::Error { Tone::Failed } else { Tone::Plain }),
        ),
    ])
}
