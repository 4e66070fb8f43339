//! The journal keeps what it was given, and says so when it cannot: damaged, newer, held, taken over, not writable.

use castoff::journal::{self, Journal, JournalError, Reader};
use castoff::model::{Entry, Outcome};
use sqlx::sqlite::SqlitePoolOptions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn entry(n: usize) -> Entry {
    Entry::GateReached { step: n }
}

async fn three(state: &Path) {
    let mut journal = Journal::create(state, "run", "kim").await.unwrap();
    let stamped = journal.append(1000, vec![entry(0), entry(1)]).await.unwrap();
    assert_eq!(stamped.iter().map(|s| s.seq).collect::<Vec<_>>(), [1, 2]);
    journal.append(2000, vec![entry(2)]).await.unwrap();
}

async fn execute(state: &Path, sql: &'static str) {
    let url = format!("sqlite://{}", journal::folder(state, "run").join("journal.sqlite").display());
    let pool = SqlitePoolOptions::new().connect(&url).await.unwrap();
    sqlx::query(sql).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn what_was_appended_is_read_again() {
    let state = tempfile::tempdir().unwrap();
    three(state.path()).await;
    let mut journal = Journal::open(state.path(), "run", "lee").await.unwrap();
    let last = journal.append(3000, vec![Entry::Finished { outcome: Outcome::Done }]).await.unwrap();
    assert_eq!((last[0].seq, last[0].at_ms), (4, 3000));
    let entries = journal::read(state.path(), "run").await.unwrap();
    assert_eq!(entries.len(), 4);
    assert_eq!(entries[1].entry, entry(1));
    assert_eq!(journal::runs(state.path()), ["run"]);
}

#[tokio::test]
async fn whoever_only_looks_who_holds_a_run_keeps_nobody_from_it() {
    let state = tempfile::tempdir().unwrap();
    three(state.path()).await;
    let looker = std::fs::File::open(journal::folder(state.path(), "run").join("lock")).unwrap();
    looker.lock_shared().unwrap();
    let looks = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(60));
        drop(looker);
    });
    assert!(Journal::open(state.path(), "run", "lee").await.is_ok());
    looks.join().unwrap();
}

#[tokio::test]
async fn only_the_owner_can_look_into_it() {
    let state = tempfile::tempdir().unwrap();
    three(state.path()).await;
    let folder = journal::folder(state.path(), "run");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("journal.sqlite")), 0o600);
    assert_eq!(mode(&folder.join("lock")), 0o600);
}

#[tokio::test]
async fn a_damaged_journal_is_never_silently_shortened() {
    for (sql, seq) in [
        ("UPDATE entry SET body = '{\"is\":\"gate-rea' WHERE seq = 2", 2),
        ("UPDATE entry SET body = '{\"is\":\"gate-reached\",\"step\":7}' WHERE seq = 2", 2),
        ("UPDATE entry SET at_ms = at_ms + 1 WHERE seq = 1", 1),
        ("UPDATE entry SET epoch = 2 WHERE seq = 3", 3),
        ("UPDATE entry SET hash = (SELECT hash FROM entry WHERE seq = 1) WHERE seq = 2", 2),
        ("UPDATE entry SET hash = '' WHERE seq = 3", 3),
        ("DELETE FROM entry WHERE seq = 1", 1),
        ("DELETE FROM entry WHERE seq = 2", 2),
        ("DELETE FROM entry WHERE seq = 3", 3),
        ("DELETE FROM entry", 1),
        ("UPDATE meta SET last_seq = 2", 3),
        ("INSERT INTO entry SELECT run, 4, epoch, at_ms, body, hash FROM entry WHERE seq = 3", 4),
    ] {
        let state = tempfile::tempdir().unwrap();
        three(state.path()).await;
        execute(state.path(), sql).await;
        let error = journal::read(state.path(), "run").await.unwrap_err();
        assert!(matches!(error, JournalError::Damaged { seq: at, .. } if at == seq), "{sql}: {error}");
        let error = Journal::open(state.path(), "run", "lee").await.unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{sql}: {error}");
    }
}

#[tokio::test]
async fn the_entries_of_another_run_do_not_fit() {
    let state = tempfile::tempdir().unwrap();
    three(state.path()).await;
    std::fs::rename(journal::folder(state.path(), "run"), journal::folder(state.path(), "other")).unwrap();
    let error = journal::read(state.path(), "other").await.unwrap_err();
    assert!(matches!(error, JournalError::Damaged { seq: 1, .. }), "{error}");
}

#[tokio::test]
async fn looking_on_holds_the_chain_from_where_it_begins() {
    let state = tempfile::tempdir().unwrap();
    three(state.path()).await;
    let reader = Reader::open(state.path(), "run").await.unwrap();
    for after in 0..=3 {
        assert_eq!(reader.after(after).await.unwrap().len() as u64, 3 - after);
    }
    assert_eq!(reader.verify().await.unwrap().len(), 3);
    execute(state.path(), "UPDATE entry SET at_ms = 7 WHERE seq = 3").await;
    assert!(matches!(reader.after(2).await.unwrap_err(), JournalError::Damaged { seq: 3, .. }));
}

#[tokio::test]
async fn another_format_is_refused_by_name() {
    let state = tempfile::tempdir().unwrap();
    three(state.path()).await;
    execute(state.path(), "UPDATE meta SET version = 7").await;
    let read = journal::read(state.path(), "run").await.unwrap_err();
    assert!(read.to_string().contains("format 7"), "{read}");
    assert!(matches!(Journal::open(state.path(), "run", "kim").await, Err(JournalError::Format { found: 7, .. })));
}

#[tokio::test]
async fn a_second_castoff_is_told_who_holds_the_run() {
    let state = tempfile::tempdir().unwrap();
    let held = Journal::create(state.path(), "run", "kim on ops-01, process 4123").await.unwrap();
    let error = Journal::open(state.path(), "run", "lee").await.unwrap_err();
    assert_eq!(error.to_string(), "run `run` is held by kim on ops-01, process 4123");
    assert_eq!(journal::holder(state.path(), "run").as_deref(), Some("kim on ops-01, process 4123"));
    drop(held);
    assert_eq!(journal::holder(state.path(), "run"), None);
    Journal::open(state.path(), "run", "lee").await.unwrap();
}

#[test]
fn a_cluster_belongs_to_one_castoff_at_a_time() {
    let state = tempfile::tempdir().unwrap();
    let held = journal::take_cluster(state.path(), "prod-a/b", "kim").unwrap();
    let error = journal::take_cluster(state.path(), "prod-a/b", "lee").unwrap_err();
    assert_eq!(error.to_string(), "cluster `prod-a/b` is held by kim");
    journal::take_cluster(state.path(), "prod-b", "lee").unwrap();
    drop(held);
    journal::take_cluster(state.path(), "prod-a/b", "lee").unwrap();
}

#[tokio::test]
async fn an_owner_whose_run_was_taken_over_can_write_nothing() {
    let state = tempfile::tempdir().unwrap();
    let mut stale = Journal::create(state.path(), "run", "kim").await.unwrap();
    stale.append(1, vec![entry(0)]).await.unwrap();
    // As a takeover from a machine that the lock does not reach leaves it.
    execute(state.path(), "UPDATE meta SET epoch = epoch + 1").await;
    assert!(matches!(stale.append(2, vec![entry(1)]).await, Err(JournalError::TakenOver { .. })));
    assert_eq!(journal::read(state.path(), "run").await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error() {
    let state = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(state.path(), "run", "kim").await.unwrap();
    journal.append(1, vec![entry(0)]).await.unwrap();
    // Full: SQLite may grow no further, as on a full disk.
    execute(state.path(), "CREATE TRIGGER full BEFORE INSERT ON entry BEGIN SELECT RAISE(ABORT, 'disk full'); END").await;
    let error = journal.append(2, vec![entry(1), entry(2)]).await.unwrap_err();
    assert!(error.to_string().contains("disk full"), "{error}");
    assert_eq!(journal::read(state.path(), "run").await.unwrap().len(), 1, "none of the entries is there");
    let nowhere = Journal::create(Path::new("/proc/castoff"), "run", "kim").await.unwrap_err();
    assert!(nowhere.to_string().contains("cannot create the journal"), "{nowhere}");
}
