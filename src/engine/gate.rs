//! The gate a run waits at: its checks are asked of the cluster, again and again while it waits, and an answer counts
//! only for this plan, with the exact sentence, on facts that hold now.

use super::{Engine, EngineError, worker::Report};
use crate::model::{Ask, Entry, Event, Gate, GateReport, Inventory, Next, Problem, brown_out::seen};
use std::time::Duration;
use tokio::time::Instant;

/// The watch over the gate that waits.
pub struct GateWatch {
    every: Duration,
    next_check: Option<Instant>,
    /// The gate for which the cluster is being read.
    reading: Option<usize>,
    /// When the newest reading began, by the wall clock too: what it found is true of then.
    asked: (i64, Instant),
    /// The newest report, for the gate of this step.
    report: Option<GateReport>,
    /// Since when this process stands at the gate: a brown-out ends in time also if the clock is set back.
    began: Instant,
    /// An answer that waits for facts that are fresh: what was typed.
    answer: Option<String>,
}

impl GateWatch {
    pub fn new(every: Duration) -> Self {
        Self {
            every,
            next_check: None,
            reading: None,
            asked: (0, Instant::now()),
            report: None,
            began: Instant::now(),
            answer: None,
        }
    }

    pub fn next_check(&self) -> Option<Instant> {
        self.next_check.filter(|_| self.reading.is_none())
    }

    pub fn ask_again(&mut self) {
        self.next_check = Some(Instant::now());
    }

    fn clear(&mut self) {
        *self = Self::new(self.every);
    }
}

impl Engine {
    /// Called while the gate of `step` is what comes next.
    pub(super) async fn stand_at_gate(&mut self, step: usize) -> Result<(), EngineError> {
        if self.state.steps[step].gate_reached_ms.is_none() {
            self.gate.clear();
            self.write(vec![Entry::GateReached { step }]).await?;
        }
        let gate = self.state.gate(step).expect("the state waits at it").clone();
        if self.gate.report.as_ref().is_some_and(|report| report.step != step) {
            self.gate.clear();
        }
        let due = self.gate.next_check.is_none_or(|at| Instant::now() >= at);
        if due && self.gate.reading.is_none() {
            if gate.checks.is_empty() {
                // A window comes nearer by itself.
                let every = if self.state.window.is_some() { self.gate.every } else { Duration::from_hours(1) };
                self.gate.next_check = Some(Instant::now() + every);
                self.tell(step, vec![]).await;
            } else {
                self.gate.reading = Some(step);
                self.gate.asked = ((self.setup.now_ms)(), Instant::now());
                self.gate.next_check = None;
                let (cluster, to, wants) = (self.setup.cluster.clone(), self.report_to.clone(), gate.wants());
                tokio::spawn(async move {
                    let inventory = Box::new(cluster.read(&wants).await);
                    let _ = to.send(Report::Gate { step, inventory }).await;
                });
            }
        }
        self.pass_if_clear(step, &gate).await
    }

    /// The cluster was read for the gate of `step`.
    pub(super) async fn gate_was_read(&mut self, step: usize, inventory: &Inventory) -> Result<(), EngineError> {
        // A reading that was begun for an earlier gate says nothing about this one, and must not cost its answer.
        if self.gate.reading != Some(step) {
            return Ok(());
        }
        self.gate.reading = None;
        // Paused meanwhile: it is read anew when the run goes on.
        if !matches!(self.state.next(), Next::Gate(at) if at == step) {
            return Ok(());
        }
        let (now, every) = (Instant::now(), self.gate.every);
        // A brown-out ends with a reading of its own, which sees who was refused at last.
        let end = self.dark(step).map_or(every, |_| self.darkness(step).saturating_sub(self.gate.began.elapsed()));
        self.gate.next_check = Some(now + every.min(end));
        if let Some(gate) = self.state.gate(step) {
            let problems = gate.problems(inventory);
            self.write_seen(step, inventory).await?;
            self.tell(step, problems).await;
        }
        Ok(())
    }

    /// What a brown-out has brought to light since the last look.
    async fn write_seen(&mut self, step: usize, inventory: &Inventory) -> Result<(), EngineError> {
        let Some(brown_out) = self.state.brown_out(step) else { return Ok(()) };
        let mut new = seen(inventory, brown_out.since_ms);
        new.retain(|problem| !brown_out.seen.contains(problem));
        self.write(new.into_iter().map(|problem| Entry::Seen { step, problem }).collect()).await
    }

    /// How long the brown-out of this gate lasts.
    fn darkness(&self, step: usize) -> Duration {
        let lasts_ms = self.state.brown_out(step).map_or(0, |brown_out| brown_out.until_ms - brown_out.since_ms);
        Duration::from_millis(u64::try_from(lasts_ms).unwrap_or(0))
    }

    /// The time of a brown-out, by the wall clock or by the time that was waited here, whichever is over first. It lasts until
    /// a reading that began after it: who was refused in between is told too.
    fn dark(&self, step: usize) -> Option<Problem> {
        let (at_ms, at) = self.gate.asked;
        let waited = at.saturating_duration_since(self.gate.began) >= self.darkness(step);
        self.state.brown_out(step)?.problem(at_ms).filter(|_| !waited)
    }

    /// What stands against a gate: its checks, the window, and the time of a brown-out.
    async fn tell(&mut self, step: usize, mut problems: Vec<Problem>) {
        problems.extend(self.window_at_gate(step));
        problems.extend(self.dark(step));
        let report = GateReport { step, problems, read_at_ms: (self.setup.now_ms)() };
        self.gate.report = Some(report.clone());
        let _ = self.setup.events.send(Event::Gate(report)).await;
    }

    /// A gate opens by its checks alone where nothing is asked, by an answer given ahead, or by a person's answer.
    async fn pass_if_clear(&mut self, step: usize, gate: &Gate) -> Result<(), EngineError> {
        let Some(report) = self.gate.report.as_ref().filter(|report| report.step == step) else { return Ok(()) };
        if !report.problems.is_empty() {
            if self.gate.answer.take().is_some() {
                let first = &report.problems[0];
                let why = format!("the gate does not open: {} {}", first.subject, first.why);
                self.refuse(&why).await;
            }
            return Ok(());
        }
        let plan = self.plan().plan.clone();
        let ahead = self.setup.approvals.get(&self.plan().steps[step].id).filter(|id| **id == plan);
        let (by, typed) = if gate.ask == Ask::Nothing {
            ("its checks".to_owned(), String::new())
        } else if let Some(typed) = self.gate.answer.take() {
            (self.setup.by.clone(), typed)
        } else if ahead.is_some() {
            (self.setup.by.clone(), format!("--approve {}={plan}", self.plan().steps[step].id))
        } else {
            return Ok(());
        };
        self.gate.clear();
        self.write(vec![Entry::GateApproved { step, by, plan, typed }]).await
    }

    pub(super) async fn answer_gate(&mut self, step: usize, plan: &str, typed: &str) -> Result<(), EngineError> {
        let waiting = matches!(self.state.next(), Next::Gate(at) if at == step);
        let Some(gate) = self.state.gate(step).filter(|_| waiting).cloned() else {
            self.refuse("this gate does not wait for an answer").await;
            return Ok(());
        };
        if plan != self.plan().plan {
            self.refuse("the answer is for another plan").await;
        } else if gate.ask == Ask::Nothing {
            self.refuse("this gate opens by itself when its checks hold").await;
        } else if typed != gate.sentence {
            self.refuse("the sentence is not complete").await;
        } else {
            self.gate.answer = Some(typed.to_owned());
            if gate.checks.is_empty() {
                self.tell(step, vec![]).await;
                return self.pass_if_clear(step, &gate).await;
            }
            // What was true when the operator looked has an age: it is read once more before the act.
            self.gate.report = None;
            self.gate.ask_again();
        }
        Ok(())
    }
}
