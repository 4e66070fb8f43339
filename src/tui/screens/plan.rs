//! The plan: what every step would do, the selected change before and after, and the sum.
//! Never green and never in the present tense: nothing has been done.

use super::{detail, sides, window};
use crate::model::problems::together;
use crate::model::{PlannedStep, text};
use crate::tui::app::App;
use crate::tui::parts::{cell, cut_end, labelled, lines, prose, right, rows, rule};
use crate::tui::theme::Tone;
use crate::tui::words;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};
use unicode_width::UnicodeWidthStr;

const WIDE: u16 = 100;
/// More blockers than this are on the notes page.
const BLOCKERS: usize = 5;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let mut blockers = blockers(app, area.width as usize);
    blockers.extend(window::plan_rows(app, area.width as usize));
    let n = window::height(app);
    let head = u16::from(area.width >= WIDE);
    let blocked = u16::try_from(blockers.len()).unwrap_or(0);
    let list_height = (n + head).min(area.height.saturating_sub(blocked + 5));
    let [top, list, line, diff] = rows(area, [blocked, list_height, 1]);
    frame.render_widget(Paragraph::new(blockers), top);
    draw_steps(frame, app, list);
    rule(frame, line, &app.look);
    let [diff, sum] = rows(diff, [diff.height.saturating_sub(1)]);
    draw_change(frame, app, diff);
    frame.render_widget(Line::raw(cut_end(&format!(" {}", sum_line(app)), area.width as usize)), sum);
}

fn blockers(app: &App, width: usize) -> Vec<Line<'static>> {
    let plan = &app.plan;
    if plan.blockers.is_empty() {
        return vec![];
    }
    let look = &app.look;
    let problems = together(&plan.blockers);
    let heading =
        format!(" CANNOT BE RUN: {} in the way. i shows all, with what helps.", text::count(problems.len() as u64, "problem"));
    let mut out = vec![Line::styled(cut_end(&heading, width), look.style(Tone::Failed))];
    out.extend(problems.iter().take(BLOCKERS).map(|together| {
        let subject = text::clean(&together.subject);
        problem_row(app, &detail::short_subject(&subject, subject_width(width)), &together.problem.why, width)
    }));
    out
}

fn subject_width(width: usize) -> usize {
    (width / 3).min(36)
}

/// One problem in one row: sign, subject, reason.
fn problem_row(app: &App, words: &str, why: &str, width: usize) -> Line<'static> {
    let subject = subject_width(width);
    Line::from(vec![
        Span::styled("  ! ", app.look.style(Tone::Warning)),
        cell(words, subject, app.look.style(Tone::Plain)),
        Span::raw("  "),
        prose(&text::clean(why), width.saturating_sub(subject + 7), app.look.style(Tone::Plain)),
    ])
}

fn draw_steps(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let wide = area.width >= WIDE;
    let width = area.width as usize;
    let mut out = vec![];
    if wide {
        let (title, rest) = columns(app, width);
        out.push(Line::styled(
            format!("        {:<title$}  {:<16}{:<rest$}{:<8}", "STEP", "WHERE", "WOULD", "UNDO"),
            app.look.style(Tone::Strong),
        ));
    }
    let height = (area.height as usize).saturating_sub(out.len());
    for step in window::rows(app, height) {
        out.push(step.map_or_else(|| window::point_line(app, width), |step| step_row(app, step, width, wide)));
    }
    frame.render_widget(Paragraph::new(out), area);
}

/// Widths of the titles and of what the steps would do; the longest title decides, in bounds.
fn columns(app: &App, width: usize) -> (usize, usize) {
    let longest = app.plan.steps.iter().map(|step| step.title.width()).max().unwrap_or_default();
    let title = longest.clamp(16, width.saturating_sub(80).max(16));
    (title, width.saturating_sub(8 + title + 2 + 16 + 9 + 8))
}

fn step_row(app: &App, step: usize, width: usize, wide: bool) -> Line<'static> {
    let planned = &app.plan.steps[step];
    let look = &app.look;
    let selected = step == app.step;
    let style = |tone: Tone| if selected { look.style(Tone::Selected) } else { look.style(tone) };
    let nothing = planned.pending().next().is_none() && !planned.changes.is_empty();
    let plain = style(if nothing { Tone::Dim } else { Tone::Plain });
    let (class, _) = app.facts[step].way_back;
    let undo = style(if app.facts[step].no_way_back { Tone::Warning } else { Tone::Dim });
    let summary = text::clean(&planned.summary);
    let mut row =
        vec![cell(&format!("  {} ", planned.sign()), 4, plain), right(&(step + 1).to_string(), 2, plain), cell("", 2, plain)];
    if wide {
        let (title, rest) = columns(app, width);
        row.push(prose(&text::clean(&planned.title), title, plain));
        row.push(cell("", 2, plain));
        row.push(cell(&place(planned), 15, plain));
        row.push(cell("", 1, plain));
        row.push(prose(&summary, rest - 1, plain));
        row.push(cell("", 1, plain));
        row.push(cell(class, 8, undo));
        row.push(right(words::gate_class(planned.gate.as_ref()), 7, style(Tone::Dim)));
    } else {
        let mark = if app.facts[step].no_way_back { format!(" {class}") } else { String::new() };
        let title = (width.saturating_sub(12) * 2 / 5).saturating_sub(mark.len());
        row.push(prose(&text::clean(&planned.title), title, plain));
        row.push(cell(&mark, mark.len(), undo));
        row.push(cell("", 2, plain));
        row.push(prose(&summary, width.saturating_sub(10 + title + mark.len()), plain));
    }
    Line::from(row)
}

/// Where a step happens: one name, or how many places.
fn place(step: &PlannedStep) -> String {
    let mut places: Vec<&str> = step.pending().map(|change| change.place.as_str()).collect();
    places.sort_unstable();
    places.dedup();
    match places.as_slice() {
        [] => "-".to_owned(),
        [one] => text::clean(one),
        [one, two] => text::clean(&format!("{one}, {two}")),
        many => text::count(many.len() as u64, "host"),
    }
}

fn draw_change(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let width = area.width as usize;
    let step = &app.plan.steps[app.step];
    let Some(change) = step.changes.get(app.change) else {
        let mut out = vec![Line::styled(format!(" STEP {}   changes nothing", app.step + 1), look.style(Tone::Strong))];
        out.extend(about(app, step, width));
        lines(frame, area, out, look);
        return;
    };
    let place = format!(" STEP {}   {}   ", app.step + 1, text::clean(&change.place));
    let side = format!("  {} of {}  ", app.change + 1, text::number(step.changes.len() as u64));
    let already = if change.found { "already so   " } else { "" };
    let room = width.saturating_sub(place.len() + side.len() + already.len());
    let mut out = vec![Line::from(vec![
        Span::styled(place, look.style(Tone::Strong)),
        cell(&detail::short_subject(&change.subject, room), room, look.style(Tone::Strong)),
        Span::styled(already, look.style(Tone::Dim)),
        Span::styled(side, look.style(Tone::Dim)),
    ])];
    out.extend(about(app, step, width));
    out.extend(sides::lines(change, look, width, false));
    let kept = step.kept.len() as u64;
    if kept > 0 && app.change == 0 {
        let words = format!("   the step keeps {} and says why: enter", text::count(kept, "thing"));
        out.push(Line::styled(cut_end(&words, width), look.style(Tone::Dim)));
    }
    lines(frame, area, out, look);
}

/// What the step would do and what its gate wants, at full length.
fn about(app: &App, step: &PlannedStep, width: usize) -> Vec<Line<'static>> {
    let styles = (app.look.style(Tone::Dim), app.look.style(Tone::Plain));
    let mut out = labelled("  would", &text::clean(&step.summary), (9, width), styles);
    if let Some(needs) = words::gate_needs(step) {
        out.extend(labelled("  gate", &needs, (9, width), styles));
    }
    if let Some(waves) = &step.waves {
        out.extend(labelled("  waves", &text::clean(&waves.words()), (9, width), styles));
    }
    out
}

/// The whole plan in one sentence.
fn sum_line(app: &App) -> String {
    let totals = &app.plan.totals;
    let mut parts = vec![];
    if totals.keys > 0 {
        parts.push(text::count(totals.keys, "key"));
    }
    if totals.rows > 0 {
        parts.push(text::count(totals.rows, "row"));
    }
    if totals.pulls > 0 {
        parts.push(format!("{} ({})", text::count(totals.pulls, "pull"), text::bytes(totals.pull_bytes)));
    }
    if totals.tags > 0 {
        let saves = if totals.saved_bytes > 0 { format!(" (saves {})", text::bytes(totals.saved_bytes)) } else { String::new() };
        parts.push(format!("{}{saves}", text::count(totals.tags, "local tag")));
    }
    if totals.hosts > 0 {
        parts.push(format!("{} to configure", text::count(totals.hosts, "host")));
    }
    if totals.units > 0 {
        parts.push(format!("{} to stop or start", text::count(totals.units, "unit")));
    }
    if totals.removals > 0 {
        parts.push(format!("{} to remove", text::count(totals.removals, "name")));
    }
    let already = if totals.found > 0 { format!(" {} already so.", text::number(totals.found)) } else { String::new() };
    let lost = app.facts.iter().enumerate().filter(|(_, facts)| facts.no_way_back);
    let lost: Vec<String> = lost.map(|(i, facts)| format!(" {} at step {}.", facts.way_back.0, i + 1)).collect();
    let of = if parts.is_empty() { String::new() } else { format!(" {}.", parts.join(", ")) };
    format!("Plan: {}.{}{of}{already}", text::count(totals.changes, "change"), lost.concat())
}
