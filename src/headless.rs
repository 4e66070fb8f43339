//! Layer 3: a run without a terminal: lines for people or JSON for machines. Asks nothing: gates are answered ahead,
//! or the run stops there and can be resumed.

use crate::account::{Account, Line};
use crate::model::{
    Ask, ChangeId, Command, Entry, Event, Fault, FaultKind, Next, OnHangup, Outcome, Progress, Stamped, Stop, hold, text,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How a headless run is shown and how long it waits.
pub struct Options {
    pub json: bool,
    /// Ids of the steps whose gates were answered ahead for the plan that runs.
    pub approved: BTreeSet<String>,
    /// How long a gate may wait for its checks; `None`: as long as it takes.
    pub wait: Option<Duration>,
    /// Tells that the terminal is lost, and how far the run goes then.
    pub lost: mpsc::Receiver<OnHangup>,
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
    /// So many places where others took back what the run had done: nothing was begun.
    Changed(usize),
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
    let mut view = View::new(entries, options);
    let mut left = None;
    // The terminal is lost: how far the run goes, and in which step it was. Taken once it is asked to stop.
    let mut lost: Option<(OnHangup, Option<usize>)> = None;
    // Of a run that is gone on with the differences are told first, and then it is decided.
    let mut first = Some(first);
    let mut undone = 0;
    if entries.is_empty() {
        let _ = commands.send(first.take().expect("not sent yet")).await;
    }
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => {
                    view.show(&event);
                    match &event {
                        Event::Changed(changed) => undone = changed.iter().filter(|problem| problem.is_undone()).count(),
                        Event::Survey(_) if first.is_some() => {
                            let goes_on = undone == 0 || first != Some(Command::Begin) || view.options.approved.contains("changed");
                            if !goes_on {
                                left = Some(Left::Changed(undone));
                                view.explain(&Left::Changed(undone));
                            }
                            let command = first.take().filter(|_| goes_on).unwrap_or(Command::Stop);
                            let _ = commands.send(command).await;
                        }
                        _ => {}
                    }
                }
                None => break,
            },
            _ = tick.tick() => {
                let lines = view.account.tick(now_ms());
                view.words(&lines);
            }
            Some(how) = view.options.lost.recv() => lost = Some((how, OnHangup::lost_in(&view.account.state))),
        }
        if lost.take_if(|(how, lost_in)| how.stops(&view.account.state, *lost_in)).is_some() {
            let _ = commands.send(Command::Stop).await;
        }
        if left.is_none() && first.is_none() {
            left = view.must_leave();
            if let Some(why) = &left {
                view.explain(why);
                let _ = commands.send(Command::Stop).await;
            }
        }
    }
    match (left, &view.account.state.finished) {
        (_, Some(outcome)) => Left::Finished(outcome.clone()),
        (Some(left), None) => left,
        (None, None) => Left::Stopped,
    }
}

/// Shows what happens to a run that another castoff drives, until it is over or that castoff has gone. Asks nothing.
pub async fn watch(entries: &[Stamped], mut events: mpsc::Receiver<Event>, json: bool) {
    let options = Options { json, approved: BTreeSet::new(), wait: None, lost: mpsc::channel(1).1 };
    let mut view = View::new(entries, options);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    while view.account.state.finished.is_none() {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => view.show(&event),
                None => return,
            },
            _ = tick.tick() => {
                let lines = view.account.tick(now_ms());
                view.words(&lines);
            }
        }
    }
}

struct View {
    account: Account,
    options: Options,
    /// The progress that was written last, for machines.
    told: BTreeMap<ChangeId, Progress>,
    /// The window has paused this run, while we looked on.
    held: Option<String>,
    /// Since when a gate is waited for, by a clock that nobody sets.
    waits_since: Option<Instant>,
    /// Whether standard output still takes lines: a closed pipe ends the output, not the run.
    out: bool,
}

impl View {
    fn new(entries: &[Stamped], options: Options) -> Self {
        let account = Account::new(entries, now_ms()).unwrap_or_default();
        Self { account, options, told: BTreeMap::new(), held: None, waits_since: None, out: true }
    }

    fn show(&mut self, event: &Event) {
        if let Event::Entry(stamped) = event {
            self.held = match &stamped.entry {
                Entry::Paused { why, .. } if hold::is_hold_words(why) => Some(why.clone()),
                _ => None,
            };
        }
        // A gate that is asked again and again is news only when the answer is another.
        let same =
            matches!(event, Event::Gate(new) if self.account.gate.as_ref().is_some_and(|old| old.problems == new.problems));
        let lines = self.account.take(event, now_ms());
        self.waits_since = self.account.waiting_since.map(|_| self.waits_since.unwrap_or_else(Instant::now));
        if !self.options.json {
            for line in lines.iter().filter(|line| line.entry) {
                self.data(&text::page(&line.printed()));
            }
        }
        self.words(&lines);
        if self.options.json
            && !same
            && let Some(object) = self.object(event)
        {
            self.data(&text::json(&object.to_string()));
        }
    }

    /// What machines are told of an event; progress at most once a second for each change.
    fn object(&mut self, event: &Event) -> Option<Value> {
        match event {
            Event::Entry(entry) => Some(json!({ "v": 1, "seq": entry.seq, "at-ms": entry.at_ms, "entry": entry.entry })),
            Event::Progress(progress) => {
                let before = self.told.get(&progress.change);
                let fresh = before.is_none_or(|p| (progress.at_ms - p.at_ms).abs() >= 1000 || p.phase != progress.phase);
                fresh.then(|| {
                    self.told.insert(progress.change, progress.clone());
                    json!({ "v": 1, "progress": progress })
                })
            }
            Event::Gate(report) => Some(json!({ "v": 1, "gate": report })),
            Event::Changed(changed) => Some(json!({ "v": 1, "changed": changed })),
            Event::Waits { step, waits } => Some(json!({ "v": 1, "waits": waits, "step": step })),
            Event::Survey(lines) => Some(json!({ "v": 1, "survey": lines })),
            // A line has no room for layers; an answer is for somebody at another terminal.
            Event::Refused(_) | Event::Said { .. } | Event::Layers { .. } | Event::Answered { .. } => None,
        }
    }

    /// Data, on standard output.
    fn data(&mut self, line: &str) {
        if self.out {
            let mut stdout = std::io::stdout().lock();
            self.out = writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_ok();
        }
    }

    /// Remarks, on standard error: never mixed into the data.
    fn words(&self, lines: &[Line]) {
        lines.iter().filter(|line| !line.entry).for_each(|line| self.say(&line.printed()));
    }

    #[expect(clippy::unused_self, reason = "beside `data`, as its counterpart")]
    fn say(&self, words: &str) {
        let _ = writeln!(std::io::stderr(), "{}", text::page(words));
    }

    fn must_leave(&self) -> Option<Left> {
        let plan = self.account.state.plan.as_ref()?;
        match self.account.state.next() {
            Next::Gate(step) => {
                let gate = self.account.state.gate(step)?;
                let id = &plan.steps[step].id;
                if gate.ask != Ask::Nothing && !self.options.approved.contains(id) {
                    return Some(Left::GateNeedsAnswer(id.clone()));
                }
                let report = self.account.gate.as_ref().filter(|report| report.step == step && !report.problems.is_empty())?;
                if let Some(problem) = report.problems.iter().find(|problem| hold::is_hold(problem)) {
                    return Some(Left::Held(format!("{}: {}", problem.subject, problem.why)));
                }
                // A window opens by itself, and a brown-out ends by itself.
                if self.account.state.brown_out(step).is_some() {
                    return None;
                }
                if report.problems.iter().all(hold::is_early) {
                    return None;
                }
                let waited = self.options.wait.zip(self.waits_since);
                let tired = waited.is_some_and(|(wait, since)| since.elapsed() >= wait);
                (!gate.wait || tired).then(|| Left::GateClosed { step: id.clone(), preflight: gate.ask == Ask::Nothing })
            }
            Next::Canary(step) => {
                let id = format!("{}.canary", plan.steps[step].id);
                (!self.options.approved.contains(&id)).then_some(Left::GateNeedsAnswer(id))
            }
            Next::Stop(Stop::Failed(_)) => {
                let drift = self.account.state.causes().iter().all(|(fault, _)| fault.kind == FaultKind::Drift);
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
                let plan = self.account.state.plan.as_ref().map_or("", |plan| plan.plan.as_str());
                let what = match step.strip_suffix(".canary") {
                    Some(step) => format!("the canary of `{step}` is done and has to be approved"),
                    None => format!("the gate of `{step}` needs an answer"),
                };
                self.say(&format!("{what}: castoff resume, or --approve {step}={plan}"));
            }
            Left::GateClosed { step, .. } => {
                self.say(&format!("the gate of `{step}` does not open:"));
                for problem in self.account.gate.iter().flat_map(|gate| &gate.problems) {
                    let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
                    self.say(&format!("  {}: {}{hint}", text::clean(&problem.subject), text::clean(&problem.why)));
                }
            }
            Left::Changed(n) => {
                let plan = self.account.state.plan.as_ref().map_or("", |plan| plan.plan.as_str());
                let places = text::count(*n as u64, "place");
                self.say(&format!("others took back what this run had done, in {places}: nothing was begun"));
                self.say(&format!("hint: it goes on with --approve changed={plan}; what they took back is left as it is now"));
            }
            Left::Held(why) => {
                self.say(&text::clean(why));
                self.say("hint: a later end, on purpose: castoff resume --window 02:00-05:00; or castoff rollback");
            }
            Left::Failed { .. } | Left::Stuck => {
                let step = self.account.state.current_step().filter(|_| *left != Left::Stuck);
                if let Some(why) = step.and_then(|step| self.account.state.stopped_by(step)) {
                    self.say(&format!("the step stopped: {}; nothing more of it began", text::clean(&why)));
                }
                for (fault, ids) in self.account.state.causes() {
                    let Fault { what, why, hint, .. } = fault;
                    let (what, why) = (text::clean(&what), text::clean(&why));
                    self.say(&format!("error: {what}: {why} ({})", text::count(ids.len() as u64, "change")));
                    if let Some(hint) = hint {
                        self.say(&format!("hint: {}", text::clean(&hint)));
                    }
                }
            }
            Left::Finished(_) | Left::Stopped => {}
        }
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
