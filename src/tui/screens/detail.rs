//! The detail pane of the selected step: what it does, how far it is, what failed, what it keeps, the way back.
//! Never lists more than fits: the changes page has them all.

use super::window;
use crate::model::{ChangeId, End, Fault, Status, text};
use crate::tui::app::App;
use crate::tui::parts::{self, brief, cell, cut, labelled, prose, right};
use crate::tui::theme::{Face, Tone};
use crate::tui::{waves, words};
use ratatui::text::{Line, Span};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr;

/// Column in which the words of the pane begin.
const INDENT: usize = 9;
/// So few rows leave no room for everything that is said elsewhere too.
const LOW: usize = 5;

/// The pane as lines; what is urgent first.
pub fn lines(app: &App, width: usize, height: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let step = &app.plan.steps[app.step];
    let (face, word) = words::step_face(&app.state, app.step, app.stalled_since(app.step).is_some());
    let (dim, plain) = (look.style(Tone::Dim), look.style(Tone::Plain));
    let room = (INDENT, width);
    let mut out = vec![Line::from(vec![
        Span::styled(format!(" STEP {:<3} ", app.step + 1), look.style(Tone::Strong)),
        prose(&text::clean(&step.title), width.saturating_sub(INDENT + 2 + word.len() + 3), look.style(Tone::Strong)),
        Span::raw(" "),
        Span::styled(format!("{} {word}", look.sign(face)), look.style(face.tone())),
    ])];
    let does = if face == Face::ToDo { "would" } else { "does" };
    let does = labelled(does, &text::clean(&step.summary), room, (dim, plain));
    // What goes on matters more than what was planned, and must not fall out at the bottom.
    if face == Face::ToDo {
        out.extend(window::detail(app, room));
        out.extend(does);
        out.extend(counts(app, room));
        out.extend(waves::planned(app, step, room));
    } else {
        let rest = window::rest(app, room);
        // In one row, or too late: before everything else.
        let (first, last) = if rest.len() == 1 || app.window().is_some_and(|window| app.projection.overruns(window)) {
            (rest, vec![])
        } else {
            (vec![], rest)
        };
        let mut counts = counts(app, room);
        if height <= LOW && !first.is_empty() && counts.len() == 2 {
            // The count stands in the second line of the screen already.
            counts.swap(0, 1);
        }
        out.extend(first);
        out.extend(counts);
        // What failed matters more than when the rest would end.
        out.extend(causes(app, width, height > 8));
        out.extend(last);
        out.extend(window::detail(app, room));
        out.extend(waves::running(app, room));
        // Below it: what the step does, its gate, the way back, what it keeps.
        out.extend(running(app, width, height.saturating_sub(out.len() + 6).max(4)));
        out.extend(does);
    }
    let open = app.state.steps.get(app.step).is_none_or(|state| state.approved.is_none());
    if let Some(needs) = words::gate_needs(step).filter(|_| open) {
        out.extend(labelled("gate", &needs, room, (dim, plain)));
    }
    let facts = &app.facts[app.step];
    let (class, why) = &facts.way_back;
    let tone = if facts.no_way_back { Tone::Warning } else { Tone::Plain };
    let back = if facts.no_way_back { format!("{class}: {why}") } else { why.clone() };
    out.extend(labelled("undo", &text::clean(&back), room, (dim, look.style(tone))));
    out.extend(kept(app, room));
    out
}

fn counts(app: &App, room: (usize, usize)) -> Vec<Line<'static>> {
    let look = &app.look;
    let styles = (look.style(Tone::Dim), look.style(Tone::Plain));
    if app.state.plan.is_none() {
        return vec![];
    }
    let step = &app.plan.steps[app.step];
    let tally = app.state.tally(app.step);
    let mut parts = vec![];
    let named = [
        (tally.done, "done"),
        (tally.found, "already"),
        (tally.running, "running"),
        (tally.retrying, "waiting"),
        (app.state.failed(app.step), "failed"),
        (app.state.had_failed(app.step), "had failed"),
        (tally.skipped, "skipped"),
        (tally.undone, "undone"),
        (tally.waiting, if app.state.rolling_back.is_some() { "not run" } else { "to do" }),
    ];
    for (n, word) in named.into_iter().filter(|(n, _)| *n > 0) {
        parts.push(format!("{} {word}", text::number(n)));
    }
    let mut out = vec![];
    if tally.total() > 0 {
        let words = format!("{}, {} in all", parts.join(", "), text::number(tally.total()));
        out.extend(labelled(if step.configures() { "hosts" } else { "changes" }, &words, room, styles));
    }
    out.extend(app.state.proof_lines(app.step).iter().flat_map(|proof| labelled("proven", proof, room, styles)));
    let (done, total) = app.bytes(app.step);
    if total > 0 {
        let mut words = format!("{} of {}, {} %", text::bytes(done), text::bytes(total), done.saturating_mul(100) / total);
        if let Some((rate, over_s)) = app.pace.rate(app.step).filter(|_| done < total) {
            let _ = write!(words, ", {}/s over the last {over_s} s", text::bytes(rate));
        }
        let ends = app.pace.ends(app.step, done, total).map(|(from, to)| ends(app, from, to));
        match ends {
            // One row less where rows are few.
            Some(ends) if words.len() + ends.len() + 2 < room.1.saturating_sub(INDENT) => {
                out.extend(labelled("bytes", &format!("{words}, {ends}"), room, styles));
            }
            ends => {
                out.extend(labelled("bytes", &words, room, styles));
                let held = ends.map(|ends| format!("{ends}{}, if the rate holds", against(app)));
                out.extend(held.iter().flat_map(|words| labelled("ends", words, room, styles)));
            }
        }
    }
    out
}

/// Between which minutes the rest is through.
pub fn ends(app: &App, from_ms: i64, to_ms: i64) -> String {
    let end = End { earliest_ms: from_ms, latest_ms: Some(to_ms), measured: true };
    match app.window() {
        Some(window) => end.words_in(window),
        None => end.words(|ms| app.look.minute(ms), &app.look.zone_name(to_ms)),
    }
}

/// The end of the running step against the window.
fn against(app: &App) -> String {
    let end = app.projection.steps.get(app.step).copied().flatten();
    app.window().zip(end).map_or_else(String::new, |(window, end)| format!(", {}", end.against(window)))
}

/// Failures of the step by cause: count, words, places, and where there is room, what helps.
fn causes(app: &App, width: usize, hints: bool) -> Vec<Line<'static>> {
    let look = &app.look;
    let of_step = app.causes_of(app.step);
    let mut out = vec![];
    if of_step.is_empty() {
        return out;
    }
    for (fault, ids) in &of_step {
        out.push(cause(app, fault, ids, width));
        if let Some(hint) = fault.hint.as_ref().filter(|_| hints) {
            let style = look.style(Tone::Plain);
            out.extend(labelled("", &text::clean(hint), (9, width), (style, style)));
        }
    }
    out
}

/// One cause in one row: sign, count, words, places.
pub fn cause(app: &App, fault: &Fault, ids: &[ChangeId], width: usize) -> Line<'static> {
    let look = &app.look;
    let places = places(app, ids);
    // The places take what they need, up to two fifths: the cause has the rest.
    let room = width.saturating_sub(11);
    let why = room - places.width().min(room * 2 / 5);
    Line::from(vec![
        Span::raw("  "),
        Span::styled(look.sign(Face::Failed), look.style(Tone::Failed)),
        Span::raw(" "),
        right(&ids.len().to_string(), 4, look.style(Tone::Strong)),
        Span::raw("  "),
        prose(&brief(&text::clean(&fault.why), why), why, look.style(Tone::Plain)),
        Span::raw(" "),
        prose(&places, room - why, look.style(Tone::Dim)),
    ])
}

/// Where failed changes are: each place once, as many as anybody reads.
pub fn places(app: &App, ids: &[ChangeId]) -> String {
    let mut names: Vec<&str> = vec![];
    for id in ids {
        let place = app.plan.change(*id).place.as_str();
        if !names.contains(&place) {
            names.push(place);
        }
    }
    let more = names.len().saturating_sub(8);
    names.truncate(8);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    text::clean(&format!("{}{more}", names.join(" ")))
}

/// What is on its way just now: the first few, those in trouble before the others.
fn running(app: &App, width: usize, most: usize) -> Vec<Line<'static>> {
    let look = &app.look;
    let (all, now) = app.busy(app.step, most);
    let mut out = vec![];
    let longest = now.iter().map(|n| app.plan.steps[app.step].changes[*n].place.width()).max().unwrap_or_default();
    let place = longest.clamp(8, 16);
    for n in &now {
        let id = ChangeId { step: app.step, n: *n };
        let planned = app.plan.change(id);
        let (sign, said) = said(app, id);
        let name = width.saturating_sub(34 + place).clamp(12, 44);
        out.push(Line::from(vec![
            Span::styled(format!("  {} ", look.sign(sign)), look.style(sign.tone())),
            cell(&text::clean(&planned.place), place, look.style(Tone::Plain)),
            Span::raw(" "),
            cell(&short_subject(&planned.subject, name), name, look.style(Tone::Plain)),
            Span::raw("  "),
            prose(&said, width.saturating_sub(name + place + 7), look.style(Tone::Dim)),
        ]));
    }
    if all > most {
        out.push(Line::styled(format!("    ... {} more", all - most), look.style(Tone::Dim)));
    }
    out
}

/// A running change in words: phase, share, time since the last sign of life.
pub fn said(app: &App, id: ChangeId) -> (Face, String) {
    let status = app.state.status(id);
    if let Status::Retrying(why) = &status.status {
        let failed = if status.attempts == 0 { "not begun".to_owned() } else { format!("attempt {} failed", status.attempts) };
        return (Face::Waiting, format!("{failed}: {}", text::clean(why)));
    }
    let Some(progress) = app.progress.get(&id) else {
        let since = status.started_ms.map_or_else(String::new, |at| format!(" for {}", text::duration(app.now_ms - at)));
        let verb = words::verb(&app.plan.change(id).kind);
        let doing = if status.status == Status::Undoing { "undoing" } else { verb.doing };
        return (Face::Running, format!("{doing}{since}"));
    };
    let silent = app.now_ms - progress.at_ms;
    let bytes = app.plan.change(id).change.size_bytes() > 0;
    let amount = match (progress.total, bytes) {
        (0, _) => String::new(),
        (total, true) => format!("  {}% of {}", progress.done.saturating_mul(100) / total, text::bytes(total)),
        (total, false) => format!("  {} of {}", text::number(progress.done), text::number(total)),
    };
    if silent > crate::tui::app::STALLED_MS {
        (Face::Stalled, format!("stalled for {}{amount}", text::duration(silent)))
    } else {
        (Face::Running, format!("{}{amount}", text::clean(&progress.phase)))
    }
}

/// A name for a narrow column: registry and project give way first.
pub fn short_subject(subject: &str, width: usize) -> String {
    let subject = text::clean(subject);
    if unicode_width::UnicodeWidthStr::width(subject.as_str()) <= width {
        return subject;
    }
    match subject.parse::<crate::model::ImageRef>() {
        Ok(image) => image.short(),
        Err(_) if subject.contains('/') => short_paths(&subject, width),
        Err(_) => cut(&subject, width),
    }
}

/// Paths for a narrow column: their folders give way from the left, the names at their ends stay: `../docker/daemon.json`.
fn short_paths(words: &str, width: usize) -> String {
    let shorter = |kept: usize| {
        let of = |word: &str| {
            let parts: Vec<&str> = word.split('/').collect();
            if word.starts_with('/') && parts.len() > kept + 2 {
                format!("../{}", parts[parts.len() - kept..].join("/"))
            } else {
                word.to_owned()
            }
        };
        words.split(' ').map(of).collect::<Vec<_>>().join(" ")
    };
    let least = shorter(1);
    let counted = words.split_once(" below ").map(|(count, _)| count.to_owned());
    let mut forms = (1..=4).rev().map(shorter).chain(counted);
    let bare = if least.contains(' ') { least } else { least.rsplit('/').next().unwrap_or_default().to_owned() };
    forms.find(|form| form.width() <= width).unwrap_or_else(|| cut(&bare, width))
}

fn kept(app: &App, room: (usize, usize)) -> Vec<Line<'static>> {
    let step = &app.plan.steps[app.step];
    if step.kept.is_empty() {
        return vec![];
    }
    let look = &app.look;
    labelled("keeps", &words::kept(step), room, (look.style(Tone::Dim), look.style(Tone::Plain)))
}

/// An empty row.
pub fn gap() -> Line<'static> {
    Line::raw("")
}

/// The pane drawn into an area.
pub fn draw(frame: &mut ratatui::Frame<'_>, app: &App, area: ratatui::layout::Rect) {
    parts::lines(frame, area, lines(app, area.width as usize, area.height as usize), &app.look);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_stays_where_its_folders_do_not_fit() {
        let check = |words: &str, width: usize, shown: &str| assert_eq!(short_subject(words, width), shown, "{words} in {width}");
        check("/etc/docker/daemon.json", 30, "/etc/docker/daemon.json");
        check("/etc/docker/daemon.json", 20, "../daemon.json");
        check("/etc/docker/daemon.json", 12, "daemon.json");
        check("/srv/lab/node-1/docker/daemon.json", 30, "../node-1/docker/daemon.json");
        check("3 files below /etc/containerd/certs.d", 30, "3 files below ../certs.d");
        check("3 files below /etc/containerd/certs.d", 14, "3 files");
        check("/etc/docker/daemon.json line 3 on gpu-02", 34, "../daemon.json line 3 on gpu-02");
        check("docker.io/library/busybox:1", 20, "busybox:1");
    }
}
