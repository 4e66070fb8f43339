//! One change of the matrix: image, host, how it stands, its attempts, its layers, what the engine said, the way back.
//! Never more layers than fit: the others are counted, and `j` `k` move among them.

use super::{detail, matrix};
use crate::model::{Change, ChangeId, LayerPhase, LayerProgress, PlannedChange, Status, WayBack, text};
use crate::tui::app::App;
use crate::tui::grid::Grid;
use crate::tui::parts::{cell, cut_end, labelled, lines, prose, right, rows, rule, window};
use crate::tui::theme::Tone;
use crate::tui::words;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};
use unicode_width::UnicodeWidthStr;

const INDENT: usize = 11;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let (Some(grid), Some(id)) = (app.grid(), app.cells.selected()) else { return };
    let width = area.width as usize;
    let layers = app.cells.layers(id);
    let mut above = facts(app, grid, id, width, layers.is_empty());
    // The layers get what the facts leave, and four rows at least: what moves matters more than what was planned.
    let under =
        if layers.is_empty() { 0 } else { (layers.len() + 2).min(6).max(usize::from(area.height).saturating_sub(above.len())) };
    let under = u16::try_from(under.min(layers.len() + 2)).unwrap_or(area.height) * u16::from(!layers.is_empty());
    let room = usize::from(area.height - under.min(area.height));
    // The last of the facts give way first.
    while above.len() > room && above.len() > 4 {
        above.pop();
    }
    let [top, line, heading, list] = rows(area, [area.height - under, u16::from(under > 0), u16::from(under > 0)]);
    lines(frame, top, above, &app.look);
    if under > 0 {
        rule(frame, line, &app.look);
        frame.render_widget(layers_head(app, layers, width), heading);
        let shown = window(app.scroll.min(layers.len() - 1), layers.len(), list.height as usize);
        let rows: Vec<Line<'_>> = layers[shown].iter().map(|layer| layer_row(app, layer, width)).collect();
        frame.render_widget(Paragraph::new(rows), list);
    }
}

/// What is known of the change; what matters most first.
fn facts(app: &App, grid: &Grid, id: ChangeId, width: usize, no_layers: bool) -> Vec<Line<'static>> {
    let look = &app.look;
    let planned = app.plan.change(id);
    let status = app.state.status(id);
    let (dim, plain, strong) = (look.style(Tone::Dim), look.style(Tone::Plain), look.style(Tone::Strong));
    let (face, said) = matrix::said(app, grid, grid.cell(id.n), width / 2);
    let fact = |label: &str, words: &str| labelled(label, &text::clean(words), (INDENT, width), (dim, plain));
    let name = format!(
        " {id}  {} on {}  ",
        text::clean(&detail::short_subject(&planned.subject, width / 2)),
        text::clean(&planned.place)
    );
    let word =
        format!("{} {}", look.sign(face), if matches!(status.status, Status::Failed(_)) { "FAILED" } else { said.as_str() });
    let mut out = vec![Line::from(vec![
        Span::styled(cut_end(&name, width), strong),
        prose(&word, width.saturating_sub(name.width()), look.style(face.tone())),
    ])];
    if let Status::Failed(fault) | Status::UndoFailed(fault) = &status.status {
        let style = look.style(Tone::Failed);
        out.extend(labelled("answer", &text::clean(&fault.why), (INDENT, width), (dim, style)));
        if let Some(cause) = grid.cause_of(id.n) {
            out.extend(fact("helps", &matrix::helps(app, grid, cause, id.n)));
        }
        out.extend(fact("tried", &fault.what));
    }
    out.extend(fact("image", &planned.subject));
    out.extend(was(app, planned).iter().flat_map(|was| fact("instead of", was)));
    out.extend(fact("state", &times(app, id)));
    out.extend(attempts(app, id, width));
    out.extend(size(app, grid, id).iter().flat_map(|words| fact("size", words)));
    out.extend(fact("on host", &format!("before: {}; after: {}", planned.before, planned.after)));
    if let Some((class, why)) = undo(planned) {
        let tone = if class == "undo" { Tone::Plain } else { Tone::Warning };
        out.extend(labelled(class, &text::clean(&why), (INDENT, width), (dim, look.style(tone))));
    }
    let title = &app.plan.steps[id.step].title;
    out.extend(fact("step", &format!("{}, {title}", id.step + 1)));
    if no_layers && matches!(planned.change, Change::Pull { .. }) {
        let words = match status.status {
            Status::Running => "the engine has not named them yet",
            Status::Done => "all there: they are shown while they come",
            _ => "shown while they come",
        };
        out.extend(fact("layers", words));
    }
    out
}

/// The old name that the image stands for on this host, by the ledger.
fn was(app: &App, planned: &PlannedChange) -> Option<String> {
    let (Change::Pull { host, image, .. } | Change::Tag { host, image, .. }) = &planned.change else { return None };
    let line = app.plan.ledger.iter().find(|line| line.new.as_ref() == Some(image) && line.hosts.contains(host));
    let line = line.or_else(|| app.plan.ledger.iter().find(|line| line.new.as_ref() == Some(image)))?;
    Some(format!("{}, {}", line.old.familiar(), line.proof))
}

fn times(app: &App, id: ChangeId) -> String {
    let (look, status) = (&app.look, app.state.status(id));
    let (_, word) = words::change_face(status, app.state.rolling_back.is_some_and(|to| id.step >= to));
    let Some(from) = status.started_ms else { return format!("{word}; not begun") };
    let attempts = text::count(u64::from(status.attempts), "attempt");
    match status.ended_ms {
        Some(to) => format!(
            "{word} at {}, begun {}, {} in all, {attempts}",
            look.clock_with_zone(to),
            look.clock(from),
            text::duration(to - from)
        ),
        None => format!("{word} for {}, begun {}, {attempts}", text::duration(app.now_ms - from), look.clock_with_zone(from)),
    }
}

/// What went wrong before, the newest first, as many as anybody reads.
fn attempts(app: &App, id: ChangeId, width: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let styles = (look.style(Tone::Dim), look.style(Tone::Plain));
    let tries = app.cells.tries(id);
    // A single failure stands above at length.
    let tries = if tries.len() == 1 && matches!(app.state.status(id).status, Status::Failed(_)) { &[] } else { tries };
    let line = |(i, of): (usize, &crate::tui::cells::Try)| {
        let label = if i == 0 { "attempts" } else { "" };
        let words = format!("{}  {}", look.clock(of.at_ms), of.why);
        // One row each: the newest failure stands above at length.
        let mut rows = labelled(label, &words, (INDENT, width), styles);
        rows.truncate(2);
        rows
    };
    let mut out: Vec<Line<'static>> = tries.iter().rev().take(4).enumerate().flat_map(line).collect();
    if tries.len() > 4 {
        out.extend(labelled("", &format!("and {} before them", tries.len() - 4), (INDENT, width), styles));
    }
    out
}

fn size(app: &App, grid: &Grid, id: ChangeId) -> Option<String> {
    let size = app.plan.change(id).change.size_bytes();
    let progress = app.progress.get(&id).filter(|_| app.state.status(id).status == Status::Running);
    if size == 0 {
        return None;
    }
    let mut words = text::bytes(size);
    if let Some(progress) = progress {
        words = format!(
            "{} of {words}, {}%",
            text::bytes(progress.done.min(size)),
            progress.done.min(size).saturating_mul(100) / size
        );
    }
    if let Some(rate) = grid.rate_of(id.n) {
        words = format!("{words}, {}/s over 10 s", text::bytes(rate));
    }
    Some(words)
}

/// How it is undone, in a label and a sentence.
fn undo(planned: &PlannedChange) -> Option<(&'static str, String)> {
    match &planned.way_back {
        WayBack::Partly(why) => Some(("PARTLY", why.clone())),
        WayBack::None(why) => Some(("NO UNDO", why.clone())),
        WayBack::Whole => Some((
            "undo",
            match &planned.change {
                Change::Pull { before: None, .. } | Change::Tag { before: None, .. } => "the name is taken away again".to_owned(),
                Change::Pull { .. } | Change::Tag { .. } => "the name is given back to the image it meant before".to_owned(),
                Change::Remove { twin: Some(twin), .. } => format!("named again from {}", twin.familiar()),
                Change::Remove { .. } => "pulled again from the old registry, by digest".to_owned(),
                _ => return None,
            },
        )),
    }
}

fn layers_head(app: &App, layers: &[LayerProgress], width: usize) -> Line<'static> {
    let there = layers.iter().filter(|layer| matches!(layer.phase, LayerPhase::Done | LayerPhase::There)).count();
    let words = format!(" LAYERS  {there} of {} there", layers.len());
    Line::from(vec![
        cell(&words, 30.min(width), app.look.style(Tone::Strong)),
        Span::styled(cut_end("pulled and unpacked are two numbers", width.saturating_sub(30)), app.look.style(Tone::Dim)),
    ])
}

fn layer_row(app: &App, layer: &LayerProgress, width: usize) -> Line<'static> {
    let look = &app.look;
    let percent =
        |part: u64| part.saturating_mul(100).checked_div(layer.total).map_or(String::new(), |n| format!(" {}%", n.min(100)));
    let (tone, words) = match layer.phase {
        LayerPhase::There => (Tone::Already, "there before".to_owned()),
        LayerPhase::Done => (Tone::Already, "done".to_owned()),
        LayerPhase::Waiting => (Tone::Dim, "waiting".to_owned()),
        LayerPhase::Pulling => (Tone::Running, format!("pulling{}", percent(layer.done))),
        LayerPhase::Pulled => (Tone::Plain, "pulled, not unpacked yet".to_owned()),
        LayerPhase::Unpacking => (Tone::Running, format!("pulled, unpacking{}", percent(layer.unpacked))),
    };
    let size = if layer.total > 0 { text::bytes(layer.total) } else { String::new() };
    Line::from(vec![
        cell(&format!(" {}", text::clean(&layer.id)), 16, look.style(Tone::Plain)),
        right(&size, 8, look.style(Tone::Plain)),
        Span::raw("   "),
        prose(&words, width.saturating_sub(28), look.style(tone)),
    ])
}
