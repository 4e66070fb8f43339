//! The dry run as plain text: list first, then what changes, before and after. Says `would`, never `did`.

use super::lines::{broken, listed};
use super::{moment, undo_word, window::POINT};
use crate::model::diff::{Alike, DiffLine, Mark, alike};
use crate::model::problems::together;
use crate::model::{Ask, Plan, Problem, Verdict, WayBack, projection::point_of_no_return, text};
use std::{collections::BTreeSet, fmt::Write};

/// The whole plan for a terminal or a file; `width` in characters.
pub fn plan_text(plan: &Plan, width: usize) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "DRY RUN  plan {}  {} on {}  read {}", plan.plan, plan.runbook, plan.cluster, moment(plan.read_at_ms));
    let _ = writeln!(out, "{}", plan.found);
    let _ = writeln!(out, "{} Nothing has been changed.\n", sum(plan));
    if !plan.blockers.is_empty() {
        let _ = writeln!(out, "CANNOT BE RUN: {}", text::count(together(&plan.blockers).len() as u64, "problem"));
        problems(&mut out, &plan.blockers);
        out.push('\n');
    }
    let point = point_of_no_return(plan);
    for (n, step) in plan.steps.iter().enumerate() {
        if point == Some(n) {
            let _ = writeln!(out, "  {POINT}");
        }
        let _ = writeln!(out, "  {}  {:>2}  {:<28}  {:<7}  {}", step.sign(), n + 1, step.title, undo_word(step), step.summary);
    }
    for (n, step) in plan.steps.iter().enumerate() {
        if step.changes.is_empty() && step.gate.is_none() && step.kept.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{}. {} ({})", n + 1, step.title, step.id);
        if let Some(gate) = &step.gate {
            let asks = match gate.ask {
                Ask::Nothing => "opens by its checks".to_owned(),
                Ask::Yes | Ask::Name | Ask::Count => format!("asks you to type `{}`", gate.sentence),
            };
            let _ = writeln!(out, "   gate: {}, {asks}", gate.title);
            for check in &gate.checks {
                let _ = writeln!(out, "         {} {}", if gate.wait { "waits until" } else { "checks that" }, check.title());
            }
        }
        if let Some(waves) = &step.waves {
            let _ = writeln!(out, "   waves: {}", waves.words());
        }
        alike(step).iter().for_each(|alike| change(&mut out, alike, width));
        for kept in &step.kept {
            let _ = writeln!(out, "   keep  {} on {}: {}", kept.subject, kept.place, kept.why);
        }
    }
    keys(&mut out, plan);
    if !plan.ledger.is_empty() {
        let _ = write!(out, "\nLEDGER\n{}", ledger_text(plan));
    }
    if !plan.notes.is_empty() {
        let _ = writeln!(out, "\nTO KNOW");
        problems(&mut out, &plan.notes);
    }
    let _ = writeln!(out, "\n{}", sum(plan));
    out
}

/// For every old reference the proven new one.
pub fn ledger_text(plan: &Plan) -> String {
    let mut out = String::new();
    for line in &plan.ledger {
        let new = line.new.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let sign = match line.verdict {
            Verdict::Identical => '=',
            Verdict::DifferentBuild => '~',
            Verdict::NoCounterpart => '!',
        };
        let places = if line.hosts.is_empty() { "metadata only".to_owned() } else { line.hosts.join(" ") };
        let _ = writeln!(out, "  {sign}  {} -> {new}  {}: {}  ({places})", line.old.familiar(), line.verdict, line.proof);
    }
    out
}

/// One change, and the names of the hosts on which it is the very same.
fn change(out: &mut String, alike: &Alike<'_>, width: usize) {
    let planned = alike.first;
    let already = if planned.found { "  (already so)" } else { "" };
    let _ = writeln!(out, "   {:<6} {:<6} {} on {}{already}", planned.id, planned.kind, planned.subject, planned.place);
    if alike.all.len() > 1 {
        let others: Vec<&str> = alike.all[1..].iter().map(|planned| planned.place.as_str()).collect();
        let words = format!("the same on {}: {} in all", others.join(", "), text::count(alike.all.len() as u64, "host"));
        listed(&words, width.saturating_sub(10)).iter().for_each(|line| _ = writeln!(out, "          {line}"));
    }
    if planned.found {
        return;
    }
    let diff = planned.change.diff();
    diff.iter().flatten().for_each(|line| diff_line(out, line, width));
    let shows_lines = diff.is_none()
        && matches!(planned.kind.as_str(), "keys" | "rows" | "block" | "unblock" | "alias" | "rescan" | "platform9");
    if shows_lines {
        for (sign, side) in [('-', &planned.before), ('+', &planned.after)] {
            for line in side.lines() {
                let line: String = line.chars().take(width.saturating_sub(12)).collect();
                let _ = writeln!(out, "          {sign} {line}");
            }
        }
    }
    match &planned.way_back {
        WayBack::Whole => {}
        WayBack::Partly(why) => {
            let _ = writeln!(out, "          way back: not whole: {why}");
        }
        WayBack::None(why) => {
            let _ = writeln!(out, "          NO UNDO: {why}");
        }
    }
}

/// A line that changes is broken where the room ends; what is only around it is cut there.
fn diff_line(out: &mut String, line: &DiffLine, width: usize) {
    let room = width.saturating_sub(12);
    match line.mark {
        Mark::Head => _ = writeln!(out, "          {}", line.text),
        // Said once, below the steps.
        Mark::Key => {}
        Mark::Said => listed(&line.text, width.saturating_sub(10)).iter().for_each(|line| _ = writeln!(out, "          {line}")),
        Mark::Same | Mark::Gap => _ = writeln!(out, "            {}", line.text.chars().take(room).collect::<String>()),
        Mark::Gone | Mark::Come => {
            for (n, part) in broken(&line.text, room).into_iter().enumerate() {
                let sign = if n == 0 { line.mark.sign() } else { ' ' };
                let _ = writeln!(out, "          {sign} {part}");
            }
        }
    }
}

/// What the signs in the texts of files mean, those that stand there.
fn keys(out: &mut String, plan: &Plan) {
    let changes = plan.steps.iter().flat_map(alike).filter_map(|alike| alike.first.change.diff());
    let keys: BTreeSet<String> = changes.flatten().filter(|line| line.mark == Mark::Key).map(|line| line.text).collect();
    if !keys.is_empty() {
        out.push('\n');
    }
    keys.iter().for_each(|key| _ = writeln!(out, "  {key}"));
}

fn problems(out: &mut String, problems: &[Problem]) {
    for together in together(problems) {
        let problem = together.problem;
        let _ = writeln!(out, "  !  {}: {}", together.subject, problem.why);
        if let Some(hint) = &problem.hint {
            let _ = writeln!(out, "     hint: {hint}");
        }
    }
}

/// One sentence for the whole.
pub fn sum(plan: &Plan) -> String {
    let t = &plan.totals;
    if plan.is_empty() {
        return format!("Nothing to do: all of {} are so already.", text::count(t.found, "change"));
    }
    let mut parts = vec![];
    let mut part = |n: u64, text: String| {
        if n > 0 {
            parts.push(text);
        }
    };
    part(t.pulls, format!("{} to pull ({})", text::number(t.pulls), text::bytes(t.pull_bytes)));
    part(t.tags, format!("{} to tag", text::number(t.tags)));
    part(t.keys, format!("{} to write", text::count(t.keys, "key")));
    part(t.rows, format!("{} to write", text::count(t.rows, "row")));
    part(t.hosts, format!("{} to configure", text::count(t.hosts, "host")));
    part(t.units, format!("{} to stop or start", text::count(t.units, "unit")));
    part(t.clusters, format!("{} to change", text::count(t.clusters, "cluster")));
    part(t.removals, format!("{} to remove", text::count(t.removals, "image")));
    let undo = match t.irreversible {
        0 => "Every change has a way back.".to_owned(),
        1 => "1 change has no whole way back.".to_owned(),
        n => format!("{} changes have no whole way back.", text::number(n)),
    };
    let found = if t.found > 0 { format!(", {} already so", text::number(t.found)) } else { String::new() };
    // What is counted nowhere else: services, metadata.
    let sum = if parts.is_empty() { text::count(t.changes, "change") } else { parts.join(", ") };
    format!("Plan: {sum}{found}; {}. {undo}", text::count(t.gates, "question"))
}
