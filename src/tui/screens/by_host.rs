//! The matrix with a row for each host, the worst first, the quiet ones folded into a line.
//! Never a row that is not visible, nor a column that would be cut.

use super::matrix::{Drawn, numbers, part, signs, state_of_host};
use crate::model::{ChangeId, text};
use crate::tui::app::App;
use crate::tui::cells::{Row, grouped};
use crate::tui::grid::{Grid, Rank, Stand};
use crate::tui::parts::{brief, cell, prose, right, selected, window};
use crate::tui::theme::Tone;
use ratatui::text::{Line, Span};
use std::ops::Range;

/// The widths of the columns.
struct Widths {
    name: usize,
    signs: usize,
    done: usize,
    left: usize,
    rate: usize,
    digest: usize,
    state: usize,
    columns: Range<usize>,
}

pub fn draw(app: &App, grid: &Grid, width: usize, height: usize) -> Drawn {
    let view = &app.cells.view;
    let widths = Widths::of(grid, view.image, width);
    let n = app.cells.rows(grid, app.failed_only);
    let at = app.cells.row_selected(grid, app.failed_only);
    let shown = window(at, n, height);
    let rows = shown.clone().filter_map(|i| Some((i, app.cells.row(grid, i, app.failed_only)?)));
    let rows = rows.map(|(i, row)| match row {
        Row::Host(host) => host_row(app, grid, host, i == at, &widths),
        Row::Fold(rank) => fold_row(app, grid, rank, i == at, &widths, width),
    });
    let columns = if widths.columns.len() == grid.images.len() {
        String::new()
    } else {
        format!(", {}", part("image", &widths.columns, grid.images.len()))
    };
    let mut rows: Vec<Line<'_>> = rows.collect();
    rows.extend(key(app, grid, width, height.saturating_sub(rows.len())));
    let listed = shown.filter(|i| matches!(app.cells.row(grid, *i, app.failed_only), Some(Row::Host(_)))).count();
    let all = text::count(grid.hosts.len() as u64, "agent");
    let shown = if listed == grid.hosts.len() { all } else { format!("{listed} of {all}") };
    Drawn { head: head(app, &widths), rows, shown: format!("worst first, {shown}{columns}") }
}

impl Widths {
    fn of(grid: &Grid, image: usize, width: usize) -> Self {
        let n = grid.images.len();
        let longest = grid.hosts.iter().map(|host| host.name.len()).max().unwrap_or(0);
        let (most, left, rate, digest, least) = match width {
            160.. => (24, 9, 11, 16, 24),
            100.. => (16, 9, 11, 0, 22),
            70.. => (11, 0, 0, 0, 14),
            _ => (9, 0, 0, 0, 10),
        };
        let (left, rate) = if grid.sums.size > 0 { (left, rate) } else { (0, 0) };
        let name = longest.clamp(5, most);
        let done = (format!("{n}/{n}").len() + 2).max(8);
        let fixed = 1 + name + 2 + done + left + rate + digest + 3;
        let room = width.saturating_sub(fixed + least).max(1);
        let columns = columns(n, image, room);
        let signs = grouped(columns.len()).max(1);
        Self { name, signs, done, left, rate, digest, state: width.saturating_sub(fixed + signs), columns }
    }
}

/// The columns that are shown in so much room, the selected one among them; they begin with a ten.
fn columns(n: usize, at: usize, room: usize) -> Range<usize> {
    if grouped(n) <= room {
        return 0..n;
    }
    let fits = (room - room / 11).max(10);
    let start = if at < fits { 0 } else { (at + 1 - fits).div_ceil(10) * 10 };
    start..(start + fits).min(n)
}

fn head(app: &App, widths: &Widths) -> Line<'static> {
    let look = &app.look;
    let dim = look.style(Tone::Dim);
    let mut spans = vec![cell(" agent", widths.name + 3, dim)];
    // The last number may reach into the gap behind the signs.
    spans.extend(numbers(look, widths.columns.clone(), app.cells.view.image, widths.signs + 2));
    spans.push(right("done", widths.done.saturating_sub(2), dim));
    spans.push(right(if widths.left > 0 { "left" } else { "" }, widths.left, dim));
    spans.push(right(if widths.rate > 0 { "rate" } else { "" }, widths.rate, dim));
    spans.push(cell(if widths.digest > 0 { "   digest" } else { "" }, widths.digest, dim));
    spans.push(prose("   state", widths.state + 3, dim));
    Line::from(spans)
}

fn host_row(app: &App, grid: &Grid, host: usize, at: bool, widths: &Widths) -> Line<'static> {
    let look = &app.look;
    let sums = &grid.hosts[host];
    let quiet = matches!(sums.rank(), Rank::Over | Rank::ToDo);
    let plain = look.style(if quiet { Tone::Dim } else { Tone::Plain });
    let (face, said) = state_of_host(app, grid, host);
    let name = text::clean(&sums.name);
    let mut spans = vec![Span::raw(" ")];
    spans.push(cell(&name, widths.name, if at { look.style(Tone::Selected) } else { plain }));
    spans.push(Span::raw("  "));
    let cells = widths.columns.clone().map(|image| grid.find(host, image).map(|cell| (cell.stand, cell.tenth)));
    spans.extend(signs(look, cells, widths.columns.start, at.then_some(app.cells.view.image)));
    spans.push(right(&format!("{}/{}", sums.over(), sums.total()), widths.done, plain));
    let left = if sums.left > 0 { text::bytes(sums.left) } else { String::new() };
    spans.push(right(&left, widths.left, plain));
    let rate = sums.rate().map_or_else(String::new, |rate| format!("{}/s", text::bytes(rate)));
    spans.push(right(&rate, widths.rate, plain));
    if widths.digest > 0 {
        spans.push(cell(&format!("   {}", digest(app, grid, host)), widths.digest, look.style(Tone::Dim)));
    }
    spans.push(Span::raw("   "));
    let tone = if quiet { Tone::Dim } else { face.tone() };
    spans.push(prose(&brief(&said, widths.state), widths.state, look.style(tone)));
    Line::from(spans)
}

/// The digest of what the host is busy with, or has trouble with.
fn digest(app: &App, grid: &Grid, host: usize) -> String {
    let Some(worst) = grid.worst([host], 0..grid.images.len()).filter(|cell| cell.stand <= Stand::Running) else {
        return String::new();
    };
    match &app.plan.change(ChangeId { step: grid.step, n: worst.n }).change {
        crate::model::Change::Pull { digest, .. } => digest.short().to_owned(),
        _ => String::new(),
    }
}

/// What the numbers above the columns mean, where there is room for all of them.
fn key(app: &App, grid: &Grid, width: usize, room: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let longest = grid.images.iter().map(|image| image.name.len()).max().unwrap_or(0);
    let each = longest.clamp(8, 40) + 6;
    let columns = (width / each).max(1);
    let n = grid.images.len();
    let height = n.div_ceil(columns);
    if height + 2 > room {
        return vec![];
    }
    let mut out = vec![Line::raw(""), Line::styled(" IMAGES", look.style(Tone::Dim))];
    out.extend((0..height).map(|row| {
        let images = (0..columns).map(|column| column * height + row).filter(|image| *image < n);
        let entry = |image: usize| {
            let tone = if image == app.cells.view.image { Tone::Strong } else { Tone::Dim };
            let words = format!("{:>4}  {}", image + 1, text::clean(&grid.images[image].name));
            cell(&words, each, look.style(tone))
        };
        Line::from(images.map(entry).collect::<Vec<_>>())
    }));
    out
}

/// All hosts of one rank in one line.
fn fold_row(app: &App, grid: &Grid, rank: Rank, at: bool, widths: &Widths, width: usize) -> Line<'static> {
    let look = &app.look;
    let from = grid.hosts_before(rank);
    let hosts: Vec<usize> = grid.hosts_worst_first().skip(from).take_while(|host| grid.hosts[*host].rank() == rank).collect();
    let (sign, word) = match (rank, grid.goes_back()) {
        (Rank::Over, false) => ('+', "done"),
        (Rank::Over, true) => ('u', "undone"),
        (_, false) => ('.', "to do"),
        (_, true) => ('.', "to undo"),
    };
    let skipped: u32 = hosts.iter().map(|host| grid.hosts[*host].count(Stand::Skipped)).sum();
    let skipped = if skipped > 0 { format!(", {skipped} cells skipped") } else { String::new() };
    let words = format!(" {sign} {} {word}{skipped}", text::count(hosts.len() as u64, "agent"));
    let left: u64 = hosts.iter().map(|host| grid.hosts[*host].left).sum();
    let style = look.style(Tone::Dim);
    let open = app.cells.is_open(rank);
    let row = Line::from(vec![
        cell(&words, widths.name + 3 + widths.signs, style),
        cell("", widths.done, style),
        right(&if left > 0 { text::bytes(left) } else { String::new() }, widths.left, style),
        cell("", widths.rate + widths.digest, style),
        cell(if open { "   enter folds" } else { "   enter unfolds" }, widths.state + 3, style),
    ]);
    if at { selected(&row, width, look) } else { row }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_column_is_among_those_shown_and_they_begin_with_a_ten() {
        for n in [4, 40, 100, 101] {
            for room in [12, 23, 30, 43, 80] {
                for at in 0..n {
                    let shown = columns(n, at, room);
                    assert!(shown.contains(&at), "{at} of {n} in {room}: {shown:?}");
                    assert!(grouped(shown.len()) <= room && shown.start.is_multiple_of(10), "{at} of {n} in {room}: {shown:?}");
                }
            }
        }
    }
}
