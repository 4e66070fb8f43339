//! Where the engine's events part: to the front end, to everybody who looks on, and to the notices. Remembers what
//! somebody who comes later has to be told. The front end never waits for those who look on.

use super::wire::{Hello, Say, line};
use crate::model::{Asked, ChangeId, Command, Entry, Event, Progress, Stamped};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::mpsc::{self, Receiver, Sender, UnboundedSender},
    task::AbortHandle,
    time::{MissedTickBehavior, interval, timeout},
};

/// Lines that wait for one who looks on, before they are cut off.
const QUEUE: usize = 4096;
/// More at once are refused.
const MOST: usize = 32;
/// How often progress is told, the newest of each change.
const PROGRESS: Duration = Duration::from_millis(200);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Shared by the tee and the connections.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Mutex<Inner>>,
    asked: Sender<Asked>,
}

struct Inner {
    hello: Hello,
    /// Every entry as its line.
    past: Vec<Arc<str>>,
    /// How things stand beside the entries: the newest of each kind.
    now: BTreeMap<Kind, Arc<str>>,
    progress: BTreeMap<ChangeId, Progress>,
    /// Whose progress is not told yet.
    untold: BTreeSet<ChangeId>,
    watchers: BTreeMap<u64, Watcher>,
    /// Commands on their way: whose, and by which id they know it.
    asks: BTreeMap<u64, (u64, u64)>,
    next_id: u64,
    /// Held by every connection; all are gone when the last one is dropped.
    alive: Option<Sender<()>>,
    gone: Option<Receiver<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Survey,
    Changed,
    Gate,
    Waits,
}

struct Watcher {
    to: Sender<Arc<str>>,
    task: Option<AbortHandle>,
}

/// A connection's own part: what it is told first, then what comes.
pub struct Seat {
    pub id: u64,
    pub greeting: Vec<Arc<str>>,
    pub lines: Receiver<Arc<str>>,
    /// Dropped when the connection ends.
    pub alive: Sender<()>,
}

impl Hub {
    /// `entries` are those of a resumed run; `asked` leads to the engine.
    pub fn new(hello: Hello, entries: &[Stamped], asked: Sender<Asked>) -> Self {
        let past = entries.iter().map(|stamped| said(Say::Event(Event::Entry(stamped.clone())))).collect();
        let (alive, gone) = mpsc::channel(1);
        let inner = Inner {
            hello,
            past,
            now: BTreeMap::new(),
            progress: BTreeMap::new(),
            untold: BTreeSet::new(),
            watchers: BTreeMap::new(),
            asks: BTreeMap::new(),
            next_id: 1,
            alive: Some(alive),
            gone: Some(gone),
        };
        Self { inner: Arc::new(Mutex::new(inner)), asked }
    }

    /// Hands every event on until the engine has ended, then says farewell. `aside` gets everything but progress.
    pub async fn tee(self, mut events: Receiver<Event>, front: Sender<Event>, aside: Option<UnboundedSender<Event>>) {
        let mut told = interval(PROGRESS);
        told.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { break };
                    self.lock().hear(&event);
                    match event {
                        Event::Answered { .. } => {}
                        Event::Progress(_) => {
                            // May be lost, as everywhere.
                            let _ = front.try_send(event);
                        }
                        event => {
                            if let Some(aside) = &aside {
                                let _ = aside.send(event.clone());
                            }
                            // A front end that has gone is no reason to stop listening.
                            let _ = front.send(event).await;
                        }
                    }
                }
                _ = told.tick() => self.lock().tell_progress(),
            }
        }
        let (tasks, gone) = self.lock().farewell();
        let Some(mut gone) = gone else { return };
        if timeout(FAREWELL, gone.recv()).await.is_err() {
            tasks.iter().for_each(AbortHandle::abort);
        }
    }

    /// Takes somebody in who looks on; `None` if there are too many.
    pub fn join(&self) -> Option<Seat> {
        let mut inner = self.lock();
        if inner.watchers.len() >= MOST {
            return None;
        }
        let alive = inner.alive.clone()?;
        let id = inner.new_id();
        let (to, lines) = mpsc::channel(QUEUE);
        inner.watchers.insert(id, Watcher { to, task: None });
        Some(Seat { id, greeting: inner.greeting(), lines, alive })
    }

    /// The task of a connection: ended if its lines are not read.
    pub fn attend(&self, id: u64, task: AbortHandle) {
        match self.lock().watchers.get_mut(&id) {
            Some(watcher) => watcher.task = Some(task),
            None => task.abort(),
        }
    }

    pub fn leave(&self, id: u64) {
        let mut inner = self.lock();
        inner.watchers.remove(&id);
        inner.asks.retain(|_, (watcher, _)| *watcher != id);
    }

    /// Says one more thing to one of them.
    pub fn say(&self, id: u64, say: Say) {
        self.lock().say(id, &said(say));
    }

    /// Hands a command on, if it is one that may come from another terminal.
    pub fn ask(&self, watcher: u64, ask_id: u64, by: String, command: Command) {
        if let Some(why) = not_from_afar(&command) {
            return self.say(watcher, Say::Answer { id: ask_id, refused: Some(why) });
        }
        let mut inner = self.lock();
        let id = inner.new_id();
        inner.asks.insert(id, (watcher, ask_id));
        if self.asked.try_send(Asked { id, by, command }).is_err() {
            inner.asks.remove(&id);
            let refused = Some("the engine does not listen any more".to_owned());
            inner.say(watcher, &said(Say::Answer { id: ask_id, refused }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::Progress(progress) => {
                self.untold.insert(progress.change);
                self.progress.insert(progress.change, progress.clone());
                return;
            }
            Event::Answered { id, refused } => {
                if let Some((watcher, id)) = self.asks.remove(id) {
                    self.say(watcher, &said(Say::Answer { id, refused: refused.clone() }));
                }
                return;
            }
            _ => {}
        }
        let words = said(Say::Event(event.clone()));
        match event {
            Event::Entry(stamped) => {
                self.hello.begun = true;
                self.hello.plan = None;
                self.past.push(words.clone());
                match &stamped.entry {
                    Entry::GateApproved { .. } | Entry::RollbackBegun { .. } | Entry::Finished { .. } => {
                        self.now.remove(&Kind::Gate);
                    }
                    Entry::Started { change }
                    | Entry::Done { change }
                    | Entry::Failed { change, .. }
                    | Entry::Undone { change } => {
                        self.progress.remove(change);
                        self.untold.remove(change);
                    }
                    _ => {}
                }
            }
            Event::Survey(_) => drop(self.now.insert(Kind::Survey, words.clone())),
            Event::Changed(_) => drop(self.now.insert(Kind::Changed, words.clone())),
            Event::Gate(_) => drop(self.now.insert(Kind::Gate, words.clone())),
            Event::Waits { .. } => drop(self.now.insert(Kind::Waits, words.clone())),
            // Told to the operator who asked, and to nobody else.
            Event::Refused(_) => return,
            _ => {}
        }
        self.say_to_all(&words);
    }

    fn tell_progress(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        if self.watchers.is_empty() {
            return;
        }
        for change in untold {
            if let Some(progress) = self.progress.get(&change) {
                let words = said(Say::Event(Event::Progress(progress.clone())));
                self.say_to_all(&words);
            }
        }
    }

    fn greeting(&self) -> Vec<Arc<str>> {
        let mut out = vec![said(Say::Hello(Box::new(self.hello.clone())))];
        out.extend(self.past.iter().cloned());
        out.extend(self.now.values().cloned());
        out.extend(self.progress.values().map(|progress| said(Say::Event(Event::Progress(progress.clone())))));
        out.push(said(Say::Ready));
        out
    }

    fn say(&mut self, id: u64, words: &Arc<str>) {
        let Some(watcher) = self.watchers.get(&id) else { return };
        if watcher.to.try_send(words.clone()).is_err() {
            // Nobody waits for one who does not read.
            if let Some(task) = &watcher.task {
                task.abort();
            }
            self.watchers.remove(&id);
        }
    }

    fn say_to_all(&mut self, words: &Arc<str>) {
        let ids: Vec<u64> = self.watchers.keys().copied().collect();
        for id in ids {
            self.say(id, words);
        }
    }

    fn farewell(&mut self) -> (Vec<AbortHandle>, Option<Receiver<()>>) {
        self.say_to_all(&said(Say::Bye));
        self.alive = None;
        let watchers = std::mem::take(&mut self.watchers).into_values();
        (watchers.filter_map(|watcher| watcher.task).collect(), self.gone.take())
    }
}

fn said(say: Say) -> Arc<str> {
    line(say).into()
}

/// Why a command does not come from another terminal, by its name.
fn not_from_afar(command: &Command) -> Option<String> {
    let name = match command {
        Command::Pause | Command::Continue | Command::Stop | Command::SetLimit(_) | Command::Recheck => return None,
        Command::Begin => "begin",
        Command::Approve { .. } | Command::ApproveCanary { .. } => "approve",
        Command::Verify => "verify",
        Command::Retry(_) => "retry",
        Command::Skip { .. } => "skip",
        Command::RollBack { .. } => "roll back",
        Command::StopNow => "stop at once",
        Command::Abort { .. } => "abort",
        Command::MoveWindow { .. } => "move the window",
    };
    Some(format!("`{name}` is taken only where the run is; from here: pause, go-on, stop, limit"))
}
