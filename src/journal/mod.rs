//! Layer 2: the durable record of a run. An entry that was appended survives `kill -9` and the power cut; an entry that
//! could not be written is an error before any effect.
//!
//! # Two homes
//!
//! Runs are kept in a folder, one SQLite file each, or in a PostgreSQL that several operators share: the same two tables,
//! the same statements, the same chain of hashes. [`Home`] is either; nobody else knows which.
//!
//! # The fence
//!
//! Whoever opens a run for going on takes a new epoch. Every append is refused that does not carry the newest one, and the
//! [`Fence`] is asked right before each effect: a castoff that was suspended between its append and its effect, while
//! somebody took its run over, does nothing when it wakes.
//!
//! What remains: a process that is suspended between the fence's answer and the first byte of its effect. There the server
//! decides, where it can: etcd compares the lease of the cluster and the value of each key, PostgreSQL the old row. A pull
//! twice does no harm; a removal names the exact image, and an Engine refuses to remove what a container uses.

mod folder;
mod home;
mod shared;
mod store;
mod witness;

use crate::model::{Digest, Entry, Stamped, chain};
pub use folder::{folder, runs};
pub use home::{Home, Keeper};
use shared::Beat;
pub use shared::Place;
use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};
use store::{Store, Written};
use tokio::time::Instant;
use witness::Witness;

/// The format this version reads and writes. Another one is refused by name.
const JOURNAL_VERSION: i64 = 3;
/// How long a shared journal may be away before the run stops.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot {what} the journal `{path}`: {why}")]
    Storage { what: &'static str, path: PathBuf, why: String },
    #[error("the journal `{path}` is damaged at entry {seq}: {why}")]
    Damaged { path: PathBuf, seq: u64, why: String },
    #[error("the journal `{path}` has format {found}; this castoff reads {JOURNAL_VERSION}")]
    Format { path: PathBuf, found: i64 },
    /// `run`: the one that the holder runs, and `journal`: where that is kept, each where it is known.
    #[error("{what} is held by {holder}")]
    Held { what: String, holder: String, run: Option<String>, journal: Option<String> },
    #[error("there is no run `{0}`")]
    NoRun(String),
    #[error("this run was taken over by {by}{}: {why}; nothing more is written or done from here", at(*at_ms))]
    TakenOver { by: String, at_ms: Option<i64>, why: String },
}

fn at(at_ms: Option<i64>) -> String {
    let at = at_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(String::new, |at| at.to_zoned(jiff::tz::TimeZone::system()).strftime(" at %Y-%m-%d %H:%M:%S %Z").to_string())
}

/// A journal open for appending. Holds its run until it is dropped.
#[derive(Debug)]
pub struct Journal {
    store: Store,
    pub run: String,
    epoch: i64,
    seq: u64,
    /// Hash of the last entry.
    head: Digest,
    /// Beside a file; a server keeps its own.
    witness: Option<Witness>,
    _lock: Option<File>,
    beat: Option<Beat>,
}

impl Journal {
    /// A new run in a folder. `holder` is who and where, for the next one.
    pub async fn create(state: &Path, run: &str, holder: &str) -> Result<Self, JournalError> {
        Home::folder(state).create(run, "", &crate::model::Holder::named(holder)).await
    }

    /// An existing run of a folder, for going on with it.
    pub async fn open(state: &Path, run: &str, holder: &str) -> Result<Self, JournalError> {
        Home::folder(state).open(run, "", &crate::model::Holder::named(holder)).await
    }

    /// Appends entries in one durable write: all of them or none. Refused if another castoff has taken the run over.
    ///
    /// A shared journal that is away for a moment is waited for. If the answer of a write was lost, the journal is asked
    /// whether the entries are there before anything else happens: none is doubled, none is lost.
    pub async fn append(&mut self, at_ms: i64, entries: Vec<Entry>) -> Result<Vec<Stamped>, JournalError> {
        let mut stamped = Vec::with_capacity(entries.len());
        let mut lines = Vec::with_capacity(entries.len());
        let mut head = self.head.clone();
        for (entry, seq) in entries.into_iter().zip(self.seq + 1..) {
            let body = serde_json::to_string(&entry).expect("an entry is plain data");
            head = chain::link(&head, &chain::line(seq, at_ms, self.epoch, &body));
            lines.push((seq, body, head.clone()));
            stamped.push(Stamped { seq, at_ms, entry });
        }
        let seq = self.seq + stamped.len() as u64;
        let until = Instant::now() + if self.store.is_shared() { PATIENCE } else { Duration::ZERO };
        loop {
            let trouble = match self.store.write(&self.run, (self.epoch, at_ms), self.seq, &lines).await {
                Ok(Written::Yes) => break,
                Ok(Written::Refused) => None,
                Err(why) if self.store.is_shared() => Some(why),
                Err(why) => return Err(self.store.error("write", &why)),
            };
            // Whether it is written is asked, never guessed.
            match self.store.meta(&self.run).await {
                Ok(Some(meta)) if meta.epoch != self.epoch => return Err(self.fence().taken_over().await),
                Ok(Some(meta)) if meta.last_seq == seq && meta.last_hash == head.as_str() => break,
                Ok(Some(meta)) if meta.last_seq == self.seq && meta.last_hash == self.head.as_str() => {
                    if let Some(why) = trouble.filter(|why| Instant::now() >= until || !store::passes(why)) {
                        return Err(self.store.error("write", &why));
                    }
                }
                Ok(_) => {
                    let why = "what stands there was not written by this castoff".to_owned();
                    return Err(JournalError::Damaged { path: self.store.path(), seq: self.seq + 1, why });
                }
                Err(why) if Instant::now() >= until || !store::passes(&why) => return Err(self.store.error("write", &why)),
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
        if let Some(witness) = &self.witness {
            let noted = witness.note(seq, &head);
            noted.map_err(|why| JournalError::Storage { what: "write", path: self.store.path(), why: why.to_string() })?;
        }
        (self.seq, self.head) = (seq, head);
        Ok(stamped)
    }

    /// Every entry of this journal, in order.
    pub async fn entries(&self) -> Result<Vec<Stamped>, JournalError> {
        self.store.entries(&self.run, 0).await
    }

    /// What is asked right before each effect.
    pub fn fence(&self) -> Fence {
        Fence { store: self.store.clone(), run: self.run.clone(), epoch: self.epoch }
    }

    /// Comes back only when somebody else is known to have the run: told by the heart-beat, where there is one.
    pub async fn lost(&self) -> JournalError {
        match &self.beat {
            Some(beat) => beat.lost().await,
            None => std::future::pending().await,
        }
        self.fence().taken_over().await
    }

    /// Ends when the run has been let go, after this journal was dropped.
    pub fn farewell(&self) -> impl Future<Output = ()> + Send + 'static {
        let ended = self.beat.as_ref().map(Beat::ended);
        async move {
            if let Some(ended) = ended {
                ended.await;
            }
        }
    }
}

/// Whether the run is still ours: asked right before each effect, after its entry is durable.
#[derive(Clone, Debug)]
pub struct Fence {
    store: Store,
    run: String,
    epoch: i64,
}

impl Fence {
    /// `Ok` only if the journal says so now. A shared journal that is away for a moment is waited for.
    pub async fn ask(&self) -> Result<(), JournalError> {
        let until = Instant::now() + if self.store.is_shared() { PATIENCE } else { Duration::ZERO };
        loop {
            match self.store.meta(&self.run).await {
                Ok(Some(meta)) if meta.epoch == self.epoch => return Ok(()),
                Ok(Some(_)) => return Err(self.taken_over().await),
                Ok(None) => return Err(JournalError::NoRun(self.run.clone())),
                Err(why) if Instant::now() >= until || !store::passes(&why) => return Err(self.store.error("read", &why)),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Who has the run now, as far as the journal tells.
    async fn taken_over(&self) -> JournalError {
        // Its first entry comes right after its epoch.
        for _ in 0..10 {
            if let Ok(Some((at_ms, entry))) = self.store.first_of_later_epoch(&self.run, self.epoch).await {
                let (by, why) = match entry {
                    Some(Entry::TakenOver { by, why }) => (by, why),
                    _ => (self.store.holder(&self.run).await, "it goes on there".to_owned()),
                };
                return JournalError::TakenOver { by, at_ms: Some(at_ms), why };
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let by = self.store.holder(&self.run).await;
        JournalError::TakenOver { by, at_ms: None, why: "no entry says why".to_owned() }
    }
}

/// A written entry as the chain holds it: its line of JSON, and its hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub stamped: Stamped,
    pub line: String,
    pub hash: Digest,
}

/// Every entry of a run in a folder, without its lock: for looking on.
pub async fn read(state: &Path, run: &str) -> Result<Vec<Stamped>, JournalError> {
    Home::folder(state).read(run).await
}

/// Who holds a run of a folder, if anybody does.
pub fn holder(state: &Path, run: &str) -> Option<String> {
    folder::holder(state, run)
}

/// Takes a cluster for one castoff of this machine, until the file is dropped: two runs side by side would each find
/// the other's work.
pub fn take_cluster(state: &Path, cluster: &str, holder: &str) -> Result<File, JournalError> {
    folder::take_cluster(state, cluster, holder, false)
}

/// A journal open for looking on, without its lock.
pub struct Reader {
    store: Store,
    run: String,
}

impl Reader {
    /// Of a run in a folder.
    pub async fn open(state: &Path, run: &str) -> Result<Self, JournalError> {
        Home::folder(state).reader(run).await
    }

    /// The entries after this one, in order.
    pub async fn after(&self, seq: u64) -> Result<Vec<Stamped>, JournalError> {
        self.store.entries(&self.run, seq).await
    }

    /// Every entry with its line and hash, the chain held against each; then the file itself, page by page.
    pub async fn verify(&self) -> Result<Vec<Link>, JournalError> {
        let links = self.store.links(&self.run, 0).await?;
        match self.store.whole().await? {
            None => Ok(links),
            Some(why) => Err(JournalError::Damaged { path: self.store.path(), seq: links.len() as u64 + 1, why }),
        }
    }
}
