//! Passwords as they are: every character, from every place a cluster file can name, to every server that takes one.

use crate::{
    kept::{Home, auths},
    postgres,
    registry::{self, Auth},
    run, small,
    support::etcd::Etcd,
};
use castoff::{
    cluster::{config, etcd::EtcdClient, postgres::PostgresClient, secret::Secret},
    model::FaultKind,
};
use secrecy::ExposeSecret;
use std::path::Path;

/// Users `p0`, `p1`, … with these passwords. bcrypt looks at 72 bytes, so the long one differs within them.
fn passwords() -> Vec<String> {
    let mut all: Vec<String> = [
        "pa$$w0rd-$HOME-${HOME}-$(id)-`id`",
        "it's \"quoted\" \\ and \\n",
        "line\nbreak\r\nwithin\ttab",
        "emoji-break-🔑",
        " spaces at both ends ",
        "한글-пароль-ß",
        "100%-%20-%s-%",
        "a@b:c/d?e#f&g=h+i",
        "::leading",
        "{\"json\": [1]}",
        "-n",
        "~?>~?>~?>",
    ]
    .map(str::to_owned)
    .to_vec();
    all.push(format!("long-{}", "0123456789abcdef".repeat(256)));
    all
}

/// From a variable is shown by castoff itself, below: a test cannot set its own.
fn sources(folder: &Path, name: &str, password: &str) -> [Secret; 2] {
    let path = folder.join(format!("password-{name}"));
    std::fs::write(&path, format!("{password}\n")).unwrap();
    [Secret::File(path.clone()), Secret::Command(vec!["cat".to_owned(), path.display().to_string()])]
}

#[test]
fn one_line_break_at_the_end_is_all_that_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        for (written, read) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            (" a \n", " a "),
            ("a\r", "a\r"),
            ("\n", ""),
            ("a\nb", "a\nb"),
        ] {
            let path = folder.path().join("secret");
            std::fs::write(&path, written).unwrap();
            for secret in [Secret::File(path.clone()), Secret::Command(vec!["cat".to_owned(), path.display().to_string()])] {
                assert_eq!(secret.read().await.unwrap().expose_secret(), read, "{written:?} {secret:?}");
            }
        }
    });
}

#[test]
fn every_store_takes_a_password_as_it_is() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (etcd, sql) = (Etcd::start(), postgres::start("server"));
        let mut admin = etcd.client().await;
        let mut roles = String::new();
        for (n, password) in passwords().iter().enumerate() {
            // etcd keeps bcrypt too.
            admin.user_add(format!("p{n}"), password.as_str(), None).await.unwrap();
            admin.user_grant_role(format!("p{n}"), "root").await.ok();
            roles += &format!("CREATE ROLE p{n} LOGIN SUPERUSER PASSWORD $pw${password}$pw$;");
        }
        admin.user_add("root", "root-secret", None).await.unwrap();
        admin.role_add("root").await.ok();
        admin.user_grant_role("root", "root").await.unwrap();
        for n in 0..passwords().len() {
            admin.user_grant_role(format!("p{n}"), "root").await.unwrap();
        }
        admin.auth_enable().await.unwrap();
        postgres::admin(&sql, &roles).await;
        for (n, password) in passwords().into_iter().enumerate() {
            for secret in sources(folder.path(), &n.to_string(), &password) {
                let config = config::Etcd { username: Some(format!("p{n}")), password: Some(secret.clone()), ..etcd.config() };
                let read = EtcdClient::new(&config).await.unwrap().read().await.map(|keys| keys.len());
                assert_eq!(read, Ok(0), "etcd: {password:?} {secret:?}");
                let config = config::Postgres { password: Some(secret.clone()), ..postgres::config(&sql, &format!("p{n}"), "x") };
                let read = PostgresClient::new(&config).await.unwrap().read_tables().await.map(|tables| tables.len());
                if password.contains("break") {
                    // The rules of SCRAM (SASLprep) know neither control characters nor emoji.
                    let fault = read.expect_err("control characters");
                    assert_eq!(fault.kind, FaultKind::Denied, "{fault:?}");
                    assert!(fault.why.contains("SCRAM forbids") && !format!("{fault:?}").contains("break"), "{fault:?}");
                } else {
                    assert!(read.is_ok(), "PostgreSQL: {password:?} {secret:?}: {read:?}");
                }
            }
        }
    });
}

#[test]
fn a_registry_takes_a_password_as_it_is() {
    let all = passwords();
    let names: Vec<String> = (0..all.len()).map(|n| format!("p{n}")).collect();
    let users: Vec<(&str, &str)> = names.iter().zip(&all).map(|(name, password)| (name.as_str(), password.as_str())).collect();
    let server = registry::start("server", &Auth::Basic(&users), false);
    run(async {
        for (user, password) in &users {
            for secret in sources(server.folder.path(), user, password) {
                let config =
                    config::RegistryConfig { password: Some(secret), ..registry::config(&server, Some((user, password))) };
                assert_eq!(registry::read(&config).await, Ok(()), "{password:?}");
            }
        }
    });
    // From a variable and from docker's file, as castoff itself finds them. What goes out is held against every byte.
    for (user, password) in &users {
        let mut home = Home::new();
        home.variable("CASTOFF_TEST_PASSWORD", password);
        let login = format!("username = \"{user}\"\npassword = {{ env = \"CASTOFF_TEST_PASSWORD\" }}");
        assert_eq!(home.look(&server, &login).unwrap()["login"], *user, "{password:?}");
        home.file(".docker/config.json", &auths(&server, user, password));
        assert_eq!(home.look(&server, "").unwrap()["login"], *user, "{password:?}");
    }
    let exact = small::serve(|request| match request.authorization() {
        None => small::reply("401 Unauthorized", "WWW-Authenticate: Basic\r\n", ""),
        Some(_) => small::reply("404 Not Found", "", ""),
    });
    let folder = tempfile::tempdir().unwrap();
    run(async {
        for (user, password) in &users {
            let [secret, _] = sources(folder.path(), user, password);
            let url = format!("http://127.0.0.1:{}", exact.port);
            let config = config::RegistryConfig {
                url,
                username: Some((*user).to_owned()),
                password: Some(secret),
                ..config::RegistryConfig::default()
            };
            let _ = registry::client(&config).unwrap().manifest(&registry::image()).await;
        }
    });
    use base64::{Engine, engine::general_purpose::STANDARD};
    let expect: Vec<String> =
        users.iter().map(|(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))).collect();
    assert_eq!(exact.authorizations(), expect);
}
