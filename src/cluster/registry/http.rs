//! The wire to one registry: requests with a limit, deadlines, logins and tokens.
//! It never keeps a cookie, never follows a redirect from TLS to plain HTTP, and never shows a login or a token.

use super::words::{self, Challenge};
use crate::{
    cluster::{config::RegistryConfig, secret::Secret, ssh::root_cause},
    model::{Fault, FaultKind},
};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, OnceCell, Semaphore},
    time::Instant,
};

/// Requests at once to one registry.
const REQUESTS: usize = 8;
/// No list, manifest or configuration is larger.
const BODY_LIMIT: usize = 16 << 20;

pub(super) struct Wire {
    name: String,
    base: Url,
    http: Client,
    username: Option<String>,
    password: Option<Secret>,
    /// Read when first needed: a secret that nobody asks for is never read.
    login: OnceCell<Option<(String, SecretString)>>,
    /// By scope. A slot is locked while its token is fetched: who needs the same one waits for it.
    tokens: Mutex<BTreeMap<String, Slot>>,
    /// Whether the registry asked for Basic: from then on it is sent at once.
    basic: OnceCell<()>,
    turns: Semaphore,
}

type Slot = Arc<Mutex<Option<Token>>>;

struct Token {
    value: SecretString,
    since: Instant,
    until: Instant,
}

/// One request: where, and with which rights.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    method: Method,
    /// With the query.
    path: String,
    scope: Option<String>,
    accept: Option<&'static str>,
    basic: bool,
}

impl Ask {
    pub(super) fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), scope: None, accept: None, basic: false }
    }

    pub(super) fn head(self) -> Self {
        Self { method: Method::HEAD, ..self }
    }

    pub(super) fn scope(self, scope: &str) -> Self {
        Self { scope: Some(scope.to_owned()), ..self }
    }

    pub(super) fn accept(self, types: &'static str) -> Self {
        Self { accept: Some(types), ..self }
    }

    /// Harbor's own API takes the login itself, where there is one.
    pub(super) fn basic(self) -> Self {
        Self { basic: true, ..self }
    }

    pub(super) fn at(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }
}

/// A good answer.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// `Docker-Content-Digest`.
    pub(super) digest: Option<String>,
    /// Path and query of the next page.
    pub(super) next: Option<String>,
}

impl Wire {
    pub(super) fn new(name: &str, config: &RegistryConfig) -> Result<Self, Fault> {
        let what = format!("registry `{name}`");
        let fault = |why: String| Fault::new(FaultKind::Lasting, &what, why).hint("correct `[registries]` in the cluster file");
        let base: Url = config.url.parse().map_err(|e| fault(format!("its URL cannot be read: {e}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(fault("its URL is neither http:// nor https://".to_owned()));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(fault("its URL holds a login; a secret is only named, never written".to_owned()));
        }
        let mut builder = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(15))
            .timeout(Duration::from_secs(30))
            .redirect(redirect::Policy::custom(follow))
            .referer(false)
            .tls_danger_accept_invalid_certs(config.insecure)
            .user_agent(concat!("castoff/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &config.ca {
            let pem = std::fs::read(path).map_err(|e| fault(format!("its CA file `{}` cannot be read: {e}", path.display())))?;
            let certificates = Certificate::from_pem_bundle(&pem)
                .map_err(|_| fault(format!("its CA file `{}` holds no certificates", path.display())))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let loopback = base.host_str().is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."));
        if loopback {
            // A proxy in the environment would look for it on its own machine.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|e| fault(root_cause(&e)))?;
        Ok(Self {
            name: name.to_owned(),
            base,
            http,
            username: config.username.clone(),
            password: config.password.clone(),
            login: OnceCell::new(),
            tokens: Mutex::default(),
            basic: OnceCell::new(),
            turns: Semaphore::new(REQUESTS),
        })
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    pub(super) fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    pub(super) async fn credentials(&self) -> Result<Option<(String, SecretString)>, Fault> {
        let read = self.login.get_or_try_init(|| async {
            let (Some(username), Some(password)) = (&self.username, &self.password) else { return Ok(None) };
            let password = password.read().await.map_err(|e| {
                Fault::new(FaultKind::Denied, format!("registry `{}`", self.name), e.to_string())
                    .hint("the cluster file names this secret; castoff needs to be able to read it")
            })?;
            Ok(Some((username.clone(), password)))
        });
        read.await.cloned()
    }

    /// One request with everything it takes: a turn, a token, a second try with a fresh one.
    /// `Missing` is 404, `Denied` 401 and 403.
    pub(super) async fn ask(&self, what: &str, ask: Ask) -> Result<Answer, Fault> {
        let _turn = self.turns.acquire().await;
        let asked_at = Instant::now();
        let mut response = self.send(what, &ask).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let challenges = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
            let challenge = challenges.filter_map(|value| value.to_str().ok()).find_map(Challenge::parse);
            if self.answer(what, &ask, challenge, asked_at).await? {
                response = self.send(what, &ask).await?;
            }
        }
        self.read(what, response).await
    }

    async fn send(&self, what: &str, ask: &Ask) -> Result<Response, Fault> {
        let url = self.base.join(&ask.path).map_err(|e| Fault::new(FaultKind::Lasting, what, e.to_string()))?;
        let mut request = self.http.request(ask.method.clone(), url);
        if let Some(types) = ask.accept {
            request = request.header(header::ACCEPT, types);
        }
        if ask.basic || self.basic.initialized() {
            request = self.with_login(request).await?;
        } else {
            let slot = self.slot(ask).await;
            let held = slot.lock().await;
            if let Some(token) = held.as_ref().filter(|token| token.until > Instant::now()) {
                request = request.bearer_auth(token.value.expose_secret());
            }
        }
        request.send().await.map_err(|e| lost(what, &e))
    }

    async fn with_login(&self, request: RequestBuilder) -> Result<RequestBuilder, Fault> {
        Ok(match self.credentials().await? {
            Some((username, password)) => request.basic_auth(username, Some(password.expose_secret())),
            None => request,
        })
    }

    /// Answers a challenge. `false`: there is nothing that would help.
    async fn answer(&self, what: &str, ask: &Ask, challenge: Option<Challenge>, asked_at: Instant) -> Result<bool, Fault> {
        match challenge {
            // A login that was sent and refused is refused.
            Some(Challenge::Basic) if ask.basic || self.basic.initialized() => Ok(false),
            Some(Challenge::Basic) => {
                let there = self.credentials().await?.is_some();
                if there {
                    let _ = self.basic.set(());
                }
                Ok(there)
            }
            Some(Challenge::Bearer { realm, service, scope }) if !ask.basic => {
                let slot = self.slot(ask).await;
                let mut held = slot.lock().await;
                if held.as_ref().is_none_or(|token| token.since < asked_at) {
                    let wanted = ask.scope.clone().or(scope);
                    *held = Some(self.token(what, &realm, service.as_deref(), wanted.as_deref()).await?);
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn slot(&self, ask: &Ask) -> Slot {
        Arc::clone(self.tokens.lock().await.entry(ask.scope.clone().unwrap_or_default()).or_default())
    }

    async fn token(&self, what: &str, realm: &str, service: Option<&str>, scope: Option<&str>) -> Result<Token, Fault> {
        #[derive(Deserialize)]
        struct Given {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let fault = |why: String| Fault::new(FaultKind::Lasting, what, why);
        let mut realm: Url = realm.parse().map_err(|e| fault(format!("the address of its token service cannot be read: {e}")))?;
        {
            let mut query = realm.query_pairs_mut();
            service.map(|service| query.append_pair("service", service));
            scope.map(|scope| query.append_pair("scope", scope));
        }
        let mut request = self.http.get(realm.clone());
        let with_login = self.username.is_some();
        if with_login {
            if !words::may_know_the_login(&self.base, &realm) {
                let host = realm.host_str().unwrap_or("?");
                return Err(Fault::new(FaultKind::Denied, what, format!("its token service is `{host}`, another place"))
                    .hint("castoff sends a login only to the registry itself, or by TLS within the same domain"));
            }
            request = self.with_login(request).await?;
        }
        let response = request.send().await.map_err(|e| lost(what, &e))?;
        let answer = self.read(what, response).await.map_err(|fault| match fault.kind {
            // A token service that is not there is not an image that is not there.
            FaultKind::Missing => Fault { kind: FaultKind::Lasting, ..fault },
            _ => fault,
        })?;
        let given: Given =
            serde_json::from_slice(&answer.body).map_err(|_| fault("its token service gave no token".to_owned()))?;
        // Harbor sends an empty `access_token` beside its token.
        let token = [given.token, given.access_token].into_iter().flatten().find(|token| !token.is_empty());
        let value = token.map(SecretString::from).ok_or_else(|| fault("its token service gave no token".to_owned()))?;
        let seconds = given.expires_in.unwrap_or(60).clamp(15, 3600) - 10;
        let since = Instant::now();
        Ok(Token { value, since, until: since + Duration::from_secs(seconds) })
    }

    async fn read(&self, what: &str, mut response: Response) -> Result<Answer, Fault> {
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (status, digest, link) = (response.status(), text("docker-content-digest"), text("link"));
        let wait_ms = text("retry-after").and_then(|wait| words::retry_after_ms(&wait, jiff::Timestamp::now()));
        let mut body = vec![];
        while let Some(chunk) = response.chunk().await.map_err(|e| lost(what, &e))? {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_LIMIT {
                return Err(Fault::new(FaultKind::Lasting, what, "the registry answered with more than 16 MiB"));
            }
        }
        if !status.is_success() {
            return Err(words::refusal(what, status.as_u16(), &body, wait_ms, self.username.is_some()));
        }
        Ok(Answer { body, digest, next: link.and_then(|link| words::next_page(&link, &self.base)) })
    }
}

/// Five at most, and never down to plain HTTP. Away from the host, reqwest takes the login off by itself.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let was_secure = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > 5 {
        attempt.error("too many redirects")
    } else if was_secure && attempt.url().scheme() != "https" {
        attempt.error("it redirects from TLS to plain HTTP")
    } else {
        attempt.follow()
    }
}

/// A request without an answer.
fn lost(what: &str, error: &reqwest::Error) -> Fault {
    let cause = root_cause(error);
    let certificate = cause.contains("certificate") || cause.contains("UnknownIssuer");
    if certificate {
        return Fault::new(FaultKind::Lasting, what, cause).hint("name the registry's CA file in the cluster file");
    }
    if cause.contains("corrupt message") {
        return Fault::new(FaultKind::Lasting, what, cause)
            .hint("it speaks no TLS: does its `url` in the cluster file say http:// or https://?");
    }
    if error.is_redirect() {
        return Fault::new(FaultKind::Lasting, what, cause);
    }
    let why = if error.is_timeout() { "the registry did not answer in time".to_owned() } else { cause };
    Fault::new(FaultKind::Passing, what, why)
}
