//! Finds and reads what a person wrote: runbooks, cluster files, saved plans. Touches no cluster.

use super::{Common, Exit, Failure};
use crate::cluster::config::ClusterFile;
use crate::model::{Inventory, Plan, edge, inventory::INVENTORY_VERSION, plan::PLAN_VERSION, text};
use crate::runbook::{Runbook, SHIPPED};
use anyhow::Context;
use std::path::{Path, PathBuf};

/// What was named on the command line.
pub enum Named {
    Runbook(Box<Runbook>),
    SavedPlan(Box<Plan>),
}

/// A shipped runbook by name, a runbook by path, or a saved plan by path.
pub fn named(name: &str, sets: &[String]) -> Result<Named, Failure> {
    if let Some((shipped, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
        return Ok(Named::Runbook(Box::new(Runbook::parse(&format!("runbooks/{shipped}.toml"), text, sets)?)));
    }
    let path = Path::new(name);
    if !path.exists() {
        let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
        let failure = Failure::new(Exit::Usage, format!("there is no runbook `{name}`, neither shipped nor as a file"));
        return Err(failure.hint(format!("shipped runbooks: {}", names.join(", "))));
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{name}`"))?;
    if text.trim_start().starts_with('{') {
        if !sets.is_empty() {
            return Err(Failure::new(Exit::Usage, "--set changes a runbook, and a saved plan runs exactly as saved"));
        }
        return Ok(Named::SavedPlan(Box::new(saved_plan(name, &text)?)));
    }
    Ok(Named::Runbook(Box::new(Runbook::parse(name, &text, sets)?)))
}

fn saved_plan(name: &str, text: &str) -> Result<Plan, Failure> {
    let bad = |why: String| Failure::new(Exit::Usage, format!("`{name}` is not a saved plan: {}", text::clean(&why)));
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
    let version = value.get("v").and_then(serde_json::Value::as_u64).ok_or_else(|| bad("it has no `v`".to_owned()))?;
    if version != u64::from(PLAN_VERSION) {
        return Err(bad(format!("it has format {version}; this castoff reads {PLAN_VERSION}")));
    }
    let plan: Plan = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
    if !plan.is_in_order() {
        return Err(bad("its changes do not stand where their ids say".to_owned()));
    }
    match plan.deceives() {
        Some(name) => Err(bad(format!("the name `{name}` holds characters that cannot be seen"))),
        None => Ok(plan),
    }
}

/// An inventory for a rehearsal.
pub fn inventory(path: &Path) -> Result<Inventory, Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{name}`"))?;
    let inventory: Inventory = serde_json::from_str(&text)
        .map_err(|e| Failure::new(Exit::Usage, format!("`{name}` is not an inventory: {}", edge::told(&e))))?;
    if inventory.v != INVENTORY_VERSION {
        let found = inventory.v;
        return Err(Failure::new(Exit::Usage, format!("`{name}` has format {found}; this castoff reads {INVENTORY_VERSION}")));
    }
    if !edge::is_name(&inventory.cluster) {
        let cluster = text::clean(&inventory.cluster);
        return Err(Failure::new(Exit::Usage, format!("`{name}`: `{cluster}` cannot be the name of a cluster")));
    }
    Ok(inventory.tidied())
}

/// `castoff check`.
pub fn check(common: &Common, runbook: &str, sets: &[String]) -> Result<Exit, Failure> {
    if let Named::Runbook(runbook) = named(runbook, sets)? {
        println!("{}", text::clean(&format!("runbook {}: {}", runbook.name, runbook.title)));
    }
    let cluster = ClusterFile::load(common.cluster.as_deref())?;
    let count = |n: usize, noun| crate::model::text::count(n as u64, noun);
    let (managers, agents) = (count(cluster.managers.len(), "manager"), count(cluster.agents.len(), "agent"));
    let registries = count(cluster.registries.len(), "registry");
    println!("{}", text::clean(&format!("cluster {}: {managers}, {agents}, {registries}", cluster.name)));
    for note in cluster.notes() {
        println!("note: {}", text::clean(&note));
    }
    Ok(Exit::Done)
}

/// `castoff init`.
pub fn init(out: &Path) -> Result<Exit, Failure> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let text = crate::cluster::init::describe(&crate::cluster::init::find());
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(out);
    let mut file = file.map_err(|e| {
        Failure::new(Exit::Usage, format!("cannot write `{}`: {e}", out.display()))
            .hint("castoff init writes no file over another: name one with --out")
    })?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write `{}`", out.display()))?;
    println!(
        "wrote {}: read it, fill in what is missing, then castoff check backend-ai --cluster {}",
        out.display(),
        out.display()
    );
    Ok(Exit::Done)
}

/// Where runs are kept.
pub fn state_folder(common: &Common) -> Result<PathBuf, Failure> {
    if let Some(state) = &common.state {
        return Ok(state.clone());
    }
    if rustix::process::geteuid().is_root() && std::env::var_os("XDG_STATE_HOME").is_none() {
        return Ok(PathBuf::from("/var/lib/castoff"));
    }
    use etcetera::BaseStrategy;
    let base =
        etcetera::choose_base_strategy().map_err(|e| Failure::new(Exit::Usage, format!("cannot find the home folder: {e}")))?;
    let state = base.state_dir().unwrap_or_else(|| base.data_dir());
    Ok(state.join("castoff"))
}
