//! What the operator should know or do by hand, and what stands in the way of the plan, with what helps.
//! Never shortens a hint: here it has room.

use crate::model::problems::{Together, together};
use crate::model::text;
use crate::tui::app::App;
use crate::tui::parts::{cut_end, labelled, lines};
use crate::tui::theme::Tone;
use ratatui::{Frame, layout::Rect, text::Line};

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let width = area.width as usize;
    let plan = &app.plan;
    let mut out = vec![
        Line::styled(format!(" {}", text::clean(&plan.title)), look.style(Tone::Strong)),
        Line::raw(cut_end(&format!(" {}", text::clean(&plan.found)), width)),
        Line::raw(cut_end(
            &format!(
                " at once: {} on a host, {} asking a registry, {} in all; up to {}; a change is given up after {}",
                plan.limits.per_host,
                plan.limits.per_registry,
                plan.limits.total,
                text::count(u64::from(plan.limits.attempts), "attempt"),
                text::age(i64::try_from(plan.limits.deadline_s).unwrap_or(i64::MAX).saturating_mul(1000))
            ),
            width,
        )),
        Line::raw(""),
    ];
    let (blockers, notes): (Vec<_>, Vec<_>) = app.note_rows().into_iter().partition(|(blocks, _)| *blocks);
    let all = [blockers, notes].into_iter().flat_map(|rows| {
        let blocks = rows.first().is_some_and(|(blocks, _)| *blocks);
        together(rows.into_iter().map(|(_, problem)| problem)).into_iter().map(move |together| (blocks, together))
    });
    for (blocks, together) in all.skip(app.scroll) {
        let (word, tone) = if blocks { ("IN THE WAY", Tone::Failed) } else { ("note", Tone::Warning) };
        if out.len() > area.height as usize {
            break;
        }
        out.extend(problem_lines(app, word, tone, &together, width));
    }
    if plan.blockers.is_empty() && plan.notes.is_empty() {
        out.push(Line::raw(" There is nothing to note."));
    }
    lines(frame, area, out, look);
}

fn problem_lines(app: &App, word: &str, tone: Tone, together: &Together<'_>, width: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let problem = together.problem;
    let words = format!("{} {}", text::clean(&together.subject), text::clean(&problem.why));
    let mut out = labelled(word, &words, (12, width), (look.style(tone), look.style(Tone::Plain)));
    if let Some(hint) = &problem.hint {
        out.extend(labelled("helps", &text::clean(hint), (12, width), (look.style(Tone::Dim), look.style(Tone::Plain))));
    }
    out
}
