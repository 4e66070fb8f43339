//! Layer 3: a run without a terminal: lines for people or JSON for machines. Asks nothing: gates are answered ahead,
//! or the run stops there and can be resumed.

use crate::model::{
    Ask, Command, Entry, Event, Fault, FaultKind, GateReport, Level, Loads, Next, Outcome, Pace, Progress, Stamped, State,
    Status, Stop, Wait, hold, pace, text,
};
use crate::report::{clock, entry_text};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::Write,
    time::Duration,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How a headless run is shown and how long it waits.
pub struct Options {
    pub json: bool,
    /// Ids of the steps whose gates were answered ahead for the plan that runs.
    pub approved: BTreeSet<String>,
    /// How long a gate may wait for its checks; `None`: as long as it takes.
    pub wait: Option<Duration>,
}

/// Why the run is not over. Each has an exit code of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Left {
    Finished(Outcome),
    /// A gate needs an answer: the id of its step.
    GateNeedsAnswer(String),
    /// The checks of this gate do not hold.
    GateClosed {
        step: String,
        preflight: bool,
    },
    Failed {
        drift: bool,
    },
    Stuck,
    /// By the window, with its words: only a later end or the way back helps.
    Held(String),
    Stopped,
}

/// Shows events until the run is over or cannot go on. `entries` are those of a resumed run.
pub async fn run(
    entries: &[Stamped],
    mut events: mpsc::Receiver<Event>,
    commands: mpsc::Sender<Command>,
    first: Command,
    options: Options,
) -> Left {
    let mut view = View {
        state: State::fold(entries).unwrap_or_default(),
        options,
        progress: BTreeMap::new(),
        pace: Pace::default(),
        loads: Loads::default(),
        gate: None,
        waiting_since: None,
        held: None,
        waits: vec![],
        out: true,
    };
    view.loads = view.state.plan.as_deref().map(Loads::new).unwrap_or_default();
    let mut left = None;
    let _ = commands.send(first).await;
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    tick.tick().await;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => view.show(event),
                None => break,
            },
            _ = tick.tick() => view.heartbeat(),
        }
        if left.is_none() {
            left = view.must_leave();
            if let Some(why) = &left {
                view.explain(why);
                let _ = commands.send(Command::Stop).await;
            }
        }
    }
    match (left, &view.state.finished) {
        (_, Some(outcome)) => Left::Finished(outcome.clone()),
        (Some(left), None) => left,
        (None, None) => Left::Stopped,
    }
}

struct View {
    state: State,
    options: Options,
    progress: BTreeMap<crate::model::ChangeId, Progress>,
    pace: Pace,
    /// What every step has to do.
    loads: Loads,
    gate: Option<GateReport>,
    waiting_since: Option<Instant>,
    /// The window has paused this run, while we looked on.
    held: Option<String>,
    /// What holds back changes of the running step.
    waits: Vec<Wait>,
    /// Whether standard output still takes lines: a closed pipe ends the output, not the run.
    out: bool,
}

impl View {
    fn show(&mut self, event: Event) {
        match event {
            Event::Entry(entry) => {
                let seq = entry.seq;
                if self.state.apply(&entry).is_err() {
                    eprintln!("castoff: entry {seq} does not fit what was shown before");
                }
                if let Entry::Planned { plan, .. } = &entry.entry {
                    self.loads = Loads::new(plan);
                }
                self.held = match &entry.entry {
                    Entry::Paused { why, .. } if hold::is_hold_words(why) => Some(why.clone()),
                    _ => None,
                };
                self.gate = None;
                self.waiting_since = None;
                let line = format!("{}  {}", clock(entry.at_ms), entry_text(&self.state, &entry.entry));
                // The plan itself was printed by `castoff plan`; here its id is enough.
                self.line(&line, || json!({ "v": 1, "seq": entry.seq, "at-ms": entry.at_ms, "entry": entry.entry }));
            }
            Event::Progress(progress) => {
                let fresh = self
                    .progress
                    .get(&progress.change)
                    .is_none_or(|p| progress.at_ms - p.at_ms >= 1000 || p.phase != progress.phase);
                if fresh {
                    if self.options.json {
                        self.line("", || json!({ "v": 1, "progress": progress }));
                    }
                    self.progress.insert(progress.change, progress);
                }
            }
            Event::Gate(report) => {
                self.waiting_since.get_or_insert_with(Instant::now);
                if self.gate.as_ref().is_none_or(|before| before.problems != report.problems) {
                    for problem in &report.problems {
                        let owner = problem.owner.as_ref().map_or_else(String::new, |owner| format!(" of {owner}"));
                        let place = problem.place.as_ref().map_or_else(String::new, |place| format!(" on {place}"));
                        let since = problem
                            .since_ms
                            .map_or_else(String::new, |since| format!(", for {}", text::age(report.read_at_ms - since)));
                        let line = format!(
                            "{}  waits for  {}{owner}{place}: {}{since}",
                            clock(report.read_at_ms),
                            problem.subject,
                            problem.why
                        );
                        self.words(&text::clean(&line));
                    }
                    if self.options.json {
                        self.line("", || json!({ "v": 1, "gate": report }));
                    }
                }
                self.gate = Some(report);
            }
            Event::Survey(lines) => {
                for line in &lines {
                    self.words(&format!(
                        "step {:>2}  journal: {}; cluster: {}; {}",
                        line.step + 1,
                        line.journal,
                        line.cluster,
                        line.verdict
                    ));
                }
                if self.options.json {
                    self.line("", || json!({ "v": 1, "survey": lines }));
                }
            }
            Event::Changed(changed) => {
                for problem in &changed {
                    let place = problem.place.as_ref().map_or_else(String::new, |place| format!(" on {place}"));
                    self.words(&text::clean(&format!("changed since: {}{place}: {}", problem.subject, problem.why)));
                }
                if self.options.json {
                    self.line("", || json!({ "v": 1, "changed": changed }));
                }
            }
            Event::Waits { step, waits } => {
                if self.options.json {
                    self.line("", || json!({ "v": 1, "waits": waits, "step": step }));
                }
                self.waits = waits;
            }
            Event::Refused(why) => self.words(&format!("not done: {why}")),
            Event::Said { level, at_ms, place, text } => {
                let word = if level == Level::Info { "" } else { "warning: " };
                self.words(&format!("{}  {word}{place} {text}", clock(at_ms)));
            }
        }
    }

    /// Data, on standard output: a line of text, or an object.
    fn line(&mut self, text: &str, object: impl FnOnce() -> serde_json::Value) {
        if !self.out {
            return;
        }
        let mut stdout = std::io::stdout().lock();
        let written = if self.options.json { writeln!(stdout, "{}", object()) } else { writeln!(stdout, "{text}") };
        self.out = written.and_then(|()| stdout.flush()).is_ok();
    }

    /// Words, on standard error: never mixed into the data.
    #[expect(clippy::unused_self, reason = "beside `line`, as its counterpart")]
    fn words(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Every ten seconds: what runs, how far it is, what is waited for.
    fn heartbeat(&mut self) {
        let Some(plan) = self.state.plan.clone() else { return };
        if let (Some(gate), Some(since)) = (&self.gate, self.waiting_since)
            && !gate.problems.is_empty()
        {
            let first = &gate.problems[0];
            let waited = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
            self.words(&format!(
                "still waiting [{}]: {}, first {}",
                text::duration(waited),
                text::count(gate.problems.len() as u64, "problem"),
                first.subject
            ));
            return;
        }
        let Some(step) = self.state.current_step() else { return };
        let rest = self.rest(step);
        let tally = self.state.tally(step);
        let in_flight = |p: &&Progress| p.change.step == step && self.state.status(p.change).status == Status::Running;
        let running = self.progress.values().filter(in_flight);
        let (done, total) = running.fold((0, 0), |(done, total), p| (done + p.done, total + p.total));
        let bytes =
            if total > 0 { format!(", {} of {} in flight", text::bytes(done), text::bytes(total)) } else { String::new() };
        if tally.running > 0 {
            let line = format!(
                "{}: {} done, {} running, {} to do{bytes}{rest}",
                plan.steps[step].title,
                tally.done + tally.found,
                tally.running,
                tally.waiting
            );
            self.words(&line);
            let held = self.waits.iter().map(|wait| format!("{} wait: {}", text::number(wait.changes), wait.why));
            for line in self.state.wave_line(step).into_iter().chain(self.state.aside_lines(step, 120)).chain(held) {
                self.words(&format!("  {}", text::clean(&line)));
            }
        }
    }

    /// When the running step and the rest would end, and what is left of the window.
    fn rest(&mut self, step: usize) -> String {
        let Some(plan) = &self.state.plan else { return String::new() };
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let (done, total) = pace::bytes(plan, &self.state, &self.progress, step);
        if total > 0 {
            self.pace.sample(step, now_ms, done);
        }
        let window = self.state.window.as_ref();
        let projection = self.loads.project(plan, &self.state, now_ms, self.pace.ends(step, done, total));
        let mut out = String::new();
        if let Some(end) = projection.steps.get(step).copied().flatten().filter(|end| end.measured) {
            let words =
                window.map_or_else(|| end.words(|ms| minute(ms, "%H:%M"), &minute(now_ms, "%Z")), |window| end.words_in(window));
            let _ = write!(out, "; ends {words}, if the rate holds");
        }
        let Some(window) = window else { return out };
        if let Some(rest) = projection.rest(Some(window), clock, "") {
            let _ = write!(out, "; the rest {}", rest.sentence());
        }
        let _ = write!(out, "; window {}", window.left(now_ms));
        out
    }

    fn must_leave(&self) -> Option<Left> {
        let plan = self.state.plan.as_ref()?;
        match self.state.next() {
            Next::Gate(step) => {
                let gate = self.state.gate(step)?;
                let id = &plan.steps[step].id;
                if gate.ask != Ask::Nothing && !self.options.approved.contains(id) {
                    return Some(Left::GateNeedsAnswer(id.clone()));
                }
                let report = self.gate.as_ref().filter(|report| report.step == step && !report.problems.is_empty())?;
                if let Some(problem) = report.problems.iter().find(|problem| hold::is_hold(problem)) {
                    return Some(Left::Held(format!("{}: {}", problem.subject, problem.why)));
                }
                // A window opens by itself.
                if report.problems.iter().all(hold::is_early) {
                    return None;
                }
                let tired = self.options.wait.zip(self.waiting_since).is_some_and(|(wait, since)| since.elapsed() >= wait);
                (!gate.wait || tired).then(|| Left::GateClosed { step: id.clone(), preflight: gate.ask == Ask::Nothing })
            }
            Next::Canary(step) => {
                let id = format!("{}.canary", plan.steps[step].id);
                (!self.options.approved.contains(&id)).then_some(Left::GateNeedsAnswer(id))
            }
            Next::Stop(Stop::Failed(_)) => {
                let drift = self.state.causes().iter().all(|(fault, _)| fault.kind == FaultKind::Drift);
                Some(Left::Failed { drift })
            }
            Next::Stop(Stop::Stuck) => Some(Left::Stuck),
            Next::Stop(Stop::Paused) => self.held.clone().map(Left::Held),
            _ => None,
        }
    }

    fn explain(&self, left: &Left) {
        match left {
            Left::GateNeedsAnswer(step) => {
                let plan = self.state.plan.as_ref().map_or("", |plan| plan.plan.as_str());
                let what = match step.strip_suffix(".canary") {
                    Some(step) => format!("the canary of `{step}` is done and has to be approved"),
                    None => format!("the gate of `{step}` needs an answer"),
                };
                self.words(&format!("{what}: castoff resume, or --approve {step}={plan}"));
            }
            Left::GateClosed { step, .. } => {
                self.words(&format!("the gate of `{step}` does not open:"));
                for problem in self.gate.iter().flat_map(|gate| &gate.problems) {
                    let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
                    self.words(&format!("  {}: {}{hint}", text::clean(&problem.subject), text::clean(&problem.why)));
                }
            }
            Left::Held(why) => {
                self.words(&text::clean(why));
                self.words("hint: a later end, on purpose: castoff resume --window 02:00-05:00; or castoff rollback");
            }
            Left::Failed { .. } | Left::Stuck => {
                let step = self.state.current_step().filter(|_| *left != Left::Stuck);
                if let Some(why) = step.and_then(|step| self.state.stopped_by(step)) {
                    self.words(&format!("the step stopped: {why}; nothing more of it began"));
                }
                for (fault, ids) in self.state.causes() {
                    let Fault { what, why, hint, .. } = fault;
                    self.words(&format!("error: {what}: {why} ({})", text::count(ids.len() as u64, "change")));
                    if let Some(hint) = hint {
                        self.words(&format!("hint: {hint}"));
                    }
                }
            }
            Left::Finished(_) | Left::Stopped => {}
        }
    }
}

/// A time of this machine's zone.
fn minute(at_ms: i64, how: &str) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).map(|at| at.to_zoned(jiff::tz::TimeZone::system()));
    at.map(|at| at.strftime(how).to_string()).unwrap_or_default()
}
