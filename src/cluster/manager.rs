//! One Backend.AI manager: its service, its version, its own command line.
//! It never trusts an exit code of that command line: 0 after a failure and a crash after a success both happen.

mod refusals;

use super::{
    config::ManagerConfig,
    ssh::{Output, Place, Runner, Sessions, root_cause},
};
use crate::model::{Era, Fault, FaultKind, Refusal, Service, text};
use reqwest::{Client, Url, redirect};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

const ASK: Duration = Duration::from_secs(30);
/// A service command; what it starts is waited for separately.
const SERVICE_COMMAND: Duration = Duration::from_mins(2);
const SERVICE_WAIT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(500);
const RESCAN: Duration = Duration::from_mins(30);
/// What manager.toml means when it does not say otherwise.
const IMPORTER_IMAGE: &str = "lablup/importer:manylinux2010";

pub struct ManagerClient {
    config: ManagerConfig,
    runner: Runner,
    api: Option<(Client, Url)>,
}

impl ManagerClient {
    pub fn new(config: &ManagerConfig, sessions: &Arc<Sessions>) -> Result<Self, Fault> {
        let runner = Runner::new(Place::parse(&config.host)?, sessions);
        let api = config.api.as_deref().map(|url| api_client(&config.name, url)).transpose()?;
        Ok(Self { config: config.clone(), runner, api })
    }

    /// By the status command alone: 0 is running, anything else stopped.
    pub async fn service_state(&self) -> Result<Service, Fault> {
        let words = &self.config.service.status;
        let output = self.runner.run(words, None, ASK).await.map_err(|fault| self.told(&fault, "cannot ask"))?;
        match output.code {
            Some(0) => Ok(Service::Running),
            // The shell's own codes, and systemctl's for a unit that it does not know.
            Some(126 | 127) => Err(self.fault(FaultKind::Missing, "cannot ask", &output.last_words())),
            Some(4) => Err(self
                .fault(FaultKind::Missing, "cannot ask", "the service manager knows no such service")
                .hint("correct `service` of this manager in the cluster file")),
            Some(_) => Ok(Service::Stopped),
            None => Err(self.fault(FaultKind::Passing, "cannot ask", "its status command was ended by a signal")),
        }
    }

    /// Starts the service and waits until its API answers, or its status where there is no API.
    pub async fn start(&self) -> Result<(), Fault> {
        self.command(&self.config.service.start, "cannot start").await?;
        self.wait("cannot start", "it does not answer within 90 s of its start", true).await
    }

    /// Stops the service and waits until neither its status nor its API says that it runs.
    pub async fn stop(&self) -> Result<(), Fault> {
        self.command(&self.config.service.stop, "cannot stop").await?;
        self.wait("cannot stop", "it still answers 90 s after it was stopped", false).await
    }

    /// As it says it itself: from its API, else from the Python that its command line runs in.
    pub async fn version(&self) -> Result<String, Fault> {
        if let Some(version) = self.api_version().await {
            return Ok(version);
        }
        let script = r#"p=$(command -v "$1") && p=$(readlink -f "$p") || { echo "$1: not found" >&2; exit 127; }
for python in python python3; do
  [ ! -x "${p%/*}/$python" ] || exec "${p%/*}/$python" -c "$2"
done
echo "there is no Python beside $p" >&2; exit 127"#;
        let question = "import ai.backend.manager as m; print(m.__version__)";
        let program = self.config.cli.first().map_or("", String::as_str);
        let words = ["sh", "-c", script, "sh", program, question].map(str::to_owned);
        let folder = Some(self.config.working_dir.as_str());
        let output =
            self.runner.run(&words, folder, ASK).await.map_err(|fault| self.told(&fault, "cannot tell the version of"))?;
        let said = output.stdout.lines().last().map(text::clean).unwrap_or_default();
        if output.code == Some(0) && said.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(said);
        }
        let words = format!("its API does not answer, and `{program}` does not tell: {}", output.last_words());
        Err(self.fault(FaultKind::Lasting, "cannot tell the version of", &words))
    }

    /// Has the manager read a registry. Gives back what it complained about; what it achieved has to be looked at.
    pub async fn rescan(&self, era: Era, registry: &str) -> Result<Vec<String>, Fault> {
        let words: Vec<String> = self.config.cli.iter().cloned().chain(era.rescan_words(registry)).collect();
        // One that goes on while castoff is gone would write into what a rollback has just put back.
        let output = self.runner.run_tied(&words, Some(&self.config.working_dir), RESCAN).await;
        let output = output.map_err(|fault| self.told(&fault, "cannot rescan on"))?;
        Ok(complaints(&output))
    }

    /// `importer-image` of manager.toml; `None` where the file cannot be read.
    pub async fn importer_image(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct File {
            manager: Option<Section>,
        }
        #[derive(serde::Deserialize)]
        struct Section {
            #[serde(rename = "importer-image")]
            importer_image: Option<String>,
        }
        let words = ["cat", "--", "manager.toml"].map(str::to_owned);
        let output = self.runner.run(&words, Some(&self.config.working_dir), ASK).await.ok()?;
        // The file holds passwords: everything but the one line is dropped here, and so is the parser's error.
        let file: File = (output.code == Some(0)).then(|| toml::from_str(&output.stdout).ok()).flatten()?;
        let named = file.manager.and_then(|section| section.importer_image);
        Some(named.map_or_else(|| IMPORTER_IMAGE.to_owned(), |image| text::clean(&image)))
    }

    /// The sessions that its log says were refused for their image. The log's times are of the manager's own zone.
    pub async fn refusals(&self) -> Result<Vec<Refusal>, Fault> {
        let verb = "cannot read the log of";
        let date = ["date", "+%z"].map(str::to_owned);
        let (zone, log) = tokio::join!(
            self.runner.run(&date, None, ASK),
            self.runner.run(&self.config.log, Some(&self.config.working_dir), ASK),
        );
        let output = log.map_err(|fault| self.told(&fault, verb))?;
        if output.code != Some(0) {
            let hint = "`log` of this manager in the cluster file names a command that prints its newest lines";
            return Err(self.fault(FaultKind::Lasting, verb, &output.last_words()).hint(hint));
        }
        let zone = zone.map_err(|fault| self.told(&fault, verb))?.stdout;
        Ok(refusals::of_log(&output.stdout, zone.trim()))
    }

    async fn command(&self, words: &[String], verb: &str) -> Result<(), Fault> {
        let output = self.runner.run(words, None, SERVICE_COMMAND).await.map_err(|fault| self.told(&fault, verb))?;
        match output.code {
            Some(0) => Ok(()),
            _ => Err(self.fault(FaultKind::Lasting, verb, &output.last_words())),
        }
    }

    async fn wait(&self, verb: &str, why: &str, running: bool) -> Result<(), Fault> {
        let end = Instant::now() + SERVICE_WAIT;
        loop {
            let there = match (&self.api, running) {
                (Some(_), true) => self.api_version().await.is_some(),
                (Some(_), false) => self.service_state().await? == Service::Running || self.api_version().await.is_some(),
                (None, _) => self.service_state().await? == Service::Running,
            };
            if there == running {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(self.fault(FaultKind::Lasting, verb, why));
            }
            sleep(POLL).await;
        }
    }

    /// `None`: nobody answers, or somebody who is no manager.
    async fn api_version(&self) -> Option<String> {
        let (client, url) = self.api.as_ref()?;
        let mut response = client.get(url.clone()).send().await.ok().filter(|response| response.status().is_success())?;
        let mut body = vec![];
        while let Some(chunk) = response.chunk().await.ok()? {
            body.extend_from_slice(&chunk);
            if body.len() > 64 << 10 {
                return None;
            }
        }
        let answer: serde_json::Value = serde_json::from_slice(&body).ok()?;
        answer.get("manager").and_then(serde_json::Value::as_str).map(text::clean)
    }

    fn fault(&self, kind: FaultKind, verb: &str, why: &str) -> Fault {
        Fault::new(kind, format!("{verb} manager `{}`", self.config.name), why)
    }

    /// A fault of the way there, told as one of this manager.
    fn told(&self, fault: &Fault, verb: &str) -> Fault {
        Fault { hint: fault.hint.clone(), ..self.fault(fault.kind, verb, &fault.to_string()) }
    }
}

fn api_client(name: &str, url: &str) -> Result<(Client, Url), Fault> {
    let fault = |why: String| {
        Fault::new(FaultKind::Lasting, format!("manager `{name}`"), why).hint("correct `api` of this manager in the cluster file")
    };
    let url: Url = url.parse().map_err(|e| fault(format!("`{url}` is no URL: {e}")))?;
    let mut builder = Client::builder()
        .connect_timeout(Duration::from_secs(3))
        .timeout(Duration::from_secs(5))
        .redirect(redirect::Policy::none());
    if url.host_str().is_some_and(|host| host == "localhost" || host.starts_with("127.")) {
        // A proxy in the environment would look for it on its own machine.
        builder = builder.no_proxy();
    }
    Ok((builder.build().map_err(|e| fault(root_cause(&e)))?, url))
}

/// Lines marked as errors, and the exception that ends each traceback, each once, in their order.
fn complaints(output: &Output) -> Vec<String> {
    const LIMIT: usize = 20;
    let mut found: Vec<String> = vec![];
    let mut in_traceback = false;
    for line in output.stderr.lines().map(text::clean) {
        // Python draws the traceback of a group of exceptions within a frame of `|` and `+`.
        let framed = line.trim_start();
        let inner = framed.strip_prefix("| ").or_else(|| framed.strip_prefix("+ ")).unwrap_or(&line);
        let exception = in_traceback && !inner.is_empty() && !inner.starts_with([' ', '+']);
        in_traceback = (in_traceback && !exception) || inner.ends_with("Traceback (most recent call last):");
        let marked = line.contains(" ERROR ") || ["ERROR", "Error:", "Usage:"].iter().any(|mark| line.starts_with(mark));
        // That a group holds something is no news.
        if (marked || exception && !inner.contains("sub-exception"))
            && found.len() < LIMIT
            && !found.iter().any(|one| one == inner)
        {
            found.push(inner.to_owned());
        }
    }
    // A usage error and a missing module end with a code and without a mark.
    if found.is_empty() && output.code.is_some_and(|code| code != 0 && code < 128) {
        found.push(text::clean(&output.last_words()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stderr: &str, code: Option<i32>, expect: &[&str]) {
        assert_eq!(complaints(&Output { code, stdout: String::new(), stderr: stderr.to_owned() }), expect, "{stderr}");
    }

    #[test]
    fn the_managers_own_complaints_are_found() {
        let failed = "2026-11-21 14:00:00.000 INFO ai.backend [1] Scanning\n\
            2026-11-21 14:00:01.000 \u{1b}[31mERROR\u{1b}[0m ai.backend.manager.cli.image_impl [1] An error occurred.\n\
            Traceback (most recent call last):\n  File \"x.py\", line 1, in y\n    z()\n\
            aiohttp.client_exceptions.ContentTypeError: 503, message='x'\n\nThe end";
        check(
            failed,
            Some(0),
            &[
                "2026-11-21 14:00:01.000 ERROR ai.backend.manager.cli.image_impl [1] An error occurred.",
                "aiohttp.client_exceptions.ContentTypeError: 503, message='x'",
            ],
        );
        let group = "  + Exception Group Traceback (most recent call last):\n  |   File \"x.py\", line 1, in y\n\
            \x20 | aiotools.TaskGroupError: unhandled errors in a TaskGroup (1 sub-exception)\n\
            \x20 +-+---------------- 1 ----------------\n    | Traceback (most recent call last):\n\
            \x20   |   File \"x.py\", line 2, in z\n    | RuntimeError: ('failed to fetch', 'UNKNOWN')\n    +------\n";
        check(group, Some(0), &["RuntimeError: ('failed to fetch', 'UNKNOWN')"]);
        check("2026 INFO all good\n", Some(0), &[]);
        check("2026 INFO all good\n", None, &[]);
        check("sh: nothing here", Some(2), &["sh: nothing here"]);
    }
}
