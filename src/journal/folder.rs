//! Runs in a folder of one machine: SQLite, one folder a run, and the locks that the kernel lets go of when a process
//! is gone. Never on a network's file system, whose locks are not to be trusted.

use super::{
    JOURNAL_VERSION, JournalError,
    store::{self, Store},
    witness::Witness,
};
use crate::{
    model::{chain, text},
    private,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

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

/// The folder of a run, for its owner only.
pub fn make(state: &Path, run: &str) -> Result<(), JournalError> {
    private(state, &["runs", run])
}

/// The new names of a run must survive a power cut, not only what its files hold.
pub fn settle(state: &Path, run: &str) -> Result<(), JournalError> {
    let folder = folder(state, run);
    let storage = |why: std::io::Error| JournalError::Storage { what: "create", path: folder.clone(), why: why.to_string() };
    folder.ancestors().take(3).try_for_each(|ancestor| File::open(ancestor).and_then(|dir| dir.sync_all())).map_err(storage)
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

/// Who took the lock last, by the file beside this journal.
pub fn last_holder(journal: &Path) -> Option<String> {
    let words = fs::read_to_string(journal.with_file_name("lock")).ok()?;
    Some(text::clean(&words)).filter(|words| !words.is_empty())
}

/// The lock of a run. By force: another lock is put in the place of the one that is held.
pub fn take_run(state: &Path, run: &str, holder: &str, by_force: bool) -> Result<File, JournalError> {
    lock(&folder(state, run).join("lock"), &format!("run `{run}`"), holder, by_force)
}

pub fn take_cluster(state: &Path, cluster: &str, holder: &str, by_force: bool) -> Result<File, JournalError> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let folder = state.join("clusters");
    private(state, &["clusters"])?;
    let name: String = cluster.chars().map(plain).collect();
    lock(&folder.join(format!("{name}.lock")), &format!("cluster `{cluster}`"), holder, by_force)
}

fn private(state: &Path, below: &[&str]) -> Result<(), JournalError> {
    let path = below.iter().fold(state.to_owned(), |path, name| path.join(name));
    private::folder(state, below).map_err(|why| JournalError::Storage { what: "create", path, why: why.to_string() })
}

/// The second witness of a journal that is written from here on.
pub fn witness(store: &Store) -> Result<Witness, JournalError> {
    let path = store.path();
    Witness::open(&path).map_err(|why| JournalError::Storage { what: "open", path: path.clone(), why: why.to_string() })
}

/// Whoever looks who holds a lock has it for a moment: that is not held.
fn patiently(file: &File) -> Result<(), TryLockError> {
    const LOOK: Duration = Duration::from_millis(200);
    let end = Instant::now() + LOOK;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(LOOK / 20),
            said => return said,
        }
    }
}

fn lock(path: &Path, what: &str, holder: &str, by_force: bool) -> Result<File, JournalError> {
    let storage = |why: std::io::Error| JournalError::Storage { what: "lock", path: path.to_owned(), why: why.to_string() };
    let open = |path: &Path| private::file(OpenOptions::new().read(true).write(true).truncate(false), path);
    let mut file = open(path).map_err(storage)?;
    match patiently(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) if by_force => {
            // Whoever holds the old file keeps it, and nobody asks for it any more.
            let fresh = path.with_extension("new");
            let _ = fs::remove_file(&fresh);
            file = open(&fresh).map_err(storage)?;
            file.try_lock().map_err(|why| storage(why.into()))?;
            fs::rename(&fresh, path).map_err(storage)?;
        }
        Err(TryLockError::WouldBlock) => {
            let mut said = String::new();
            let _ = file.read_to_string(&mut said);
            let holder = if said.is_empty() { "another castoff".to_owned() } else { text::clean(&said) };
            return Err(JournalError::Held { what: what.to_owned(), holder, run: None, journal: None });
        }
        Err(TryLockError::Error(why)) => return Err(storage(why)),
    }
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes())).map_err(storage)?;
    Ok(file)
}

/// The journal of a run, for looking on.
pub async fn reader(state: &Path, run: &str) -> Result<Store, JournalError> {
    let path = folder(state, run).join("journal.sqlite");
    if !is_journal(&path) {
        return Err(JournalError::NoRun(run.to_owned()));
    }
    let store = connect(&path, false).await?;
    refuse_other_format(&store).await?;
    Ok(store)
}

/// The journal of a run, for writing; made if it is not there. Whoever calls holds the lock.
pub async fn writer(state: &Path, run: &str) -> Result<Store, JournalError> {
    let store = connect(&folder(state, run).join("journal.sqlite"), true).await?;
    let Store::Folder { pool, .. } = &store else { unreachable!("a folder's store") };
    let fresh: Result<i64, _> =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetch_one(pool).await;
    if fresh.map_err(|why| store.error("read", &why))? == 0 {
        let made = async {
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
            for statement in store::TABLES {
                sqlx::query(statement).execute(&mut *tx).await?;
            }
            let start = chain::start(run);
            sqlx::query(store::NEW_RUN).bind(run).bind(JOURNAL_VERSION).bind(start.as_str()).execute(&mut *tx).await?;
            tx.commit().await
        };
        made.await.map_err(|why| store.error("prepare", &why))?;
    }
    refuse_other_format(&store).await?;
    Ok(store)
}

/// Another castoff that has this journal open can write no more.
pub async fn new_epoch(store: &Store, run: &str) -> Result<i64, JournalError> {
    let Store::Folder { pool, .. } = store else { unreachable!("a folder's store") };
    let epoch = sqlx::query_scalar(store::NEW_EPOCH).bind(run).fetch_one(pool).await;
    epoch.map_err(|why| store.error("lock", &why))
}

async fn connect(path: &Path, write: bool) -> Result<Store, JournalError> {
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
    let pool = pool.map_err(|why| JournalError::Storage { what: "open", path: path.to_owned(), why: why.to_string() })?;
    Ok(Store::Folder { pool, path: path.to_owned() })
}

/// Asked of the bare table: another format may have other columns.
async fn refuse_other_format(store: &Store) -> Result<(), JournalError> {
    let Store::Folder { pool, .. } = store else { return Ok(()) };
    let found: Result<i64, _> = sqlx::query_scalar("SELECT version FROM meta").fetch_one(pool).await;
    let found = found.map_err(|why| store.error("read", &why))?;
    if found == JOURNAL_VERSION { Ok(()) } else { Err(store.other_format(found)) }
}
