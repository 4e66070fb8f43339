//! containerd on a host: it is restarted where it has to be, and a pull shows who served it. What tells that it is well is its
//! CRI plugin and never its unit, which stays active without it. No image of anybody is touched: the pull has a namespace of
//! its own.

use super::{
    client::{HostClient, Means},
    containerd, cri, program,
};
use crate::{
    cluster::{Report, config::ContainerdConfig, ssh::Output},
    model::{ContainerdDaemon, Cri, Fault, FaultKind, FileDiff, Proof, TakenUp, containerd_config::at_least, text},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep};

/// Every shim is found again before it answers.
const RESTARTED_WITHIN: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const PULLED_WITHIN: Duration = Duration::from_mins(5);
/// As long as what a broken pull left half written stays in the way of the next one.
const HALF_WRITTEN: Duration = Duration::from_secs(2);
/// Of the pulls that prove.
const NAMESPACE: &str = "castoff-proof";
/// Of the images of Kubernetes.
const OF_CRI: &str = "k8s.io";

impl HostClient {
    /// Asks, before a restart, what a configuration that was just written comes to with all that it imports. What would not be
    /// used, or would end the CRI plugin, is given back.
    pub(super) async fn containerd_agrees(&self, files: &[FileDiff], wanted: &str, means: &Means<'_>) -> Result<(), Fault> {
        let config = self.containerd_config()?;
        let fault = |why: String| {
            let what = format!("`{}` of `{}` as castoff wrote it", config.config, self.config.name);
            Fault::new(FaultKind::Lasting, what, format!("{why}; the files are as they were, and nothing was restarted"))
        };
        let refused = match containerd::dump(&self.runner, config).await {
            Ok(dumped) if dumped.config_path != wanted => {
                let why =
                    format!("`containerd config dump` goes on with `{}` as `config_path`", text::clean(&dumped.config_path));
                fault(why).hint("a file that it imports sets it too: take it out there, then plan again")
            }
            Ok(dumped) if !dumped.mirrors.is_empty() => {
                let mirrors = dumped.mirrors.join(", ");
                fault(format!("`mirrors` are set for {mirrors}: together with `config_path` the CRI plugin refuses to start"))
            }
            Ok(_) => return Ok(()),
            Err(why) if why.kind == FaultKind::Lasting => fault(why.why),
            Err(why) => return Err(why),
        };
        self.files(means).restore(files).await?;
        Err(refused)
    }

    /// Restarts it, and waits until it answers, its CRI plugin is well, and it uses this folder. On the way back only what the
    /// process itself says spares it that: its file was written a moment ago.
    pub(super) async fn containerd_takes_up(&self, wanted: &str, forward: bool, report: Report<'_>) -> Result<(), Fault> {
        let config = self.containerd_config()?;
        let what = format!("cannot restart containerd on `{}`", self.config.name);
        let fault = |why: String| Fault::new(FaultKind::Lasting, &what, why);
        let uses = |found: &ContainerdDaemon| found.config_path == wanted && found.taken_up.is_so();
        // An attempt that was cut off may have been far enough.
        let already = if forward {
            containerd::read(&self.runner, config).await.is_ok_and(|found| uses(&found) && found.cri == Cri::Ok)
        } else {
            containerd::used(&self.runner, &config.socket).await.as_deref() == Some(wanted)
        };
        if already {
            return Ok(());
        }
        report.progress("restarting", 0, 0);
        let output = self.runner.run(&config.restart, None, RESTARTED_WITHIN).await?;
        if output.code != Some(0) {
            return Err(fault(output.last_words()));
        }
        let until = Instant::now() + RESTARTED_WITHIN;
        loop {
            let found = containerd::read(&self.runner, config).await;
            let late = Instant::now() >= until;
            match found {
                Ok(found) => match &found.cri {
                    Cri::Ok if uses(&found) => return Ok(()),
                    // Plugins are loaded before it answers: what has failed stays so until the next start.
                    Cri::Failed(why) => {
                        return Err(fault(format!("it runs, but its CRI plugin has failed: {why}"))
                            .hint("kubelet has no image service now: roll back, which restarts it with the file as it was"));
                    }
                    Cri::Ok if late => {
                        let used = match &found.taken_up {
                            TakenUp::Yes => found.config_path.as_str(),
                            TakenUp::Uses(path) => path,
                            TakenUp::Unknown => return Err(fault("its socket is older than its configuration".to_owned())),
                        };
                        return Err(fault(format!("it goes on with `{used}` as `config_path`"))
                            .hint("another file that it imports may set it: containerd config dump"));
                    }
                    Cri::Absent if late => return Err(fault("it runs without its CRI plugin".to_owned())),
                    _ => {}
                },
                Err(why) if late => return Err(why),
                Err(_) => {}
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Pulls the image by `ctr` with the folder of the change, then, where there is a CRI plugin, as kubelet does.
    pub(super) async fn containerd_proves(&self, proof: &Proof, files: &[FileDiff], report: Report<'_>) -> Result<(), Fault> {
        let config = self.containerd_config()?;
        let what = format!("cannot prove the mirror on `{}`", self.config.name);
        let fault = |why: String| Fault::new(FaultKind::Lasting, &what, why);
        let folder =
            files.iter().find_map(|diff| diff.path.strip_suffix("/hosts.toml")?.rsplit_once('/')).map(|(folder, _)| folder);
        let folder = folder.ok_or_else(|| fault("it has no `hosts.toml`".to_owned()))?;
        report.progress("proving", 0, 0);
        let daemon = containerd::read(&self.runner, config).await?;
        let image = proof.image.familiar();
        self.clear(config, proof).await;
        let mut pulled = self.pull(config, &daemon.version, folder, proof).await;
        if pulled.as_ref().is_ok_and(|output| output.stderr.contains("failed size validation")) {
            sleep(HALF_WRITTEN).await;
            pulled = self.pull(config, &daemon.version, folder, proof).await;
        }
        self.clear(config, proof).await;
        let output = pulled?;
        let served = served(&output.stderr, &proof.mirror);
        if let Some((by, why)) = served.other {
            let why = why.or(served.passed).map_or_else(String::new, |why| format!(": {why}"));
            return Err(fault(format!("{image} came from {by}, and not from the mirror{why}"))
                .hint("look at how the mirror answers from this host: castoff plan containerd-mirror, and its log"));
        }
        if output.code != Some(0) {
            return Err(fault(format!("{image} could not be pulled: {}", text::clean(&output.last_words()))));
        }
        if !served.mirror {
            return Err(fault(format!("`ctr` names nobody who served {image}")));
        }
        let by_cri = if daemon.cri == Cri::Ok { self.cri_pulls(config, proof).await? } else { "" };
        report.told(&format!("{image} was served by {}{by_cri}", proof.mirror));
        Ok(())
    }

    async fn pull(&self, config: &ContainerdConfig, version: &str, folder: &str, proof: &Proof) -> Result<Output, Fault> {
        let image = proof.image.to_string();
        let mut words = vec!["--address", &config.socket, "-n", NAMESPACE, "--debug", "images", "pull", "--hosts-dir", folder];
        // From 1.7 on the daemon may pull for it, and then nothing tells whom it asked.
        if at_least(version, (1, 7, 0)) {
            words.push("--local");
        }
        words.push(&image);
        let words: Vec<String> = config.ctr.iter().cloned().chain(words.into_iter().map(str::to_owned)).collect();
        self.runner.run(&words, None, PULLED_WITHIN).await
    }

    /// Takes the image of the proof and its namespace away; what is not there is no trouble.
    async fn clear(&self, config: &ContainerdConfig, proof: &Proof) {
        let image = proof.image.to_string();
        let ctr = |rest: &[&str]| {
            let whole = [&["--address", config.socket.as_str()], rest].concat();
            let whole: Vec<String> = config.ctr.iter().cloned().chain(whole.into_iter().map(str::to_owned)).collect();
            async move { self.runner.run(&whole, None, Duration::from_secs(30)).await.ok() }
        };
        let known = ctr(&["namespaces", "ls", "-q"]).await;
        if known.is_some_and(|known| known.code == Some(0) && !known.stdout.lines().any(|name| name.trim() == NAMESPACE)) {
            return;
        }
        ctr(&["-n", NAMESPACE, "images", "rm", "--sync", &image]).await;
        // Whatever a pull that failed or was killed has fetched goes when a lease goes.
        ctr(&["-n", NAMESPACE, "leases", "create", "--id", NAMESPACE]).await;
        let leases = ctr(&["-n", NAMESPACE, "leases", "ls", "-q"]).await.map(|output| output.stdout).unwrap_or_default();
        for lease in leases.lines().map(str::trim).filter(|lease| !lease.is_empty()) {
            ctr(&["-n", NAMESPACE, "leases", "rm", "--sync", lease]).await;
        }
        ctr(&["namespaces", "rm", NAMESPACE]).await;
    }

    /// The same image by the CRI plugin, which reads `config_path` by itself. What the pull adds is taken away again, by name;
    /// where the host has that name already, a pull might move it, so there is none.
    async fn cri_pulls(&self, config: &ContainerdConfig, proof: &Proof) -> Result<&'static str, Fault> {
        let what = format!("cannot prove the mirror on `{}`", self.config.name);
        let Ok(socket) = self.runner.forward(&config.socket).await else { return Ok(NOT_ASKED) };
        let Some(service) = cri::Service::open(&socket).await else { return Ok(NOT_ASKED) };
        let image = proof.image.to_string();
        let before = self.names(config).await?;
        if before.contains(&image) {
            return Ok(THERE);
        }
        let pulled = service.pull(&image).await;
        let digests = format!("{}/{}@", proof.image.registry, proof.image.repository);
        let id = pulled.as_ref().map_or("", String::as_str);
        let after = self.names(config).await?;
        let ours = |name: &&String| **name == image || name.starts_with(&digests) || *name == id;
        let added: Vec<&str> = after.difference(&before).filter(ours).map(String::as_str).collect();
        if !added.is_empty() {
            let words = [&["--address", config.socket.as_str(), "-n", OF_CRI, "images", "rm", "--sync"], &added[..]].concat();
            program(&self.runner, &config.ctr, &words).await?;
        }
        match pulled {
            Ok(_) => Ok("; its CRI plugin pulls it as well"),
            Err(why) => {
                let why = format!("its CRI plugin cannot pull {}: {}", proof.image.familiar(), text::clean(&why));
                Err(Fault::new(FaultKind::Lasting, what, why))
            }
        }
    }

    async fn names(&self, config: &ContainerdConfig) -> Result<BTreeSet<String>, Fault> {
        let words = ["--address", config.socket.as_str(), "-n", OF_CRI, "images", "ls", "-q"];
        Ok(program(&self.runner, &config.ctr, &words).await?.lines().map(|name| name.trim().to_owned()).collect())
    }

    fn containerd_config(&self) -> Result<&ContainerdConfig, Fault> {
        self.config.containerd.as_ref().ok_or_else(|| self.without("containerd"))
    }
}

/// Its socket belongs to root, and whoever castoff is there is not.
const NOT_ASKED: &str = "; its CRI plugin could not be asked to pull it";
const THERE: &str = "; its CRI plugin was not asked to pull it: the host has an image of that name";

/// Who gave anything, out of the lines of one pull.
#[derive(Debug, Default, PartialEq, Eq)]
struct Served {
    /// The mirror did.
    mirror: bool,
    /// Somebody else did, and why, as far as it was said at once.
    other: Option<(String, Option<String>)>,
    /// Why the mirror was passed over at last.
    passed: Option<String>,
}

/// `ctr --debug` has a line for each answer, with address and status. Of the tag and of every part the answer counts, and
/// not who was asked.
fn served(said: &str, mirror: &str) -> Served {
    let mut served = Served::default();
    for line in said.lines() {
        let of_mirror = |line: &str| {
            let host = field(line, "url").and_then(|url| host(&url)).or_else(|| field(line, "host"));
            host.map(|name| (is_of(&name, mirror), name))
        };
        match field(line, "msg").as_deref() {
            Some("fetch response received") => {
                let status = field(line, "response.status").unwrap_or_default();
                let Some((ours, name)) = of_mirror(line) else { continue };
                match (ours, status.starts_with('2')) {
                    (true, true) => served.mirror = true,
                    (true, false) => served.passed = Some(format!("it answered with HTTP {}", text::clean(&status))),
                    (false, true) => served.other = served.other.or(Some((text::clean(&name), served.passed.clone()))),
                    (false, false) => {}
                }
            }
            // It did not answer at all, or its folder could not be read.
            Some(words) if words.starts_with("trying next host") && !words.contains("response was") => {
                let error = field(line, "error");
                served.passed = error.map(|error| text::clean(&error)).or(served.passed);
            }
            Some(words) if words.starts_with("failed to decode") => served.passed = Some(text::clean(words)),
            _ => {}
        }
    }
    served
}

/// One value of a line as logrus writes it: `name=word` or `name="with \"quotes\""`.
fn field(line: &str, name: &str) -> Option<String> {
    let start = format!(" {name}=");
    let rest = line.split_once(&start)?.1;
    let Some(quoted) = rest.strip_prefix('"') else {
        return Some(rest.split(' ').next().unwrap_or_default().to_owned());
    };
    let (mut out, mut escaped) = (String::new(), false);
    for c in quoted.chars() {
        match (c, escaped) {
            ('\\', false) => escaped = true,
            ('"', false) => return Some(out),
            (c, _) => {
                out.push(c);
                escaped = false;
            }
        }
    }
    None
}

/// `https://m.example:5000/v2/…` as `m.example:5000`, with the port that the scheme says where none is written.
fn host(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = if scheme == "http" { "80" } else { "443" };
    Some(if has_port { host.to_owned() } else { format!("{host}:{port}") })
}

fn is_of(name: &str, mirror: &str) -> bool {
    let scheme = mirror.split_once("://").map_or("https", |(scheme, _)| scheme);
    host(&format!("{scheme}://{name}")) == host(mirror)
}
