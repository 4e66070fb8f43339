//! Layer 3: a run as an account, one line an event: the words that headless and plain print and `run.log` keeps.
//! Prints nothing, asks no clock, and never says what no event told.

use crate::model::{
    ChangeId, Entry, Event, GateReport, IllegalEntry, Level, Loads, Pace, Problem, Progress, Stamped, State, Status, SurveyLine,
    Wait, pace, text,
};
use crate::report::{clock, entry_text, status_text};
use std::{collections::BTreeMap, fmt::Write as _};

/// A silence this long is broken by a line that says how far the run is.
pub const SILENCE_MS: i64 = 10_000;
/// Growth of a step, in percent, that is worth a line; never more than one line a second.
const WORTH_PERCENT: u64 = 5;
const BREATH_MS: i64 = 1000;
/// More problems than this are counted, not listed.
const LISTED: usize = 20;
/// How many of the last counts of a waiting gate are told.
const COUNTS: usize = 8;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Unix time in milliseconds of what it tells.
    pub at_ms: i64,
    /// It tells an entry of the journal; the others are remarks beside it.
    pub entry: bool,
    pub text: String,
}

impl Line {
    fn remark(at_ms: i64, text: String) -> Self {
        Self { at_ms, entry: false, text }
    }

    /// As it is printed: `02:14:32  started   2.1 pull …`.
    pub fn printed(&self) -> String {
        format!("{}  {}", clock(self.at_ms), self.text)
    }
}

/// The run so far, and what was told of it.
#[derive(Debug, Default)]
pub struct Account {
    pub state: State,
    pub progress: BTreeMap<ChangeId, Progress>,
    /// How the checks of the waiting gate stand.
    pub gate: Option<GateReport>,
    /// Unix time in milliseconds of the first report of the waiting gate.
    pub waiting_since: Option<i64>,
    /// How many problems stood against the waiting gate, one count for each change of it.
    pub counts: Vec<usize>,
    /// What holds back changes of this step.
    pub waits: (usize, Vec<Wait>),
    pace: Pace,
    /// What every step has to do.
    loads: Loads,
    /// When the last line was made, and how far its step was then.
    told_ms: i64,
    told: Option<(usize, u64)>,
    /// When it was last looked how far the step is: not with every piece of progress, of which there are thousands a second.
    looked_ms: i64,
}

impl Account {
    /// Of a run with these entries; none for a new run.
    pub fn new(entries: &[Stamped], now_ms: i64) -> Result<Self, IllegalEntry> {
        let state = State::fold(entries)?;
        let loads = state.plan.as_deref().map(Loads::new).unwrap_or_default();
        Ok(Self { state, loads, told_ms: now_ms, ..Self::default() })
    }

    /// Folds an event in and tells it.
    pub fn take(&mut self, event: &Event, now_ms: i64) -> Vec<Line> {
        let lines = match event {
            Event::Entry(stamped) => vec![self.entry(stamped)],
            Event::Progress(progress) => {
                self.progress.insert(progress.change, progress.clone());
                return self.grown(now_ms);
            }
            Event::Waits { step, waits } => {
                self.waits = (*step, waits.clone());
                return vec![];
            }
            Event::Gate(report) => self.report(report),
            Event::Survey(lines) => lines.iter().map(|line| Line::remark(now_ms, survey_text(line))).collect(),
            Event::Changed(changed) => changed.iter().map(|problem| Line::remark(now_ms, changed_text(problem))).collect(),
            // A line has no room for layers; an answer is for somebody at another terminal.
            Event::Layers { .. } | Event::Answered { .. } => vec![],
            Event::Refused(why) => vec![Line::remark(now_ms, format!("not done: {}", text::clean(why)))],
            Event::Said { level, at_ms, place, text } => {
                let word = if *level == Level::Info { "" } else { "warning: " };
                vec![Line::remark(*at_ms, text::clean(format!("{word}{place} {text}").trim()))]
            }
        };
        if !lines.is_empty() {
            self.told_ms = now_ms;
        }
        lines
    }

    /// The clock went on: a line if nothing was told for ten seconds and something is under way or waited for.
    pub fn tick(&mut self, now_ms: i64) -> Vec<Line> {
        self.sample(now_ms);
        self.clock_is(now_ms);
        if !self.is_due(now_ms) {
            return vec![];
        }
        self.told_ms = now_ms;
        let sign = self.sign_of_life(now_ms);
        let beside = if sign.is_some() { self.beside() } else { vec![] };
        sign.into_iter().chain(beside).map(|text| Line::remark(now_ms, text)).collect()
    }

    /// Whether it has been silent for too long.
    pub fn is_due(&self, now_ms: i64) -> bool {
        now_ms - self.told_ms >= SILENCE_MS
    }

    /// A clock that was set back must not silence the account until it has caught up.
    fn clock_is(&mut self, now_ms: i64) {
        self.told_ms = self.told_ms.min(now_ms);
        self.looked_ms = self.looked_ms.min(now_ms);
    }

    fn entry(&mut self, stamped: &Stamped) -> Line {
        let at_ms = stamped.at_ms;
        if let Err(illegal) = self.state.apply(stamped) {
            return Line::remark(at_ms, format!("warning: {illegal}"));
        }
        if let Entry::Planned { plan, .. } = &stamped.entry {
            self.loads = Loads::new(plan);
        }
        self.gate = None;
        self.waiting_since = None;
        self.counts.clear();
        if let Entry::Done { change } | Entry::Failed { change, .. } = &stamped.entry {
            self.progress.remove(change);
        }
        Line { at_ms, entry: true, text: text::clean(&entry_text(&self.state, &stamped.entry)) }
    }

    /// What stands against the gate: whole at first, then who left and who came, and the count over time.
    fn report(&mut self, report: &GateReport) -> Vec<Line> {
        let at_ms = report.read_at_ms;
        self.waiting_since.get_or_insert(at_ms);
        let before = self.gate.replace(report.clone());
        let same = |one: &Problem, other: &Problem| one.subject == other.subject && one.place == other.place;
        let known = before.as_ref().map_or(&[][..], |gate| &gate.problems);
        let came: Vec<&Problem> = report.problems.iter().filter(|new| !known.iter().any(|old| same(old, new))).collect();
        let left = known.iter().filter(|old| !report.problems.iter().any(|new| same(old, new)));
        let mut out: Vec<String> = left.map(|problem| format!("no longer in the way: {}", problem.subject)).collect();
        out.extend(came.iter().take(LISTED).map(|problem| format!("waits for  {}", problem_text(problem, at_ms))));
        if came.len() > LISTED {
            out.push(format!("waits for  {} more", text::number((came.len() - LISTED) as u64)));
        }
        if self.counts.last().is_none_or(|n| *n != report.problems.len()) {
            self.counts.push(report.problems.len());
        }
        if !out.is_empty() && self.counts.len() > 1 {
            out.push(format!("in the way, over time: {}", self.over_time()));
        }
        out.into_iter().map(|text| Line::remark(at_ms, text::clean(&text))).collect()
    }

    /// `9 > 6 > 4`.
    pub fn over_time(&self) -> String {
        let first = self.counts.len().saturating_sub(COUNTS);
        self.counts[first..].iter().map(ToString::to_string).collect::<Vec<_>>().join(" > ")
    }

    /// A line when the running step has grown by enough since the last one.
    fn grown(&mut self, now_ms: i64) -> Vec<Line> {
        self.clock_is(now_ms);
        if now_ms - self.told_ms.max(self.looked_ms) < BREATH_MS {
            return vec![];
        }
        self.looked_ms = now_ms;
        let Some(step) = self.state.current_step() else { return vec![] };
        let percent = self.percent(step);
        let before = self.told.filter(|(told, _)| *told == step).map_or(0, |(_, percent)| percent);
        if percent < before + WORTH_PERCENT {
            return vec![];
        }
        self.told = Some((step, percent));
        self.told_ms = now_ms;
        self.sign_of_life(now_ms).map(|text| Line::remark(now_ms, text)).into_iter().collect()
    }

    /// How far a step is: by bytes where there are any, else by changes.
    fn percent(&self, step: usize) -> u64 {
        let Some(plan) = &self.state.plan else { return 0 };
        let (mut done, mut total) = pace::bytes(plan, &self.state, &self.progress, step);
        if total == 0 {
            let tally = self.state.tally(step);
            (done, total) = (tally.done + tally.found, tally.total());
        }
        (done * 100).checked_div(total).unwrap_or(0)
    }

    /// What runs and how far it is, or what is waited for, since when.
    pub fn sign_of_life(&self, now_ms: i64) -> Option<String> {
        let plan = self.state.plan.as_ref()?;
        if let (Some(gate), Some(since)) = (&self.gate, self.waiting_since)
            && let Some(first) = gate.problems.first()
        {
            if let Some(brown_out) = self.state.brown_out(gate.step) {
                return Some(brown_out.words(now_ms));
            }
            let n = text::count(gate.problems.len() as u64, "problem");
            let over_time = if self.counts.len() > 1 { format!(", over time {}", self.over_time()) } else { String::new() };
            let waited = text::duration(now_ms - since);
            return Some(text::clean(&format!("still waiting [{waited}]: {n}, first {}{over_time}", first.subject)));
        }
        let step = self.under_way()?;
        let tally = self.state.tally(step);
        let (done, total) = self.in_flight(step).fold((0, 0), |(done, total), p| (done + p.done, total + p.total));
        let bytes =
            if total > 0 { format!(", {} of {} in flight", text::bytes(done), text::bytes(total)) } else { String::new() };
        let title = text::clean(&plan.steps[step].title);
        if self.state.rolling_back.is_some() {
            return Some(format!("{title}: {} undone, {} being undone{bytes}", tally.undone, tally.running));
        }
        Some(format!(
            "{title}: {} done, {} running, {} to do, {} %{bytes}{}",
            tally.done + tally.found,
            tally.running,
            tally.waiting + tally.retrying,
            self.percent(step),
            self.rest(step, now_ms)
        ))
    }

    fn sample(&mut self, now_ms: i64) {
        let (Some(plan), Some(step)) = (&self.state.plan, self.under_way()) else { return };
        let (done, total) = pace::bytes(plan, &self.state, &self.progress, step);
        if total > 0 {
            self.pace.sample(step, now_ms, done);
        }
    }

    /// When the running step and the rest would end, and what is left of the window.
    fn rest(&self, step: usize, now_ms: i64) -> String {
        let Some(plan) = &self.state.plan else { return String::new() };
        let (done, total) = pace::bytes(plan, &self.state, &self.progress, step);
        let window = self.state.window.as_ref();
        let projection = self.loads.project(plan, &self.state, now_ms, self.pace.ends(step, done, total));
        let mut out = String::new();
        if let Some(end) = projection.steps.get(step).copied().flatten().filter(|end| end.measured) {
            let words =
                window.map_or_else(|| end.words(|ms| local(ms, "%H:%M"), &local(now_ms, "%Z")), |window| end.words_in(window));
            let _ = write!(out, "; ends {words}, if the rate holds");
        }
        let Some(window) = window else { return out };
        if let Some(rest) = projection.rest(Some(window), clock, "") {
            let _ = write!(out, "; the rest {}", rest.sentence());
        }
        let _ = write!(out, "; window {}", window.left(now_ms));
        out
    }

    /// Where the waves of the running step are, who is set aside, and what holds the others back.
    fn beside(&self) -> Vec<String> {
        const WIDTH: usize = 120;
        let Some(step) = self.under_way().filter(|_| self.state.rolling_back.is_none()) else { return vec![] };
        let waves = self.state.wave_line(step).into_iter().chain(self.state.aside_lines(step, WIDTH));
        waves.chain(self.held()).map(|line| format!("  {}", text::clean(&line))).collect()
    }

    /// What holds back changes of the running step.
    fn held(&self) -> Vec<String> {
        let (step, waits) = &self.waits;
        let here = self.under_way() == Some(*step);
        let words = |wait: &Wait| format!("{} wait: {}", text::number(wait.changes), text::clean(&wait.why));
        if here { waits.iter().map(words).collect() } else { vec![] }
    }

    /// The step with changes on their way.
    fn under_way(&self) -> Option<usize> {
        (0..self.state.steps.len()).find(|step| {
            let tally = self.state.tally(*step);
            tally.running + tally.retrying > 0
        })
    }

    fn in_flight(&self, step: usize) -> impl Iterator<Item = &Progress> {
        self.progress.values().filter(move |p| p.change.step == step && self.state.status(p.change).status == Status::Running)
    }

    /// Changes whose effect is on its way.
    pub fn flying(&self) -> u64 {
        (0..self.state.steps.len()).map(|step| self.state.tally(step).running).sum()
    }

    /// How the run stands, as a block: the steps, what is in flight with its last sign of life, what is waited for.
    pub fn status(&self, run: &str, now_ms: i64) -> Vec<String> {
        let holder = format!("this castoff, process {}", std::process::id());
        let mut out: Vec<String> = status_text(run, &self.state, Some(&holder)).lines().map(text::clean).collect();
        out.extend(self.flights(now_ms));
        out.extend(self.held());
        out.extend(self.sign_of_life(now_ms));
        out
    }

    /// Each change in flight: what, how far, and when it was last heard of.
    pub fn flights(&self, now_ms: i64) -> Vec<String> {
        let Some(plan) = &self.state.plan else { return vec![] };
        let mut out = vec![];
        for planned in plan.steps.iter().flat_map(|step| &step.changes) {
            let change = self.state.status(planned.id);
            let what = format!("{} {} {} on {}", planned.id, planned.kind, planned.subject, planned.place);
            let since = change.started_ms.map_or(now_ms, |at| at);
            let line = match (&change.status, self.progress.get(&planned.id)) {
                (Status::Running | Status::Undoing, Some(p)) if p.total > 0 => {
                    let far = if planned.change.size_bytes() > 0 {
                        format!("{} of {}", text::bytes(p.done), text::bytes(p.total))
                    } else {
                        format!("{} of {}", text::number(p.done), text::number(p.total))
                    };
                    format!("in flight  {what}: {} {far}, heard of {} ago", p.phase, text::age(now_ms - p.at_ms))
                }
                (Status::Running | Status::Undoing, Some(p)) if !p.phase.is_empty() => {
                    format!("in flight  {what}: {}, heard of {} ago", p.phase, text::age(now_ms - p.at_ms))
                }
                (Status::Running | Status::Undoing, _) => format!("in flight  {what}: begun {} ago", text::age(now_ms - since)),
                (Status::Retrying(why), _) => format!("will be tried again  {what}: {why}"),
                _ => continue,
            };
            out.push(text::clean(&line));
        }
        out
    }
}

/// A time of this machine's zone.
fn local(at_ms: i64, how: &str) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).map(|at| at.to_zoned(jiff::tz::TimeZone::system()));
    at.map(|at| at.strftime(how).to_string()).unwrap_or_default()
}

/// `session train-7 of kim on gpu-1: running, uses …, for 3 h 12 min`.
pub fn problem_text(problem: &Problem, now_ms: i64) -> String {
    let owner = problem.owner.as_ref().map_or_else(String::new, |owner| format!(" of {owner}"));
    let place = problem.place.as_ref().map_or_else(String::new, |place| format!(" on {place}"));
    let since = problem.since_ms.map_or_else(String::new, |since| format!(", for {}", text::age(now_ms - since)));
    text::clean(&format!("{}{owner}{place}: {}{since}", problem.subject, problem.why))
}

fn changed_text(problem: &Problem) -> String {
    let place = problem.place.as_ref().map_or_else(String::new, |place| format!(" on {place}"));
    text::clean(&format!("changed since: {}{place}: {}", problem.subject, problem.why))
}

fn survey_text(line: &SurveyLine) -> String {
    text::clean(&format!("step {:>2}  journal: {}; cluster: {}; {}", line.step + 1, line.journal, line.cluster, line.verdict))
}

/// The terminal is gone: what is still written goes nowhere, and nobody reads from it.
pub fn let_go() {
    if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}
