//! Who castoff is to one registry: the login of the cluster file, or the one that docker or podman keeps for the operator.
//! It never shows a secret, and never takes a login that was kept for another registry.

use super::Credentials;
use crate::{
    cluster::{
        config::{LoginFrom, RegistryConfig},
        docker_config::{Kept, Places},
        secret::Secret,
    },
    model::{Fault, FaultKind},
};
use std::time::Duration;
use tokio::{sync::Mutex, time::Instant};

/// A login is read again after this time: what a helper gives may be good for an hour, and a run may take a night.
const FRESH: Duration = Duration::from_mins(5);
/// And a refused one after this, so that many refusals at once do not start a helper each.
const AGAIN: Duration = Duration::from_secs(10);

pub(super) struct Login {
    /// The registry's name in image names.
    registry: String,
    source: Source,
    /// Read when first needed: a secret that nobody asks for is never read.
    held: Mutex<Option<(Instant, Option<Credentials>)>>,
}

enum Source {
    Nobody,
    File { username: String, password: Secret },
    Docker { key: String, must: bool },
}

impl Login {
    /// `key` is the registry that docker and podman have to know it by.
    pub(super) fn new(registry: &str, config: &RegistryConfig, key: Option<String>) -> Self {
        let source = match (&config.username, &config.password, config.login, key) {
            (Some(username), Some(password), _, _) => Source::File { username: username.clone(), password: password.clone() },
            (_, _, Some(LoginFrom::None), _) | (_, _, None, None) => Source::Nobody,
            (_, _, Some(LoginFrom::DockerConfig), key) => {
                Source::Docker { key: key.unwrap_or_else(|| registry.to_owned()), must: true }
            }
            (_, _, None, Some(key)) => Source::Docker { key, must: false },
        };
        Self { registry: registry.to_owned(), source, held: Mutex::default() }
    }

    pub(super) async fn read(&self) -> Result<Option<Credentials>, Fault> {
        let mut held = self.held.lock().await;
        if let Some((_, kept)) = held.as_ref().filter(|(since, _)| since.elapsed() < FRESH) {
            return Ok(kept.clone());
        }
        match self.look_up().await {
            Ok(found) => {
                *held = Some((Instant::now(), found.clone()));
                Ok(found)
            }
            // What was good until now may be so still; the registry will say.
            Err(fault) => match held.as_ref() {
                Some((_, Some(kept))) => Ok(Some(kept.clone())),
                _ => Err(fault),
            },
        }
    }

    /// The registry refused it: who needs it after a while reads it again.
    pub(super) async fn refused(&self) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|(since, _)| since.elapsed() > AGAIN) {
            *held = None;
        }
    }

    /// The user name, and where the login is from when it is not from the cluster file. Reads no secret of the cluster file.
    pub(super) async fn told(&self) -> Result<Option<(String, Option<String>)>, Fault> {
        match &self.source {
            Source::File { username, .. } => Ok(Some((username.clone(), None))),
            _ => Ok(self.read().await?.map(|login| (login.username, login.from))),
        }
    }

    async fn look_up(&self) -> Result<Option<Credentials>, Fault> {
        let what = || format!("registry `{}`", self.registry);
        match &self.source {
            Source::Nobody => Ok(None),
            Source::File { username, password } => {
                let secret = password.read().await.map_err(|e| {
                    Fault::new(FaultKind::Denied, what(), e.to_string())
                        .hint("the cluster file names this secret; castoff needs to be able to read it")
                })?;
                Ok(Some(Credentials { username: username.clone(), secret, identity: false, from: None }))
            }
            Source::Docker { key, must } => {
                let found = Places::of_operator().login(key).await.map_err(|trouble| {
                    let section = super::section(&self.registry);
                    Fault::new(FaultKind::Denied, what(), trouble.to_string()).hint(format!(
                        "mend it, or set `username` and `password`, or `login = \"none\"`, of {section} in the cluster file"
                    ))
                })?;
                if found.is_none() && *must {
                    let why = format!("neither docker nor podman keeps a login for `{key}` here");
                    return Err(Fault::new(FaultKind::Denied, what(), why).hint(format!(
                        "log in by `docker login {key}`, or take `login` out of {} in the cluster file",
                        super::section(&self.registry)
                    )));
                }
                Ok(found.map(|Kept { username, secret, identity, from }| Credentials {
                    username,
                    secret,
                    identity,
                    from: Some(from),
                }))
            }
        }
    }

    /// What helps when the registry refuses.
    pub(super) async fn hint(&self) -> String {
        let section = super::section(&self.registry);
        let kept = self.held.lock().await.as_ref().and_then(|(_, kept)| kept.clone());
        match (&self.source, kept) {
            (Source::File { .. }, _) => {
                format!("check `username` and `password` of {section} in the cluster file, and what they may pull")
            }
            (Source::Docker { key, .. }, Some(Credentials { from: Some(from), .. })) => {
                format!(
                    "the login is from {from}: log in again by `docker login {key}`, or set one in {section} of the cluster file"
                )
            }
            _ => format!("the cluster file names no login for this registry: set `username` and `password` of {section}"),
        }
    }
}
