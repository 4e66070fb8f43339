//! The matrix with a row for each image, the worst first: a bad image shows as one line.
//! Never a row that is not visible.

use super::matrix::{Drawn, fitted, part, signs};
use crate::model::{Change, ChangeId, text};
use crate::tui::app::App;
use crate::tui::cells::{grouped, hosts_a_sign, images_room};
use crate::tui::grid::{Grid, Rank, Stand};
use crate::tui::parts::{cell, right, window};
use crate::tui::theme::Tone;
use ratatui::text::{Line, Span};

/// The widths of the columns; what does not fit is left out.
struct Widths {
    name: usize,
    done: usize,
    now: usize,
    failed: usize,
    left: usize,
    digest: usize,
    rate: usize,
}

pub fn draw(app: &App, grid: &Grid, width: usize, height: usize) -> Drawn {
    let n = if app.failed_only { grid.images_before(Rank::Unknown) } else { grid.images.len() };
    let at = grid.row_of_image(app.cells.view.image);
    let each = hosts_a_sign(grid, u16::try_from(width).unwrap_or(u16::MAX));
    let mut widths = match width {
        160.. => Widths { name: 36, done: 10, now: 6, failed: 8, left: 6, digest: 14, rate: 11 },
        100.. => Widths { name: 30, done: 10, now: 6, failed: 8, left: 6, digest: 0, rate: 0 },
        _ => Widths { name: 20, done: 9, now: 0, failed: 7, left: 0, digest: 0, rate: 0 },
    };
    // Few signs leave room for whole names.
    let spare =
        images_room(u16::try_from(width).unwrap_or(u16::MAX)).saturating_sub(grouped(grid.hosts.len().div_ceil(each)).max(26));
    let longest = grid.images.iter().map(|image| image.name.len()).max().unwrap_or(0);
    widths.name = longest.clamp(10, widths.name + spare);
    let shown = window(at, n, height);
    let rows = shown.clone().filter_map(|i| Some((i, grid.image_at(i)?)));
    let rows = rows.map(|(i, image)| row(app, grid, image, i == at, each, &widths, width));
    Drawn {
        rows: rows.collect(),
        head: head(app, grid, each, &widths, width),
        shown: format!("worst first, {}", part("image", &shown, n)),
    }
}

fn head(app: &App, grid: &Grid, each: usize, widths: &Widths, width: usize) -> Line<'static> {
    let dim = app.look.style(Tone::Dim);
    let room = images_room(u16::try_from(width).unwrap_or(u16::MAX));
    let of = grid.hosts.len();
    let long = match each {
        1 => format!("agents 1..{of}, a sign each"),
        10 => format!("agents 1..{of} in tens, worst sign of each"),
        each => format!("agents 1..{of}, worst sign of each {each}"),
    };
    let short = if each == 1 { format!("agents 1..{of}") } else { format!("1..{of} by {each}") };
    fitted(
        vec![
            cell("     image", 6 + widths.name, dim),
            right("done", widths.done, dim),
            right(if widths.now > 0 { "now" } else { "" }, widths.now, dim),
            right("failed", widths.failed, dim),
            right(if widths.left > 0 { "left" } else { "" }, widths.left, dim),
            right(if widths.rate > 0 { "rate" } else { "" }, widths.rate, dim),
            cell(if widths.digest > 0 { "  digest" } else { "" }, widths.digest, dim),
            Span::styled(format!("  {}", if long.len() <= room { long } else { short }), dim),
        ],
        width,
    )
}

fn row(app: &App, grid: &Grid, image: usize, at: bool, each: usize, widths: &Widths, width: usize) -> Line<'static> {
    let look = &app.look;
    let sums = &grid.images[image];
    let quiet = matches!(sums.rank(), Rank::Over | Rank::ToDo);
    let plain = look.style(if quiet { Tone::Dim } else { Tone::Plain });
    let count = |stands: &[Stand]| stands.iter().map(|stand| sums.count(*stand)).sum::<u32>();
    let now = count(&[Stand::Running, Stand::Stalled, Stand::Waiting]);
    let failed = count(&[Stand::Failed, Stand::Unknown]);
    let left = count(&[Stand::ToDo]);
    let number = |n: u32, column: usize, style| right(&if column > 0 { n.to_string() } else { String::new() }, column, style);
    let bad = if failed > 0 { look.style(Tone::Failed) } else { plain };
    let rate = sums.rate().map_or_else(String::new, |rate| format!("{}/s", text::bytes(rate)));
    let mut spans = vec![
        right(&(image + 1).to_string(), 4, plain),
        Span::raw("  "),
        cell(&text::clean(&sums.name), widths.name, if at { look.style(Tone::Selected) } else { plain }),
        right(&format!("{}/{}", sums.over(), sums.total()), widths.done, plain),
        number(now, widths.now, plain),
        number(failed, widths.failed, bad),
        number(left, widths.left, plain),
        right(&rate, widths.rate, plain),
    ];
    if widths.digest > 0 {
        spans.push(cell(&format!("  {}", digest(app, grid, image)), widths.digest, look.style(Tone::Dim)));
    }
    spans.push(Span::raw("  "));
    let n = grid.hosts.len();
    let worst = (0..n.div_ceil(each)).map(|i| {
        let hosts = i * each..((i + 1) * each).min(n);
        grid.worst(hosts, image..image + 1).map(|cell| (cell.stand, cell.tenth))
    });
    spans.extend(signs(look, worst, 0, at.then_some(app.cells.view.host / each)));
    fitted(spans, width)
}

fn digest(app: &App, grid: &Grid, image: usize) -> String {
    let first = (0..grid.hosts.len()).find_map(|host| grid.find(host, image));
    let change = first.map(|cell| &app.plan.change(ChangeId { step: grid.step, n: cell.n }).change);
    match change {
        Some(Change::Pull { digest, .. }) => digest.short().to_owned(),
        Some(Change::Tag { id, .. } | Change::Remove { id, .. }) => id.short().to_owned(),
        _ => String::new(),
    }
}
