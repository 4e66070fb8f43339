//! The `:` palette as a box, and the line in which a word to look for is typed.
//! Never lists a word that has no line in the key table.

use crate::model::text;
use crate::tui::app::App;
use crate::tui::keys::Binding;
use crate::tui::palette::{Armed, Palette};
use crate::tui::parts::{boxed, cell, cut_end, prose, selected, window, wrap};
use crate::tui::theme::Tone;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};
use tui_input::Input;

const WIDEST: u16 = 100;
const MOST: u16 = 14;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let Some(palette) = &app.palette else { return };
    match &palette.armed {
        Some(armed) => draw_armed(frame, app, armed, area),
        None => draw_words(frame, app, palette, area),
    }
}

fn draw_words(frame: &mut Frame<'_>, app: &App, palette: &Palette, area: Rect) {
    let look = &app.look;
    let words = app.matching();
    let width = area.width.min(WIDEST);
    let inner = width as usize - 2;
    // As high for one match as for all: nothing jumps while typing.
    let list = MOST.min(area.height.saturating_sub(5));
    let inside = boxed(frame, area, (width, list + 4), "WORDS   what acts asks for its capital", look);
    let mut out = vec![typed(app, &palette.input, " :", inner), Line::raw("")];
    let shown = window(palette.at, words.len(), list as usize);
    for i in shown {
        let row = row(app, words[i], inner);
        out.push(if i == palette.at { selected(&row, inner, look) } else { row });
    }
    if words.is_empty() {
        out.push(Line::styled("  no word matches", look.style(Tone::Dim)));
    }
    if let Some(note) = &palette.note {
        out[1] = Line::styled(cut_end(&format!(" ! {note}"), inner), look.style(Tone::Warning));
    } else {
        let n = text::count(words.len() as u64, "word");
        out[1] = Line::styled(cut_end(&format!("   {n} here"), inner), look.style(Tone::Dim));
    }
    frame.render_widget(Paragraph::new(out), inside);
}

/// One word: what it is called, what follows it, its key, what it does or why not.
fn row(app: &App, binding: &Binding, width: usize) -> Line<'static> {
    let look = &app.look;
    let why = app.why_not(binding.intent);
    let tone = |tone: Tone| look.style(if why.is_some() { Tone::Dim } else { tone });
    let takes = binding.intent.takes();
    let word = if takes.is_empty() { binding.intent.name().to_owned() } else { format!("{} {takes}", binding.intent.name()) };
    let key = if binding.codes.is_empty() { "" } else { binding.shown };
    let words = match &why {
        Some(why) => format!("not now: {why}"),
        None => binding.help.to_owned(),
    };
    let first = if width < 70 { 20 } else { 28 };
    Line::from(vec![
        cell("", 2, tone(Tone::Plain)),
        cell(&word, first, tone(Tone::Strong)),
        cell(key, 10, tone(Tone::Plain)),
        prose(&words, width.saturating_sub(first + 12), tone(Tone::Plain)),
    ])
}

fn draw_armed(frame: &mut Frame<'_>, app: &App, armed: &Armed, area: Rect) {
    let look = &app.look;
    let width = area.width.min(76);
    let inner = width as usize - 4;
    let mut out = vec![Line::raw("")];
    out.extend(wrap(&armed.says, inner).into_iter().map(|line| Line::raw(format!(" {line}"))));
    out.push(Line::raw(""));
    out.push(Line::from(vec![Span::styled(format!(" {}  ", armed.capital), look.style(Tone::Strong)), Span::raw("does it")]));
    out.push(Line::raw(""));
    out.push(Line::from(vec![Span::raw(" "), Span::styled("[ esc  Not now ]", look.style(Tone::Selected))]));
    let height = u16::try_from(out.len() + 2).unwrap_or(u16::MAX);
    let inside = boxed(frame, area, (width, height), "THIS ACTS", look);
    frame.render_widget(Paragraph::new(out), inside);
}

/// The line above the footer in which a word to look for is typed.
pub fn find_line(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let Some(find) = &app.find else { return };
    frame.render_widget(typed(app, &find.input, " /", area.width as usize), area);
}

/// What is typed, with the cursor; its end stays in sight.
fn typed(app: &App, input: &Input, head: &str, width: usize) -> Line<'static> {
    let look = &app.look;
    let value: Vec<char> = input.value().chars().collect();
    let cursor = input.cursor().min(value.len());
    let room = width.saturating_sub(head.len() + 2);
    let first = (cursor + 1).saturating_sub(room);
    let part = |range: std::ops::Range<usize>| value.get(range).map_or_else(String::new, |part| part.iter().collect::<String>());
    let under = value.get(cursor).map_or_else(|| " ".to_owned(), char::to_string);
    Line::from(vec![
        Span::styled(head.to_owned(), look.style(Tone::NeedsYou)),
        Span::styled(part(first..cursor), look.style(Tone::Strong)),
        Span::styled(under, look.style(Tone::Selected)),
        Span::styled(
            part((cursor + 1).min(value.len())..(first + room).clamp((cursor + 1).min(value.len()), value.len())),
            look.style(Tone::Strong),
        ),
    ])
}
