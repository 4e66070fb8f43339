//! Passwords as they are: every character, from every place a cluster file can name, to every server that takes one.

use crate::{
    certificates::text,
    kept::Home,
    postgres,
    registry::{self, Auth},
    run, small,
    support::etcd::Etcd,
};
use base64::{Engine, engine::general_purpose::STANDARD};
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

fn file(folder: &Path, name: &str, password: &str) -> Secret {
    let path = folder.join(format!("password-{name}"));
    std::fs::write(&path, format!("{password}\n")).unwrap();
    Secret::File(path)
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
fn a_file_and_a_command_give_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        for password in passwords() {
            let Secret::File(path) = file(folder.path(), "x", &password) else { unreachable!() };
            let command = Secret::Command(vec!["cat".to_owned(), path.display().to_string()]);
            for secret in [Secret::File(path), command] {
                assert_eq!(secret.read().await.unwrap().expose_secret(), password);
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
            let secret = Some(file(folder.path(), &n.to_string(), &password));
            let to_etcd = config::Etcd { username: Some(format!("p{n}")), password: secret.clone(), ..etcd.config() };
            let to_sql = config::Postgres { password: secret, ..postgres::config(&sql, &format!("p{n}"), "x") };
            let (to_etcd, to_sql) = (EtcdClient::new(&to_etcd).await.unwrap(), PostgresClient::new(&to_sql).await.unwrap());
            let (keys, tables) = tokio::join!(to_etcd.read(), to_sql.read_tables());
            assert_eq!(keys.map(|keys| keys.len()), Ok(0), "etcd: {password:?}");
            if password.contains("break") {
                // The rules of SCRAM (SASLprep) know neither control characters nor emoji.
                let fault = tables.expect_err("control characters");
                assert_eq!(fault.kind, FaultKind::Denied, "{fault:?}");
                assert!(fault.why.contains("SCRAM forbids") && !format!("{fault:?}").contains("break"), "{fault:?}");
            } else {
                assert!(tables.is_ok(), "PostgreSQL: {password:?}: {tables:?}");
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
    // By the variable of each, and from docker's file, as castoff itself finds them.
    let mut home = Home::new();
    let (mut registries, mut kept) = (String::new(), vec![]);
    for (user, password) in &users {
        home.variable(&format!("CASTOFF_TEST_{user}"), password);
        let url = format!("url = \"https://127.0.0.1:{}\"\nca = \"{}\"", server.port, text("ca.pem"));
        let login = format!("username = \"{user}\"\npassword = {{ env = \"CASTOFF_TEST_{user}\" }}");
        registries += &format!("[registries.\"{user}.env\"]\n{url}\n{login}\n");
        registries += &format!("[registries.\"{user}.kept\"]\n{url}\nlogin = \"docker-config\"\n");
        kept.push(format!(r#""{user}.kept":{{"auth":"{}"}}"#, STANDARD.encode(format!("{user}:{password}"))));
    }
    home.file(".docker/config.json", &format!(r#"{{"auths":{{{}}}}}"#, kept.join(",")));
    home.file("castoff.toml", &format!("name = \"x\"\n{registries}"));
    let out = home.at("inventory.json");
    let said = home.castoff(&["inventory", "--out", &out.display().to_string()]);
    let inventory: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).expect(&said)).unwrap();
    for (user, password) in &users {
        for source in ["env", "kept"] {
            let found = &inventory["registries"][format!("{user}.{source}")];
            assert_eq!(found["login"], *user, "{source}: {password:?}: {}", inventory["unanswered"]);
        }
    }
    // bcrypt looks at 72 bytes, so what goes out is held against every byte.
    let exact = small::serve(|request| match request.authorization() {
        None => small::reply("401 Unauthorized", "WWW-Authenticate: Basic\r\n", ""),
        Some(_) => small::reply("404 Not Found", "", ""),
    });
    let folder = tempfile::tempdir().unwrap();
    run(async {
        for (user, password) in &users {
            let secret = file(folder.path(), user, password);
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
    let expect: Vec<String> =
        users.iter().map(|(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))).collect();
    assert_eq!(exact.authorizations(), expect);
}
