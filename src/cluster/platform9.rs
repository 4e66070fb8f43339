//! The cluster API of Platform9 (Qbert): one cluster is read, and the seven parameters of its mirror are put.
//! It follows no redirect, for its token would go with it, and never keeps or shows the token or a password.

use super::{
    Report,
    config::Platform9Config,
    secret::Secret,
    ssh::root_cause,
    tls::{self, Names},
};
use crate::model::{
    Change, Fault, FaultKind, Platform9Cluster, Row, Standing,
    change::HIDDEN,
    platform9::{self, PASSWORD},
    text, veil,
};
use reqwest::{Certificate, Client, Method, StatusCode, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// For one request; reading a cluster is one.
const ASK: Duration = Duration::from_secs(20);
/// No cluster says more.
const BODY_LIMIT: usize = 1 << 20;
/// Of what it says in its own words.
const WORDS: usize = 200;

pub struct Platform9Client {
    config: Platform9Config,
    base: Url,
    http: Client,
    patience: Duration,
}

/// A good answer: its status, and its object where it is one.
struct Answer {
    status: StatusCode,
    object: Option<Row>,
    empty: bool,
}

impl Platform9Client {
    /// Opens nothing yet.
    pub fn new(config: &Platform9Config) -> Result<Self, Fault> {
        let fault =
            |why: String| Fault::new(FaultKind::Lasting, "Platform9", why).hint("correct `[platform9]` in the cluster file");
        let base = format!("{}/qbert/v3/{}/clusters/", config.url.trim_end_matches('/'), config.project);
        let base: Url = base.parse().map_err(|e| fault(format!("its URL cannot be read: {e}")))?;
        let names = Names { section: "[platform9]", ca: config.ca.as_deref(), cert: None, key: None };
        names.check("Platform9")?;
        let mut builder = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("castoff/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &config.ca {
            let pem = std::fs::read(path).map_err(|e| fault(format!("`{}` cannot be read: {e}", path.display())))?;
            let certificates = Certificate::from_pem_bundle(&pem);
            let certificates = certificates.map_err(|_| fault(format!("`{}` holds no certificates", path.display())))?;
            builder = builder.tls_certs_merge(certificates);
        }
        if base.host_str().is_some_and(|host| host == "localhost" || host.starts_with("127.")) {
            // A proxy in the environment would look for it on its own machine.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|e| fault(root_cause(&e)))?;
        Ok(Self { config: config.clone(), base, http, patience: ASK })
    }

    /// How long one request may take.
    #[must_use]
    pub fn waits(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    pub async fn read(&self) -> Result<Platform9Cluster, Fault> {
        let what = format!("cannot read cluster `{}`", self.config.cluster);
        let answer = self.ask(&what, Method::GET, None, &[]).await?;
        let told = |fault: Fault| fault.hint("is `url` of `[platform9]` the address of the management plane?");
        let Some(object) = answer.object else {
            return Err(told(Fault::new(FaultKind::Lasting, &what, format!("it answered {} without a cluster", answer.status))));
        };
        let word = |name: &str| object.get(name).and_then(Value::as_str).map(text::clean_line).filter(|word| !word.is_empty());
        match word("uuid") {
            Some(uuid) if uuid.eq_ignore_ascii_case(&self.config.cluster) => {}
            Some(uuid) => return Err(told(Fault::new(FaultKind::Lasting, &what, format!("it answered with cluster `{uuid}`")))),
            None => return Err(told(Fault::new(FaultKind::Lasting, &what, "it answered with something that is no cluster"))),
        }
        let mirror = platform9::fields(&object);
        // A text of the plan, so what it deceives with is not planned from.
        if let Some((name, _)) = mirror.iter().find(|(_, value)| value.as_str().is_some_and(|value| !text::is_clean(value))) {
            return Err(Fault::new(FaultKind::Lasting, &what, format!("`{name}` holds characters that cannot be seen")));
        }
        let name = word("name").unwrap_or_default();
        Ok(Platform9Cluster { uuid: self.config.cluster.clone(), name, runtime: word("containerRuntime"), mirror })
    }

    pub async fn standing(&self, cluster: &str, before: &Row, after: &Row) -> Result<Standing, Fault> {
        if cluster != self.config.cluster {
            return Ok(Standing::Neither(format!("the cluster file names cluster `{}`", self.config.cluster)));
        }
        Ok(platform9::standing(before, after, &self.read().await?.mirror))
    }

    /// Puts the parameters, a named secret filled in. The API takes no condition, so it is asked right before.
    pub async fn apply(&self, change: &Change, secrets: &BTreeMap<String, Secret>, report: Report<'_>) -> Result<(), Fault> {
        let Change::Platform9 { cluster, before, after, .. } = change else { return Ok(()) };
        let what = format!("cannot put the mirror of cluster `{cluster}`");
        let mut body = after.clone();
        let mut hidden = vec![];
        if let Some(Value::String(marker)) = after.get(PASSWORD) {
            let password = named(&what, marker, secrets).await?;
            body.insert(PASSWORD.to_owned(), Value::from(password.expose_secret()));
            hidden.push(password);
        }
        self.put(&what, cluster, (before, after), body, &hidden, report).await
    }

    /// Puts them as they were. Of a password that was there castoff has none to send: its own is taken out.
    pub async fn undo(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        let Change::Platform9 { cluster, before, after, .. } = change else { return Ok(()) };
        let what = format!("cannot put back the mirror of cluster `{cluster}`");
        self.put(&what, cluster, (after, before), platform9::taken_back(before), &[], report).await
    }

    async fn put(
        &self,
        what: &str,
        cluster: &str,
        (from, to): (&Row, &Row),
        body: Row,
        hidden: &[SecretString],
        report: Report<'_>,
    ) -> Result<(), Fault> {
        report.progress("waiting", 0, 0);
        match self.standing(cluster, from, to).await? {
            Standing::After => return Ok(()),
            Standing::Neither(found) => return Err(Fault::new(FaultKind::Drift, what, found)),
            Standing::Before | Standing::Midway => {}
        }
        let answer = self.ask(what, Method::PUT, Some(body), hidden).await?;
        report.told(&told(&answer));
        Ok(())
    }

    async fn ask(&self, what: &str, method: Method, body: Option<Row>, hidden: &[SecretString]) -> Result<Answer, Fault> {
        let fault = |why: &str| Fault::new(FaultKind::Lasting, what, why);
        let token = self.config.token.read().await.map_err(|error| fault(&error.to_string()))?;
        // Checked here, for a header's own error would not say what it is about.
        if token.expose_secret().is_empty() || !token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(fault("its token is empty, or holds what no token can").hint(TOKEN));
        }
        let url = self.base.join(&self.config.cluster).map_err(|e| fault(&e.to_string()))?;
        let mut request = self.http.request(method, url).timeout(self.patience).header("X-Auth-Token", token.expose_secret());
        if let Some(body) = &body {
            request = request.json(body);
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(self.lost(what, &error).await),
        };
        let status = response.status();
        let mut bytes = vec![];
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(self.lost(what, &error).await),
            }
            if bytes.len() > BODY_LIMIT {
                return Err(fault(&format!("it answered with more than {} MiB", BODY_LIMIT >> 20)));
            }
        }
        if !status.is_success() {
            let secrets: Vec<&str> = hidden.iter().chain([&token]).map(ExposeSecret::expose_secret).collect();
            return Err(refusal(what, status, &bytes, &secrets));
        }
        let object = serde_json::from_slice::<Value>(&bytes).ok().and_then(|value| value.as_object().cloned());
        Ok(Answer { status, object, empty: bytes.iter().all(u8::is_ascii_whitespace) })
    }

    /// A request without an answer.
    async fn lost(&self, what: &str, error: &reqwest::Error) -> Fault {
        if error.is_timeout() {
            let why = format!("it did not answer within {} s", self.patience.as_secs().max(1));
            return Fault::new(FaultKind::Passing, what, why);
        }
        if self.base.scheme() == "https" {
            let names = Names { section: "[platform9]", ca: self.config.ca.as_deref(), cert: None, key: None };
            let address =
                format!("{}:{}", self.base.host_str().unwrap_or_default(), self.base.port_or_known_default().unwrap_or(443));
            if let Some(fault) = names.fault_of(what, &tls::causes(error), &address, &[]).await {
                return fault;
            }
        }
        Fault::new(FaultKind::Passing, what, root_cause(error))
    }
}

const TOKEN: &str =
    "a token of Keystone lives for some hours: get a new one, and see `token` of `[platform9]` in the cluster file";

/// The value of `(secret NAME)`.
async fn named(what: &str, marker: &str, secrets: &BTreeMap<String, Secret>) -> Result<SecretString, Fault> {
    let fault = |why: &str| Fault::new(FaultKind::Lasting, what, why);
    let name = marker.strip_prefix("(secret ").and_then(|rest| rest.strip_suffix(')'));
    let name = name.ok_or_else(|| fault("its password names no secret"))?;
    let secret = secrets.get(name).ok_or_else(|| {
        fault(&format!("the cluster file has no secret `{name}`"))
            .hint(format!("add `{name} = {{ file = \"…\" }}` to `[secrets]`"))
    })?;
    secret.read().await.map_err(|error| fault(&error.to_string()))
}

/// What the journal keeps of an answer: its status and the parameters that it repeats, without the password.
fn told(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    let Some(object) = &answer.object else {
        let body = if answer.empty { "without a body" } else { "with something that is no object of JSON" };
        return format!("Platform9 answered {status}, {body}");
    };
    let known = platform9::fields(object);
    let word = |name: &str| object.get(name).and_then(Value::as_str).map(|word| format!("{name} {word}"));
    let parameters = known.iter().filter(|(name, _)| object.contains_key(*name)).map(|(name, value)| match value {
        Value::String(value) => format!("{name} {value}"),
        other => format!("{name} {other}"),
    });
    let words: Vec<String> = ["status", "taskStatus"].into_iter().filter_map(word).chain(parameters).collect();
    let words = text::clean_line(&words.join(", "));
    if words.is_empty() { format!("Platform9 answered {status}") } else { format!("Platform9 answered {status}: {words}") }
}

/// A refusal as a fault. What it says may repeat what was sent: every secret is taken out.
fn refusal(what: &str, status: StatusCode, body: &[u8], secrets: &[&str]) -> Fault {
    let said = own_words(body).map(|mut said| {
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            said = said.replace(secret, HIDDEN);
        }
        // What it repeats as a piece of JSON or of a header is hidden by its shape.
        veil::veil(&said).text.chars().take(WORDS).collect::<String>()
    });
    let why = match said {
        Some(said) => format!("Platform9 answered {}: {said}", status.as_u16()),
        None => format!("Platform9 answered {}", status.as_u16()),
    };
    let fault = |kind| Fault::new(kind, what, &why);
    match status.as_u16() {
        300..=399 => {
            fault(FaultKind::Lasting).hint("castoff follows no redirect here: write where it leads into `url` of `[platform9]`")
        }
        401 => fault(FaultKind::Denied).hint(TOKEN),
        403 => fault(FaultKind::Denied).hint("the token's user has no right to change this cluster, or it is of another project"),
        404 => fault(FaultKind::Missing).hint("see `url`, `project` and `cluster` of `[platform9]` in the cluster file"),
        408 | 425 | 429 | 500..=599 => fault(FaultKind::Passing),
        409 => fault(FaultKind::Lasting).hint("another task of the cluster may still be under way: try again when it is over"),
        _ => fault(FaultKind::Lasting),
    }
}

/// `message`, as Keystone and Qbert say it; of a page only that it is one.
fn own_words(body: &[u8]) -> Option<String> {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        return text.trim_start().starts_with('<').then(|| "a page of HTML".to_owned());
    };
    let error = answer.get("error").unwrap_or(&answer);
    let said = error.as_str().or_else(|| error.get("message").and_then(Value::as_str))?;
    Some(text::clean_line(said)).filter(|said| !said.is_empty())
}
