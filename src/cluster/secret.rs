//! Secrets by name: an environment variable, a file or a command. Never a value, never shown.

use secrecy::SecretString;
use serde::Deserialize;
use std::sync::RwLock;

/// Environment variables that hold secrets, of this process as its environment is: no child gets them.
static HIDDEN: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Keeps these variables from every child that is started from now on.
pub fn keep_from_children(names: &[String]) {
    let mut hidden = HIDDEN.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let new: Vec<String> = names.iter().filter(|name| !hidden.contains(name)).cloned().collect();
    hidden.extend(new);
}

/// A program to be started without any of those variables; it ends when nobody waits for it any more.
pub(super) fn child(program: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program);
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    for name in HIDDEN.read().unwrap_or_else(std::sync::PoisonError::into_inner).iter() {
        command.env_remove(name);
    }
    command
}

/// Kills a child that leads its group with everything it started, unless it has ended.
pub(super) struct Group(Option<rustix::process::Pid>);

impl Group {
    pub(super) fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw))
    }

    /// What it left running on purpose (a service's start script does) is left alone.
    pub(super) fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

/// Where a secret is. The value itself cannot be written here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Secret {
    /// Name of an environment variable.
    Env(String),
    /// Path of a file; one trailing line break is not part of the secret.
    File(std::path::PathBuf),
    /// A command that prints it, as a list of words; no shell.
    Command(Vec<String>),
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read the secret from {from}: {why}")]
pub struct SecretError {
    pub from: String,
    pub why: String,
}

impl Secret {
    /// Reads it, byte for byte but for one trailing line break. A command gets 30 seconds and no terminal.
    pub async fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::Env(name) => {
                let from = || format!("the environment variable `{name}`");
                // Not the error's own words: they quote a value that is no UTF-8.
                let why = |error| match error {
                    std::env::VarError::NotPresent => "it is not set".to_owned(),
                    std::env::VarError::NotUnicode(_) => "it is no UTF-8".to_owned(),
                };
                std::env::var(name).map(SecretString::from).map_err(|e| SecretError { from: from(), why: why(e) })
            }
            Self::File(path) => {
                let from = || format!("the file `{}`", path.display());
                let text = tokio::fs::read_to_string(path).await;
                text.map(without_line_break).map_err(|e| SecretError { from: from(), why: e.to_string() })
            }
            Self::Command(words) => {
                let error = |why: String| SecretError {
                    from: format!("the command `{}`", words.first().map_or("", String::as_str)),
                    why,
                };
                let (program, arguments) = words.split_first().ok_or_else(|| error("the list of words is empty".to_owned()))?;
                let mut command = child(program);
                command.args(arguments).process_group(0);
                command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
                let child = command.spawn().map_err(|e| error(e.to_string()))?;
                let group = Group::of(&child);
                let output = tokio::time::timeout(std::time::Duration::from_secs(30), child.wait_with_output()).await;
                let output = output.map_err(|_| error("no answer for 30 s".to_owned()))?.map_err(|e| error(e.to_string()))?;
                group.ended();
                if !output.status.success() {
                    return Err(error(format!("it ended with {}", output.status)));
                }
                String::from_utf8(output.stdout).map(without_line_break).map_err(|_| error("it printed no UTF-8".to_owned()))
            }
        }
    }
}

fn without_line_break(mut text: String) -> SecretString {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    SecretString::from(text)
}
