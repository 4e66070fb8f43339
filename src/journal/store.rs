//! The statements of a journal, the same for SQLite and PostgreSQL: one row of `meta` and many of `entry` for a run.
//! Never writes for an epoch that is not the newest.

use super::{JOURNAL_VERSION, JournalError, Link, folder, shared::Shared, witness};
use crate::model::{Digest, Entry, Stamped, chain};
use sqlx::SqlitePool;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A call of a shared journal ends by then.
const CALL: Duration = Duration::from_secs(10);

/// Both homes have these tables; numbers are 64 bits wide in both.
pub const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS meta (run TEXT PRIMARY KEY, version BIGINT NOT NULL, epoch BIGINT NOT NULL, \
     last_seq BIGINT NOT NULL, last_hash TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS entry (run TEXT NOT NULL, seq BIGINT NOT NULL, epoch BIGINT NOT NULL, \
     at_ms BIGINT NOT NULL, body TEXT NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (run, seq))",
];
pub const NEW_RUN: &str = "INSERT INTO meta (run, version, epoch, last_seq, last_hash) VALUES ($1, $2, 0, 0, $3)";
pub const NEW_EPOCH: &str = "UPDATE meta SET epoch = epoch + 1 WHERE run = $1 RETURNING epoch";
const META: &str = "SELECT version, epoch, last_seq, last_hash FROM meta WHERE run = $1";
/// Takes the row's lock: two appends are one after the other, and the second sees what the first did.
const MOVE_ON: &str = "UPDATE meta SET last_seq = $1, last_hash = $2 WHERE run = $3 AND epoch = $4 AND last_seq = $5";
const APPEND: &str = "INSERT INTO entry (run, seq, epoch, at_ms, body, hash) VALUES ($1, $2, $3, $4, $5, $6)";
const ENTRIES: &str = "SELECT seq, epoch, at_ms, body, hash FROM entry WHERE run = $1 AND seq >= $2 ORDER BY seq";
const LATER: &str = "SELECT at_ms, body FROM entry WHERE run = $1 AND epoch > $2 ORDER BY seq LIMIT 1";

#[derive(Clone, Debug)]
pub enum Store {
    Folder { pool: SqlitePool, path: PathBuf },
    Shared(Arc<Shared>),
}

/// The same words for either pool; a call of a shared journal has a deadline.
macro_rules! each {
    ($store:expr, $pool:ident => $body:expr) => {
        match $store {
            Store::Folder { pool: $pool, .. } => $body,
            Store::Shared(shared) => {
                let call = async {
                    let $pool = &shared.pool();
                    $body
                };
                shared.heeded(within(call).await)
            }
        }
    };
}

/// The same words in a transaction of either, which begins with these words.
macro_rules! in_transaction {
    ($store:expr, ($folder:expr, $shared:expr), $tx:ident => $body:expr) => {
        match $store {
            Store::Folder { pool, .. } => {
                let mut $tx = pool.begin_with($folder).await?;
                $body
            }
            Store::Shared(shared) => {
                let call = async {
                    let mut $tx = shared.pool().begin_with($shared).await?;
                    $body
                };
                shared.heeded(within(call).await)
            }
        }
    };
}

/// What stands beside the entries of a run.
pub struct Meta {
    pub version: i64,
    pub epoch: i64,
    pub last_seq: u64,
    pub last_hash: String,
}

/// Whether a write happened.
pub enum Written {
    Yes,
    /// The epoch, or the last entry, is another one.
    Refused,
}

impl Store {
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Where it is, for messages.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Folder { path, .. } => path.clone(),
            Self::Shared(shared) => PathBuf::from(&shared.name),
        }
    }

    pub fn error(&self, what: &'static str, why: &sqlx::Error) -> JournalError {
        JournalError::Storage { what, path: self.path(), why: words(why) }
    }

    pub async fn meta(&self, run: &str) -> Result<Option<Meta>, sqlx::Error> {
        let row: Option<(i64, i64, i64, String)> =
            each!(self, pool => sqlx::query_as(META).bind(run).fetch_optional(pool).await)?;
        Ok(row.map(|(version, epoch, seq, last_hash)| Meta { version, epoch, last_seq: seq.unsigned_abs(), last_hash }))
    }

    /// The run is here and in the format that this version reads.
    pub async fn known(&self, run: &str) -> Result<Meta, JournalError> {
        let meta = self.meta(run).await.map_err(|why| self.error("read", &why))?;
        let meta = meta.ok_or_else(|| self.not_here(run))?;
        if meta.version == JOURNAL_VERSION { Ok(meta) } else { Err(self.other_format(meta.version)) }
    }

    pub fn other_format(&self, found: i64) -> JournalError {
        JournalError::Format { path: self.path(), found }
    }

    /// A file that holds no such run is another run's.
    fn not_here(&self, run: &str) -> JournalError {
        match self {
            Self::Folder { path, .. } => {
                JournalError::Damaged { path: path.clone(), seq: 1, why: "it is the journal of another run".to_owned() }
            }
            Self::Shared(_) => JournalError::NoRun(run.to_owned()),
        }
    }

    /// Entries after `before`, as number, body and hash: all of them or none.
    pub async fn write(
        &self,
        run: &str,
        (epoch, at_ms): (i64, i64),
        before: u64,
        lines: &[(u64, String, Digest)],
    ) -> Result<Written, sqlx::Error> {
        let Some((last, _, head)) = lines.last() else { return Ok(Written::Yes) };
        in_transaction!(self, ("BEGIN IMMEDIATE", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"), tx => {
            let moved = sqlx::query(MOVE_ON)
                .bind(last.cast_signed())
                .bind(head.as_str())
                .bind(run)
                .bind(epoch)
                .bind(before.cast_signed())
                .execute(&mut *tx)
                .await?;
            if moved.rows_affected() != 1 {
                return Ok(Written::Refused);
            }
            for (seq, body, hash) in lines {
                let append = sqlx::query(APPEND).bind(run).bind(seq.cast_signed()).bind(epoch).bind(at_ms);
                append.bind(body).bind(hash.as_str()).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            Ok(Written::Yes)
        })
    }

    /// When somebody with a later epoch first wrote, and what.
    pub async fn first_of_later_epoch(&self, run: &str, epoch: i64) -> Result<Option<(i64, Option<Entry>)>, sqlx::Error> {
        let row: Option<(i64, String)> =
            each!(self, pool => sqlx::query_as(LATER).bind(run).bind(epoch).fetch_optional(pool).await)?;
        Ok(row.map(|(at_ms, body)| (at_ms, serde_json::from_str(&body).ok())))
    }

    /// Who holds the run now, in words.
    pub async fn holder(&self, run: &str) -> String {
        let holder = match self {
            Self::Folder { path, .. } => folder::last_holder(path),
            Self::Shared(shared) => shared.last_holder(run).await,
        };
        holder.unwrap_or_else(|| "another castoff".to_owned())
    }

    pub async fn entries(&self, run: &str, after: u64) -> Result<Vec<Stamped>, JournalError> {
        Ok(self.links(run, after).await?.into_iter().map(|link| link.stamped).collect())
    }

    /// The entries after this one, each held against the chain, and the last against what the journal says is its last:
    /// a journal that was cut short tells it.
    pub async fn links(&self, run: &str, after: u64) -> Result<Vec<Link>, JournalError> {
        let witness = if let Self::Folder { path, .. } = self { witness::seen(path) } else { None };
        let (meta, rows) = self.look(run, after).await.map_err(|why| self.error("read", &why))?;
        let path = self.path();
        let meta = meta.ok_or_else(|| self.not_here(run))?;
        let damaged = |seq: u64, why: &str| JournalError::Damaged { path: path.clone(), seq, why: why.to_owned() };
        let last_hash: Digest =
            meta.last_hash.parse().map_err(|_| damaged(meta.last_seq, "the hash of the last entry is not there"))?;
        let mut out = Vec::with_capacity(rows.len());
        let mut rows = rows.into_iter();
        let mut head = if after == 0 {
            chain::start(run)
        } else {
            rows.next().map_or_else(|| Ok(last_hash.clone()), |row| row.hash(&path))?
        };
        for (row, expected) in rows.zip(after + 1..) {
            let Row { seq, epoch, at_ms, ref body, .. } = row;
            if seq != expected {
                return Err(damaged(expected, &format!("entry {seq} stands there")));
            }
            let line = chain::line(seq, at_ms, epoch, body);
            head = chain::link(&head, &line);
            if head != row.hash(&path)? {
                return Err(damaged(seq, "its hash does not fit: it, or one before it, is not as it was written"));
            }
            let entry = serde_json::from_str(body).map_err(|e| damaged(seq, &e.to_string()))?;
            out.push(Link { stamped: Stamped { seq, at_ms, entry }, line, hash: head.clone() });
        }
        let seq = after + out.len() as u64;
        if seq != meta.last_seq {
            let why = format!("{seq} entries are there, {} were written", meta.last_seq);
            return Err(damaged(seq.min(meta.last_seq) + 1, &why));
        }
        if head != last_hash {
            return Err(damaged(seq, "it is not the last that was written"));
        }
        if let Some(witness) = witness {
            witness.hold(after, &out).map_err(|(seq, why)| damaged(seq, &why))?;
        }
        Ok(out)
    }

    /// One look at both tables: an append in between would seem a damage.
    async fn look(&self, run: &str, from: u64) -> Result<(Option<Meta>, Vec<Row>), sqlx::Error> {
        in_transaction!(self, ("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"), tx => {
            let meta: Option<(i64, i64, i64, String)> = sqlx::query_as(META).bind(run).fetch_optional(&mut *tx).await?;
            let rows: Vec<(i64, i64, i64, String, String)> =
                sqlx::query_as(ENTRIES).bind(run).bind(from.cast_signed()).fetch_all(&mut *tx).await?;
            let meta =
                meta.map(|(version, epoch, seq, last_hash)| Meta { version, epoch, last_seq: seq.unsigned_abs(), last_hash });
            let row = |(seq, epoch, at_ms, body, hash): (i64, i64, i64, String, String)| Row {
                seq: seq.unsigned_abs(), epoch, at_ms, body, hash,
            };
            Ok((meta, rows.into_iter().map(row).collect()))
        })
    }

    /// What is wrong with the file as a file, if anything.
    pub async fn whole(&self) -> Result<Option<String>, JournalError> {
        let Self::Folder { pool, .. } = self else { return Ok(None) };
        let said: Result<String, _> = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(pool).await;
        let said = said.map_err(|why| self.error("read", &why))?;
        Ok((said != "ok").then_some(said))
    }
}

struct Row {
    seq: u64,
    epoch: i64,
    at_ms: i64,
    body: String,
    hash: String,
}

impl Row {
    fn hash(&self, path: &Path) -> Result<Digest, JournalError> {
        let why = || JournalError::Damaged { path: path.to_owned(), seq: self.seq, why: "it has no hash".to_owned() };
        self.hash.parse().map_err(|_| why())
    }
}

/// Ends a call of a shared journal by its deadline.
pub async fn within<T>(call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let late = |_| sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer for {} s", CALL.as_secs())));
    tokio::time::timeout(CALL, call).await.map_err(late)?
}

/// Whether waiting may help.
pub fn passes(why: &sqlx::Error) -> bool {
    match why {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // Connections, shutdown and start, and locks that somebody holds too long.
            code.starts_with("08") || code.starts_with("57") || matches!(&*code, "25P03" | "40001" | "40P01" | "53300" | "55P03")
        }),
        _ => false,
    }
}

/// The server's own words without the frame of the client.
pub fn words(why: &sqlx::Error) -> String {
    let words = match why {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::PoolTimedOut => "no connection could be had".to_owned(),
        other => other.to_string(),
    };
    crate::model::text::clean(&words)
}
