//! podman and its kin on a host: the version, and the drop-ins it reads on each run. It never runs a container.

use super::{files, program};
use crate::{
    cluster::{config::PodmanConfig, ssh::Runner},
    model::{Fault, FaultKind, Podman, ReachWant, text},
};
use std::collections::BTreeSet;

/// `mirrors`: those whose folders of certificates it would need.
pub async fn read(runner: &Runner, config: &PodmanConfig, mirrors: &BTreeSet<ReachWant>) -> Result<Podman, Fault> {
    let said = program(runner, &config.podman, &["--version"]).await?;
    let version = said.split_whitespace().last().map(text::clean);
    let version = version.ok_or_else(|| Fault::new(FaultKind::Lasting, "`podman --version`", "it printed nothing"))?;
    let mut missing = vec![];
    let found = files::list(runner, &config.folder).await?;
    if found.is_none() {
        missing.push(config.folder.clone());
    }
    let of_mirrors = mirrors.iter().map(|want| format!("{}/{}", config.certs, want.host()));
    for folder in [config.certs.clone()].into_iter().chain(of_mirrors) {
        if files::list(runner, &folder).await?.is_none() {
            missing.push(folder);
        }
    }
    let drop_ins = found
        .unwrap_or_default()
        .into_iter()
        .filter(|name| std::path::Path::new(name).extension().is_some_and(|end| end == "conf"))
        .map(|name| text::clean(&name))
        .collect();
    let (folder, certs, crio) = (config.folder.clone(), config.certs.clone(), config.crio);
    Ok(Podman { version, folder, drop_ins, certs, missing, crio })
}

/// Every file that matters for a mirror: the settings of its own and its drop-ins, and the authorities of the mirrors.
pub fn paths(podman: &Podman, mirrors: &BTreeSet<ReachWant>) -> Vec<String> {
    let drop_ins = podman.drop_ins.iter().map(|name| format!("{}/{name}", podman.folder));
    let authorities = mirrors
        .iter()
        .flat_map(|want| [Some(podman.authority(want.host())), want.ca.clone().filter(|ca| ca.starts_with('/'))])
        .flatten();
    drop_ins.chain(podman.main().map(str::to_owned)).chain(authorities).collect()
}
