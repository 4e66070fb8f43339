//! Every request that a step makes, what came of it, and how it is undone.
//! Never builds more changes than the screen shows.

use crate::model::{ChangeId, Status, WayBack, text, tried};
use crate::tui::app::App;
use crate::tui::parts::{cell, cut_end, labelled, lines, prose, rows};
use crate::tui::theme::{Face, Tone};
use crate::tui::words;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

const INDENT: usize = 9;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let width = area.width as usize;
    let step = &app.plan.steps[app.step];
    let n = step.changes.len();
    let first = app.scroll.min(n.saturating_sub(1));
    let [heading, body] = rows(area, [1]);
    let words = format!(
        " STEP {}   {}   change {} of {}",
        app.step + 1,
        text::clean(&step.title),
        text::number(first as u64 + 1),
        text::number(n as u64)
    );
    frame.render_widget(Line::styled(cut_end(&words, width), look.style(Tone::Strong)), heading);
    let mut out = vec![];
    if first == 0 {
        if let Some(needs) = words::gate_needs(step) {
            out.extend(labelled("gate", &needs, (INDENT, width), (look.style(Tone::Dim), look.style(Tone::Plain))));
        }
        for sentence in step.gate.iter().flat_map(|gate| &gate.text) {
            out.extend(labelled(
                "says",
                &text::clean(sentence),
                (INDENT, width),
                (look.style(Tone::Dim), look.style(Tone::Plain)),
            ));
        }
        let looks = "before each change it is asked whether the world stands as planned; afterwards, whether it is done";
        out.extend(labelled("always", looks, (INDENT, width), (look.style(Tone::Dim), look.style(Tone::Plain))));
    }
    for n in first..n {
        if out.len() > body.height as usize {
            break;
        }
        out.extend(change(app, ChangeId { step: app.step, n }, width));
    }
    if n == 0 {
        out.push(Line::raw(" It changes nothing, so it asks for nothing but what its gate looks at."));
    }
    lines(frame, body, out, look);
}

/// One change: what is asked, what was answered, what an undo asks.
fn change(app: &App, id: ChangeId, width: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let (dim, plain) = (look.style(Tone::Dim), look.style(Tone::Plain));
    let room = (INDENT, width);
    let planned = app.plan.change(id);
    let mut out = vec![Line::from(vec![
        cell(&format!(" {id}"), INDENT + 1, look.style(Tone::Strong)),
        prose(
            &format!("{} {}", words::verb(&planned.kind).would, text::clean(&planned.subject)),
            width.saturating_sub(INDENT + 1),
            look.style(Tone::Strong),
        ),
    ])];
    for (i, request) in planned.change.requests().iter().enumerate() {
        let label = if i == 0 { "asks" } else { "" };
        out.extend(labelled(label, &text::clean(request), room, (dim, plain)));
    }
    let (face, answer) = answer(app, id);
    let mut answers = labelled("answer", &answer, room, (dim, look.style(face.tone())));
    if let Some(first) = answers.first_mut() {
        first.spans.insert(2, Span::styled(format!("{} ", look.sign(face)), look.style(face.tone())));
    }
    out.extend(answers);
    match &planned.way_back {
        WayBack::None(why) => {
            out.extend(labelled("undo", &format!("NO UNDO: {}", text::clean(why)), room, (dim, look.style(Tone::Warning))));
        }
        way => {
            for (i, request) in planned.change.undo_requests().iter().enumerate() {
                let label = if i == 0 { "undo" } else { "" };
                out.extend(labelled(label, &text::clean(request), room, (dim, plain)));
            }
            if let WayBack::Partly(why) = way {
                out.extend(labelled("", &format!("PARTLY: {}", text::clean(why)), room, (dim, look.style(Tone::Warning))));
            }
        }
    }
    out
}

/// What is known of the answer.
fn answer(app: &App, id: ChangeId) -> (Face, String) {
    if app.state.plan.is_none() {
        let planned = app.plan.change(id);
        return if planned.found {
            (Face::Already, "it was already so when the plan was made".to_owned())
        } else {
            (Face::ToDo, "not asked yet".to_owned())
        };
    }
    let status = app.state.status(id);
    let (face, word) = words::change_face(status, app.state.rolling_back.is_some_and(|to| id.step >= to));
    let attempts = || tried(status.attempts);
    let at = |ms: Option<i64>| ms.map_or_else(String::new, |ms| app.look.clock(ms));
    let said = match &status.status {
        Status::Waiting => "not asked yet".to_owned(),
        Status::Running | Status::Undoing => format!("{word} since {}, {}", at(status.started_ms), attempts()),
        Status::Found => format!("it was already so at {}", at(status.ended_ms)),
        Status::Done => {
            let proof = status.proof.as_ref().map_or_else(String::new, |proof| format!("; {}", text::clean(proof)));
            format!("done and read back at {}, {}{proof}", at(status.ended_ms), attempts())
        }
        Status::Undone => format!("undone and read back at {}", at(status.ended_ms)),
        Status::Retrying(why) => format!("{}: {}; it is tried again", attempts(), text::clean(why)),
        Status::Failed(fault) | Status::UndoFailed(fault) => {
            format!("{word} at {}, {}: {}", at(status.ended_ms), attempts(), text::clean(&fault.why))
        }
        Status::Skipped(why) => format!("skipped: {}", text::clean(why)),
    };
    (face, said)
}
