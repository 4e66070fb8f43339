//! What a typed line means now, and the ways out: words, sentences, reasons, Ctrl-C.
//! Never acts on an empty line, on a line typed before its question, or on anything but a whole word or sentence.

use super::super::words::{self, Place, Word};
use super::super::{Left, pages};
use super::{Asked, DEAF_MS, Heavy, Leaving, Talk};
use crate::model::{ChangeId, Command, Target, is_reason, text};

/// A second Ctrl-C within this time is meant.
const AGAIN_MS: i64 = 5000;

impl Talk {
    /// One typed line, with the time it came in.
    pub fn line(&mut self, line: &str, at_ms: i64, now_ms: i64) {
        self.warned_ms = None;
        if self.asks() && (self.fresh || at_ms < self.asked_ms + DEAF_MS) {
            // Said once a question: a pasted page must not hide it.
            if !std::mem::replace(&mut self.deaf, true) {
                self.out.push("What was typed before the question was there does not count.".to_owned());
            }
            return;
        }
        if line.is_empty() {
            self.where_we_are(now_ms);
            return;
        }
        if self.answer(line) {
            return;
        }
        match words::read(line, self.place()) {
            Ok(word) => self.obey(word, now_ms),
            Err(why) => self.out.push(why),
        }
        self.settle(now_ms);
    }

    /// A sentence, a reason or a name, where one is asked for. Whether the line was taken.
    fn answer(&mut self, line: &str) -> bool {
        let is_word = |place| words::read(line, place).is_ok();
        match self.asked.clone().filter(|_| !self.sent) {
            Some(Asked::Gate(step) | Asked::Canary(step)) => {
                if self.sentence().as_deref() != Some(line) {
                    return false;
                }
                let (plan, typed) = (self.plan.plan.clone(), line.to_owned());
                self.send(match self.asked {
                    Some(Asked::Canary(_)) => Command::ApproveCanary { step, plan, typed },
                    _ => Command::Approve { step, plan, typed },
                });
                self.sent = true;
                self.out.push("Sent; it counts when the journal has it.".to_owned());
            }
            Some(Asked::Reason(heavy)) if !is_word(Place::Asked) => {
                if !is_reason(line) {
                    self.out.push("A reason is needed, in a few words.".to_owned());
                    return true;
                }
                self.ask(Asked::Name(heavy, line.to_owned()));
                self.out.push(format!("To do this, type exactly the name of the cluster: {}", text::clean(&self.plan.cluster)));
                self.out.push("To leave it, type: not now".to_owned());
            }
            Some(Asked::Name(heavy, why)) if line == self.plan.cluster => {
                self.begun = true;
                self.sent = true;
                self.out.push("Sent; it counts when the journal has it.".to_owned());
                self.send(match heavy {
                    Heavy::RollBack(to) => Command::RollBack { to, why },
                    Heavy::Abort => Command::Abort { why },
                });
            }
            Some(Asked::Name(..)) if !is_word(Place::Asked) => {
                let name = text::clean(&self.plan.cluster);
                self.out.push(format!("This is not it, letter by letter: {name}. To leave it, type: not now"));
            }
            _ => return false,
        }
        true
    }

    fn obey(&mut self, word: Word, now_ms: i64) {
        match word {
            Word::Execute | Word::Continue => {
                self.begun = true;
                self.settled();
                self.send(Command::Begin);
                self.out.push("The engine is asked to begin.".to_owned());
            }
            Word::Verify => {
                self.out.push("The cluster is being looked at again.".to_owned());
                // What it finds is told before the question is asked again.
                self.settled();
                self.send(Command::Verify);
            }
            Word::GoOn => self.send(Command::Continue),
            Word::Pause if self.place() == Place::Failed => self.leave(now_ms),
            Word::Pause => self.send(Command::Pause),
            Word::Retry(cause) => {
                if let Some(ids) = self.target(cause, true) {
                    self.chosen(&ids);
                    self.send(Command::Retry(Target::Changes(ids)));
                }
            }
            Word::Skip(cause, why) => {
                if !is_reason(&why) {
                    self.out.push("A reason is needed, in a few words: skip REASON, or skip CAUSE REASON.".to_owned());
                } else if let Some(ids) = self.target(cause, false) {
                    self.chosen(&ids);
                    self.send(Command::Skip { target: Target::Changes(ids), why });
                }
            }
            Word::RollBack(step) => self.roll_back(step),
            Word::Abort => self.ask_heavy(Heavy::Abort),
            Word::NotNow => self.not_now(),
            Word::Ask => self.put_off = None,
            Word::Check => {
                self.out.push("The cluster is being read again.".to_owned());
                self.send(Command::Recheck);
            }
            Word::Limit(change) => self.send(Command::SetLimit(change)),
            Word::Window(end) => self.move_window(&end, now_ms),
            Word::Stop => self.leave(now_ms),
            Word::StopNow => self.stop_now(),
            Word::Status => self.status(now_ms),
            Word::Why => {
                self.where_we_are(now_ms);
                let lines = pages::why(&self.account, &self.plan, now_ms);
                self.out.extend(lines);
            }
            Word::Help => {
                self.out.push("Words possible now; each is typed whole, then enter:".to_owned());
                self.out.extend(words::list(self.place()));
                self.out.extend(self.sentence().map(|sentence| pages::ask(&sentence)).unwrap_or_default());
            }
        }
    }

    fn move_window(&mut self, end: &str, now_ms: i64) {
        match self.account.state.window.as_ref().map(|window| window.moved(end, now_ms)) {
            Some(Ok(window)) => self.send(Command::MoveWindow { window }),
            Some(Err(wrong)) => self.out.push(text::clean(&wrong.to_string())),
            None => {
                let words = format!("This run has no window: castoff resume {} --window 02:00-04:00 gives it one.", self.run);
                self.out.push(words);
            }
        }
    }

    fn status(&mut self, now_ms: i64) {
        let lines = if self.account.state.plan.is_some() {
            self.account.status(&self.run, now_ms)
        } else {
            vec!["Nothing has been begun; nothing has been changed.".to_owned()]
        };
        self.out.extend(lines);
    }

    /// The changes that are meant: of one cause, or of all.
    fn target(&mut self, cause: Option<usize>, all: bool) -> Option<Vec<ChangeId>> {
        let causes = self.account.state.causes();
        let one = |n: usize| causes.get(n.wrapping_sub(1)).map(|(_, ids)| ids.clone());
        let ids = match cause {
            Some(n) => one(n),
            None if all || causes.len() == 1 => Some(causes.iter().flat_map(|(_, ids)| ids.clone()).collect()),
            None => None,
        };
        if ids.is_none() {
            let n = causes.len();
            self.out.push(format!("There are {}: name one by its number, 1 to {n}.", text::count(n as u64, "cause")));
        }
        ids
    }

    /// A command about these failed changes is on its way.
    fn chosen(&mut self, ids: &[ChangeId]) {
        self.settled();
        self.shown = None;
        self.awaited = ids.to_vec();
    }

    fn roll_back(&mut self, step: Option<usize>) {
        let state = &self.account.state;
        let undoable = state.undoable();
        let rolling = state.rolling_back.is_some() && state.finished.is_none();
        let to = match step {
            _ if rolling => Err("The rollback is going on already.".to_owned()),
            _ if undoable.is_empty() => Err("This run has changed nothing that could be undone.".to_owned()),
            None => Ok(undoable[0]),
            Some(n) if (1..=state.steps.len()).contains(&n) => Ok(n - 1),
            Some(n) => Err(format!("There is no step {n}.")),
        };
        match to {
            Ok(to) => self.ask_heavy(Heavy::RollBack(to)),
            Err(why) => self.out.push(why),
        }
    }

    pub(super) fn ask_heavy(&mut self, heavy: Heavy) {
        let page = match heavy {
            Heavy::RollBack(to) => pages::rollback(&self.account.state, &self.plan, to),
            Heavy::Abort => pages::abort(&self.account.state),
        };
        self.out.extend(page);
        self.out.push("Say why, in a few words, for the journal. To leave it, type: not now".to_owned());
        self.ask(Asked::Reason(heavy));
    }

    /// Closes the question. What stood behind it is asked again; a gate is put off.
    fn not_now(&mut self) {
        match self.asked.take() {
            Some(Asked::Gate(step) | Asked::Canary(step)) => {
                self.put_off = Some(step);
                self.out.push("Not now: the run waits here, nothing is running. Type ask for the question, or leave.".to_owned());
            }
            _ if !self.begun => {
                self.out.push("Nothing has been begun.".to_owned());
                self.left = Some(Left::Stopped);
            }
            _ => {
                self.out.push("Not now: nothing is done.".to_owned());
                self.shown = None;
            }
        }
    }

    /// The safe stop, from wherever it is asked.
    pub fn leave(&mut self, now_ms: i64) {
        if !self.begun || self.account.state.finished.is_some() {
            self.ended();
            return;
        }
        if self.leaving == Leaving::Now {
            return;
        }
        self.leaving = Leaving::Stop(now_ms);
        self.settled();
        let n = self.account.flying();
        self.out.push(if n > 0 {
            let n = text::count(n, "change");
            format!("Stopping: {n} in flight will be finished and written first, in 20 s at most. Ctrl-C again within 5 s, or `stop now`, stops at once.")
        } else {
            "Stopping: the journal is written, then castoff leaves.".to_owned()
        });
        self.send(Command::Stop);
    }

    /// At once: the journal makes it safe.
    pub fn stop_now(&mut self) {
        self.leaving = Leaving::Now;
        let n = text::count(self.account.flying(), "change");
        self.out.push(format!("Stopping at once: {n} on the way, the outcome is looked up on resume."));
        self.send(Command::StopNow);
    }

    /// Ctrl-C, in its three degrees.
    pub fn interrupt(&mut self, now_ms: i64) {
        match self.leaving {
            _ if !self.begun || self.account.state.finished.is_some() => self.ended(),
            Leaving::Now => self.left = Some(Left::Signal(2)),
            Leaving::Stop(asked) if now_ms - asked <= AGAIN_MS => self.stop_now(),
            Leaving::Stop(_) => self.leave(now_ms),
            Leaving::No if self.idle() && self.warned_ms.is_none_or(|at| now_ms - at > AGAIN_MS) => {
                self.warned_ms = Some(now_ms);
                if matches!(self.asked, Some(Asked::Reason(_) | Asked::Name(..))) {
                    self.not_now();
                    self.settle(now_ms);
                }
                self.out.push("Nothing is in flight. Ctrl-C again within 5 s leaves; the run can be resumed.".to_owned());
            }
            Leaving::No => self.leave(now_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Entry, Event, OnHangup, Stamped};
    use crate::plain::Start;

    fn talk() -> Talk {
        let (name, runbook) = crate::runbook::SHIPPED[0];
        let runbook = crate::runbook::Runbook::parse(name, runbook, &[]).unwrap();
        let plan = runbook.plan(&crate::cluster::sim::demo(0)).unwrap().0;
        let start = Start {
            plan: std::sync::Arc::new(plan),
            entries: vec![],
            run: "r".to_owned(),
            simulated: false,
            rollback_to: None,
            window: None,
            width: 80,
            color: false,
            on_hangup: OnHangup::default(),
        };
        Talk::new(&start, 0).unwrap()
    }

    fn hears(talk: &mut Talk, entries: Vec<Entry>) {
        for entry in entries {
            let stamped = Stamped { seq: talk.account.state.seq + 1, at_ms: 1, entry };
            talk.event(&Event::Entry(stamped), 1);
        }
    }

    /// A run in which the first two changes of step 2 are in flight.
    fn pulling() -> Talk {
        let mut talk = talk();
        talk.take();
        talk.printed(0);
        talk.line("execute", 1000, 1000);
        assert_eq!(talk.take().1, [Command::Begin]);
        let plan = talk.plan.clone();
        let by = || "kim".to_owned();
        let pass = |step| Entry::GateApproved { step, by: by(), plan: plan.plan.clone(), typed: String::new() };
        let wave = Entry::WaveReached { step: 1, wave: 0 };
        let started = |n| Entry::Started { change: ChangeId { step: 1, n } };
        let entries = vec![Entry::Planned { plan: plan.clone(), by: by() }, pass(0), pass(1), wave, started(0), started(1)];
        hears(&mut talk, entries);
        talk.take();
        talk
    }

    fn after(talk: &mut Talk, at_ms: i64) -> (String, Vec<Command>) {
        talk.interrupt(at_ms);
        let (lines, commands) = talk.take();
        (lines.join("\n"), commands)
    }

    #[test]
    fn ctrl_c_has_three_degrees_while_changes_are_in_flight() {
        let mut talk = pulling();
        let (said, commands) = after(&mut talk, 10_000);
        assert!(said.starts_with("Stopping: 2 changes in flight will be finished and written first, in 20 s at most."), "{said}");
        assert_eq!(commands, [Command::Stop]);
        let (said, commands) = after(&mut talk, 12_000);
        assert!(said.contains("2 changes on the way, the outcome is looked up on resume"), "{said}");
        assert_eq!(commands, [Command::StopNow]);
        assert_eq!(talk.left, None);
        after(&mut talk, 13_000);
        assert_eq!(talk.left, Some(Left::Signal(2)));
    }

    #[test]
    fn a_second_ctrl_c_is_meant_only_within_five_seconds() {
        let mut talk = pulling();
        after(&mut talk, 10_000);
        assert_eq!(after(&mut talk, 16_000).1, [Command::Stop]);
        assert_eq!(after(&mut talk, 17_000).1, [Command::StopNow]);
    }

    #[test]
    fn ctrl_c_at_a_question_warns_first_and_at_the_plan_leaves() {
        let mut talk = pulling();
        let done = |n| Entry::Done { change: ChangeId { step: 1, n } };
        hears(&mut talk, vec![done(0), done(1), Entry::Paused { why: "asked for".to_owned(), by: "kim".to_owned() }]);
        let (said, commands) = after(&mut talk, 10_000);
        assert!(said.contains("Nothing is in flight. Ctrl-C again within 5 s leaves"), "{said}");
        assert_eq!(commands, []);
        assert_eq!(after(&mut talk, 20_000).1, [], "too late: it warns again");
        assert_eq!(after(&mut talk, 21_000).1, [Command::Stop]);
        let mut talk = self::talk();
        after(&mut talk, 10);
        assert_eq!(talk.left, Some(Left::Stopped));
    }

    #[test]
    fn an_empty_line_acts_nowhere() {
        for mut talk in [talk(), pulling()] {
            talk.printed(0);
            talk.take();
            talk.line("", 5000, 5000);
            let (lines, commands) = talk.take();
            assert_eq!(commands, []);
            assert!(lines.iter().any(|line| line.starts_with("Possible words: ")), "{lines:?}");
            assert_eq!(talk.left, None);
        }
    }
}
