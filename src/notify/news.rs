//! Which events are worth a notice, and its words. A fold like every other: it asks nobody and sends nothing.

use super::Run;
use crate::model::{Event, GateReport, Need, Next, Outcome, Stamped, State, need, question, text};
use serde::Serialize;

/// A wait longer than this is told, once for each gate.
const PATIENCE_MS: i64 = 15 * 60_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Question,
    Waits,
    Failed,
    Stuck,
    Done,
    RolledBack,
    Aborted,
    Interrupted,
}

/// What is sent; the module's documentation shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Notice {
    pub v: u32,
    pub what: What,
    pub run: String,
    pub cluster: String,
    pub step: Option<String>,
    pub sentence: String,
    pub at: String,
}

pub struct News {
    run: Run,
    state: State,
    report: Option<GateReport>,
    /// What was told already: the same need is one notice.
    told: Option<Need>,
    /// The gate that was told, and when it was reached: checks may come and go while it waits.
    asked: Option<(usize, Option<i64>)>,
    /// The gate whose long wait was told.
    waited: Option<usize>,
}

impl News {
    /// A resumed run says nothing about what its operator has just been looking at.
    pub fn new(run: Run, entries: &[Stamped]) -> Self {
        let state = State::fold(entries).unwrap_or_default();
        let told = need(&state, None);
        Self { run, state, report: None, told, asked: None, waited: None }
    }

    pub fn event(&mut self, event: &Event) -> Option<Notice> {
        match event {
            Event::Entry(stamped) => {
                self.state.apply(stamped).ok()?;
                if !matches!(self.state.next(), Next::Gate(_)) {
                    self.report = None;
                }
            }
            Event::Gate(report) => self.report = Some(report.clone()),
            _ => return None,
        }
        let now = need(&self.state, self.report.as_ref());
        if now == self.told {
            return None;
        }
        self.told.clone_from(&now);
        let what = match now? {
            Need::Question(step) => {
                let gate = Some((step, self.state.steps[step].gate_reached_ms));
                if self.asked == gate {
                    return None;
                }
                self.asked = gate;
                What::Question
            }
            Need::Canary(_) | Need::Window(_) => What::Question,
            Need::Failed(_) => What::Failed,
            Need::Stuck => What::Stuck,
            Need::Over(Outcome::Done | Outcome::DoneWithSkips) => What::Done,
            Need::Over(Outcome::RolledBack) => What::RolledBack,
            Need::Over(Outcome::Aborted(_)) => What::Aborted,
        };
        Some(self.about(what))
    }

    /// Time goes by: a gate may wait for too long.
    pub fn tick(&mut self) -> Option<Notice> {
        let Next::Gate(step) = self.state.next() else { return None };
        let since = self.state.steps[step].gate_reached_ms?;
        let held = self.report.as_ref().is_some_and(|report| report.step == step && !report.problems.is_empty());
        if !held || self.waited == Some(step) || (self.run.now_ms)() - since < PATIENCE_MS {
            return None;
        }
        self.waited = Some(step);
        Some(self.about(What::Waits))
    }

    pub fn about(&self, what: What) -> Notice {
        let at = jiff::Timestamp::from_millisecond((self.run.now_ms)()).unwrap_or_default();
        let step = match self.state.next() {
            Next::Gate(step) | Next::Canary(step) | Next::Stop(crate::model::Stop::Failed(step)) => Some(step),
            _ => self.state.causes().first().and_then(|(_, ids)| ids.first()).map(|id| id.step),
        };
        let step = step.filter(|_| matches!(what, What::Question | What::Waits | What::Failed | What::Stuck));
        let plan = self.state.plan.as_ref();
        Notice {
            v: 1,
            what,
            run: self.run.run.clone(),
            cluster: self.run.cluster.clone(),
            step: step.and_then(|step| plan?.steps.get(step)).map(|step| text::clean(&step.id)),
            sentence: text::clean(&self.sentence(what, step)),
            at: at.to_string(),
        }
    }

    fn sentence(&self, what: What, step: Option<usize>) -> String {
        let named = step.and_then(|step| {
            let title = &self.state.plan.as_ref()?.steps.get(step)?.title;
            Some(format!("Step {}, {title},", step + 1))
        });
        let named = named.unwrap_or_else(|| "The run".to_owned());
        let cause = || {
            let causes = self.state.causes();
            let first = causes.first().map_or("", |(fault, _)| fault.why.as_str()).to_owned();
            let n: usize = causes.iter().map(|(_, ids)| ids.len()).sum();
            (text::count(n as u64, "change"), first)
        };
        let run = &self.run.run;
        match what {
            What::Question if matches!(self.state.next(), Next::Canary(_)) => {
                format!("{named} holds after its canary: the others wait for your answer.")
            }
            What::Question => {
                let (n, all) = question(&self.state, step.unwrap_or_default());
                format!("{named} waits for your answer: question {n} of {all}. Nothing is running.")
            }
            What::Waits => {
                let problems = self.report.as_ref().map_or(&[][..], |report| &report.problems);
                let first = problems.first().map_or_else(String::new, |p| format!(", first {}: {}", p.subject, p.why));
                let n = text::count(problems.len() as u64, "problem");
                format!("{named} has waited for {}: {n} in the way{first}.", text::age(PATIENCE_MS))
            }
            What::Failed => {
                let (n, why) = cause();
                format!("{named} failed: {n}, {why}. Nothing else starts until somebody chooses.")
            }
            What::Stuck => {
                let (n, why) = cause();
                format!("{named} is stuck: {n} could not be undone, {why}. A human is needed.")
            }
            What::Done if self.state.finished == Some(Outcome::DoneWithSkips) => {
                "The run is over: done, with changes left out.".to_owned()
            }
            What::Done => "The run is over: done.".to_owned(),
            What::RolledBack => "The run is over: rolled back.".to_owned(),
            What::Aborted => match &self.state.finished {
                Some(Outcome::Aborted(why)) => format!("The run is over: aborted, {why}."),
                _ => "The run is over: aborted.".to_owned(),
            },
            What::Interrupted => format!("The run was interrupted; castoff resume {run} goes on with it."),
        }
    }
}
