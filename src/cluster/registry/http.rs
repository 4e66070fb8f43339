//! The wire to one registry: requests with a limit, deadlines, logins and tokens.
//! It never keeps a cookie, never follows a redirect from TLS to plain HTTP, and never shows a login or a token.

use super::{
    login::Login,
    realm::{self, Nearness},
    words::{self, Challenge},
};
use crate::{
    cluster::{
        config::RegistryConfig,
        ssh::root_cause,
        tls::{self, Names},
    },
    model::{Fault, FaultKind},
};
use reqwest::{Certificate, Client, Identity, Method, RequestBuilder, Response, StatusCode, Url, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, OnceCell, Semaphore},
    time::Instant,
};

/// Requests at once to one registry.
const REQUESTS: usize = 8;
/// No list, manifest or configuration is larger.
const BODY_LIMIT: usize = 16 << 20;
/// No token service says more.
const TOKEN_BODY_LIMIT: usize = 1 << 20;
/// A longer token would not fit into the head of a request.
const TOKEN_LIMIT: usize = 64 << 10;

pub(super) struct Wire {
    base: Url,
    http: Client,
    /// For the token service: follows no redirect, for it is told the login.
    tokens: Client,
    /// What the cluster file names as the token service.
    realm: Option<Url>,
    insecure: bool,
    login: Arc<Login>,
    near: Nearness,
    looked_up: OnceCell<()>,
    /// `[registries."…"]`, and the files named there.
    section: String,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    /// By scope. A slot is locked while its token is fetched: who needs the same one waits for it.
    tokens_held: Mutex<BTreeMap<String, Slot>>,
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
    pub(super) fn new(name: &str, config: &RegistryConfig, login: Arc<Login>) -> Result<Self, Fault> {
        let what = format!("registry `{name}`");
        let fault = |why: String| Fault::new(FaultKind::Lasting, &what, why).hint("correct `[registries]` in the cluster file");
        let base: Url = config.url.parse().map_err(|e| fault(format!("its URL cannot be read: {e}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(fault("its URL is neither http:// nor https://".to_owned()));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(fault("its URL holds a login; a secret is only named, never written".to_owned()));
        }
        let named = |realm: &String| realm.parse().map_err(|e| fault(format!("its `realm` cannot be read: {e}")));
        let realm = config.realm.as_ref().map(named).transpose()?;
        let section = super::section(name);
        let (ca, cert, key) = (config.ca.as_deref(), config.cert.as_deref(), config.key.as_deref());
        Names { section: &section, ca, cert, key }.check(&what)?;
        let read = |path: &PathBuf| std::fs::read(path).map_err(|e| fault(format!("`{}` cannot be read: {e}", path.display())));
        let certificates = match &config.ca {
            Some(path) => Certificate::from_pem_bundle(&read(path)?)
                .map_err(|_| fault(format!("its CA file `{}` holds no certificates", path.display())))?,
            None => vec![],
        };
        let identity = match (&config.cert, &config.key) {
            (Some(cert), Some(key)) => {
                let pem = [read(cert)?, b"\n".to_vec(), read(key)?].concat();
                let why = format!("its certificate `{}` and key `{}` cannot be used", cert.display(), key.display());
                Some(Identity::from_pem(&pem).map_err(|_| fault(why))?)
            }
            _ => None,
        };
        let near = Nearness::default();
        let client = |policy: redirect::Policy| {
            let mut builder = Client::builder()
                .connect_timeout(Duration::from_secs(5))
                .read_timeout(Duration::from_secs(15))
                .timeout(Duration::from_secs(30))
                .redirect(policy)
                .referer(false)
                .tls_danger_accept_invalid_certs(config.insecure)
                .user_agent(concat!("castoff/", env!("CARGO_PKG_VERSION")));
            if !certificates.is_empty() {
                builder = builder.tls_certs_merge(certificates.clone());
            }
            if let Some(identity) = identity.clone() {
                builder = builder.identity(identity);
            }
            let loopback = base.host_str().is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."));
            if loopback {
                // A proxy in the environment would look for it on its own machine.
                builder = builder.no_proxy();
            }
            builder.build().map_err(|e| fault(root_cause(&e)))
        };
        let (http, tokens) = (client(near.policy(&base))?, client(redirect::Policy::none())?);
        Ok(Self {
            base,
            http,
            tokens,
            realm,
            insecure: config.insecure,
            login,
            near,
            looked_up: OnceCell::new(),
            section,
            ca: config.ca.clone(),
            cert: config.cert.clone(),
            key: config.key.clone(),
            tokens_held: Mutex::default(),
            basic: OnceCell::new(),
            turns: Semaphore::new(REQUESTS),
        })
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
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
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            self.login.refused().await;
        }
        self.read(what, response, BODY_LIMIT).await
    }

    async fn send(&self, what: &str, ask: &Ask) -> Result<Response, Fault> {
        self.looked_up.get_or_init(|| self.near.learn(&self.base)).await;
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
        match request.send().await {
            Ok(response) => Ok(response),
            Err(error) => Err(self.lost(what, &error).await),
        }
    }

    async fn with_login(&self, request: RequestBuilder) -> Result<RequestBuilder, Fault> {
        Ok(match self.login.read().await? {
            Some(login) if !login.identity => request.basic_auth(login.username, Some(login.secret.expose_secret())),
            _ => request,
        })
    }

    /// Answers a challenge. `false`: there is nothing that would help.
    async fn answer(&self, what: &str, ask: &Ask, challenge: Option<Challenge>, asked_at: Instant) -> Result<bool, Fault> {
        match challenge {
            // A login that was sent and refused is refused.
            Some(Challenge::Basic) if ask.basic || self.basic.initialized() => Ok(false),
            Some(Challenge::Basic) => {
                let there = match self.login.read().await? {
                    Some(login) if login.identity => {
                        let from = login.from.unwrap_or_default();
                        let why = format!("it asks for a password, and {from} keeps an identity token for it");
                        return Err(Fault::new(FaultKind::Denied, what, why).hint(self.login.hint().await));
                    }
                    login => login.is_some(),
                };
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
        Arc::clone(self.tokens_held.lock().await.entry(ask.scope.clone().unwrap_or_default()).or_default())
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
        let login = self.login.read().await?;
        self.may_ask(what, &realm, login.is_some()).await?;
        let request = match login {
            // Docker's own way with such a token: RFC 6749, section 6.
            Some(login) if login.identity => {
                let mut form = vec![("grant_type", "refresh_token"), ("client_id", "castoff")];
                form.extend(service.map(|service| ("service", service)));
                form.extend(scope.map(|scope| ("scope", scope)));
                form.push(("refresh_token", login.secret.expose_secret()));
                self.tokens.post(realm).form(&form)
            }
            login => {
                {
                    let mut query = realm.query_pairs_mut();
                    service.map(|service| query.append_pair("service", service));
                    scope.map(|scope| query.append_pair("scope", scope));
                }
                let request = self.tokens.get(realm);
                match login {
                    Some(login) => request.basic_auth(login.username, Some(login.secret.expose_secret())),
                    None => request,
                }
            }
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(self.lost(what, &error).await),
        };
        if response.status().is_redirection() {
            return Err(fault("its token service answers with a redirect, which castoff does not follow".to_owned()));
        }
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            self.login.refused().await;
        }
        let answer = self.read(what, response, TOKEN_BODY_LIMIT).await.map_err(|fault| match fault.kind {
            // A token service that is not there is not an image that is not there.
            FaultKind::Missing => Fault { kind: FaultKind::Lasting, ..fault },
            _ => fault,
        })?;
        let given: Given =
            serde_json::from_slice(&answer.body).map_err(|_| fault("its token service gave no token".to_owned()))?;
        // Harbor sends an empty `access_token` beside its token.
        let token = [given.token, given.access_token].into_iter().flatten().find(|token| !token.is_empty());
        let token = token.ok_or_else(|| fault("its token service gave no token".to_owned()))?;
        if token.len() > TOKEN_LIMIT || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(fault("its token service gave something that can be no token".to_owned()));
        }
        let value = SecretString::from(token);
        let seconds = given.expires_in.unwrap_or(60).clamp(15, 3600) - 10;
        let since = Instant::now();
        Ok(Token { value, since, until: since + Duration::from_secs(seconds) })
    }

    async fn may_ask(&self, what: &str, realm: &Url, with_login: bool) -> Result<(), Fault> {
        let named = self.realm.as_ref();
        let mut may = realm::may_be_asked(&self.base, realm, named);
        if may.is_ok() && with_login {
            may = realm::may_know_the_login(&self.base, realm, named);
            if may.is_ok() && self.insecure && realm.host_str() != self.base.host_str() {
                may = Err("its token service is another host, and its certificate would not be verified".to_owned());
            }
        }
        if may.is_ok() {
            may = self.near.may_lead_to(&self.base, realm, named).await;
        }
        let hint = format!(
            "castoff sends a login only to the registry itself, or by TLS within its domain; if it is right there, \
             write `realm = \"{}\"` into {} of the cluster file",
            realm.origin().ascii_serialization(),
            self.section,
        );
        may.map_err(|why| Fault::new(FaultKind::Denied, what, why).hint(hint))
    }

    async fn read(&self, what: &str, mut response: Response, limit: usize) -> Result<Answer, Fault> {
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (status, digest, link) = (response.status(), text("docker-content-digest"), text("link"));
        let wait_ms = text("retry-after").and_then(|wait| words::retry_after_ms(&wait, jiff::Timestamp::now()));
        let mut body = vec![];
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(self.lost(what, &error).await),
            }
            if body.len() > limit {
                let why = format!("the registry answered with more than {} MiB", limit >> 20);
                return Err(Fault::new(FaultKind::Lasting, what, why));
            }
        }
        if !status.is_success() {
            return Err(words::refusal(what, status.as_u16(), &body, wait_ms, &self.login.hint().await));
        }
        Ok(Answer { body, digest, next: link.and_then(|link| words::next_page(&link, &self.base)) })
    }

    /// A request without an answer.
    async fn lost(&self, what: &str, error: &reqwest::Error) -> Fault {
        let cause = root_cause(error);
        let (ca, cert, key) = (self.ca.as_deref(), self.cert.as_deref(), self.key.as_deref());
        let names = Names { section: &self.section, ca, cert, key };
        if self.base.scheme() == "https" && !error.is_redirect() && !error.is_timeout() {
            let port = self.base.port_or_known_default().unwrap_or(443);
            let address = format!("{}:{port}", self.base.host_str().unwrap_or_default());
            if let Some(fault) = names.fault_of(what, &tls::causes(error), &address, &[]).await {
                return fault;
            }
        }
        if cause.contains("certificate") || cause.contains("UnknownIssuer") {
            return Fault::new(FaultKind::Lasting, what, cause).hint("name the registry's CA file in the cluster file");
        }
        if cause.contains("corrupt message") {
            return Fault::new(FaultKind::Lasting, what, cause)
                .hint("it speaks no TLS: does its `url` in the cluster file say http:// or https://?");
        }
        if error.is_redirect() || error.is_builder() {
            return Fault::new(FaultKind::Lasting, what, cause);
        }
        let why = if error.is_timeout() { "the registry did not answer in time".to_owned() } else { cause };
        Fault::new(FaultKind::Passing, what, why)
    }
}
