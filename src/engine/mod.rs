//! Layer 3: the loop that turns a plan into a run. Written first, done second, shown third: it appends an entry
//! before every effect, and never acts on a cluster that does not stand as planned.

mod afar;
mod alike;
mod flight;
mod gate;
mod guard;
mod outcomes;
pub mod survey;
mod wave;
mod window;
mod worker;

use crate::cluster::Cluster;
use crate::journal::{Journal, JournalError};
use crate::model::{
    Asked, Change, ChangeId, Command, Entry, Event, IllegalEntry, Level, Limits, Next, Outcome, Plan, State, Status, Stop,
    Target, WayBack, Window, is_reason, text,
};
use alike::Alike;
use flight::{Flights, Held};
use gate::GateWatch;
use guard::Guard;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio::time::Instant;
use wave::WaitWatch;
use worker::{Report, Worker};

/// What the engine needs beside the plan.
pub struct Setup {
    pub cluster: Arc<dyn Cluster>,
    pub journal: Journal,
    pub commands: mpsc::Receiver<Command>,
    /// From other terminals; closed where there are none.
    pub asked: mpsc::Receiver<Asked>,
    pub events: mpsc::Sender<Event>,
    /// Who answers gates: user, and the login it came from.
    pub by: String,
    /// Gates answered ahead: id of a step to the id of the plan it was answered for.
    pub approvals: BTreeMap<String, String>,
    /// The window of a new run, or the one that a resumed run gets on purpose; without it the journal's stays.
    pub window: Option<Window>,
    /// Stay when the run is over, for a front end that may still ask for a rollback.
    pub lingers: bool,
    /// Unix time in milliseconds.
    pub now_ms: fn() -> i64,
    /// How often a waiting gate asks its checks.
    pub recheck: Duration,
    /// First wait after a passing fault; doubles with each attempt, up to a minute.
    pub backoff: Duration,
}

impl Setup {
    /// A run of its own: no answer given ahead, no window, nobody asks from another terminal.
    pub fn new(
        cluster: Arc<dyn Cluster>,
        journal: Journal,
        (commands, events): (mpsc::Receiver<Command>, mpsc::Sender<Event>),
        by: &str,
        now_ms: fn() -> i64,
    ) -> Self {
        Self {
            cluster,
            journal,
            commands,
            asked: mpsc::channel(1).1,
            events,
            by: by.to_owned(),
            approvals: BTreeMap::new(),
            window: None,
            lingers: false,
            now_ms,
            recheck: Duration::from_secs(5),
            backoff: Duration::from_secs(1),
        }
    }
}

/// How the engine's loop ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    Finished(Outcome),
    /// By `Stop`: nothing is in flight, the run can be resumed.
    Stopped,
    /// By `StopNow`: this many changes were in flight; their outcome is looked up on resume.
    Cut(usize),
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the journal does not tell a possible run: {0}")]
    Illegal(#[from] IllegalEntry),
}

pub struct Engine {
    setup: Setup,
    state: State,
    flights: Flights,
    guard: Guard,
    alike: Alike,
    gate: GateWatch,
    waits: WaitWatch,
    reports: mpsc::Receiver<Report>,
    report_to: mpsc::Sender<Report>,
    /// `Stop` was asked: nothing new starts; pulls in flight get until then.
    stopping: Option<Instant>,
    /// A rollback or an abort was asked; it begins when nothing is in flight.
    after_flights: Option<Entry>,
    /// The front end may still ask: its end of the channel is there.
    listening: bool,
    /// Whose command from another terminal is being followed: entries name them.
    asker: Option<afar::Asker>,
    /// Who asked for the stop, if it was not the operator of this run.
    stopped_by: Option<String>,
}

/// A skip, a rollback or an abort without one is none.
const NO_REASON: &str = "a reason is needed: it stands in the report";

/// How long a stop waits for what is in flight. A pull that is cut off is repeated at no harm.
const STOP_GRACE: Duration = Duration::from_secs(20);

impl Engine {
    /// Takes up the run of a journal, which may be empty.
    pub async fn new(setup: Setup) -> Result<Self, EngineError> {
        let entries = setup.journal.entries().await?;
        let state = State::fold(&entries)?;
        let (report_to, reports) = mpsc::channel(1024);
        let gate = GateWatch::new(setup.recheck);
        let guard = Guard::new(setup.journal.fence(), setup.cluster.clone(), setup.events.clone(), setup.now_ms);
        Ok(Self {
            guard,
            setup,
            state,
            flights: Flights::default(),
            alike: Alike::default(),
            gate,
            waits: WaitWatch::default(),
            reports,
            report_to,
            stopping: None,
            after_flights: None,
            listening: true,
            asker: None,
            stopped_by: None,
        })
    }

    /// Runs until the run is over or a command stops it. `plan` is what `Begin` begins, for a journal that is empty.
    pub async fn run(mut self, plan: Option<Arc<Plan>>) -> Result<Ending, EngineError> {
        if self.state.plan.is_some() {
            self.survey().await;
        }
        if let Some(ending) = self.wait_for_begin(plan).await? {
            return Ok(ending);
        }
        loop {
            let (before, looked) = (self.state.seq, Instant::now());
            if let Some(ending) = self.advance().await? {
                return Ok(ending);
            }
            if self.state.seq != before {
                continue; // An entry may allow the next thing at once.
            }
            let mut reports = vec![];
            let mut commands = vec![];
            let wake = self.wake(looked);
            tokio::select! {
                Some(report) = self.reports.recv() => reports.push(report),
                command = self.setup.commands.recv(), if self.listening => {
                    self.listening = command.is_some();
                    commands.push(command.unwrap_or(Command::Stop));
                }
                Some(asked) = self.setup.asked.recv() => self.follow(asked).await?,
                why = self.setup.journal.lost() => return Err(why.into()),
                () = tokio::time::sleep_until(wake) => {}
            }
            // Everything that is ready shares one durable write.
            while let Ok(report) = self.reports.try_recv() {
                reports.push(report);
            }
            while let Ok(command) = self.setup.commands.try_recv() {
                commands.push(command);
            }
            self.take_reports(reports).await?;
            for command in commands {
                if command == Command::StopNow {
                    let cut = self.flights.cut();
                    return Ok(Ending::Cut(cut));
                }
                self.obey(command).await?;
            }
        }
    }

    async fn wait_for_begin(&mut self, plan: Option<Arc<Plan>>) -> Result<Option<Ending>, EngineError> {
        loop {
            let command = tokio::select! {
                command = self.setup.commands.recv() => command,
                Some(asked) = self.setup.asked.recv() => {
                    self.not_begun(asked).await;
                    continue;
                }
                why = self.setup.journal.lost() => return Err(why.into()),
            };
            match command {
                Some(Command::Begin) => break,
                None | Some(Command::Stop | Command::StopNow) => return Ok(Some(Ending::Stopped)),
                Some(Command::Verify) if self.state.plan.is_some() => self.survey().await,
                Some(Command::Abort { why }) if !is_reason(&why) => self.refuse(NO_REASON).await,
                Some(command @ Command::RollBack { .. }) => {
                    self.obey(command).await?;
                    // Else it was refused.
                    if self.after_flights.is_some() {
                        return Ok(None);
                    }
                }
                Some(Command::Abort { why }) if self.state.plan.is_some() => {
                    self.write(vec![Entry::Finished { outcome: Outcome::Aborted(why.clone()) }]).await?;
                    return Ok(Some(Ending::Finished(Outcome::Aborted(why))));
                }
                Some(_) => self.refuse("the run has not begun").await,
            }
        }
        let by = self.setup.by.clone();
        if self.state.plan.is_none() {
            let plan = plan.expect("a new run is begun with a plan");
            let entries = [Some(Entry::Planned { plan, by }), self.window_entry()];
            self.write(entries.into_iter().flatten().collect()).await?;
        } else if self.state.finished.is_none() {
            let mut entries = vec![];
            if self.state.by != by {
                entries.push(Entry::TakenOver { by: by.clone(), why: "resumed: nobody had it any more".to_owned() });
            }
            entries.push(Entry::Continued { by });
            entries.extend(self.window_entry());
            self.write(entries).await?;
        }
        Ok(None)
    }

    /// Starts whatever may start now. Returns how the run ended, if it did.
    async fn advance(&mut self) -> Result<Option<Ending>, EngineError> {
        if self.flights.is_empty() {
            if let Some(entry) = self.after_flights.take() {
                let window = if matches!(entry, Entry::RollbackBegun { .. }) { self.window_entry() } else { None };
                self.write(std::iter::once(entry).chain(window).collect()).await?;
            }
            if self.stopping.is_some() {
                self.pause_for_stop().await?;
                return Ok(Some(self.state.finished.clone().map_or(Ending::Stopped, Ending::Finished)));
            }
        }
        if self.stopping.is_some_and(|until| Instant::now() >= until) {
            let cut = self.flights.cut();
            self.pause_for_stop().await?;
            self.say(Level::Warn, "", &format!("{} cut off; looked up on resume", text::count(cut as u64, "change"))).await;
            return Ok(Some(Ending::Stopped));
        }
        if self.stopping.is_some() || self.after_flights.is_some() {
            return Ok(None);
        }
        match self.state.next() {
            Next::Plan => {}
            Next::Over if self.setup.lingers => {}
            Next::Over => return Ok(Some(Ending::Finished(self.state.finished.clone().unwrap_or(Outcome::Done)))),
            Next::Finish(outcome) if self.flights.is_empty() => self.write(vec![Entry::Finished { outcome }]).await?,
            Next::Finish(_) => {}
            Next::Gate(step) => self.stand_at_gate(step).await?,
            Next::Turn(entries) => self.write(entries).await?,
            Next::Canary(step) => self.stand_at_canary(step).await?,
            Next::Apply(step) if self.window_pauses(step).await? => {}
            Next::Apply(step) => self.start(step).await,
            Next::Undo(step) => self.undo(step).await?,
            Next::Stop(Stop::Paused | Stop::Failed(_) | Stop::Stuck) => {}
        }
        Ok(None)
    }

    /// Looks at as many of these as may start now; the others wait, and why is told.
    async fn start(&mut self, step: usize) {
        let limits = self.state.limits;
        let plan = self.state.plan.as_ref().expect("changes are of a plan");
        self.alike.sort(step, plan);
        let (cluster, report_to) = (&self.setup.cluster, &self.report_to);
        let start = |flights: &mut Flights, id: ChangeId| {
            let planned = plan.change(id);
            flights.start(id, planned);
            let task = worker::look(cluster.clone(), id, planned.change.clone(), report_to.clone());
            flights.hold(id, tokio::spawn(task));
        };
        let mut held = self.alike.sieve(self.state.open(step), (plan, &limits), &mut self.flights, start);
        held.remove(&Held::Flying);
        self.tell_waits(step, held).await;
    }

    async fn pause_for_stop(&mut self) -> Result<(), EngineError> {
        if self.state.plan.is_some() && self.state.finished.is_none() && self.state.paused.is_none() {
            let (why, by) = self.why_stopped();
            self.write(vec![Entry::Paused { why, by }]).await?;
        }
        Ok(())
    }

    async fn undo(&mut self, step: usize) -> Result<(), EngineError> {
        // Taking a pull back asks no registry.
        let limits = Limits { requests_per_s: 0, ..self.state.limits };
        let plan = self.state.plan.as_ref().expect("changes are of a plan");
        self.alike.sort(step, plan);
        let lost: Vec<ChangeId> = self.state.to_undo(step).filter(|id| self.alike.has_no_way_back(*id)).collect();
        if !lost.is_empty() {
            // The plan said so before anything began: it is no failure of the way back.
            let leave = |change| {
                let WayBack::None(why) = &plan.change(change).way_back else { return None };
                Some(Entry::Skipped { change, why: format!("no way back, as the plan said: {why}"), by: "the plan".to_owned() })
            };
            let entries = lost.into_iter().filter_map(leave).collect();
            return self.write(entries).await;
        }
        let mut starting = vec![];
        let start = |flights: &mut Flights, id: ChangeId| {
            let planned = plan.change(id);
            flights.start(id, planned);
            starting.push((id, planned.change.clone()));
        };
        self.alike.sieve(self.state.to_undo(step), (plan, &limits), &mut self.flights, start);
        let entries = starting.iter().filter(|(id, _)| self.state.status(*id).status != Status::Undoing);
        let entries: Vec<Entry> = entries.map(|(change, _)| Entry::UndoStarted { change: *change }).collect();
        self.write(entries).await?;
        for (id, change) in starting {
            let tries = worker::Tries {
                attempts: limits.attempts,
                backoff: self.setup.backoff,
                deadline: Duration::from_secs(limits.deadline_s),
            };
            self.flights.hold(id, tokio::spawn(self.worker(id, change).undo(tries)));
        }
        Ok(())
    }

    fn worker(&self, id: ChangeId, change: Change) -> Worker {
        let (guard, to, events) = (self.guard.clone(), self.report_to.clone(), self.setup.events.clone());
        Worker { guard, id, change, to, events, now_ms: self.setup.now_ms }
    }

    async fn obey(&mut self, command: Command) -> Result<(), EngineError> {
        let by = self.by();
        match command {
            Command::Begin => self.refuse("the run has begun already").await,
            Command::Approve { step, plan, typed } => self.answer_gate(step, &plan, &typed).await?,
            Command::ApproveCanary { step, plan, typed } => self.approve_canary(step, plan, typed).await?,
            Command::Recheck => self.gate.ask_again(),
            Command::Verify => {
                self.refuse("only a run that has not gone on yet is verified: castoff verify looks from outside").await;
            }
            Command::Pause if self.state.paused.is_none() => {
                let why = self.why_paused();
                self.write(vec![Entry::Paused { why, by }]).await?;
            }
            Command::Pause => self.refuse("the run is paused already").await,
            Command::Continue if self.window_holds().is_some() => {
                let why = self.window_holds().map_or_else(String::new, |problem| format!("{}: {}", problem.subject, problem.why));
                self.refuse(&why).await;
            }
            Command::Continue if self.state.paused.is_some() => self.write(vec![Entry::Continued { by }]).await?,
            Command::Continue => self.refuse("the run is not paused").await,
            Command::Retry(target) => {
                let ids = self.failed(&target);
                if ids.is_empty() {
                    self.refuse("nothing failed that could be tried again").await;
                }
                ids.iter().for_each(|id| self.flights.forget(*id));
                let entries = self.state.again(ids, &by);
                self.write(entries).await?;
            }
            Command::Skip { target, why } => {
                let ids = self.failed(&target);
                if !is_reason(&why) {
                    self.refuse(NO_REASON).await;
                } else if ids.is_empty() {
                    self.refuse("nothing failed that could be skipped").await;
                } else {
                    let skip = |change| Entry::Skipped { change, why: why.clone(), by: by.clone() };
                    self.write(ids.into_iter().map(skip).collect()).await?;
                }
            }
            Command::SetLimit(change) => {
                let limits = self.state.limits.with(change);
                self.write(vec![Entry::LimitChanged { limits, by }]).await?;
            }
            Command::MoveWindow { window } => self.move_window(window).await?,
            Command::RollBack { why, .. } | Command::Abort { why } if !is_reason(&why) => self.refuse(NO_REASON).await,
            Command::RollBack { to, why } => {
                if let Some(why) = self.state.cannot_go_back(to) {
                    self.refuse(&why).await;
                } else {
                    self.after_flights = Some(Entry::RollbackBegun { to, by, why });
                }
            }
            Command::Abort { why } => self.after_flights = Some(Entry::Finished { outcome: Outcome::Aborted(why) }),
            Command::Stop => {
                self.stopping.get_or_insert_with(|| Instant::now() + STOP_GRACE);
            }
            Command::StopNow => {}
        }
        Ok(())
    }

    fn failed(&self, target: &Target) -> Vec<ChangeId> {
        let failed = self.state.causes().into_iter().flat_map(|(_, ids)| ids);
        failed.filter(|id| if let Target::Changes(wanted) = target { wanted.contains(id) } else { true }).collect()
    }

    fn plan(&self) -> &Plan {
        self.state.plan.as_ref().expect("asked only after `Planned`")
    }

    /// Folds in, appends, shows: in this order, so that an entry that cannot follow never reaches the journal, which nobody
    /// could fold any more. Nothing is acted upon before all three.
    async fn write(&mut self, entries: Vec<Entry>) -> Result<(), EngineError> {
        if entries.is_empty() {
            return Ok(());
        }
        let at_ms = (self.setup.now_ms)();
        self.state.apply_new(at_ms, &entries)?;
        for entry in self.setup.journal.append(at_ms, entries).await? {
            // A front end that has gone is no reason to stop.
            let _ = self.setup.events.send(Event::Entry(entry)).await;
        }
        Ok(())
    }

    async fn refuse(&self, why: &str) {
        if let Some(asker) = &self.asker {
            return asker.refuse(why);
        }
        let _ = self.setup.events.send(Event::Refused(why.to_owned())).await;
    }

    async fn say(&self, level: Level, place: &str, text: &str) {
        let at_ms = (self.setup.now_ms)();
        let said = Event::Said { level, at_ms, place: place.to_owned(), text: crate::model::text::clean(text) };
        let _ = self.setup.events.send(said).await;
    }

    /// When the loop has to look again even if nothing happens.
    fn wake(&self, looked: Instant) -> Instant {
        let far = Instant::now() + Duration::from_hours(1);
        [self.flights.next_start(&self.state.limits, looked), self.gate.next_check(), self.stopping, self.waits.due()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(far)
    }
}
