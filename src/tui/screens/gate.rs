//! A question that fills the screen: a gate's sentence, a rollback, a reason. Consequence first, the sentence last.
//! Never hides the sentence, the way back or the safe way out, however small the screen.

use super::{canary, detail::gap, rollback, window};
use crate::model::{Target, text};
use crate::tui::app::App;
use crate::tui::parts::{boxed, cell, cut_end, labelled, prose, wrap};
use crate::tui::question::{Field, Purpose, Question, Wanted};
use crate::tui::theme::{Face, Tone};
use crate::tui::words;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

const WIDEST: u16 = 100;
const LOW: u16 = 16;
/// Column in which the words of a fact begin.
pub const INDENT: usize = 14;

/// What a question says before it asks.
pub struct Case {
    pub title: String,
    /// What it means.
    pub head: Vec<Line<'static>>,
    /// The same in a line each, for a screen on which the head and a few facts do not fit; empty where there is no short form.
    pub essence: Vec<Line<'static>>,
    /// What was seen; its end gives way on a small screen.
    pub facts: Vec<Line<'static>>,
    /// What enter does: `Approve`.
    pub act: &'static str,
}

pub fn draw(frame: &mut Frame<'_>, app: &App, question: &Question, area: Rect) {
    let width = area.width.min(WIDEST) as usize - 4;
    let mut case = match &question.purpose {
        Purpose::Approve(step) => approve(app, *step, width),
        Purpose::Canary(step) => canary::case(app, *step, width),
        Purpose::RollBack(to) => rollback::case(app, *to, width),
        Purpose::Skip(target) => skip(app, target, width),
        Purpose::Abort => abort(app, width),
        Purpose::Window { .. } => window::case(app, question, width),
    };
    let mut foot =
        if app.shows_a_gate() { super::held::answered_elsewhere(app, width) } else { foot(app, question, case.act, width) };
    if area.height < LOW {
        foot.remove(0);
    }
    let room = (area.height as usize).saturating_sub(2 + foot.len());
    if case.head.len() + case.facts.len().min(2) > room && !case.essence.is_empty() {
        (case.head, case.facts) = (case.essence, vec![]);
        if case.head.len() > room && room > 0 {
            let hidden = case.head.len() - (room - 1);
            case.head.truncate(room - 1);
            case.head.push(Line::styled(
                format!(" ... {}; F4 has them", text::count(hidden as u64, "more line")),
                app.look.style(Tone::Dim),
            ));
        }
    } else if case.head.len() + case.facts.len() > room {
        // The facts give way first, down to one row that counts them; then what it means, from its end.
        let facts = room.saturating_sub(case.head.len()).max(1);
        if case.facts.len() > facts {
            let hidden = case.facts.len() - (facts - 1);
            case.facts.truncate(facts - 1);
            case.facts.push(Line::styled(format!("   ... {hidden} more, F2 lists them"), app.look.style(Tone::Dim)));
        }
        case.head.truncate(room.saturating_sub(case.facts.len()));
    }
    let height = u16::try_from(case.head.len() + case.facts.len() + foot.len() + 2).unwrap_or(u16::MAX);
    let inside = boxed(frame, area, (area.width.min(WIDEST), height), &case.title, &app.look);
    let inside = Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside };
    let mut lines = case.head;
    lines.extend(case.facts);
    lines.extend(foot);
    frame.render_widget(Paragraph::new(lines), inside);
}

fn approve(app: &App, step: usize, width: usize) -> Case {
    let look = &app.look;
    let planned = &app.plan.steps[step];
    let (dim, plain) = (look.style(Tone::Dim), look.style(Tone::Plain));
    let room = (INDENT, width);
    let mut head = vec![];
    let (class, why) = words::way_back(planned);
    if words::no_way_back(planned) {
        let warning = look.style(Tone::Warning);
        head.extend(labelled(class, &text::clean(&why), room, (warning, warning)));
    }
    head.extend(window::at_gate(app, step, room));
    let Some(gate) = &planned.gate else {
        return Case { title: text::clean(&planned.title), head, essence: vec![], facts: vec![], act: "Approve" };
    };
    for sentence in &gate.text {
        head.extend(wrap(&text::clean(sentence), width - 1).into_iter().map(|line| Line::raw(format!(" {line}"))));
    }
    head.push(gap());
    head.extend(labelled("will do", &text::clean(&planned.summary), room, (dim, plain)));
    let pending = planned.pending().count() as u64;
    let mut places: Vec<&str> = planned.pending().map(|change| change.place.as_str()).collect();
    places.sort_unstable();
    places.dedup();
    if pending > 0 {
        let at = match places.as_slice() {
            [one] => format!("on {one}"),
            many if planned.configures() => format!("on {}", text::count(many.len() as u64, "host")),
            many => format!("in {}", text::count(many.len() as u64, "place")),
        };
        head.extend(labelled("changes", &text::clean(&format!("{} {at}", text::number(pending))), room, (dim, plain)));
    }
    if !planned.kept.is_empty() {
        head.extend(labelled("will keep", &words::kept(planned), room, (dim, plain)));
    }
    if !words::no_way_back(planned) {
        head.extend(labelled("way back", &text::clean(&why), room, (dim, plain)));
    }
    head.push(gap());
    let before = app.plan.steps[..step].iter().filter(|s| words::asks(s.gate.as_ref())).count() + 1;
    Case {
        title: format!("{}   question {before} of {}", text::clean(&gate.title), words::questions(app)),
        head,
        essence: essence(app, step, width),
        facts: facts(app, step, width),
        act: "Approve",
    }
}

/// Way back, what is done, and how the checks stand, in a line each; then the last sentence.
fn essence(app: &App, step: usize, width: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let planned = &app.plan.steps[step];
    let (class, why) = words::way_back(planned);
    let lost = words::no_way_back(planned);
    let row = |label: &str, words: &str, tones: (Tone, Tone)| {
        let label = cell(&format!(" {label}"), INDENT - 2, look.style(tones.0));
        Line::from(vec![label, prose(&text::clean(words), width.saturating_sub(INDENT - 2), look.style(tones.1))])
    };
    let mut out = vec![if lost {
        row(class, &why, (Tone::Warning, Tone::Warning))
    } else {
        row("way back", &why, (Tone::Dim, Tone::Plain))
    }];
    if let Some(problem) = window::against(app, step) {
        out.push(row("! window", &problem.why, (Tone::Warning, Tone::Warning)));
    }
    out.push(row("will do", &planned.summary, (Tone::Dim, Tone::Plain)));
    if !planned.kept.is_empty() {
        out.push(row("will keep", &words::kept(planned), (Tone::Dim, Tone::Plain)));
    }
    let age = app.report.as_ref().filter(|report| report.step == step).map(|report| text::age(app.now_ms - report.read_at_ms));
    let asked = planned.gate.as_ref().is_some_and(|gate| !gate.checks.is_empty());
    out.push(match (app.problems(step).unwrap_or_default(), age) {
        _ if !asked => row("FACTS", "no check is asked", (Tone::Strong, Tone::Dim)),
        (_, None) => row("FACTS", "being read", (Tone::Strong, Tone::Waiting)),
        ([], Some(age)) => row("FACTS", &format!("all hold, read {age} ago"), (Tone::Strong, Tone::Done)),
        (problems, Some(age)) => {
            let words = format!("{} in the way; F2 lists them, read {age} ago", words::who(problems));
            row("FACTS", &words, (Tone::Strong, Tone::Warning))
        }
    });
    // What the plan warns of stands last among the sentences of a gate.
    let last = planned.gate.as_ref().and_then(|gate| gate.text.last());
    let lines = last.map_or_else(Vec::new, |sentence| wrap(&text::clean(sentence), width - 1));
    out.extend(lines.into_iter().map(|line| Line::raw(format!(" {line}"))));
    out
}

/// How the checks of a gate stand, with the age of the answer.
pub fn facts(app: &App, step: usize, width: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let Some(gate) = &app.plan.steps[step].gate else { return vec![] };
    let mut out = vec![];
    let problems = app.problems(step);
    let age = app.report.as_ref().filter(|report| report.step == step).map_or_else(
        || "being read".to_owned(),
        |report| format!("read {}, {} ago", look.clock_with_zone(report.read_at_ms), text::age(app.now_ms - report.read_at_ms)),
    );
    out.push(Line::from(vec![
        Span::styled(format!(" {:<INDENT$}", "FACTS"), look.style(Tone::Strong)),
        Span::styled(if gate.checks.is_empty() { "no check is asked".to_owned() } else { age }, look.style(Tone::Dim)),
    ]));
    let problems = problems.unwrap_or_default();
    for problem in problems {
        out.push(super::waiting::row(app, problem, width));
        if let Some(hint) = &problem.hint {
            out.push(Line::from(vec![
                Span::raw("       "),
                prose(&text::clean(hint), width.saturating_sub(8), look.style(Tone::Dim)),
            ]));
        }
    }
    let known = app.problems(step).is_some();
    for check in gate.checks.iter().filter(|_| problems.is_empty()) {
        let face = if known { Face::Done } else { Face::ToDo };
        out.push(Line::from(vec![
            Span::styled(format!("   {}  ", look.sign(face)), look.style(face.tone())),
            prose(&text::clean(&check.title()), width.saturating_sub(7), look.style(Tone::Plain)),
        ]));
    }
    let age = app.now_ms - app.plan.read_at_ms;
    let words = format!("plan {}, the one you read; made {} ago", app.plan.plan, text::age(age));
    out.push(Line::from(vec![
        Span::styled(format!("   {}  ", look.sign(Face::Done)), look.style(Tone::Done)),
        prose(&words, width.saturating_sub(7), look.style(Tone::Plain)),
    ]));
    out
}

fn skip(app: &App, target: &Target, width: usize) -> Case {
    let look = &app.look;
    let causes = app.state.causes();
    let ids: Vec<_> = match target {
        Target::Failed => causes.iter().flat_map(|(_, ids)| ids.iter().copied()).collect(),
        Target::Changes(ids) => ids.clone(),
    };
    let n = text::count(ids.len() as u64, "change");
    let begun = ids.iter().any(|id| app.state.may_stand(app.plan.change(*id)));
    let stands = if begun { " What was begun there stays; only a rollback takes it back." } else { "" };
    let last = ids.iter().map(|id| id.step).max().unwrap_or_default();
    let counted_on = if app.plan.steps.iter().skip(last + 1).any(|step| !step.changes.is_empty()) {
        format!(" Later steps may count on {}.", if ids.len() == 1 { "it" } else { "them" })
    } else {
        String::new()
    };
    let words =
        format!("{n} will be left out: never tried again, and told at the end as left to do by hand.{counted_on}{stands}");
    let mut head: Vec<Line<'_>> = wrap(&words, width - 1).into_iter().map(|line| Line::raw(format!(" {line}"))).collect();
    head.push(gap());
    let row = |id: &crate::model::ChangeId| {
        let planned = app.plan.change(*id);
        Line::from(vec![
            Span::raw("   "),
            Span::styled(look.sign(Face::Failed), look.style(Tone::Failed)),
            Span::raw("  "),
            cell(&text::clean(&planned.place), 12, look.style(Tone::Plain)),
            Span::raw(" "),
            cell(&text::clean(&planned.subject), width.saturating_sub(20), look.style(Tone::Plain)),
        ])
    };
    Case { title: format!("SKIP {n}"), head, essence: vec![], facts: ids.iter().map(row).collect(), act: "Skip" }
}

fn abort(app: &App, width: usize) -> Case {
    let sentences = [
        "The run ends here for good: it cannot be resumed. Nothing is undone.".to_owned(),
        app.state.would_be_left(),
        "To stop for now and go on later, leave instead: esc, then q.".to_owned(),
    ];
    let mut head = vec![];
    for sentence in sentences {
        head.extend(wrap(&sentence, width - 1).into_iter().map(|line| Line::raw(format!(" {line}"))));
    }
    let (title, act) = if app.begun { ("ABORT THE RUN", "Abort") } else { ("CLOSE THE RUN", "Close") };
    Case { title: title.to_owned(), head, essence: vec![], facts: vec![], act }
}

/// The fields, what was wrong, and the two ways on.
fn foot(app: &App, question: &Question, act: &str, width: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let mut out = vec![gap()];
    for (i, field) in question.fields.iter().enumerate() {
        let label = match &field.wanted {
            Wanted::Exactly(sentence) => vec![
                Span::raw(" To do this, type   "),
                Span::styled(cut_end(&text::clean(sentence), width.saturating_sub(20)), look.style(Tone::Strong)),
            ],
            Wanted::Reason => vec![Span::raw(" Say why, for the journal")],
            Wanted::End { .. } => vec![Span::raw(" To do this, type the new end, such as 04:30")],
        };
        out.push(Line::from(label));
        out.push(typed(app, field, i == question.at && !question.sent, width));
    }
    let note = match (&question.note, question.sent) {
        (_, true) => Line::styled(" ~ sent; it counts when the journal has it", look.style(Tone::Waiting)),
        (Some(note), _) => Line::styled(cut_end(&format!(" ! {note}"), width), look.style(Tone::Warning)),
        _ => gap(),
    };
    out.push(note);
    let state = match question.lacks() {
        Some(why) => format!("({why})"),
        None => String::new(),
    };
    let answer = if question.lacks().is_some() { Tone::Dim } else { Tone::Strong };
    out.push(Line::from(vec![
        Span::raw(" "),
        Span::styled("[ esc  Not now ]", look.style(Tone::Selected)),
        Span::styled(cut_end(&format!("    enter  {act}   {state}"), width.saturating_sub(18)), look.style(answer)),
    ]));
    out
}

fn typed(app: &App, field: &Field, active: bool, width: usize) -> Line<'static> {
    let look = &app.look;
    let value: Vec<char> = field.input.value().chars().collect();
    let room = width.saturating_sub(6);
    let cursor = field.input.cursor();
    let first = (cursor + 1).saturating_sub(room);
    let part = |range: std::ops::Range<usize>| value.get(range).map_or_else(String::new, |part| part.iter().collect::<String>());
    let before = part(first.min(value.len())..cursor.min(value.len()));
    let under = value.get(cursor).map_or_else(|| " ".to_owned(), char::to_string);
    let after = part((cursor + 1).min(value.len())..(first + room).min(value.len()).max((cursor + 1).min(value.len())));
    let style = look.style(if field.holds() { Tone::Strong } else { Tone::Plain });
    let mut spans =
        vec![Span::raw("   "), Span::styled(">", look.style(if active { Tone::NeedsYou } else { Tone::Dim })), Span::raw(" ")];
    spans.push(Span::styled(before, style));
    spans.push(Span::styled(under, look.style(if active { Tone::Selected } else { Tone::Plain })));
    spans.push(Span::styled(after, style));
    Line::from(spans)
}
