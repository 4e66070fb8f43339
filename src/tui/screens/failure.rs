//! What failed, by cause, what is changed and what is not, what helps, and the ways on.
//! Never offers skipping or rolling back before trying again.

use super::detail;
use crate::model::{FaultKind, Next, Stop, text, tried};
use crate::tui::app::App;
use crate::tui::parts::{cut_end, labelled, lines, rows, rule, selected, window};
use crate::tui::theme::Tone;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

const INDENT: usize = 13;
const LOW: u16 = 16;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let width = area.width as usize;
    let causes = app.state.causes();
    let stuck = app.state.next() == Next::Stop(Stop::Stuck);
    let list_height = u16::try_from(causes.len()).unwrap_or(u16::MAX).min((area.height / 4).max(2));
    let mut ways = ways(app, stuck, width);
    if area.height < LOW {
        // What helps matters more than ways on that the footer names too.
        ways.truncate(2);
    }
    let ways_height = u16::try_from(ways.len()).unwrap_or(0);
    let [heading, list, line, body, second, bottom] =
        rows(area, [1, list_height, 1, area.height.saturating_sub(list_height + ways_height + 3), 1]);
    let word = if stuck { "CAUSES OF THE FAILED UNDO" } else { "CAUSES OF FAILURE" };
    frame.render_widget(Line::styled(format!(" {word}"), look.style(Tone::Failed)), heading);
    let shown = window(app.cause, causes.len(), list.height as usize);
    let out: Vec<Line<'_>> = shown
        .map(|i| {
            let row = detail::cause(app, &causes[i].0, &causes[i].1, width);
            if i == app.cause { selected(&row, width, look) } else { row }
        })
        .collect();
    frame.render_widget(Paragraph::new(out), list);
    rule(frame, line, look);
    lines(frame, body, cause(app, stuck, width, body.height as usize), look);
    rule(frame, second, look);
    frame.render_widget(Paragraph::new(ways), bottom);
}

/// The selected cause in five parts: what, root cause, seen, state, what helps.
fn cause(app: &App, stuck: bool, width: usize, height: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let causes = app.state.causes();
    let Some((fault, ids)) = causes.get(app.cause) else { return vec![] };
    let (dim, plain, strong) = (look.style(Tone::Dim), look.style(Tone::Plain), look.style(Tone::Strong));
    let room = (INDENT, width);
    let step = ids[0].step;
    let why = labelled("ROOT CAUSE", &text::clean(&fault.why), room, (strong, look.style(Tone::Failed)));
    let what = labelled("WHAT", &text::clean(&fault.what), room, (strong, plain));
    let mut seen = vec![];
    let first = ids.iter().filter_map(|id| app.state.status(*id).ended_ms).min();
    let last = ids.iter().filter_map(|id| app.state.status(*id).ended_ms).max();
    let attempts = ids.iter().map(|id| app.state.status(*id).attempts).max().unwrap_or(0);
    if let Some((first, last)) = first.zip(last) {
        let verb = if attempts == 0 { "looked at" } else { "tried" };
        let again = match fault.kind {
            _ if app.state.came_back(ids) => format!("{verb} again once, when its host came back"),
            FaultKind::Passing => format!("{verb} again each time"),
            _ => format!("not {verb} again by itself: not a passing fault"),
        };
        let last = look.clock_with_zone(last);
        let when = if last.starts_with(&look.clock(first)) {
            format!("at {last}")
        } else {
            format!("from {} to {last}", look.clock(first))
        };
        let words = format!(
            "{} on {} {when}, {}, {again}",
            text::count(ids.len() as u64, "change"),
            detail::places(app, ids),
            tried(attempts)
        );
        seen = labelled("SEEN", &words, room, (strong, plain));
    }
    let tally = app.state.tally(step);
    let state = if stuck {
        format!(
            "step {}: {} undone, {} not; the cluster stands between before and after there",
            step + 1,
            text::number(tally.undone),
            text::number(app.state.failed(step))
        )
    } else {
        let stopped = app.state.stopped_by(step).map_or_else(String::new, |why| format!("stopped by {why}; "));
        let this = app.state.changed(step);
        let waiting = if tally.waiting > 0 { format!(", {} to do", text::number(tally.waiting)) } else { String::new() };
        let after = match app.plan.steps.len() - step - 1 {
            0 => "it is the last step".to_owned(),
            n => format!("{} after it not begun", text::count(n as u64, "step")),
        };
        format!("{stopped}this step {this}{waiting}; steps before it are done; {after}")
    };
    let state = labelled("STATE", &state, room, (strong, plain));
    let hint = fault.hint.clone().unwrap_or_else(|| "look at the log (l); mend what it names, then R".to_owned());
    let helps = labelled("WHAT HELPS", &text::clean(&hint), room, (strong, plain));
    let details = labelled("DETAILS", &app.folder.display().to_string(), room, (strong, dim));
    // In the order of reading; the number tells what gives way first on a small screen.
    let mut blocks = vec![(5, why), (2, what), (1, seen), (3, state), (4, helps), (0, details)];
    while blocks.len() > 1 && blocks.iter().map(|(_, lines)| lines.len()).sum::<usize>() > height {
        let lowest = blocks.iter().map(|(rank, _)| *rank).min();
        blocks.retain(|(rank, _)| Some(*rank) != lowest);
    }
    blocks.into_iter().flat_map(|(_, lines)| lines).collect()
}

/// How to go on after leaving: the whole command, or where to get it.
fn way_on(app: &App, width: usize) -> String {
    let whole = format!("the cluster stays as it is; castoff resume {}{} goes on", app.run, app.again);
    if whole.len() <= width { whole } else { "the cluster stays as it is; :copy command has the way on".to_owned() }
}

/// The ways on: the recommended one first.
fn ways(app: &App, stuck: bool, width: usize) -> Vec<Line<'static>> {
    let causes = app.state.causes();
    let n = causes.get(app.cause).map_or(0, |(_, ids)| ids.len()) as u64;
    let n = text::count(n, "change");
    let rows: Vec<(&str, &str, String)> = if stuck {
        vec![
            ("R", "retry", "the undo; safe, each change is looked at first".to_owned()),
            ("S", "skip", format!("leave as it is: {n}, with a reason; the rollback goes on")),
            ("A", "abort", "end the run here; mend the rest by hand".to_owned()),
        ]
    } else {
        let all = if causes.len() > 1 { "asks which cause; " } else { "" };
        vec![
            ("R", "retry", format!("{all}safe: looks first   (recommended, once mended)")),
            ("S", "skip", format!("leave out {n} with this cause, with a reason")),
            ("B", "roll back", "undo what this run has done; shows the way back first".to_owned()),
            ("A", "abort", "end the run here for good; nothing is undone".to_owned()),
            ("q", "leave", way_on(app, width.saturating_sub(16))),
        ]
    };
    let rows = match &app.watching {
        // Who looks on chooses nothing.
        Some(watching) => vec![("q", "leave", format!("what is done about it is chosen by {}", text::clean(&watching.holder)))],
        None => rows,
    };
    let row = |(key, word, what): (&str, &str, String)| {
        Line::from(vec![
            Span::styled(format!(" {key}  "), app.look.style(Tone::Strong)),
            Span::raw(format!("{word:<11}")),
            Span::raw(cut_end(&what, width.saturating_sub(16))),
        ])
    };
    rows.into_iter().map(row).collect()
}
