//! The run in words: the face of a step and of a change, the state in the title, the sentence below it.
//! Never says "done" of what was not read back, and never hides what a wait is for.

use super::app::{App, Leaving, Screen};
use super::lines::outcome_words;
use super::screens::window::{self, held_words};
use super::theme::Face;
use super::waves;
use crate::model::problems::together;
use crate::model::{Ask, ChangeState, Gate, Next, Outcome, Plan, PlannedStep, Problem, State, Status, Stop, WayBack, hold, text};

/// One verb for one act, in three tenses.
pub struct Verb {
    pub would: &'static str,
    pub doing: &'static str,
    pub done: &'static str,
}

/// The verb of a kind of change.
pub fn verb(kind: &str) -> Verb {
    let (would, doing, done) = match kind {
        "start" => ("start", "starting", "started"),
        "stop" => ("stop", "stopping", "stopped"),
        "rescan" => ("rescan", "rescanning", "rescanned"),
        "block" => ("block", "blocking", "blocked"),
        "unblock" => ("give back", "giving back", "given back"),
        "alias" => ("point", "pointing", "pointed"),
        "pull" => ("pull", "pulling", "pulled"),
        "tag" => ("tag", "tagging", "tagged"),
        "remove" => ("remove", "removing", "removed"),
        "configure" => ("configure", "configuring", "configured"),
        "platform9" => ("put", "putting", "put"),
        _ => ("write", "writing", "wrote"),
    };
    Verb { would, doing, done }
}

/// What the machines of a plan are called: Backend.AI's are agents.
pub fn machine(plan: &Plan) -> &'static str {
    if plan.steps.iter().any(PlannedStep::configures) { "host" } else { "agent" }
}

/// Face and word of one change.
pub fn change_face(change: &ChangeState, rolling_back: bool) -> (Face, &'static str) {
    match &change.status {
        Status::Waiting if rolling_back => (Face::NotRun, "not run"),
        Status::Waiting => (Face::ToDo, "to do"),
        Status::Running => (Face::Running, "running"),
        Status::Retrying(_) => (Face::Waiting, "waiting"),
        Status::Found => (Face::Already, "already"),
        Status::Done => (Face::Done, "done"),
        Status::Failed(_) => (Face::Failed, "FAILED"),
        Status::Skipped(_) => (Face::Skipped, "skipped"),
        Status::Undoing => (Face::Running, "undoing"),
        Status::Undone => (Face::Undone, "undone"),
        Status::UndoFailed(_) => (Face::Failed, "UNDO FAILED"),
    }
}

/// Why a change is not done, if it failed.
pub fn fault(change: &ChangeState) -> Option<&crate::model::Fault> {
    match &change.status {
        Status::Failed(fault) | Status::UndoFailed(fault) => Some(fault),
        _ => None,
    }
}

/// Face and word of one step.
pub fn step_face(state: &State, step: usize, stalled: bool) -> (Face, &'static str) {
    if state.plan.is_none() {
        return (Face::ToDo, "to do");
    }
    let tally = state.tally(step);
    let undoing = state.rolling_back.is_some_and(|to| step >= to);
    if undoing {
        return match () {
            () if state.failed(step) > 0 => (Face::Failed, "UNDO FAILED"),
            () if tally.running + tally.retrying > 0 && state.paused.is_none() => (Face::Running, "undoing"),
            () if state.steps[step].counts.undoable > 0 => (Face::Waiting, "to undo"),
            () if tally.undone > 0 => (Face::Undone, "undone"),
            () if tally.total() > 0 && tally.found == tally.total() => (Face::Already, "already"),
            // Its gate did open, and it has nothing that could be undone.
            () if tally.total() == 0 && state.steps[step].approved.is_some() => (Face::Done, "done"),
            () => (Face::NotRun, "not run"),
        };
    }
    let current = state.current_step();
    if current.is_none_or(|current| step < current) {
        return match () {
            () if tally.skipped > 0 => (Face::Warning, "done, some skipped"),
            () if tally.total() > 0 && tally.found == tally.total() => (Face::Already, "already"),
            () => (Face::Done, "done"),
        };
    }
    if state.finished.is_some() {
        return (Face::NotRun, "not run");
    }
    if current != Some(step) {
        return (Face::ToDo, "to do");
    }
    match state.next() {
        Next::Gate(_) if state.steps[step].gate_reached_ms.is_none() => (Face::ToDo, "to do"),
        Next::Gate(_) if state.gate(step).is_some_and(|gate| gate.ask == Ask::Nothing) => (Face::Waiting, "waiting"),
        Next::Gate(_) | Next::Canary(_) => (Face::NeedsYou, "NEEDS YOU"),
        Next::Stop(Stop::Paused) => (Face::Paused, "paused"),
        Next::Stop(_) => (Face::Failed, "FAILED"),
        _ if stalled => (Face::Stalled, "stalled"),
        _ if tally.waiting == tally.total() => (Face::ToDo, "to do"),
        _ if state.in_canary(step) => (Face::Running, "canary"),
        _ => (Face::Running, "running"),
    }
}

/// The state in the title bar, with its face.
pub fn title_state(app: &App) -> (Face, String) {
    let state = &app.state;
    let n = state.steps.len();
    if app.watches() && app.over && state.finished.is_none() {
        return match state.paused {
            Some(_) => (Face::Paused, format!("STOPPED at {}", app.look.clock_with_zone(state.last_ms))),
            None => (Face::Unknown, format!("GONE after {}", app.look.clock_with_zone(state.last_ms))),
        };
    }
    if !app.begun {
        return if state.seq == 0 {
            (Face::ToDo, format!("DRY RUN   plan {}   read {} ago", app.plan.plan, text::age(app.now_ms - app.plan.read_at_ms)))
        } else if state.finished.is_some() {
            end_face(state)
        } else if state.paused.is_some() {
            (Face::Paused, format!("STOPPED at {}", app.look.clock_with_zone(state.last_ms)))
        } else {
            (Face::NeedsYou, format!("INTERRUPTED at {}", app.look.clock_with_zone(state.last_ms)))
        };
    }
    match state.next() {
        Next::Plan => (Face::Waiting, "beginning".to_owned()),
        Next::Gate(step) if state.gate(step).is_some_and(|gate| gate.ask == Ask::Nothing) => {
            (Face::Waiting, format!("waiting at step {} of {n}", step + 1))
        }
        Next::Gate(step) if app.held(step).is_some() => (Face::NeedsYou, "NEEDS YOU".to_owned()),
        // A question that cannot be answered yet needs nobody.
        Next::Gate(step) if !app.problems(step).is_none_or(<[_]>::is_empty) => {
            (Face::Waiting, format!("waiting at step {} of {n}", step + 1))
        }
        Next::Gate(step) if state.steps[step].gate_reached_ms.is_some() => (Face::NeedsYou, "NEEDS YOU".to_owned()),
        Next::Gate(step) => (Face::Running, format!("RUNNING step {} of {n}", step + 1)),
        Next::Canary(_) => (Face::NeedsYou, "NEEDS YOU".to_owned()),
        Next::Turn(_) => (Face::Running, format!("RUNNING step {} of {n}", state.current_step().unwrap_or_default() + 1)),
        Next::Apply(step) => (Face::Running, format!("RUNNING step {} of {n}", step + 1)),
        Next::Undo(step) => (Face::Running, format!("ROLLING BACK step {} of {n}", step + 1)),
        Next::Stop(Stop::Paused) if state.paused.as_ref().is_some_and(|(why, _)| hold::is_hold_words(why)) => {
            (Face::NeedsYou, "HELD".to_owned())
        }
        Next::Stop(Stop::Paused) => (Face::Paused, "PAUSED".to_owned()),
        Next::Stop(Stop::Failed(step)) => (Face::Failed, format!("FAILED step {} of {n}", step + 1)),
        Next::Stop(Stop::Stuck) => (Face::Failed, "STUCK".to_owned()),
        Next::Finish(outcome) => outcome_face(&outcome),
        Next::Over => end_face(state),
    }
}

/// How a run ended, with what is left for a person to do.
pub fn end_face(state: &State) -> (Face, String) {
    match &state.finished {
        Some(outcome @ (Outcome::Done | Outcome::DoneWithSkips | Outcome::RolledBack)) => {
            let word = if *outcome == Outcome::RolledBack { "ROLLED BACK" } else { "DONE" };
            match state.left_to_do(false).len() {
                0 => outcome_face(outcome),
                n => (Face::Warning, format!("{word}, {n} LEFT TO DO")),
            }
        }
        Some(outcome) => outcome_face(outcome),
        None => (Face::Unknown, String::new()),
    }
}

/// How a run ended, as it stands in a title.
pub fn outcome_face(outcome: &Outcome) -> (Face, String) {
    match outcome {
        Outcome::Done => (Face::Done, "DONE".to_owned()),
        Outcome::DoneWithSkips => (Face::Warning, "DONE, SOMETHING LEFT OUT".to_owned()),
        Outcome::RolledBack => (Face::Undone, "ROLLED BACK".to_owned()),
        Outcome::Aborted(_) => (Face::Warning, "ABORTED".to_owned()),
    }
}

/// What stands against a gate, counted by its first word: `3 sessions, 1 container`.
pub fn who(problems: &[Problem]) -> String {
    let mut counts: Vec<(&str, u64)> = vec![];
    for problem in problems {
        let noun = problem.subject.split(' ').next().unwrap_or("problem");
        match counts.iter_mut().find(|(known, _)| *known == noun) {
            Some((_, n)) => *n += 1,
            None => counts.push((noun, 1)),
        }
    }
    counts.iter().map(|(noun, n)| text::count(*n, noun)).collect::<Vec<_>>().join(", ")
}

/// What runs, and what it wants from the operator: the second line of every screen.
pub fn headline(app: &App) -> String {
    let state = &app.state;
    if let Some(sentence) = app.watching_headline() {
        return sentence;
    }
    if let Some(sentence) = not_running(app) {
        return sentence;
    }
    let title = |step: usize| app.plan.steps.get(step).map_or("", |s| s.title.as_str());
    match state.next() {
        Next::Plan => "The engine is asked to begin. Nothing has been changed.".to_owned(),
        Next::Gate(step) if state.steps[step].gate_reached_ms.is_none() => {
            format!("Step {}, {}, is next. Nothing needs you now.", step + 1, title(step))
        }
        Next::Gate(step) => {
            let waited = state.steps[step].gate_reached_ms.map_or_else(String::new, |at| text::duration(app.now_ms - at));
            let against = app.problems(step).unwrap_or_default();
            if let Some(problem) = window::against(app, step) {
                return held_words(app, step, problem);
            }
            if asks(state.gate(step)) && !against.is_empty() {
                return format!(
                    "Step {} waits for {}, {waited} so far. Your answer counts once none is left.",
                    step + 1,
                    who(against)
                );
            }
            if asks(state.gate(step)) {
                let how = match (&app.popup, app.screen) {
                    (Some(_), _) => "Nothing is running. There is no time limit.",
                    (None, Screen::Overview | Screen::Changes | Screen::Waiting) => "enter opens the question.",
                    (None, _) => "The overview opens the question.",
                };
                return format!("Step {} waits for your answer for {waited}. {how}", step + 1);
            }
            if let Some(brown_out) = state.brown_out(step) {
                let at = app.look.clock_with_zone(brown_out.until_ms);
                return format!("Step {}: {}. It ends by itself, at {at}.", step + 1, brown_out.words(app.now_ms));
            }
            let problems = app.problems(step).map_or(0, <[_]>::len) as u64;
            let what = if problems == 0 {
                "its checks are asked".to_owned()
            } else {
                format!("{} in the way", text::count(problems, "problem"))
            };
            format!("Step {} has waited for {waited}: {what}. Nothing is running; it goes on by itself.", step + 1)
        }
        Next::Canary(step) => waves::held(app, step),
        Next::Turn(_) => "The next wave begins. Nothing needs you now.".to_owned(),
        Next::Apply(step) => {
            if let Some(canary) = waves::canary_runs(app, step) {
                return canary;
            }
            let tally = state.tally(step);
            let over = tally.done + tally.found + tally.skipped;
            let failed = if tally.failed > 0 {
                format!(" {} failed; the others go on.", text::number(tally.failed))
            } else {
                " Nothing needs you now.".to_owned()
            };
            let question = next_question(app, step).map_or_else(String::new, |n| format!(" Next question: step {}.", n + 1));
            format!(
                "Step {}, {}: {} of {}.{failed}{question}",
                step + 1,
                waves::of(app, step).unwrap_or_else(|| title(step).to_owned()),
                text::number(over),
                text::number(tally.total())
            )
        }
        Next::Undo(step) => {
            let to = state.rolling_back.unwrap_or_default();
            format!(
                "Undoing step {}, {}; the rollback ends before step {}. Nothing needs you now.",
                step + 1,
                title(step),
                to + 1
            )
        }
        Next::Stop(Stop::Paused) => {
            let (why, at) = state.paused.clone().unwrap_or_default();
            if hold::is_hold_words(&why) {
                let keys = "W gives it another end, B rolls back";
                return format!("Held since {}: {}. {keys}.", app.look.clock(at), text::clean(&why));
            }
            let running = in_flight(state);
            let still = if running > 0 { format!(" {} still in flight.", text::count(running, "change")) } else { String::new() };
            format!("Paused since {}: {}.{still} P goes on.", app.look.clock(at), text::clean(&why))
        }
        Next::Stop(Stop::Failed(step)) => {
            let done = state.changed(step);
            let by = state.stopped_by(step).map_or_else(String::new, |why| format!(" Stopped by {why}."));
            format!("Step {} failed and {done}. Nothing else starts until you choose.{by}", step + 1)
        }
        Next::Stop(Stop::Stuck) => "Undo failed, so the run is stuck: a human has to look. Nothing else starts.".to_owned(),
        Next::Finish(_) | Next::Over => {
            let words = state.finished.as_ref().map_or_else(String::new, outcome_words);
            format!("The run is over: {}. Nothing is running.", text::clean(&words))
        }
    }
}

/// The sentences of a run that is not begun, is being left, or has lost its engine.
fn not_running(app: &App) -> Option<String> {
    let state = &app.state;
    if app.over && state.finished.is_none() {
        return Some("The engine has ended; the journal is safe. q leaves.".to_owned());
    }
    match app.leaving {
        Leaving::Stop(_) if in_flight(state) > 0 => {
            return Some(format!(
                "Stopping after {} in flight. Ctrl-C again within 5 s stops at once.",
                text::count(in_flight(state), "change")
            ));
        }
        Leaving::Stop(_) => return Some("Stopping: the journal is written, then castoff leaves.".to_owned()),
        Leaving::Now(_) => return Some("Stopping at once; what was in flight is looked up at the next start.".to_owned()),
        Leaving::No => {}
    }
    if app.begun {
        return None;
    }
    if state.seq == 0 {
        return Some(plan_sentence(app));
    }
    if state.finished.is_some() {
        return Some("This run is over. Nothing is running.".to_owned());
    }
    let how = match &state.paused {
        Some((why, _)) => format!("Paused: {}.", text::clean(why)),
        None => "This run was cut off.".to_owned(),
    };
    let looked = if app.survey.is_some() { "was looked at" } else { "is being looked at" };
    Some(format!("{how} Nothing runs; the cluster {looked}."))
}

fn plan_sentence(app: &App) -> String {
    let plan = &app.plan;
    if !plan.blockers.is_empty() {
        return format!(
            "This plan cannot be run: {} in the way. Nothing has been changed.",
            text::count(together(&plan.blockers).len() as u64, "problem")
        );
    }
    if plan.is_empty() {
        return "Nothing to do: everything is already so. Nothing has been changed.".to_owned();
    }
    let no_way_back = app.facts.iter().filter(|facts| facts.no_way_back).count() as u64;
    let steps = text::count(plan.steps.len() as u64, "step");
    let lost = match no_way_back {
        0 => "all can be undone".to_owned(),
        n => format!("{} without a whole way back", text::number(n)),
    };
    format!("Nothing has been changed. {steps}, {}, {lost}.", text::count(questions(app), "question"))
}

/// Whether a step has no whole way back.
pub fn no_way_back(step: &PlannedStep) -> bool {
    step.pending().next().is_some() && step.way_back() != WayBack::Whole
}

/// What an undo of the step gives back, in at most a few words and a sentence.
pub fn way_back(step: &PlannedStep) -> (&'static str, String) {
    if step.pending().next().is_none() {
        return ("-", "nothing to undo".to_owned());
    }
    let of = |lost: fn(&WayBack) -> bool, why: String| {
        let (n, all) = (step.pending().filter(|change| lost(&change.way_back)).count(), step.pending().count());
        if n == all { why } else { format!("{n} of {all} changes: {why}") }
    };
    match step.way_back() {
        WayBack::Whole => ("whole", "everything, exactly as it was".to_owned()),
        WayBack::Partly(why) => ("PARTLY", of(|way| matches!(way, WayBack::Partly(_)), why)),
        WayBack::None(why) => ("NO UNDO", of(|way| matches!(way, WayBack::None(_)), why)),
    }
}

/// What a step leaves on purpose, by reason: `9 because: no counterpart in the new registry`.
pub fn kept(step: &PlannedStep) -> String {
    let mut reasons: Vec<(&str, u64)> = vec![];
    for kept in &step.kept {
        match reasons.iter_mut().find(|(why, _)| *why == kept.why) {
            Some((_, n)) => *n += 1,
            None => reasons.push((&kept.why, 1)),
        }
    }
    let words: Vec<String> = reasons.iter().map(|(why, n)| format!("{} ({})", text::number(*n), text::clean(why))).collect();
    words.join(", ")
}

/// Whether the gate wants a person.
pub fn asks(gate: Option<&Gate>) -> bool {
    gate.is_some_and(|gate| gate.ask != Ask::Nothing)
}

/// The class of the gate, for the list of steps.
pub fn gate_class(gate: Option<&Gate>) -> &'static str {
    match gate {
        None => "",
        Some(gate) => match gate.ask {
            Ask::Nothing if gate.wait => "~wait",
            Ask::Nothing => "",
            Ask::Yes => "#yes",
            Ask::Name => "#name",
            Ask::Count => "#count",
        },
    }
}

/// What the gate of a step waits for, in a sentence.
pub fn gate_needs(step: &PlannedStep) -> Option<String> {
    let gate = step.gate.as_ref()?;
    let mut needs: Vec<String> = gate.checks.iter().map(|check| text::clean(&check.title())).collect();
    if !gate.sentence.is_empty() {
        needs.push(format!("you type `{}`", text::clean(&gate.sentence)));
    }
    Some(needs.join("; "))
}

/// How many gates of the plan ask a person.
pub fn questions(app: &App) -> u64 {
    app.plan.steps.iter().filter(|step| asks(step.gate.as_ref())).count() as u64
}

fn next_question(app: &App, after: usize) -> Option<usize> {
    (after + 1..app.plan.steps.len()).find(|step| asks(app.plan.steps[*step].gate.as_ref()))
}

/// Changes whose effect is on its way.
pub fn in_flight(state: &State) -> u64 {
    state.steps.iter().map(|step| step.counts.tally.running).sum()
}
