//! The logins that docker and podman keep for an operator: `config.json`, `auth.json` and the credential helpers they name.
//! It never writes to them, and shows nothing that a file or a helper said.

use super::secret;
use crate::model::image::canonical_registry;
use base64::{Engine, alphabet, engine};
use secrecy::SecretString;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// For a helper, which may ask a keychain or a cloud.
const DEADLINE: Duration = Duration::from_secs(30);
/// No login is longer.
const MOST: u64 = 1 << 20;
/// Docker Hub's key since the first days.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name of a login that is an identity token.
const TOKEN_USER: &str = "<token>";

const BASE64: engine::GeneralPurpose = engine::GeneralPurpose::new(
    &alphabet::STANDARD,
    engine::GeneralPurposeConfig::new().with_decode_padding_mode(engine::DecodePaddingMode::Indifferent),
);

/// A login that was found.
#[derive(Clone, Debug)]
pub struct Kept {
    pub username: String,
    pub secret: SecretString,
    /// The secret is no password: it is what a token service gives tokens for.
    pub identity: bool,
    /// `~/.docker/config.json`
    pub from: String,
}

#[derive(Debug, thiserror::Error)]
#[error("{from}: {why}")]
pub struct Trouble {
    pub from: String,
    pub why: String,
}

/// The files to look into, the first with a login wins.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub files: Vec<PathBuf>,
    home: Option<PathBuf>,
}

impl Places {
    /// `REGISTRY_AUTH_FILE`; `config.json` in `DOCKER_CONFIG`, else in `~/.docker`; podman's `containers/auth.json` in
    /// `XDG_RUNTIME_DIR` and in the configuration folder.
    pub fn of_operator() -> Self {
        Self::of(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn of(variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let home = variable("HOME");
        let docker = variable("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
        let config = variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        let podman =
            [variable("XDG_RUNTIME_DIR"), config].into_iter().flatten().map(|folder| folder.join("containers/auth.json"));
        let docker = docker.map(|folder| folder.join("config.json"));
        Self { files: variable("REGISTRY_AUTH_FILE").into_iter().chain(docker).chain(podman).collect(), home }
    }

    /// The login for a registry by its name in image names, `docker.io` or `cr.backend.ai:5000`.
    pub async fn login(&self, registry: &str) -> Result<Option<Kept>, Trouble> {
        for path in &self.files {
            let from = self.shown(path);
            let trouble = |why: String| Trouble { from: format!("`{from}`"), why };
            let text = match tokio::fs::read(path).await {
                Ok(text) => text,
                Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => return Err(trouble(error.to_string())),
            };
            // Not the parser's own words: they may quote a login.
            let file: File = serde_json::from_slice(&text).map_err(|error| {
                trouble(format!("it cannot be read as JSON in line {}, column {}", error.line(), error.column()))
            })?;
            if let Some(kept) = file.login(registry, &from).await? {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    fn shown(&self, path: &Path) -> String {
        let below = self.home.as_ref().and_then(|home| path.strip_prefix(home).ok());
        below.map_or_else(|| path.display().to_string(), |below| format!("~/{}", below.display()))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "identitytoken")]
    identity: Option<String>,
}

/// What a helper prints.
#[derive(Deserialize)]
struct Printed {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl File {
    async fn login(&self, registry: &str, from: &str) -> Result<Option<Kept>, Trouble> {
        let helpers = [of_registry(&self.helpers, registry), self.store.as_ref()];
        for helper in helpers.into_iter().flatten().filter(|helper| !helper.is_empty()) {
            if let Some(kept) = helped(helper, registry, from).await? {
                return Ok(Some(kept));
            }
        }
        match of_registry(&self.auths, registry) {
            Some(auth) => auth.login(from).map_err(|why| Trouble { from: format!("`{from}`"), why: why.to_owned() }),
            None => Ok(None),
        }
    }
}

impl Entry {
    fn login(&self, from: &str) -> Result<Option<Kept>, &'static str> {
        let (mut username, mut password) = (self.username.clone().unwrap_or_default(), self.password.clone().unwrap_or_default());
        if let Some(auth) = self.auth.as_ref().filter(|auth| !auth.is_empty()) {
            let bytes = BASE64.decode(auth.trim()).map_err(|_| "an `auth` in it is no base64")?;
            let text = String::from_utf8(bytes).map_err(|_| "an `auth` in it is no UTF-8")?;
            let (name, word) = text.split_once(':').ok_or("an `auth` in it has no colon between user name and password")?;
            // Docker itself pads a password with zeros.
            (username, password) = (name.to_owned(), word.trim_end_matches('\0').to_owned());
        }
        let identity = self.identity.clone().filter(|token| !token.is_empty());
        let token = identity.is_some() || username == TOKEN_USER;
        let secret = identity.unwrap_or(password);
        if secret.is_empty() || (username.is_empty() && !token) {
            return Ok(None);
        }
        Ok(Some(Kept { username, secret: SecretString::from(secret), identity: token, from: from.to_owned() }))
    }
}

/// The entry whose key means this registry: its name, or a URL of it as older versions wrote. A key with a path behind
/// the host is podman's for a part of a registry, and is not taken for the whole.
fn of_registry<'a, T>(entries: &'a BTreeMap<String, T>, registry: &str) -> Option<&'a T> {
    let means = |key: &str| {
        let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let whole = matches!(path.trim_end_matches('/'), "" | "v1" | "v2");
        whole && canonical_registry(host) == canonical_registry(registry)
    };
    entries.get(registry).or_else(|| entries.iter().find(|(key, _)| means(key)).map(|(_, value)| value))
}

/// `docker-credential-NAME get`: the registry on its standard input, the login as JSON on its standard output.
async fn helped(helper: &str, registry: &str, from: &str) -> Result<Option<Kept>, Trouble> {
    let program = format!("docker-credential-{helper}");
    let error = |why: String| Trouble { from: format!("the credential helper `{program}` of `{from}`"), why };
    if !helper.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Err(error("this is no name of a program".to_owned()));
    }
    let mut command = secret::child(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|e| error(e.to_string()))?;
    let group = secret::Group::of(&child);
    let key = if canonical_registry(registry) == "docker.io" { HUB_KEY } else { registry };
    let asked = async {
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read may know the answer all the same.
            let _ = stdin.write_all(key.as_bytes()).await;
        }
        let mut printed = vec![];
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MOST).read_to_end(&mut printed).await?;
        }
        Ok::<_, std::io::Error>((printed, child.wait().await?))
    };
    let ended = timeout(DEADLINE, asked).await.map_err(|_| error(format!("no answer for {} s", DEADLINE.as_secs())))?;
    let (printed, status) = ended.map_err(|e| error(e.to_string()))?;
    group.ended();
    if !status.success() {
        // The protocol has these words for it, and no code.
        let unknown = String::from_utf8_lossy(&printed).contains("credentials not found in native keychain");
        return if unknown { Ok(None) } else { Err(error(format!("it ended with {status}"))) };
    }
    let printed: Printed = serde_json::from_slice(&printed).map_err(|_| error("what it printed is no login".to_owned()))?;
    let identity = printed.username == TOKEN_USER;
    if printed.secret.is_empty() || printed.username.is_empty() {
        return Ok(None);
    }
    let secret = SecretString::from(printed.secret);
    Ok(Some(Kept { username: printed.username, secret, identity, from: format!("{from} ({program})") }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn login(json: &str, registry: &str) -> Result<Option<(String, String, bool)>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        let places = Places { files: vec![folder.path().join("absent.json"), path], home: Some(folder.path().to_owned()) };
        match runtime.block_on(places.login(registry)) {
            Ok(found) => Ok(found.map(|kept| {
                assert_eq!(kept.from, "~/config.json");
                (kept.username, kept.secret.expose_secret().to_owned(), kept.identity)
            })),
            Err(trouble) => Err(trouble.to_string()),
        }
    }

    #[test]
    fn keys_of_many_years_mean_one_registry() {
        let kim = Ok(Some(("kim".to_owned(), "p:w".to_owned(), false)));
        let of = |key: &str| format!(r#"{{"auths":{{"{key}":{{"auth":"a2ltOnA6dw=="}}}}, "other": 1}}"#);
        for (key, registry) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("cr.example:5000", "cr.example:5000"),
            ("https://cr.example:5000", "cr.example:5000"),
            ("http://cr.example:5000/v1/", "cr.example:5000"),
        ] {
            assert_eq!(login(&of(key), registry), kim, "{key}");
        }
        for (key, registry) in [
            ("cr.example", "cr.example:5000"),
            ("cr.example/team", "cr.example"),
            ("evil.example/cr.example", "cr.example"),
            ("cr.example.evil", "cr.example"),
            ("index.docker.io.mirror.corp", "docker.io"),
        ] {
            assert_eq!(login(&of(key), registry), Ok(None), "{key}");
        }
    }

    #[test]
    fn what_stands_in_a_file_is_read_or_told_without_it() {
        let entry = |entry: &str| format!(r#"{{"auths":{{"cr":{entry}}}}}"#);
        let found = |user: &str, secret: &str, identity| Ok(Some((user.to_owned(), secret.to_owned(), identity)));
        // Without padding, with padding of zeros, with an identity token beside or alone.
        assert_eq!(login(&entry(r#"{"auth":"a2ltOnA6dw"}"#), "cr"), found("kim", "p:w", false));
        assert_eq!(login(&entry(r#"{"auth":"a2ltOnAAAA=="}"#), "cr"), found("kim", "p", false));
        assert_eq!(login(&entry(r#"{"auth":"a2ltOng=","identitytoken":"id"}"#), "cr"), found("kim", "id", true));
        assert_eq!(login(&entry(r#"{"identitytoken":"id"}"#), "cr"), found("", "id", true));
        assert_eq!(login(&entry(r#"{"username":"kim","password":"x"}"#), "cr"), found("kim", "x", false));
        assert_eq!(login(&entry("{}"), "cr"), Ok(None));
        assert_eq!(login("{}", "cr"), Ok(None));
        let refused = [
            (entry(r#"{"auth":"hunter2!"}"#), "no base64"),
            (entry(r#"{"auth":"aHVudGVyMg=="}"#), "no colon"),
            (entry(r#""hunter2""#), "line 1"),
            (r#"{"credHelpers":{"cr":"../hunter2"}}"#.to_owned(), "no name of a program"),
            (r#"{"credsStore":"castoff-is-nowhere"}"#.to_owned(), "`docker-credential-castoff-is-nowhere`"),
        ];
        for (json, words) in refused {
            let said = login(&json, "cr").unwrap_err();
            assert!(said.contains(words), "{json}: {said}");
            assert!(!said.contains("hunter2") || json.contains("../hunter2"), "{said}");
        }
    }

    #[test]
    fn the_operators_variables_say_where() {
        let of = |set: &[(&str, &str)]| {
            let places = Places::of(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| PathBuf::from(value)));
            places.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(&[]), "");
        assert_eq!(of(&[("HOME", "/h")]), "/h/.docker/config.json /h/.config/containers/auth.json");
        let all = [("HOME", "/h"), ("DOCKER_CONFIG", "/d"), ("REGISTRY_AUTH_FILE", "/r.json"), ("XDG_RUNTIME_DIR", "/run/1")];
        assert_eq!(of(&all), "/r.json /d/config.json /run/1/containers/auth.json /h/.config/containers/auth.json");
    }
}
