//! A run on its way: the engine, what goes on beside it, and the face it is shown with, from the first entry to the last words.
//! Decides nothing: it waits for each in turn and says how it ended.

use super::beside::{self, Beside};
use super::face::Face;
use super::run::{columns, now_ms, operator, width};
use super::run_log::Tee;
use super::signals::stop_on_signals;
use super::{Common, Exit, Failure, Format, Front, When};
use crate::cluster::Cluster;
use crate::engine::{Ending, Engine, EngineError, Setup};
use crate::journal::{Home, Journal, Link};
use crate::model::{Command, Next, Plan, Stamped, State, Stop, Window, text};
use crate::remote::wire::Hello;
use crate::{headless, plain, report, tui};
use anyhow::Context;
use std::{collections::BTreeMap, io::Write, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// How long a shared journal may take to hear that the run is free; after that it finds out by itself.
const FAREWELL: Duration = Duration::from_secs(5);

/// A run that is about to go.
pub(super) struct Going {
    /// The lock of the cluster.
    pub held: std::fs::File,
    /// Who holds it, as the locks say.
    pub holder: String,
    pub cluster: Arc<dyn Cluster>,
    pub journal: Journal,
    pub run: String,
    pub home: Home,
    pub approvals: BTreeMap<String, String>,
    pub simulated: bool,
    pub entries: Vec<Stamped>,
    pub first: Command,
    pub rollback_to: Option<usize>,
    /// Of a new run, or given on purpose to one that is taken up again.
    pub window: Option<Window>,
}

impl Going {
    pub async fn go(self, common: &Common, front: &Front, plan: Option<Arc<Plan>>, face: Face) -> Result<Exit, Failure> {
        let (command_to, commands) = mpsc::channel(64);
        let folder = self.home.files(&self.run);
        let journal = self.home.journal(&self.run);
        let (cluster, farewell) = (self.cluster.clone(), self.journal.farewell());
        let known = State::fold(&self.entries)?;
        let shown = plan.clone().or_else(|| known.plan.clone()).expect("a run has a plan, given or journaled");
        let hello = Hello {
            run: self.run.clone(),
            cluster: shown.cluster.clone(),
            simulated: self.simulated,
            holder: self.holder.clone(),
            begun: false,
            plan: known.plan.is_none().then(|| shown.clone()),
        };
        let ways = beside::ways(common, front, self.simulated).await?;
        let hidden = ways.hidden.clone();
        let (mut beside, ends) = Beside::begin(hello, &folder, &self.entries, ways, now_ms)?;
        let mut lost = false;
        let setup = Setup {
            asked: ends.asked,
            approvals: self.approvals.clone(),
            window: self.window.clone(),
            lingers: face == Face::Tui,
            recheck: Duration::from_secs(if self.simulated { 2 } else { 5 }),
            ..Setup::new(self.cluster, self.journal, (commands, ends.events), &operator(), now_ms)
        };
        let engine = Engine::new(setup).await?;
        let engine = tokio::spawn(engine.run(plan));
        let tee = Tee {
            run: self.run.clone(),
            folder: folder.clone(),
            entries: self.entries.clone(),
            aloud: face != Face::Tui,
            now_ms,
        };
        let (event_from, log) = tee.start(ends.front);
        let (blocked, empty) = (!shown.blockers.is_empty(), shown.is_empty());
        let left = match face {
            Face::Headless => {
                let approved = self.approvals.keys().cloned().collect();
                let json = common.format == Format::Json;
                let lost = stop_on_signals(command_to.clone(), front.on_hangup.into());
                let options = headless::Options { json, approved, wait: front.wait.map(Duration::from_secs), lost };
                Left::Headless(headless::run(&self.entries, event_from, command_to, self.first, options).await)
            }
            Face::Plain => {
                let start = plain::Start {
                    plan: shown,
                    entries: self.entries,
                    run: self.run.clone(),
                    simulated: self.simulated,
                    rollback_to: self.rollback_to,
                    window: self.window.clone(),
                    width: columns(),
                    color: common.color == When::Always,
                    on_hangup: front.on_hangup.into(),
                };
                let ends = plain::Ends::standard().context("cannot read standard input")?;
                let left = plain::run(start, event_from, command_to, ends).await.context("cannot listen for signals")?;
                Left::Terminal(match left {
                    plain::Left::Finished => tui::Left::Finished,
                    plain::Left::Stopped => tui::Left::Stopped,
                    plain::Left::Signal(number) => tui::Left::Signal(number),
                })
            }
            Face::Tui => {
                let start = tui::Start {
                    plan: shown,
                    entries: self.entries,
                    run: self.run.clone(),
                    simulated: self.simulated,
                    folder,
                    journal,
                    look: common.look(),
                    rollback_to: self.rollback_to,
                    watching: None,
                    window: self.window,
                    again: common.again(),
                    still: front.still,
                    hidden,
                    on_hangup: front.on_hangup.into(),
                };
                let left = tui::run(start, event_from, command_to).await?;
                lost = matches!(left, tui::Left::Detached);
                Left::Terminal(left)
            }
        };
        // Only then the journal and the log hold the last word.
        let ended = ended(engine).await;
        let _ = log.await;
        let let_go = async {
            drop(self.held);
            cluster.let_go().await;
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
        };
        if let Err(failure) = ended {
            beside.engine_ended(true, lost).await;
            let_go.await;
            beside.finish().await;
            return Err(failure);
        }
        let exit = match left {
            Left::Headless(left) => Exit::of_headless(&left),
            Left::Terminal(left) => match of_terminal(left, &self.home, &self.run).await? {
                Exit::NotApproved if blocked => Exit::PreflightFailed,
                Exit::NotApproved if empty && face == Face::Plain => Exit::Done,
                exit => exit,
            },
        };
        let stands = State::fold(&self.home.read(&self.run).await?)?;
        beside.engine_ended(stands.plan.is_some() && stands.finished.is_none(), lost).await;
        let_go.await;
        last_words(&self.home, &self.run, self.simulated, face, common).await?;
        beside.finish().await;
        Ok(exit)
    }
}

/// How the face was left.
enum Left {
    Headless(headless::Left),
    Terminal(tui::Left),
}

/// Waits for the engine's end and says what it left open.
async fn ended(engine: tokio::task::JoinHandle<Result<Ending, EngineError>>) -> Result<(), Failure> {
    if let Ending::Cut(n) = engine.await.context("the engine ended unexpectedly")?? {
        let n = crate::model::text::count(n as u64, "change");
        let _ = writeln!(std::io::stderr(), "on the way when it was cut: {n}; the outcome is looked up on resume");
    }
    Ok(())
}

/// The exit code of a terminal that was left before there was a plan.
pub fn of_opening(left: tui::Left) -> Exit {
    match left {
        tui::Left::Signal(15) => Exit::Terminated,
        tui::Left::Signal(1) | tui::Left::Detached => Exit::HungUp,
        tui::Left::Signal(_) => Exit::Interrupted,
        tui::Left::Stopped | tui::Left::Finished => Exit::NotApproved,
    }
}

/// The exit code of a run that was left in the terminal.
async fn of_terminal(left: tui::Left, home: &Home, run: &str) -> Result<Exit, Failure> {
    Ok(match left {
        tui::Left::Signal(15) => Exit::Terminated,
        tui::Left::Signal(1) => Exit::HungUp,
        tui::Left::Signal(_) => Exit::Interrupted,
        tui::Left::Detached => {
            let folded = State::fold(&home.read(run).await?)?;
            folded.finished.as_ref().map_or(Exit::Stopped, Exit::of_outcome)
        }
        tui::Left::Stopped | tui::Left::Finished => {
            let folded = State::fold(&home.read(run).await?)?;
            match (&folded.finished, folded.next()) {
                (Some(outcome), _) => Exit::of_outcome(outcome),
                (None, Next::Stop(Stop::Stuck)) => Exit::RollbackFailed,
                (None, Next::Stop(Stop::Failed(_))) => Exit::StepFailed,
                (None, Next::Plan) => Exit::NotApproved,
                (None, _) if folded.causes().is_empty() => Exit::Stopped,
                (None, _) => Exit::StepFailed,
            }
        }
    })
}

/// What stays in the scrollback: the end page, and how to go on.
async fn last_words(home: &Home, run: &str, simulated: bool, face: Face, common: &Common) -> Result<(), Failure> {
    let folded = State::fold(&home.read(run).await?)?;
    if folded.plan.is_none() {
        // Nothing was begun, so nothing is to be kept.
        home.forget(run).await;
        return Ok(());
    }
    let words = if folded.finished.is_some() {
        let width = width();
        let look = tui::Look::from_environment(|name| std::env::var(name).ok(), common.ascii, Some(false));
        let mut page = tui::end_page(&folded, run, &home.journal(run), &look, width, &common.again());
        // A rule is nothing that can be read aloud.
        page.retain(|line| face != Face::Plain || line.chars().any(|c| c != '-'));
        page.join("\n") + "\n"
    } else {
        let offered = format!("castoff resume {run}");
        report::status_text(run, &folded, None).replace(&offered, &format!("{offered}{}", common.again()))
    };
    let words = if simulated { rehearsed(&words) } else { words + &last_hash(home, run).await };
    let words = text::page(&words);
    if face == Face::Headless && common.format == Format::Json {
        let _ = write!(std::io::stderr(), "{words}");
    } else {
        let _ = write!(std::io::stdout(), "{words}");
    }
    Ok(())
}

/// What evidence of this run is held against, later.
async fn last_hash(home: &Home, run: &str) -> String {
    let links = match home.reader(run).await {
        Ok(reader) => reader.verify().await,
        Err(error) => Err(error),
    };
    let line = |links: Vec<Link>| Some(report::bundle::last_hash_line(&links.last()?.hash) + "\n");
    links.ok().and_then(line).unwrap_or_default()
}

/// The simulated cluster ends with the program: no command could find it again.
fn rehearsed(text: &str) -> String {
    let way_on = |line: &&str| ["castoff resume", "castoff rollback", "castoff report"].iter().any(|way| line.contains(way));
    let mut out: String = text.lines().filter(|line| !way_on(line)).flat_map(|line| [line, "\n"]).collect();
    out.push_str("a rehearsal: no cluster was touched, nothing is to be resumed or rolled back\n");
    out
}
