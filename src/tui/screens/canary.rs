//! The question after a canary: what was done on it, who follows, and that it can still be taken back.
//! Never opens before every change of the canary is over.

use super::detail::gap;
use super::gate::Case;
use crate::model::{ChangeId, text};
use crate::tui::app::App;
use crate::tui::parts::{cell, cut_end, labelled, prose, wrap};
use crate::tui::theme::{Face, Tone};
use crate::tui::{waves, words};
use ratatui::text::{Line, Span};

/// Column in which the words of a fact begin.
const INDENT: usize = 14;

/// The canary of a step, as a question.
pub fn case(app: &App, step: usize, width: usize) -> Case {
    let look = &app.look;
    let (dim, plain) = (look.style(Tone::Dim), look.style(Tone::Plain));
    let room = (INDENT, width);
    let state = &app.state;
    let (over, _, _) = waves::canary(app, step);
    let skipped =
        state.steps[step].changes.iter().enumerate().filter(|(n, change)| {
            state.steps[step].waves.of(*n) == 0 && matches!(change.status, crate::model::Status::Skipped(_))
        });
    let skipped = skipped.count() as u64;
    let canary = text::clean(&state.canary_names(step));
    let said = match () {
        () if skipped == over => {
            format!("Everything of the canary {canary} was skipped ({}): it has proved nothing.", text::number(skipped))
        }
        () if skipped > 0 => format!(
            "{} of the canary {canary} are done and read back, {} were skipped. Look at it, then let the others follow.",
            text::count(over - skipped, "change"),
            text::number(skipped)
        ),
        () => format!(
            "All of the canary {canary} is done and read back: {}. Look at it, then let the others follow.",
            text::count(over, "change")
        ),
    };
    let mut head: Vec<Line<'_>> = wrap(&said, width - 1).into_iter().map(|line| Line::raw(format!(" {line}"))).collect();
    head.push(gap());
    let sizes = state.waves(step).map_or_else(Vec::new, |waves| waves.hosts.iter().skip(1).map(Vec::len).collect());
    let sizes: Vec<String> = sizes.into_iter().map(|n: usize| text::number(n as u64)).collect();
    let follow = format!("{} hosts", sizes.join(", then "));
    head.extend(labelled("will follow", &follow, room, (dim, plain)));
    let (class, why) = words::way_back(&app.plan.steps[step]);
    let back = if words::no_way_back(&app.plan.steps[step]) { format!("{class}: {why}") } else { why };
    head.extend(labelled("way back", &text::clean(&back), room, (dim, plain)));
    let since = state
        .canary_over_ms(step)
        .map_or_else(String::new, |at| format!("since {}, {}", look.clock_with_zone(at), text::duration(app.now_ms - at)));
    head.extend(labelled("waits", &since, room, (dim, plain)));
    head.push(gap());
    let row = |label: &str, words: &str| {
        Line::from(vec![
            Span::styled(format!(" {label:<width$}", width = INDENT - 1), dim),
            Span::styled(cut_end(words, width.saturating_sub(INDENT)), plain),
        ])
    };
    let essence = vec![
        row("canary", &format!("{canary} {}", state.canary_word(step))),
        row("will follow", &follow),
        row("way back", &text::clean(&back)),
        row("waits", &since),
    ];
    Case {
        title: format!("THE CANARY OF STEP {}   {}", step + 1, text::clean(&app.plan.steps[step].title)),
        head,
        essence,
        facts: facts(app, step, width),
        act: "Let the others follow",
    }
}

fn facts(app: &App, step: usize, width: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let here = &app.state.steps[step];
    let of_canary = (0..here.changes.len()).filter(|n| here.waves.of(*n) == 0);
    of_canary
        .map(|n| {
            let (face, word) = words::change_face(&here.changes[n], false);
            let planned = app.plan.change(ChangeId { step, n });
            let took = here.changes[n].started_ms.zip(here.changes[n].ended_ms);
            let took = took.map_or_else(String::new, |(from, to)| format!(" in {}", text::duration(to - from)));
            let name = width.saturating_sub(40).max(20);
            Line::from(vec![
                Span::styled(format!("   {}  ", look.sign(face)), look.style(face.tone())),
                cell(&text::clean(&planned.place), 10, look.style(Tone::Plain)),
                Span::raw(" "),
                cell(&super::detail::short_subject(&planned.subject, name), name, look.style(Tone::Plain)),
                Span::raw("  "),
                prose(
                    &format!("{word}{took}"),
                    width.saturating_sub(name + 20),
                    look.style(if face == Face::Done { Tone::Dim } else { face.tone() }),
                ),
            ])
        })
        .collect()
}
