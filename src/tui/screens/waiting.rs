//! A gate that asks nobody: what stands against it, whose it is, since when, and how the count goes.
//! Never takes an answer: it goes on by itself.

use crate::model::{Problem, text};
use crate::tui::app::App;
use crate::tui::parts::{cell, cut_end, lines, prose, right, rows, rule, wrap};
use crate::tui::theme::Tone;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

const WIDE: usize = 100;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let width = area.width as usize;
    let step = app.at().unwrap_or(app.step);
    let Some(gate) = app.plan.steps.get(step).and_then(|step| step.gate.as_ref()) else { return };
    let problems = app.problems(step).unwrap_or_default();
    let mut head = vec![Line::styled(format!(" {}", text::clean(&gate.title)), look.style(Tone::Strong))];
    for sentence in &gate.text {
        head.extend(wrap(&text::clean(sentence), width.saturating_sub(2)).into_iter().map(|line| Line::raw(format!(" {line}"))));
    }
    let counts: Vec<String> = app.counts.iter().rev().take(12).rev().map(|(_, n)| n.to_string()).collect();
    let read = app.report.as_ref().map_or_else(String::new, |report| {
        format!(
            "   read {}, {} ago; c reads again",
            look.clock_with_zone(report.read_at_ms),
            text::age(app.now_ms - report.read_at_ms)
        )
    });
    head.push(Line::from(vec![
        Span::styled(format!(" {} in the way", text::count(problems.len() as u64, "problem")), look.style(Tone::Waiting)),
        Span::styled(
            if counts.len() > 1 { format!(", over time {}", counts.join(" > ")) } else { String::new() },
            look.style(Tone::Plain),
        ),
        Span::styled(read, look.style(Tone::Dim)),
    ]));
    let head_height = u16::try_from(head.len()).unwrap_or(area.height).min(area.height / 2);
    let [top, line, body, oldest, hint] = rows(area, [head_height, 1, area.height.saturating_sub(head_height + 3), 1, 1]);
    lines(frame, top, head, look);
    rule(frame, line, look);
    let shown: Vec<Line<'_>> =
        problems.iter().skip(app.scroll).take(body.height as usize + 1).map(|p| row(app, p, width)).collect();
    lines(frame, body, shown, look);
    let since = problems.iter().filter_map(|problem| problem.since_ms).min();
    let first = problems.iter().find_map(|problem| problem.hint.as_ref());
    if let Some(since) = since {
        let words = format!(
            " oldest since {}; there is no end time: the run goes on when the list is empty",
            look.clock_with_zone(since)
        );
        frame.render_widget(Line::styled(cut_end(&words, width), look.style(Tone::Dim)), oldest);
    }
    if let Some(words) = first {
        frame.render_widget(
            Line::styled(cut_end(&format!(" helps: {}", text::clean(words)), width), look.style(Tone::Plain)),
            hint,
        );
    }
}

/// One problem in one row: what, whose, where, since when, why.
pub fn row(app: &App, problem: &Problem, width: usize) -> Line<'static> {
    let look = &app.look;
    let age = problem.since_ms.map_or_else(String::new, |since| text::age(app.now_ms - since));
    let (subject, owner, place) = if width >= WIDE { (26, 22, 10) } else { (18, 14, 8) };
    let owner_words = problem.owner.as_deref().unwrap_or("");
    let place_words = problem.place.as_deref().unwrap_or("");
    let has = problem.owner.is_some() || problem.place.is_some() || problem.since_ms.is_some();
    let mut spans = vec![Span::styled("   !  ", look.style(Tone::Warning))];
    if has {
        spans.push(cell(&text::clean(&problem.subject), subject, look.style(Tone::Strong)));
        spans.push(Span::raw(" "));
        spans.push(cell(&text::clean(owner_words), owner, look.style(Tone::Plain)));
        spans.push(Span::raw(" "));
        spans.push(cell(&text::clean(place_words), place, look.style(Tone::Plain)));
        spans.push(right(&age, 11, look.style(Tone::Plain)));
        spans.push(Span::raw("  "));
        spans.push(cell(&text::clean(&problem.why), width.saturating_sub(subject + owner + place + 22), look.style(Tone::Dim)));
    } else {
        let subject = subject + 8;
        spans.push(cell(&text::clean(&problem.subject), subject, look.style(Tone::Strong)));
        spans.push(Span::raw("  "));
        spans.push(prose(&text::clean(&problem.why), width.saturating_sub(subject + 9), look.style(Tone::Plain)));
    }
    Line::from(spans)
}
