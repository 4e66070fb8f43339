//! `write-file` and `remove-file`: one file of hosts as the runbook has it, or away. What is in it, and what it means, is the
//! operator's: nothing is merged and nothing proven.

use super::{
    About, Action, Drawn,
    hosts::{HostPath, Mode, On, Then},
};
use crate::model::{Change, FileDiff, FileText, Inventory, MachineWants, Part, Wants, machine::HOST, text};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WriteFile {
    /// Where; `{host}` is the host's name. Its folder has to be there.
    path: HostPath,
    /// All of it. `{host}` is the host's name, `(secret NAME)` a secret of the cluster file, `(hidden N)` the Nth secret value of the file that is there.
    text: String,
    /// Permission bits: `"0600"`. Left out: those of the file that is there; for a new one 0644, and 0600 with a secret in it.
    mode: Option<Mode>,
    /// `{ reload = "UNIT" }` or `{ restart = "UNIT" }`: who takes it up.
    then: Option<Then>,
    /// Names of hosts, with `*`; left out: every host.
    #[serde(default)]
    on: On,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RemoveFile {
    /// Where; `{host}` is the host's name.
    path: HostPath,
    /// `{ reload = "UNIT" }` or `{ restart = "UNIT" }`: who is told.
    then: Option<Then>,
    /// Names of hosts, with `*`; left out: every host.
    #[serde(default)]
    on: On,
}

impl Action for WriteFile {
    fn wants(&self, _: &About<'_>) -> Wants {
        wants(&self.path)
    }

    fn plan(&self, world: &Inventory, _: &About<'_>) -> Result<Drawn, String> {
        let secret = self.text.contains("(secret ");
        let text = |host: &str, is_new: bool| {
            let mode = self.mode.map(|mode| mode.0).or((secret && is_new).then_some(0o600));
            Some(FileText { text: self.text.replace(HOST, host), mode })
        };
        drawn(world, &self.on, &self.path, self.then.as_ref(), "write", text)
    }
}

impl Action for RemoveFile {
    fn wants(&self, _: &About<'_>) -> Wants {
        wants(&self.path)
    }

    fn plan(&self, world: &Inventory, _: &About<'_>) -> Result<Drawn, String> {
        drawn(world, &self.on, &self.path, self.then.as_ref(), "remove", |_, _| None)
    }
}

fn wants(path: &HostPath) -> Wants {
    let machines = MachineWants { files: [path.0.clone()].into(), ..MachineWants::default() };
    Wants { parts: [Part::Machines].into(), machines, ..Wants::default() }
}

fn drawn(
    world: &Inventory,
    on: &On,
    path: &HostPath,
    then: Option<&Then>,
    verb: &str,
    after: impl Fn(&str, bool) -> Option<FileText>,
) -> Result<Drawn, String> {
    let hosts = on.hosts(world)?;
    let change = |host: &String| {
        let path = path.0.replace(HOST, host);
        let before = world.machines[host].files.get(&path).cloned().flatten();
        let after = after(host, before.is_none());
        let files = vec![FileDiff { path, before, after, between: vec![], folders: vec![] }];
        Change::Configure { host: host.clone(), files, daemon: then.map(Then::takes_up), proof: None }
    };
    let then = then.map_or_else(String::new, Then::words);
    let summary = format!("{}: {verb} {}{then}", text::count(hosts.len() as u64, "host"), path.0);
    Ok(Drawn { changes: hosts.iter().map(change).collect(), summary, ..Drawn::default() })
}
