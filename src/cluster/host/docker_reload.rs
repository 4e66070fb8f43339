//! A Docker daemon takes up its `daemon.json`, by a reload or a restart. That the command ended well says nothing: the daemon
//! itself has to tell that it did, by its event or its log, and what it uses then.

use super::client::HostClient;
use crate::{
    cluster::{Report, docker::Uses},
    model::{
        Fault, FaultKind,
        doctor::{LogLine, classify},
        text, veil,
    },
};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// A reload is a signal; a restart may have to end containers first.
const RELOADED_WITHIN: Duration = Duration::from_secs(15);
const RESTARTED_WITHIN: Duration = Duration::from_mins(2);
/// Its event comes at once; its log is read only when none came.
const EVENT_WITHIN: Duration = Duration::from_millis(400);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LAST_WORDS: [&str; 2] = ["unable to configure the Docker daemon", "failed to start daemon"];
const LAST_LINES: usize = 30;

/// What a daemon is to use once it took its file up.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub mirrors: &'a [String],
    /// `None`: whatever it does.
    pub debug: Option<bool>,
}

impl HostClient {
    /// Tells the daemon to read its file, and waits until it says that it uses what is wanted.
    pub(super) async fn docker_takes_up(&self, restart: bool, wanted: Wanted<'_>, report: Report<'_>) -> Result<(), Fault> {
        let (config, engine) = self.docker_parts()?;
        let uses = engine.uses().await;
        // An attempt before this one has restarted it: what is left to take up needs no second one.
        let is_up = |uses: &Uses| uses.has(wanted.mirrors) && !uses.is_hurt_by_reload();
        let restart = restart && !uses.as_ref().is_ok_and(is_up);
        let (verb, within) = if restart { ("restart", RESTARTED_WITHIN) } else { ("reload", RELOADED_WITHIN) };
        let fault = |why: String| {
            Fault::new(FaultKind::Lasting, format!("cannot {verb} Docker on `{}`", self.config.name), veil::veil(&why).text)
        };
        report.progress(if restart { "restarting" } else { "reloading" }, 0, 0);
        let since = match uses {
            Ok(uses) => uses.now.unwrap_or(Timestamp::MIN),
            Err(gone) if !restart => return Err(gone),
            // It may be down: then the restart is what helps.
            Err(_) => Timestamp::MIN,
        };
        let output = self.runner.run(if restart { &config.restart } else { &config.reload }, None, within).await;
        let lost = match output {
            Ok(output) if output.code == Some(0) => None,
            Ok(output) => {
                let refused = if restart { self.docker_refusal().await } else { None };
                let why =
                    refused.map_or_else(|| output.last_words(), |error| format!("it does not start with its file: {error}"));
                return Err(if restart { fault(why).hint(DOWN) } else { fault(why) });
            }
            // What was begun goes on, and a second one would stop containers again: the daemon tells how it ended.
            Err(lost) if restart && lost.kind == FaultKind::Passing => Some(lost),
            Err(lost) => return Err(lost),
        };
        let until = Instant::now() + within;
        if !restart {
            self.docker_reloaded(since, wanted, until).await.map_err(fault)?;
        }
        loop {
            match engine.uses().await {
                Ok(uses) if uses.has(wanted.mirrors) && wanted.debug.is_none_or(|debug| uses.debug == debug) => return Ok(()),
                Err(gone) if Instant::now() >= until => return Err(lost.unwrap_or(gone).hint(DOWN)),
                Ok(_) if Instant::now() >= until && lost.is_some() => return lost.map_or(Ok(()), Err),
                Ok(uses) if Instant::now() >= until => {
                    let why = if uses.has(wanted.mirrors) {
                        "it does not change whether it debugs".to_owned()
                    } else {
                        format!("its daemon goes on with {}", listed(&uses.mirrors))
                    };
                    return Err(fault(why).hint("its log says why: castoff doctor mirror"));
                }
                _ => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Waits until it tells that it has read its file again; else why not.
    async fn docker_reloaded(&self, since: Timestamp, wanted: Wanted<'_>, until: Instant) -> Result<(), String> {
        let engine = self.docker_parts().map_err(|fault| fault.to_string())?.1;
        let mut event = Box::pin(engine.reloaded(since));
        let mut deaf = false;
        loop {
            let heard = if deaf { None } else { timeout(EVENT_WITHIN, &mut event).await.ok() };
            match heard {
                Some(Ok(mirrors)) => {
                    let plain =
                        |mirrors: &[String]| mirrors.iter().map(|one| one.trim_end_matches('/').to_owned()).collect::<Vec<_>>();
                    return if plain(&mirrors) == plain(wanted.mirrors) {
                        Ok(())
                    } else {
                        Err(format!("it has read its file, and uses {}", listed(&mirrors)))
                    };
                }
                // Whoever stands before its socket lets no events through: its log is left.
                Some(Err(_)) => deaf = true,
                None if deaf => sleep(EVENT_WITHIN).await,
                None => {}
            }
            for line in self.docker_log(since).await.unwrap_or_default() {
                match classify(&line) {
                    Some(LogLine::Rejected { error }) => return Err(format!("it refuses the file: {error}")),
                    Some(LogLine::Reloaded) if deaf => return Ok(()),
                    _ => {}
                }
            }
            if Instant::now() >= until {
                return Err("it does not tell that it has read its file again".to_owned());
            }
        }
    }

    /// Why a daemon that ended at once did so: its last words, which are a line without a time.
    async fn docker_refusal(&self) -> Option<String> {
        let (config, _) = self.docker_parts().ok()?;
        let output = self.runner.run(&config.log, None, RELOADED_WITHIN).await.ok()?;
        let refused = |line: &&str| LAST_WORDS.iter().any(|words| line.contains(words));
        output.stdout.lines().rev().take(LAST_LINES).find(refused).map(|line| text::clean(line.trim()))
    }
}

/// systemd gives up on a unit that fails three times within a minute, and refuses even a good one then.
const DOWN: &str = "the daemon is down: castoff rollback gives it its old file; where systemd has given up (`start request \
                    repeated too quickly`), run `systemctl reset-failed docker` first; its log says more: castoff doctor mirror";

fn listed(mirrors: &[String]) -> String {
    if mirrors.is_empty() { "no mirror".to_owned() } else { format!("`{}`", mirrors.join("`, `")) }
}
