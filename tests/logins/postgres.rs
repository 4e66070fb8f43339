//! PostgreSQL behind TLS that asks for a client certificate and a password (scram).

use crate::{
    Said,
    certificates::{path, text},
    run, schema,
    servers::Server,
    support::etcd::secret_file,
};
use castoff::{
    cluster::{config, postgres::PostgresClient},
    model::{
        Fault,
        FaultKind::{Denied, Lasting},
        RowDiff, Standing,
    },
};
use sqlx::{AssertSqlSafe, Connection, postgres::PgConnectOptions};
use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

const ADMIN: &str = "admin-secret";

pub fn start(certificate: &str) -> Server {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("the Debian package `postgresql`").flatten();
    let bin: PathBuf = versions.map(|version| version.path().join("bin")).max().expect("a PostgreSQL");
    // It refuses to run as root.
    let words = "--reuid postgres --regid postgres --init-groups --";
    let mut server = Server::start("setpriv", "util-linux", |folder, port| {
        let own = |path: &std::path::Path, mode| {
            assert!(Command::new("chown").args(["postgres:"]).arg(path).status().unwrap().success());
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        own(folder, 0o755);
        for (name, from) in [("server.pem", format!("{certificate}.pem")), ("server.key", format!("{certificate}.key"))] {
            std::fs::copy(path(&from), folder.join(name)).unwrap();
            own(&folder.join(name), 0o600);
        }
        std::fs::copy(path("ca.pem"), folder.join("ca.pem")).unwrap();
        std::fs::write(folder.join("password"), ADMIN).unwrap();
        let data = folder.join("data").display().to_string();
        let mut initdb = Command::new("setpriv");
        initdb.args(words.split(' ')).arg(bin.join("initdb")).args(["-D", &data, "-U", "postgres", "-E", "UTF8", "--no-sync"]);
        initdb.args(["-A", "scram-sha-256", "--no-instructions", "--pwfile"]).arg(folder.join("password"));
        crate::support::run(initdb.current_dir(folder));
        std::fs::write(folder.join("data/pg_hba.conf"), "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n")
            .unwrap();
        let at = |name: &str| folder.join(name).display().to_string();
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", at("server.pem")),
            format!("ssl_key_file={}", at("server.key")),
            format!("ssl_ca_file={}", at("ca.pem")),
        ];
        let mut arguments: Vec<String> = words.split(' ').map(str::to_owned).collect();
        arguments.extend([bin.join("postgres").display().to_string(), "-D".to_owned(), data]);
        arguments.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        arguments
    });
    // Those that are connected are not waited for.
    server.signal = rustix::process::Signal::INT;
    server
}

pub async fn admin(server: &Server, statements: &str) {
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=verify-full", server.port);
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.ssl_root_cert(text("ca.pem")).ssl_client_cert(text("client.pem")).ssl_client_key(text("client.key"));
    let begin = Instant::now();
    loop {
        match sqlx::PgConnection::connect_with(&options.clone().password(ADMIN)).await {
            Ok(mut connection) => {
                sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
                return;
            }
            Err(error) => assert!(begin.elapsed() < Duration::from_mins(1), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn config(server: &Server, user: &str, password: &str) -> config::Postgres {
    config::Postgres {
        url: format!("postgres://{user}@127.0.0.1:{}/postgres?sslmode=verify-full", server.port),
        password: Some(secret_file(server.folder.path(), password)),
        ca: Some(path("ca.pem")),
        cert: Some(path("client.pem")),
        key: Some(path("client.key")),
    }
}

async fn read(config: &config::Postgres) -> Result<(), Fault> {
    PostgresClient::new(config).await?.read_tables().await.map(drop)
}

#[test]
fn postgres_knows_castoff_by_certificate_and_password() {
    run(async {
        let server = start("server");
        let tables = format!(
            "{}{}CREATE ROLE kim LOGIN SUPERUSER PASSWORD 'kim-secret';\
             CREATE ROLE old LOGIN PASSWORD 'old-secret' VALID UNTIL '2026-03-01';",
            schema::TABLES,
            schema::ROWS
        );
        admin(&server, &tables).await;
        let right = config(&server, "kim", "kim-secret");

        let client = PostgresClient::new(&right).await.unwrap();
        let columns = |value: serde_json::Value| serde_json::from_value(value).unwrap();
        let diffs = [RowDiff {
            table: "images".to_owned(),
            key: schema::NEW_PYTHON.to_owned(),
            before: Some(columns(serde_json::json!({ "labels": "[]" }))),
            after: Some(columns(serde_json::json!({ "labels": "{ \"a\":1 }" }))),
        }];
        assert_eq!(client.standing(&diffs).await, Ok(Standing::Before));
        client.write(&diffs, true).await.unwrap();
        assert_eq!(client.standing(&diffs).await, Ok(Standing::After));

        let with = |cert: &str| config::Postgres {
            cert: Some(path(&format!("{cert}.pem"))),
            key: Some(path(&format!("{cert}.key"))),
            ..right.clone()
        };
        let cases = [
            (
                config(&server, "kim", "wrong-secret"),
                "wrong password",
                Denied,
                vec!["password", "kim"],
                vec!["`password` of `[postgres]`"],
            ),
            (config(&server, "nobody", "kim-secret"), "unknown user", Denied, vec!["nobody"], vec!["`url`"]),
            (config(&server, "old", "old-secret"), "password expired", Denied, vec!["old"], vec!["VALID UNTIL"]),
            (
                with("client-expired"),
                "expired",
                Lasting,
                vec!["client-expired.pem", "expired on 2026-03-01"],
                vec!["`cert` of `[postgres]`"],
            ),
            (with("client-stranger"), "of a stranger", Lasting, vec!["client-stranger.pem"], vec!["`cert`"]),
            (
                config::Postgres { cert: None, key: None, ..right.clone() },
                "no certificate",
                Denied,
                vec!["certificate"],
                vec!["`cert`"],
            ),
            (
                config::Postgres { key: Some(path("server.key")), ..right.clone() },
                "not its key",
                Lasting,
                vec!["client.pem"],
                vec!["`cert`"],
            ),
            (
                config::Postgres { ca: Some(path("ca.key")), ..right.clone() },
                "no authority in it",
                Lasting,
                vec!["ca.key", "holds no certificate"],
                vec!["`ca`"],
            ),
            (
                config::Postgres { ca: Some(path("stranger.pem")), ..right.clone() },
                "another authority",
                Lasting,
                vec!["authority"],
                vec!["`ca` of `[postgres]`"],
            ),
            (
                config::Postgres { ca: Some(path("gone.pem")), ..right.clone() },
                "no such file",
                Lasting,
                vec!["gone.pem"],
                vec!["`[postgres]`"],
            ),
            (
                config::Postgres { url: right.url.replace("verify-full", "disable"), ..right.clone() },
                "without TLS",
                Denied,
                vec!["no encryption"],
                vec!["sslmode"],
            ),
        ];
        for (config, case, kind, words, hint) in cases {
            Said { case, kind, words: &words, hint: &hint }.by(&read(&config).await.expect_err(case));
        }
    });
}

#[test]
fn the_certificate_of_postgres_itself_is_looked_at() {
    run(async {
        for (certificate, word) in [("server-expired", "expired on 2026-03-01"), ("server-elsewhere", "another name")] {
            let server = start(certificate);
            let fault = read(&config(&server, "postgres", ADMIN)).await.expect_err(word);
            Said { case: word, kind: Lasting, words: &["PostgreSQL", "certificate", word], hint: &[] }.by(&fault);
        }
    });
}
