//! Layer 3: notices to whoever does not look at a terminal: a command gets JSON on its standard input, a webhook the same
//! by POST. Never waited for by the run, never a reason for it to fail, never a secret in one.
//!
//! One notice is one object, its fields always the same:
//!
//! ```text
//! {"v":1,"what":"question","run":"20261121-0240-7f3a","cluster":"prod-a","step":"drain",
//!  "sentence":"Step 8, Wait for old sessions, waits for your answer: question 3 of 4.","at":"2026-11-21T02:40:00Z"}
//! ```
//!
//! | what | when, each once |
//! |---|---|
//! | `question` | a gate can be answered now, or a canary approved |
//! | `waits` | a gate has waited for its checks for longer than a quarter of an hour |
//! | `failed` | changes of a step failed, and nothing else starts |
//! | `stuck` | an undo failed: a human is needed |
//! | `done`, `rolled-back`, `aborted` | the run is over |
//! | `interrupted` | a signal or a lost terminal stopped the run; it can be resumed |
//!
//! `step` is the id of the step, or null. With `v` 1 fields may be added, none changes its meaning.

mod news;
mod send;

pub use news::{Notice, What};
pub use send::{Ways, Webhook};

use crate::model::{Event, Level, Stamped};
use news::News;
use std::time::Duration;
use tokio::{
    sync::mpsc::{self, Receiver, UnboundedReceiver, UnboundedSender, WeakSender},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

/// How often a wait is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The notices of one run, on their way beside it.
pub struct Notices {
    listener: JoinHandle<()>,
    /// For what is no event of the engine.
    own: UnboundedSender<What>,
    senders: Vec<JoinHandle<()>>,
    unsent: Receiver<String>,
}

/// Which run the notices are about.
#[derive(Clone, Debug)]
pub struct Run {
    pub run: String,
    pub cluster: String,
    pub now_ms: fn() -> i64,
}

impl Notices {
    /// Listens to the events of a run; `entries` are those of a resumed one. A notice that cannot be sent is a line in
    /// `warn`.
    pub fn start(
        ways: Ways,
        run: Run,
        entries: &[Stamped],
        events: UnboundedReceiver<Event>,
        warn: WeakSender<Event>,
    ) -> Result<Self, String> {
        let (late, unsent) = mpsc::channel(16);
        let warning = Warning { warn, late, now_ms: run.now_ms };
        let (to, senders) = send::start(ways, &warning)?;
        let (own, what) = mpsc::unbounded_channel();
        let listener = tokio::spawn(listen(News::new(run, entries), events, what, to));
        Ok(Self { listener, own, senders, unsent })
    }

    /// A signal, or the loss of the terminal, ended what went on.
    pub fn interrupted(&self) {
        let _ = self.own.send(What::Interrupted);
    }

    /// Lets what is on its way arrive, for as long as `grace`. Gives back what could not be sent.
    pub async fn finish(self, grace: Duration) -> Vec<String> {
        let until = Instant::now() + grace;
        drop(self.own);
        let Self { mut listener, mut senders, mut unsent, .. } = self;
        let _ = timeout_at(until, &mut listener).await;
        listener.abort();
        for sender in &mut senders {
            let _ = timeout_at(until, &mut *sender).await;
            sender.abort();
        }
        let mut out = vec![];
        while let Ok(words) = unsent.try_recv() {
            out.push(words);
        }
        out
    }
}

/// Where a notice that failed is told: in the log of the run, or after it.
#[derive(Clone)]
struct Warning {
    warn: WeakSender<Event>,
    late: mpsc::Sender<String>,
    now_ms: fn() -> i64,
}

impl Warning {
    fn say(&self, words: &str) {
        let text = crate::model::text::clean(words);
        let said = Event::Said { level: Level::Warn, at_ms: (self.now_ms)(), place: String::new(), text: text.clone() };
        let told = self.warn.upgrade().is_some_and(|events| events.try_send(said).is_ok());
        if !told {
            let _ = self.late.try_send(text);
        }
    }
}

async fn listen(
    mut news: News,
    mut events: UnboundedReceiver<Event>,
    mut own: UnboundedReceiver<What>,
    to: Vec<UnboundedSender<Notice>>,
) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut over = false;
    loop {
        let notice = tokio::select! {
            // What happened comes before what is said about it.
            biased;
            event = events.recv(), if !over => match event {
                Some(event) => news.event(&event),
                None => {
                    over = true;
                    None
                }
            },
            what = own.recv() => match what {
                Some(what) => Some(news.about(what)),
                None if over => return,
                None => {
                    // The rest of the events still counts.
                    while let Some(event) = events.recv().await {
                        if let Some(notice) = news.event(&event) {
                            to.iter().for_each(|way| drop(way.send(notice.clone())));
                        }
                    }
                    return;
                }
            },
            _ = look.tick() => news.tick(),
        };
        if let Some(notice) = notice {
            to.iter().for_each(|way| drop(way.send(notice.clone())));
        }
    }
}
