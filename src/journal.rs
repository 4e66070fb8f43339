//! Layer 2: the durable record of a run, in SQLite, one folder a run. An entry that was appended survives `kill -9`
//! and the power cut; an entry that could not be written is an error before any effect.

pub mod private;

use crate::model::{Digest, Entry, Stamped, chain, text};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row as _, SqlitePool};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// The format this version reads and writes. Another one is refused by name.
const JOURNAL_VERSION: i64 = 2;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot {what} the journal `{path}`: {why}")]
    Storage { what: &'static str, path: PathBuf, why: String },
    #[error("the journal `{path}` is damaged at entry {seq}: {why}")]
    Damaged { path: PathBuf, seq: u64, why: String },
    #[error("the journal `{path}` has format {found}; this castoff reads {JOURNAL_VERSION}")]
    Format { path: PathBuf, found: i64 },
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
    /// Hash of the last entry.
    head: Digest,
    _lock: File,
}

impl Journal {
    /// A new run below `state`, with its folder (0700) and its lock. `holder` is who and where, for the next one.
    pub async fn create(state: &Path, run: &str, holder: &str) -> Result<Self, JournalError> {
        let folder = folder(state, run);
        let storage = |why: std::io::Error| JournalError::Storage { what: "create", path: folder.clone(), why: why.to_string() };
        private::folder(state, &["runs", run]).map_err(storage)?;
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
        let storage = |why: std::io::Error| JournalError::Storage { what: "open", path: folder.clone(), why: why.to_string() };
        private::folder(state, &["runs", run]).map_err(storage)?;
        let lock = lock(&folder.join("lock"), format!("run `{run}`"), holder)?;
        let path = folder.join("journal.sqlite");
        let pool = connect(&path, true).await?;
        let storage = |what| {
            let path = path.clone();
            move |why: sqlx::Error| JournalError::Storage { what, path, why: why.to_string() }
        };
        for statement in [
            "CREATE TABLE IF NOT EXISTS meta (version INTEGER NOT NULL, epoch INTEGER NOT NULL, \
             last_seq INTEGER NOT NULL, last_hash TEXT NOT NULL)",
            "CREATE TABLE IF NOT EXISTS entry (seq INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, at_ms INTEGER NOT NULL, \
             body TEXT NOT NULL, hash TEXT NOT NULL)",
        ] {
            sqlx::query(statement).execute(&pool).await.map_err(storage("prepare"))?;
        }
        let begin = sqlx::query("INSERT INTO meta SELECT $1, 0, 0, $2 WHERE NOT EXISTS (SELECT * FROM meta)")
            .bind(JOURNAL_VERSION)
            .bind(chain::start(run).as_str())
            .execute(&pool)
            .await;
        begin.map_err(storage("prepare"))?;
        refuse_other_format(&pool, &path).await?;
        // Only a whole journal is gone on with.
        links(&pool, &path, run, 0).await?;
        let row = sqlx::query("UPDATE meta SET epoch = epoch + 1 RETURNING epoch, last_seq, last_hash").fetch_one(&pool).await;
        let row = row.map_err(storage("lock"))?;
        let (epoch, (seq, head)) = (row.get("epoch"), last(&row, &path)?);
        Ok(Self { pool, path, run: run.to_owned(), epoch, seq, head, _lock: lock })
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
        let mut head = self.head.clone();
        for (entry, seq) in entries.into_iter().zip(self.seq + 1..) {
            let body = serde_json::to_string(&entry).expect("an entry is plain data");
            head = chain::link(&head, &chain::line(seq, at_ms, self.epoch, &body));
            sqlx::query("INSERT INTO entry (seq, epoch, at_ms, body, hash) VALUES ($1, $2, $3, $4, $5)")
                .bind(seq.cast_signed())
                .bind(self.epoch)
                .bind(at_ms)
                .bind(body)
                .bind(head.as_str())
                .execute(&mut *transaction)
                .await
                .map_err(storage)?;
            stamped.push(Stamped { seq, at_ms, entry });
        }
        let seq = self.seq + stamped.len() as u64;
        sqlx::query("UPDATE meta SET last_seq = $1, last_hash = $2")
            .bind(seq.cast_signed())
            .bind(head.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(storage)?;
        transaction.commit().await.map_err(storage)?;
        (self.seq, self.head) = (seq, head);
        Ok(stamped)
    }

    /// Every entry of this journal, in order.
    pub async fn entries(&self) -> Result<Vec<Stamped>, JournalError> {
        entries(&self.pool, &self.path, &self.run, 0).await
    }
}

/// A written entry as the chain holds it: its line of JSON, and its hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub stamped: Stamped,
    pub line: String,
    pub hash: Digest,
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
    run: String,
}

impl Reader {
    pub async fn open(state: &Path, run: &str) -> Result<Self, JournalError> {
        let path = folder(state, run).join("journal.sqlite");
        if !is_journal(&path) {
            return Err(JournalError::NoRun(run.to_owned()));
        }
        let pool = connect(&path, false).await?;
        refuse_other_format(&pool, &path).await?;
        Ok(Self { pool, path, run: run.to_owned() })
    }

    /// The entries after this one, in order.
    pub async fn after(&self, seq: u64) -> Result<Vec<Stamped>, JournalError> {
        entries(&self.pool, &self.path, &self.run, seq).await
    }

    /// Every entry with its line and hash, the chain held against each; then the file itself, page by page.
    pub async fn verify(&self) -> Result<Vec<Link>, JournalError> {
        let links = links(&self.pool, &self.path, &self.run, 0).await?;
        let row = sqlx::query("PRAGMA integrity_check(1)").fetch_one(&self.pool).await;
        let said: String = row.map_err(|why| unread(&self.path, &why))?.get(0);
        let seq = links.len() as u64 + 1;
        if said == "ok" { Ok(links) } else { Err(JournalError::Damaged { path: self.path.clone(), seq, why: said }) }
    }
}

/// The runs below `state`, oldest first: their names sort by time.
pub fn runs(state: &Path) -> Vec<String> {
    let folders = fs::read_dir(state.join("runs")).into_iter().flatten().flatten();
    let mut out: Vec<String> = folders
        .filter(|f| is_journal(&f.path().join("journal.sqlite")))
        .filter_map(|f| f.file_name().into_string().ok())
        .collect();
    out.sort();
    out
}

/// A file, and no link to one that lies elsewhere.
fn is_journal(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
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
    private::folder(state, &["clusters"]).map_err(storage)?;
    let name: String = cluster.chars().map(plain).collect();
    lock(&folder.join(format!("{name}.lock")), format!("cluster `{cluster}`"), holder)
}

fn lock(path: &Path, what: String, holder: &str) -> Result<File, JournalError> {
    let storage = |why: std::io::Error| JournalError::Storage { what: "lock", path: path.to_owned(), why: why.to_string() };
    let mut file = private::file(OpenOptions::new().read(true).write(true).truncate(false), path).map_err(storage)?;
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
        let created = private::file(OpenOptions::new().append(true), path);
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

async fn refuse_other_format(pool: &SqlitePool, path: &Path) -> Result<(), JournalError> {
    let row = sqlx::query("SELECT version FROM meta").fetch_one(pool).await;
    let found: i64 = row.map_err(|why| unread(path, &why))?.get(0);
    if found == JOURNAL_VERSION { Ok(()) } else { Err(JournalError::Format { path: path.to_owned(), found }) }
}

fn unread(path: &Path, why: &sqlx::Error) -> JournalError {
    JournalError::Storage { what: "read", path: path.to_owned(), why: why.to_string() }
}

async fn entries(pool: &SqlitePool, path: &Path, run: &str, after: u64) -> Result<Vec<Stamped>, JournalError> {
    Ok(links(pool, path, run, after).await?.into_iter().map(|link| link.stamped).collect())
}

/// The entries after this one, each held against the chain, and the last against what the journal says is its last: a
/// journal that was cut short tells it.
async fn links(pool: &SqlitePool, path: &Path, run: &str, after: u64) -> Result<Vec<Link>, JournalError> {
    let unread = |why: sqlx::Error| unread(path, &why);
    // One look at both tables: an append in between would seem a damage.
    let mut look = pool.begin().await.map_err(unread)?;
    let meta = sqlx::query("SELECT last_seq, last_hash FROM meta").fetch_one(&mut *look).await.map_err(unread)?;
    let rows = sqlx::query("SELECT seq, epoch, at_ms, body, hash FROM entry WHERE seq >= $1 ORDER BY seq")
        .bind(after.cast_signed())
        .fetch_all(&mut *look)
        .await
        .map_err(unread)?;
    drop(look);
    let damaged = |seq: u64, why: String| JournalError::Damaged { path: path.to_owned(), seq, why };
    let (last_seq, last_hash) = last(&meta, path)?;
    let mut out = Vec::with_capacity(rows.len());
    let mut rows = rows.iter();
    let mut head =
        if after == 0 { chain::start(run) } else { rows.next().map_or_else(|| Ok(last_hash.clone()), |row| hash(row, path))? };
    for (row, expected) in rows.zip(after + 1..) {
        let seq = row.get::<i64, _>("seq").unsigned_abs();
        if seq != expected {
            return Err(damaged(expected, format!("entry {seq} stands there")));
        }
        let (at_ms, body) = (row.get("at_ms"), row.get::<&str, _>("body"));
        let line = chain::line(seq, at_ms, row.get("epoch"), body);
        head = chain::link(&head, &line);
        if head != hash(row, path)? {
            return Err(damaged(seq, "its hash does not fit: it, or one before it, is not as it was written".to_owned()));
        }
        let entry = serde_json::from_str(body).map_err(|e| damaged(seq, e.to_string()))?;
        out.push(Link { stamped: Stamped { seq, at_ms, entry }, line, hash: head.clone() });
    }
    let seq = after + out.len() as u64;
    if seq != last_seq {
        return Err(damaged(seq.min(last_seq) + 1, format!("{seq} entries are there, {last_seq} were written")));
    }
    if head != last_hash {
        return Err(damaged(seq, "it is not the last that was written".to_owned()));
    }
    Ok(out)
}

fn hash(row: &SqliteRow, path: &Path) -> Result<Digest, JournalError> {
    let seq = row.get::<i64, _>("seq").unsigned_abs();
    row.get::<&str, _>("hash").parse().map_err(|_| JournalError::Damaged {
        path: path.to_owned(),
        seq,
        why: "it has no hash".to_owned(),
    })
}

/// Number and hash of the last entry, as the journal keeps them beside its entries.
fn last(meta: &SqliteRow, path: &Path) -> Result<(u64, Digest), JournalError> {
    let seq = meta.get::<i64, _>("last_seq").unsigned_abs();
    let hash = meta.get::<&str, _>("last_hash").parse().map_err(|_| JournalError::Damaged {
        path: path.to_owned(),
        seq,
        why: "the hash of the last entry is not there".to_owned(),
    })?;
    Ok((seq, hash))
}
