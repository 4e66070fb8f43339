//! The matrix of hosts and images: what its three views share: counts, legend, signs, the selected cell, the causes.
//! Never a sign outside of ASCII, and never a row that is not visible.

use super::{by_host, by_image, detail, zoom};
use crate::model::{ChangeId, Status, text};
use crate::tui::app::App;
use crate::tui::cells::{Row, Side};
use crate::tui::grid::{Cause, Cell, Grid, Rank, STANDS, Stand};
use crate::tui::parts::{brief, cell, cut_end, prose, right, rows, rule};
use crate::tui::theme::{Face, Look, Tone};
use crate::tui::words;
use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use unicode_width::UnicodeWidthStr;

const WIDE: usize = 100;
/// Below this the legend gives way to rows.
const LOW: u16 = 14;

/// One view: its heading, how many rows there are, which are shown, and how many columns of how many.
pub struct Drawn {
    pub head: Line<'static>,
    pub rows: Vec<Line<'static>>,
    /// As people count: `agents 1-27 of 200`.
    pub shown: String,
}

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let Some(grid) = app.grid() else { return };
    let width = area.width as usize;
    let causes = grid.causes();
    let troubles = u16::try_from(causes.len()).unwrap_or(u16::MAX).min((area.height / 6).max(1));
    let legend_height = u16::from(area.height >= LOW);
    let fixed = 1 + legend_height + 1 + 1 + 1 + troubles;
    let [top, legend, head, list, line, now, bottom] = rows(area, [1, legend_height, 1, area.height.saturating_sub(fixed), 1, 1]);
    let drawn = match app.cells.view.side {
        Side::Hosts => by_host::draw(app, grid, width, list.height as usize),
        Side::Images => by_image::draw(app, grid, width, list.height as usize),
        Side::Zoom => zoom::draw(app, grid, width, list.height as usize),
    };
    frame.render_widget(counts(app, grid, width), top);
    frame.render_widget(legend_line(app, grid, width, &drawn.shown), legend);
    frame.render_widget(drawn.head, head);
    frame.render_widget(Paragraph::new(drawn.rows), list);
    rule(frame, line, &app.look);
    frame.render_widget(selected(app, grid, width), now);
    let shown = causes.iter().take(troubles as usize);
    let mut lines: Vec<Line<'_>> = shown.map(|(of, cells)| trouble(app, grid, of, cells, width)).collect();
    let hidden = causes.len() - lines.len();
    if let Some(last) = lines.last_mut().filter(|_| hidden > 0) {
        let more = text::count(hidden as u64 + 1, "more cause");
        *last = Line::styled(format!("   ... {more}"), app.look.style(Tone::Dim));
    }
    frame.render_widget(Paragraph::new(lines), bottom);
}

/// ` 17 failed   24 waiting   96 pulling   2 651 to do   5 212 done     64% of 4.8 TB     ends …`.
fn counts(app: &App, grid: &Grid, width: usize) -> Line<'static> {
    let look = &app.look;
    let gap = if width < WIDE { "  " } else { "   " };
    let mut spans = vec![];
    for stand in STANDS {
        let n = grid.sums.count(stand);
        if n > 0 {
            let word = word(app, grid, stand);
            let tone = if stand == Stand::Done { Tone::Done } else { tone(stand) };
            spans.push(Span::styled(format!(" {} {word}{gap}", text::number(u64::from(n))), look.style(tone)));
        }
    }
    let (done, total) = (grid.sums.done, grid.sums.size);
    if let Some(percent) = done.saturating_mul(100).checked_div(total) {
        let mut tail = format!("  {percent}% of {}", text::bytes(total));
        if width >= WIDE
            && let Some((rate, _)) = app.pace.rate(app.step).filter(|_| done < total)
        {
            let _ = write!(tail, "   {}/s", text::bytes(rate));
        }
        if width >= WIDE
            && let Some((from, to)) = app.pace.ends(app.step, done, total)
        {
            let _ = write!(tail, "   ends {}", detail::ends(app, from, to));
        }
        spans.push(Span::styled(tail, look.style(Tone::Plain)));
    }
    fitted(spans, width)
}

/// The signs in use and what they mean, and which rows are shown.
fn legend_line(app: &App, grid: &Grid, width: usize, shown: &str) -> Line<'static> {
    use Stand::{Already, Done, Failed, Running, Skipped, Stalled, ToDo, Undone, Unknown, Waiting};
    let look = &app.look;
    let mut spans = vec![];
    let mut used = 0;
    let room = width.saturating_sub(shown.width() + 3);
    let of_bytes = grid.sums.size > 0;
    // What does not fit is what nobody has to act upon.
    for stand in [Failed, Unknown, Stalled, Waiting, Running, ToDo, Skipped, Undone, Already, Done] {
        if grid.sums.count(stand) == 0 {
            continue;
        }
        let (sign, word) = match stand {
            Running if of_bytes => ("0-9".to_owned(), "tenths"),
            _ => (sign_of(stand, None).to_string(), word(app, grid, stand)),
        };
        let words = format!(" {word}  ");
        if used + 1 + sign.len() + words.len() > room {
            break;
        }
        used += 1 + sign.len() + words.len();
        spans.push(Span::raw(" "));
        spans.push(Span::styled(sign, sign_style(look, stand)));
        spans.push(Span::styled(words, look.style(Tone::Dim)));
    }
    spans.push(right(shown, width.saturating_sub(used + 1), look.style(Tone::Dim)));
    fitted(spans, width)
}

/// Where the eye is: the host, the image with its number, and how it stands.
fn selected(app: &App, grid: &Grid, width: usize) -> Line<'static> {
    let look = &app.look;
    let view = &app.cells.view;
    let (strong, plain) = (look.style(Tone::Strong), look.style(Tone::Plain));
    if grid_is_empty(app, grid) {
        return Line::styled(" Nothing has failed. f shows all again.", plain);
    }
    let fold =
        (view.side == Side::Hosts).then(|| app.cells.row(grid, app.cells.row_selected(grid, app.failed_only), app.failed_only));
    if let Some(Some(Row::Fold(rank))) = fold {
        let what = if rank == Rank::Over { "nothing is left to do on them" } else { "nothing is begun on them" };
        return Line::styled(cut_end(&format!(" {what}; enter lists them"), width), plain);
    }
    let host = text::clean(&grid.hosts[view.host].name);
    if view.side == Side::Zoom {
        let sums = &grid.hosts[view.host];
        let left = if sums.left > 0 { format!(", {} left", text::bytes(sums.left)) } else { String::new() };
        let words = format!("  {} of {}{left}", sums.over(), text::count(u64::from(sums.total()), "image"));
        let (face, said) = state_of_host(app, grid, view.host);
        let room = width.saturating_sub(host.width() + words.width() + 3);
        return Line::from(vec![
            Span::styled(format!(" {host}"), strong),
            Span::styled(format!("{words}  "), plain),
            prose(&said, room, look.style(face.tone())),
        ]);
    }
    let name = format!(" {host}  {} {}  ", view.image + 1, text::clean(&grid.images[view.image].name));
    let room = width.saturating_sub(name.width());
    let (face, said) = match grid.find(view.host, view.image) {
        Some(cell) => said(app, grid, cell, room),
        None => (Face::NotRun, "nothing is planned there".to_owned()),
    };
    if room < 12 {
        return Line::styled(cut_end(&name, width), strong);
    }
    Line::from(vec![Span::styled(name, strong), prose(&said, room, look.style(face.tone()))])
}

fn grid_is_empty(app: &App, grid: &Grid) -> bool {
    app.failed_only && app.cells.view.side != Side::Zoom && grid.sums.count(Stand::Failed) == 0
}

/// One cause in one row: sign, how many cells, the words, where, what helps.
fn trouble(app: &App, grid: &Grid, cause: &Cause, cells: &BTreeSet<usize>, width: usize) -> Line<'static> {
    let look = &app.look;
    let hosts: BTreeSet<usize> = cells.iter().map(|n| grid.cell(*n).host).collect();
    let images: BTreeSet<usize> = cells.iter().map(|n| grid.cell(*n).image).collect();
    let (plain, dim) = (look.style(Tone::Plain), look.style(Tone::Dim));
    let one_image = images.first().filter(|_| images.len() == 1 && hosts.len() > 1);
    let how_many = match one_image {
        Some(_) => "1 image".to_owned(),
        None => text::count(hosts.len() as u64, "agent"),
    };
    let (why_width, names_width) = if width < WIDE { ((width - 10) / 2, width - 10 - (width - 10) / 2) } else { (36, 24) };
    let names = match one_image {
        Some(image) => format!("{} {}", image + 1, text::clean(&grid.images[*image].name)),
        None => places(grid, &hosts, names_width),
    };
    let mut spans = vec![
        Span::raw(" "),
        Span::styled(sign_of(cause.stand, None).to_string(), sign_style(look, cause.stand)),
        right(&text::number(cells.len() as u64), 5, look.style(Tone::Strong)),
        Span::raw("  "),
        prose(&brief(&text::clean(&cause.why), why_width), why_width, plain),
        Span::raw(" "),
    ];
    if width < WIDE {
        spans.push(prose(&names, names_width, dim));
        return fitted(spans, width);
    }
    spans.push(cell(&how_many, 11, plain));
    spans.push(prose(&names, names_width, dim));
    let helps = helps(app, grid, cause, cells.first().copied().unwrap_or_default());
    spans.push(Span::raw("  "));
    spans.push(prose(&helps, width.saturating_sub(8 + 2 + 36 + 1 + 11 + 24 + 2), plain));
    fitted(spans, width)
}

/// What helps against a cause, in the words of the fault where it has any.
pub fn helps(app: &App, grid: &Grid, cause: &Cause, n: usize) -> String {
    let status = &app.state.status(ChangeId { step: grid.step, n }).status;
    let hint = match status {
        Status::Failed(fault) | Status::UndoFailed(fault) => fault.hint.clone(),
        _ => None,
    };
    let else_words = match cause.stand {
        Stand::Failed => "mend what it names, then R",
        Stand::Unknown => "the run looks it up when it goes on",
        Stand::Stalled => "the pull waits; it is dropped and tried again if it stays silent",
        _ => "tried again by itself",
    };
    hint.map_or_else(|| else_words.to_owned(), |hint| text::clean(&hint))
}

/// Hosts by their numbers where their names differ in nothing else: `017 118 and 3 more`.
pub fn places(grid: &Grid, hosts: &BTreeSet<usize>, width: usize) -> String {
    let mut out = String::new();
    for (i, host) in hosts.iter().enumerate() {
        let name = text::clean(&grid.hosts[*host].name);
        let short =
            name.strip_prefix(&grid.prefix).filter(|rest| !rest.is_empty() && hosts.len() > 1).unwrap_or(&name).to_owned();
        let left = hosts.len() - i;
        let more = if left > 1 { format!(" and {} more", left - 1).len() } else { 0 };
        if !out.is_empty() && out.width() + 1 + short.width() + more > width {
            let _ = write!(out, " and {left} more");
            return out;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&short);
    }
    out
}

/// How a host stands, by its worst cell.
pub fn state_of_host(app: &App, grid: &Grid, host: usize) -> (Face, String) {
    let sums = &grid.hosts[host];
    match sums.rank() {
        Rank::Over if grid.goes_back() => (Face::Undone, "undone".to_owned()),
        Rank::Over if sums.count(Stand::Skipped) > 0 => (Face::Skipped, format!("{} skipped", sums.count(Stand::Skipped))),
        Rank::Over => (Face::Done, "done".to_owned()),
        Rank::Begun | Rank::ToDo if grid.goes_back() => (Face::ToDo, "to undo".to_owned()),
        Rank::Begun | Rank::ToDo => (Face::ToDo, "to do".to_owned()),
        _ => match grid.worst([host], 0..grid.images.len()) {
            Some(cell) => state_of_cell(app, grid, cell),
            None => (Face::NotRun, String::new()),
        },
    }
}

/// The state of a cell for a narrow column: the cause itself, or the phase.
fn state_of_cell(app: &App, grid: &Grid, cell: &Cell) -> (Face, String) {
    let id = ChangeId { step: grid.step, n: cell.n };
    match (cell.stand, grid.cause_of(cell.n)) {
        (Stand::Stalled, _) => (Face::Stalled, detail::said(app, id).1),
        (stand, Some(cause)) => (face(stand), text::clean(&cause.why)),
        (Stand::Running, None) => match app.progress.get(&id) {
            Some(progress) => (Face::Running, text::clean(&progress.phase)),
            None => (Face::Running, word(app, grid, Stand::Running).to_owned()),
        },
        (stand, None) => (face(stand), word(app, grid, stand).to_owned()),
    }
}

/// A cell in words, for so much room.
pub fn said(app: &App, grid: &Grid, cell: &Cell, room: usize) -> (Face, String) {
    let id = ChangeId { step: grid.step, n: cell.n };
    let word = word(app, grid, cell.stand);
    match (cell.stand, grid.cause_of(cell.n)) {
        (Stand::Running | Stand::Stalled, _) => {
            let (face, said) = detail::said(app, id);
            let rate = grid.rate_of(cell.n).map_or_else(String::new, |rate| format!("  {}/s", text::bytes(rate)));
            (face, format!("{said}{rate}"))
        }
        (Stand::Failed, Some(cause)) => {
            (Face::Failed, format!("FAILED: {}", brief(&text::clean(&cause.why), room.saturating_sub(8))))
        }
        (stand, Some(cause)) => {
            (face(stand), format!("{word}: {}", brief(&text::clean(&cause.why), room.saturating_sub(word.len() + 2))))
        }
        (stand @ Stand::Skipped, None) => match &app.state.status(id).status {
            Status::Skipped(why) => (face(stand), format!("{word}: {}", text::clean(why))),
            _ => (face(stand), word.to_owned()),
        },
        (stand, None) => {
            let size = app.plan.change(id).change.size_bytes();
            let size = if size > 0 { format!(", {}", text::bytes(size)) } else { String::new() };
            (face(stand), format!("{word}{size}"))
        }
    }
}

fn face(stand: Stand) -> Face {
    match stand {
        Stand::Failed => Face::Failed,
        Stand::Unknown => Face::Unknown,
        Stand::Stalled => Face::Stalled,
        Stand::Waiting => Face::Waiting,
        Stand::Running => Face::Running,
        Stand::ToDo => Face::ToDo,
        Stand::Undone => Face::Undone,
        Stand::Skipped => Face::Skipped,
        Stand::Already => Face::Already,
        Stand::Done => Face::Done,
        Stand::NotRun => Face::NotRun,
    }
}

/// The word of a stand; what runs is called by its verb.
fn word(app: &App, grid: &Grid, stand: Stand) -> &'static str {
    match stand {
        Stand::Failed => "failed",
        Stand::Unknown => "unknown",
        Stand::Stalled => "stalled",
        Stand::Waiting => "waiting",
        Stand::Running if grid.goes_back() => "undoing",
        Stand::Running => {
            app.plan.steps[grid.step].changes.iter().find(|c| c.kind != "tag").map_or("running", |c| words::verb(&c.kind).doing)
        }
        Stand::ToDo => "to do",
        Stand::Undone => "undone",
        Stand::Skipped => "skipped",
        Stand::Already => "already",
        Stand::Done if grid.goes_back() => "to undo",
        Stand::Done => "done",
        Stand::NotRun => "not run",
    }
}

/// One sign, the same on every terminal.
pub fn sign_of(stand: Stand, tenth: Option<u8>) -> char {
    match stand {
        Stand::Failed => 'X',
        Stand::Unknown => '?',
        Stand::Stalled | Stand::Waiting => '~',
        Stand::Running => tenth.map_or('>', |tenth| char::from(b'0' + tenth.min(9))),
        Stand::ToDo => '.',
        Stand::Undone => 'u',
        Stand::Skipped => '-',
        Stand::Already => 'o',
        Stand::Done => '=',
        Stand::NotRun => ' ',
    }
}

fn tone(stand: Stand) -> Tone {
    match stand {
        // Quiet success: thousands of these must not hide one that is not.
        Stand::Done => Tone::Already,
        stand => face(stand).tone(),
    }
}

/// A failed cell is reversed, so that a bad host shows as a row and a bad image as a column.
pub fn sign_style(look: &Look, stand: Stand) -> Style {
    let style = look.style(tone(stand));
    if stand == Stand::Failed { style.add_modifier(Modifier::REVERSED) } else { style }
}

/// Signs in groups of ten; `first` is the index of the first, `at` that of the selected one.
pub fn signs(
    look: &Look,
    cells: impl Iterator<Item = Option<(Stand, Option<u8>)>>,
    first: usize,
    at: Option<usize>,
) -> Vec<Span<'static>> {
    let mut out: Vec<(String, Style)> = vec![];
    let mut push = |c: char, style: Style| match out.last_mut() {
        Some((words, last)) if *last == style => words.push(c),
        _ => out.push((c.to_string(), style)),
    };
    for (i, cell) in cells.enumerate() {
        if i > 0 && (first + i).is_multiple_of(10) {
            push(' ', Style::new());
        }
        let (sign, style) = cell.map_or((' ', Style::new()), |(stand, tenth)| (sign_of(stand, tenth), sign_style(look, stand)));
        if at == Some(first + i) {
            // Reversed among plain ones, plain among reversed ones.
            let style = if style.add_modifier.contains(Modifier::REVERSED) {
                style.remove_modifier(Modifier::REVERSED)
            } else {
                style.remove_modifier(Modifier::DIM).add_modifier(Modifier::REVERSED)
            };
            push(sign, style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED));
        } else {
            push(sign, style);
        }
    }
    out.into_iter().map(|(words, style)| Span::styled(words, style)).collect()
}

/// The numbers above the columns: the first, every tenth, and the selected one, reversed.
pub fn numbers(look: &Look, shown: Range<usize>, at: usize, width: usize) -> Vec<Span<'static>> {
    let label = |i: usize| {
        let start = (i - shown.start) + (i / 10 - shown.start / 10);
        let words = (i + 1).to_string();
        (start + words.len() <= width).then(|| (start..start + words.len(), words))
    };
    let chosen = Some(at).filter(|at| shown.contains(at)).and_then(label);
    let mut out = vec![' '; width];
    for (place, words) in shown.clone().filter(|i| *i == shown.start || (i + 1).is_multiple_of(10)).filter_map(label) {
        // Beside the selected number there is a gap: two that touch would be a third.
        let apart = chosen.as_ref().is_none_or(|(chosen, _)| place.end < chosen.start || chosen.end < place.start);
        if apart {
            words.chars().zip(place).for_each(|(c, i)| out[i] = c);
        }
    }
    let (dim, text) = (look.style(Tone::Dim), |range: Range<usize>| out[range].iter().collect::<String>());
    match chosen {
        Some((place, words)) => vec![
            Span::styled(text(0..place.start), dim),
            Span::styled(words, look.style(Tone::Selected)),
            Span::styled(text(place.end..width), dim),
        ],
        None => vec![Span::styled(text(0..width), dim)],
    }
}

/// A line that is never wider than the screen.
pub fn fitted(spans: Vec<Span<'static>>, width: usize) -> Line<'static> {
    let mut used = 0;
    let mut out = vec![];
    for span in spans {
        let wide = span.content.width();
        if used + wide > width {
            out.push(prose(&span.content, width - used, span.style));
            break;
        }
        used += wide;
        out.push(span);
    }
    Line::from(out)
}

/// `agents 1-27 of 200`.
pub fn part(noun: &str, shown: &Range<usize>, n: usize) -> String {
    if shown.len() == n {
        return text::count(n as u64, noun);
    }
    format!("{noun}s {}-{} of {}", shown.start + 1, shown.end, text::number(n as u64))
}
