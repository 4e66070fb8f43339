//! Every change of the selected step, failed ones first, and the selected one before and after.
//! Never builds a row that is not visible.

use super::{detail, hosts, sides};
use crate::model::{ChangeId, Status, text};
use crate::tui::app::App;
use crate::tui::parts::{cell, cut_end, labelled, lines, prose, rows, rule, window};
use crate::tui::theme::{Face, Tone};
use crate::tui::words;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

const WIDE: usize = 100;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let listed = app.listed();
    let [heading, list, line, below] = rows(area, [1, area.height.saturating_sub(2) * 3 / 5, 1]);
    let step = &app.plan.steps[app.step];
    let only = if app.failed_only { ", failed only" } else { "" };
    let noun = if step.configures() { "host" } else { "change" };
    let words =
        format!(" STEP {}   {}   {}{only}", app.step + 1, text::clean(&step.title), text::count(listed.len() as u64, noun));
    frame.render_widget(Line::styled(cut_end(&words, area.width as usize), app.look.style(Tone::Strong)), heading);
    if step.configures() {
        hosts::draw(frame, app, &listed, list);
        rule(frame, line, &app.look);
        draw_selected(frame, app, listed.get(app.change), below);
        return;
    }
    let shown = window(app.change, listed.len(), list.height as usize);
    let out: Vec<Line<'_>> = shown.filter_map(|i| Some(row(app, listed.get(i)?, i == app.change, area.width as usize))).collect();
    frame.render_widget(Paragraph::new(out), list);
    rule(frame, line, &app.look);
    draw_selected(frame, app, listed.get(app.change), below);
}

pub fn face(app: &App, id: ChangeId) -> (Face, &'static str) {
    if app.state.plan.is_none() {
        return if app.plan.change(id).found { (Face::Already, "already") } else { (Face::ToDo, "would") };
    }
    let rolling_back = app.state.rolling_back.is_some_and(|to| id.step >= to);
    words::change_face(app.state.status(id), rolling_back)
}

fn row(app: &App, n: usize, selected: bool, width: usize) -> Line<'static> {
    let look = &app.look;
    let id = ChangeId { step: app.step, n };
    let planned = app.plan.change(id);
    let (face, word) = face(app, id);
    let style = |tone: Tone| if selected { look.style(Tone::Selected) } else { look.style(tone) };
    let quiet = matches!(face, Face::ToDo | Face::Done | Face::Already | Face::NotRun);
    let plain = style(if quiet { Tone::Dim } else { Tone::Plain });
    let status = app.state.steps.get(app.step).map(|step| &step.changes[n].status);
    let side = match status {
        Some(Status::Running | Status::Undoing) => detail::said(app, id).1,
        Some(Status::Failed(fault) | Status::UndoFailed(fault)) => text::clean(&fault.why),
        Some(Status::Retrying(why) | Status::Skipped(why)) => text::clean(why),
        _ if planned.change.size_bytes() > 0 => text::bytes(planned.change.size_bytes()),
        _ => String::new(),
    };
    // On a narrow screen the kind gives way: the step says it.
    let (id_width, word_width, place_width, kind_width) = if width < WIDE { (7, 9, 9, 0) } else { (8, 12, 12, 8) };
    let side_width = if width < WIDE { width * 3 / 10 } else { width / 3 };
    let subject = width.saturating_sub(3 + id_width + word_width + place_width + kind_width + side_width + 2);
    Line::from(vec![
        cell(&format!(" {}", look.sign(face)), 3, style(face.tone())),
        cell(&id.to_string(), id_width, plain),
        cell(word, word_width, style(face.tone())),
        cell(&text::clean(&planned.place), place_width, plain),
        cell("", 1, plain),
        cell(&planned.kind, kind_width, plain),
        cell(&detail::short_subject(&planned.subject, subject), subject, plain),
        cell("", 1, plain),
        cell(&side, side_width, style(if face == Face::Failed { Tone::Failed } else { Tone::Dim })),
    ])
}

/// What a change is about; where the rows are hosts, with its host.
fn subject(app: &App, id: ChangeId, width: usize) -> String {
    let planned = app.plan.change(id);
    if app.plan.steps[id.step].configures() {
        let place = text::clean(&planned.place);
        return format!("{} on {place}", detail::short_subject(&planned.subject, width.saturating_sub(place.len() + 4)));
    }
    text::clean(&planned.subject)
}

/// What became of a change: why it failed and what helps, how long it took, what proved it.
pub fn outcome(app: &App, id: ChangeId, width: usize) -> Vec<Line<'static>> {
    if app.state.plan.is_none() {
        return vec![];
    }
    let look = &app.look;
    let (dim, plain) = (look.style(Tone::Dim), look.style(Tone::Plain));
    let status = app.state.status(id);
    let mut out = vec![];
    if let Status::Failed(fault) | Status::UndoFailed(fault) = &status.status {
        out.extend(labelled("cause", &text::clean(&fault.to_string()), (9, width), (dim, look.style(Tone::Failed))));
        if let Some(hint) = &fault.hint {
            out.extend(labelled("helps", &text::clean(hint), (9, width), (dim, plain)));
        }
    }
    if let Some(from) = status.started_ms {
        let to = status.ended_ms.unwrap_or(app.now_ms);
        let attempts = text::count(u64::from(status.attempts), "attempt");
        let words = format!("{}, {attempts}, begun {}", text::duration(to - from), look.clock(from));
        out.extend(labelled("took", &words, (9, width), (dim, plain)));
    }
    if let Some(proof) = status.proof.as_ref().filter(|_| status.status == Status::Done) {
        out.extend(labelled("proven", &text::clean(proof), (9, width), (dim, plain)));
    }
    out
}

fn draw_selected(frame: &mut Frame<'_>, app: &App, selected: Option<usize>, area: Rect) {
    let look = &app.look;
    let width = area.width as usize;
    let mut out = vec![];
    let (dim, plain) = (look.style(Tone::Dim), look.style(Tone::Plain));
    if let Some(n) = selected {
        let id = ChangeId { step: app.step, n };
        let planned = app.plan.change(id);
        out.push(Line::from(vec![
            Span::styled(format!(" {id}  "), look.style(Tone::Strong)),
            prose(
                &format!("{} {}", words::verb(&planned.kind).would, subject(app, id, width.saturating_sub(24))),
                width.saturating_sub(12),
                look.style(Tone::Strong),
            ),
        ]));
        out.extend(outcome(app, id, width));
        out.extend(sides::lines(planned, look, width, false));
    }
    for kept in &app.plan.steps[app.step].kept {
        if out.len() > area.height as usize {
            break;
        }
        let words = format!("{} on {}: {}", text::clean(&kept.subject), text::clean(&kept.place), text::clean(&kept.why));
        out.push(Line::from(vec![Span::styled(" keeps    ", dim), prose(&words, width.saturating_sub(11), plain)]));
    }
    lines(frame, area, out, look);
}
