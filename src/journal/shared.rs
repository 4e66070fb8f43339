//! Runs in a PostgreSQL that several operators share: a schema of its own, made by numbered migrations, and one row that
//! says who holds a run and when it was last heard of, by the server's clock. Never holds a password in what it shows.
//!
//! It needs a connection that stays: not a pooler that hands each transaction to another one.

use super::{JOURNAL_VERSION, JournalError, home::Keeper, store};
use crate::model::{Holder, chain};
use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use store::within;
use tokio::sync::{oneshot, watch};

const CONNECT: Duration = Duration::from_secs(5);
/// How often the holder says that it lives.
const BEAT: Duration = Duration::from_secs(5);
/// A holder that was not heard of for so long is gone.
const GONE_MS: i64 = 30_000;
/// For advisory locks; any number that nobody else takes.
const LOCK: i64 = 0x0063_6173_746f_6666;
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// In order; each is done once, and never changed afterwards.
const MIGRATIONS: [&[&str]; 1] = [&[
    store::TABLES[0],
    store::TABLES[1],
    "CREATE TABLE holder (run TEXT PRIMARY KEY REFERENCES meta (run) ON DELETE CASCADE, cluster TEXT NOT NULL, \
     epoch BIGINT NOT NULL, holder TEXT NOT NULL, held BOOLEAN NOT NULL, since_ms BIGINT NOT NULL, heard_ms BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX one_run_per_cluster ON holder (cluster) WHERE held",
]];

/// Where a shared journal is and how to get in.
pub struct Place {
    /// `postgres://user@host:port/database?sslmode=…`, without a password.
    pub url: String,
    /// Without it PGPASSWORD and PGPASSFILE hold, as everywhere.
    pub password: Option<SecretString>,
    /// With it the server's certificate and name are verified, unless the URL has an `sslmode` of its own.
    pub ca: Option<PathBuf>,
    /// Certificate and key of this client, for a server that asks for one.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Whether a process of this machine, as its holder wrote it down, is certainly gone.
    pub is_dead: fn(&Holder) -> bool,
}

pub struct Shared {
    /// Holds the password: never printed.
    options: PgConnectOptions,
    pub name: String,
    is_dead: fn(&Holder) -> bool,
    /// Made anew after a call without an answer, for its connections are then not to be trusted.
    pool: Mutex<PgPool>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

type Row = (String, String, i64, bool, i64);

impl Shared {
    /// Connects, and brings the schema to what this version needs.
    pub async fn open(place: Place) -> Result<Self, JournalError> {
        let name = place.url.split('?').next().unwrap_or_default().to_owned();
        let path = PathBuf::from(&name);
        let storage = |why: String| JournalError::Storage { what: "open", path: path.clone(), why };
        let mut options: PgConnectOptions = place.url.parse().map_err(|why: sqlx::Error| storage(store::words(&why)))?;
        if let Some(password) = &place.password {
            options = options.password(password.expose_secret());
        }
        let pem = |path: &PathBuf| std::fs::read(path).map_err(|why| storage(format!("`{}`: {why}", path.display())));
        if let Some((cert, key)) = &place.client {
            options = options.ssl_client_cert_from_pem(pem(cert)?).ssl_client_key_from_pem(pem(key)?);
        }
        if let Some(ca) = &place.ca {
            options = options.ssl_root_cert_from_pem(pem(ca)?);
            if !place.url.contains("sslmode=") && !place.url.contains("ssl-mode=") {
                options = options.ssl_mode(PgSslMode::VerifyFull);
            }
        }
        let settings = [
            ("search_path", "castoff"),
            // An entry is durable when its COMMIT is answered, whatever the server does by itself.
            ("synchronous_commit", "on"),
            ("statement_timeout", "8000"),
            ("lock_timeout", "7000"),
            // A castoff that is suspended in mid-transaction holds nobody up for longer.
            ("idle_in_transaction_session_timeout", "5000"),
        ];
        let options = options.application_name("castoff").options(settings).disable_statement_logging();
        let shared = Self { pool: Mutex::new(pool(&options)), options, name, is_dead: place.is_dead };
        let found = within(shared.migrate()).await.map_err(|why| storage(store::words(&why)))?;
        let known = i64::try_from(MIGRATIONS.len()).expect("a few");
        if found == known { Ok(shared) } else { Err(JournalError::Format { path, found }) }
    }

    /// The number of the schema, after what is missing was added; one castoff at a time.
    async fn migrate(&self) -> Result<i64, sqlx::Error> {
        let number = "SELECT coalesce(max(n), 0) FROM castoff.migration";
        let here: bool =
            sqlx::query_scalar("SELECT to_regclass('castoff.migration') IS NOT NULL").fetch_one(&self.pool()).await?;
        if here {
            let found: i64 = sqlx::query_scalar(number).fetch_one(&self.pool()).await?;
            if found >= i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX) {
                return Ok(found);
            }
        }
        let mut tx = self.pool().begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
        sqlx::query("CREATE SCHEMA IF NOT EXISTS castoff").execute(&mut *tx).await?;
        let table = "CREATE TABLE IF NOT EXISTS castoff.migration (n BIGINT PRIMARY KEY, at TIMESTAMPTZ NOT NULL DEFAULT now())";
        sqlx::query(table).execute(&mut *tx).await?;
        let mut found: i64 = sqlx::query_scalar(number).fetch_one(&mut *tx).await?;
        for (migration, n) in MIGRATIONS.iter().zip(1..).skip(usize::try_from(found).unwrap_or(usize::MAX)) {
            for statement in *migration {
                sqlx::query(*statement).execute(&mut *tx).await?;
            }
            sqlx::query("INSERT INTO castoff.migration (n) VALUES ($1)").bind(n).execute(&mut *tx).await?;
            found = n;
        }
        tx.commit().await?;
        Ok(found)
    }

    pub fn pool(&self) -> PgPool {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// After a call without an answer nothing of its connections is used again.
    pub fn heeded<T>(&self, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if answer.as_ref().is_err_and(store::passes) {
            *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = pool(&self.options);
        }
        answer
    }

    pub async fn runs(&self) -> Result<Vec<String>, sqlx::Error> {
        let call = async { sqlx::query_scalar("SELECT run FROM meta ORDER BY run").fetch_all(&self.pool()).await };
        self.heeded(within(call).await)
    }

    /// Who holds the run and lives.
    pub async fn keeper(&self, run: &str) -> Result<Option<Keeper>, sqlx::Error> {
        let call = async {
            let sql = "SELECT run, holder, epoch, held, (extract(epoch FROM clock_timestamp()) * 1000)::bigint - heard_ms \
                       FROM holder WHERE run = $1";
            sqlx::query_as(sql).bind(run).fetch_optional(&self.pool()).await
        };
        let row: Option<Row> = self.heeded(within(call).await)?;
        Ok(row.and_then(|row| self.alive(&row)))
    }

    fn alive(&self, (run, holder, _, held, silent_ms): &Row) -> Option<Keeper> {
        let holder: Holder = serde_json::from_str(holder).unwrap_or_default();
        let alive = *held && *silent_ms <= GONE_MS && !(self.is_dead)(&holder);
        alive.then(|| Keeper {
            run: Some(run.clone()),
            holder: holder.to_string(),
            host: holder.host,
            silent_ms: Some(*silent_ms),
        })
    }

    pub async fn last_holder(&self, run: &str) -> Option<String> {
        let call =
            async { sqlx::query_scalar("SELECT holder FROM holder WHERE run = $1").bind(run).fetch_optional(&self.pool()).await };
        let words: Option<String> = self.heeded(within(call).await).ok()?;
        let holder: Holder = serde_json::from_str(&words?).ok()?;
        Some(holder.to_string())
    }

    /// Takes a run, and with it its cluster, for this holder: a new epoch, if nobody who lives has either. A castoff that
    /// was not heard of for long is fenced off, also where it ran something else on the same cluster. `by_force` takes the
    /// run, and only the run, from one who lives.
    pub async fn claim(
        &self,
        (run, cluster): (&str, &str),
        holder: &Holder,
        is_new: bool,
        by_force: bool,
    ) -> Result<Result<i64, JournalError>, sqlx::Error> {
        let call = async {
            let mut tx = self.pool().begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
            // Two who come at once: one after the other.
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK + 1).execute(&mut *tx).await?;
            if is_new {
                let start = chain::start(run);
                sqlx::query(store::NEW_RUN).bind(run).bind(JOURNAL_VERSION).bind(start.as_str()).execute(&mut *tx).await?;
            }
            let now_ms: i64 = sqlx::query_scalar(NOW).fetch_one(&mut *tx).await?;
            let sql = "SELECT run, holder, epoch, held, $3 - heard_ms FROM holder WHERE held AND (run = $1 OR cluster = $2)";
            let rows: Vec<Row> = sqlx::query_as(sql).bind(run).bind(cluster).bind(now_ms).fetch_all(&mut *tx).await?;
            for row in &rows {
                let same = row.0 == run;
                if let Some(keeper) = self.alive(row).filter(|_| !(same && by_force)) {
                    let what = if same { format!("run `{run}`") } else { format!("cluster `{cluster}`") };
                    let journal = Some(self.name.clone());
                    return Ok(Err(JournalError::Held { what, holder: keeper.holder, run: keeper.run, journal }));
                }
                if !same {
                    sqlx::query(store::NEW_EPOCH).bind(&row.0).execute(&mut *tx).await?;
                }
                sqlx::query("UPDATE holder SET held = FALSE WHERE run = $1").bind(&row.0).execute(&mut *tx).await?;
            }
            let epoch: Option<i64> = sqlx::query_scalar(store::NEW_EPOCH).bind(run).fetch_optional(&mut *tx).await?;
            let Some(epoch) = epoch else { return Ok(Err(JournalError::NoRun(run.to_owned()))) };
            let sql = "INSERT INTO holder (run, cluster, epoch, holder, held, since_ms, heard_ms) VALUES ($1, $2, $3, $4, TRUE, $5, $5) \
                       ON CONFLICT (run) DO UPDATE SET cluster = $2, epoch = $3, holder = $4, held = TRUE, since_ms = $5, heard_ms = $5";
            let words = serde_json::to_string(holder).expect("a holder is plain data");
            let claim = sqlx::query(sql).bind(run).bind(cluster).bind(epoch).bind(words).bind(now_ms);
            claim.execute(&mut *tx).await?;
            tx.commit().await?;
            Ok(Ok(epoch))
        };
        self.heeded(within(call).await)
    }

    /// A run that never began leaves nothing behind.
    pub async fn forget(&self, run: &str) -> Result<(), sqlx::Error> {
        let call = async {
            sqlx::query("DELETE FROM meta WHERE run = $1 AND last_seq = 0").bind(run).execute(&self.pool()).await.map(drop)
        };
        self.heeded(within(call).await)
    }

    /// Whether the holder of this epoch still is the holder.
    async fn beat(&self, run: &str, epoch: i64, held: bool) -> Result<bool, sqlx::Error> {
        let call = async {
            let sql = "UPDATE holder SET held = $3, heard_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint \
                       WHERE run = $1 AND held AND epoch = $2 AND epoch = (SELECT epoch FROM meta WHERE run = $1)";
            let done = sqlx::query(sql).bind(run).bind(epoch).bind(held).execute(&mut *self.pool().acquire().await?).await?;
            Ok(done.rows_affected() == 1)
        };
        self.heeded(within(call).await)
    }
}

fn pool(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(4).acquire_timeout(CONNECT).connect_lazy_with(options.clone())
}

/// Says that the holder lives, until it is dropped; then that the run is free.
#[derive(Debug)]
pub struct Beat {
    /// Dropped with the journal.
    _stop: oneshot::Sender<()>,
    lost: watch::Receiver<bool>,
    ended: watch::Receiver<()>,
}

impl Beat {
    pub fn start(shared: Arc<Shared>, run: &str, epoch: i64) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let (tell_lost, lost) = watch::channel(false);
        let (tell_ended, ended) = watch::channel(());
        let run = run.to_owned();
        tokio::spawn(async move {
            // Held until the end of the task: whoever waits for the end hears that it is gone.
            let _tell_ended = tell_ended;
            let mut every = tokio::time::interval(BEAT);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = &mut stopped => break,
                    _ = every.tick() => {}
                }
                // A server that is away is asked again; only its word ends a run.
                if let Ok(false) = shared.beat(&run, epoch, true).await {
                    tell_lost.send_replace(true);
                    return;
                }
            }
            let _ = shared.beat(&run, epoch, false).await;
        });
        Self { _stop: stop, lost, ended }
    }

    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.ended.clone();
        async move { while ended.changed().await.is_ok() {} }
    }
}
