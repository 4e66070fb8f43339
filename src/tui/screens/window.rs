//! The window on every screen: its clock in the title, the line at the point of no return, the projection of the rest,
//! and the question for another end. Never green: that time is left is no success.

use super::gate::{Case, INDENT};
use crate::model::{Problem, Window, hold, text};
use crate::tui::app::App;
use crate::tui::parts::{cut_end, labelled, wrap};
use crate::tui::question::{Question, Wanted};
use crate::tui::theme::Tone;
use ratatui::text::Line;
use std::ops::Range;
use unicode_width::UnicodeWidthStr;

/// Less than this is little.
const LITTLE_MS: i64 = 600_000;
/// A pane of fewer columns than this has few rows too.
const NARROW: usize = 100;

/// The clock of the title bar, long and short; nothing without a window, nor when the run is over.
pub fn clock(app: &App) -> Option<(String, String, Tone)> {
    let window = app.window().filter(|_| app.state.finished.is_none())?;
    let left = window.left(app.now_ms);
    let late = window.until_ms - app.now_ms < LITTLE_MS || app.projection.overruns(window);
    let tone = if late { Tone::Warning } else { Tone::Plain };
    // A sign and a word beside the colour.
    let mark = if late { "! " } else { "" };
    Some((format!("{mark}window {left}"), format!("{mark}{left}"), tone))
}

/// The steps as rows of a list, the line at the point of no return (`None`) among them: those that fit in `height` rows
/// and hold the selected step.
pub fn rows(app: &App, height: usize) -> Vec<Option<usize>> {
    let n = app.plan.steps.len();
    let Some(point) = app.loads.point() else {
        return crate::tui::parts::window(app.step, n, height).map(Some).collect();
    };
    let at = app.step + usize::from(app.step >= point);
    let shown: Range<usize> = crate::tui::parts::window(at, n + 1, height);
    let row = |i: usize| match i.cmp(&point) {
        std::cmp::Ordering::Less => Some(i),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(i - 1),
    };
    shown.map(row).collect()
}

/// How many rows all steps need.
pub fn height(app: &App) -> u16 {
    u16::try_from(app.plan.steps.len() + usize::from(app.loads.point().is_some())).unwrap_or(u16::MAX)
}

/// The line itself, with the last safe moment to cross it while it lies ahead.
pub fn point_line(app: &App, width: usize) -> Line<'static> {
    let look = &app.look;
    let by = app.loads.point().and_then(|step| begin_by(app, step));
    let (words, tone) = match by {
        Some((by, late)) => {
            let (mark, tone) = if late { ("! ", Tone::Warning) } else { ("", Tone::Dim) };
            (format!(" {mark}point of no return, {by} "), tone)
        }
        None => (" point of no return ".to_owned(), Tone::Dim),
    };
    let words = cut_end(&words, width.saturating_sub(8));
    let sign = if look.ascii { "-" } else { "─" };
    let rest = width.saturating_sub(words.width() + 6);
    Line::styled(format!("  {}{words}{}  ", sign.repeat(2), sign.repeat(rest)), look.style(tone))
}

/// `begin by 03:41 KST` for a step without a whole way back that lies ahead, and whether that moment is over.
pub fn begin_by(app: &App, step: usize) -> Option<(String, bool)> {
    let window = app.window()?;
    let begun = app.state.steps.get(step).is_some_and(|state| state.counts.first_ms.is_some());
    let over = app.state.plan.is_some() && app.state.step_is_over(step);
    if begun || over || app.state.rolling_back.is_some() || !app.facts[step].no_way_back {
        return None;
    }
    let by = app.projection.begin_by(step, window);
    Some((format!("begin by {}", window.minute_with_zone(by)), app.projection.is_late(step, window, app.now_ms)))
}

/// Rows of the detail pane: when a step to come would end, and the last safe moment to begin it.
pub fn detail(app: &App, room: (usize, usize)) -> Vec<Line<'static>> {
    let look = &app.look;
    let mut out = vec![];
    let mut add = |label: &str, words: &str, late: bool| {
        let (mark, tone) = if late { ("! ", Tone::Warning) } else { ("", Tone::Plain) };
        out.extend(labelled(label, &format!("{mark}{words}"), room, (look.style(Tone::Dim), look.style(tone))));
    };
    let Some(window) = app.window().filter(|_| app.state.finished.is_none()) else { return out };
    if let Some((by, late)) = begin_by(app, app.step) {
        add("window", &format!("{by}, to end within it"), late);
    }
    if !is_at(app)
        && let Some(end) = app.projection.steps.get(app.step).copied().flatten()
    {
        add("ends", &format!("{}, {}", end.words_in(window), end.against(window)), end.overruns(window));
    }
    out
}

fn is_at(app: &App) -> bool {
    app.begun && app.at() == Some(app.step)
}

/// The rest of the run, for the pane of the step it is at. What comes behind a wait gives way on a narrow screen.
pub fn rest(app: &App, room: (usize, usize)) -> Vec<Line<'static>> {
    let look = &app.look;
    let Some(window) = app.window().filter(|_| is_at(app)) else { return vec![] };
    let Some(mut rest) = app.projection.rest(Some(window), |ms| look.minute(ms), "") else { return vec![] };
    let tone = if rest.overruns { Tone::Warning } else { Tone::Plain };
    if rest.sentence().width() + room.0 + 1 > room.1 && room.1 < NARROW {
        rest.then = None;
    }
    labelled("rest", &rest.sentence(), room, (look.style(Tone::Dim), look.style(tone)))
}

/// The window over a plan that has not begun: when it is, and whether the work from the first stop on fits.
pub fn plan_rows(app: &App, width: usize) -> Vec<Line<'static>> {
    let Some(window) = app.window().filter(|_| !app.plan.is_empty()) else { return vec![] };
    let first = app.loads.first_stop().into_iter().chain(app.loads.point()).min();
    let mut words = format!("{}, {}", window.words(), window.left(app.now_ms));
    let mut late = window.is_over(app.now_ms);
    if let Some(step) = first {
        let takes = app.projection.takes(step);
        let by = app.projection.begin_by(step, window);
        late |= app.now_ms > by || by < window.from_ms;
        let range = crate::model::projection::range(takes.low_ms, takes.high_ms);
        let begin = format!("; begin step {} by {}: {range}", step + 1, window.minute(by));
        // The line at the point of no return says it too: whole, or not at all.
        if words.width() + begin.width() + 10 <= width {
            words.push_str(&begin);
        }
    }
    let (mark, tone) = if late { ("!", Tone::Warning) } else { (" ", Tone::Plain) };
    vec![Line::styled(cut_end(&format!(" {mark}WINDOW  {words}"), width), app.look.style(tone))]
}

/// What stands against a gate by the window, and the keys that help.
pub fn held_words(app: &App, step: usize, problem: &Problem) -> String {
    let n = step + 1;
    if hold::is_early(problem) {
        let then = if crate::tui::words::asks(app.state.gate(step)) { "Your answer counts then" } else { "It goes on then" };
        return format!("Step {n} waits for the window: {}. {then}.", text::clean(&problem.why));
    }
    let keys = match app.popup {
        Some(_) => "F6 gives it another end.",
        None => "W gives it another end, B rolls back.",
    };
    format!("Step {n} is held, {}: {keys}", text::clean(&problem.subject))
}

/// What stands against the gate of a step by the window.
pub fn against(app: &App, step: usize) -> Option<&Problem> {
    let mut problems = app.problems(step).unwrap_or_default().iter();
    problems.find(|problem| hold::is_hold(problem) || hold::is_early(problem))
}

/// What the window says at the gate of a step: what stands against it, else the last safe moment.
pub fn at_gate(app: &App, step: usize, room: (usize, usize)) -> Vec<Line<'static>> {
    let look = &app.look;
    if let Some(problem) = against(app, step) {
        let warning = look.style(Tone::Warning);
        return labelled("! window", &text::clean(&problem.why), room, (warning, warning));
    }
    let Some((by, late)) = begin_by(app, step) else { return vec![] };
    let (label, tone) = if late { ("! window", Tone::Warning) } else { ("window", Tone::Plain) };
    labelled(label, &format!("{by}, to end within it"), room, (look.style(Tone::Dim), look.style(tone)))
}

/// The question for another end.
pub fn case(app: &App, question: &Question, width: usize) -> Case {
    let look = &app.look;
    let (dim, plain) = (look.style(Tone::Dim), look.style(Tone::Plain));
    let room = (INDENT, width);
    let mut head = vec![];
    if let Some(window) = app.window() {
        let words = format!("{}, {}", window.words(), window.left(app.now_ms));
        head.extend(labelled("window now", &words, room, (dim, plain)));
    }
    if let Some(rest) = app.projection.rest(app.window(), |ms| look.minute(ms), "") {
        let tone = if rest.overruns { Tone::Warning } else { Tone::Plain };
        head.extend(labelled("the rest", &rest.sentence(), room, (dim, look.style(tone))));
    }
    let moved = question.fields.iter().find_map(|field| match &field.wanted {
        Wanted::End { window, at_ms } => Some((field.input.value(), window.moved(field.input.value(), *at_ms))),
        _ => None,
    });
    let (words, tone) = match moved {
        Some((_, Ok(window))) => (would(&window, app), Tone::Strong),
        Some((typed, Err(wrong))) if !typed.is_empty() => (wrong.to_string(), Tone::Dim),
        _ => ("-".to_owned(), Tone::Dim),
    };
    head.extend(labelled("would be", &text::clean(&words), room, (dim, look.style(tone))));
    let sentence = "What the window holds goes on when the rest fits. Your name, the time and the new end go to the journal.";
    head.extend(wrap(sentence, width - 1).into_iter().map(|line| Line::raw(format!(" {line}"))));
    Case { title: "MOVE THE WINDOW".to_owned(), head, essence: vec![], facts: vec![], act: "Move the window" }
}

fn would(window: &Window, app: &App) -> String {
    let fits = if app.projection.overruns(window) { "; the rest would still end after it" } else { "" };
    format!("{}, {}{fits}", window.words(), window.left(app.now_ms))
}

/// The title's clock fitted beside the rest of the title bar: the long form, the short one, or none.
pub fn fitted(app: &App, room: usize) -> (String, Tone) {
    match clock(app) {
        Some((long, _, tone)) if long.width() + 3 <= room => (format!("  {long} "), tone),
        Some((_, short, tone)) if short.width() + 3 <= room => (format!("  {short} "), tone),
        _ => (String::new(), Tone::Plain),
    }
}
