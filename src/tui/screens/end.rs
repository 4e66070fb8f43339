//! The last page: what is left to do, what every step did, the way back. The same lines go into the scrollback.
//! Never a colour in the plain lines: they are read in files and tickets too.

use super::steps;
use crate::model::{State, Status, text};
use crate::tui::app::App;
use crate::tui::parts::{cut_end, lines, wrap};
use crate::tui::theme::{Look, Tone};
use crate::tui::words;
use ratatui::{Frame, layout::Rect, text::Line};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr;

/// Column in which what is said of the run begins: ` undo     `.
const LABEL: usize = 10;
/// Column in which the titles of the steps begin.
const TITLE: usize = 7;
/// Columns below which counts have a line of their own.
const SHORTEST_COUNTS: usize = 14;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let page = end_page(&app.state, &app.run, &app.journal, &app.look, area.width, &app.again);
    // Run and outcome stand in the screen's own head. A rehearsal ends with its process: nothing could be undone later.
    let page = page.into_iter().skip(2).filter(|line| !(app.simulated && line.starts_with(" undo")));
    let page = page.flat_map(|line| folded(line, area.width as usize));
    let out = page.map(|line| {
        let heading = line.starts_with(" LEFT TO DO") || line.starts_with(" STEPS");
        let tone = if heading { Tone::Strong } else { Tone::Plain };
        Line::styled(line, app.look.style(tone))
    });
    let mut out: Vec<Line<'_>> = out.collect();
    out.push(Line::styled(" This page stays in your scrollback. q leaves.", app.look.style(Tone::Dim)));
    let first = app.scroll.min(out.len().saturating_sub(area.height as usize));
    out.drain(..first);
    lines(frame, area, out, &app.look);
}

/// A command that is longer than a small screen is wide goes on in the next line.
fn folded(line: String, width: usize) -> Vec<String> {
    let Some((label, words)) = line.split_at_checked(LABEL).filter(|_| line.width() > width) else { return vec![line] };
    let parts = wrap(words, width.saturating_sub(LABEL)).into_iter().enumerate();
    parts.map(|(n, part)| format!("{:<LABEL$}{part}", if n == 0 { label } else { "" })).collect()
}

/// The end of a run as plain lines of at most `width` columns; a command is never cut. `again` makes commands whole.
pub fn end_page(state: &State, run: &str, journal: &str, look: &Look, width: u16, again: &str) -> Vec<String> {
    let width = (width as usize).clamp(40, 120);
    let Some(plan) = &state.plan else { return vec![] };
    let left = state.left_to_do(false);
    let outcome = if state.finished.is_some() { words::end_face(state).1 } else { "NOT OVER".to_owned() };
    let head = format!(" castoff  run {run}  {}  {}", plan.cluster, plan.runbook);
    let mut out = vec![format!("{head}{:>room$}", outcome, room = width.saturating_sub(head.width() + 1)), "-".repeat(width)];
    if !left.is_empty() {
        out.push(" LEFT TO DO BY HAND".to_owned());
        for (i, words) in left.iter().enumerate() {
            for (n, line) in wrap(words, width.saturating_sub(6)).into_iter().enumerate() {
                out.push(if n == 0 { format!(" {:>2}  {line}", i + 1) } else { format!("     {line}") });
            }
        }
        out.push(String::new());
    }
    out.push(" STEPS".to_owned());
    let columns = Columns::of(state, width);
    out.extend((0..plan.steps.len()).flat_map(|step| step_lines(state, step, look, &columns)));
    out.push(String::new());
    for (step, line) in (0..plan.steps.len()).flat_map(|step| state.proof_lines(step).into_iter().map(move |line| (step, line))) {
        let of = if plan.steps.len() > 2 { format!("step {}, {line}", step + 1) } else { line };
        let words = wrap(&of, width.saturating_sub(11)).into_iter().enumerate();
        out.extend(words.map(|(n, words)| format!(" {:<9}{words}", if n == 0 { "proven" } else { "" })));
    }
    let took = match &state.window {
        Some(window) => window.used(state.begun_ms, state.last_ms),
        None => text::duration(state.last_ms - state.begun_ms),
    };
    let time = format!("{} to {}, {took}", look.clock(state.begun_ms), look.clock_with_zone(state.last_ms));
    out.push(cut_end(&format!(" time     {time}, by {}", text::clean(&state.by)), width));
    let mended = mended(state);
    if mended > 0 {
        out.push(cut_end(
            &format!(" mended   {} failed at first and were done in a later attempt", text::count(mended, "change")),
            width,
        ));
    }
    out.push(cut_end(&format!(" journal  {journal}"), width));
    let undoable = state.undoable();
    if let Some(to) = undoable.first().copied() {
        let lost: Vec<String> = undoable
            .iter()
            .filter(|step| words::no_way_back(&plan.steps[**step]))
            .map(|step| format!("step {}: {}", step + 1, words::way_back(&plan.steps[*step]).0))
            .collect();
        let but = if lost.is_empty() { String::new() } else { format!("   ({})", lost.join(", ")) };
        let command = format!(" undo     castoff rollback {run} --to {}{again}", plan.steps[to].id);
        // A command that is cut is none: what is lost stands below it where both do not fit.
        if command.width() + but.width() <= width {
            out.push(format!("{command}{but}"));
        } else {
            out.push(command);
            out.extend((!but.is_empty()).then(|| cut_end(&format!("       {but}"), width)));
        }
    }
    out
}

/// How wide the parts of a step's line are, the same for every step.
struct Columns {
    title: usize,
    word: usize,
    took: usize,
    line: usize,
}

impl Columns {
    fn of(state: &State, line: usize) -> Self {
        let steps = state.plan.as_ref().map_or(&[][..], |plan| &plan.steps);
        let longest = steps.iter().map(|step| step.title.width()).max().unwrap_or_default();
        let longest_word = (0..steps.len()).map(|step| words::step_face(state, step, false).1.width()).max().unwrap_or_default();
        let (room, word, took) = if line < 80 { (line - 26, 12, 0) } else { (line - 40, 18, 7) };
        let word = longest_word.min(word);
        Self { title: (room - word).min(longest).max(16), word, took, line }
    }
}

/// What was done in a step, in as many lines as its counts need: none of them is ever cut.
fn step_lines(state: &State, step: usize, look: &Look, columns: &Columns) -> Vec<String> {
    let (face, word) = words::step_face(state, step, false);
    let title = state.plan.as_ref().map_or("", |plan| plan.steps[step].title.as_str());
    let tally = state.tally(step);
    let counts = [
        (tally.done, "done"),
        (tally.found, "already so"),
        (tally.undone, "undone"),
        (tally.skipped, "skipped"),
        (state.failed(step), "failed"),
        (state.had_failed(step), "had failed"),
        (tally.waiting, "not made"),
    ];
    let took = steps::took(state, step, state.last_ms);
    let Columns { title: room, word: word_width, took: took_width, line: width } = *columns;
    let title = cut_end(&text::clean(title), room);
    let mut line = format!(" {} {:>2}  {title}{}", look.sign(face), step + 1, " ".repeat(room.saturating_sub(title.width())));
    let _ = write!(line, "  {:<word_width$}", cut_end(word, word_width));
    if took_width > 0 {
        let _ = write!(line, " {took:>took_width$}");
    }
    line.push_str("   ");
    let mut out = vec![];
    if line.width() + SHORTEST_COUNTS > width {
        out.push(std::mem::replace(&mut line, " ".repeat(TITLE)));
    }
    let indent = line.width();
    for (n, word) in counts.into_iter().filter(|(n, _)| *n > 0) {
        let count = format!("{} {word}", text::number(n));
        let first = line.width() == indent;
        if !first && line.width() + ", ,".len() + count.width() > width {
            out.push(format!("{},", std::mem::replace(&mut line, " ".repeat(indent))));
        } else if !first {
            line.push_str(", ");
        }
        line.push_str(&count);
    }
    if line.width() == indent {
        line.push('-');
    }
    out.push(line);
    out
}

/// Changes that were tried more than once and are done.
fn mended(state: &State) -> u64 {
    let again = |change: &&crate::model::ChangeState| change.status == Status::Done && change.attempts > 1;
    state.steps.iter().flat_map(|step| &step.changes).filter(again).count() as u64
}
