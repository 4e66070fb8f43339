//! The small boxes: leaving an open run, and which failures a retry means.
//! Never a default that acts.

use crate::model::text;
use crate::tui::app::App;
use crate::tui::parts::{boxed, wrap};
use crate::tui::theme::Tone;
use crate::tui::words;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

const WIDTH: u16 = 72;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let running = words::in_flight(&app.state);
    let first = if running > 0 {
        format!("{} in flight will be finished and written, then castoff leaves.", text::count(running, "change"))
    } else {
        "Nothing is in flight: castoff writes and leaves at once.".to_owned()
    };
    let again = if app.simulated {
        "This is a rehearsal: no cluster is touched, and nothing is left to go on with.".to_owned()
    } else {
        format!("The cluster stays as it is. castoff resume {}{} goes on from here.", app.run, app.again)
    };
    draw_box(frame, app, area, "LEAVE", &[&first, &again], &[("L", "stop at the safe point and leave")], "Stay");
}

/// More than one cause of failure: which is meant?
pub fn draw_retry(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let causes = app.state.causes();
    let all: usize = causes.iter().map(|(_, ids)| ids.len()).sum();
    let (why, n) = causes.get(app.cause).map_or(("", 0), |(fault, ids)| (fault.why.as_str(), ids.len()));
    let sentence =
        format!("There are {}. Each change is looked at before it is tried again.", text::count(causes.len() as u64, "cause"));
    let every = format!("every failed change: {}", text::count(all as u64, "change"));
    let this = format!("only {}: {}", text::count(n as u64, "change"), text::clean(why));
    let mut ways = vec![("T", this.as_str()), ("R", every.as_str())];
    let only = app.cells.selected_failed().filter(|_| app.screen == crate::tui::app::Screen::Matrix);
    let only = only.map(|id| {
        let planned = app.plan.change(id);
        format!("only {} on {}", text::clean(&planned.subject), text::clean(&planned.place))
    });
    ways.splice(0..0, only.as_ref().map(|only| ("O", only.as_str())));
    draw_box(frame, app, area, "RETRY", &[&sentence], &ways, "Not now");
}

fn draw_box(frame: &mut Frame<'_>, app: &App, area: Rect, title: &str, words: &[&str], ways: &[(&str, &str)], safe: &str) {
    let look = &app.look;
    let width = WIDTH.min(area.width) as usize - 4;
    let mut out = vec![Line::raw("")];
    for sentence in words {
        out.extend(wrap(sentence, width).into_iter().map(|line| Line::raw(format!(" {line}"))));
    }
    out.push(Line::raw(""));
    for (key, what) in ways {
        out.push(Line::from(vec![
            Span::styled(format!(" {key}  "), look.style(Tone::Strong)),
            Span::raw(crate::tui::parts::cut_end(what, width.saturating_sub(4))),
        ]));
    }
    out.push(Line::raw(""));
    out.push(Line::from(vec![Span::raw(" "), Span::styled(format!("[ esc  {safe} ]"), look.style(Tone::Selected))]));
    let height = u16::try_from(out.len() + 2).unwrap_or(u16::MAX);
    let inside = boxed(frame, area, (WIDTH, height), title, look);
    frame.render_widget(Paragraph::new(out), inside);
}
