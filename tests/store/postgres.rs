//! The PostgreSQL client against a real PostgreSQL.

use crate::schema::{ALIAS, DUMP, KERNEL_ROWS, KERNELS, NEW_PYTHON, PYTHON, REGISTRY, ROWS, TABLES, TENSORFLOW};
use crate::support::{
    self,
    postgres::{Database, READER},
};
use castoff::cluster::{config, postgres::PostgresClient};
use castoff::model::world::row_standing;
use castoff::model::{Era, FaultKind, Row, RowDiff, Standing};
use serde_json::json;
use std::time::Instant;

async fn database() -> (Database, PostgresClient) {
    let database = Database::with(&format!("{TABLES}{ROWS}")).await;
    let client = PostgresClient::new(&database.config()).await.expect("a client");
    (database, client)
}

async fn row(client: &PostgresClient, table: &str, key: &str) -> Row {
    let tables = client.read_tables().await.expect("tables");
    let column = castoff::model::change::key_column(table);
    tables[table].iter().find(|row| row[column] == key).expect("a row").clone()
}

fn columns(value: serde_json::Value) -> Row {
    serde_json::from_value(value).expect("an object")
}

fn deletion(table: &str, key: &str, row: Row) -> RowDiff {
    RowDiff { table: table.to_owned(), key: key.to_owned(), before: Some(row), after: None }
}

fn update(table: &str, key: &str, before: serde_json::Value, after: serde_json::Value) -> RowDiff {
    RowDiff { table: table.to_owned(), key: key.to_owned(), before: Some(columns(before)), after: Some(columns(after)) }
}

/// What a cleanup of Docker Hub deletes, children first.
async fn cleanup(client: &PostgresClient) -> Vec<RowDiff> {
    let mut diffs = vec![];
    for (table, key) in [("image_aliases", ALIAS), ("images", PYTHON), ("images", TENSORFLOW), ("container_registries", REGISTRY)]
    {
        diffs.push(deletion(table, key, row(client, table, key).await));
    }
    diffs
}

#[tokio::test]
async fn rows_go_there_and_back_byte_for_byte() {
    let (database, client) = database().await;
    let before = database.texts(DUMP).await;
    let mut diffs = cleanup(&client).await;
    diffs.push(update(
        "domains",
        "default",
        json!({ "allowed_docker_registries": ["index.docker.io", "cr.corp:5000", "a \"b\" \\, c"] }),
        json!({ "allowed_docker_registries": ["cr.corp:5000", "a \"b\" \\, c", "cr.backend.ai"] }),
    ));
    diffs.push(update("images", NEW_PYTHON, json!({ "labels": "[]" }), json!({ "labels": "{ \"a\":1 }" })));
    assert_eq!(client.standing(&diffs).await, Ok(Standing::Before));
    client.write(&diffs, true).await.expect("there");
    assert_eq!(client.standing(&diffs).await, Ok(Standing::After));
    let there = database.texts(DUMP).await;
    assert_eq!(there.len(), before.len() - 4);
    assert!(there.iter().any(|row| row.contains("\"labels\":{ \"a\":1 }")), "{there:#?}");
    client.write(&diffs, true).await.expect("there again changes nothing");
    assert_eq!(database.texts(DUMP).await, there);
    client.write(&diffs, false).await.expect("back");
    assert_eq!(client.standing(&diffs).await, Ok(Standing::Before));
    assert_eq!(database.texts(DUMP).await, before);
}

#[tokio::test]
async fn thousands_of_rows_are_one_change() {
    let (database, client) = database().await;
    database
        .execute(
            "INSERT INTO images (name, image, registry, registry_id, architecture, config_digest, size_bytes, type, labels, resources, tag)
             SELECT 'index.docker.io/lablup/r:' || n, 'r', 'index.docker.io', '00000000-0000-4000-8000-000000000001', 'x86_64',
                 'sha256:x', n, 'COMPUTE', json_build_object('n', n), '{}', n FROM generate_series(1, 5000) n",
        )
        .await;
    let before = database.texts(DUMP).await;
    let tables = client.read_tables().await.expect("tables");
    let hub = tables["images"].iter().filter(|row| row["registry"] == "index.docker.io" && row["id"] != PYTHON);
    let diffs: Vec<RowDiff> = hub.map(|row| deletion("images", row["id"].as_str().expect("an id"), row.clone())).collect();
    assert_eq!(diffs.len(), 5001);
    client.write(&diffs, true).await.expect("there");
    assert_eq!(client.standing(&diffs).await, Ok(Standing::After));
    client.write(&diffs, false).await.expect("back");
    assert_eq!(client.standing(&diffs).await, Ok(Standing::Before));
    assert_eq!(database.texts(DUMP).await, before);
}

#[tokio::test]
async fn a_row_may_be_added_with_defaults_and_taken_away() {
    let (database, client) = database().await;
    let before = database.texts(DUMP).await;
    let id = "00000000-0000-4000-8000-0000000000ff";
    let added = columns(json!({ "id": id, "url": "https://new", "registry_name": "new" }));
    let diffs = [RowDiff { table: "container_registries".to_owned(), key: id.to_owned(), before: None, after: Some(added) }];
    assert_eq!(client.standing(&diffs).await, Ok(Standing::Before));
    client.write(&diffs, true).await.expect("there");
    let new = row(&client, "container_registries", id).await;
    assert_eq!((&new["type"], &new["ssl_verify"], &new["password"]), (&json!("docker"), &json!(true), &json!(null)));
    client.write(&diffs, false).await.expect("back");
    assert_eq!(database.texts(DUMP).await, before);
}

#[tokio::test]
async fn a_password_never_leaves_the_server() {
    let (database, client) = database().await;
    let tables = client.read_tables().await.expect("tables");
    let text = format!("{tables:?}");
    assert!(!text.contains("hunter2"), "{text}");
    let key = "00000000-0000-4000-8000-000000000002";
    let harbor = row(&client, "container_registries", key).await;
    assert_eq!(harbor["password"], "(hidden)");
    // An update beside the password leaves it alone.
    let renamed = [update("container_registries", key, json!({ "project": "stable" }), json!({ "project": "stable,community" }))];
    client.write(&renamed, true).await.expect("there");
    let passwords = "SELECT coalesce(password, 'none') FROM container_registries WHERE registry_name = 'cr.backend.ai'";
    assert_eq!(database.texts(passwords).await, ["hunter2"]);
    client.write(&renamed, false).await.expect("back");
    // A row that comes back has no password any more, and that counts as back.
    database.execute("DELETE FROM images WHERE registry = 'cr.backend.ai'").await;
    let diffs = [deletion("container_registries", key, harbor)];
    client.write(&diffs, true).await.expect("there");
    client.write(&diffs, false).await.expect("back");
    assert_eq!(client.standing(&diffs).await, Ok(Standing::Before));
    assert_eq!(database.texts(passwords).await, ["none"]);
}

#[tokio::test]
async fn drift_names_row_and_column_and_nothing_is_written() {
    let (database, client) = database().await;
    let diffs = [
        update("domains", "empty", json!({ "allowed_docker_registries": [] }), json!({ "allowed_docker_registries": ["x"] })),
        update("images", PYTHON, json!({ "status": "DELETED" }), json!({ "status": "GONE" })),
    ];
    let before = database.texts(DUMP).await;
    let expected = format!("`status` of row `{PYTHON}` of `images` is \"ALIVE\"");
    assert_eq!(client.standing(&diffs).await, Ok(Standing::Neither(expected.clone())));
    let fault = client.write(&diffs, true).await.expect_err("drift");
    assert_eq!((fault.kind, fault.why), (FaultKind::Drift, expected));
    assert_eq!(database.texts(DUMP).await, before);
    let cases = [
        (update("images", "nonsense'--", json!({ "tag": "1" }), json!({ "tag": "2" })), FaultKind::Drift),
        (update("images", PYTHON, json!({ "status": "ALIVE" }), json!({ "gone\"; --": 1 })), FaultKind::Drift),
        (update("users; --", "x", json!({ "a": 1 }), json!({ "a": 2 })), FaultKind::Missing),
        (update("images", PYTHON, json!({ "status": "ALIVE" }), json!({ "status": null })), FaultKind::Lasting),
    ];
    for (diff, kind) in cases {
        let fault = client.write(std::slice::from_ref(&diff), true).await.expect_err("a fault");
        assert_eq!(fault.kind, kind, "{fault:?}");
        assert!(!fault.why.contains("Failing row"), "{fault:?}");
    }
    assert_eq!(database.texts(DUMP).await, before);
}

#[tokio::test]
async fn a_row_that_another_row_needs_is_kept_and_the_other_is_named() {
    let (database, client) = database().await;
    let before = database.texts(DUMP).await;
    let mut diffs = cleanup(&client).await;
    diffs.remove(0);
    let fault = client.write(&diffs, true).await.expect_err("an alias holds the image");
    assert_eq!(fault.kind, FaultKind::Lasting);
    assert!(fault.why.contains("image_aliases") && fault.why.contains(PYTHON), "{fault}");
    assert_eq!(database.texts(DUMP).await, before);
    // A name that somebody else took meanwhile.
    let diffs = cleanup(&client).await;
    client.write(&diffs, true).await.expect("there");
    database.execute(&format!("INSERT INTO image_aliases (alias, image) VALUES ('python:3.6', '{NEW_PYTHON}')")).await;
    let fault = client.write(&diffs, false).await.expect_err("the alias is taken");
    assert_eq!(fault.kind, FaultKind::Drift);
    assert!(fault.why.contains("python:3.6"), "{fault}");
}

#[tokio::test]
async fn an_edit_at_the_same_moment_is_seen() {
    let (database, client) = database().await;
    let diffs = [update("images", PYTHON, json!({ "status": "ALIVE" }), json!({ "status": "DELETED" }))];
    // Somebody has changed the row and not committed yet: the write waits, looks again and refuses.
    let mut other = database.connect().await;
    sqlx::raw_sql("BEGIN; UPDATE images SET status = 'THEIRS' WHERE tag = '3.6'").execute(&mut other).await.expect("an update");
    let later = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("a commit");
    };
    let (result, ()) = tokio::join!(client.write(&diffs, true), later);
    let fault = result.expect_err("drift");
    assert_eq!(fault.kind, FaultKind::Drift, "{fault}");
    assert!(fault.why.contains("THEIRS"), "{fault}");
    // Somebody who never commits does not hold us for ever.
    sqlx::raw_sql("BEGIN; UPDATE images SET status = 'ALIVE' WHERE tag = '3.6'").execute(&mut other).await.expect("an update");
    let begin = Instant::now();
    let fault = client.write(&diffs, true).await.expect_err("a lock");
    assert_eq!(fault.kind, FaultKind::Passing, "{fault}");
    assert!(begin.elapsed().as_secs() < 14);
}

#[tokio::test]
async fn of_two_writers_one_wins() {
    let (database, one) = database().await;
    let two = PostgresClient::new(&database.config()).await.expect("a client");
    for n in 0..10 {
        let status = |n: i32| json!({ "status": format!("S{n}") });
        let before = if n == 0 { json!({ "status": "ALIVE" }) } else { status(n) };
        let first = [update("images", PYTHON, before.clone(), status(n + 1))];
        let second = [update("images", PYTHON, before, json!({ "status": "theirs" }))];
        let (a, b) = tokio::join!(one.write(&first, true), two.write(&second, true));
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
        let (loser, winner) = if a.is_ok() { (b, &first[0]) } else { (a, &second[0]) };
        assert_eq!(loser.expect_err("a loser").kind, FaultKind::Drift);
        let found = row(&one, "images", PYTHON).await;
        assert_eq!(row_standing(winner, Some(&found)), Standing::After);
        let reset = [update("images", PYTHON, json!({ "status": found["status"] }), status(n + 1))];
        one.write(&reset, true).await.expect("a reset");
    }
}

#[tokio::test]
async fn a_connection_that_was_cut_is_made_again() {
    let (database, client) = database().await;
    assert_eq!(client.era().await, Ok(Era::Postgres));
    let cut = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE application_name = 'castoff' AND datname = current_database()";
    assert_eq!(database.texts(cut).await, ["true"]);
    assert_eq!(client.era().await, Ok(Era::Postgres));
    // Cut in the middle of a write: nothing of it happened, and trying again is allowed.
    let mut other = database.connect().await;
    sqlx::raw_sql("BEGIN; SELECT FROM images FOR UPDATE").execute(&mut other).await.expect("locks");
    let before = database.texts(DUMP).await;
    let diffs = [update("images", PYTHON, json!({ "status": "ALIVE" }), json!({ "status": "DELETED" }))];
    let later = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        assert_eq!(database.texts(cut).await, ["true"]);
    };
    let (result, ()) = tokio::join!(client.write(&diffs, true), later);
    assert_eq!(result.expect_err("cut").kind, FaultKind::Passing);
    assert_eq!(database.texts(DUMP).await, before);
    sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("a commit");
    assert_eq!(client.write(&diffs, true).await, Ok(()));
}

/// The engine runs the calls of both clients on many threads.
#[tokio::test]
async fn calls_can_be_spawned() {
    let (_database, client) = database().await;
    let task = tokio::spawn(async move {
        client.write(&[], true).await?;
        client.standing(&[]).await?;
        client.replace_images("none", &[]).await?;
        client.read_tables().await
    });
    assert!(task.await.expect("a task").is_ok());
}

#[tokio::test]
async fn an_alias_is_pointed_elsewhere_and_back() {
    let (database, client) = database().await;
    let (alias, old, new) = ("python:3.6", "index.docker.io/lablup/python:3.6", "cr.backend.ai/stable/python:3.6");
    let before = database.texts(DUMP).await;
    assert_eq!(client.alias_standing(alias, "x86_64", old, new).await, Ok(Standing::Before));
    client.point_alias(alias, "x86_64", new, old).await.expect("there");
    client.point_alias(alias, "x86_64", new, old).await.expect("there again");
    assert_eq!(client.alias_standing(alias, "x86_64", old, new).await, Ok(Standing::After));
    let fault = client.point_alias(alias, "x86_64", "elsewhere", old).await.expect_err("drift");
    assert_eq!((fault.kind, fault.why), (FaultKind::Drift, format!("alias `{alias}` points at `{new}`")));
    let fault = client.point_alias(alias, "aarch64", old, new).await.expect_err("no such image");
    assert_eq!(fault.kind, FaultKind::Missing);
    // Forgotten images are no targets.
    let fault = client.point_alias(alias, "x86_64", "index.docker.io/lablup/tensorflow:2.4", new).await.expect_err("forgotten");
    assert_eq!(fault.kind, FaultKind::Missing);
    client.point_alias(alias, "x86_64", old, new).await.expect("back");
    assert_eq!(database.texts(DUMP).await, before);
    assert!(matches!(client.alias_standing("none", "x86_64", old, new).await, Ok(Standing::Neither(_))));
}

#[tokio::test]
async fn a_rescan_is_undone_exactly() {
    let (database, client) = database().await;
    let before = database.texts(DUMP).await;
    let of = |row: &&Row| row["registry"] == "index.docker.io";
    let rows: Vec<Row> = client.read_tables().await.expect("tables")["images"].iter().filter(of).cloned().collect();
    let known = client.known_images("index.docker.io").await.expect("images");
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].0.name.as_str(), known[0].1.as_str()), ("index.docker.io/lablup/python:3.6", "x86_64"));
    database
        .execute(&format!(
            "INSERT INTO images (name, image, registry, registry_id, architecture, config_digest, size_bytes, type, labels, resources)
             SELECT 'index.docker.io/lablup/r:' || n, 'r', 'index.docker.io', '{REGISTRY}', 'x86_64', 'sha256:x', 1, 'COMPUTE', '{{}}', '{{}}'
             FROM generate_series(1, 100) n;
             UPDATE images SET labels = '{{\"new\": 1}}', size_bytes = 5 WHERE id = '{PYTHON}';
             DELETE FROM images WHERE id = '{TENSORFLOW}'"
        ))
        .await;
    database
        .execute("INSERT INTO image_aliases (alias, image) SELECT 'r', id FROM images WHERE name = 'index.docker.io/lablup/r:7'")
        .await;
    let fault = client.replace_images("index.docker.io", &rows).await.expect_err("an alias holds one");
    assert_eq!(fault.kind, FaultKind::Lasting);
    assert!(fault.why.contains("alias `r`") && fault.why.contains("lablup/r:7"), "{fault}");
    database.execute("DELETE FROM image_aliases WHERE alias = 'r'").await;
    client.replace_images("index.docker.io", &rows).await.expect("back");
    client.replace_images("index.docker.io", &rows).await.expect("back again");
    assert_eq!(database.texts(DUMP).await, before);
}

#[tokio::test]
async fn sessions_are_read_from_every_eras_tables() {
    for tables in KERNELS {
        let database = Database::with(&format!("{tables}{KERNEL_ROWS}")).await;
        let client = PostgresClient::new(&database.config()).await.expect("a client");
        let sessions = client.read_sessions().await.expect("sessions");
        let seen: Vec<_> = sessions
            .iter()
            .map(|s| (s.name.as_str(), s.owner.as_str(), s.status.as_str(), s.image.as_str(), s.agent.as_str(), s.since_ms))
            .collect();
        let image = "index.docker.io/lablup/python:3.6";
        assert_eq!(
            seen,
            [
                ("train", "user@lablup.com", "RUNNING", image, "i-gpu-2", 1_704_067_200_500),
                ("", "00000000-0000-4000-8000-0000000000e2", "ERROR", image, "", 1_704_153_600_000),
            ]
        );
    }
}

#[tokio::test]
async fn agents_and_templates_are_read() {
    let database = Database::with(
        "CREATE TYPE agentstatus AS ENUM ('ALIVE', 'LOST', 'TERMINATED');
         CREATE TABLE agents (id varchar(64), status agentstatus, addr varchar(128));
         INSERT INTO agents VALUES ('i-b', 'ALIVE', 'tcp://10.0.0.2:6001'), ('i-a', 'ALIVE', 'tcp://[fd00::1]:6001'), ('i-c', 'LOST', 'x');
         CREATE TABLE session_templates (id uuid, is_active boolean, name varchar(128), template jsonb NOT NULL);
         INSERT INTO session_templates VALUES
            ('00000000-0000-4000-8000-000000000001', true, 't', '{\"spec\": {\"kernel\": {\"image\": \"i:1\", \"environ\": {\"T\": \"hunter2\"}}}}'),
            ('00000000-0000-4000-8000-000000000002', false, 't', '{\"spec\": {\"kernel\": {\"image\": \"i:1\"}}}'),
            ('00000000-0000-4000-8000-000000000003', true, 't', '{\"spec\": {\"nodes\": []}}');
         CREATE TABLE endpoints (id uuid, name varchar(512), image uuid, lifecycle_stage text, environ jsonb);
         INSERT INTO endpoints VALUES
            ('00000000-0000-4000-8000-000000000004', 'chat', '00000000-0000-4000-8000-000000000005', 'created', '{\"T\": \"hunter2\"}'),
            ('00000000-0000-4000-8000-000000000006', 'none', NULL, 'destroyed', NULL)",
    )
    .await;
    let client = PostgresClient::new(&database.config()).await.expect("a client");
    let agent = |id: &str, host: &str| (id.to_owned(), host.to_owned());
    assert_eq!(client.read_agents().await, Ok(vec![agent("i-a", "fd00::1"), agent("i-b", "10.0.0.2")]));
    let tables = client.read_tables().await.expect("tables");
    let template = columns(json!({ "id": "00000000-0000-4000-8000-000000000001", "name": "t", "image": "i:1" }));
    let (id, image) = ("00000000-0000-4000-8000-000000000004", "00000000-0000-4000-8000-000000000005");
    let endpoint = columns(json!({ "id": id, "name": "chat", "image": image, "stage": "created" }));
    let wanted = [("endpoints".to_owned(), vec![endpoint]), ("session_templates".to_owned(), vec![template])];
    assert_eq!(tables.into_iter().collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn the_era_is_told_by_the_tables() {
    for (tables, era) in [
        ("", Era::Etcd),
        ("CREATE TABLE images (id uuid)", Era::Mixed),
        ("CREATE TABLE images (id uuid); CREATE TABLE container_registries (id uuid)", Era::Postgres),
    ] {
        let database = Database::with(tables).await;
        let client = PostgresClient::new(&database.config()).await.expect("a client");
        assert_eq!(client.era().await, Ok(era));
    }
}

#[tokio::test]
async fn what_keeps_us_out_is_told_apart() {
    let database = Database::with("CREATE TABLE images (id uuid)").await;
    let other = |from: &str, to: &str, password: &str| {
        let config = database.config_with_password(password);
        config::Postgres { url: config.url.replace(from, to), ..config }
    };
    let cases = [
        (other("", "", "wrong-secret"), FaultKind::Denied, "wrong password"),
        (other("postgres@", "nobody@", "wrong-secret"), FaultKind::Denied, "unknown user"),
        (other("postgres@", &format!("{}@", READER.0), READER.1), FaultKind::Denied, "no right"),
        (other("/test_", "/no_such_", support::postgres::PASSWORD), FaultKind::Lasting, "unknown database"),
    ];
    for (config, kind, case) in cases {
        let client = PostgresClient::new(&config).await.expect("a client");
        let fault = client.read_tables().await.expect_err(case);
        assert_eq!(fault.kind, kind, "{case}: {fault:?}");
        assert!(!format!("{fault:?}").contains("-secret"), "{case}: {fault:?}");
    }
    let closed = support::free_port();
    let config = config::Postgres { url: format!("postgres://me@127.0.0.1:{closed}/backend"), ..config::Postgres::default() };
    let begin = Instant::now();
    let fault = PostgresClient::new(&config).await.expect("a client").era().await.expect_err("closed");
    assert_eq!(fault.kind, FaultKind::Passing);
    assert!(fault.what.contains(&format!("127.0.0.1:{closed}/backend")) && fault.why.contains("refused"), "{fault}");
    assert!(begin.elapsed().as_secs() < 8);
}
