//! PostgreSQL: reads images, aliases, registries, sessions and agents, and writes single rows, each guarded by its old value.
//! It never builds SQL from names it was given, and no password of a registry ever leaves the server.

mod images;
mod rows;

use super::tls::{self, Names};
use super::{config, ssh::root_cause};
use crate::model::world::sort_rows;
use crate::model::{Era, Fault, FaultKind, Row, Session};
use rows::{TABLES, Table};
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Postgres, Transaction};
use std::{collections::BTreeMap, path::PathBuf, sync::Mutex, time::Duration};

const CONNECT: Duration = Duration::from_secs(5);
/// For the single attempt that tells why there was no connection.
const EXPLAIN: Duration = Duration::from_secs(2);
/// For a whole call: a connection, and statements of at most 15 s each.
const CALL: Duration = Duration::from_secs(30);
const READING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const WRITING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
/// Set for each transaction, so that it holds behind a connection pooler too. The last one lets go of locked rows when
/// the way to castoff is lost in the middle: without it the server would hold them for hours.
const SETTINGS: &str = "SET LOCAL TimeZone = 'UTC'; SET LOCAL statement_timeout = '15s'; SET LOCAL lock_timeout = '5s'; \
    SET LOCAL idle_in_transaction_session_timeout = '30s'";

/// One database of one Backend.AI. Connects at the first call.
pub struct PostgresClient {
    /// Holds the password: never printed.
    options: PgConnectOptions,
    /// `db.example:5432/backend`
    place: String,
    /// Named where a certificate is the trouble.
    files: [Option<PathBuf>; 3],
    /// Made anew after a call without an answer, for its connections are then not to be trusted.
    pool: Mutex<PgPool>,
}

/// A fault already in words, or an error that still has to be put into words.
enum Trouble {
    Fault(Fault),
    Sqlx(sqlx::Error),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx(error)
    }
}

impl PostgresClient {
    /// Resolves the secret; asks the server nothing yet. Without a secret libpq's own ways hold: PGPASSWORD, .pgpass.
    pub async fn new(config: &config::Postgres) -> Result<Self, Fault> {
        let what = "cannot use PostgreSQL";
        let mut options: PgConnectOptions =
            config.url.parse().map_err(|e: sqlx::Error| Fault::new(FaultKind::Lasting, what, e.to_string()))?;
        if let Some(password) = &config.password {
            let password = password.read().await.map_err(|e| Fault::new(FaultKind::Denied, what, e.to_string()))?;
            options = options.password(password.expose_secret());
        }
        let (ca, cert, key) = (config.ca.as_deref(), config.cert.as_deref(), config.key.as_deref());
        Names { section: "`[postgres]`", ca, cert, key }.check(what)?;
        let pem = |path: &PathBuf| {
            std::fs::read(path).map_err(|e| Fault::new(FaultKind::Lasting, what, format!("`{}`: {e}", path.display())))
        };
        if let (Some(cert), Some(key)) = (&config.cert, &config.key) {
            options = options.ssl_client_cert_from_pem(pem(cert)?).ssl_client_key_from_pem(pem(key)?);
        }
        if let Some(ca) = &config.ca {
            options = options.ssl_root_cert_from_pem(pem(ca)?);
            // Whoever names an authority wants it asked; the default would take any certificate.
            if !config.url.contains("sslmode=") && !config.url.contains("ssl-mode=") {
                options = options.ssl_mode(PgSslMode::VerifyFull);
            }
        }
        options = options.statement_cache_capacity(0).application_name("castoff").disable_statement_logging();
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let place = format!("{host}/{}", options.get_database().unwrap_or_default());
        let pool = Mutex::new(pool(&options));
        let files = [config.ca.clone(), config.cert.clone(), config.key.clone()];
        Ok(Self { options, place, files, pool })
    }

    /// Where this installation keeps things, told by the tables that are there.
    pub async fn era(&self) -> Result<Era, Fault> {
        let call = async {
            let mut reading = self.begin(READING).await?;
            let sql = "SELECT to_regclass('images') IS NOT NULL, to_regclass('container_registries') IS NOT NULL";
            let (images, registries): (bool, bool) = sqlx::query_as(sql).fetch_one(&mut *reading).await?;
            Ok(Era::of_tables(images, registries))
        };
        self.within("read", call).await
    }

    /// The rows a runbook can touch, and the session templates (`id`, `name`, `image`) and model services' endpoints (also
    /// `stage`) that name an image; all of one moment. Tables that this era does not have are left out.
    pub async fn read_tables(&self) -> Result<BTreeMap<String, Vec<Row>>, Fault> {
        let call = async {
            let mut reading = self.begin(READING).await?;
            let mut tables = BTreeMap::new();
            for name in TABLES {
                if let Some(table) = Table::read(&mut reading, name).await? {
                    let mut rows = table.rows(&mut reading).await?;
                    sort_rows(name, &mut rows);
                    tables.insert(name.to_owned(), rows);
                }
            }
            if !columns(&mut reading, "session_templates").await?.is_empty() {
                let mut rows = json_rows(sqlx::query_scalar(TEMPLATES).fetch_all(&mut *reading).await?)?;
                sort_rows("session_templates", &mut rows);
                tables.insert("session_templates".to_owned(), rows);
            }
            if columns(&mut reading, "endpoints").await?.iter().any(|(column, _)| column == "image") {
                let mut rows = json_rows(sqlx::query_scalar(ENDPOINTS).fetch_all(&mut *reading).await?)?;
                sort_rows("endpoints", &mut rows);
                tables.insert("endpoints".to_owned(), rows);
            }
            Ok(tables)
        };
        self.within("read", call).await
    }

    /// Every kernel that is not terminated or cancelled, oldest first. Columns are told by the catalog: their names
    /// changed between 20.03 and 20.09, the type of `status` in 24.12.
    pub async fn read_sessions(&self) -> Result<Vec<Session>, Fault> {
        let call = async {
            let mut reading = self.begin(READING).await?;
            let kernels = columns(&mut reading, "kernels").await?;
            let users = columns(&mut reading, "users").await?;
            let has = |name: &str| kernels.iter().any(|(column, _)| column == name);
            let name = match (has("session_name"), has("sess_id")) {
                (true, _) => "k.session_name::text",
                (_, true) => "k.sess_id::text",
                _ => "NULL",
            };
            let by_user = has("user_uuid") && !users.is_empty();
            let owner = if by_user { "u.email::text, k.user_uuid::text, k.access_key::text" } else { "k.access_key::text" };
            let join = if by_user { "LEFT JOIN users u ON u.uuid = k.user_uuid" } else { "" };
            let sql = format!(
                "SELECT k.id::text, COALESCE({name}, ''), COALESCE({owner}, ''), k.status::text, COALESCE(k.image::text, ''), \
                 COALESCE(k.registry::text, ''), COALESCE(k.agent::text, ''), \
                 COALESCE((extract(epoch FROM k.created_at) * 1000)::bigint, 0) \
                 FROM kernels k {join} WHERE k.status::text NOT IN ('TERMINATED', 'CANCELLED') ORDER BY k.created_at, k.id"
            );
            let rows: Vec<SessionRow> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut *reading).await?;
            Ok(rows.into_iter().map(session).collect())
        };
        self.within("read", call).await
    }

    /// The users' addresses by their access keys.
    pub async fn read_users(&self) -> Result<BTreeMap<String, String>, Fault> {
        let call = async {
            let mut reading = self.begin(READING).await?;
            let sql = "SELECT access_key::text, user_id::text FROM keypairs WHERE user_id IS NOT NULL";
            let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(&mut *reading).await?;
            Ok(rows.into_iter().collect())
        };
        self.within("read", call).await
    }

    /// Id and host address of every agent that the manager holds to be alive.
    pub async fn read_agents(&self) -> Result<Vec<(String, String)>, Fault> {
        let call = async {
            let mut reading = self.begin(READING).await?;
            let sql = "SELECT id::text, addr::text FROM agents WHERE status::text = 'ALIVE' ORDER BY id";
            let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(&mut *reading).await?;
            Ok(rows.into_iter().map(|(id, address)| (id, host_of(&address).to_owned())).collect())
        };
        self.within("read", call).await
    }

    async fn begin(&self, how: &'static str) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let pool = self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let mut transaction = pool.begin_with(how).await?;
        sqlx::raw_sql(SETTINGS).execute(&mut *transaction).await?;
        Ok(transaction)
    }

    /// Ends a call by its deadline and puts its error into words. A transaction that was not committed is undone by the server.
    async fn within<T>(&self, verb: &str, call: impl Future<Output = Result<T, Trouble>> + Send) -> Result<T, Fault> {
        let what = self.what(verb);
        match tokio::time::timeout(CALL, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Trouble::Fault(fault))) => Err(fault),
            Ok(Err(Trouble::Sqlx(sqlx::Error::PoolTimedOut))) => Err(self.why_no_connection(&what).await),
            Ok(Err(Trouble::Sqlx(error))) => Err(self.fault(&what, &error).await),
            Err(_) => {
                *self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = pool(&self.options);
                Err(Fault::new(FaultKind::Passing, what, format!("no answer for {} s", CALL.as_secs())))
            }
        }
    }

    /// The pool only says that it waited; the reason is what a single attempt says.
    async fn why_no_connection(&self, what: &str) -> Fault {
        match tokio::time::timeout(EXPLAIN, PgConnection::connect_with(&self.options)).await {
            Ok(Err(error)) => self.fault(what, &error).await,
            Ok(Ok(_)) => Fault::new(FaultKind::Passing, what, "all connections were busy"),
            Err(_) => Fault::new(FaultKind::Passing, what, format!("no answer for {} s", CONNECT.as_secs())),
        }
    }

    async fn fault(&self, what: &str, error: &sqlx::Error) -> Fault {
        let (sqlx::Error::Io(_) | sqlx::Error::Tls(_)) = error else { return fault(what, error) };
        let [ca, cert, key] = self.files.each_ref().map(Option::as_deref);
        let names = Names { section: "`[postgres]`", ca, cert, key };
        let address = format!("{}:{}", self.options.get_host(), self.options.get_port());
        let said = names.fault_of(what, &tls::causes(error), &address, tls::POSTGRES).await;
        said.unwrap_or_else(|| fault(what, error))
    }

    fn what(&self, verb: &str) -> String {
        format!("cannot {verb} PostgreSQL `{}`", self.place)
    }
}

/// Only the image's name is taken: a template may hold secrets in its environment.
const TEMPLATES: &str = "SELECT json_build_object('id', id::text, 'name', name::text, \
    'image', template -> 'spec' -> 'kernel' ->> 'image')::text \
    FROM session_templates WHERE is_active IS NOT FALSE AND template -> 'spec' -> 'kernel' ->> 'image' IS NOT NULL";

/// Destroyed ones too: their rows stay, and up to 24.03 hold their image's row by a foreign key.
const ENDPOINTS: &str = "SELECT json_build_object('id', id::text, 'name', name::text, 'image', image::text, \
    'stage', lifecycle_stage::text)::text FROM endpoints WHERE image IS NOT NULL";

type SessionRow = (String, String, String, String, String, String, String, i64);

fn session((id, name, owner, status, image, registry, agent, since_ms): SessionRow) -> Session {
    let complete = registry.is_empty() || image.is_empty() || image.starts_with(&format!("{registry}/"));
    let image = if complete { image } else { format!("{registry}/{image}") };
    Session { id, name, owner, status, image, agent, since_ms }
}

/// `tcp://10.0.0.1:6001` → `10.0.0.1`, `tcp://[fd00::1]:6001` → `fd00::1`.
fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => rest.rsplit_once(':').map_or(rest, |(host, _)| host),
    }
}

/// Names and types of a table's columns in their order; none if there is no such table.
async fn columns(transaction: &mut PgConnection, table: &'static str) -> Result<Vec<(String, String)>, sqlx::Error> {
    let sql = "SELECT a.attname::text, t.typname::text FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    sqlx::query_as(sql).bind(table).fetch_all(transaction).await
}

fn json_rows(texts: Vec<String>) -> Result<Vec<Row>, Fault> {
    let parse = |text: String| serde_json::from_str(&text);
    texts
        .into_iter()
        .map(parse)
        .collect::<Result<_, _>>()
        .map_err(|e: serde_json::Error| Fault::new(FaultKind::Lasting, "cannot read a row of PostgreSQL", e.to_string()))
}

fn pool(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(CONNECT)
        // A run may wait at a gate for hours: it then holds no connection.
        .idle_timeout(Duration::from_mins(1))
        .connect_lazy_with(options.clone())
}

/// Sorts an error: what may pass, what a login would help, what stays. PostgreSQL's details are shown only where they
/// name a key, for elsewhere they may hold a whole row.
fn fault(what: &str, error: &sqlx::Error) -> Fault {
    let with = |kind, why: &str| Fault::new(kind, what, why);
    let authority = "set `ca` of `[postgres]` in the cluster file to the authority that signed the server's certificate";
    match error {
        sqlx::Error::Io(error) if error.to_string().contains("certificate") => {
            with(FaultKind::Lasting, &error.to_string()).hint(authority)
        }
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            with(FaultKind::Passing, &format!("the connection broke off: {error}"))
        }
        sqlx::Error::Io(error) => with(FaultKind::Passing, &root_cause(error)),
        // What the server cannot do, it cannot do the next time either; other bytes than it sends are of the wire.
        sqlx::Error::Protocol(why) if !why.contains("support") => {
            with(FaultKind::Passing, &format!("its answer cannot be read: {}", why.split(" (sqlx").next().unwrap_or(why)))
                .hint("does `url` of `[postgres]` in the cluster file lead to PostgreSQL?")
        }
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => {
            with(FaultKind::Passing, &error.to_string())
        }
        sqlx::Error::Tls(error) if error.to_string().contains("certificate") => {
            with(FaultKind::Lasting, &error.to_string()).hint(authority)
        }
        sqlx::Error::Tls(error) => with(FaultKind::Lasting, &error.to_string())
            .hint("turn TLS on at the server, or write `?sslmode=disable` into `url` of `[postgres]` in the cluster file"),
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            let message = error.message();
            let detail = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::detail);
            let detailed = detail.map_or_else(|| message.to_owned(), |detail| format!("{message}: {detail}"));
            match code.as_ref() {
                "28000" if message.contains("client certificate") => with(FaultKind::Denied, message)
                    .hint("set `cert` and `key` of `[postgres]` in the cluster file to a certificate that it accepts"),
                "28000" if message.contains("no encryption") => with(FaultKind::Denied, message)
                    .hint("this server wants TLS: take `sslmode=disable` out of `url` of `[postgres]` in the cluster file"),
                "28P01" | "28000" => with(FaultKind::Denied, message)
                    .hint("check the user in `url` and the `password` of `[postgres]` in the cluster file; PostgreSQL says the same of a password that has expired (`VALID UNTIL` of the role)"),
                "42501" => with(FaultKind::Denied, message)
                    .hint("the user of `[postgres]` needs to read and write Backend.AI's own tables"),
                "25006" => with(FaultKind::Lasting, message)
                    .hint("this server is a standby: name the primary in `[postgres]` of the cluster file"),
                "53100" => with(FaultKind::Space, message),
                "23503" => with(FaultKind::Lasting, &detailed),
                "23505" => with(FaultKind::Drift, &detailed),
                // serialization failure, deadlock, lock not available, statement timeout; connection, resources, shutdown
                "40001" | "40P01" | "55P03" | "57014" => with(FaultKind::Passing, message),
                code if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => with(FaultKind::Passing, message),
                _ => with(FaultKind::Lasting, message),
            }
        }
        // Not its own words: they show a character of the password.
        sqlx::Error::Configuration(error) if error.to_string().contains("saslprep") => with(
            FaultKind::Denied,
            "the password holds a character that SCRAM forbids: a control character or an emoji, for instance",
        )
        .hint("give the role another password, and put it where `password` of `[postgres]` in the cluster file says"),
        other => with(FaultKind::Lasting, &other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_address_gives_its_host() {
        for (address, host) in [
            ("tcp://10.0.0.1:6001", "10.0.0.1"),
            ("tcp://[fd00::1]:6001", "fd00::1"),
            ("gpu-2:6001", "gpu-2"),
            ("gpu-2", "gpu-2"),
        ] {
            assert_eq!(host_of(address), host);
        }
    }

    #[test]
    fn a_sessions_image_is_canonical() {
        let of = |image: &str, registry: &str| {
            let text = |text: &str| text.to_owned();
            session((text(""), text(""), text(""), text(""), text(image), text(registry), text(""), 0)).image
        };
        assert_eq!(of("index.docker.io/lablup/python:3.6", "index.docker.io"), "index.docker.io/lablup/python:3.6");
        assert_eq!(of("lablup/python:3.6", "index.docker.io"), "index.docker.io/lablup/python:3.6");
        assert_eq!(of("lablup/python:3.6", ""), "lablup/python:3.6");
        assert_eq!(of("", "index.docker.io"), "");
    }
}
