//! The conversation: what is asked and what is said. Pure: times come in, lines go out.
//! Never asks two things at once, and never asks for an answer that could not count yet.

use super::pages;
use super::words::{self, Place};
use super::{Left, Start};
use crate::account::Account;
use crate::model::{
    CANARY_SENTENCE, ChangeId, Command, Entry, Event, Gate, IllegalEntry, Next, OnHangup, Plan, Stop, hold, text,
};
use crate::report::{plan_text, window_text};
use std::sync::Arc;

/// Lines that come in this soon after a question were not meant for it.
pub const DEAF_MS: i64 = 400;

mod acts;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Plan,
    Resume,
    Gate(usize),
    /// The canary of this step is done.
    Canary(usize),
    Failed,
    Stuck,
    /// Why, before something heavy.
    Reason(Heavy),
    /// The name of the cluster, after the reason.
    Name(Heavy, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heavy {
    RollBack(usize),
    Abort,
}

/// How far the way out is; with the time at which it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    Stop(i64),
    Now,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, none excludes another")]
pub struct Talk {
    pub account: Account,
    plan: Arc<Plan>,
    run: String,
    simulated: bool,
    asked: Option<Asked>,
    /// Unix time in milliseconds at which the question was printed.
    asked_ms: i64,
    /// The question was made and is not printed yet.
    fresh: bool,
    /// It was said that lines typed too early do not count.
    deaf: bool,
    /// An answer is on its way to the engine.
    sent: bool,
    /// The run goes on, or has been asked to.
    begun: bool,
    put_off: Option<usize>,
    /// The gate whose wait was explained.
    explained: Option<usize>,
    /// The stop whose page was printed.
    shown: Option<Stop>,
    /// Failed changes about which a command was sent: one page when all of them are told, not one for each.
    awaited: Vec<ChangeId>,
    /// The first Ctrl-C while nothing is in flight.
    warned_ms: Option<i64>,
    leaving: Leaving,
    /// The terminal is lost: how far the run goes, and in which step it was.
    lost: Option<(OnHangup, Option<usize>)>,
    pub left: Option<Left>,
    out: Vec<String>,
    commands: Vec<Command>,
}

impl Talk {
    pub fn new(start: &Start, now_ms: i64) -> Result<Self, IllegalEntry> {
        let account = Account::new(&start.entries, now_ms)?;
        let mut talk = Self {
            plan: account.state.plan.as_ref().unwrap_or(&start.plan).clone(),
            account,
            run: start.run.clone(),
            simulated: start.simulated,
            asked: None,
            asked_ms: now_ms,
            fresh: false,
            deaf: false,
            sent: false,
            begun: false,
            put_off: None,
            explained: None,
            shown: None,
            awaited: vec![],
            warned_ms: None,
            leaving: Leaving::No,
            lost: None,
            left: None,
            out: vec![],
            commands: vec![],
        };
        talk.open(start, now_ms);
        Ok(talk)
    }

    /// The first page.
    fn open(&mut self, start: &Start, now_ms: i64) {
        if self.account.state.plan.is_some() {
            match start.rollback_to {
                Some(to) => self.ask_heavy(Heavy::RollBack(to)),
                None => self.out.push("The cluster is being looked at; nothing runs.".to_owned()),
            }
            return;
        }
        if self.simulated {
            self.out.push("REHEARSAL: the cluster is simulated, nothing real is touched.".to_owned());
        }
        self.out.extend(plan_text(&self.plan, start.width).lines().map(text::clean));
        if !self.plan.blockers.is_empty() || self.plan.is_empty() {
            let why = if self.plan.is_empty() { "there is nothing to do" } else { "this plan cannot be run" };
            self.out.push(format!("Nothing is asked: {why}. Nothing has been changed."));
            self.left = Some(Left::Stopped);
            return;
        }
        if let Some(window) = &start.window {
            let lines = window_text(&self.plan, &self.account.state, window, now_ms);
            self.out.extend(lines.lines().map(text::clean));
        }
        self.ask(Asked::Plan);
        self.out.push(format!("QUESTION: run this plan, {}? Nothing has been changed.", self.plan.plan));
        self.out.push("To begin, type: execute. To leave, type: leave. `help` lists every word.".to_owned());
    }

    /// What is to be printed, and what is to be asked of the engine.
    pub fn take(&mut self) -> (Vec<String>, Vec<Command>) {
        (std::mem::take(&mut self.out), std::mem::take(&mut self.commands))
    }

    /// Whether a question was just printed; from now on lines count for it.
    pub fn printed(&mut self, now_ms: i64) -> bool {
        let fresh = std::mem::take(&mut self.fresh);
        if fresh {
            self.asked_ms = now_ms;
        }
        fresh
    }

    /// Whether somebody has to read and answer before anything goes on.
    pub fn asks(&self) -> bool {
        self.asked.is_some() && !self.sent
    }

    /// Whether nothing is in flight and nothing is about to be.
    pub fn idle(&self) -> bool {
        let goes_on = matches!(self.account.state.next(), Next::Apply(_) | Next::Undo(_) | Next::Turn(_) | Next::Finish(_));
        !self.begun || (self.account.flying() == 0 && !goes_on)
    }

    pub fn begun(&self) -> bool {
        self.begun
    }

    /// Nobody reads and nobody can answer any more.
    pub fn detach(&mut self, how: OnHangup, now_ms: i64) {
        self.lost = Some((how, OnHangup::lost_in(&self.account.state)));
        if !self.begun {
            self.ended();
        }
        self.settle(now_ms);
    }

    /// One piece of news.
    pub fn event(&mut self, event: &Event, now_ms: i64) {
        let mut lines: Vec<String> = self.account.take(event, now_ms).iter().map(crate::account::Line::printed).collect();
        match event {
            Event::Entry(stamped) => match &stamped.entry {
                Entry::Planned { plan, .. } => self.plan = plan.clone(),
                Entry::GateReached { .. } | Entry::WaveReached { .. } => self.put_off = None,
                Entry::Finished { .. } | Entry::RollbackBegun { .. } => self.settled(),
                Entry::GateApproved { .. } if matches!(self.asked, Some(Asked::Gate(_))) => self.settled(),
                Entry::WavePassed { .. } if matches!(self.asked, Some(Asked::Canary(_))) => self.settled(),
                Entry::Retried { change, .. } | Entry::Skipped { change, .. } | Entry::UndoStarted { change } => {
                    self.awaited.retain(|id| id != change);
                }
                _ => {}
            },
            Event::Gate(report) if !report.problems.is_empty() => {
                let first = self.explained != Some(report.step);
                self.explain(report.step);
                if first && report.problems.iter().any(hold::is_hold) {
                    lines.push(
                        "HELD by the window. Type window END, as in window 04:30, to give it a later end, or: roll back"
                            .to_owned(),
                    );
                }
            }
            Event::Survey(_) => {
                self.out.append(&mut lines);
                if self.asked.is_none() && !self.begun {
                    let page = pages::resume(&self.account, &self.plan, now_ms);
                    self.ask(Asked::Resume);
                    self.out.extend(page);
                }
            }
            // What was refused is asked again.
            Event::Refused(_) => {
                self.sent = false;
                self.awaited.clear();
                self.asked =
                    self.asked.take().filter(|asked| !matches!(asked, Asked::Gate(_) | Asked::Canary(_) | Asked::Name(..)));
                self.shown = None;
            }
            _ => {}
        }
        self.out.append(&mut lines);
        self.settle(now_ms);
    }

    /// The clock went on.
    pub fn tick(&mut self, now_ms: i64) {
        let lines = self.account.tick(now_ms);
        self.out.extend(lines.iter().map(crate::account::Line::printed));
    }

    /// The engine's channel is closed: it has ended.
    pub fn ended(&mut self) {
        let over = self.account.state.finished.is_some();
        self.left.get_or_insert(if over { Left::Finished } else { Left::Stopped });
    }

    /// Says something that no event told.
    pub fn say(&mut self, words: &str) {
        self.out.push(words.to_owned());
    }

    /// After a suspension or an empty line: where the run is, and what is asked.
    pub fn where_we_are(&mut self, now_ms: i64) {
        let place = self.place();
        let words = words::short(place);
        let said = match (&self.asked, self.account.sign_of_life(now_ms)) {
            _ if self.sent => "Sent; it counts when the journal has it.".to_owned(),
            (Some(Asked::Gate(_) | Asked::Canary(_)), _) => {
                let sentence = self.sentence().unwrap_or_default();
                format!("Waiting for your answer. To do this, type exactly: {}", text::clean(&sentence))
            }
            (Some(Asked::Reason(_)), _) => "Waiting for a reason, in a few words.".to_owned(),
            (Some(Asked::Name(..)), _) => format!("Waiting for the name of the cluster: {}", text::clean(&self.plan.cluster)),
            (Some(_), _) => "Waiting for a word from you.".to_owned(),
            (None, Some(sign)) => sign,
            (None, None) => "Nothing needs you now.".to_owned(),
        };
        self.out.extend([said, format!("Possible words: {words}")]);
    }

    /// Brings up what the run wants a person to answer.
    fn settle(&mut self, now_ms: i64) {
        if let Some((how, lost_in)) = self.lost {
            if self.leaving == Leaving::No && self.left.is_none() && how.stops(&self.account.state, lost_in) {
                self.leave(now_ms);
            }
            return;
        }
        let heavy = matches!(self.asked, Some(Asked::Reason(_) | Asked::Name(..)));
        if !self.begun || heavy || self.leaving != Leaving::No || self.left.is_some() {
            return;
        }
        match self.account.state.next() {
            Next::Gate(step) => self.at_gate(step, now_ms),
            Next::Canary(step) => {
                if self.asked.is_none() && self.put_off != Some(step) && !self.sent {
                    self.out.extend(pages::canary(&self.account.state, &self.plan, step, now_ms));
                    self.out.extend(pages::ask(CANARY_SENTENCE));
                    self.ask(Asked::Canary(step));
                }
            }
            Next::Stop(stop) => {
                if self.shown.as_ref() != Some(&stop) && !self.sent && self.awaited.is_empty() {
                    self.show(&stop);
                    self.shown = Some(stop);
                }
            }
            _ => self.shown = None,
        }
    }

    /// A gate asks only while nothing stands against it: an answer counts on facts that hold.
    fn at_gate(&mut self, step: usize, now_ms: i64) {
        let holds = self.account.gate.as_ref().filter(|report| report.step == step).map(|report| report.problems.is_empty());
        let asks = self.gate(step).is_some_and(|gate| gate.ask != crate::model::Ask::Nothing);
        let open = self.asked == Some(Asked::Gate(step));
        match holds {
            Some(true) if asks && !open && self.put_off != Some(step) && !self.sent => {
                let mut page = pages::gate(&self.account, &self.plan, step, now_ms);
                page.extend(self.gate(step).map(|gate| pages::ask(&gate.sentence)).unwrap_or_default());
                self.out.extend(page);
                self.ask(Asked::Gate(step));
            }
            Some(false) if open => {
                self.settled();
                self.out.push("The question is closed: something is in the way again.".to_owned());
            }
            _ => {}
        }
    }

    fn explain(&mut self, step: usize) {
        if self.explained != Some(step) {
            self.explained = Some(step);
            let page = pages::waits(&self.plan, step);
            self.out.extend(page);
        }
    }

    fn show(&mut self, stop: &Stop) {
        match stop {
            Stop::Failed(_) => {
                self.out.extend(pages::failure(&self.account, &self.plan, false));
                self.ask(Asked::Failed);
            }
            Stop::Stuck => {
                self.out.extend(pages::failure(&self.account, &self.plan, true));
                self.ask(Asked::Stuck);
            }
            Stop::Paused => {
                self.out.push(format!("Paused. Possible words: {}", words::short(Place::Paused)));
            }
        }
    }

    /// Which words are possible.
    fn place(&self) -> Place {
        if self.leaving != Leaving::No {
            return Place::Leaving;
        }
        match &self.asked {
            Some(Asked::Plan) => return Place::Plan,
            Some(Asked::Resume) => return Place::Resume,
            Some(Asked::Gate(_)) => return Place::Gate,
            Some(Asked::Canary(_)) => return Place::Canary,
            Some(Asked::Failed) => return Place::Failed,
            Some(Asked::Stuck) => return Place::Stuck,
            Some(Asked::Reason(_) | Asked::Name(..)) => return Place::Asked,
            None => {}
        }
        match self.account.state.next() {
            Next::Gate(step) | Next::Canary(step) if self.put_off == Some(step) => Place::PutOff,
            Next::Gate(_) => Place::Waiting,
            Next::Stop(Stop::Paused) => Place::Paused,
            _ => Place::Running,
        }
    }

    /// What has to be typed for the act that is asked about.
    fn sentence(&self) -> Option<String> {
        match self.asked {
            Some(Asked::Gate(step)) => self.gate(step).map(|gate| gate.sentence.clone()),
            Some(Asked::Canary(_)) => Some(CANARY_SENTENCE.to_owned()),
            _ => None,
        }
    }

    fn gate(&self, step: usize) -> Option<&Gate> {
        self.plan.steps.get(step)?.gate.as_ref()
    }

    fn ask(&mut self, asked: Asked) {
        self.asked = Some(asked);
        self.sent = false;
        self.deaf = false;
        self.fresh = true;
    }

    /// What was asked is answered or gone.
    fn settled(&mut self) {
        self.asked = None;
        self.sent = false;
        self.fresh = false;
    }

    fn send(&mut self, command: Command) {
        self.commands.push(command);
    }
}
