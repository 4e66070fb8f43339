//! A host as a machine: what castoff reads and writes there, here or over ssh. One command a question; what runs there is
//! a POSIX shell with coreutils or busybox. It never decides what a file should hold.

pub mod backup;
pub mod client;
pub mod containerd;
mod containerd_proof;
mod cri;
pub mod docker;
mod docker_log;
mod docker_proof;
mod docker_reload;
pub mod docker_validate;
pub mod files;
mod named;
pub mod podman;
mod podman_proof;
mod put;
mod unit;

use super::ssh::Runner;
use crate::model::{Fault, FaultKind};
use std::time::Duration;

const PROGRAM_DEADLINE: Duration = Duration::from_secs(20);

/// What a program of a host prints; a code other than 0 is a fault in its own words.
async fn program(runner: &Runner, words: &[String], arguments: &[&str]) -> Result<String, Fault> {
    let whole: Vec<String> = words.iter().cloned().chain(arguments.iter().map(|word| (*word).to_owned())).collect();
    let output = runner.run(&whole, None, PROGRAM_DEADLINE).await?;
    match output.code {
        Some(0) => Ok(output.stdout),
        code => {
            let kind = if code == Some(127) { FaultKind::Missing } else { FaultKind::Lasting };
            Err(Fault::new(kind, format!("`{}`", whole.join(" ")), output.last_words()))
        }
    }
}
