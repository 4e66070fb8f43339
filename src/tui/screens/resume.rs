//! A run that was cut off: what the journal says, what the cluster says, and the ways on.
//! Never goes on by itself.

use crate::model::text;
use crate::tui::app::App;
use crate::tui::parts::{cell, cut_end, labelled, lines, prose, right, rows, rule, window};
use crate::tui::theme::{Face, Tone};
use crate::tui::words;
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};
use std::ops::Range;

const INDENT: usize = 15;
const LOW: u16 = 16;
/// More of what others changed is in the log.
const CHANGED: usize = 4;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let width = area.width as usize;
    let mut ways = ways(app, width);
    let mut head = head(app, width);
    if area.height < LOW {
        // The list matters more than its frame; the footer names the other ways.
        head.truncate(1);
        ways.truncate(1);
    }
    let changed = changed(app, width, if area.height < 26 { 2 } else { CHANGED });
    let height = |lines: &[Line<'_>]| u16::try_from(lines.len()).unwrap_or(0);
    let (head_height, ways_height, changed_height) = (height(&head), height(&ways), height(&changed));
    let steps = area.height.saturating_sub(head_height + ways_height + changed_height + 4);
    let [top, first, heading, list, since, second, verdict, bottom] =
        rows(area, [head_height, 1, 1, steps, changed_height, 1, 1]);
    frame.render_widget(Paragraph::new(head), top);
    rule(frame, first, look);
    let columns = columns(width);
    let title = Line::from(vec![
        cell("", 8, Style::new()),
        cell("STEP", columns.0 + 2, look.style(Tone::Strong)),
        cell("JOURNAL", columns.1 + 1, look.style(Tone::Strong)),
        cell("CLUSTER", columns.2 + 1, look.style(Tone::Strong)),
        cell("VERDICT", columns.3, look.style(Tone::Strong)),
    ]);
    frame.render_widget(title, heading);
    let groups = groups(app, list.height as usize);
    let at = groups.iter().position(|group| group.contains(&app.step)).unwrap_or_default();
    let shown = window(at, groups.len(), list.height as usize);
    let out: Vec<Line<'_>> = shown.map(|i| row(app, &groups[i], columns)).collect();
    lines(frame, list, out, look);
    frame.render_widget(Paragraph::new(changed), since);
    rule(frame, second, look);
    let said = app.survey.iter().flatten().find(|line| line.step == app.step);
    if let Some(said) = said {
        let words = format!(" step {}: {}", app.step + 1, text::clean(&said.verdict));
        let tone = if said.agrees { Tone::Dim } else { Tone::Warning };
        frame.render_widget(Line::styled(cut_end(&words, width), look.style(tone)), verdict);
    }
    frame.render_widget(Paragraph::new(ways), bottom);
}

/// The steps as rows: one each, or where rows are few, those beside each other that agree in one.
fn groups(app: &App, height: usize) -> Vec<Range<usize>> {
    let n = app.plan.steps.len();
    if n <= height {
        return (0..n).map(|step| step..step + 1).collect();
    }
    let kind = |step: usize| {
        let agrees = app.survey.as_ref().is_some_and(|lines| lines.iter().any(|line| line.step == step && line.agrees));
        agrees.then(|| words::step_face(&app.state, step, false).1)
    };
    let mut out: Vec<Range<usize>> = vec![];
    for step in 0..n {
        match out.last_mut() {
            Some(last) if kind(step).is_some() && kind(last.start) == kind(step) => last.end = step + 1,
            _ => out.push(step..step + 1),
        }
    }
    out
}

/// What others changed since the plan was made, the first few, or that nobody did.
fn changed(app: &App, width: usize, most: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let row = |i: usize, sign: Span<'static>, words: &str| {
        let label = if i == 0 { " CHANGED SINCE" } else { "" };
        Line::from(vec![
            cell(label, INDENT + 1, look.style(Tone::Strong)),
            sign,
            Span::raw(" "),
            prose(words, width.saturating_sub(INDENT + 4), Style::new()),
        ])
    };
    let Some(changed) = &app.changed else { return vec![] };
    if changed.is_empty() {
        let sign = Span::styled(look.sign(Face::Done), look.style(Tone::Done));
        return vec![row(0, sign, "nobody else has written what this plan is about")];
    }
    let warning = || Span::styled("!", look.style(Tone::Warning));
    let shown = if changed.len() > most { most - 1 } else { most };
    let mut out: Vec<Line<'_>> = vec![];
    for (i, problem) in changed.iter().take(shown).enumerate() {
        let place = problem.place.as_ref().map_or_else(String::new, |place| format!(" on {place}"));
        let words = format!("{}{place} {}", problem.subject, problem.why);
        out.push(row(i, warning(), &text::clean(&words)));
    }
    if changed.len() > shown {
        let more = format!("{} more: l lists them", changed.len() - shown);
        out.push(row(shown, warning(), &more));
    }
    out
}

fn head(app: &App, width: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let state = &app.state;
    let (strong, plain) = (look.style(Tone::Strong), look.style(Tone::Plain));
    let room = (INDENT, width);
    let by = text::clean(&state.by);
    let ran = format!(
        "{} to {} by {by}, {} ago",
        look.clock(state.begun_ms),
        look.clock_with_zone(state.last_ms),
        text::age(app.now_ms - state.last_ms)
    );
    let mut out = labelled("RAN", &ran, room, (strong, plain));
    let changes = state.steps.iter().map(|step| step.changes.len()).sum::<usize>() as u64;
    let over: u64 = (0..state.steps.len()).map(|step| state.tally(step)).map(|t| t.done + t.found + t.skipped).sum();
    let at = state.current_step().map_or_else(|| "after the last step".to_owned(), |step| format!("at step {}", step + 1));
    let rolling = state.rolling_back.map_or_else(String::new, |to| format!(", rolling back to before step {}", to + 1));
    let words = format!(
        "plan {}, entry {}, {at}{rolling}, {} of {}",
        app.plan.plan,
        text::number(state.seq),
        text::number(over),
        text::count(changes, "change")
    );
    out.extend(labelled("CHECKPOINT", &words, room, (strong, plain)));
    let running = words::in_flight(state);
    if running > 0 {
        let words = format!("{}; each is looked up before anything is done", text::count(running, "change"));
        out.extend(labelled("IN FLIGHT", &words, room, (strong, look.style(Tone::Warning))));
    }
    out
}

fn columns(width: usize) -> (usize, usize, usize, usize) {
    let room = width.saturating_sub(12);
    let (title, journal, cluster) = (room * 3 / 10, room / 5, room / 5);
    (title, journal, cluster, room - title - journal - cluster - 2)
}

fn row(app: &App, group: &Range<usize>, (title, journal, cluster, verdict): (usize, usize, usize, usize)) -> Line<'static> {
    let look = &app.look;
    let step = group.start;
    let line = app.survey.as_ref().and_then(|lines| lines.iter().find(|line| line.step == step));
    let (face, word) = words::step_face(&app.state, step, false);
    let face = match line {
        Some(line) if !line.agrees => Face::Unknown,
        _ if face == Face::Running => Face::Paused,
        _ => face,
    };
    let word = if word == "running" { "begun" } else { word };
    let selected = group.contains(&app.step);
    let style = |tone: Tone| if selected { look.style(Tone::Selected) } else { look.style(tone) };
    let quiet = line.is_none_or(|line| line.agrees);
    let plain = style(if quiet && face == Face::ToDo { Tone::Dim } else { Tone::Plain });
    let verdict_tone = if quiet { Tone::Dim } else { Tone::Warning };
    let last = group.end - 1;
    let named = |step: usize| text::clean(&app.plan.steps[step].title);
    let (number, name) = if last == step {
        ((step + 1).to_string(), named(step))
    } else {
        let half = title.saturating_sub(4) / 2;
        (format!("{}-{}", step + 1, last + 1), format!("{} .. {}", cut_end(&named(step), half), cut_end(&named(last), half)))
    };
    let says = |of: fn(&crate::model::SurveyLine) -> &str| line.map(of).map(text::clean);
    Line::from(vec![
        cell(&format!(" {}", look.sign(face)), 2, style(face.tone())),
        right(&number, 5, plain),
        cell("", 1, plain),
        prose(&name, title, plain),
        cell("", 2, plain),
        prose(&says(|l| &l.journal).filter(|_| last == step).unwrap_or_else(|| word.to_owned()), journal, plain),
        cell("", 1, plain),
        prose(
            &says(|l| &l.cluster).map_or_else(|| "-".to_owned(), |says| if last == step { says } else { "the same".to_owned() }),
            cluster,
            plain,
        ),
        cell("", 1, plain),
        prose(&says(|l| &l.verdict).unwrap_or_else(|| "-".to_owned()), verdict, style(verdict_tone)),
    ])
}

fn ways(app: &App, width: usize) -> Vec<Line<'static>> {
    let state = &app.state;
    let left: u64 =
        (0..state.steps.len()).map(|step| state.tally(step)).map(|t| t.waiting + t.running + t.retrying + t.failed).sum();
    let from = state.current_step().map_or_else(String::new, |step| format!("from step {}, ", step + 1));
    let undone = app.changed.iter().flatten().filter(|problem| problem.is_undone()).count() as u64;
    let go_on = if app.survey.is_none() {
        "when the cluster has been looked at".to_owned()
    } else if undone > 0 && state.rolling_back.is_none() {
        format!("goes on; what others took back, in {}, stays as it is now", text::count(undone, "place"))
    } else if state.rolling_back.is_some() {
        "recommended: the rollback goes on where it was".to_owned()
    } else {
        format!("recommended: {from}{} left; the plan is the same", text::count(left, "change"))
    };
    let rows = [
        ("C", "continue", go_on),
        ("V", "verify", "look at the cluster again; nothing is changed".to_owned()),
        ("B", "roll back", "undo what this run has done; shows the way back first".to_owned()),
        ("X", "close", "mark the run as abandoned; the cluster stays as it is".to_owned()),
    ];
    let rows = match &app.watching {
        // Who looks on chooses nothing.
        Some(watching) => vec![("q", "leave", format!("how it goes on is chosen by {}", text::clean(&watching.holder)))],
        None => rows.into(),
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
