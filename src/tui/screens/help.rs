//! The help: the key table of the place one comes from, with the reason beside a key that does nothing now.
//! Never a list of its own.

use crate::tui::app::App;
use crate::tui::keys;
use crate::tui::parts::{boxed, cell, lines, prose};
use crate::tui::theme::Tone;
use ratatui::{Frame, layout::Rect, text::Line};

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let mut below = app.clone();
    below.popup = None;
    let place = below.place();
    let width = area.width.min(96);
    let mut out = vec![];
    for binding in keys::here(place).filter(|binding| !binding.shown.is_empty()) {
        let why = app.why_not(binding.intent);
        let tone = if why.is_some() { Tone::Dim } else { Tone::Plain };
        let words = match why {
            Some(why) => format!("{}   (not now: {why})", binding.help),
            None => binding.help.to_owned(),
        };
        out.push(Line::from(vec![
            cell(&format!("  {}", binding.shown), 13, look.style(if tone == Tone::Dim { Tone::Dim } else { Tone::Strong })),
            prose(&words, (width as usize).saturating_sub(16), look.style(tone)),
        ]));
    }
    out.push(Line::raw(""));
    out.push(Line::styled(
        "  Lower case looks, CAPITALS act, and what cannot be undone wants a sentence.",
        look.style(Tone::Plain),
    ));
    out.push(Line::styled(
        "  Ctrl-C stops at the safe point, twice stops at once; the journal makes both safe.",
        look.style(Tone::Plain),
    ));
    let height = u16::try_from(out.len() + 2).unwrap_or(u16::MAX);
    let inside = boxed(frame, area, (width, height), "HELP   esc closes", look);
    lines(frame, inside, out, look);
}
