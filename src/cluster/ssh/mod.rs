//! Runs commands on the machines of a cluster, here or over the operator's own ssh, and forwards remote sockets and ports.
//! No local shell ever reads a word of a command, and no child gets a secret in its environment.

mod link;
mod pipes;
mod refusals;
mod sessions;

use crate::model::{Fault, FaultKind};
use openssh::Socket;
use pipes::{Input, RemoteLine, tied};
use refusals::refused_by_sudo;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;

pub use sessions::Sessions;

/// Where commands run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Local,
    Ssh(Destination),
}

/// `user@host:port` as written; everything that is not written comes from the operator's ssh configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl Place {
    /// `local` or `ssh://user@host[:port]`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text == "local" {
            return Ok(Self::Local);
        }
        let bad = || {
            Fault::new(FaultKind::Lasting, format!("`{text}`"), "it is neither `local` nor `ssh://user@host`")
                .hint("correct `host` in the cluster file")
        };
        text.strip_prefix("ssh://").and_then(Destination::parse).map(Self::Ssh).ok_or_else(bad)
    }
}

impl Destination {
    /// A word that begins with `-` would be an option to ssh, so it is refused.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (user, host) = text.rsplit_once('@').map_or((None, text), |(user, host)| (Some(user), host));
        let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, "")) => (address, None),
            Some((address, rest)) => (address, Some(rest.strip_prefix(':')?.parse().ok()?)),
            None => match host.rsplit_once(':') {
                // An address of IPv6 without its brackets: its last part is no port.
                Some((host, _)) if host.contains(':') => return None,
                Some((host, port)) => (host, Some(port.parse().ok()?)),
                None => (host, None),
            },
        };
        let plain = |word: &str| {
            !word.is_empty()
                && !word.starts_with('-')
                && !word.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '[' | ']'))
        };
        (plain(host) && user.is_none_or(plain)).then(|| Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// What a command left: its exit code (`None` after a signal) and the end of what it wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The last line with words on it that it wrote to stderr: what a person would quote.
    pub fn last_words(&self) -> String {
        let line = self.stderr.lines().rev().find(|line| !line.trim().is_empty());
        line.map_or_else(|| format!("it ended with code {}", self.code.unwrap_or(-1)), |line| line.trim().to_owned())
    }
}

/// Runs commands in one place. Cheap to clone; the sessions are shared.
#[derive(Clone)]
pub struct Runner {
    place: Place,
    sudo: bool,
    sessions: Arc<Sessions>,
}

impl Runner {
    pub fn new(place: Place, sessions: &Arc<Sessions>) -> Self {
        Self { place, sudo: false, sessions: Arc::clone(sessions) }
    }

    /// Every command is run by `sudo -n`: for root, and never asking for a password.
    #[must_use]
    pub fn with_sudo(self, sudo: bool) -> Self {
        Self { sudo, ..self }
    }

    pub fn sudo(&self) -> bool {
        self.sudo
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Runs a list of words. Whatever the exit code is, it is an answer; a `Fault` is: not started, not ended in time, or
    /// refused by sudo.
    pub async fn run(&self, words: &[String], working_dir: Option<&str>, deadline: Duration) -> Result<Output, Fault> {
        self.run_in(words, working_dir, Input::Nothing, deadline).await
    }

    /// The same for a command that must not go on when nobody waits for it any more: it ends with this castoff, however that
    /// ends.
    pub async fn run_tied(&self, words: &[String], working_dir: Option<&str>, deadline: Duration) -> Result<Output, Fault> {
        self.run_in(words, working_dir, Input::Held, deadline).await
    }

    /// The same with these bytes on its standard input: the way for what must not be an argument. A connection that breaks
    /// off ends the input early, so the command has to know by itself when it is whole.
    pub async fn run_with(&self, words: &[String], input: &[u8], deadline: Duration) -> Result<Output, Fault> {
        self.run_in(words, None, Input::Bytes(input), deadline).await
    }

    async fn run_in(
        &self,
        words: &[String],
        working_dir: Option<&str>,
        input: Input<'_>,
        deadline: Duration,
    ) -> Result<Output, Fault> {
        let program = words.first().map_or("", String::as_str);
        let what = format!("`{program}`");
        if program.is_empty() {
            return Err(Fault::new(FaultKind::Lasting, "the command", "the list of words is empty"));
        }
        let mut words = if matches!(input, Input::Held) { tied(words) } else { words.to_vec() };
        if self.sudo {
            words.splice(..0, ["sudo", "-n", "--"].map(str::to_owned));
        }
        let ended = match &self.place {
            Place::Local => timeout(deadline, self.sessions.run_local(&words, working_dir, input)).await,
            Place::Ssh(destination) => {
                let line = RemoteLine::new(&words, working_dir, deadline);
                timeout(deadline, self.sessions.run_remote(destination, &line, input, &what)).await
            }
        };
        let ended = ended
            .map_err(|_| Fault::new(FaultKind::Passing, &what, format!("it did not end within {} s", deadline.as_secs())))?;
        match ended {
            Ok(output) if self.sudo => refused_by_sudo(&output).map_or(Ok(output), |why| {
                let hint = "let sudo run it without a password (`NOPASSWD` in sudoers), or take `sudo` out of the cluster file";
                Err(Fault::new(FaultKind::Denied, format!("{what} by sudo"), why).hint(hint))
            }),
            ended => ended,
        }
    }

    /// The path of a local socket that leads to a socket over there. Only for `Place::Ssh`; kept and renewed when the
    /// connection died.
    pub async fn forward(&self, socket: &str) -> Result<PathBuf, Fault> {
        match &self.place {
            Place::Local => Ok(PathBuf::from(socket)),
            Place::Ssh(destination) => {
                let link = self.sessions.link(destination).await?;
                link.forward(socket, Socket::from(Path::new(socket)), destination).await
            }
        }
    }

    /// The path of a local socket that leads to a port, resolved and reached by that machine. `None`: that machine is this one.
    /// A socket, and not a port of 127.0.0.1, which every user of this machine could use.
    pub async fn forward_tcp(&self, host: &str, port: u16) -> Result<Option<PathBuf>, Fault> {
        let Place::Ssh(destination) = &self.place else { return Ok(None) };
        let link = self.sessions.link(destination).await?;
        link.forward(&format!("{host}:{port}"), Socket::new(host, port), destination).await.map(Some)
    }

    /// Why sshd opens no connection to a forwarded port, in its own words, asked by one more attempt. `None`: it opens one, or
    /// does not say.
    pub async fn refusal(&self, host: &str, port: u16) -> Result<Option<String>, Fault> {
        let Place::Ssh(destination) = &self.place else { return Ok(None) };
        let link = self.sessions.link(destination).await?;
        let path = link.forward(&format!("{host}:{port}"), Socket::new(host, port), destination).await?;
        Ok(link.refusal(&path).await)
    }
}

/// The deepest source says why; the layers above only say where.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    // The number behind it helps nobody.
    text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::config::Ssh;

    fn check(text: &str, expect: Option<&str>) {
        let place = Place::parse(text).ok().map(|place| match place {
            Place::Local => "local".to_owned(),
            Place::Ssh(destination) => destination.to_string(),
        });
        assert_eq!(place.as_deref(), expect, "{text}");
    }

    #[test]
    fn places_are_parsed_and_options_are_no_hosts() {
        check("local", Some("local"));
        check("ssh://root@gpu-3", Some("root@gpu-3"));
        check("ssh://gpu-3:2222", Some("gpu-3:2222"));
        check("ssh://[fe80::1]:22", Some("[fe80::1]:22"));
        for text in ["", "gpu-3", "ssh://", "ssh://-oProxyCommand=x", "ssh://-l@gpu", "ssh://a b", "ssh://a:b", "ssh://a/b"] {
            check(text, None);
        }
    }

    #[test]
    fn the_deadline_ends_a_command_with_its_children() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let runner = Runner::new(Place::Local, &Sessions::new(&Ssh::default(), vec![]));
            let folder = tempfile::tempdir().unwrap();
            let mark = folder.path().join("mark");
            let script = format!("(sleep 2; touch {}) & sleep 60", mark.display());
            let words = ["sh", "-c", &script].map(str::to_owned);
            let fault = runner.run(&words, None, Duration::from_millis(300)).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Passing);
            tokio::time::sleep(Duration::from_millis(2300)).await;
            assert!(!mark.exists(), "a child of the command lived on");
        });
    }

    #[tokio::test]
    async fn a_daemon_that_is_left_behind_takes_no_words_with_it() {
        let runner = Runner::new(Place::Local, &Sessions::new(&Ssh::default(), vec![]));
        let words = ["sh", "-c", "sleep 20 & echo out; echo words >&2; exit 3"].map(str::to_owned);
        let begun = std::time::Instant::now();
        let output = runner.run(&words, None, Duration::from_secs(15)).await.unwrap();
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (Some(3), "out\n", "words\n"));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }

    #[test]
    fn secrets_stay_out_of_the_environment_of_children() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // PATH stands for a secret here: it is surely set.
            let runner = Runner::new(Place::Local, &Sessions::new(&Ssh::default(), vec!["PATH".to_owned()]));
            let output = runner.run(&["/usr/bin/env".to_owned()], Some("/"), Duration::from_secs(5)).await.unwrap();
            assert_eq!(output.code, Some(0));
            assert!(!output.stdout.lines().any(|line| line.starts_with("PATH=")));
        });
    }
}
