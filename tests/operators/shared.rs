//! The journal in PostgreSQL keeps what it was given, through lost answers and outages, and has one holder at a time.

use crate::{database, holder, home, stall::Stall, try_home};
use castoff::journal::{Journal, JournalError};
use castoff::model::Entry;
use std::time::{Duration, Instant};

fn entry(n: usize) -> Entry {
    Entry::GateReached { step: n }
}

async fn let_go(journal: Journal) {
    let farewell = journal.farewell();
    drop(journal);
    farewell.await;
}

fn is_held(result: Result<Journal, JournalError>, by: &str) {
    let error = result.unwrap_err();
    assert!(matches!(&error, JournalError::Held { .. }) && error.to_string().contains(by), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_appended_is_read_again_from_another_machine() {
    let (database, here, there) = (database().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kim = home(here.path(), database.url()).await;
    let lee = home(there.path(), database.url()).await;
    let mut journal = kim.create("run", "prod", &holder("kim")).await.unwrap();
    journal.append(1000, vec![entry(0), entry(1)]).await.unwrap();
    journal.append(2000, vec![entry(2)]).await.unwrap();
    assert_eq!(lee.runs().await.unwrap(), ["run"]);
    let entries = lee.read("run").await.unwrap();
    assert_eq!(entries.iter().map(|stamped| (stamped.seq, stamped.at_ms)).collect::<Vec<_>>(), [(1, 1000), (2, 1000), (3, 2000)]);
    let reader = lee.reader("run").await.unwrap();
    assert_eq!(reader.verify().await.unwrap().len(), 3);
    assert_eq!(reader.after(2).await.unwrap().len(), 1);
    let keeper = lee.holder("run").await.unwrap().unwrap();
    assert!(
        keeper.holder.starts_with("kim on kim-01, process 4123, since 2026") && keeper.silent_ms.unwrap() < 30_000,
        "{keeper:?}"
    );
    is_held(lee.open("run", "prod", &holder("lee")).await, "kim on kim-01");
    is_held(lee.create("other", "prod", &holder("lee")).await, "kim on kim-01");
    lee.create("other", "another cluster", &holder("lee")).await.unwrap();
    let_go(journal).await;
    assert_eq!(lee.holder("run").await.unwrap(), None);
    let mut journal = lee.open("run", "prod", &holder("lee")).await.unwrap();
    journal.append(3000, vec![entry(3)]).await.unwrap();
    assert_eq!(kim.read("run").await.unwrap().len(), 4);
    assert!(matches!(kim.read("nowhere").await, Err(JournalError::NoRun(_))));
    // The chain is held against what stands in the table, as in a file.
    for (sql, seq) in [("UPDATE castoff.entry SET at_ms = 7 WHERE seq = 2", 2), ("DELETE FROM castoff.entry WHERE seq >= 2", 2)] {
        database.execute(sql).await;
        let error = kim.read("run").await.unwrap_err();
        assert!(matches!(error, JournalError::Damaged { seq: at, .. } if at == seq), "{sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_come_at_the_same_time_exactly_one_wins() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    // The schema does not stand yet: all of them find that out at once.
    let homes = futures::future::join_all((0..4).map(|_| home(state.path(), database.url()))).await;
    assert_eq!(database.texts("SELECT n::text FROM castoff.migration").await, ["1"]);
    let names: Vec<String> = (0..4).map(|n| format!("op{n}")).collect();
    for round in 0..10 {
        let cluster = format!("prod-{round}");
        let created = names.iter().zip(&homes).map(|(who, home)| {
            let (run, cluster) = (format!("run-{round}-{who}"), cluster.clone());
            async move { home.create(&run, &cluster, &holder(who)).await }
        });
        let created = futures::future::join_all(created).await;
        assert_eq!(created.iter().filter(|journal| journal.is_ok()).count(), 1, "round {round}: {created:?}");
        let journal = created.into_iter().find_map(Result::ok).unwrap();
        let run = journal.run.clone();
        let_go(journal).await;
        let opened = names.iter().zip(&homes).map(|(who, home)| {
            let (run, cluster) = (run.clone(), cluster.clone());
            async move { home.open(&run, &cluster, &holder(who)).await }
        });
        let opened = futures::future::join_all(opened).await;
        assert_eq!(opened.iter().filter(|journal| journal.is_ok()).count(), 1, "round {round}: {opened:?}");
        let epoch = database.texts("SELECT max(epoch)::text FROM castoff.meta").await;
        assert_eq!(epoch, ["2"], "a castoff that did not win took no epoch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_taken_from_whom_is_gone_and_from_whom_lives_only_by_force() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    let home = home(state.path(), database.url()).await;
    // A process of this machine that is certainly gone holds nobody up.
    let dead = home.create("run", "prod", &holder("dead")).await.unwrap();
    let mut kim = home.open("run", "prod", &holder("kim")).await.unwrap();
    kim.append(1, vec![entry(0)]).await.unwrap();
    drop(dead);
    let lee = holder("lee");
    let taking = |by_force| home.take_over("run", "prod", &lee, (5, "kim's line is dead", by_force));
    is_held(taking(false).await, "kim on kim-01");
    // Not heard of for long, by the server's clock; its heart may beat in between.
    let silent = async || database.execute("UPDATE castoff.holder SET heard_ms = heard_ms - 31000").await;
    let mut taken = None;
    for _ in 0..5 {
        silent().await;
        if home.holder("run").await.unwrap().is_none() {
            taken = taking(false).await.ok();
        }
        if taken.is_some() {
            break;
        }
    }
    let journal = taken.expect("who was not heard of for long holds nothing");
    let lost = tokio::time::timeout(Duration::from_secs(20), kim.lost()).await.expect("the heart-beat tells it");
    let words = lost.to_string();
    assert!(words.contains("taken over by lee on lee-01 at ") && words.contains("kim's line is dead"), "{words}");
    assert!(matches!(kim.append(6, vec![entry(1)]).await, Err(JournalError::TakenOver { .. })));
    assert!(matches!(kim.fence().ask().await, Err(JournalError::TakenOver { .. })));
    journal.fence().ask().await.unwrap();
    is_held(taking(false).await, "lee on lee-01");
    let again = taking(true).await.unwrap();
    assert!(matches!(journal.fence().ask().await, Err(JournalError::TakenOver { .. })));
    // Who was silent for long is fenced off by another run on the same cluster too.
    let mut other = None;
    for _ in 0..5 {
        silent().await;
        other = home.create("another", "prod", &holder("pat")).await.ok();
        if other.is_some() {
            break;
        }
    }
    other.expect("who was not heard of for long holds no cluster");
    assert!(matches!(again.fence().ask().await, Err(JournalError::TakenOver { .. })));
    assert_eq!(home.read("run").await.unwrap().len(), 3, "one entry, and two take-overs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_a_commit_doubles_nothing_and_loses_nothing() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    let stall = Stall::to(database.port());
    let home = home(state.path(), database.url_at(stall.port)).await;
    let mut journal = home.create("run", "prod", &holder("kim")).await.unwrap();
    let mut n = 0;
    // Cut where the answer to the COMMIT would come, and where that to the first statement would.
    for word in ["COMMIT\0", "UPDATE 1\0"] {
        for _ in 0..5 {
            stall.cut_answer("gate-reached", word);
            if word.starts_with("UPDATE") {
                stall.cut_answer("UPDATE meta SET last_seq", word);
            }
            let stamped = journal.append(1, vec![entry(n), entry(n + 1)]).await.unwrap();
            assert_eq!(stamped[1].seq, n as u64 + 2);
            n += 2;
        }
    }
    // A short outage is waited for.
    stall.away(true);
    let back = stall.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(3));
        back.away(false);
    });
    journal.append(1, vec![entry(n)]).await.unwrap();
    let entries = home.read("run").await.unwrap();
    let steps: Vec<usize> =
        entries.iter().map(|stamped| if let Entry::GateReached { step } = stamped.entry { step } else { usize::MAX }).collect();
    assert_eq!(steps, (0..=n).collect::<Vec<_>>());
    // A long one is an error, and nothing is there that was not said to be.
    stall.away(true);
    let begun = Instant::now();
    let error = journal.append(1, vec![entry(99)]).await.unwrap_err();
    assert!(matches!(&error, JournalError::Storage { what: "write", .. }), "{error}");
    assert!((10..40).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    stall.away(false);
    assert_eq!(home.read("run").await.unwrap().len(), n + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_schema_is_refused_by_its_number() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    home(state.path(), database.url()).await.create("run", "prod", &holder("kim")).await.unwrap();
    database.execute("UPDATE castoff.meta SET version = 7").await;
    let home = home(state.path(), database.url()).await;
    assert!(matches!(home.read("run").await, Err(JournalError::Format { found: 7, .. })));
    assert!(matches!(home.open("run", "prod", &holder("kim")).await, Err(JournalError::Format { found: 7, .. })));
    database.execute("INSERT INTO castoff.migration (n) VALUES (9)").await;
    let error = try_home(state.path(), database.url()).await.unwrap_err();
    assert!(matches!(&error, JournalError::Format { found: 9, .. }), "{error}");
    let nowhere = try_home(state.path(), "postgres://kim@127.0.0.1:1/db".to_owned()).await.unwrap_err().to_string();
    assert!(nowhere.contains("cannot open the journal `postgres://kim@127.0.0.1:1/db`"), "{nowhere}");
}

#[test]
fn a_password_is_never_taken_from_a_url_nor_shown() {
    let state = tempfile::tempdir().unwrap();
    for url in ["postgres://kim:marker-7@127.0.0.1:1/db", "postgres://kim@127.0.0.1:1/db?password=marker-7"] {
        for (argument, variable) in [(Some(url), None), (None, Some(url))] {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_castoff"));
            command.arg("runs").arg("--state").arg(state.path()).current_dir(state.path());
            if let Some(url) = argument {
                command.args(["--journal", url]);
            }
            let done = command.env("CASTOFF_JOURNAL", variable.unwrap_or("local")).output().unwrap();
            let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
            assert_eq!(done.status.code(), Some(2), "{said}");
            assert!(said.contains("a URL must not hold a password") && !said.contains("marker-7"), "{said}");
        }
    }
}
