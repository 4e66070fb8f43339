//! What every screen is made of: cells that fit, wrapped sentences, the title bar, the footer, boxes, windows of long lists.
//! Never builds a row that is not visible, and never lets words through that a terminal would obey.

use super::app::App;
use super::keys::{self, Intent, Place};
use super::screens::window::fitted as window_clock;
use super::theme::{Look, Tone};
use super::words;
use crate::model::{Level, text};
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Block, Borders, Clear, Paragraph},
};
use std::ops::Range;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Cuts in the middle, so that the end of a name stays; counts columns, not characters.
pub fn cut(words: &str, width: usize) -> String {
    let words = text::clean_line(words);
    let mut room = width.min(words.width());
    loop {
        let out = text::middle(&words, room);
        if out.width() <= width || room == 0 {
            return out;
        }
        room -= 1;
    }
}

/// Cuts a sentence at its end.
pub fn cut_end(sentence: &str, width: usize) -> String {
    let sentence = text::clean_line(sentence);
    if sentence.width() <= width {
        return sentence;
    }
    let mut out = String::new();
    for c in sentence.chars() {
        if out.width() + c.width().unwrap_or(0) + 2 > width {
            break;
        }
        out.push(c);
    }
    format!("{}..", out.trim_end())
}

/// As many whole sentences as fit, from the first on; only a first one that is too long is cut.
pub fn whole_sentences(words: &str, width: usize) -> String {
    let ends =
        words.match_indices(". ").map(|(at, _)| at + 1).filter(|at| words[at + 1..].starts_with(|c: char| !c.is_lowercase()));
    let fitting = ends.chain([words.len()]).filter(|end| words[..*end].width() <= width).last();
    fitting.map_or_else(|| cut_end(words, width), |end| words[..end].to_owned())
}

/// The end of a cause says more than its beginning: `write …: no space left on device`.
pub fn brief(why: &str, width: usize) -> String {
    match why.rsplit_once(": ") {
        Some((_, end)) if why.width() > width && end.width() >= 6 => end.to_owned(),
        _ => why.to_owned(),
    }
}

/// A cell of a row: cut in the middle, filled up to its width.
pub fn cell(words: &str, width: usize, style: Style) -> Span<'static> {
    Span::styled(pad(cut(words, width), width), style)
}

/// A cell with a sentence: cut at its end, filled up.
pub fn prose(sentence: &str, width: usize, style: Style) -> Span<'static> {
    Span::styled(pad(cut_end(sentence, width), width), style)
}

/// A cell with a number: to the right.
pub fn right(words: &str, width: usize, style: Style) -> Span<'static> {
    let words = cut(words, width);
    Span::styled(format!("{}{words}", " ".repeat(width.saturating_sub(words.width()))), style)
}

fn pad(mut words: String, width: usize) -> String {
    words.push_str(&" ".repeat(width.saturating_sub(words.width())));
    words
}

/// Breaks a sentence at its spaces; a word longer than a line is cut in the middle.
pub fn wrap(sentence: &str, width: usize) -> Vec<String> {
    let mut out: Vec<String> = vec![];
    let mut line = String::new();
    for word in text::clean_line(sentence).split_whitespace() {
        let word = cut(word, width);
        if !line.is_empty() && line.width() + 1 + word.width() > width {
            out.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    if !line.is_empty() {
        out.push(line);
    }
    out
}

/// Breaks a line where the room ends, every character kept; lines after the first are indented.
pub fn wrap_exact(words: &str, width: usize, indent: usize) -> Vec<String> {
    let mut out = vec![];
    let mut line = String::new();
    let mut used = 0;
    for c in text::clean_line(words).chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide > width && used > indent {
            out.push(std::mem::replace(&mut line, " ".repeat(indent)));
            used = indent;
        }
        line.push(c);
        used += wide;
    }
    out.push(line);
    out
}

/// A row as the selected one: reversed from edge to edge, whatever its cells looked like.
pub fn selected(row: &Line<'static>, width: usize, look: &Look) -> Line<'static> {
    let words: String = row.spans.iter().map(|span| span.content.as_ref()).collect();
    Line::styled(pad(words, width), look.style(Tone::Selected))
}

/// A heading of a pane, then its words, wrapped below each other: ` UNDO     everything …`.
pub fn labelled(label: &str, words: &str, room: (usize, usize), styles: (Style, Style)) -> Vec<Line<'static>> {
    let (indent, width) = room;
    let lines = wrap(words, width.saturating_sub(indent + 1));
    let line = |(i, words): (usize, String)| {
        let head = if i == 0 { label } else { "" };
        Line::from(vec![Span::raw(" "), cell(head, indent, styles.0), Span::styled(words, styles.1)])
    };
    lines.into_iter().enumerate().map(line).collect()
}

/// The part of a list of `n` rows that is shown in `height` rows so that row `at` is among them.
pub fn window(at: usize, n: usize, height: usize) -> Range<usize> {
    let start = at.saturating_sub(height / 2).min(n.saturating_sub(height));
    start..(start + height).min(n)
}

/// Draws lines from the top of an area; what does not fit is counted in the last row.
pub fn lines(frame: &mut Frame<'_>, area: Rect, mut lines: Vec<Line<'static>>, look: &Look) {
    let height = area.height as usize;
    if lines.len() > height && height > 0 {
        let hidden = lines.len() - height + 1;
        lines.truncate(height - 1);
        let word = if hidden == 1 { "line" } else { "lines" };
        lines.push(Line::styled(format!("   ... {hidden} more {word}"), look.style(Tone::Dim)));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// A rule across the screen.
pub fn rule(frame: &mut Frame<'_>, area: Rect, look: &Look) {
    let sign = if look.ascii { "-" } else { "─" };
    frame.render_widget(Line::styled(sign.repeat(area.width as usize), look.style(Tone::Dim)), area);
}

/// So much of the crumbs stays beside the clock of the window.
const CRUMBS: usize = 8;
/// From so many columns on the footer keeps room for the lesson.
const TEACHING: usize = 100;

/// The first two rows: who, where, how it stands; then the sentence. Gives back what is left.
pub fn head(frame: &mut Frame<'_>, app: &App, area: Rect, crumb: &str) -> Rect {
    let look = &app.look;
    let width = area.width as usize;
    let (face, state) = words::title_state(app);
    let sign = look.sign(face);
    let side = if face == super::theme::Face::ToDo { format!("{state} ") } else { format!("{sign} {state} ") };
    let looks_on = app.watches() && app.screen != super::app::Screen::Held;
    let rehearsal = match (looks_on, app.simulated) {
        (true, true) => "WATCHING A REHEARSAL ",
        (true, false) => "WATCHING ",
        (false, true) => "REHEARSAL ",
        (false, false) => "",
    };
    let left = format!("| {} > {}{crumb}", app.plan.cluster, app.plan.runbook);
    // Before it is begun there is no run, only its name.
    let mut run = if app.run.is_empty() || app.state.plan.is_none() { String::new() } else { format!("  run {} ", app.run) };
    // The run id gives way first, then the words of the window, then the crumbs, then its clock; never the state.
    let fixed = 9 + rehearsal.len() + side.width();
    let crumbs = left.width().min(CRUMBS);
    if fixed + 3 + left.width() + run.width() + window_clock(app, usize::MAX).0.width() > width {
        run.clear();
    }
    let whole = window_clock(app, width.saturating_sub(fixed + left.width() + run.width()));
    let (clock, tone) =
        if whole.0.is_empty() { window_clock(app, width.saturating_sub(fixed + crumbs + run.width())) } else { whole };
    let room = width.saturating_sub(fixed + run.width() + clock.width());
    let row = Line::from(vec![
        Span::styled(" castoff ", look.style(Tone::Strong)),
        Span::styled(rehearsal, look.style(Tone::Warning)),
        prose(&shortest(left, &app.plan.cluster, crumb, room), room, look.style(Tone::Plain)),
        Span::styled(side, look.style(face.tone())),
        Span::styled(run, look.style(Tone::Dim)),
        Span::styled(clock, look.style(tone)),
    ]);
    let [title, sentence, line, body] = rows(area, [1, 1, 1]);
    frame.render_widget(row, title);
    frame.render_widget(sentence_line(app, width), sentence);
    rule(frame, line, look);
    body
}

/// Where the operator is: on a narrow screen the runbook's name gives way first, then the cluster's; what this page is stays.
fn shortest(whole: String, cluster: &str, crumb: &str, room: usize) -> String {
    let forms = [whole, format!("| {cluster}{crumb}"), crumb.trim_start().to_owned()];
    let fits = |form: &&String| form.width() < room;
    forms.iter().find(fits).or(forms.iter().rfind(|form| !form.is_empty())).cloned().unwrap_or_default()
}

/// The sentence, and at its right what a filter leaves out or what is looked for: it stays there until `esc`.
fn sentence_line(app: &App, width: usize) -> Line<'static> {
    let log = app.screen == super::app::Screen::Log;
    let sentence = if log { app.log_held() } else { None }.unwrap_or_else(|| words::headline(app));
    let mut sides = vec![if log { app.log_shows() } else { String::new() }, app.find_words()];
    sides.retain(|side| !side.is_empty());
    let side = sides.join("   ");
    if side.is_empty() {
        return Line::raw(format!(" {}", whole_sentences(&sentence, width.saturating_sub(1))));
    }
    let side = cut_end(&side, width * 3 / 5);
    let room = width.saturating_sub(side.width() + 3);
    Line::from(vec![
        prose(&format!(" {}", whole_sentences(&sentence, room.saturating_sub(1))), room, Style::new()),
        Span::raw("  "),
        Span::styled(format!("{side} "), app.look.style(Tone::Warning)),
    ])
}

/// The last row: the keys that work here, and above it the notice, if there is one. Gives back what is left.
pub fn foot(frame: &mut Frame<'_>, app: &App, area: Rect, place: Place) -> Rect {
    let look = &app.look;
    let width = area.width as usize;
    let mut body = area;
    body.height = body.height.saturating_sub(1);
    if place == Place::Find {
        body.height = body.height.saturating_sub(1);
        super::screens::palette::find_line(frame, app, Rect { y: area.y + body.height, height: 1, ..area });
    }
    let lesson = if app.watches() { "you look on: nothing acts" } else { "capital = acts" };
    let teaches = !matches!(place, Place::Question | Place::Palette | Place::Find);
    // The one sentence to learn stays where there is room for it and for the keys that matter.
    let room = if teaches && width >= TEACHING { width - lesson.len() - 3 } else { width };
    let mut spans = vec![];
    let mut used = 0;
    for binding in keys::here(place).filter(|binding| !binding.word.is_empty()) {
        if app.why_not(binding.intent).is_some() {
            continue;
        }
        // One key for both: what it would do now is what it is called.
        let goes_on = binding.intent == Intent::Pause && app.state.paused.is_some();
        let by_host = binding.intent == Intent::Turn && app.cells.view.side != super::cells::Side::Hosts;
        let word = match binding.word {
            _ if goes_on => "go on",
            _ if by_host => "by agent",
            _ if binding.intent == Intent::OneAgent => words::machine(&app.plan),
            word => word,
        };
        let (key, word) = (format!(" {}", binding.shown), format!(" {word}  "));
        if used + key.width() + word.width() > room + 2 {
            break;
        }
        used += key.width() + word.width();
        spans.push(Span::styled(key, look.style(Tone::Strong)));
        spans.push(Span::raw(word));
    }
    if used + lesson.len() + 1 < width && teaches {
        spans.push(right(lesson, width - used - 1, look.style(Tone::Dim)));
    }
    frame.render_widget(Line::from(spans), Rect { y: area.bottom().saturating_sub(1), height: 1, ..area });
    if let Some((level, words)) = &app.notice {
        let tone = match level {
            Level::Info => Tone::Waiting,
            Level::Warn => Tone::Warning,
            Level::Error => Tone::Failed,
        };
        body.height = body.height.saturating_sub(1);
        let sign = if *level == Level::Info { "~" } else { "!" };
        let row = Line::styled(cut_end(&format!(" {sign} {words}"), width), look.style(tone));
        frame.render_widget(row, Rect { y: area.y + body.height, height: 1, ..area });
    }
    body
}

/// A box with a title over the middle of an area. Gives back its inside.
pub fn boxed(frame: &mut Frame<'_>, area: Rect, size: (u16, u16), title: &str, look: &Look) -> Rect {
    let (width, height) = (size.0.min(area.width), size.1.min(area.height));
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    let mut block = Block::new().borders(Borders::ALL).title(Span::styled(format!(" {title} "), look.style(Tone::Strong)));
    if look.ascii {
        block = block.border_set(ratatui::symbols::border::Set {
            top_left: "+",
            top_right: "+",
            bottom_left: "+",
            bottom_right: "+",
            vertical_left: "|",
            vertical_right: "|",
            horizontal_top: "-",
            horizontal_bottom: "-",
        });
    }
    let inside = block.inner(place);
    frame.render_widget(block, place);
    inside
}

/// Cuts rows of these heights from the top; the last part is what is left.
pub fn rows<const N: usize, const M: usize>(area: Rect, heights: [u16; N]) -> [Rect; M] {
    let mut out = [Rect { height: 0, ..area }; M];
    let mut y = area.y;
    for (i, part) in out.iter_mut().enumerate() {
        let left = area.bottom().saturating_sub(y);
        let height = heights.get(i).map_or(left, |height| left.min(*height));
        *part = Rect { y, height, ..area };
        y += height;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_fit_whatever_is_in_them() {
        for words in ["", "short", "cr.backend.ai/stable/python:3.6-ubuntu18.04", "한글 이미지 이름이 아주 깁니다"] {
            for width in 0..40 {
                assert_eq!(cell(words, width, Style::new()).width(), width, "{words} in {width}");
                assert_eq!(right(words, width, Style::new()).width(), width, "{words} in {width}");
                assert!(cut_end(words, width.max(2)).width() <= width.max(2), "{words} in {width}");
            }
        }
    }

    #[test]
    fn a_window_holds_the_selected_row() {
        for n in [1, 5, 100] {
            for at in 0..n {
                let window = window(at, n, 7);
                assert!(window.contains(&at) && window.len() == n.min(7), "{at} of {n}");
            }
        }
    }

    #[test]
    fn a_wrapped_line_keeps_every_character() {
        assert_eq!(wrap_exact("one two three", 7, 2), ["one two", "   thre", "  e"]);
        assert_eq!(wrap_exact("", 7, 2), [""]);
    }

    #[test]
    fn a_sentence_is_shown_whole_or_not_at_all() {
        let words = "Step 2: 3.5 GB of 7. Nothing needs you now. Next question: step 3.";
        for (width, shown) in [
            (80, words),
            (60, "Step 2: 3.5 GB of 7. Nothing needs you now."),
            (42, "Step 2: 3.5 GB of 7."),
            (20, "Step 2: 3.5 GB of 7."),
            (12, "Step 2: 3..."),
        ] {
            assert_eq!(whole_sentences(words, width), shown, "{width}");
        }
    }

    #[test]
    fn sentences_break_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("", 7), Vec::<String>::new());
    }
}
