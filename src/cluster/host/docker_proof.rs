//! Docker on a host: it takes up its `daemon.json`, and a pull shows who served it. What proves is the line in which the
//! daemon names the endpoint that it asked last, never that no line complains.

use super::client::{HostClient, Means};
use crate::{
    cluster::{Report, docker::DockerEngine},
    model::{
        Fault, FaultKind, FileDiff, Proof,
        doctor::{LogLine, classify},
        text,
    },
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep};

/// A reload is a signal; a restart may have to end containers first.
const RELOADED_WITHIN: Duration = Duration::from_secs(15);
const RESTARTED_WITHIN: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A log comes by a pipe, and later than the answer.
const LOGGED_WITHIN: Duration = Duration::from_secs(5);

impl HostClient {
    /// Tells the daemon to read its file, and waits until it says that it uses these mirrors.
    pub(super) async fn docker_takes_up(&self, restart: bool, wanted: &[String], report: Report<'_>) -> Result<(), Fault> {
        let (config, engine) = self.docker_parts()?;
        let (verb, within) = if restart { ("restart", RESTARTED_WITHIN) } else { ("reload", RELOADED_WITHIN) };
        let what = format!("cannot {verb} Docker on `{}`", self.config.name);
        report.progress(if restart { "restarting" } else { "reloading" }, 0, 0);
        let log = self.docker_log().await.unwrap_or_default();
        let output = self.runner.run(if restart { &config.restart } else { &config.reload }, None, within).await?;
        if output.code != Some(0) {
            return Err(Fault::new(FaultKind::Lasting, what, output.last_words()));
        }
        let until = Instant::now() + within;
        loop {
            let found = engine.mirrors().await;
            match &found {
                Ok(mirrors) if mirrors == wanted => return Ok(()),
                Err(fault) if Instant::now() >= until => return Err(fault.clone()),
                Ok(_) if Instant::now() >= until => {
                    let used = found.unwrap_or_default().join(", ");
                    return Err(Fault::new(FaultKind::Lasting, what, format!("its daemon goes on with `{used}`"))
                        .hint("its log says why: castoff doctor mirror"));
                }
                _ => {}
            }
            // A daemon that refuses its file goes on as before and says so in its log alone.
            let new = self.docker_log().await.unwrap_or_default();
            let refused = new.difference(&log).find_map(|line| match classify(line) {
                Some(LogLine::Rejected { error }) => Some(error),
                _ => None,
            });
            if let Some(error) = refused {
                return Err(Fault::new(FaultKind::Lasting, what, format!("it refuses the file: {error}")));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Pulls the image; the daemon debugs meanwhile, for only then it names each endpoint that it asks.
    pub(super) async fn docker_proves(
        &self,
        proof: &Proof,
        file: &FileDiff,
        means: &Means<'_>,
        report: Report<'_>,
    ) -> Result<(), Fault> {
        let [on, off, ..] = file.between.as_slice() else {
            // It debugs anyway.
            return self.docker_pulls(proof, report).await;
        };
        let (_, engine) = self.docker_parts()?;
        let used = engine.mirrors().await?;
        self.files(means).put_between(file, on).await?;
        let proven = match self.docker_takes_up(false, &used, report).await {
            Ok(()) => self.docker_pulls(proof, report).await,
            Err(fault) => Err(fault),
        };
        // However it ended, it is as it was; a reload keeps what a file does not name.
        self.files(means).put_between(file, off).await?;
        self.docker_takes_up(false, &used, report).await?;
        self.files(means).put(std::slice::from_ref(file)).await?;
        proven
    }

    async fn docker_pulls(&self, proof: &Proof, report: Report<'_>) -> Result<(), Fault> {
        let (_, engine) = self.docker_parts()?;
        let what = format!("cannot prove the mirror on `{}`", self.config.name);
        report.progress("proving", 0, 0);
        let held = engine.holds(&proof.image).await?;
        let log = self.docker_log().await?;
        let pulled = engine.pull_by_name(&proof.image, report).await;
        let until = Instant::now() + LOGGED_WITHIN;
        let served = loop {
            let new = self.docker_log().await?;
            let served = served(new.difference(&log).map(String::as_str), proof);
            if served.is_some() || Instant::now() >= until {
                break served;
            }
            sleep(LOOK_EVERY).await;
        };
        if !held && pulled.is_ok() {
            engine.forget(&proof.image).await?;
        }
        pulled?;
        let image = proof.image.familiar();
        match served {
            Some(Served { by, .. }) if is_of(&by, &proof.mirror) => {
                report.told(&format!("{image} was served by {}", proof.mirror));
                Ok(())
            }
            Some(Served { by, passed }) => {
                let why = passed.map_or_else(String::new, |why| format!(": {why}"));
                Err(Fault::new(FaultKind::Lasting, what, format!("{image} came from {by}, and not from the mirror{why}"))
                    .hint("castoff doctor mirror looks for the reason"))
            }
            None => Err(Fault::new(FaultKind::Lasting, what, format!("its log names nobody who served {image}"))
                .hint("name the command that prints the daemon's log as `log` of its section in the cluster file")),
        }
    }

    /// The newest lines of the daemon's log. Each has its time to the nanosecond: what is not in an earlier look is new.
    async fn docker_log(&self) -> Result<BTreeSet<String>, Fault> {
        let (config, _) = self.docker_parts()?;
        let output = self.runner.run(&config.log, None, Duration::from_secs(20)).await?;
        if output.code != Some(0) {
            let what = format!("cannot read Docker's log on `{}`", self.config.name);
            return Err(Fault::new(FaultKind::Lasting, what, output.last_words()));
        }
        Ok(output.stdout.lines().map(str::to_owned).collect())
    }

    pub(super) fn docker_parts(&self) -> Result<(&crate::cluster::config::DockerConfig, &DockerEngine), Fault> {
        let parts = self.config.docker.as_ref().zip(self.engine.as_ref());
        parts.ok_or_else(|| self.without("docker"))
    }
}

/// Who was asked last, and why the mirror was passed over.
struct Served {
    by: String,
    passed: Option<String>,
}

/// Out of the lines of one pull, which are in the order of their time.
fn served<'a>(lines: impl Iterator<Item = &'a str>, proof: &Proof) -> Option<Served> {
    let mut served: Option<Served> = None;
    let name = proof.image.repository.rsplit('/').next().unwrap_or_default();
    for line in lines {
        match classify(line) {
            Some(LogLine::Trying { from }) if line.contains(name) => {
                let passed = served.take().and_then(|before| before.passed);
                served = Some(Served { by: from, passed });
            }
            Some(LogLine::Passed { error, .. }) => {
                if let Some(served) = &mut served {
                    served.passed = Some(text::clean(&error));
                }
            }
            _ => {}
        }
    }
    served
}

/// Whether an endpoint (`host:port`) is that of a mirror, with the port of its scheme where none is written.
fn is_of(endpoint: &str, mirror: &str) -> bool {
    let (scheme, rest) = mirror.split_once("://").unwrap_or(("https", mirror));
    let port = if scheme == "http" { "80" } else { "443" };
    let whole = |host: &str| {
        if host.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok()) {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        }
    };
    whole(endpoint) == whole(rest.split('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Prover;

    fn proof() -> Proof {
        let image = "docker.io/library/busybox:1".parse().unwrap();
        Proof { by: Prover::Docker, image, mirror: "https://mirror.example/".to_owned() }
    }

    #[test]
    fn who_was_asked_last_served_it() {
        let line = |n: u32, rest: &str| format!("time=\"2026-11-22T02:00:00.{n:09}Z\" level=debug msg=\"{rest}\"");
        let mirror = line(1, "Trying to pull busybox from https://mirror.example/ v2");
        let passed = line(2, "Attempting next endpoint for pull after error: manifest unknown: manifest unknown");
        let hub = line(3, "Trying to pull busybox from https://registry-1.docker.io v2");
        let of = |lines: &[&String]| served(lines.iter().map(|line| line.as_str()), &proof());
        assert!(is_of(&of(&[&mirror]).unwrap().by, &proof().mirror));
        let other = of(&[&mirror, &passed, &hub]).unwrap();
        assert!(!is_of(&other.by, &proof().mirror));
        assert_eq!(other.passed.as_deref(), Some("manifest unknown: manifest unknown"));
        assert!(of(&[&line(4, "Trying to pull alpine from https://mirror.example/ v2")]).is_none());
    }

    #[test]
    fn a_port_that_is_not_written_is_that_of_the_scheme() {
        assert!(is_of("mirror.example", "https://mirror.example:443/"));
        assert!(is_of("127.0.0.1:5000", "http://127.0.0.1:5000/"));
        assert!(!is_of("mirror.example:5000", "https://mirror.example/"));
        assert!(!is_of("registry-1.docker.io", "https://mirror.example/"));
    }
}
