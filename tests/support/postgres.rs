//! One real PostgreSQL, shared by the tests that run at the same time, with a database for each test.

use super::etcd::secret_file;
use super::{free_port, program, run};
use castoff::cluster::config;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

pub const PASSWORD: &str = "p@ss: w/ord";

/// Needs no password.
pub const TRUSTED: &str = "trusted";

/// Has the right to nothing.
pub const READER: (&str, &str) = ("reader", "reader-secret");

pub struct Postgres {
    folder: tempfile::TempDir,
    port: u16,
}

/// A database of its own.
pub struct Database {
    server: Arc<Postgres>,
    name: String,
}

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

impl Postgres {
    fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The server refuses to run as root, so user postgres must get in here.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("an open folder");
        let server = Self { folder, port: free_port() };
        let password = server.folder.path().join("password");
        std::fs::write(&password, PASSWORD).expect("a password file");
        run(server
            .command("initdb")
            .args(["-U", "postgres", "-E", "UTF8", "--no-sync", "-A", "scram-sha-256", "--pwfile"])
            .arg(password));
        // One user without a password: SCRAM takes long in a debug build, and not every test is about it.
        let rules = server.folder.path().join("data/pg_hba.conf");
        let kept = std::fs::read_to_string(&rules).expect("rules of access");
        std::fs::write(&rules, format!("host all {TRUSTED} 127.0.0.1/32 trust\n{kept}")).expect("rules of access");
        // Roles belong to the whole server: two tests that each make one at the same time would be in each other's way.
        let roles = server.folder.path().join("roles.sql");
        let (reader, password) = READER;
        std::fs::write(&roles, format!("CREATE ROLE {TRUSTED} LOGIN\nCREATE ROLE {reader} LOGIN PASSWORD '{password}'\n"))
            .expect("roles");
        let roles = std::fs::File::open(roles).expect("roles");
        run(server.command("postgres").args(["--single", "postgres"]).stdin(roles));
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c max_connections=100",
            server.port
        );
        let log = server.folder.path().join("data").join("log");
        run(server.command("pg_ctl").args(["start", "-w", "-o", &options, "-l"]).arg(log));
        server
    }

    fn command(&self, name: &str) -> Command {
        let versions = std::fs::read_dir("/usr/lib/postgresql").map(|d| d.flatten().map(|e| e.path()).collect::<Vec<_>>());
        let candidates: Vec<PathBuf> = versions.unwrap_or_default().iter().map(|p| p.join("bin").join(name)).collect();
        let program = program(&candidates, "postgresql");
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.env("PGDATA", self.folder.path().join("data")).current_dir(self.folder.path());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        run(self.command("pg_ctl").args(["stop", "-m", "immediate", "-w"]));
    }
}

impl Database {
    /// An empty database with these statements run in it.
    pub async fn with(statements: &str) -> Self {
        let server = Postgres::shared();
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let database = Self { server, name };
        let mut admin = database.connect_to("postgres").await;
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {}", database.name))).execute(&mut admin).await.expect("a database");
        database.execute(statements).await;
        database
    }

    pub fn url(&self) -> String {
        self.url_at(self.server.port)
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Through a relay on this port.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/{}", self.name)
    }

    pub fn config(&self) -> config::Postgres {
        self.config_with_password(PASSWORD)
    }

    pub fn config_with_password(&self, password: &str) -> config::Postgres {
        let password = Some(secret_file(self.server.folder.path(), password));
        config::Postgres { url: self.url(), password, ..config::Postgres::default() }
    }

    /// A connection of somebody else.
    pub async fn connect(&self) -> PgConnection {
        self.connect_to(&self.name).await
    }

    pub async fn execute(&self, statements: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.expect("statements");
    }

    /// The first column of every row, as text.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let mut connection = self.connect().await;
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.expect("rows")
    }

    async fn connect_to(&self, name: &str) -> PgConnection {
        let options: sqlx::postgres::PgConnectOptions = self.url().parse().expect("a url");
        PgConnection::connect_with(&options.database(name).password(PASSWORD)).await.expect("a connection")
    }
}
