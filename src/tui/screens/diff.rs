//! One change before and after, over the whole screen.
//! Never a different diff from the one in the plan: it is the same lines with more room.

use super::{changes, detail, sides};
use crate::model::text;
use crate::tui::app::App;
use crate::tui::parts::{cell, cut_end, lines, rows};
use crate::tui::theme::Tone;
use crate::tui::words;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let width = area.width as usize;
    let Some(id) = app.selected_change() else {
        frame.render_widget(Line::raw(" The step changes nothing."), area);
        return;
    };
    let planned = app.plan.change(id);
    let n = app.plan.steps[id.step].changes.len() as u64;
    let head = format!(" {id}   {} ", words::verb(&planned.kind).would);
    let side = format!("  {}   {} of {}  ", text::clean(&planned.place), text::number(id.n as u64 + 1), text::number(n));
    let room = width.saturating_sub(head.len() + side.len());
    let [heading, about, gap, body] = rows(area, [1, 1, 1]);
    frame.render_widget(
        Line::from(vec![
            Span::styled(head, look.style(Tone::Strong)),
            cell(&detail::short_subject(&planned.subject, room), room, look.style(Tone::Strong)),
            Span::styled(side, look.style(Tone::Dim)),
        ]),
        heading,
    );
    let how = if app.wrap { "long lines are broken; w cuts them" } else { "long lines are cut; w breaks them" };
    let signs = if planned.found { "it was already so when the plan was made" } else { "- before   + after" };
    frame.render_widget(Line::styled(cut_end(&format!(" {signs}   {how}"), width), look.style(Tone::Dim)), about);
    let mut out = changes::outcome(app, id, width);
    out.extend(sides::lines(planned, look, width, app.wrap));
    out.drain(..app.scroll.min(out.len().saturating_sub(1)));
    lines(frame, Rect { y: gap.y, height: gap.height + body.height, ..body }, out, look);
}
