//! `write-file` and `remove-file`: one file of hosts as the runbook has it, or away. What is in it, and what it means, is the
//! operator's: nothing is merged and nothing proven.

use super::{
    About, Action, Drawn,
    hosts::{HostPath, Mode, On, Then},
};
use crate::model::{Change, FileDiff, FileText, Inventory, MachineWants, Part, Wants, machine::HOST, text, veil};
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
        secrets_are_known(&self.text)?;
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

/// Every secret of a text has to be named, and to stand where it is known for one when the file is read back: else a plan, a
/// journal or a screen would hold it.
fn secrets_are_known(text: &str) -> Result<(), String> {
    const PROBE: &str = "castoff-probe-0";
    let filled = veil::unveil(text, &vec![PROBE.to_owned(); 64], |_| Some(PROBE.to_owned()));
    let read_back = veil::veil(&filled.map_err(|why| format!("`text`: {why}"))?);
    if read_back.text.contains(PROBE) {
        return Err("`text` has a secret where castoff would not know it for one when it reads the file back: \
                    the key before it has to say so, as in `password = (secret NAME)`"
            .to_owned());
    }
    if read_back.values.iter().any(|value| !value.contains(PROBE)) {
        return Err(
            "`text` holds a secret in the open: name it, as in `password = (secret NAME)`, and say in `[secrets]` of the \
                    cluster file where it is"
                .to_owned(),
        );
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_and_known_by_its_key() {
        let check = |text: &str, told: Option<&str>| {
            let found = secrets_are_known(text).err();
            assert_eq!(found.is_some(), told.is_some(), "{text}: {found:?}");
            assert!(found.unwrap_or_default().contains(told.unwrap_or_default()), "{text}");
        };
        check("a = 1\n", None);
        check("password = (secret web)\n", None);
        check("{ \"password\": \"(secret web)\", \"a\": 1 }", None);
        check("password = (hidden 1)\n", None);
        check("url = \"https://kim:(secret web)@m.example/\"\n", None);
        check("its key is (secret web).\n", Some("would not know it"));
        check("password = hunter2\n", Some("in the open"));
        check("password = (secrt web)\n", Some("in the open"));
    }
}
