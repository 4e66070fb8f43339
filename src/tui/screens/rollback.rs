//! The way back, before it is gone: which steps are undone, in which order, and what does not come back.
//! Never makes the way back look whole where it is not.

use super::detail::gap;
use super::gate::Case;
use crate::model::text;
use crate::tui::app::App;
use crate::tui::parts::{cell, labelled, prose, right, wrap};
use crate::tui::theme::{Face, Tone};
use crate::tui::words;
use ratatui::text::{Line, Span};

/// The rollback to before step `to`, as a question.
pub fn case(app: &App, to: usize, width: usize) -> Case {
    let look = &app.look;
    let mut head = vec![];
    let title = app.plan.steps.get(to).map_or("", |step| step.title.as_str());
    let sentence = format!(
        "The last change is undone first, down to and with step {}, {}. What was already so before this run is left alone. Up and down choose another step.",
        to + 1,
        text::clean(title)
    );
    head.extend(wrap(&sentence, width - 1).into_iter().map(|line| Line::raw(format!(" {line}"))));
    let mut lost = vec![];
    for step in (to..app.plan.steps.len()).filter(|step| ours(app, *step) > 0) {
        let planned = &app.plan.steps[step];
        if words::no_way_back(planned) {
            let (class, why) = words::way_back(planned);
            lost.push(format!("step {}: {class}: {why}", step + 1));
        }
    }
    let warning = look.style(Tone::Warning);
    for words in lost {
        head.extend(labelled("!", &text::clean(&words), (3, width), (warning, warning)));
    }
    head.push(gap());
    let rows: Vec<Line<'_>> =
        (0..app.plan.steps.len()).rev().filter(|step| ours(app, *step) > 0).map(|step| row(app, step, to, width)).collect();
    Case { title: format!("ROLL BACK TO BEFORE STEP {}", to + 1), head, essence: vec![], facts: rows, act: "Roll back" }
}

/// Changes of a step that a rollback takes back.
fn ours(app: &App, step: usize) -> u64 {
    app.state.steps.get(step).map_or(0, |step| step.counts.undoable)
}

fn row(app: &App, step: usize, to: usize, width: usize) -> Line<'static> {
    let look = &app.look;
    let planned = &app.plan.steps[step];
    let undone = step >= to;
    let selected = step == to;
    let style = |tone: Tone| if selected { look.style(Tone::Selected) } else { look.style(tone) };
    let tone = style(if undone { Tone::Plain } else { Tone::Dim });
    let (class, _) = words::way_back(planned);
    let word = if undone { "would be undone" } else { "stays" };
    let sign = if undone { look.sign(Face::Undone) } else { look.sign(Face::Done) };
    let undo = style(if words::no_way_back(planned) && undone { Tone::Warning } else { Tone::Dim });
    Line::from(vec![
        Span::styled(format!("   {sign} "), tone),
        right(&(step + 1).to_string(), 3, tone),
        cell("", 2, tone),
        prose(&text::clean(&planned.title), width.saturating_sub(54), tone),
        cell("", 1, tone),
        right(&text::count(ours(app, step), "change"), 14, tone),
        cell("", 2, tone),
        prose(word, 16, tone),
        cell(class, 8, undo),
    ])
}
