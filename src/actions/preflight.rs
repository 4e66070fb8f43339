//! `preflight`: what must hold before anything is touched. Plans no change.

use super::{About, Action, Drawn};
use crate::model::{Check, Inventory, MachineWants, Part, Problem, Verdict, Wants, text};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Preflight {}

impl Action for Preflight {
    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let offered: BTreeSet<_> = about.ledger.iter().filter_map(|line| line.new.clone()).collect();
        let candidates = about.ledger.iter().filter(|line| line.new.is_none()).flat_map(|line| about.moved.candidates(&line.old));
        let refused =
            candidates.filter(|image| world.registries.get(&image.registry).is_some_and(|r| r.refused.contains_key(image)));
        let images: BTreeSet<_> = offered.into_iter().chain(refused).collect();
        let mut parts = Wants::backend_ai().parts;
        parts.insert(Part::Registries);
        let mut checks = vec![Check::Answers { parts, machines: MachineWants::default() }, Check::Version];
        if !images.is_empty() {
            checks.push(Check::Pullable { images });
        }
        let problem = |subject: String, why: String, hint: Option<&str>| Problem {
            subject,
            why,
            hint: hint.map(str::to_owned),
            owner: None,
            place: None,
            since_ms: None,
        };
        let mut notes = vec![];
        for line in about.ledger.iter().filter(|line| line.verdict == Verdict::NoCounterpart) {
            let place = if line.hosts.is_empty() { "the metadata".to_owned() } else { line.hosts.join(", ") };
            let why = format!("has no counterpart in {}; it is in {place}", about.moved.new_registry());
            let hint =
                "push it to the new registry or name its counterpart in [move.overrides]; until then it is kept on the agents";
            notes.push(problem(format!("image {}", line.old.familiar()), why, Some(hint)));
        }
        for (name, registry) in world.registries.iter().filter(|(_, registry)| registry.insecure) {
            let why = format!("{} is not verified: the cluster file allows it", registry.url);
            notes.push(problem(format!("registry {name}"), why, None));
        }
        for (name, registry) in &world.registries {
            if let (Some(login), Some(from)) = (&registry.login, &registry.login_from) {
                let who = if login.is_empty() { "somebody" } else { login };
                notes.push(problem(format!("registry {name}"), format!("login from {from} as {who}"), None));
            }
        }
        for (name, _) in world.hosts.iter().filter(|(_, host)| host.free_bytes.is_none()) {
            let hint = "name its `host` in the cluster file, so that castoff can ask";
            notes.push(problem(format!("agent {name}"), "its free disk space is not known".to_owned(), Some(hint)));
        }
        // What did not answer is not in the inventory.
        let answered = world.hosts.len() + world.managers.len();
        let summary = format!(
            "{}, {} found for {}",
            text::count(answered as u64, "host"),
            text::count(about.ledger.iter().filter(|line| line.new.is_some()).count() as u64, "counterpart"),
            text::count(about.ledger.len() as u64, "old image"),
        );
        Ok(Drawn { checks, notes, summary, ..Drawn::default() })
    }
}
