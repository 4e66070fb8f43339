//! A second terminal: looks on at a run that another castoff drives, and asks it to pause, go on, stop or change a limit.
//! Takes no lock and touches no cluster.

use super::{Common, Exit, Failure, Format, afar, home};
use crate::cluster::config::ClusterFile;
use crate::journal::Home;
use crate::model::{Asked, Command, Event, Limit, LimitChange, Plan, Stamped, State, Status, text};
use crate::remote::client::{self, Connection, Unreachable};
use crate::remote::peer;
use crate::remote::wire::{Ask, Say};
use crate::{headless, report, tui};
use serde_json::json;
use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};

/// An engine that reads a large cluster hears nothing meanwhile.
const ANSWER: Duration = Duration::from_secs(30);
/// A stop waits for what is in flight; then the run's castoff leaves.
const STOP: Duration = Duration::from_secs(40);

/// A run that some castoff holds.
pub struct Running {
    pub home: Home,
    pub run: String,
    pub holder: String,
    /// Its name as an offered command needs it: with the options that mean the same run.
    pub named: String,
}

impl Running {
    pub fn folder(&self) -> PathBuf {
        self.home.files(&self.run)
    }
}

/// The runs that are kept, rehearsals too: where, and their names.
async fn all(home: &Home) -> Result<Vec<(Home, String)>, Failure> {
    let mut out = vec![];
    for home in [home.clone(), home.rehearsals()] {
        out.extend(home.runs().await?.into_iter().map(|run| (home.clone(), run)));
    }
    Ok(out)
}

async fn held(common: &Common, (home, run): (Home, String)) -> Result<Option<Running>, Failure> {
    let named = format!("{run}{}", common.again());
    Ok(home.holder(&run).await?.map(|keeper| Running { home, run, holder: keeper.holder, named }))
}

/// The run that is meant, named in whole or by its end: it must be running.
async fn meant(common: &Common, run: Option<String>, verb: &str) -> Result<Running, Failure> {
    let home = home::home(common).await?;
    let Some(name) = run else {
        let mut running = vec![];
        for one in all(&home).await? {
            running.extend(held(common, one).await?);
        }
        if running.len() > 1 {
            let ways: Vec<String> = running.iter().map(|one| format!("castoff {verb} {}", one.named)).collect();
            let failure = Failure::new(Exit::Usage, format!("{} runs are running: say which one", running.len()));
            return Err(failure.hint(ways.join("\n      ")));
        }
        return running.pop().ok_or_else(|| {
            Failure::new(Exit::Usage, format!("no run is running here, by what is kept in `{}`", home.name()))
                .hint("castoff runs lists those that were; castoff resume goes on with one")
        });
    };
    let matching: Vec<_> = all(&home).await?.into_iter().filter(|(_, run)| *run == name || run.ends_with(&name)).collect();
    let (home, run) = match matching.as_slice() {
        [one] => one.clone(),
        [] => {
            let failure = Failure::new(Exit::Usage, format!("there is no run `{name}` in `{}`", home.name()));
            return Err(failure.hint("castoff runs"));
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(_, run)| run.as_str()).collect();
            let failure = Failure::new(Exit::Usage, format!("more than one run ends in `{name}`"));
            return Err(failure.hint(names.join(", ")));
        }
    };
    if let Some(running) = held(common, (home.clone(), run.clone())).await? {
        return Ok(running);
    }
    let folded = State::fold(&home.read(&run).await?)?;
    let named = format!("{run}{}", common.again());
    let hint = match &folded.finished {
        Some(_) => format!("it is over: castoff report {named}"),
        None => format!("castoff status {named} tells how it stands; castoff resume {named} goes on with it"),
    };
    Err(Failure::new(Exit::Usage, format!("run `{run}` does not run now")).hint(hint))
}

async fn connect(running: &Running) -> Result<Connection, Failure> {
    Connection::open(&running.folder()).await.map_err(|why| {
        let failure = Failure::new(Exit::Usage, format!("run `{}` is held by {}: {why}", running.run, running.holder));
        failure.hint(no_socket(running, &why))
    })
}

/// What a lock without a castoff behind its socket means.
pub fn no_socket(running: &Running, why: &Unreachable) -> String {
    let run = &running.named;
    if let Unreachable::Refused(_) = why {
        return "only its owner and root may: ask them, or look with their name".to_owned();
    }
    match host_of(&running.holder).filter(|on| *on != peer::host()) {
        Some(host) => format!("it runs on {host}: castoff watch {run} works there"),
        None => {
            format!("it holds the lock on this very machine and listens at no socket: castoff status {run} reads its journal")
        }
    }
}

/// The machine that a holder names.
pub fn host_of(holder: &str) -> Option<&str> {
    holder.split_once(" on ").and_then(|(_, rest)| rest.split([',', ' ']).next())
}

/// `castoff watch`.
pub async fn watch(common: &Common, run: Option<String>) -> Result<Exit, Failure> {
    let running = meant(common, run, "watch").await?;
    let on_screen = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    match connect(&running).await {
        Ok(connection) if on_screen => drop(look_on(common, &running, connection, None).await?),
        Ok(connection) => lines(common, &running, connection).await?,
        // Whoever may read the journal may look on.
        Err(_) if running.home.is_shared() => afar::watch(common, &running, on_screen, None).await?,
        Err(failure) => return Err(failure),
    }
    left(common, &running, on_screen).await
}

/// How the run stands when the watcher leaves: its end stays in the scrollback, and is the exit code.
async fn left(common: &Common, running: &Running, on_screen: bool) -> Result<Exit, Failure> {
    let Running { home, run, named, .. } = running;
    // What was never begun leaves nothing behind.
    let Ok(entries) = home.read(run).await else { return Ok(Exit::Done) };
    let folded = State::fold(&entries)?;
    let rehearsal = home.is_rehearsal();
    let mut out = std::io::stdout();
    match (&folded.finished, home.holder(run).await?) {
        (Some(outcome), _) => {
            if on_screen {
                let look = tui::Look { mono: true, ..common.look() };
                let page = tui::end_page(&folded, run, &home.journal(run), &look, super::run::width(), &common.again());
                let _ = writeln!(out, "{}", page.join("\n"));
            }
            Ok(Exit::of_outcome(outcome))
        }
        (None, Some(_)) => Ok(Exit::Done),
        (None, None) if rehearsal => {
            eprintln!("run {run}: its castoff is gone; a rehearsal ends with its process");
            Ok(Exit::Stopped)
        }
        (None, None) => {
            eprintln!("run {run}: its castoff is gone and nobody runs it now: castoff resume {named}");
            Ok(Exit::Stopped)
        }
    }
}

/// The screens, read-only.
pub async fn look_on(
    common: &Common,
    running: &Running,
    connection: Connection,
    held: Option<tui::Held>,
) -> Result<tui::Left, Failure> {
    let folder = running.folder();
    let watching = tui::Watching { holder: connection.hello.holder.clone(), begun: connection.hello.begun, held };
    let start = start(common, running, connection.entries.clone(), connection.hello.plan.clone(), watching)?;
    let (event_to, events) = mpsc::channel(4096);
    let (commands, command_from) = mpsc::channel(16);
    let terminal = terminal();
    let following = tokio::spawn(async move { client::follow(connection, &folder, &terminal, event_to, command_from).await });
    let left = tui::run(start, events, commands).await;
    following.abort();
    Ok(left?)
}

/// What the interface opens with, from a journal that somebody else writes.
pub fn start(
    common: &Common,
    running: &Running,
    entries: Vec<Stamped>,
    plan: Option<Arc<Plan>>,
    watching: tui::Watching,
) -> Result<tui::Start, Failure> {
    let known = State::fold(&entries)?.plan;
    let plan = known.or(plan).ok_or_else(|| Failure::new(Exit::Usage, format!("run `{}` has no plan yet", running.run)))?;
    Ok(tui::Start {
        plan,
        entries,
        run: running.run.clone(),
        simulated: running.home.is_rehearsal(),
        folder: running.folder(),
        journal: running.home.journal(&running.run),
        look: common.look(),
        rollback_to: None,
        on_hangup: tui::OnHangup::Pause,
        again: common.again(),
        still: false,
        watching: Some(watching),
        window: None,
        // Who looks on may have no cluster file, and then no secret of it.
        hidden: ClusterFile::load(common.cluster.as_deref()).map(|file| file.secret_variables()).unwrap_or_default(),
    })
}

/// Without a terminal: the headless lines, from now on.
async fn lines(common: &Common, running: &Running, connection: Connection) -> Result<(), Failure> {
    let folder = running.folder();
    let entries = connection.entries.clone();
    eprint!("{}", text::page(&report::status_text(&running.run, &State::fold(&entries)?, Some(&connection.hello.holder))));
    let (event_to, events) = mpsc::channel(4096);
    let (_commands, command_from) = mpsc::channel(1);
    let terminal = terminal();
    let following = tokio::spawn(async move { client::follow(connection, &folder, &terminal, event_to, command_from).await });
    headless::watch(&entries, events, common.format == Format::Json).await;
    following.abort();
    Ok(())
}

/// What is asked of a run, by the word that asks it.
pub enum Wanted {
    Pause,
    GoOn,
    Stop,
    Limits(Vec<LimitChange>),
}

impl Wanted {
    fn verb(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::GoOn => "go-on",
            Self::Stop => "stop",
            Self::Limits(_) => "limit",
        }
    }

    fn commands(&self) -> Vec<Command> {
        match self {
            Self::Pause => vec![Command::Pause],
            Self::GoOn => vec![Command::Continue],
            Self::Stop => vec![Command::Stop],
            Self::Limits(changes) => changes.iter().copied().map(Command::SetLimit).collect(),
        }
    }
}

/// `castoff limit pulls=4 total=20 [RUN]`: words with `=` are limits, one without is the run.
pub async fn limit(common: &Common, words: Vec<String>) -> Result<Exit, Failure> {
    let (changes, mut names): (Vec<String>, Vec<String>) = words.into_iter().partition(|word| word.contains('='));
    let run = names.pop();
    if let Some(other) = names.first() {
        return Err(Failure::new(Exit::Usage, format!("`{other}` is no limit, and one run at a time is meant"))
            .hint("castoff limit pulls=4 RUN"));
    }
    let parsed = changes.iter().map(|word| word.parse().map_err(|error| Failure::new(Exit::Usage, error)));
    let changes: Vec<LimitChange> = parsed.collect::<Result<_, _>>()?;
    if !changes.is_empty() {
        return ask(common, run, Wanted::Limits(changes)).await;
    }
    let running = meant(common, run, "limit").await?;
    let connection = connect(&running).await?;
    let state = State::fold(&connection.entries)?;
    let limits = connection.hello.plan.as_ref().map_or(state.limits, |plan| plan.limits);
    let mut out = std::io::stdout();
    if common.format == Format::Json {
        let _ = writeln!(out, "{}", json!({ "v": 1, "run": running.run, "limits": limits }));
        return Ok(Exit::Done);
    }
    for limit in Limit::ALL {
        let _ = writeln!(out, "{:<14}  {}", format!("{}={}", limit.word(), limits.of(limit)), limit.help());
    }
    let _ = writeln!(out, "castoff limit pulls=2 {} sets one, or several at once", running.named);
    Ok(Exit::Done)
}

/// Asks, waits for the answer, and says in words what happened and when it takes effect.
pub async fn ask(common: &Common, run: Option<String>, wanted: Wanted) -> Result<Exit, Failure> {
    let running = meant(common, run, wanted.verb()).await?;
    let mut connection = connect(&running).await?;
    let mut state = State::fold(&connection.entries)?;
    let run = &running.run;
    for (id, command) in (1..).zip(wanted.commands()) {
        let ask = Ask { id, terminal: terminal(), sudo: std::env::var("SUDO_USER").ok(), command };
        let answered = timeout(ANSWER, answer(&mut connection, &mut state, ask)).await;
        let refused = answered.map_err(|_| {
            Failure::new(Exit::Unexpected, format!("run `{run}` has not answered for {} s", ANSWER.as_secs()))
                .hint("it may be reading the cluster: what was asked counts when it is heard")
        })??;
        if let Some(why) = refused {
            return Err(Failure::new(Exit::Usage, format!("run `{run}` did not follow: {why}")));
        }
    }
    say(common, &running, &wanted, &state);
    if let Wanted::Stop = wanted {
        return wait_for_stop(common, &running, connection, state).await;
    }
    Ok(Exit::Done)
}

/// Sends one wish and listens until it is dealt with. Gives back why it was not followed.
async fn answer(connection: &mut Connection, state: &mut State, ask: Ask) -> Result<Option<String>, Failure> {
    let gone = |why: &str| Failure::new(Exit::Unexpected, format!("the run's castoff has gone before it answered: {why}"));
    let asked = Asked { id: ask.id, by: String::new(), command: ask.command.clone() };
    connection.ask(ask).await.map_err(|error| gone(&error.to_string()))?;
    loop {
        match connection.next().await {
            Ok(Some(Say::Answer { id, refused })) if id == asked.id => return Ok(refused),
            Ok(Some(Say::Event(Event::Entry(stamped)))) => state.apply(&stamped)?,
            Ok(Some(Say::Refused(why))) => return Err(gone(&why)),
            Ok(Some(Say::Bye)) if asked.command == Command::Stop => return Ok(None),
            Ok(Some(Say::Bye) | None) => return Err(gone("it said nothing")),
            Ok(Some(_)) => {}
            Err(error) => return Err(gone(&error.to_string())),
        }
    }
}

fn say(common: &Common, running: &Running, wanted: &Wanted, state: &State) {
    let Running { run, named, .. } = running;
    let n = state.steps.iter().flat_map(|step| &step.changes);
    let n = n.filter(|change| matches!(change.status, Status::Running | Status::Undoing)).count() as u64;
    let first = match n {
        0 => "nothing is in flight".to_owned(),
        1 => "1 change is finished first".to_owned(),
        n => format!("{} are finished first", text::count(n, "change")),
    };
    let words = match wanted {
        Wanted::Pause => format!("run {run} paused; {first}. castoff go-on {named} goes on"),
        Wanted::GoOn => format!("run {run} goes on"),
        Wanted::Stop => format!("run {run} stops; {first}, at most 20 s"),
        Wanted::Limits(_) => {
            let going =
                if n == 0 { String::new() } else { format!("; {} in flight go on as they are", text::count(n, "change")) };
            format!("run {run}: {}{going}", state.limits.words())
        }
    };
    let mut out = std::io::stdout();
    let _ = if common.format == Format::Json {
        let asked = wanted.verb();
        let said = json!({ "v": 1, "run": run, "asked": asked, "in-flight": n, "limits": state.limits, "sentence": words });
        writeln!(out, "{}", text::json(&said.to_string()))
    } else {
        writeln!(out, "{}", text::clean(&words))
    };
}

/// A stop is over when the run's castoff has gone.
async fn wait_for_stop(
    common: &Common,
    running: &Running,
    mut connection: Connection,
    mut state: State,
) -> Result<Exit, Failure> {
    let Running { run, named, .. } = running;
    let listen = async {
        while let Ok(Some(said)) = connection.next().await {
            match said {
                Say::Event(Event::Entry(stamped)) => drop(state.apply(&stamped)),
                Say::Bye => return,
                _ => {}
            }
        }
    };
    if timeout(STOP, listen).await.is_err() {
        let failure = Failure::new(Exit::Unexpected, format!("run `{run}` has not stopped for {} s", STOP.as_secs()));
        return Err(failure.hint(format!("castoff watch {named}")));
    }
    if common.format == Format::Text {
        let rehearsal = running.home.is_rehearsal();
        let way_on =
            if rehearsal { "a rehearsal ends with its process".to_owned() } else { format!("castoff resume {named} goes on") };
        let _ = writeln!(std::io::stdout(), "{}", text::clean(&format!("run {run} stopped; {way_on}")));
    }
    Ok(Exit::Done)
}

/// `pts/3 from 10.0.0.7`: where this is typed.
fn terminal() -> String {
    use rustix::termios::ttyname;
    let name = ttyname(std::io::stdin(), vec![]).or_else(|_| ttyname(std::io::stderr(), vec![]));
    let Ok(name) = name else { return String::new() };
    let name = name.to_string_lossy();
    let name = name.strip_prefix("/dev/").unwrap_or(&name);
    let from = std::env::var("SSH_CONNECTION").ok().and_then(|ssh| Some(ssh.split(' ').next()?.to_owned()));
    from.map_or_else(|| name.to_owned(), |from| format!("{name} from {from}"))
}
