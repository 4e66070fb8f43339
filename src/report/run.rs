//! A run as text, Markdown and JSON: what is done, what is left, what can be undone. Built from entries only.

use super::{decisions, hosts, moment, plan::ledger_text, undo_word};
use crate::model::{Entry, Next, Outcome, Stamped, State, Status, Stop, text};
use serde_json::json;
use std::fmt::Write;

/// How the run stands, in two or three words.
pub fn standing(state: &State) -> &'static str {
    match (state.next(), &state.finished) {
        (_, Some(Outcome::Done)) => "done",
        (_, Some(Outcome::DoneWithSkips)) => "done, something is left",
        (_, Some(Outcome::RolledBack)) => "rolled back",
        (_, Some(Outcome::Aborted(_))) => "aborted",
        (Next::Gate(_), _) => "waits at a gate",
        (Next::Canary(_), _) => "holds after the canary",
        (Next::Stop(Stop::Paused), _) => "paused",
        (Next::Stop(Stop::Failed(_)), _) => "failed",
        (Next::Stop(Stop::Stuck), _) => "stuck: a human is needed",
        (Next::Undo(_), _) => "rolling back",
        _ => "not finished",
    }
}

/// A few lines for `castoff status`.
pub fn status_text(run: &str, state: &State, holder: Option<&str>) -> String {
    let mut out = String::new();
    let Some(plan) = &state.plan else { return format!("run {run} has no plan: it never began\n") };
    let _ = writeln!(out, "run {run}  {} on {}  {}", plan.runbook, plan.cluster, standing(state));
    let _ = writeln!(
        out,
        "plan {}  begun {} by {}  last entry {}",
        plan.plan,
        moment(state.begun_ms),
        state.by,
        moment(state.last_ms)
    );
    match holder {
        Some(holder) => {
            let _ = writeln!(out, "held by {holder}");
        }
        None if state.finished.is_none() => {
            let _ = writeln!(out, "nobody runs it now: castoff resume {run}");
        }
        None => {}
    }
    steps(&mut out, state);
    if let Some(step) = state.current_step().filter(|_| state.goes_forward()) {
        for line in state.wave_line(step).into_iter().chain(state.aside_lines(step, 120)) {
            let _ = writeln!(out, "         {line}");
        }
    }
    out.push_str(&proofs(state));
    out.push_str(&causes(state));
    out
}

/// What proved the steps that prove themselves.
fn proofs(state: &State) -> String {
    let mut out = String::new();
    for step in 0..state.steps.len() {
        for line in state.proof_lines(step) {
            let _ = writeln!(out, "  proven step {}, {line}", step + 1);
        }
    }
    out
}

fn steps(out: &mut String, state: &State) {
    let Some(plan) = &state.plan else { return };
    for (n, step) in plan.steps.iter().enumerate() {
        let tally = state.tally(n);
        let (sign, word) = step_word(state, n);
        let mut counts = vec![];
        for (count, word) in [
            (tally.done, "done"),
            (tally.found, "already so"),
            (tally.running, "running"),
            (tally.retrying, "retrying"),
            (state.failed(n), "FAILED"),
            (state.had_failed(n), "had failed"),
            (tally.skipped, "skipped"),
            (tally.undone, "undone"),
            (tally.waiting, if state.goes_forward() { "to do" } else { "not made" }),
        ] {
            if count > 0 {
                counts.push(format!("{} {word}", text::number(count)));
            }
        }
        let counts = if counts.is_empty() { "-".to_owned() } else { counts.join(", ") };
        let _ = writeln!(out, "  {sign}  {:>2}  {:<28}  {word:<10}  {:<8}  {counts}", n + 1, step.title, took(state, n));
    }
}

/// Sign and word of a step.
fn step_word(state: &State, n: usize) -> (char, &'static str) {
    let tally = state.tally(n);
    let total = tally.total();
    match () {
        () if state.failed(n) > 0 => ('x', "FAILED"),
        () if tally.undone > 0 => ('u', "undone"),
        () if tally.running + tally.retrying > 0 => ('>', "running"),
        () if state.next() == Next::Canary(n) => ('#', "canary"),
        () if tally.skipped > 0 && state.step_is_over(n) => ('!', "skipped"),
        () if total > 0 && tally.found == total => ('+', "already"),
        () if state.step_is_over(n) && (state.current_step().is_none_or(|c| c > n)) => ('+', "done"),
        () if !state.goes_forward() => ('-', "not run"),
        () if state.current_step() == Some(n) && state.gate(n).is_some() && state.steps[n].approved.is_none() => ('#', "gate"),
        () => ('.', "to do"),
    }
}

fn took(state: &State, n: usize) -> String {
    let counts = &state.steps[n].counts;
    counts.first_ms.zip(counts.last_ms).map_or_else(String::new, |(begun, ended)| text::duration(ended - begun))
}

/// Failures, grouped by cause.
fn causes(state: &State) -> String {
    let mut out = String::new();
    let Some(plan) = &state.plan else { return out };
    for (fault, ids) in state.causes() {
        let places: Vec<&str> = ids.iter().map(|id| plan.change(*id).place.as_str()).collect();
        let _ = writeln!(out, "  x {:>3}  {}  ({})", ids.len(), fault.why, places.join(" "));
        let _ = writeln!(out, "         {}", fault.what);
        if let Some(hint) = &fault.hint {
            let _ = writeln!(out, "         hint: {hint}");
        }
    }
    out
}

/// Where a change is, in one word.
pub(super) fn status_word(status: &Status) -> &'static str {
    match status {
        Status::Waiting => "not begun",
        Status::Running => "begun",
        Status::Retrying(_) => "to be tried again",
        Status::Found => "already so",
        Status::Done => "done",
        Status::Failed(_) => "failed",
        Status::Skipped(_) => "skipped",
        Status::Undoing => "being undone",
        Status::Undone => "undone",
        Status::UndoFailed(_) => "undo failed",
    }
}

/// The whole run for people: steps, gates, ledger, what is kept, every entry.
pub fn report_markdown(run: &str, state: &State, entries: &[Stamped]) -> String {
    let mut out = String::new();
    let Some(plan) = &state.plan else { return format!("# Run {}\n\nIt never began.\n", escape(run)) };
    let _ = writeln!(out, "# {} on {}: {}\n", escape(&plan.title), escape(&plan.cluster), standing(state));
    let _ = writeln!(
        out,
        "Run `{}`, plan `{}`, {} to {}, by {}.\n",
        code(run),
        code(&plan.plan),
        moment(state.begun_ms),
        moment(state.last_ms),
        escape(&state.by)
    );
    if let Some(window) = &state.window {
        let used = window.used(state.begun_ms, state.last_ms);
        let _ = writeln!(out, "Window {}: {used}.\n", escape(&window.words()));
    }
    let _ = writeln!(out, "{}\n\n## Steps\n", escape(&plan.found));
    let _ = writeln!(out, "| | step | result | took | changes | way back |\n|---|---|---|---|---|---|");
    for (n, step) in plan.steps.iter().enumerate() {
        let tally = state.tally(n);
        let (_, word) = step_word(state, n);
        let took = took(state, n);
        let _ = writeln!(
            out,
            "| {} | {} | {word} | {took} | {} of {} | {} |",
            n + 1,
            escape(&step.title),
            tally.done + tally.found,
            tally.total(),
            undo_word(step)
        );
    }
    hosts::section(&mut out, state, plan);
    let left = state.left_to_do(true);
    if !left.is_empty() {
        let _ = writeln!(out, "\n## Left to do by hand\n");
        left.iter().for_each(|line| {
            let _ = writeln!(out, "- {}", escape(line));
        });
    }
    let _ = writeln!(out, "\n## Gates\n");
    for (n, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.gate.is_some()) {
        let answer =
            state.steps[n].approved.as_ref().map_or_else(|| "not passed".to_owned(), |(by, at)| format!("{by}, {}", moment(*at)));
        let _ = writeln!(out, "- {}: {}", escape(&step.title), escape(&answer));
    }
    for (n, step) in plan.steps.iter().enumerate() {
        if let Some((by, at)) = &state.steps[n].waves.passed {
            let _ = writeln!(out, "- Canary of {}: {}, {}", escape(&step.title), escape(by), moment(*at));
        }
    }
    let decisions = decisions(entries);
    if !decisions.is_empty() {
        let _ = writeln!(out, "\n## Decisions\n");
        for it in &decisions {
            let by = it.by.as_ref().map_or_else(String::new, |by| format!(", by {}", escape(by)));
            let _ = writeln!(out, "- entry {}, {}: {}{by}: {}", it.entry, moment(it.at_ms), escape(&it.what), escape(&it.why));
        }
    }
    if !plan.ledger.is_empty() {
        let _ = writeln!(out, "\n## Ledger\n\n```\n{}```", ledger_text(plan));
    }
    let kept: Vec<_> = plan.steps.iter().flat_map(|step| &step.kept).collect();
    if !kept.is_empty() {
        let _ = writeln!(out, "\n## Kept\n");
        kept.iter().for_each(|kept| {
            let _ = writeln!(out, "- {} on {}: {}", escape(&kept.subject), escape(&kept.place), escape(&kept.why));
        });
    }
    let _ = writeln!(out, "\n## Entries\n\n```");
    entries.iter().for_each(|entry| {
        let _ = writeln!(out, "{:>5}  {}  {}", entry.seq, moment(entry.at_ms), text::clean(&entry_text(state, &entry.entry)));
    });
    let _ = writeln!(out, "```");
    out
}

/// The whole run for machines.
pub fn report_json(run: &str, state: &State, entries: &[Stamped]) -> serde_json::Value {
    let proofs = |n: usize| {
        let of = |(proof, ids): (&str, Vec<crate::model::ChangeId>)| {
            let places = ids.iter().filter_map(|id| Some(&state.plan.as_ref()?.change(*id).place));
            json!({ "proof": proof, "where": places.collect::<Vec<_>>() })
        };
        state.proofs(n).into_iter().map(of).collect::<Vec<_>>()
    };
    let steps = (0..state.steps.len()).map(|n| {
        let tally = state.tally(n);
        let planned = state.plan.as_ref().map(|plan| &plan.steps[n]);
        json!({
            "id": planned.map(|step| &step.id), "title": planned.map(|step| &step.title), "result": step_word(state, n).1,
            "proofs": proofs(n), "done": tally.done, "found": tally.found, "failed": tally.failed, "skipped": tally.skipped, "undone": tally.undone, "total": tally.total(),
        })
    });
    json!({
        "v": 1, "run": run, "standing": standing(state), "outcome": state.finished, "by": state.by,
        "begun-at-ms": state.begun_ms, "last-at-ms": state.last_ms, "window": state.window, "steps": steps.collect::<Vec<_>>(),
        "plan": state.plan, "decisions": decisions(entries), "left-to-do": state.left_to_do(true), "entries": entries,
    })
}

/// One entry in words: thing, place, then why.
pub fn entry_text(state: &State, entry: &Entry) -> String {
    let plan = state.plan.as_ref();
    let title = |step: &usize| plan.map_or_else(String::new, |plan| plan.steps[*step].title.clone());
    let of = |verb: &str, id: &crate::model::ChangeId| {
        plan.map_or_else(String::new, |plan| {
            let planned = plan.change(*id);
            format!("{verb:<9} {:<6} {:<6} {} on {}", id, planned.kind, planned.subject, planned.place)
        })
    };
    match entry {
        Entry::Planned { plan, by } => format!("planned   plan {} by {by}", plan.plan),
        Entry::GateReached { step } => format!("gate      {} waits", title(step)),
        Entry::GateApproved { step, by, typed, .. } if typed.is_empty() => format!("approved  {} by {by}", title(step)),
        Entry::GateApproved { step, by, typed, .. } => format!("approved  {} by {by}: {typed}", title(step)),
        Entry::Seen { problem, .. } => format!("seen      {}", problem.words()),
        Entry::WaveReached { .. } | Entry::WavePassed { .. } | Entry::SetAside { .. } | Entry::CameBack { .. } => {
            let (word, said) = state.wave_entry(entry);
            format!("{word:<9} {said}")
        }
        Entry::Found { change } => of("found", change),
        Entry::Started { change } => of("started", change),
        Entry::Retried { change, why, after_ms } => {
            format!("{}: {why}; again after {}", of("retried", change), text::duration(i64::try_from(*after_ms).unwrap_or(0)))
        }
        Entry::Proven { change, by } => format!("{}: {by}", of("proven", change)),
        Entry::Done { change } => of("done", change),
        Entry::Failed { change, fault } => format!("{}: {}", of("FAILED", change), fault.why),
        Entry::Skipped { change, why, by } => format!("{}: {why} (by {by})", of("skipped", change)),
        Entry::Paused { why, by } => format!("paused    {why} (by {by})"),
        Entry::Continued { by } => format!("goes on   by {by}"),
        Entry::LimitChanged { limits, by } => format!("limits    {} (by {by})", limits.words()),
        Entry::WindowSet { window, by } => format!("window    {} (by {by})", window.words()),
        Entry::WindowMoved { window, by } => format!("window    moved to {} (by {by})", window.words()),
        Entry::RollbackBegun { to, by, why } => format!("rollback  to {} by {by}: {why}", title(to)),
        Entry::UndoStarted { change } => of("undoing", change),
        Entry::Undone { change } => of("undone", change),
        Entry::UndoFailed { change, fault } => format!("{}: {}", of("UNDO FAILED", change), fault.why),
        Entry::TakenOver { by, why } => format!("taken over by {by}: {why}"),
        Entry::Finished { outcome } => match outcome {
            Outcome::Done => "finished  done".to_owned(),
            Outcome::DoneWithSkips => "finished  done, something is left".to_owned(),
            Outcome::RolledBack => "finished  rolled back".to_owned(),
            Outcome::Aborted(why) => format!("finished  aborted: {why}"),
        },
    }
}

/// Text in a Markdown table or list: its own signs lose their meaning, and what looks like an address makes no link.
pub(super) fn escape(words: &str) -> String {
    let mut out = String::new();
    let words = text::clean(words);
    for (at, c) in words.char_indices() {
        let link = (c == ':' && words[at..].starts_with("://")) || (c == '.' && words[..at].to_lowercase().ends_with("www"));
        if link || matches!(c, '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']' | '\\' | '&' | '~' | '!' | '#' | '@' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A name between the signs of code, which nothing can escape there.
fn code(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect()
}
