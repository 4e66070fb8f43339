//! etcd: reads the folders a runbook can touch, writes exact keys in guarded transactions.
//! It never writes by prefix, and never lets a password out.

mod lease;

use super::config;
use super::tls::{self, Names};
use crate::model::backend_ai::{is_within, key};
use crate::model::world::{key_standing, keys_standing};
use crate::model::{Fault, FaultKind, KeyDiff, Standing, Value};
use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, Error, GetOptions, Identity, KvClient, TlsOptions, Txn, TxnOp,
    TxnOpResponse,
};
use secrecy::ExposeSecret;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::Mutex;

const READ: Duration = Duration::from_secs(5);
const WRITE: Duration = Duration::from_secs(15);
/// Keys a page: 1.5 MB is etcd's largest request, so a page of ordinary values is far below `MESSAGE_BYTES`.
const PAGE: i64 = 1000;
const MESSAGE_BYTES: usize = 64 << 20;
/// etcd refuses more than 128 operations in one transaction; half of that leaves room on servers set lower.
const CHUNK: usize = 60;

/// One etcd cluster. Connects at the first call, and again after a call that found no answer.
pub struct EtcdClient {
    endpoints: Vec<String>,
    namespace: String,
    /// Holds the password: never printed.
    options: ConnectOptions,
    /// Named where a certificate is the trouble.
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    connected: Mutex<Option<KvClient>>,
    /// The cluster is ours while it lasts; none where nothing is run.
    lease: std::sync::Mutex<Option<lease::Lease>>,
}

/// What stands at a key.
struct Found {
    value: Value,
    /// Changes with every write of the key: the guard where the value itself may not be known.
    mod_revision: i64,
}

impl EtcdClient {
    /// Resolves the secret and reads the certificates; asks etcd nothing yet.
    pub async fn new(config: &config::Etcd) -> Result<Self, Fault> {
        let what = format!("cannot use etcd {}", names(&config.endpoints));
        let lasting = |why: String| Fault::new(FaultKind::Lasting, &what, why);
        let mut options = ConnectOptions::new()
            .with_connect_timeout(READ)
            .with_require_leader(true)
            .with_auto_token_refresh(true)
            .with_keep_alive_while_idle(false);
        if let (Some(user), Some(password)) = (&config.username, &config.password) {
            let password = password.read().await.map_err(|e| Fault::new(FaultKind::Denied, &what, e.to_string()))?;
            options = options.with_user(user, password.expose_secret());
        }
        let (ca, cert, key) = (config.ca.as_deref(), config.cert.as_deref(), config.key.as_deref());
        Names { section: "`[etcd]`", ca, cert, key }.check(&what)?;
        if config.endpoints.iter().any(|endpoint| endpoint.starts_with("https://")) {
            let mut tls = TlsOptions::new();
            tls = match &config.ca {
                Some(ca) => tls.ca_certificate(Certificate::from_pem(pem(ca).await.map_err(lasting)?)),
                None => tls.with_enabled_roots(),
            };
            if let (Some(cert), Some(key)) = (&config.cert, &config.key) {
                let (cert, key) = (pem(cert).await.map_err(lasting)?, pem(key).await.map_err(lasting)?);
                tls = tls.identity(Identity::from_pem(cert, key));
            }
            options = options.with_tls(tls);
        }
        let (endpoints, namespace) = (config.endpoints.clone(), config.namespace.clone());
        let (ca, cert, key) = (config.ca.clone(), config.cert.clone(), config.key.clone());
        Ok(Self { endpoints, namespace, options, ca, cert, key, connected: Mutex::new(None), lease: std::sync::Mutex::default() })
    }

    /// The keys of registries, images and aliases: everything below `config/docker/` and `images/` of the namespace.
    pub async fn read(&self) -> Result<BTreeMap<String, Value>, Fault> {
        let mut keys = BTreeMap::new();
        for folder in ["config/docker", "images"] {
            let below = self.below(&key(&self.namespace, folder)).await?;
            keys.extend(below.into_iter().map(|(key, found)| (key, found.value)));
        }
        Ok(keys)
    }

    /// Where etcd stands towards the diffs, all keys read at one moment.
    pub async fn standing(&self, diffs: &[KeyDiff]) -> Result<Standing, Fault> {
        let found = self.get(diffs).await?;
        Ok(keys_standing(diffs, |key| found.get(key).map(|found| &found.value)))
    }

    /// Makes the diffs true (`forward`) or untrue, in one transaction that happens whole or not at all. Every key is
    /// guarded by the value that the plan saw. A key that is already right is not written again.
    ///
    /// A password that an undo would have to give back is left out: castoff keeps none, and the plan said so.
    pub async fn write(&self, diffs: &[KeyDiff], forward: bool) -> Result<(), Fault> {
        let found = self.get(diffs).await?;
        let (mut guards, mut effects) = (vec![], vec![]);
        for diff in diffs {
            let (from, to) = if forward { (&diff.before, &diff.after) } else { (&diff.after, &diff.before) };
            let there = found.get(&diff.key);
            let value = there.map(|found| &found.value);
            if value == to.as_ref() {
                guards.push(guard(&diff.key, there));
            } else if *to == Some(Value::Hidden) {
                if forward {
                    let why = format!("the value of `{}` is hidden, so there is nothing to write", diff.key);
                    return Err(Fault::new(FaultKind::Lasting, self.what("write"), why));
                }
            } else if value == from.as_ref() {
                guards.push(guard(&diff.key, there));
                effects.push(effect(&diff.key, to.as_ref()));
            } else {
                return Err(self.drift(diff, value));
            }
        }
        if effects.is_empty() || self.commit(guards, effects).await? {
            return Ok(());
        }
        // Somebody wrote between our reading and our writing. Nothing of ours happened: say what is there now.
        let found = self.get(diffs).await?;
        let drifted = diffs.iter().find_map(|diff| {
            let value = found.get(&diff.key).map(|found| &found.value);
            matches!(key_standing(diff, value), Standing::Neither(_)).then(|| self.drift(diff, value))
        });
        Err(drifted.unwrap_or_else(|| self.raced()))
    }

    /// Makes the keys at and below `folder` exactly `wanted`, in chunks, each key guarded by its revision. Cut off in
    /// between it can be called again. Hidden values are left as they are.
    pub async fn replace_within(&self, folder: &str, wanted: &BTreeMap<String, Value>) -> Result<(), Fault> {
        if let Some(stray) = wanted.keys().find(|key| !is_within(key, folder)) {
            let why = format!("`{stray}` is not below `{folder}`");
            return Err(Fault::new(FaultKind::Lasting, self.what("write"), why));
        }
        let mut found = self.below(folder).await?;
        found.extend(self.get_keys(&[folder]).await?);
        let mut work = vec![];
        for (key, there) in &found {
            let keep = wanted.get(key).is_some_and(|value| *value == there.value || *value == Value::Hidden);
            if !keep {
                work.push((guard(key, Some(there)), effect(key, wanted.get(key))));
            }
        }
        for (key, value) in wanted {
            if !found.contains_key(key) && *value != Value::Hidden {
                work.push((guard(key, None), effect(key, Some(value))));
            }
        }
        while !work.is_empty() {
            let (guards, effects): (Vec<_>, Vec<_>) = work.drain(..work.len().min(CHUNK)).unzip();
            if !self.commit(guards, effects).await? {
                return Err(self.raced());
            }
        }
        Ok(())
    }

    async fn get(&self, diffs: &[KeyDiff]) -> Result<BTreeMap<String, Found>, Fault> {
        let keys: Vec<&str> = diffs.iter().map(|diff| diff.key.as_str()).collect();
        self.get_keys(&keys).await
    }

    /// The named keys, all at one revision.
    async fn get_keys(&self, keys: &[&str]) -> Result<BTreeMap<String, Found>, Fault> {
        let mut kv = self.connect("read").await?;
        let mut found = BTreeMap::new();
        let mut options = GetOptions::new();
        for chunk in keys.chunks(CHUNK) {
            let gets: Vec<TxnOp> = chunk.iter().map(|key| TxnOp::get(*key, Some(options.clone()))).collect();
            let response = self.within("read", READ, kv.txn(Txn::new().and_then(gets))).await?;
            if let Some(header) = response.header() {
                options = options.with_revision(header.revision());
            }
            for response in response.op_responses() {
                if let TxnOpResponse::Get(mut get) = response {
                    found.extend(get.take_kvs().into_iter().filter_map(of_pair));
                }
            }
        }
        Ok(found)
    }

    /// The keys below a folder, in pages, all at the revision of the first: a picture of one moment.
    async fn below(&self, folder: &str) -> Result<BTreeMap<String, Found>, Fault> {
        let mut kv = self.connect("read").await?;
        // `0` follows `/`: the end of everything that begins with `folder/`.
        let (mut start, end) = (format!("{folder}/").into_bytes(), format!("{folder}0"));
        let mut options = GetOptions::new().with_range(end).with_limit(PAGE);
        let mut found = BTreeMap::new();
        loop {
            let mut page = self.within("read", READ, kv.get(start.clone(), Some(options.clone()))).await?;
            if let Some(header) = page.header() {
                options = options.with_revision(header.revision());
            }
            let more = page.more();
            let pairs = page.take_kvs();
            match pairs.last() {
                Some(last) if more => start = [last.key(), &[0]].concat(),
                _ => {
                    found.extend(pairs.into_iter().filter_map(of_pair));
                    return Ok(found);
                }
            }
            found.extend(pairs.into_iter().filter_map(of_pair));
        }
    }

    /// Whether the guards held and the effects happened.
    async fn commit(&self, mut guards: Vec<Compare>, effects: Vec<TxnOp>) -> Result<bool, Fault> {
        guards.extend(self.lease_guard());
        let mut kv = self.connect("write").await?;
        let response = self.within("write", WRITE, kv.txn(Txn::new().when(guards).and_then(effects))).await?;
        if !response.succeeded() {
            Box::pin(self.refuse_if_lost()).await?;
        }
        Ok(response.succeeded())
    }

    async fn connect(&self, verb: &str) -> Result<KvClient, Fault> {
        if let Some(kv) = &*self.connected.lock().await {
            return Ok(kv.clone());
        }
        let connecting = Box::pin(Client::connect(&self.endpoints, Some(self.options.clone())));
        let client = self.within(verb, READ, connecting).await?;
        let kv = client.kv_client().max_decoding_message_size(MESSAGE_BYTES);
        *self.connected.lock().await = Some(kv.clone());
        Ok(kv)
    }

    /// Ends a call by its deadline. A connection that gave no answer is not used again.
    async fn within<T>(
        &self,
        verb: &str,
        limit: Duration,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Fault> {
        let result = match tokio::time::timeout(limit, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.fault(verb, &error).await),
            Err(_) => Err(Fault::new(FaultKind::Passing, self.what(verb), format!("no answer for {} s", limit.as_secs()))),
        };
        if result.as_ref().is_err_and(|fault| fault.kind == FaultKind::Passing) {
            *self.connected.lock().await = None;
        }
        result
    }

    async fn fault(&self, verb: &str, error: &Error) -> Fault {
        let what = self.what(verb);
        let (ca, cert, key) = (self.ca.as_deref(), self.cert.as_deref(), self.key.as_deref());
        let names = Names { section: "`[etcd]`", ca, cert, key };
        for address in self.endpoints.iter().filter_map(|endpoint| endpoint.strip_prefix("https://")) {
            let (text, address) = (words(error), address.trim_end_matches('/'));
            if let Some(fault) = names.fault_of(&what, &text, address, &[]).await {
                return fault;
            }
            if tls::is_cut(&text) && tls::hangs_up(address).await {
                return Fault::new(FaultKind::Passing, &what, "it hangs up on a TLS handshake")
                    .hint("if this etcd speaks no TLS, write `http://` in `endpoints` of the cluster file");
            }
        }
        fault(&what, error)
    }

    fn what(&self, verb: &str) -> String {
        format!("cannot {verb} etcd {}", names(&self.endpoints))
    }

    fn drift(&self, diff: &KeyDiff, found: Option<&Value>) -> Fault {
        let found = found.map_or_else(|| "is not there".to_owned(), |value| format!("is `{value}`"));
        Fault::new(FaultKind::Drift, self.what("write"), format!("`{}` {found}", diff.key))
    }

    fn raced(&self) -> Fault {
        Fault::new(FaultKind::Passing, self.what("write"), "somebody else wrote the same keys at the same moment")
    }
}

/// The key is as it was read just now.
fn guard(key: &str, found: Option<&Found>) -> Compare {
    match found {
        // A value proves more than a revision: it is what the plan saw.
        Some(Found { value: Value::Text(text), .. }) => Compare::value(key, CompareOp::Equal, text.as_str()),
        Some(found) => Compare::mod_revision(key, CompareOp::Equal, found.mod_revision),
        None => Compare::version(key, CompareOp::Equal, 0),
    }
}

fn effect(key: &str, to: Option<&Value>) -> TxnOp {
    match to.and_then(Value::as_text) {
        Some(text) => TxnOp::put(key, text, None),
        None => TxnOp::delete(key, None),
    }
}

/// Keys that are no UTF-8 are left out: Backend.AI quotes its keys to ASCII, so they are not its own.
fn of_pair(pair: etcd_client::KeyValue) -> Option<(String, Found)> {
    let mod_revision = pair.mod_revision();
    let (key, value) = pair.into_key_value();
    let key = String::from_utf8(key).ok()?;
    let value = if key.rsplit('/').next() == Some("password") {
        Value::Hidden
    } else {
        String::from_utf8(value).map_or(Value::Hidden, Value::Text)
    };
    Some((key, Found { value, mod_revision }))
}

fn names(endpoints: &[String]) -> String {
    let quoted: Vec<String> = endpoints.iter().map(|endpoint| format!("`{endpoint}`")).collect();
    quoted.join(", ")
}

async fn pem(path: &Path) -> Result<String, String> {
    tokio::fs::read_to_string(path).await.map_err(|e| format!("`{}`: {e}", path.display()))
}

/// Sorts an error of the client: what may pass, what a login would help, what stays.
fn fault(what: &str, error: &Error) -> Fault {
    let why = words(error);
    let with = |kind| Fault::new(kind, what, &why);
    let login = "set `username` and `password` of `[etcd]` in the cluster file to a user that may read and write `/sorna/`";
    if why.to_ascii_lowercase().contains("certificate") {
        return with(FaultKind::Lasting)
            .hint("set `ca`, and `cert` and `key` if etcd asks for them, in `[etcd]` of the cluster file");
    }
    match error {
        Error::GRpcStatus(status) => match i32::from(status.code()) {
            // permission denied, unauthenticated
            7 | 16 => with(FaultKind::Denied).hint(login),
            // invalid argument: etcd answers so to a wrong password and to a missing login
            3 if why.contains("auth") || why.contains("user name") => with(FaultKind::Denied).hint(login),
            9 if why.contains("authentication is not enabled") => {
                with(FaultKind::Lasting).hint("take `username` and `password` out of `[etcd]` in the cluster file")
            }
            // The wire itself, before anything etcd said: other bytes came than etcd sends.
            _ if ["h2 protocol error", "stream closed", "http2"].iter().any(|part| why.contains(part)) => {
                with(FaultKind::Passing).hint("if this etcd speaks TLS, write `https://` in `endpoints` of the cluster file")
            }
            // invalid argument, not found, exists, failed precondition, unimplemented, internal, data loss
            3 | 5 | 6 | 9 | 12 | 13 | 15 => with(FaultKind::Lasting),
            8 if why.contains("space") => {
                with(FaultKind::Space).hint("etcd is full: compact, defragment and disarm its alarm first")
            }
            _ => with(FaultKind::Passing),
        },
        Error::TransportError(_) | Error::IoError(_) => with(FaultKind::Passing),
        _ => with(FaultKind::Lasting),
    }
}

/// The error's own words with those of its causes, the gRPC frame taken off.
fn words(error: &Error) -> String {
    let (first, mut cause) = match error {
        Error::GRpcStatus(status) => (status.message().to_owned(), std::error::Error::source(status)),
        Error::TransportError(error) => (error.to_string(), std::error::Error::source(error)),
        other => (other.to_string(), None),
    };
    let mut words = vec![first];
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.iter().any(|word| word.contains(&text)) {
            words.push(text);
        }
        cause = error.source();
    }
    // Says nothing where there is another word.
    if words.len() > 1 {
        words.retain(|word| word != "transport error");
    }
    let words = words.join(": ");
    // The number behind it helps nobody.
    let words = words.split_once(" (os error").map_or(words.as_str(), |(words, _)| words);
    words.replace("connection error: ", "the connection broke: ")
}
