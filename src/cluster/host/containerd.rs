//! containerd as it runs on a host: its version, how its CRI plugin fares, and the folder that it looks for mirrors in.
//! What its configuration says is never told as its own where the process has not taken it up.

use super::{
    cri,
    files::{self, script},
    program,
};
use crate::{
    cluster::{config::ContainerdConfig, ssh::Runner},
    model::{
        ContainerdDaemon, Cri, Fault, FaultKind, TakenUp,
        containerd_config::{self, Dumped},
        text,
    },
};
use std::{collections::BTreeMap, time::Duration};

const DEADLINE: Duration = Duration::from_secs(20);
/// The plugins that serve CRI: one in 1.x, and two more in 2.x.
const CRI: [(&str, &str); 3] =
    [("io.containerd.grpc.v1", "cri"), ("io.containerd.cri.v1", "images"), ("io.containerd.cri.v1", "runtime")];
/// A socket is made anew with each start. Ends with 0 if that was not before the configuration's last change.
const TAKEN_UP: &str = "[ -e \"$1\" ] && ! [ \"$2\" -nt \"$1\" ]";

/// Reads the containerd behind the socket of its section.
pub async fn read(runner: &Runner, config: &ContainerdConfig) -> Result<ContainerdDaemon, Fault> {
    let at = ["--address", config.socket.as_str()];
    let version = program(runner, &config.ctr, &[&at[..], &["version"]].concat()).await?;
    let version = server_version(&version)
        .ok_or_else(|| Fault::new(FaultKind::Lasting, "`ctr version`", "it names no version of the server"))?;
    let plugins = program(runner, &config.ctr, &[&at[..], &["plugins", "ls", "--detailed"]].concat()).await?;
    let dumped = dump(runner, config).await?;
    let cri = health(&plugins);
    let asked = match cri {
        Cri::Ok => used(runner, &config.socket).await,
        _ => None,
    };
    let taken_up = match asked {
        Some(path) if path == dumped.config_path => TakenUp::Yes,
        Some(path) => TakenUp::Uses(text::clean(&path)),
        None if is_older(runner, config).await? => TakenUp::Yes,
        None => TakenUp::Unknown,
    };
    let config_path = text::clean(&dumped.config_path);
    let folder = config_path.trim_end_matches('/');
    let single = folder.starts_with('/') && !folder.contains(':');
    let certs = if single { folder } else { config.certs.as_str() }.to_owned();
    Ok(ContainerdDaemon {
        version: text::clean(&version),
        config: config.config.clone(),
        config_path,
        taken_up,
        cri,
        format: dumped.format,
        mirrors: dumped.mirrors.iter().map(|name| text::clean(name)).collect(),
        tls: dumped.tls.iter().map(|name| text::clean(name)).collect(),
        imports: dumped.imports.iter().filter(|path| **path != config.config).map(|path| text::clean(path)).collect(),
        certs,
        ..ContainerdDaemon::default()
    })
}

/// What its configuration says with all that it imports, whatever runs.
pub async fn dump(runner: &Runner, config: &ContainerdConfig) -> Result<Dumped, Fault> {
    let dump = program(runner, &config.containerd, &["--config", &config.config, "config", "dump"]).await?;
    containerd_config::dumped(&dump)
        .map_err(|why| Fault::new(FaultKind::Lasting, format!("`containerd config dump` of `{}`", config.config), why))
}

/// What the process itself says, where its CRI plugin can be asked; 2.0 and later do not say.
pub async fn used(runner: &Runner, socket: &str) -> Option<String> {
    let socket = runner.forward(socket).await.ok()?;
    cri::Service::open(&socket).await?.config_path().await
}

/// Whether its configuration was not changed since it was started.
async fn is_older(runner: &Runner, config: &ContainerdConfig) -> Result<bool, Fault> {
    let words = script(TAKEN_UP, [config.socket.as_str(), config.config.as_str()]);
    Ok(runner.run(&words, None, DEADLINE).await?.code == Some(0))
}

/// Looks into its folder of `hosts.toml` files, and says which of the files there are to be read.
pub async fn look(runner: &Runner, daemon: &mut ContainerdDaemon) -> Result<Vec<String>, Fault> {
    let (folders, absent) = files::folders(runner, &daemon.certs).await?;
    let plain = |name: &String| text::clean(name) == *name;
    let folders: BTreeMap<String, Vec<String>> = folders.into_iter().filter(|(name, _)| plain(name)).collect();
    let read = |(folder, names): (&String, &Vec<String>)| {
        let known = names.iter().filter(|name| matches!(name.as_str(), "hosts.toml" | "castoff-ca.pem"));
        known.map(|name| format!("{}/{folder}/{name}", daemon.certs)).collect::<Vec<_>>()
    };
    let paths = folders.iter().flat_map(read).collect();
    let cleaned = |names: Vec<String>| names.iter().map(|name| text::clean(name)).collect();
    daemon.folders = folders.into_iter().map(|(folder, names)| (folder, cleaned(names))).collect();
    daemon.absent = absent;
    Ok(paths)
}

fn server_version(said: &str) -> Option<String> {
    let (_, server) = said.split_once("Server:")?;
    server.lines().find_map(|line| line.trim().strip_prefix("Version:")).map(|version| version.trim().to_owned())
}

/// Of `ctr plugins ls --detailed`: one block for each plugin.
fn health(plugins: &str) -> Cri {
    let mut found = Cri::Absent;
    for block in plugins.split("Type:").skip(1) {
        let kind = block.lines().next().unwrap_or_default().trim();
        let id = block.lines().find_map(|line| line.trim().strip_prefix("ID:")).map_or("", str::trim);
        if !CRI.contains(&(kind, id)) {
            continue;
        }
        let error = block.split_once("\nError:").map(|(_, error)| error);
        let message = error.and_then(|error| error.lines().find_map(|line| line.trim().strip_prefix("Message:")));
        match (error, message.map(str::trim)) {
            (None, _) => found = Cri::Ok,
            // It was told not to load.
            (Some(_), Some(words)) if words.contains("skip plugin") => return Cri::Absent,
            (Some(_), words) => return Cri::Failed(text::clean(words.unwrap_or("its error has no words"))),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(plugin: (&str, &str), error: Option<&str>, expect: &Cri) {
        let error = error.map_or_else(String::new, |why| {
            format!("Error:\n              Code:        Unknown\n              Message:     {why}\n")
        });
        let own = format!(
            "Type:          {}\nID:            {}\nRequires:     \n               io.containerd.event.v1\nPlatforms:     linux/amd64\n{error}              \n",
            plugin.0, plugin.1
        );
        let other = "Type:          io.containerd.grpc.v1\nID:            version\n              \n";
        let broken = "Type:          io.containerd.snapshotter.v1\nID:            btrfs\nError:\n              Code:        Unknown\n              Message:     skip plugin\n";
        assert_eq!(health(&format!("{other}{own}{broken}")), *expect, "{own}");
    }

    #[test]
    fn the_plugin_says_how_it_fares() {
        let refusal = "invalid plugin config: `mirrors` cannot be set when `config_path` is provided";
        check(("io.containerd.grpc.v1", "cri"), None, &Cri::Ok);
        check(("io.containerd.grpc.v1", "cri"), Some(refusal), &Cri::Failed(refusal.to_owned()));
        check(
            ("io.containerd.cri.v1", "images"),
            Some("invalid cri image config"),
            &Cri::Failed("invalid cri image config".to_owned()),
        );
        check(("io.containerd.grpc.v1", "cri"), Some("no: skip plugin"), &Cri::Absent);
        check(("io.containerd.grpc.v1", "content"), None, &Cri::Absent);
        assert_eq!(
            server_version("Client:\n  Version:  1\nServer:\n  Version:  1.6.20~ds1\n  UUID: x\n").as_deref(),
            Some("1.6.20~ds1")
        );
        assert_eq!(server_version("Client:\n  Version:  1\n"), None);
    }
}
