//! The matrix from far: one sign for each host, in rows of hosts whose names belong together.
//! Never a row that is not visible.

use super::matrix::{Drawn, fitted, part, signs};
use crate::model::text;
use crate::tui::app::App;
use crate::tui::cells::{grouped, zoom_rows};
use crate::tui::grid::{Grid, Stand};
use crate::tui::parts::{cell, prose, window};
use crate::tui::theme::Tone;
use ratatui::text::{Line, Span};
use std::ops::Range;

const NAME: usize = 14;

pub fn draw(app: &App, grid: &Grid, width: usize, height: usize) -> Drawn {
    let all = zoom_rows(grid, u16::try_from(width).unwrap_or(u16::MAX));
    let at = all.iter().position(|row| row.contains(&app.cells.view.host)).unwrap_or_default();
    let shown = window(at, all.len(), height);
    let widest = all.iter().map(|row| grouped(row.len())).max().unwrap_or(0);
    let rows = all[shown.clone()].iter().map(|hosts| row(app, grid, hosts, widest, width)).collect();
    let dim = app.look.style(Tone::Dim);
    let head = vec![cell(" from", NAME + 3, dim), cell("one sign each", widest.max(13), dim), Span::styled("  done", dim)];
    let hosts = all.get(shown.start).map_or(0, |row| row.start)..all.get(shown.end.saturating_sub(1)).map_or(0, |row| row.end);
    Drawn { head: fitted(head, width), rows, shown: part("agent", &hosts, grid.hosts.len()) }
}

fn row(app: &App, grid: &Grid, hosts: &Range<usize>, widest: usize, width: usize) -> Line<'static> {
    let look = &app.look;
    let view = &app.cells.view;
    let here = hosts.contains(&view.host);
    let first = &grid.hosts[hosts.start];
    let style = look.style(if here { Tone::Selected } else { Tone::Plain });
    let mut spans = vec![Span::raw(" "), cell(&text::clean(&first.name), NAME, style), Span::raw("  ")];
    let one = |host: usize| {
        let sums = &grid.hosts[host];
        let tenth = sums.done.saturating_mul(10).checked_div(sums.size).map(|tenth| u8::try_from(tenth.min(9)).unwrap_or(9));
        Some((sums.worst(), tenth))
    };
    let at = here.then(|| view.host - hosts.start);
    spans.extend(signs(look, hosts.clone().map(one), 0, at));
    spans.push(Span::raw(" ".repeat(widest.saturating_sub(grouped(hosts.len())))));
    let count = |of: fn(&crate::tui::grid::Sums) -> bool| hosts.clone().filter(|host| of(&grid.hosts[*host])).count();
    let done = count(|sums| sums.over() == sums.total());
    spans.push(Span::styled(format!("  {done}/{}", hosts.len()), look.style(Tone::Dim)));
    let failed = count(|sums| sums.count(Stand::Failed) > 0);
    let unknown = count(|sums| sums.count(Stand::Unknown) > 0);
    for (n, word, tone) in [(failed, "failed", Tone::Failed), (unknown, "unknown", Tone::Unknown)] {
        if n > 0 {
            let words = format!("{n} {word}");
            spans.push(Span::raw("  "));
            spans.push(prose(&words, words.len(), look.style(tone)));
        }
    }
    fitted(spans, width)
}
