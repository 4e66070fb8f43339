//! What is read before something is typed: a gate, a failure, a cut-off run, a way back. Whole sentences, one thing a line.
//! Never leaves out what has no way back, and never draws: no columns that only an eye can follow.

use super::words::{self, Place};
use crate::account::{Account, problem_text};
use crate::model::{Ask, ChangeId, FaultKind, Gate, Plan, PlannedStep, State, Status, WayBack, text, tried};
use crate::report::{clock, moment, undo_word};

/// A gate: consequence, what, how many, where, what is kept, the way back, the facts with their age.
pub fn gate(account: &Account, plan: &Plan, step: usize, now_ms: i64) -> Vec<String> {
    let planned = &plan.steps[step];
    let Some(gate) = &planned.gate else { return vec![] };
    let mut out = vec![String::new(), heading(plan, step, gate)];
    if let Some(lost) = no_way_back(planned) {
        out.push(lost);
    }
    out.extend(gate.text.clone());
    out.push(format!("will do: {}", planned.summary));
    let mut places: Vec<&str> = planned.pending().map(|change| change.place.as_str()).collect();
    let pending = places.len() as u64;
    places.sort_unstable();
    places.dedup();
    if pending > 0 {
        out.push(format!("changes: {} on {}", text::number(pending), named(&places)));
    }
    for (why, n) in kept(planned) {
        out.push(format!("will keep: {} ({why})", text::number(n)));
    }
    if no_way_back(planned).is_none() && pending > 0 {
        out.push("way back: everything, exactly as it was".to_owned());
    }
    let report = account.gate.as_ref().filter(|report| report.step == step);
    match report {
        Some(report) if !gate.checks.is_empty() => {
            let age = text::age(now_ms - report.read_at_ms);
            out.push(format!("facts, read {}, {age} ago:", moment(report.read_at_ms)));
            let holds = report.problems.is_empty();
            let sign = if holds { "holds" } else { "to hold" };
            out.extend(gate.checks.iter().map(|check| format!("  {sign}: {}", check.title())));
            out.extend(report.problems.iter().filter_map(|problem| problem.hint.as_ref()).map(|hint| format!("  hint: {hint}")));
        }
        _ => out.push("facts: no check is asked".to_owned()),
    }
    out.push(format!("  plan {}, the one you read; made {} ago", plan.plan, text::age(now_ms - plan.read_at_ms)));
    cleaned(out)
}

/// The question after a canary: what was done on it, who follows, and that it can still be taken back.
pub fn canary(state: &State, plan: &Plan, step: usize, now_ms: i64) -> Vec<String> {
    let planned = &plan.steps[step];
    let mut out = vec![String::new()];
    out.push(format!("QUESTION: the canary of step {}, {} (plan {})", step + 1, planned.title, plan.plan));
    out.push(format!(
        "The canary {} {}. Look at it, then let the others follow.",
        state.canary_names(step),
        state.canary_word(step)
    ));
    let here = &state.steps[step];
    let all = || here.changes.iter().enumerate().filter(|(n, _)| here.waves.of(*n) == 0);
    let skipped = all().filter(|(_, change)| matches!(change.status, Status::Skipped(_))).count() as u64;
    if skipped > 0 {
        let of = text::number(all().count() as u64);
        out.push(format!("skipped on it: {} of {of}, which prove nothing", text::number(skipped)));
    }
    let sizes: Vec<String> = state
        .waves(step)
        .map_or_else(Vec::new, |waves| waves.hosts.iter().skip(1).map(|hosts| text::number(hosts.len() as u64)).collect());
    out.push(format!("will follow: {} hosts", sizes.join(", then ")));
    out.push(no_way_back(planned).unwrap_or_else(|| "way back: everything, exactly as it was".to_owned()));
    if let Some(since) = state.canary_over_ms(step) {
        out.push(format!("waits: since {}, {}", moment(since), text::duration(now_ms - since)));
    }
    cleaned(out)
}

/// The line before an answer: the exact sentence, and the way out.
pub fn ask(sentence: &str) -> Vec<String> {
    cleaned(vec![
        format!("To do this, type exactly: {sentence}"),
        "There is no time limit. To leave it, type: not now".to_owned(),
    ])
}

fn heading(plan: &Plan, step: usize, gate: &Gate) -> String {
    let asks = |step: &&PlannedStep| step.gate.as_ref().is_some_and(|gate| gate.ask != Ask::Nothing);
    let all = plan.steps.iter().filter(asks).count();
    let nth = plan.steps[..=step].iter().filter(asks).count();
    format!("QUESTION {nth} of {all}: {} (step {}, plan {})", gate.title, step + 1, plan.plan)
}

/// A gate whose checks do not hold: what it waits for, and that nothing is asked meanwhile.
pub fn waits(plan: &Plan, step: usize) -> Vec<String> {
    let planned = &plan.steps[step];
    let Some(gate) = &planned.gate else { return vec![] };
    let mut out = vec![String::new(), format!("WAITING: {} (step {}, plan {})", gate.title, step + 1, plan.plan)];
    let then = if gate.ask == Ask::Nothing {
        out.extend(gate.text.clone());
        "it goes on by itself"
    } else {
        "you are asked"
    };
    out.extend(gate.checks.iter().map(|check| format!("waits until: {}", check.title())));
    out.push(format!("Nothing is running. When nothing is in the way any more, {then}."));
    cleaned(out)
}

/// What failed, by cause, what is changed and what is not, and the ways on.
pub fn failure(account: &Account, plan: &Plan, stuck: bool) -> Vec<String> {
    let state = &account.state;
    let causes = state.causes();
    let mut out = vec![String::new()];
    let step = causes.first().and_then(|(_, ids)| ids.first()).map_or(0, |id| id.step);
    let tally = state.tally(step);
    let title = &plan.steps[step].title;
    if stuck {
        out.push(format!("STUCK: the undo of step {}, {title}, failed: a human has to look. Nothing else starts.", step + 1));
        let (undone, failed) = (text::number(tally.undone), text::number(state.failed(step)));
        out.push(format!("state: {undone} undone, {failed} not; the cluster stands between before and after there"));
    } else {
        let changed = state.changed(step);
        out.push(format!("FAILED: step {}, {title}, {changed}. Nothing else starts until you choose.", step + 1));
        if let Some(why) = state.stopped_by(step) {
            out.push(format!("stopped by {why}"));
        }
        let after = match plan.steps.len() - step - 1 {
            0 => "it is the last step".to_owned(),
            n => format!("{} after it not begun", text::count(n as u64, "step")),
        };
        out.push(format!("state: steps before it are done; {after}"));
    }
    for (n, (fault, ids)) in causes.iter().enumerate() {
        out.push(format!("cause {}: {}, {}", n + 1, text::count(ids.len() as u64, "change"), fault.why));
        out.push(format!("  what: {}", fault.what));
        out.push(format!("  where: {}", named(&places(plan, ids))));
        out.push(format!("  seen: {}", seen(state, ids, fault.kind)));
        let hint = fault.hint.as_deref().unwrap_or("mend what it names, then retry");
        out.push(format!("  what helps: {hint}"));
    }
    out.extend(words::list(if stuck { Place::Stuck } else { Place::Failed }));
    let which = if causes.len() > 1 { ", or one cause: retry 1" } else { "" };
    out.push(format!("Recommended, once it is mended: retry{which}"));
    cleaned(out)
}

fn seen(state: &State, ids: &[ChangeId], kind: FaultKind) -> String {
    let times: Vec<i64> = ids.iter().filter_map(|id| state.status(*id).ended_ms).collect();
    let attempts = ids.iter().map(|id| state.status(*id).attempts).max().unwrap_or(0);
    let verb = if attempts == 0 { "looked at" } else { "tried" };
    let again = match kind {
        _ if state.came_back(ids) => format!("{verb} again once, when its host came back"),
        FaultKind::Passing => format!("{verb} again each time"),
        _ => format!("not {verb} again by itself"),
    };
    let when = match (times.iter().min(), times.iter().max()) {
        (Some(first), Some(last)) if clock(*first) == clock(*last) => format!("{}, ", clock(*first)),
        (Some(first), Some(last)) => format!("{} to {}, ", clock(*first), clock(*last)),
        _ => String::new(),
    };
    format!("{when}{}, {again}", tried(attempts))
}

/// A run that was cut off: since when, how far, what is looked up.
pub fn resume(account: &Account, plan: &Plan, now_ms: i64) -> Vec<String> {
    let state = &account.state;
    let mut out = vec![String::new()];
    let how = state.paused.as_ref().map_or_else(|| "was cut off".to_owned(), |(why, _)| format!("stands still: {why}"));
    out.push(format!("RESUME: this run {how}. Nothing runs; the cluster was looked at."));
    let (begun, last) = (moment(state.begun_ms), moment(state.last_ms));
    out.push(format!("ran: {begun} to {last} by {}, {} ago", state.by, text::age(now_ms - state.last_ms)));
    let tallies: Vec<_> = (0..state.steps.len()).map(|step| state.tally(step)).collect();
    let left: u64 = tallies.iter().map(|t| t.waiting + t.running + t.retrying + t.failed).sum();
    let at = state.current_step().map_or_else(|| "after the last step".to_owned(), |step| format!("at step {}", step + 1));
    let back = state.rolling_back.map_or_else(String::new, |to| format!(", rolling back to before step {}", to + 1));
    let left = text::count(left, "change");
    out.push(format!("checkpoint: plan {}, entry {}, {at}{back}, {left} left", plan.plan, text::number(state.seq)));
    let flying = account.flying();
    if flying > 0 {
        out.push(format!("in flight: {}; each is looked up before anything is done", text::count(flying, "change")));
    }
    out.extend(words::list(Place::Resume));
    out.push("Recommended: continue. The plan is the same.".to_owned());
    cleaned(out)
}

/// The way back: which steps, in which order, what stays, what does not come back.
pub fn rollback(state: &State, plan: &Plan, to: usize) -> Vec<String> {
    let mut out = vec![String::new()];
    out.push(format!("ROLL BACK to before step {}, {}. The last change is undone first.", to + 1, plan.steps[to].title));
    out.push("What was already so before this run is left alone.".to_owned());
    for step in (0..plan.steps.len()).rev() {
        let ours = state.steps[step].counts.undoable;
        if ours == 0 {
            continue;
        }
        let planned = &plan.steps[step];
        let what = if step >= to { "would be undone" } else { "stays" };
        let n = text::count(ours, "change");
        out.push(format!("  {what}: step {}, {}, {n}, way back: {}", step + 1, planned.title, undo_word(planned)));
        if let Some(lost) = no_way_back(planned).filter(|_| step >= to) {
            out.push(format!("    {lost}"));
        }
    }
    cleaned(out)
}

/// The end of the run before its end.
pub fn abort(state: &State) -> Vec<String> {
    vec![
        String::new(),
        "ABORT: the run ends here for good: it cannot be resumed. Nothing is undone.".to_owned(),
        state.would_be_left(),
        "To stop for now and go on later, type not now, then leave.".to_owned(),
    ]
}

/// What goes on now, and what it waits for.
pub fn why(account: &Account, plan: &Plan, now_ms: i64) -> Vec<String> {
    let state = &account.state;
    let mut out = vec![];
    if let Some(step) = state.current_step().and_then(|step| plan.steps.get(step)) {
        let n = plan.step_index(&step.id).map_or(0, |n| n + 1);
        out.push(format!("step {n} of {}: {}. {}", plan.steps.len(), step.title, step.summary));
    }
    out.push(format!("limits: {}", state.limits.words()));
    if let Some(step) = state.current_step().filter(|_| state.goes_forward()) {
        out.extend(state.wave_line(step).into_iter().chain(state.aside_lines(step, 120)));
    }
    if let Some(report) = &account.gate {
        out.extend(report.problems.iter().map(|problem| format!("waits for  {}", problem_text(problem, now_ms))));
    }
    out.extend(account.flights(now_ms));
    cleaned(out)
}

/// `NO UNDO: …` where the way back is not whole.
fn no_way_back(step: &PlannedStep) -> Option<String> {
    step.pending().next()?;
    let lost: Vec<&WayBack> = step.pending().map(|change| &change.way_back).filter(|way| **way != WayBack::Whole).collect();
    let n = if lost.len() == step.pending().count() {
        String::new()
    } else {
        format!("{} of {} changes: ", lost.len(), step.pending().count())
    };
    match step.way_back() {
        WayBack::Whole => None,
        WayBack::Partly(why) => Some(format!("WAY BACK NOT WHOLE: {n}{why}")),
        WayBack::None(why) => Some(format!("NO UNDO: {n}{why}")),
    }
}

/// What a step leaves on purpose: each reason with its count.
fn kept(step: &PlannedStep) -> Vec<(&str, u64)> {
    let mut out: Vec<(&str, u64)> = vec![];
    for kept in &step.kept {
        match out.iter_mut().find(|(why, _)| *why == kept.why) {
            Some((_, n)) => *n += 1,
            None => out.push((&kept.why, 1)),
        }
    }
    out
}

fn places<'a>(plan: &'a Plan, ids: &[ChangeId]) -> Vec<&'a str> {
    let mut out: Vec<&str> = ids.iter().map(|id| plan.change(*id).place.as_str()).collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// Up to six by name, the others counted.
fn named(places: &[&str]) -> String {
    const NAMED: usize = 6;
    let more = places.len().saturating_sub(NAMED);
    let names = places[..places.len() - more].join(", ");
    if more > 0 { format!("{names} and {more} more") } else { names }
}

fn cleaned(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| text::clean(&line)).collect()
}
