//! The etcd client against a real etcd.

use crate::support::{self, etcd::Etcd};
use castoff::cluster::etcd::EtcdClient;
use castoff::model::{FaultKind, KeyDiff, Standing, Value};
use etcd_client::GetOptions;
use std::{collections::BTreeMap, time::Instant};

const REGISTRY: &str = "/sorna/local/config/docker/registry/index.docker.io";

fn diff(key: impl Into<String>, before: Option<&str>, after: Option<&str>) -> KeyDiff {
    KeyDiff { key: key.into(), before: before.map(Value::text), after: after.map(Value::text) }
}

async fn put(server: &Etcd, pairs: &[(&str, &str)]) {
    let mut client = server.client().await;
    for (key, value) in pairs {
        client.put(*key, *value, None).await.expect("a put");
    }
}

async fn dump(server: &Etcd) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let all = server.client().await.get("", Some(GetOptions::new().with_all_keys())).await.expect("all keys");
    all.kvs().iter().map(|pair| (pair.key().to_vec(), pair.value().to_vec())).collect()
}

#[tokio::test]
async fn keys_go_there_and_back_byte_for_byte_and_neighbours_stay() {
    let server = Etcd::start();
    let odd = " https://registry-1.docker.io/?a=\"b\"\\ \n한글 ";
    put(
        &server,
        &[
            (REGISTRY, odd),
            (&format!("{REGISTRY}/type"), "docker"),
            (&format!("{REGISTRY}/ssl-verify"), ""),
            (&format!("{REGISTRY}-backup"), "https://backup"),
            (&format!("{REGISTRY}.mirror.corp/type"), "docker"),
            (&format!("{REGISTRY}%3A443/type"), "docker"),
            ("/sorna/other/config/docker/registry/index.docker.io", "https://other"),
            ("/sorna/local/manager/status", "running"),
        ],
    )
    .await;
    let client = EtcdClient::new(&server.config()).await.expect("a client");
    let before = dump(&server).await;
    let diffs = [
        diff(REGISTRY, Some(odd), None),
        diff(format!("{REGISTRY}/type"), Some("docker"), None),
        diff(format!("{REGISTRY}/ssl-verify"), Some(""), Some("False")),
        diff("/sorna/local/config/docker/registry/cr.backend.ai", None, Some("https://cr.backend.ai")),
    ];
    assert_eq!(client.standing(&diffs).await, Ok(Standing::Before));
    client.write(&diffs, true).await.expect("there");
    assert_eq!(client.standing(&diffs).await, Ok(Standing::After));
    client.write(&diffs, true).await.expect("there again changes nothing");
    let keys = client.read().await.expect("keys");
    assert_eq!(
        keys.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "/sorna/local/config/docker/registry/cr.backend.ai",
            "/sorna/local/config/docker/registry/index.docker.io%3A443/type",
            "/sorna/local/config/docker/registry/index.docker.io-backup",
            "/sorna/local/config/docker/registry/index.docker.io.mirror.corp/type",
            "/sorna/local/config/docker/registry/index.docker.io/ssl-verify",
        ]
    );
    client.write(&diffs, false).await.expect("back");
    assert_eq!(client.standing(&diffs).await, Ok(Standing::Before));
    assert_eq!(dump(&server).await, before);
}

#[tokio::test]
async fn drift_is_named_and_nothing_is_written() {
    let server = Etcd::start();
    put(&server, &[("/sorna/local/a", "1"), ("/sorna/local/b", "other")]).await;
    let client = EtcdClient::new(&server.config()).await.expect("a client");
    let before = dump(&server).await;
    let diffs = [diff("/sorna/local/a", Some("1"), Some("2")), diff("/sorna/local/b", Some("1"), Some("2"))];
    assert_eq!(client.standing(&diffs).await, Ok(Standing::Neither("`/sorna/local/b` is `other`".to_owned())));
    let fault = client.write(&diffs, true).await.expect_err("drift");
    assert_eq!((fault.kind, fault.why.as_str()), (FaultKind::Drift, "`/sorna/local/b` is `other`"));
    let gone = client.write(&[diff("/sorna/local/c", Some("1"), None), diff("/sorna/local/a", Some("1"), None)], true).await;
    // A key that is already gone is right; the rest still happens.
    assert_eq!(gone, Ok(()));
    let fault = client.write(&[diff("/sorna/local/c", Some("1"), Some("2"))], true).await.expect_err("drift");
    assert_eq!(fault.why, "`/sorna/local/c` is not there");
    assert_eq!(dump(&server).await.len(), before.len() - 1);
}

#[tokio::test]
async fn of_two_writers_one_wins_and_the_other_learns_it() {
    let server = Etcd::start();
    let (one, two) =
        (EtcdClient::new(&server.config()).await.expect("a client"), EtcdClient::new(&server.config()).await.expect("a client"));
    for n in 0..30 {
        let key = format!("/sorna/local/race/{n}");
        put(&server, &[(&key, "before")]).await;
        let (first, second) = ([diff(&*key, Some("before"), Some("one"))], [diff(&*key, Some("before"), Some("two"))]);
        let (a, b) = tokio::join!(one.write(&first, true), two.write(&second, true));
        assert!(a.is_ok() != b.is_ok(), "{n}: {a:?} {b:?}");
        let loser = a.err().or(b.err()).expect("a loser");
        assert_eq!(loser.kind, FaultKind::Drift, "{loser}");
    }
}

#[tokio::test]
async fn a_password_is_never_read_and_its_loss_was_announced() {
    let server = Etcd::start();
    let password = format!("{REGISTRY}/password");
    put(&server, &[(REGISTRY, "https://registry-1.docker.io"), (&password, "hunter2")]).await;
    server.client().await.put(format!("{REGISTRY}/blob"), vec![0xff, 0xfe], None).await.expect("a put");
    let client = EtcdClient::new(&server.config()).await.expect("a client");
    let keys = client.read().await.expect("keys");
    assert!(!format!("{keys:?}").contains("hunter2"));
    assert_eq!(keys[&password], Value::Hidden);
    assert_eq!(keys[&format!("{REGISTRY}/blob")], Value::Hidden);
    let diffs = [
        diff(REGISTRY, Some("https://registry-1.docker.io"), None),
        KeyDiff { key: password.clone(), before: Some(Value::Hidden), after: None },
    ];
    client.write(&diffs, true).await.expect("there");
    assert_eq!(client.standing(&diffs).await, Ok(Standing::After));
    client.write(&diffs, false).await.expect("back, but for the password");
    assert_eq!(client.standing(&diffs).await, Ok(Standing::Before));
    let keys = client.read().await.expect("keys");
    assert!(keys.contains_key(REGISTRY) && !keys.contains_key(&password));
    put(&server, &[(&password, "given back by hand")]).await;
    assert_eq!(client.standing(&diffs).await, Ok(Standing::Before));
    let fault = client.write(&[KeyDiff { key: format!("{REGISTRY}/x"), before: None, after: Some(Value::Hidden) }], true).await;
    assert_eq!(fault.expect_err("nothing to write").kind, FaultKind::Lasting);
}

#[tokio::test]
async fn a_folder_is_made_exactly_what_it_was() {
    let server = Etcd::start();
    let folder = "/sorna/local/images/cr.backend.ai";
    let client = EtcdClient::new(&server.config()).await.expect("a client");
    let key = |n: usize| format!("{folder}/stable%2Fpython/{n:04}");
    let old: BTreeMap<String, Value> = (0..150).map(|n| (key(n), Value::text(n.to_string()))).collect();
    client.replace_within(folder, &old).await.expect("150 keys out of nothing");
    put(&server, &[(folder, "1"), (&format!("{folder}.neighbour/x"), "stays"), (&format!("{folder}%3A443/x"), "stays")]).await;
    for n in 100..300 {
        put(&server, &[(&key(n), "rescanned")]).await;
    }
    assert_eq!(client.replace_within(folder, &old).await, Ok(()));
    let mut keys = client.read().await.expect("keys");
    assert!(keys.remove(&format!("{folder}.neighbour/x")).is_some() && keys.remove(&format!("{folder}%3A443/x")).is_some());
    assert_eq!(keys, old);
    assert_eq!(client.replace_within(folder, &BTreeMap::new()).await, Ok(()));
    assert_eq!(client.read().await.expect("keys").len(), 2);
    let stray = BTreeMap::from([(format!("{folder}.neighbour/x"), Value::text("x"))]);
    assert_eq!(client.replace_within(folder, &stray).await.expect_err("a stray key").kind, FaultKind::Lasting);
}

#[tokio::test]
async fn many_and_large_keys_are_read_in_pages() {
    let server = Etcd::start();
    let client = EtcdClient::new(&server.config()).await.expect("a client");
    let folder = "/sorna/local/images/index.docker.io";
    let large = "x".repeat(8000);
    let wanted: BTreeMap<String, Value> = (0..2500).map(|n| (format!("{folder}/{n}"), Value::text(large.as_str()))).collect();
    client.replace_within(folder, &wanted).await.expect("keys");
    assert_eq!(client.read().await.expect("keys"), wanted);
    let diffs: Vec<KeyDiff> = (0..120).map(|n| diff(format!("{folder}/{n}"), Some(&large), None)).collect();
    assert_eq!(client.standing(&diffs).await, Ok(Standing::Before));
    client.write(&diffs, true).await.expect("120 keys in one transaction");
    assert_eq!(client.standing(&diffs).await, Ok(Standing::After));
}

#[tokio::test]
async fn logins_are_told_apart() {
    let server = Etcd::start();
    let mut admin = server.client().await;
    for (user, password) in [("root", "root-secret"), ("reader", "reader-secret")] {
        admin.user_add(user, password, None).await.expect("a user");
    }
    admin.role_add("root").await.expect("a role");
    admin.user_grant_role("root", "root").await.expect("a grant");
    let password = EtcdClient::new(&server.config_with_login("root", "root-secret")).await.expect("a client");
    let fault = password.read().await.expect_err("authentication is off");
    assert_eq!(fault.kind, FaultKind::Lasting, "{fault:?}");
    admin.auth_enable().await.expect("authentication");
    let cases = [
        (server.config(), "no login"),
        (server.config_with_login("root", "wrong-secret"), "wrong password"),
        (server.config_with_login("nobody", "wrong-secret"), "unknown user"),
        (server.config_with_login("reader", "reader-secret"), "no right"),
    ];
    for (config, case) in cases {
        let client = EtcdClient::new(&config).await.expect("a client");
        let fault = client.read().await.expect_err(case);
        assert_eq!(fault.kind, FaultKind::Denied, "{case}: {fault:?}");
        assert!(fault.hint.is_some() && fault.what.contains(&server.endpoint), "{case}: {fault:?}");
        assert!(!format!("{fault:?}").contains("-secret"), "{case}: {fault:?}");
    }
    let client = EtcdClient::new(&server.config_with_login("root", "root-secret")).await.expect("a client");
    assert_eq!(client.read().await, Ok(BTreeMap::new()));
}

#[tokio::test]
async fn no_answer_is_passing_and_names_the_endpoint() {
    let closed = format!("http://127.0.0.1:{}", support::free_port());
    // It takes connections and never speaks.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}", silent.local_addr().expect("an address"));
    for endpoint in [closed, silent] {
        let client = EtcdClient::new(&support::etcd::config(&endpoint)).await.expect("a client");
        let begin = Instant::now();
        let fault = client.read().await.expect_err("no answer");
        assert_eq!(fault.kind, FaultKind::Passing, "{fault:?}");
        assert!(fault.what.contains(&endpoint), "{fault:?}");
        assert!(begin.elapsed().as_secs() < 8);
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let server = Etcd::start();
    let client = EtcdClient::new(&server.config()).await.expect("a client");
    assert_eq!(client.read().await, Ok(BTreeMap::new()));
    let endpoint = server.endpoint.clone();
    drop(server);
    assert_eq!(client.read().await.expect_err("stopped").kind, FaultKind::Passing);
    let server = Etcd::start_at(&endpoint);
    assert_eq!(client.read().await, Ok(BTreeMap::new()));
    drop(server);
}
