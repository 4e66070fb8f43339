//! The log page, and the newest lines of it at the foot of the overview.
//! Never moves under the reader: scrolled up, it holds and counts what is newer.

use super::detail::short_subject;
use crate::model::{Level, text};
use crate::tui::app::App;
use crate::tui::lines;
use crate::tui::parts::{cell, cut_end, prose, right, rows, selected, wrap};
use crate::tui::theme::Tone;
use crate::tui::words;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

/// From this width on there are milliseconds, steps and kinds.
const WIDE: usize = 110;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let width = area.width as usize;
    let newer = app.log_newer();
    let mark = u16::from(newer > 0);
    let [body, bottom] = rows(area, [area.height.saturating_sub(mark)]);
    let room = body.height as usize;
    let held = app.log.held;
    let mut shown: Vec<Line<'_>> = vec![];
    for line in app.log_lines().rev().skip_while(|line| held.is_some_and(|held| line.no > held)) {
        let mut of_line = if app.log.wrap { wrapped(app, line, width) } else { vec![row(app, line, width)] };
        if shown.is_empty() && held.is_some() {
            // The line that y copies, and whose step and agent s and a take.
            of_line[0] = selected(&of_line[0], width, look);
        }
        shown.extend(of_line.into_iter().rev());
        if shown.len() >= room {
            break;
        }
    }
    shown.truncate(room);
    shown.reverse();
    if shown.is_empty() {
        shown.push(Line::styled(
            format!(" No line is shown. 4 shows every level; s and a show all steps and {}s again.", words::machine(&app.plan)),
            look.style(Tone::Dim),
        ));
    }
    frame.render_widget(Paragraph::new(shown), body);
    if newer > 0 {
        let words = format!(" v {}", text::count(newer as u64, "newer line"));
        frame.render_widget(Line::styled(cut_end(&words, width), look.style(Tone::Waiting)), bottom);
    }
}

/// The newest lines, for the foot of the overview.
pub fn newest(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let newest = app.lines.iter().rev().take(area.height as usize);
    let mut shown: Vec<Line<'_>> = newest.map(|line| row(app, line, area.width as usize)).collect();
    shown.reverse();
    frame.render_widget(Paragraph::new(shown), area);
}

fn row(app: &App, line: &lines::Line, width: usize) -> Line<'static> {
    let (mut spans, used) = head(app, line, width);
    spans.push(prose(&line.text, width.saturating_sub(used), app.look.style(text_tone(line))));
    Line::from(spans)
}

/// The same with all of its text, below each other in its column.
fn wrapped(app: &App, line: &lines::Line, width: usize) -> Vec<Line<'static>> {
    let (mut spans, used) = head(app, line, width);
    let style = app.look.style(text_tone(line));
    let first = wrap(&line.text, width.saturating_sub(used)).into_iter().next().unwrap_or_default();
    let rest = line.text.get(first.len()..).unwrap_or_default().trim_start().to_owned();
    // A word that does not fit stands whole on a line of its own, with more room.
    let (first, rest) = if line.text.starts_with(&first) { (first, rest) } else { (String::new(), line.text.clone()) };
    let indent = used.min(width / 3);
    spans.push(Span::styled(first, style));
    let mut out = vec![Line::from(spans)];
    let more = wrap(&rest, width.saturating_sub(indent));
    out.extend(more.into_iter().map(|words| Line::from(vec![Span::raw(" ".repeat(indent)), Span::styled(words, style)])));
    out
}

fn text_tone(line: &lines::Line) -> Tone {
    if line.level == Level::Error { Tone::Failed } else { Tone::Plain }
}

/// The columns before the text, and how wide they are.
fn head(app: &App, line: &lines::Line, width: usize) -> (Vec<Span<'static>>, usize) {
    let look = &app.look;
    let (word, tone) = match line.level {
        Level::Info => ("info ", Tone::Dim),
        Level::Warn => ("warn ", Tone::Warning),
        Level::Error => ("ERROR", Tone::Failed),
    };
    let wide = width >= WIDE;
    let (dim, plain) = (look.style(Tone::Dim), look.style(Tone::Plain));
    let time = if wide { look.clock_with_ms(line.at_ms) } else { look.clock(line.at_ms) };
    let mut spans = vec![Span::styled(format!(" {time} "), dim), Span::styled(word, look.style(tone)), Span::raw(" ")];
    let mut used = time.len() + 8;
    if wide {
        let step = line.step.map_or_else(String::new, |step| (step + 1).to_string());
        spans.push(right(&step, 2, dim));
        spans.push(Span::raw("  "));
        used += 4;
    }
    let place = if line.place.is_empty() { "-" } else { &line.place };
    let place_width = if wide { 12 } else { 9 };
    spans.push(cell(place, place_width, plain));
    spans.push(Span::raw(" "));
    used += place_width + 1;
    // A line of the whole run needs no columns of a change.
    if !line.subject.is_empty() {
        // The same few files on every host: their names are enough, and what is said of them needs the room.
        let file = line.kind == "configure";
        if wide && !file {
            spans.push(cell(&line.kind, 8, plain));
            used += 8;
        }
        let subject = match () {
            () if file => 14,
            () if wide => 34,
            () => (width / 3).min(26).saturating_sub(if width < 70 { 6 } else { 0 }),
        };
        spans.push(cell(&short_subject(&line.subject, subject), subject, plain));
        spans.push(Span::raw("  "));
        used += subject + 2;
    }
    (spans, used)
}
