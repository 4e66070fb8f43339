//! podman and its kin on a host: the version, and the drop-ins it reads on each run. It never runs a container.

use super::{files, program};
use crate::{
    cluster::{config::PodmanConfig, ssh::Runner},
    model::{Fault, FaultKind, Podman, text},
};

pub async fn read(runner: &Runner, config: &PodmanConfig) -> Result<Podman, Fault> {
    let said = program(runner, &config.podman, &["--version"]).await?;
    let version = said.split_whitespace().last().map(text::clean);
    let version = version.ok_or_else(|| Fault::new(FaultKind::Lasting, "`podman --version`", "it printed nothing"))?;
    let names = files::list(runner, &config.folder).await?.unwrap_or_default();
    let drop_ins = names
        .into_iter()
        .filter(|name| std::path::Path::new(name).extension().is_some_and(|end| end == "conf"))
        .map(|name| text::clean(&name))
        .collect();
    Ok(Podman { version, folder: config.folder.clone(), drop_ins })
}
