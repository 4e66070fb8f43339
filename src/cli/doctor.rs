//! `castoff doctor`: reads every host, and says what is wrong there and what helps.
//! It changes nothing, takes no lock, and decides nothing: the findings are made in `model::doctor`.

use super::{Common, Exit, Failure, Format};
use crate::cluster::{
    config::{ClusterFile, DockerConfig, HostConfig, Ssh},
    host::client::HostClient,
    ssh::{Place, Runner, Sessions},
};
use crate::model::{
    Fault, Machine, MachineWants, ReachWant,
    doctor::{Finding, Verdict, findings, findings_without_docker},
    text,
};
use clap::Args;
use futures::future::join_all;
use serde_json::json;
use std::time::Duration;

const LOG_DEADLINE: Duration = Duration::from_secs(20);
const USUAL_FILE: &str = "/etc/docker/daemon.json";

#[derive(Args, Clone, Debug)]
pub struct MirrorOptions {
    /// As it stands in daemon.json: `https://mirror.example`
    #[arg(value_name = "URL")]
    mirror: String,
    /// An image to ask the mirror for, as the daemon would
    #[arg(long, value_name = "NAME:TAG", default_value = "library/busybox:1")]
    image: String,
    /// Only this host of the cluster file, as often as wanted [default: all; without a cluster file this machine]
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
}

/// What was read of one host.
pub struct Seen {
    pub host: String,
    /// The cluster file says that Docker is on it.
    pub has_docker: bool,
    pub machine: Machine,
    /// Why its Docker daemon could not be asked.
    pub silent: Option<Fault>,
    /// Why the mirror could not be asked from it.
    pub unreached: Option<Fault>,
    /// Lines of its Docker daemon, oldest first.
    pub log: Vec<String>,
}

pub async fn mirror(common: &Common, options: &MirrorOptions) -> Result<Exit, Failure> {
    let file = ClusterFile::find(common.cluster.as_deref())?;
    let hosts = hosts(file.as_ref(), &options.hosts)?;
    let (ssh, secrets) = file.map_or_else(|| (Ssh::default(), vec![]), |file| (file.ssh.clone(), file.secret_variables()));
    let sessions = Sessions::new(&ssh, secrets);
    let clients: Vec<(HostConfig, HostClient, Runner)> = hosts
        .into_iter()
        .map(|host| {
            let runner = Runner::new(Place::parse(&host.host)?, &sessions).with_sudo(host.sudo);
            Ok((host.clone(), HostClient::new(host, &sessions)?, runner))
        })
        .collect::<Result<_, Failure>>()?;
    let seen = join_all(clients.iter().map(|(host, client, runner)| look(host, client, runner, options))).await;
    Ok(show(&seen, &options.mirror, common.format))
}

/// Prints the findings of every host; something bad is something left to do.
pub fn show(seen: &[Seen], mirror: &str, format: Format) -> Exit {
    let of = |seen: &Seen| {
        let Seen { host, machine, silent, unreached, log, .. } = seen;
        let mut found = match unreached {
            Some(fault) if !seen.has_docker => return vec![Finding::unreached(fault)],
            _ if seen.has_docker => findings(host, machine, mirror, log),
            _ => findings_without_docker(host, machine, mirror),
        };
        if let Some((fault, way)) = unreached.as_ref().zip(found.iter_mut().find(|finding| finding.check == "connection")) {
            *way = Finding::unreached(fault);
        }
        if let Some((fault, daemon)) = silent.as_ref().zip(found.iter_mut().find(|finding| finding.check == "daemon")) {
            *daemon = Finding::silent(fault);
        }
        found
    };
    let found: Vec<(&str, Vec<Finding>)> = seen.iter().map(|seen| (seen.host.as_str(), of(seen))).collect();
    match format {
        Format::Json => {
            let hosts: Vec<_> = found.iter().map(|(host, findings)| json!({ "host": host, "findings": findings })).collect();
            println!("{}", text::json(&json!({ "v": 1, "mirror": mirror, "hosts": hosts }).to_string()));
        }
        Format::Text => {
            for (host, findings) in &found {
                println!("{}", text::clean(host));
                for finding in findings {
                    let sign = match finding.verdict {
                        Verdict::Good => '+',
                        Verdict::Note => '?',
                        Verdict::Bad => '!',
                    };
                    println!(" {sign} {:<10}  {}", finding.check, text::clean(&finding.found));
                    if let Some(hint) = &finding.hint {
                        println!("   {:<10}  hint: {}", "", text::clean(hint));
                    }
                }
            }
        }
    }
    let bad = found.iter().flat_map(|(_, findings)| findings).any(|finding| finding.verdict == Verdict::Bad);
    if bad { Exit::SomethingLeft } else { Exit::Done }
}

fn hosts(file: Option<&ClusterFile>, only: &[String]) -> Result<Vec<HostConfig>, Failure> {
    let Some(file) = file else {
        if let Some(name) = only.first() {
            let failure = Failure::new(Exit::Usage, format!("there is no cluster file that knows host `{}`", text::clean(name)));
            return Err(failure.hint("without one, and without --host, this machine is looked at"));
        }
        let docker = Some(DockerConfig::default());
        let (name, host) = ("this machine".to_owned(), "local".to_owned());
        let systemctl = vec!["systemctl".to_owned()];
        return Ok(vec![HostConfig { name, host, sudo: false, systemctl, docker, containerd: None, podman: None }]);
    };
    let all = file.machines();
    if let Some(name) = only.iter().find(|name| all.iter().all(|host| host.name != **name)) {
        let names: Vec<&str> = all.iter().map(|host| host.name.as_str()).collect();
        let failure = Failure::new(Exit::Usage, format!("the cluster file has no host `{}`", text::clean(name)));
        return Err(failure.hint(format!("it has: {}", names.join(", "))));
    }
    if all.is_empty() {
        let failure = Failure::new(Exit::Usage, "the cluster file has no hosts");
        return Err(failure.hint("write `[[hosts]]`, or give agents a `host`"));
    }
    Ok(all.into_iter().filter(|host| only.is_empty() || only.contains(&host.name)).collect())
}

/// What does not answer stays unread, and is said to be.
async fn look(host: &HostConfig, client: &HostClient, runner: &Runner, options: &MirrorOptions) -> Seen {
    let want =
        ReachWant { mirror: options.mirror.clone(), image: Some(options.image.clone()), login: false, insecure: false, ca: None };
    let daemon = MachineWants { docker: true, ..MachineWants::default() };
    let reach = MachineWants { reach: [want].into(), ..MachineWants::default() };
    let (daemon, reach, log) = tokio::join!(client.read(&daemon), client.read(&reach), async {
        let docker = host.docker.as_ref()?;
        runner.run(&docker.log, None, LOG_DEADLINE).await.ok()
    });
    let (mut machine, silent) = match daemon {
        Ok(machine) => (machine, None),
        // Its file is there without it.
        Err(fault) => (file_of(host, client).await, Some(fault)),
    };
    let unreached = match reach {
        Ok(asked) => {
            machine.reach = asked.reach;
            None
        }
        Err(fault) => Some(fault),
    };
    let log = log.map_or_else(Vec::new, |output| output.stdout.lines().map(str::to_owned).collect());
    Seen { host: host.name.clone(), has_docker: host.docker.is_some(), machine, silent, unreached, log }
}

async fn file_of(host: &HostConfig, client: &HostClient) -> Machine {
    let config = host.docker.as_ref().and_then(|docker| docker.config.clone()).unwrap_or_else(|| USUAL_FILE.to_owned());
    let file = MachineWants { files: [config].into(), ..MachineWants::default() };
    client.read(&file).await.unwrap_or_default()
}
