//! A gate that asks nobody: what stands against it, whose it is, since when, and how the count goes.
//! Never takes an answer: it goes on by itself.

use crate::model::{Problem, text};
use crate::tui::app::App;
use crate::tui::parts::{self, cell, cut_end, labelled, lines, prose, right, rows, rule, window, wrap};
use crate::tui::theme::Tone;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

const WIDE: usize = 100;
/// More counts than these make no picture.
const MOST_COUNTS: usize = 12;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let width = area.width as usize;
    let step = app.at().unwrap_or(app.step);
    let Some(gate) = app.plan.steps.get(step).and_then(|step| step.gate.as_ref()) else { return };
    let brown_out = app.state.brown_out(step);
    let problems = brown_out.map_or_else(|| app.problems(step).unwrap_or_default(), |brown_out| brown_out.seen);
    let mut head = vec![Line::styled(format!(" {}", text::clean(&gate.title)), look.style(Tone::Strong))];
    for sentence in &gate.text {
        head.extend(wrap(&text::clean(sentence), width.saturating_sub(2)).into_iter().map(|line| Line::raw(format!(" {line}"))));
    }
    let in_the_way = match brown_out {
        Some(brown_out) => format!(" {}", brown_out.refused()),
        None => format!(" {} in the way{}", text::count(problems.len() as u64, "problem"), over_time(app)),
    };
    let read = app
        .report
        .as_ref()
        .map_or_else(String::new, |report| format!("   read {} ago", text::age(app.now_ms - report.read_at_ms)));
    let room = width.saturating_sub(in_the_way.len());
    head.push(Line::from(vec![Span::styled(in_the_way, look.style(Tone::Waiting)), prose(&read, room, look.style(Tone::Dim))]));
    if brown_out.is_some() {
        head.push(Line::styled(
            cut_end(" it ends by itself, also without castoff; who was refused stands in the report too", width),
            look.style(Tone::Dim),
        ));
    } else if let Some(since) = problems.iter().filter_map(|problem| problem.since_ms).min() {
        let words = format!(" oldest since {}; no end time: it goes on when the list is empty", look.clock_with_zone(since));
        head.push(Line::styled(cut_end(&words, width), look.style(Tone::Dim)));
    }
    let below = problems.get(app.scroll).map_or_else(Vec::new, |problem| selected(app, problem, width));
    let height = |lines: &[Line<'_>]| u16::try_from(lines.len()).unwrap_or(area.height);
    let (above, under) = (height(&head).min(area.height / 2), height(&below).min(area.height / 3));
    let [top, line, list, second, bottom] = rows(area, [above, 1, area.height.saturating_sub(above + under + 2), 1]);
    lines(frame, top, head, look);
    rule(frame, line, look);
    let shown = window(app.scroll, problems.len(), list.height as usize);
    let shown: Vec<Line<'_>> = shown
        .map(|i| {
            let row = row(app, &problems[i], width);
            if i == app.scroll { parts::selected(&row, width, look) } else { row }
        })
        .collect();
    frame.render_widget(Paragraph::new(shown), list);
    rule(frame, second, look);
    lines(frame, bottom, below, look);
}

/// How the count went: `   over the last 12 min: 9 > 7 > 3`. Of the last hour, and of that what fits.
fn over_time(app: &App) -> String {
    let hour_ago = app.now_ms - 3_600_000;
    // What stood when the hour began counts too.
    let old = app.counts.iter().filter(|(at, _)| *at < hour_ago).count().saturating_sub(1);
    let counts = &app.counts[old.max(app.counts.len().saturating_sub(MOST_COUNTS))..];
    let [(first, _), _, ..] = counts else { return String::new() };
    let words: Vec<String> = counts.iter().map(|(_, n)| n.to_string()).collect();
    format!("   over the last {}: {}", text::age(app.now_ms - first.max(&hour_ago)), words.join(" > "))
}

/// The selected problem at full length, with what helps.
fn selected(app: &App, problem: &Problem, width: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let styles = (look.style(Tone::Dim), look.style(Tone::Plain));
    let mut out = labelled(&text::clean(&problem.subject), &text::clean(&problem.why), (24.min(width / 3), width), styles);
    if let Some(owner) = &problem.owner {
        out.extend(labelled("owner", &text::clean(owner), (24.min(width / 3), width), styles));
    }
    if let Some(hint) = &problem.hint {
        out.extend(labelled("helps", &text::clean(hint), (24.min(width / 3), width), styles));
    }
    out
}

/// One problem in one row: what, whose, where, since when, why.
pub fn row(app: &App, problem: &Problem, width: usize) -> Line<'static> {
    let look = &app.look;
    let age = problem.since_ms.map_or_else(String::new, |since| text::age(app.now_ms - since));
    let has = problem.owner.is_some() || problem.place.is_some() || problem.since_ms.is_some();
    let why = text::clean(&problem.why);
    let place = text::clean(problem.place.as_deref().unwrap_or(""));
    let subject = if width >= WIDE { 26 } else { width * 3 / 10 };
    let mut spans = vec![
        Span::raw("   "),
        Span::styled("!", look.style(Tone::Warning)),
        Span::raw("  "),
        cell(&text::clean(&problem.subject), subject, look.style(Tone::Strong)),
        Span::raw(" "),
    ];
    let left = width.saturating_sub(subject + 8);
    if !has {
        spans.push(prose(&why, left, look.style(Tone::Plain)));
        return Line::from(spans);
    }
    // Whose it is matters more than what it says; on a narrow screen there is room for one of the two.
    let (owner, why_width) =
        if width >= WIDE { (22, left.saturating_sub(22 + 10 + 11 + 3)) } else { (left.saturating_sub(8 + 11 + 1), 0) };
    let owner_words =
        problem.owner.as_deref().map_or_else(|| if why_width == 0 { why.clone() } else { String::new() }, text::clean);
    spans.push(cell(&owner_words, owner, look.style(Tone::Plain)));
    spans.push(Span::raw(" "));
    spans.push(cell(&place, if why_width == 0 { 8 } else { 10 }, look.style(Tone::Plain)));
    spans.push(right(&age, 11, look.style(Tone::Plain)));
    spans.push(Span::raw("  "));
    spans.push(cell(&why, why_width, look.style(Tone::Dim)));
    Line::from(spans)
}
