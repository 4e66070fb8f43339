//! `mirror-docker`: every Docker daemon asks the mirror for images of Docker Hub first. Its `daemon.json` keeps every other
//! key; the daemon is reloaded and not restarted, unless the runbook says so.

use super::{About, Action, Drawn, mirror};
use crate::model::{Change, FileDiff, FileText, Inventory, Part, Proof, Prover, TakesUp, Wants, text};
use serde::Deserialize;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MirrorDocker {
    /// Restart the daemon in place of a reload. Without live-restore every running container stops.
    #[serde(default)]
    restart: bool,
}

impl Action for MirrorDocker {
    fn wants(&self, _: &About<'_>) -> Wants {
        Wants { parts: [Part::Machines].into(), machines: mirror::wants(Prover::Docker), ..Wants::default() }
    }

    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let mirror = about.mirror();
        let wanted = format!("{}/", mirror.url.trim_end_matches('/'));
        let mut drawn = Drawn::default();
        for host in mirror::hosts(world, Prover::Docker) {
            let machine = &world.machines[host];
            let Some(docker) = &machine.docker else { continue };
            let before = machine.files.get(&docker.config).cloned().flatten();
            let after = vec![wanted.clone()];
            let text = format!("{{\n    \"registry-mirrors\": [\"{wanted}\"]\n}}\n");
            let daemon = TakesUp::Docker { restart: self.restart, before: docker.mirrors.clone(), after, cleared: None };
            let file = FileDiff {
                path: docker.config.clone(),
                before,
                after: Some(FileText { text, mode: None }),
                between: vec![],
                folders: vec![],
            };
            let proof = Proof { by: Prover::Docker, image: mirror.image.clone(), mirror: wanted.clone() };
            let (daemon, proof) = (Some(daemon), Some(proof));
            drawn.changes.push(Change::Configure { host: host.to_owned(), files: vec![file], daemon, proof });
        }
        let hosts = text::count(drawn.changes.len() as u64, "host");
        drawn.summary = format!("{hosts} ask {} for images of Docker Hub", mirror.url);
        Ok(drawn)
    }
}
