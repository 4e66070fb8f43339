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

const INDENT: usize = 13;
const LOW: u16 = 16;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let width = area.width as usize;
    let mut ways = ways(app, width);
    let mut head = head(app, width);
    if area.height < LOW {
        // The list matters more than its frame.
        head.truncate(1);
        ways.truncate(2);
    }
    let (head_height, ways_height) = (u16::try_from(head.len()).unwrap_or(0), u16::try_from(ways.len()).unwrap_or(0));
    let [top, first, heading, list, second, verdict, bottom] =
        rows(area, [head_height, 1, 1, area.height.saturating_sub(head_height + ways_height + 4), 1, 1]);
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
    let n = app.plan.steps.len();
    let shown = window(app.step, n, list.height as usize);
    let out: Vec<Line<'_>> = shown.map(|step| row(app, step, columns)).collect();
    lines(frame, list, out, look);
    rule(frame, second, look);
    let said = app.survey.iter().flatten().find(|line| line.step == app.step);
    if let Some(said) = said {
        let words = format!(" step {}: {}", app.step + 1, text::clean(&said.verdict));
        let tone = if said.agrees { Tone::Dim } else { Tone::Warning };
        frame.render_widget(Line::styled(cut_end(&words, width), look.style(tone)), verdict);
    }
    frame.render_widget(Paragraph::new(ways), bottom);
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

fn row(app: &App, step: usize, (title, journal, cluster, verdict): (usize, usize, usize, usize)) -> Line<'static> {
    let look = &app.look;
    let line = app.survey.as_ref().and_then(|lines| lines.iter().find(|line| line.step == step));
    let (face, word) = words::step_face(&app.state, step, false);
    let face = match line {
        Some(line) if !line.agrees => Face::Unknown,
        _ if face == Face::Running => Face::Paused,
        _ => face,
    };
    let word = if word == "running" { "begun" } else { word };
    let selected = step == app.step;
    let style = |tone: Tone| if selected { look.style(Tone::Selected) } else { look.style(tone) };
    let quiet = line.is_none_or(|line| line.agrees);
    let plain = style(if quiet && face == Face::ToDo { Tone::Dim } else { Tone::Plain });
    let verdict_tone = if quiet { Tone::Dim } else { Tone::Warning };
    let says = |of: fn(&crate::model::SurveyLine) -> &str| line.map(of).map(text::clean);
    Line::from(vec![
        cell(&format!(" {}", look.sign(face)), 3, style(face.tone())),
        right(&(step + 1).to_string(), 3, plain),
        cell("", 2, plain),
        prose(&text::clean(&app.plan.steps[step].title), title, plain),
        cell("", 2, plain),
        prose(&says(|l| &l.journal).unwrap_or_else(|| word.to_owned()), journal, plain),
        cell("", 1, plain),
        prose(&says(|l| &l.cluster).unwrap_or_else(|| "-".to_owned()), cluster, plain),
        cell("", 1, plain),
        prose(&says(|l| &l.verdict).unwrap_or_else(|| "-".to_owned()), verdict, style(verdict_tone)),
    ])
}

fn ways(app: &App, width: usize) -> Vec<Line<'static>> {
    let state = &app.state;
    let left: u64 =
        (0..state.steps.len()).map(|step| state.tally(step)).map(|t| t.waiting + t.running + t.retrying + t.failed).sum();
    let from = state.current_step().map_or_else(String::new, |step| format!("from step {}, ", step + 1));
    let go_on = if app.survey.is_none() {
        "when the cluster has been looked at".to_owned()
    } else if state.rolling_back.is_some() {
        "the rollback goes on where it was   (recommended)".to_owned()
    } else {
        format!("{from}{} left; the plan is the same   (recommended)", text::count(left, "change"))
    };
    let rows = [
        ("C", "continue", go_on),
        ("B", "roll back", "undo what this run has done; shows the way back first".to_owned()),
        ("A", "abort", "end the run here for good; the cluster stays as it is".to_owned()),
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
