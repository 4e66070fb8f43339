//! The page of a lock that another castoff holds, and the box of a castoff that has gone.
//! Never takes the lock away from here: it names the command that does, with a reason.

use crate::model::text;
use crate::tui::app::App;
use crate::tui::parts::{boxed, cut_end, labelled, lines, wrap};
use crate::tui::theme::{Face, Tone};
use crate::tui::words;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

const INDENT: usize = 13;
const WIDTH: u16 = 76;
const LOW: u16 = 16;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let Some(watching) = &app.watching else { return };
    let look = &app.look;
    let width = area.width as usize;
    let (strong, plain) = (look.style(Tone::Strong), look.style(Tone::Plain));
    let room = (INDENT, width);
    let row = |label: &str, words: &str| labelled(label, &text::clean(words), room, (strong, plain));
    // On a small screen the footer names the keys.
    let low = area.height < LOW;
    let mut out = if low { vec![] } else { vec![Line::raw("")] };
    out.extend(row("HELD BY", &watching.holder));
    let unreachable = watching.held.as_ref().and_then(|held| held.unreachable.as_deref());
    if let Some(why) = unreachable {
        let warning = look.style(Tone::Warning);
        out.extend(labelled("NO WATCHING", &text::clean(why), room, (warning, warning)));
    }
    let state = &app.state;
    let plan = format!("{} on {}, plan {}, run {}", app.plan.runbook, app.plan.cluster, app.plan.plan, app.run);
    out.extend(row("IT RUNS", &plan));
    let (face, word) = words::title_state(app);
    let mut where_it_is = Line::from(vec![
        Span::raw(" "),
        Span::styled(format!("{:<INDENT$}", "IT IS AT"), strong),
        Span::styled(format!("{} ", look.sign(face)), look.style(face.tone())),
    ]);
    where_it_is.push_span(Span::styled(cut_end(&word, width.saturating_sub(INDENT + 4)), look.style(face.tone())));
    out.push(where_it_is);
    if let Some(step) = app.at().filter(|_| state.plan.is_some() && state.finished.is_none()) {
        let n = state.steps.len();
        out.extend(row("STEP", &format!("{} of {n}, {}", step + 1, app.plan.steps[step].title)));
    }
    if let Some(line) = app.lines.iter().next_back() {
        let ago = text::age(app.now_ms - line.at_ms);
        out.extend(row("LAST ENTRY", &format!("{}, {ago} ago: {}", look.clock_with_zone(line.at_ms), line.words())));
    }
    out.extend(row("WAITS FOR", &waits_for(app)));
    if low {
        return lines(frame, area, out, look);
    }
    out.push(Line::raw(""));
    let key = |key: &str, what: String| {
        Line::from(vec![
            Span::raw(" "),
            Span::styled(format!("{key}  "), strong),
            Span::raw(cut_end(&what, width.saturating_sub(5))),
        ])
    };
    if unreachable.is_none() {
        out.push(key("w", "watch it here, read-only; q leaves again".to_owned()));
    }
    out.push(key("q", "leave; nothing was begun here (exit code 19)".to_owned()));
    if !app.simulated {
        let dim = look.style(Tone::Dim);
        out.push(Line::raw(""));
        out.push(Line::styled(" Once its castoff is gone, another operator goes on with it:", dim));
        let command = format!("   castoff take-over {}{} --reason \"...\"", app.run, app.again);
        out.push(Line::styled(cut_end(&command, width), dim));
    }
    lines(frame, area, out, look);
}

/// The sentence of the run itself, not that of this page.
fn waits_for(app: &App) -> String {
    if app.over {
        return match &app.state.finished {
            Some(_) => "nothing: the run is over; q leaves, then begin again".to_owned(),
            None => "nothing: its castoff is gone; q leaves, then begin again".to_owned(),
        };
    }
    let mut other = app.clone();
    other.show(crate::tui::app::Screen::Overview);
    words::headline(&other)
}

/// The castoff of the run has gone; what is watched is its journal's last word.
pub fn draw_gone(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let width = WIDTH.min(area.width) as usize - 4;
    let holder = app.watching.as_ref().map_or("", |watching| watching.holder.as_str());
    let (title, first) = match &app.state.paused {
        Some((why, at)) => ("IT HAS LEFT", format!("The run was left at {}: {}.", look.clock_with_zone(*at), why)),
        None => {
            ("IT IS GONE", format!("The castoff that ran this is gone without a word: {holder}. It was killed, or has crashed."))
        }
    };
    let n = words::in_flight(&app.state);
    let flight = match n {
        0 => "Nothing was in flight.".to_owned(),
        n => format!("{} in flight: looked up before anything else is done.", text::count(n, "change")),
    };
    let mut out = vec![Line::raw("")];
    for sentence in [first, format!("Nothing runs now; the journal is safe. {flight}")] {
        out.extend(wrap(&text::clean(&sentence), width).into_iter().map(|line| Line::raw(format!(" {line}"))));
    }
    out.push(Line::raw(""));
    if app.simulated {
        out.push(Line::raw(" A rehearsal ends with its process: nothing is to be resumed."));
    } else {
        out.push(Line::styled(format!("   castoff resume {}{}", app.run, app.again), look.style(Tone::Strong)));
        out.push(Line::raw(" goes on with it."));
    }
    out.push(Line::raw(""));
    out.push(Line::from(vec![
        Span::raw(" "),
        Span::styled("[ q  Leave ]", look.style(Tone::Selected)),
        Span::styled("   esc  look at what was", look.style(Tone::Dim)),
    ]));
    let height = u16::try_from(out.len() + 2).unwrap_or(u16::MAX);
    let inside = boxed(frame, area, (WIDTH, height), title, look);
    frame.render_widget(Paragraph::new(out), inside);
}

/// In place of the field of a gate: who answers it.
pub fn answered_elsewhere(app: &App, width: usize) -> Vec<Line<'static>> {
    let Some(watching) = &app.watching else { return vec![] };
    let look = &app.look;
    let words = format!("Answered only where it runs: {}", text::clean(&watching.holder));
    vec![
        Line::raw(""),
        Line::styled(cut_end(&format!(" {} {words}", look.sign(Face::Waiting)), width), look.style(Tone::Waiting)),
        Line::from(vec![Span::raw(" "), Span::styled("[ esc  Look elsewhere ]", look.style(Tone::Selected))]),
    ]
}
