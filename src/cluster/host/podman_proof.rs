//! podman on a host: a pull shows who served it. What proves is the line in which podman names the place that it asked last,
//! never that no line complains.

use super::client::HostClient;
use crate::{
    cluster::{Report, ssh::Output},
    model::{Fault, FaultKind, Proof, text},
};
use std::time::Duration;

const ASKED_WITHIN: Duration = Duration::from_secs(30);
const PULLED_WITHIN: Duration = Duration::from_mins(10);

impl HostClient {
    /// Pulls the image by its name. Whatever the name meant before it means afterwards.
    pub(super) async fn podman_proves(&self, proof: &Proof, report: Report<'_>) -> Result<(), Fault> {
        let name = proof.image.to_string();
        report.progress("proving", 0, 0);
        let held = self.podman_holds(&name).await?;
        let pulled = self.podman(&["--log-level=debug", "pull", "--", &name], PULLED_WITHIN).await?;
        let served = served(&pulled.stderr);
        if pulled.code == Some(0) {
            self.podman_gives_back(&name, held.as_deref()).await?;
        }
        let fault =
            |why: String| Fault::new(FaultKind::Lasting, format!("cannot prove the mirror on `{}`", self.config.name), why);
        if pulled.code != Some(0) {
            let error = pulled.stderr.lines().rev().find_map(|line| line.strip_prefix("Error: "));
            return Err(fault(error.map_or_else(|| pulled.last_words(), str::to_owned)));
        }
        let image = proof.image.familiar();
        let wanted = proof.mirror.split_once("://").map_or(proof.mirror.as_str(), |(_, rest)| rest).trim_end_matches('/');
        let wanted = format!("{wanted}/{}:{}", proof.image.repository, proof.image.tag);
        match served {
            Some(Served { by, .. }) if by == wanted => {
                report.told(&format!("{image} was served by {}", proof.mirror));
                Ok(())
            }
            Some(Served { by, passed }) => {
                let why = passed.map_or_else(String::new, |why| format!(": {why}"));
                Err(fault(format!("{image} came from {}, and not from the mirror{why}", text::clean(&by))))
            }
            None => Err(fault(format!("podman names nobody who served {image}")).hint(
                "a podman that only asks another machine tells nothing: name the one that pulls as `podman` in the cluster file",
            )),
        }
    }

    /// The image that has this name there.
    async fn podman_holds(&self, name: &str) -> Result<Option<String>, Fault> {
        let output = self.podman(&["image", "inspect", "--format", "{{.Id}}", "--", name], ASKED_WITHIN).await?;
        match output.code {
            Some(0) => Ok(Some(output.stdout.trim().to_owned())),
            _ if ["not known", "no such image"].iter().any(|words| output.stderr.contains(words)) => Ok(None),
            _ => Err(Fault::new(FaultKind::Lasting, format!("cannot ask podman on `{}`", self.config.name), output.last_words())),
        }
    }

    async fn podman_gives_back(&self, name: &str, held: Option<&str>) -> Result<(), Fault> {
        let Some(held) = held else {
            return self.podman_does(&["rmi", "--", name]).await;
        };
        let Some(new) = self.podman_holds(name).await?.filter(|new| new != held) else { return Ok(()) };
        self.podman_does(&["tag", "--", held, name]).await?;
        // With another name it was there before, and stays.
        self.podman(&["rmi", "--", &new], ASKED_WITHIN).await.map(drop)
    }

    async fn podman_does(&self, arguments: &[&str]) -> Result<(), Fault> {
        let output = self.podman(arguments, ASKED_WITHIN).await?;
        if output.code == Some(0) {
            return Ok(());
        }
        let what = format!("cannot take the image of the proof from `{}`", self.config.name);
        Err(Fault::new(FaultKind::Lasting, what, output.last_words()))
    }

    async fn podman(&self, arguments: &[&str], within: Duration) -> Result<Output, Fault> {
        let config = self.config.podman.as_ref().ok_or_else(|| self.without("podman"))?;
        let words: Vec<String> = config.podman.iter().cloned().chain(arguments.iter().map(|word| (*word).to_owned())).collect();
        self.runner.run(&words, None, within).await
    }
}

/// Who was asked last, and why the one before was passed over.
struct Served {
    /// `mirror.example/infra/library/busybox:1`
    by: String,
    passed: Option<String>,
}

/// Out of the debug lines of one pull that went well, in their order.
fn served(lines: &str) -> Option<Served> {
    let mut served: Option<Served> = None;
    for line in lines.lines() {
        if let Some((_, rest)) = line.split_once("msg=\"Trying to access \\\"") {
            let by = rest.split("\\\"").next().unwrap_or_default().to_owned();
            let passed = served.take().and_then(|before| before.passed);
            served = Some(Served { by, passed });
        } else if let Some((_, rest)) = line.split_once("msg=\"Accessing \\\"")
            && let (Some(served), Some((_, why))) = (&mut served, rest.split_once("failed: "))
        {
            served.passed = Some(text::clean(why.trim_end_matches('"')));
        }
    }
    served
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_asked_last_served_it() {
        let line = |words: &str| format!("time=\"2026-11-22T00:12:58Z\" level=debug msg=\"{words}\"\n");
        let mirror = line("Trying to access \\\"m.example:5000/infra/library/busybox:1\\\"");
        let failed = line("Accessing \\\"m.example:5000/infra/library/busybox:1\\\" failed: pinging: connection refused");
        let hub = line("Trying to access \\\"docker.io/library/busybox:1\\\"");
        let all = format!("Trying to pull docker.io/library/busybox:1...\n{mirror}{failed}{hub}");
        let found = served(&all).unwrap();
        assert_eq!(found.by, "docker.io/library/busybox:1");
        assert_eq!(found.passed.as_deref(), Some("pinging: connection refused"));
        assert_eq!(served(&mirror).unwrap().by, "m.example:5000/infra/library/busybox:1");
        assert!(served("Trying to pull docker.io/library/busybox:1...\n").is_none());
    }
}
