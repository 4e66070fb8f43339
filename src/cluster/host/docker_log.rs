//! The log of a Docker daemon: what it wrote since a moment of its own clock, and who served a pull.
//! A line without a time is never taken for a new one.

use super::client::HostClient;
use crate::cluster::config::DockerConfig;
use crate::model::{
    Fault, FaultKind, Proof,
    doctor::{LogLine, classify, written_at},
    text,
};
use jiff::Timestamp;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

impl HostClient {
    /// The newest lines of the daemon's log, written since then.
    pub(super) async fn docker_log(&self, since: Timestamp) -> Result<Vec<String>, Fault> {
        let (config, _) = self.docker_parts()?;
        let output = self.runner.run(&bounded(&config.log, since), None, DEADLINE).await?;
        if output.code != Some(0) {
            let what = format!("cannot read Docker's log on `{}`", self.config.name);
            return Err(Fault::new(FaultKind::Lasting, what, output.last_words()));
        }
        Ok(output.stdout.lines().filter(|line| is_since(line, since)).map(str::to_owned).collect())
    }
}

/// The usual command prints the newest lines alone: on a busy host ours would not be among them.
fn bounded(command: &[String], since: Timestamp) -> Vec<String> {
    let mut words = command.to_vec();
    if command == DockerConfig::default().log
        && since > Timestamp::UNIX_EPOCH
        && let Some(at) = words.iter().position(|word| word == "--lines")
    {
        words.splice(at..at + 2, ["--since".to_owned(), format!("@{}", since.as_second())]);
    }
    words
}

fn is_since(line: &str, since: Timestamp) -> bool {
    written_at(line).and_then(|time| time.parse::<Timestamp>().ok()).is_some_and(|time| time >= since)
}

/// Who was asked last, and why the mirror was passed over.
pub(super) struct Served {
    pub by: String,
    pub passed: Option<String>,
}

impl Served {
    pub fn is_by(&self, mirror: &str) -> bool {
        is_of(&self.by, mirror)
    }
}

/// Out of the lines of one pull, which are in the order of their time.
pub(super) fn served(lines: &[String], proof: &Proof) -> Option<Served> {
    let mut served: Option<Served> = None;
    let name = proof.image.repository.rsplit('/').next().unwrap_or_default();
    for line in lines {
        match classify(line) {
            Some(LogLine::Trying { from }) if line.contains(name) => {
                let passed = served.take().and_then(|before| before.passed);
                served = Some(Served { by: from, passed });
            }
            Some(LogLine::Passed { error, .. }) => match &mut served {
                // The first one was asked first: that is the mirror.
                Some(Served { passed: passed @ None, .. }) => *passed = Some(text::clean(&error)),
                Some(_) => {}
                // It did not come to asking for an image.
                None => served = Some(Served { by: String::new(), passed: Some(text::clean(&error)) }),
            },
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

    fn line(n: u32, rest: &str) -> String {
        format!("time=\"2026-11-22T02:00:00.{n:09}Z\" level=debug msg=\"{rest}\"")
    }

    fn of(lines: &[&String]) -> Option<Served> {
        served(&lines.iter().map(|line| (*line).clone()).collect::<Vec<_>>(), &proof())
    }

    #[test]
    fn who_was_asked_last_served_it() {
        let mirror = line(1, "Trying to pull busybox from https://mirror.example/ v2");
        let passed = line(2, "Attempting next endpoint for pull after error: manifest unknown: manifest unknown");
        let hub = line(3, "Trying to pull busybox from https://registry-1.docker.io v2");
        assert!(of(&[&mirror]).unwrap().is_by(&proof().mirror));
        let other = of(&[&mirror, &passed, &hub]).unwrap();
        assert!(!other.is_by(&proof().mirror));
        assert_eq!(other.passed.as_deref(), Some("manifest unknown: manifest unknown"));
        assert!(of(&[&line(4, "Trying to pull alpine from https://mirror.example/ v2")]).is_none());
    }

    #[test]
    fn the_containerd_store_tells_it_by_its_requests() {
        let asked = |n, status: &str, host: &str| {
            let url = format!("https://{host}/v2/library/busybox/manifests/1?ns=docker.io");
            let rest = format!("fetch response received\" host={host} response.status=\"{status}\" url=\"{url}");
            line(n, &rest)
        };
        let (good, hub) = (asked(1, "200 OK", "mirror.example"), asked(2, "200 OK", "registry-1.docker.io"));
        assert!(of(&[&good]).unwrap().is_by(&proof().mirror));
        assert!(!of(&[&asked(1, "404 Not Found", "mirror.example"), &hub]).unwrap().is_by(&proof().mirror));
    }

    #[test]
    fn only_what_was_written_since_counts() {
        let since = "2026-11-22T02:00:00.000000002Z".parse().unwrap();
        assert!(!is_since(&line(1, "x"), since));
        assert!(is_since(&line(2, "x"), since));
        assert!(is_since("time=\"2026-11-22T04:00:00.5+02:00\" level=info msg=x", since));
        assert!(!is_since("msg=x", since));
    }

    #[test]
    fn the_usual_log_is_read_from_the_pull_on_and_any_other_as_it_is_written() {
        let (usual, since) = (DockerConfig::default().log, "2026-11-22T02:00:00.5Z".parse().unwrap());
        let words = bounded(&usual, since);
        assert!(words.join(" ").contains("--unit docker --since @1795312800 --output cat"), "{words:?}");
        assert!(!words.contains(&"--lines".to_owned()));
        assert_eq!(bounded(&usual, Timestamp::MIN), usual);
        let own = ["tail", "--lines", "2000", "/x"].map(str::to_owned);
        assert_eq!(bounded(&own, since), own);
    }

    #[test]
    fn a_port_that_is_not_written_is_that_of_the_scheme() {
        assert!(is_of("mirror.example", "https://mirror.example:443/"));
        assert!(is_of("127.0.0.1:5000", "http://127.0.0.1:5000/"));
        assert!(!is_of("mirror.example:5000", "https://mirror.example/"));
        assert!(!is_of("registry-1.docker.io", "https://mirror.example/"));
    }
}
