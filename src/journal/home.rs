//! Where runs are kept: a folder of this machine, or a PostgreSQL that operators share. Local files of a run (socket,
//! run.log, copies) lie in the folder in both cases. Everybody else asks only this.

use super::{
    Journal, JournalError, Reader, folder,
    shared::{Beat, Place, Shared},
    store::Store,
};
use crate::model::{Digest, Entry, Holder, Stamped};
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Clone, Debug)]
pub struct Home {
    state: PathBuf,
    shared: Option<Arc<Shared>>,
}

/// Who has a run, and lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeper {
    pub run: Option<String>,
    pub holder: String,
    /// Empty: this machine.
    pub host: String,
    /// How long it was not heard of, where it says so at all.
    pub silent_ms: Option<i64>,
}

/// What is wanted of a run that is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    New,
    Free,
    ByForce,
}

impl Home {
    /// Runs in a folder of this machine.
    pub fn folder(state: &Path) -> Self {
        Self { state: state.to_owned(), shared: None }
    }

    /// Runs in a PostgreSQL; their local files below `state`.
    pub async fn shared(state: &Path, place: Place) -> Result<Self, JournalError> {
        Ok(Self { state: state.to_owned(), shared: Some(Arc::new(Shared::open(place).await?)) })
    }

    /// Rehearsals are nobody else's: always a folder.
    #[must_use]
    pub fn rehearsals(&self) -> Self {
        Self::folder(&self.state.join("rehearsals"))
    }

    pub fn is_rehearsal(&self) -> bool {
        self.shared.is_none() && self.state.ends_with("rehearsals")
    }

    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Where it is, for messages.
    pub fn name(&self) -> String {
        self.shared.as_ref().map_or_else(|| self.state.display().to_string(), |shared| shared.name.clone())
    }

    /// Where the journal of a run is, in words.
    pub fn journal(&self, run: &str) -> String {
        self.shared.as_ref().map_or_else(|| self.files(run).display().to_string(), |shared| format!("{} in {}", run, shared.name))
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Where the local files of a run lie.
    pub fn files(&self, run: &str) -> PathBuf {
        folder::folder(&self.state, run)
    }

    /// The runs that are kept, oldest first: their names sort by time.
    pub async fn runs(&self) -> Result<Vec<String>, JournalError> {
        match &self.shared {
            None => Ok(folder::runs(&self.state)),
            Some(shared) => {
                let store = Store::Shared(Arc::clone(shared));
                shared.runs().await.map_err(|why| store.error("read", &why))
            }
        }
    }

    /// Every entry of a run, without its lock: for looking on.
    pub async fn read(&self, run: &str) -> Result<Vec<Stamped>, JournalError> {
        let reader = self.reader(run).await?;
        let entries = reader.after(0).await;
        if let Store::Folder { pool, .. } = &reader.store {
            pool.close().await;
        }
        entries
    }

    pub async fn reader(&self, run: &str) -> Result<Reader, JournalError> {
        let store = match &self.shared {
            None => folder::reader(&self.state, run).await?,
            Some(shared) => {
                let store = Store::Shared(Arc::clone(shared));
                store.known(run).await?;
                store
            }
        };
        Ok(Reader { store, run: run.to_owned() })
    }

    /// Who holds the run, if anybody does who lives.
    pub async fn holder(&self, run: &str) -> Result<Option<Keeper>, JournalError> {
        match &self.shared {
            None => Ok(folder::holder(&self.state, run).map(|holder| Keeper {
                run: Some(run.to_owned()),
                host: holder
                    .split_once(" on ")
                    .and_then(|(_, rest)| rest.split([',', ' ']).next())
                    .unwrap_or_default()
                    .to_owned(),
                holder,
                silent_ms: None,
            })),
            Some(shared) => {
                let store = Store::Shared(Arc::clone(shared));
                shared.keeper(run).await.map_err(|why| store.error("read", &why))
            }
        }
    }

    /// Takes a cluster for one castoff of this machine, until the file is dropped: two runs side by side would each find
    /// the other's work. By force from the castoff whose run is taken over.
    pub fn take_cluster(&self, cluster: &str, holder: &Holder, by_force: bool) -> Result<File, JournalError> {
        folder::take_cluster(&self.state, cluster, &holder.to_string(), by_force)
    }

    /// A new run, with its folder (0700). Where runs are shared it takes the cluster too.
    pub async fn create(&self, run: &str, cluster: &str, holder: &Holder) -> Result<Journal, JournalError> {
        folder::make(&self.state, run)?;
        let journal = Box::pin(self.take(run, cluster, holder, Way::New)).await?;
        folder::settle(&self.state, run)?;
        Ok(journal)
    }

    /// An existing run, for going on with it: takes it and a new epoch, so that nobody else can append. Refused while
    /// somebody who lives has it.
    pub async fn open(&self, run: &str, cluster: &str, holder: &Holder) -> Result<Journal, JournalError> {
        Box::pin(self.take(run, cluster, holder, Way::Free)).await
    }

    /// The same by another operator, who says why. `by_force` also from one who lives: what it wanted to do next it
    /// cannot do any more.
    pub async fn take_over(
        &self,
        run: &str,
        cluster: &str,
        holder: &Holder,
        (at_ms, why, by_force): (i64, &str, bool),
    ) -> Result<Journal, JournalError> {
        let way = if by_force { Way::ByForce } else { Way::Free };
        let mut journal = Box::pin(self.take(run, cluster, holder, way)).await?;
        let taken = Entry::TakenOver { by: holder.who.clone(), why: why.to_owned() };
        journal.append(at_ms, vec![taken]).await?;
        Ok(journal)
    }

    /// A run that never began leaves nothing behind.
    pub async fn forget(&self, run: &str) {
        if let Some(shared) = &self.shared {
            let _ = shared.forget(run).await;
        }
        let _ = std::fs::remove_dir_all(self.files(run));
    }

    async fn take(&self, run: &str, cluster: &str, holder: &Holder, way: Way) -> Result<Journal, JournalError> {
        let (store, epoch, lock, witness) = match &self.shared {
            None => {
                if !self.files(run).is_dir() {
                    return Err(JournalError::NoRun(run.to_owned()));
                }
                folder::make(&self.state, run)?;
                let lock = folder::take_run(&self.state, run, &holder.to_string(), way == Way::ByForce)?;
                let store = folder::writer(&self.state, run).await?;
                // Only a whole journal is gone on with.
                store.links(run, 0).await?;
                let epoch = folder::new_epoch(&store, run).await?;
                let witness = folder::witness(&store)?;
                (store, epoch, Some(lock), Some(witness))
            }
            Some(shared) => {
                let store = Store::Shared(Arc::clone(shared));
                if way != Way::New {
                    store.known(run).await?;
                    store.links(run, 0).await?;
                    folder::make(&self.state, run)?;
                }
                let claim = shared.claim((run, cluster), holder, way == Way::New, way == Way::ByForce).await;
                let epoch = claim.map_err(|why| store.error("lock", &why))??;
                (store, epoch, None, None)
            }
        };
        let meta = store.known(run).await?;
        let head: Digest = meta.last_hash.parse().map_err(|_| JournalError::Damaged {
            path: store.path(),
            seq: meta.last_seq,
            why: "the hash of the last entry is not there".to_owned(),
        })?;
        let beat = self.shared.as_ref().map(|shared| Beat::start(Arc::clone(shared), run, epoch));
        Ok(Journal { store, run: run.to_owned(), epoch, seq: meta.last_seq, head, witness, _lock: lock, beat })
    }
}
