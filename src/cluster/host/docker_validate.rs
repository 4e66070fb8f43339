//! Asks `dockerd --validate` what it makes of a `daemon.json` before it is put in place: Docker Engine 23 and newer can.
//! It never lets the text be an argument, for others could see it.

use super::{client::HostClient, docker, files::script};
use crate::{
    cluster::{Report, config::DockerConfig, ssh::Runner},
    model::{Fault, FaultKind, daemon_json::Release, veil},
};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);
/// The first that can.
const FIRST: Release = Release(23, 0, 0);
/// By `cat`, for what ssh gives a command to read from may be no file that can be opened by a path.
const SCRIPT: &str = "cat | \"$@\"";

impl HostClient {
    /// `text` is the one of the plan: what it hides is no matter of its form.
    pub(super) async fn docker_validates(&self, text: &str, report: Report<'_>) -> Result<(), Fault> {
        let (config, engine) = self.docker_parts()?;
        // One that is down says nothing of its version: it is about to be restarted.
        let Ok(uses) = engine.uses().await else { return Ok(()) };
        if Release::parse(&uses.version).is_none_or(|release| release < FIRST) {
            return Ok(());
        }
        report.progress("validating", 0, 0);
        let daemon = docker::read(&self.runner, engine, config).await?;
        let refused = validate(&self.runner, config, &daemon.flags, text).await?;
        refused.map_or(Ok(()), |why| {
            let what = format!("cannot change `{}` on `{}`", daemon.config, self.config.name);
            Err(Fault::new(FaultKind::Lasting, what, format!("`dockerd --validate` refuses the new text: {why}"))
                .hint("nothing was written: correct what it names, then plan again"))
        })
    }
}

/// Why `dockerd` refuses the text together with these flags of the running daemon; `None`: it takes it, or cannot be asked.
pub async fn validate(runner: &Runner, config: &DockerConfig, flags: &[String], text: &str) -> Result<Option<String>, Fault> {
    let own = ["--validate".to_owned(), "--config-file=/dev/stdin".to_owned()];
    let words: Vec<String> = config.dockerd.iter().cloned().chain(own).chain(without_file(flags)).collect();
    let output = runner.run_with(&script_of(&words), text.as_bytes(), DEADLINE).await?;
    let unknown = output.stderr.contains("unknown flag: --validate");
    match output.code {
        Some(0 | 126 | 127) => Ok(None),
        _ if unknown => Ok(None),
        _ => Ok(Some(veil::veil(&output.last_words()).text)),
    }
}

fn script_of(words: &[String]) -> Vec<String> {
    script(SCRIPT, words.iter().map(String::as_str))
}

/// The flags, but for the one that names the file.
fn without_file(flags: &[String]) -> Vec<String> {
    let mut out = vec![];
    let mut words = flags.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--config-file" => drop(words.next()),
            word if word.starts_with("--config-file=") => {}
            word => out.push(word.to_owned()),
        }
    }
    out
}
