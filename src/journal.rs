//! Layer 2: the durable record of a run, in SQLite, one folder a run. An entry that was appended survives `kill -9`
//! and the power cut; an entry that could not be written is an error before any effect.

use crate::model::{Entry, Stamped, text};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row as _, SqlitePool};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// The format this version writes. A newer one is refused by name.
const JOURNAL_VERSION: i64 = 1;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot {what} the journal `{path}`: {why}")]
    Storage { what: &'static str, path: PathBuf, why: String },
    #[error("the journal `{path}` is damaged at entry {seq}: {why}")]
    Damaged { path: PathBuf, seq: u64, why: String },
    #[error("the journal `{path}` has format {found}; this castoff reads up to {JOURNAL_VERSION}")]
    TooNew { path: PathBuf, found: i64 },
    #[error("{what} is held by {holder}")]
    Held { what: String, holder: String },
    #[error("there is no run `{0}`")]
    NoRun(String),
    #[error("this run was taken over by another castoff; nothing more can be written here")]
    TakenOver,
}

/// A journal open for appending. Holds the lock of its run until it is dropped.
#[derive(Debug)]
pub struct Journal {
    pool: SqlitePool,
    path: PathBuf,
    pub run: String,
    epoch: i64,
    seq: u64,
    _lock: File,
}

impl Journal {
    /// A new run below `state`, with its folder (0700) and its lock. `holder` is who and where, for the next one.
    pub async fn create(state: &Path, run: &str, holder: &str) -> Result<Self, JournalError> {
        let folder = folder(state, run);
        let storage = |why: std::io::Error| JournalError::Storage { what: "create", path: folder.clone(), why: why.to_string() };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(storage)?;
        let journal = Self::open(state, run, holder).await?;
        // The new names themselves must survive a power cut, not only what the files hold.
        for ancestor in folder.ancestors().take(3) {
            File::open(ancestor).and_then(|dir| dir.sync_all()).map_err(storage)?;
        }
        Ok(journal)
    }

    /// An existing run, for going on with it: takes its lock and a new epoch, so that nobody else can append.
    pub async fn open(state: &Path, run: &str, holder: &str) -> Result<Self, JournalError> {
        let folder = folder(state, run);
        if !folder.is_dir() {
            return Err(JournalError::NoRun(run.to_owned()));
        }
        let lock = lock(&folder.join("lock"), format!("run `{run}`"), holder)?;
        let path = folder.join("journal.sqlite");
        let pool = connect(&path, true).await?;
        let storage = |what| {
            let path = path.clone();
            move |why: sqlx::Error| JournalError::Storage { what, path, why: why.to_string() }
        };
        for statement in [
            "CREATE TABLE IF NOT EXISTS meta (version INTEGER NOT NULL, epoch INTEGER NOT NULL)",
            "CREATE TABLE IF NOT EXISTS entry (seq INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, at_ms INTEGER NOT NULL, body TEXT NOT NULL)",
            "INSERT INTO meta SELECT 1, 0 WHERE NOT EXISTS (SELECT * FROM meta)",
        ] {
            sqlx::query(statement).execute(&pool).await.map_err(storage("prepare"))?;
        }
        refuse_newer(&pool, &path).await?;
        let row =
            sqlx::query("UPDATE meta SET epoch = epoch + 1 RETURNING epoch").fetch_one(&pool).await.map_err(storage("lock"))?;
        let epoch: i64 = row.get(0);
        let row = sqlx::query("SELECT coalesce(max(seq), 0) FROM entry").fetch_one(&pool).await.map_err(storage("read"))?;
        let seq: i64 = row.get(0);
        Ok(Self { pool, path, run: run.to_owned(), epoch, seq: seq.unsigned_abs(), _lock: lock })
    }

    /// Appends entries in one durable write: all of them or none. Refused if another castoff has taken the run over.
    pub async fn append(&mut self, at_ms: i64, entries: Vec<Entry>) -> Result<Vec<Stamped>, JournalError> {
        let storage = |why: sqlx::Error| JournalError::Storage { what: "write", path: self.path.clone(), why: why.to_string() };
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(storage)?;
        let row = sqlx::query("SELECT epoch FROM meta").fetch_one(&mut *transaction).await.map_err(storage)?;
        if row.get::<i64, _>(0) != self.epoch {
            return Err(JournalError::TakenOver);
        }
        let mut stamped = Vec::with_capacity(entries.len());
        for (entry, seq) in entries.into_iter().zip(self.seq + 1..) {
            let body = serde_json::to_string(&entry).expect("an entry is plain data");
            sqlx::query("INSERT INTO entry (seq, epoch, at_ms, body) VALUES (?, ?, ?, ?)")
                .bind(seq.cast_signed())
                .bind(self.epoch)
                .bind(at_ms)
                .bind(body)
                .execute(&mut *transaction)
                .await
                .map_err(storage)?;
            stamped.push(Stamped { seq, at_ms, entry });
        }
        transaction.commit().await.map_err(storage)?;
        self.seq += stamped.len() as u64;
        Ok(stamped)
    }

    /// Every entry of this journal, in order.
    pub async fn entries(&self) -> Result<Vec<Stamped>, JournalError> {
        entries(&self.pool, &self.path, 0).await
    }
}

/// Every entry of a run, without its lock: for looking on.
pub async fn read(state: &Path, run: &str) -> Result<Vec<Stamped>, JournalError> {
    let reader = Reader::open(state, run).await?;
    let entries = reader.after(0).await;
    reader.pool.close().await;
    entries
}

/// A journal open for looking on, without its lock.
pub struct Reader {
    pool: SqlitePool,
    path: PathBuf,
}

impl Reader {
    pub async fn open(state: &Path, run: &str) -> Result<Self, JournalError> {
        let path = folder(state, run).join("journal.sqlite");
        if !path.is_file() {
            return Err(JournalError::NoRun(run.to_owned()));
        }
        let pool = connect(&path, false).await?;
        refuse_newer(&pool, &path).await?;
        Ok(Self { pool, path })
    }

    /// The entries after this one, in order.
    pub async fn after(&self, seq: u64) -> Result<Vec<Stamped>, JournalError> {
        entries(&self.pool, &self.path, seq).await
    }
}

/// The runs below `state`, oldest first: their names sort by time.
pub fn runs(state: &Path) -> Vec<String> {
    let folders = fs::read_dir(state.join("runs")).into_iter().flatten().flatten();
    let mut out: Vec<String> =
        folders.filter(|f| f.path().join("journal.sqlite").is_file()).filter_map(|f| f.file_name().into_string().ok()).collect();
    out.sort();
    out
}

/// Where the files of a run lie.
pub fn folder(state: &Path, run: &str) -> PathBuf {
    state.join("runs").join(run)
}

/// Who holds the run, if anybody does.
pub fn holder(state: &Path, run: &str) -> Option<String> {
    let path = folder(state, run).join("lock");
    let file = File::open(&path).ok()?;
    match file.try_lock_shared() {
        Ok(()) => None,
        Err(_) => fs::read_to_string(path).ok().map(|holder| text::clean(&holder)),
    }
}

/// Takes a cluster for one castoff of this machine, until the file is dropped: two runs side by side would each find
/// the other's work.
pub fn take_cluster(state: &Path, cluster: &str, holder: &str) -> Result<File, JournalError> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let folder = state.join("clusters");
    let storage = |why: std::io::Error| JournalError::Storage { what: "create", path: folder.clone(), why: why.to_string() };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(storage)?;
    let name: String = cluster.chars().map(plain).collect();
    lock(&folder.join(format!("{name}.lock")), format!("cluster `{cluster}`"), holder)
}

fn lock(path: &Path, what: String, holder: &str) -> Result<File, JournalError> {
    let storage = |why: std::io::Error| JournalError::Storage { what: "lock", path: path.to_owned(), why: why.to_string() };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(storage)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut said = String::new();
            let _ = file.read_to_string(&mut said);
            let holder = if said.is_empty() { "another castoff".to_owned() } else { text::clean(&said) };
            return Err(JournalError::Held { what, holder });
        }
        Err(TryLockError::Error(why)) => return Err(storage(why)),
    }
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes())).map_err(storage)?;
    Ok(file)
}

async fn connect(path: &Path, write: bool) -> Result<SqlitePool, JournalError> {
    if write {
        // Created here, so that its mode is 0600 from the first byte.
        let created = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        created.map_err(|why| JournalError::Storage { what: "open", path: path.to_owned(), why: why.to_string() })?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(!write)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5));
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(10)).connect_with(options).await;
    pool.map_err(|why| JournalError::Storage { what: "open", path: path.to_owned(), why: why.to_string() })
}

async fn refuse_newer(pool: &SqlitePool, path: &Path) -> Result<(), JournalError> {
    let row = sqlx::query("SELECT version FROM meta").fetch_one(pool).await;
    let row = row.map_err(|why| JournalError::Storage { what: "read", path: path.to_owned(), why: why.to_string() })?;
    let found: i64 = row.get(0);
    if found > JOURNAL_VERSION { Err(JournalError::TooNew { path: path.to_owned(), found }) } else { Ok(()) }
}

async fn entries(pool: &SqlitePool, path: &Path, after: u64) -> Result<Vec<Stamped>, JournalError> {
    let rows = sqlx::query("SELECT seq, at_ms, body FROM entry WHERE seq > ? ORDER BY seq")
        .bind(after.cast_signed())
        .fetch_all(pool)
        .await;
    let rows = rows.map_err(|why| JournalError::Storage { what: "read", path: path.to_owned(), why: why.to_string() })?;
    let mut out = Vec::with_capacity(rows.len());
    for (row, expected) in rows.iter().zip(after + 1..) {
        let damaged = |why: String| JournalError::Damaged { path: path.to_owned(), seq: expected, why };
        let seq = row.get::<i64, _>("seq").unsigned_abs();
        if seq != expected {
            return Err(damaged(format!("entry {seq} stands there")));
        }
        let entry = serde_json::from_str(row.get::<&str, _>("body")).map_err(|e| damaged(e.to_string()))?;
        out.push(Stamped { seq, at_ms: row.get("at_ms"), entry });
    }
    Ok(out)
}
