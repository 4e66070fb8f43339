//! The interface's own state: the run as the journal tells it, and what the operator looks at.
//! Never draws, never asks the clock: times come in with keys, events and ticks.

use super::cells::Cells;
use super::copy::Wish;
use super::facts::Facts;
use super::find::Find;
use super::grid::{Grid, Stand};
use super::lines::{Line, Lines, of_entry};
use super::palette::Palette;
use super::question::{Field, HELD, NOT_YET, Purpose, Question};
use super::sieve::LogView;
use super::theme::Look;
use super::{Left, Start, Watching};
use crate::model::{
    Ask, ChangeId, Command, Entry, Event, Fault, GateReport, Level, Loads, Need, Next, Pace, Plan, Problem, Progress, Projection,
    Stamped, State, Stop, SurveyLine, Wait, Window, hold, text,
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// No sign of life for this long is called a stall.
pub const STALLED_MS: i64 = 60_000;

/// What fills the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    Plan,
    Overview,
    /// The changes of the selected step.
    Changes,
    /// The same as a grid of hosts and images.
    Matrix,
    /// One change of it.
    Cell,
    Log,
    Notes,
    Ledger,
    /// The selected change before and after.
    Diff,
    /// Every request of the selected step.
    Explain,
    Failure,
    /// A gate that waits for its checks and asks nobody.
    Waiting,
    Resume,
    End,
    /// Another castoff holds the lock that was wanted.
    Held,
}

/// What lies over it and takes the keys.
#[derive(Clone, Debug)]
pub enum Popup {
    Help,
    Leave,
    /// More than one cause: which is meant?
    Retry {
        opened_ms: i64,
    },
    Question(Question),
    /// The castoff of a run that was watched.
    Gone,
}

/// How far the way out is; with the time at which it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    No,
    Stop(i64),
    Now(i64),
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, none excludes another")]
pub struct App {
    pub plan: Arc<Plan>,
    pub state: State,
    pub run: String,
    pub simulated: bool,
    pub folder: PathBuf,
    pub journal: String,
    /// Variables that no program it starts must see.
    pub hidden: Vec<String>,
    pub look: Look,
    pub now_ms: i64,
    /// Columns and rows.
    pub size: (u16, u16),
    pub screen: Screen,
    /// Where `esc` goes.
    pub behind: Vec<Screen>,
    pub popup: Option<Popup>,
    /// Selected step, change of it, and cause of failure.
    pub step: usize,
    pub change: usize,
    pub cause: usize,
    /// The selection goes with the running step until the operator moves it.
    pub follows: bool,
    /// First line of the notes, the ledger, the help or a waiting page.
    pub scroll: usize,
    pub failed_only: bool,
    pub log: LogView,
    /// Long lines of the diff are broken, not cut.
    pub wrap: bool,
    pub find: Option<Find>,
    pub palette: Option<Palette>,
    /// First line of the help.
    pub help_at: usize,
    pub progress: BTreeMap<ChangeId, Progress>,
    /// Bytes on their way, by step: kept with `progress`.
    pub arriving: BTreeMap<usize, u64>,
    /// What the plan says of each step.
    pub facts: Vec<Facts>,
    /// Grids of the steps that are about images on hosts, and what the eye does there.
    pub cells: Cells,
    pub pace: Pace,
    /// What every step has to do, and when the rest would end; reckoned once a second.
    pub loads: Loads,
    pub projection: Projection,
    /// The window that was given at the start; once the journal has one, that counts.
    pub given: Option<Window>,
    pub report: Option<GateReport>,
    /// What holds back changes of this step.
    pub waits: (usize, Vec<Wait>),
    /// How many problems stood against the waiting gate: (unix time in milliseconds, count).
    pub counts: Vec<(i64, usize)>,
    pub survey: Option<Vec<SurveyLine>>,
    /// What others changed since, once the cluster was looked at.
    pub changed: Option<Vec<Problem>>,
    pub lines: Lines,
    /// One line where the eye is: what was refused, what was asked of the engine.
    pub notice: Option<(Level, String)>,
    /// The run goes on, or has been asked to.
    pub begun: bool,
    pub leaving: Leaving,
    /// The engine has ended.
    pub over: bool,
    pub left: Option<Left>,
    /// The operator closed the question of this step for now.
    pub put_off: Option<usize>,
    /// The stop that was shown already: it is not shown again when the operator looks elsewhere.
    pub shown: Option<Stop>,
    /// What needed a person when it was last asked; for a gate, when it was reached.
    pub heeded: Option<(Need, Option<i64>)>,
    pub watching: Option<Watching>,
    /// The window title that the terminal has.
    pub titled: String,
    pub focused: bool,
    pub last_key_ms: i64,
    /// Taken by the loop: ring once, suspend, draw from scratch.
    pub bell: bool,
    pub suspend: bool,
    pub redraw: bool,
    pub outside: Option<Wish>,
    /// The mouse is ours.
    pub mouse: bool,
    /// Nothing is drawn for the clock alone.
    pub still: bool,
    /// The options that a command of this run needs: ` --state /srv/castoff`.
    pub again: String,
}

impl App {
    /// A journal that does not fold is a bug of whoever wrote it, and an error here.
    pub fn new(start: Start, now_ms: i64) -> anyhow::Result<Self> {
        let state = State::fold(&start.entries)?;
        let screen = match (&state.plan, &state.finished) {
            (None, _) => Screen::Plan,
            (Some(_), None) => Screen::Resume,
            (Some(_), Some(_)) => Screen::End,
        };
        let mut app = Self {
            plan: state.plan.clone().unwrap_or(start.plan),
            state: State::default(),
            run: start.run,
            simulated: start.simulated,
            folder: start.folder,
            journal: start.journal,
            hidden: start.hidden,
            look: start.look,
            now_ms,
            size: (80, 24),
            screen,
            behind: vec![],
            popup: None,
            step: 0,
            change: 0,
            cause: 0,
            follows: true,
            scroll: 0,
            failed_only: false,
            log: LogView::default(),
            wrap: false,
            find: None,
            palette: None,
            help_at: 0,
            progress: BTreeMap::new(),
            arriving: BTreeMap::new(),
            facts: vec![],
            cells: Cells::default(),
            pace: Pace::default(),
            loads: Loads::default(),
            projection: Projection::default(),
            given: start.window,
            report: None,
            waits: (0, vec![]),
            counts: vec![],
            survey: None,
            changed: None,
            lines: Lines::default(),
            notice: None,
            begun: false,
            leaving: Leaving::No,
            over: false,
            left: None,
            put_off: None,
            shown: None,
            heeded: None,
            watching: start.watching,
            titled: String::new(),
            focused: true,
            last_key_ms: now_ms,
            bell: false,
            suspend: false,
            redraw: false,
            outside: None,
            mouse: false,
            still: start.still,
            again: start.again,
        };
        for stamped in &start.entries {
            app.state.apply(stamped)?;
            app.lines.push(of_entry(stamped, &app.state));
        }
        app.facts = Facts::of(&app.plan);
        app.cells.fold(&start.entries, &app.state, &app.progress, now_ms);
        app.loads = Loads::new(&app.plan);
        app.reckon();
        if screen == Screen::Plan {
            app.step = app.plan.steps.iter().position(|step| step.pending().next().is_some()).unwrap_or_default();
        }
        if let Some(watching) = &app.watching {
            app.begun = watching.begun && app.state.plan.is_some();
            app.screen = if watching.held.is_some() { Screen::Held } else { app.first_screen() };
            app.settle(now_ms);
        }
        app.follow();
        if let Some(to) = start.rollback_to {
            app.ask_rollback(to, now_ms);
        }
        Ok(app)
    }

    /// Folds one piece of news in. Never draws.
    pub fn event(&mut self, event: Event, now_ms: i64) {
        self.now_ms = now_ms;
        match event {
            Event::Entry(stamped) => self.entry(&stamped, now_ms),
            Event::Progress(progress) => {
                self.cells.hear(&progress);
                self.progressed(progress);
            }
            Event::Layers { change, layers } => self.cells.hear_layers(change, layers),
            Event::Gate(report) => {
                if self.counts.last().is_none_or(|(_, n)| *n != report.problems.len()) {
                    self.counts.push((report.read_at_ms, report.problems.len()));
                }
                if report.problems.is_empty()
                    && let Some(Popup::Question(question)) = &mut self.popup
                    && question.note.as_deref().is_some_and(|note| [NOT_YET, HELD].contains(&note))
                {
                    question.note = None;
                }
                self.report = Some(report);
                self.settle(now_ms);
            }
            Event::Waits { step, waits } => self.waits = (step, waits),
            Event::Survey(lines) => {
                self.survey = Some(lines);
                self.notice = None;
            }
            Event::Changed(changed) => {
                for problem in &changed {
                    let said = format!("changed since the plan: {} {}", problem.subject, problem.why);
                    let place = problem.place.as_deref().unwrap_or_default();
                    self.lines.push(Line::remark(now_ms, Level::Warn, place, &said));
                }
                self.changed = Some(changed);
            }
            Event::Refused(why) => {
                let why = text::clean(&why);
                if let Some(Popup::Question(question)) = &mut self.popup {
                    question.again(now_ms, Some(why));
                } else {
                    self.notice = Some((Level::Error, why));
                }
            }
            // The answer to somebody else.
            Event::Answered { .. } => {}
            Event::Said { level, at_ms, place, text } => {
                self.lines.push(Line::remark(at_ms, level, &place, &text));
            }
        }
        self.cells.live(self.begun && !self.over, &self.state, &self.progress, now_ms);
    }

    /// The clock went on.
    pub fn tick(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.cells.tick(now_ms);
        self.look_for(false);
        if let Next::Apply(step) = self.state.next() {
            let (done, total) = self.bytes(step);
            if total > 0 {
                self.pace.sample(step, now_ms, done);
            }
        }
        self.reckon();
    }

    /// The window of the run: as the journal has it, or as the run would begin with it.
    pub fn window(&self) -> Option<&Window> {
        let before = self.given.as_ref().filter(|_| !self.begun && self.state.finished.is_none());
        before.or(self.state.window.as_ref())
    }

    /// When the rest would end, seen from now.
    fn reckon(&mut self) {
        let ends = self.at().filter(|_| self.begun).and_then(|step| {
            let (done, total) = self.bytes(step);
            self.pace.ends(step, done, total)
        });
        self.projection = self.loads.project(&self.plan, &self.state, self.now_ms, ends);
    }

    /// The engine's channel is closed: it has ended, well or not.
    pub fn engine_ended(&mut self) {
        if self.watches() {
            return self.castoff_is_gone();
        }
        self.over = true;
        self.cells.live(false, &self.state, &self.progress, self.now_ms);
        if self.state.finished.is_none() {
            self.left = Some(Left::Stopped);
        }
    }

    fn entry(&mut self, stamped: &Stamped, now_ms: i64) {
        let folded = self.refold(stamped.entry.change(), |app| {
            let folded = app.state.apply(stamped);
            if let (Ok(()), Entry::Started { change } | Entry::Done { change } | Entry::Failed { change, .. }) =
                (&folded, &stamped.entry)
            {
                app.progress.remove(change);
            }
            folded
        });
        if let Err(illegal) = folded {
            self.notice = Some((Level::Error, illegal.to_string()));
            return;
        }
        self.lines.push(of_entry(stamped, &self.state));
        if self.watches() && !self.begun {
            self.begun = true;
            self.show(Screen::Overview);
        }
        if let Entry::Planned { plan, .. } = &stamped.entry {
            self.plan = plan.clone();
            self.facts = Facts::of(plan);
            self.loads = Loads::new(&self.plan);
            self.begun = true;
            self.show(Screen::Overview);
        }
        match &stamped.entry {
            Entry::GateReached { step } => {
                self.report = self.report.take().filter(|report| report.step == *step);
                self.counts.clear();
                self.put_off = None;
            }
            Entry::GateApproved { step, .. } => {
                self.close_question(|purpose| *purpose == Purpose::Approve(*step));
                if self.screen == Screen::Waiting {
                    self.show(Screen::Overview);
                }
            }
            Entry::WaveReached { .. } => self.put_off = None,
            Entry::WavePassed { step, .. } => self.close_question(|purpose| *purpose == Purpose::Canary(*step)),
            Entry::RollbackBegun { .. } => {
                self.begun = true;
                self.close_question(|_| true);
                self.show(Screen::Overview);
                self.follows = true;
            }
            Entry::WindowMoved { .. } | Entry::WindowSet { .. } => {
                self.close_question(|purpose| matches!(purpose, Purpose::Window { .. }));
            }
            Entry::Skipped { .. } => self.close_question(|purpose| matches!(purpose, Purpose::Skip(_))),
            Entry::Finished { .. } => self.close_question(|_| true),
            _ => {}
        }
        self.cells.entry(stamped, &self.state, &self.progress);
        if !matches!(stamped.entry, Entry::Started { .. } | Entry::Done { .. } | Entry::Found { .. }) {
            self.notice = None;
        }
        let turns = matches!(stamped.entry, Entry::Planned { .. } | Entry::GateReached { .. } | Entry::RollbackBegun { .. });
        if turns || matches!(stamped.entry, Entry::WindowSet { .. } | Entry::WindowMoved { .. }) {
            self.reckon();
        }
        self.settle(now_ms);
    }

    /// Brings up what the run wants a person to see, and puts away what is settled.
    pub fn settle(&mut self, now_ms: i64) {
        if !self.begun {
            return;
        }
        self.heed(now_ms);
        if self.screen == Screen::Held {
            return;
        }
        let next = self.state.next();
        if let Next::Stop(stop @ (Stop::Failed(_) | Stop::Stuck)) = &next {
            if self.shown.as_ref() != Some(stop) && self.popup.is_none() {
                self.shown = Some(stop.clone());
                self.cause = 0;
                self.show(Screen::Failure);
            }
        } else {
            self.shown = None;
            if self.screen == Screen::Failure {
                self.show(Screen::Overview);
            }
        }
        match next {
            Next::Gate(step) if self.state.steps[step].gate_reached_ms.is_some() => self.reached(step, now_ms),
            Next::Canary(step) => self.canary_done(step, now_ms),
            Next::Over if self.screen != Screen::End && self.shown.is_none() => {
                self.begun = false;
                self.popup = None;
                self.scroll = 0;
                self.show(Screen::End);
            }
            _ => {}
        }
        self.follow();
    }

    /// A gate waits: its question opens, unless something else is being typed or it was put off.
    fn reached(&mut self, step: usize, now_ms: i64) {
        if self.popup.is_some() || self.is_typing() || self.put_off == Some(step) {
            return;
        }
        let asks = self.state.gate(step).is_some_and(|gate| gate.ask != Ask::Nothing);
        if asks {
            self.ask_gate(step, now_ms);
        } else if self.problems(step).is_some_and(|problems| !problems.is_empty()) && self.screen == Screen::Overview {
            self.scroll = 0;
            self.open(Screen::Waiting);
        }
    }

    /// Opens the question of a gate. Nothing that was typed before counts.
    pub fn ask_gate(&mut self, step: usize, now_ms: i64) {
        let Some(gate) = self.state.gate(step) else { return };
        let field = Field::exactly("type", &gate.sentence, gate.ask == Ask::Yes);
        self.step = step;
        self.put_off = None;
        self.notice = None;
        self.popup = Some(Popup::Question(Question::new(Purpose::Approve(step), now_ms, vec![field])));
    }

    /// Opens the question for another end of the window.
    pub fn ask_window(&mut self, now_ms: i64) {
        let Some(window) = self.window().cloned() else { return };
        let fields = vec![Field::window(&window, now_ms)];
        self.popup = Some(Popup::Question(Question::new(Purpose::Window { window, at_ms: now_ms }, now_ms, fields)));
    }

    /// Opens the page of the way back.
    pub fn ask_rollback(&mut self, to: usize, now_ms: i64) {
        let fields = vec![Field::reason("why"), Field::exactly("cluster", &self.plan.cluster, false)];
        self.popup = Some(Popup::Question(Question::new(Purpose::RollBack(to), now_ms, fields)));
    }

    /// The step the run is at.
    pub fn at(&self) -> Option<usize> {
        match self.state.next() {
            Next::Gate(step) | Next::Canary(step) | Next::Apply(step) | Next::Undo(step) | Next::Stop(Stop::Failed(step)) => {
                Some(step)
            }
            _ => self.state.current_step(),
        }
    }

    fn follow(&mut self) {
        if self.follows
            // Who looks at cells goes on looking at those.
            && !matches!(self.screen, Screen::Matrix | Screen::Cell)
            && self.state.plan.is_some()
            && let Some(step) = self.at()
            && self.step != step
        {
            self.step = step;
            self.change = 0;
        }
    }

    /// What stands against a gate, if its checks have been asked.
    pub fn problems(&self, step: usize) -> Option<&[Problem]> {
        self.report.as_ref().filter(|report| report.step == step).map(|report| report.problems.as_slice())
    }

    /// Failed changes of one step by cause, as the state tells them of all steps.
    pub fn causes_of(&self, step: usize) -> Vec<(Fault, Vec<ChangeId>)> {
        let Some(grid) = self.cells.grid(step) else {
            return self.state.causes().into_iter().filter(|(_, ids)| ids.iter().any(|id| id.step == step)).collect();
        };
        let failed = grid.causes().into_iter().filter(|(cause, _)| cause.stand == Stand::Failed);
        let of = |cells: &std::collections::BTreeSet<usize>| {
            let fault = |id: &ChangeId| self.state.fault(self.state.status(*id));
            let ids = cells.iter().map(|n| ChangeId { step, n: *n }).filter(|id| fault(id).is_some());
            let ids: Vec<ChangeId> = ids.collect();
            Some((fault(ids.first()?)?.clone(), ids))
        };
        failed.filter_map(|(_, cells)| of(cells)).collect()
    }

    /// The matrix of the selected step, if it is one to be shown as a matrix.
    pub fn grid(&self) -> Option<&Grid> {
        self.cells.grid(self.step).filter(|_| self.state.plan.is_some())
    }

    /// A word of the palette, or one to look for, is being typed.
    pub fn is_typing(&self) -> bool {
        self.palette.is_some() || self.find.as_ref().is_some_and(|find| find.typing)
    }

    /// Goes to a screen from which `esc` does not come back here.
    pub fn show(&mut self, screen: Screen) {
        self.behind.clear();
        self.screen = screen;
    }

    /// Goes deeper; `esc` comes back.
    pub fn open(&mut self, screen: Screen) {
        if self.screen != screen {
            self.behind.push(self.screen);
            self.screen = screen;
        }
    }

    fn close_question(&mut self, which: impl Fn(&Purpose) -> bool) {
        if matches!(&self.popup, Some(Popup::Question(question)) if which(&question.purpose)) {
            self.popup = None;
        }
    }

    /// What the window says against the gate of a step: only a person ends it.
    pub fn held(&self, step: usize) -> Option<&Problem> {
        self.problems(step)?.iter().find(|problem| hold::is_hold(problem))
    }

    /// The command that starts or continues the run, with what the operator sees meanwhile.
    pub fn begin(&mut self, now_ms: i64) -> Command {
        self.begun = true;
        self.notice = Some((Level::Info, "the engine is asked to begin".to_owned()));
        if self.state.plan.is_some() {
            self.show(Screen::Overview);
            self.settle(now_ms);
        }
        Command::Begin
    }
}
