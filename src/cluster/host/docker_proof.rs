//! Docker on a host: its `daemon.json` put in place and proven by a pull that shows who served it. What proves is the line in
//! which the daemon names the endpoint that it asked last, never that no line complains.

use super::{
    client::{HostClient, Means},
    docker_log::served,
    docker_reload::Wanted,
};
use crate::{
    cluster::{Report, docker::DockerEngine},
    model::{Fault, FaultKind, FileDiff, Proof},
};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A log comes by a pipe, and later than the answer.
const LOGGED_WITHIN: Duration = Duration::from_secs(5);

impl HostClient {
    /// The file, the daemon, the proof. Only a daemon that debugs names each endpoint that it asks, so it debugs for the time
    /// of the pull; however that ended, it is quiet again, and its file is as planned.
    pub(super) async fn docker_uses(
        &self,
        file: &FileDiff,
        (restart, mirrors): (bool, &[String]),
        proof: Option<&Proof>,
        means: &Means<'_>,
        report: Report<'_>,
    ) -> Result<(), Fault> {
        let files = self.files(means);
        let text = file.after.as_ref().map_or("", |after| after.text.as_str());
        self.docker_validates(text, report).await?;
        let [on, off, ..] = file.between.as_slice() else {
            // It debugs anyway.
            files.put(std::slice::from_ref(file)).await?;
            self.docker_takes_up(restart, Wanted { mirrors, debug: None }, report).await?;
            return self.docker_pulls(proof, report).await;
        };
        if proof.is_none() {
            files.put(std::slice::from_ref(file)).await?;
            return self.docker_takes_up(restart, Wanted { mirrors, debug: None }, report).await;
        }
        let held = files.held(file).await?;
        let held = files.put_over(file, held, on).await?;
        let proven = match self.docker_takes_up(restart, Wanted { mirrors, debug: Some(true) }, report).await {
            Ok(()) => self.docker_pulls(proof, report).await,
            Err(fault) => Err(fault),
        };
        let pulled = proven.is_ok();
        let settled = async {
            let uses = self.docker_parts()?.1.uses().await;
            let calm = Wanted { mirrors, debug: Some(false) };
            match uses {
                Ok(uses) if !uses.debug => files.put_over(file, held, text).await.map(drop),
                Ok(uses) if restart && uses.is_hurt_by_reload() => {
                    files.put_over(file, held, text).await?;
                    self.docker_takes_up(true, calm, report).await
                }
                // One that is down reads it when it starts.
                Err(gone) if restart => {
                    files.put_over(file, held, text).await?;
                    if pulled { Err(gone) } else { Ok(()) }
                }
                // One that does not answer at the moment may debug.
                _ => {
                    // A reload keeps what a file does not name.
                    let held = files.put_over(file, held, off).await?;
                    let calm = self.docker_takes_up(false, calm, report).await;
                    files.put_over(file, held, text).await?;
                    calm
                }
            }
        };
        match (proven, settled.await) {
            (proven, Ok(())) => proven,
            (proven, Err(left)) => Err(unsettled(&self.config.name, &file.path, proven.err(), left)),
        }
    }

    /// Whether the daemon uses what it used before the change, and does not debug for its sake.
    pub(super) async fn docker_still_uses(&self, file: &FileDiff, before: &[String]) -> bool {
        let Ok((_, engine)) = self.docker_parts() else { return false };
        let quiet = file.between.len() < 2;
        engine.uses().await.is_ok_and(|uses| uses.has(before) && (quiet || !uses.debug))
    }

    /// An attempt that was cut off may have left the daemon debugging: it is quiet again before anything is taken back.
    pub(super) async fn docker_calms(
        &self,
        file: &FileDiff,
        (restart, mirrors): (bool, &[String]),
        means: &Means<'_>,
        report: Report<'_>,
    ) -> Result<(), Fault> {
        let [_, off, ..] = file.between.as_slice() else { return Ok(()) };
        let (_, engine) = self.docker_parts()?;
        let Some(uses) = engine.uses().await.ok().filter(|uses| uses.debug) else { return Ok(()) };
        self.files(means).put_between(file, off).await?;
        let restart = restart && uses.is_hurt_by_reload();
        self.docker_takes_up(restart, Wanted { mirrors, debug: Some(false) }, report).await
    }

    pub(super) async fn docker_pulls(&self, proof: Option<&Proof>, report: Report<'_>) -> Result<(), Fault> {
        let Some(proof) = proof else { return Ok(()) };
        let (_, engine) = self.docker_parts()?;
        report.progress("proving", 0, 0);
        let held = engine.holds(&proof.image).await?;
        let since = engine.uses().await?.now.unwrap_or(Timestamp::MIN);
        let pulled = engine.pull_by_name(&proof.image, report).await;
        let forgotten = if held || pulled.is_err() { Ok(()) } else { engine.forget(&proof.image).await };
        let until = Instant::now() + LOGGED_WITHIN;
        let served = loop {
            let served = served(&self.docker_log(since).await?, proof);
            if served.is_some() || Instant::now() >= until {
                break served;
            }
            sleep(LOOK_EVERY).await;
        };
        forgotten?;
        let image = proof.image.familiar();
        let fault = |why: String| {
            let what = format!("cannot prove the mirror on `{}`", self.config.name);
            Fault::new(FaultKind::Lasting, what, why)
        };
        let hint = "castoff doctor mirror looks for the reason";
        match (served, pulled) {
            (Some(served), Ok(())) if served.is_by(&proof.mirror) => {
                report.told(&format!("{image} was served by {}", proof.mirror));
                Ok(())
            }
            (Some(served), Ok(())) => {
                let why = served.passed.map_or_else(String::new, |why| format!(": {why}"));
                Err(fault(format!("{image} came from {}, and not from the mirror{why}", served.by)).hint(hint))
            }
            (Some(served), Err(lost)) => {
                let of_mirror = served.passed.map_or_else(String::new, |why| format!("; of the mirror: {why}"));
                Err(Fault { retry_after_ms: lost.retry_after_ms, ..fault(format!("{}{of_mirror}", lost.why)).hint(hint) })
            }
            (None, pulled) => {
                pulled?;
                Err(fault(format!("its log names nobody who served {image}"))
                    .hint("name the command that prints the daemon's log as `log` of its section in the cluster file"))
            }
        }
    }

    pub(super) fn docker_parts(&self) -> Result<(&crate::cluster::config::DockerConfig, &DockerEngine), Fault> {
        let parts = self.config.docker.as_ref().zip(self.engine.as_ref());
        parts.ok_or_else(|| self.without("docker"))
    }
}

/// The daemon was made to debug, and is not known to have ceased.
fn unsettled(host: &str, path: &str, proven: Option<Fault>, left: Fault) -> Fault {
    let why = format!("the daemon of `{host}` may still debug: {left}");
    let fault = match proven {
        Some(proven) => Fault { why: format!("{}; and {why}", proven.why), ..proven },
        None => Fault { what: format!("cannot end the proof on `{host}`"), why, ..left },
    };
    fault.hint(format!("put `\"debug\": false` into `{path}`, reload Docker, then take it out again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_may_still_debug_is_told_with_both_reasons() {
        let fault = |kind, what: &str, why: &str| Fault::new(kind, what, why);
        let full = fault(FaultKind::Space, "cannot write `/etc/docker/daemon.json`", "No space left on device");
        let lost = fault(FaultKind::Lasting, "cannot prove the mirror on `web-1`", "busybox came from elsewhere").hint("doctor");
        for proven in [None, Some(lost)] {
            let told = unsettled("web-1", "/etc/docker/daemon.json", proven.clone(), full.clone());
            assert_eq!(told.kind, proven.as_ref().map_or(FaultKind::Space, |proven| proven.kind));
            let words = told.to_string();
            assert!(words.contains("the daemon of `web-1` may still debug") && words.contains("No space left"), "{words}");
            assert_eq!(words.contains("came from elsewhere"), proven.is_some(), "{words}");
            assert!(told.hint.is_some_and(|hint| hint.contains("`\"debug\": false` into `/etc/docker/daemon.json`")));
        }
    }
}
