//! Waves in words: one place for the plan, the screens, the log, the report and a run without a terminal.
//! Never says that a canary is good before an entry says so.

use super::{Entry, Hold, State, Status, Waves, text};
use std::fmt::Write;

/// More names than this nobody reads in a line.
const NAMES: usize = 3;

impl Waves {
    /// What a plan says of them: `1 host (gpu-01), then 5, then 6; goes on when the canary has proved itself`.
    pub fn words(&self) -> String {
        let sizes: Vec<String> = self.hosts.iter().map(|wave| text::number(wave.len() as u64)).collect();
        let noun = if self.hosts.last().is_some_and(|wave| wave.len() == 1) { "host" } else { "hosts" };
        let (first, rest) = sizes.split_first().map_or(("0", &[][..]), |(first, rest)| (first.as_str(), rest));
        let mut out = match (self.hosts.first().map(Vec::as_slice), rest.is_empty()) {
            (Some([_]), true) => "the one host at once".to_owned(),
            (_, true) => format!("all {first} hosts at once"),
            (Some([one]), false) => format!("1 ({one}), then {} {noun}", rest.join(", then ")),
            (_, false) => format!("{first}, then {} {noun}", rest.join(", then ")),
        };
        if self.holds() {
            out.push_str(match self.hold {
                Hold::Prove => "; holds after the canary until it has proved itself",
                Hold::Approve => "; holds after the canary until you type yes",
            });
        }
        if self.failures > 0 {
            let _ = write!(out, "; stops at {} in a wave", text::count(u64::from(self.failures), "failure"));
        }
        out
    }
}

impl State {
    /// Where the waves of the running step are: `wave 2 of 4: 3 of 5 hosts done`.
    pub fn wave_line(&self, step: usize) -> Option<String> {
        let waves = self.waves(step).filter(|waves| waves.hosts.len() > 1)?;
        let (at, _) = self.steps.get(step)?.waves.reached?;
        let (done, all) = self.wave_tally(step, at);
        let hosts = text::count(all as u64, "host");
        if !self.in_canary(step) {
            return Some(format!("wave {} of {}: {done} of {hosts} done", at + 1, waves.hosts.len()));
        }
        let others = self.behind_canary(step);
        let canary = format!("canary {}", self.canary_names(step));
        Some(match waves.hold {
            _ if done == all => format!("{canary} {}; {others} wait", self.canary_word(step)),
            Hold::Prove => format!("{canary}; {others} wait until all of it is done and read back"),
            Hold::Approve => format!("{canary}; {others} wait until it is done and you approve it"),
        })
    }

    /// `gpu-01`, or `gpu-01 gpu-02 gpu-03 and 2 more`.
    pub fn canary_names(&self, step: usize) -> String {
        self.waves(step).and_then(|waves| waves.hosts.first()).map_or_else(String::new, |hosts| names(hosts))
    }

    /// `is done and read back`, unless something of it was skipped.
    pub fn canary_word(&self, step: usize) -> String {
        let Some(here) = self.steps.get(step) else { return String::new() };
        let canary = here.changes.iter().enumerate().filter(|(n, _)| here.waves.of(*n) == 0);
        match canary.filter(|(_, change)| matches!(change.status, Status::Skipped(_))).count() as u64 {
            0 => "is done and read back".to_owned(),
            n => format!("is over, {} skipped", text::number(n)),
        }
    }

    /// `11 hosts`: those that wait behind the canary.
    pub fn behind_canary(&self, step: usize) -> String {
        let others = self.waves(step).map_or(0, |waves| waves.hosts.iter().skip(1).map(Vec::len).sum::<usize>());
        text::count(others as u64, "host")
    }

    /// Hosts that are set aside, or were: `gpu-07 set aside: no space left on device; comes back at the end`.
    /// The cause takes at most `room` characters.
    pub fn aside_lines(&self, step: usize, room: usize) -> Vec<String> {
        let Some(here) = self.steps.get(step) else { return vec![] };
        let line = |(place, aside): (&String, &super::Aside)| match aside.back_ms {
            None => format!("{place} set aside: {}; comes back at the end", text::middle(&aside.why, room)),
            Some(_) => format!("{place} came back after: {}", text::middle(&aside.why, room)),
        };
        let (out, back): (Vec<_>, Vec<_>) = here.waves.aside.iter().partition(|(_, aside)| aside.back_ms.is_none());
        out.into_iter().chain(back).map(line).collect()
    }

    /// Why a step stopped before all of it was tried, if that is so.
    pub fn stopped_by(&self, step: usize) -> Option<String> {
        let waves = self.waves(step)?;
        let at = self.steps.get(step)?.waves.at();
        if waves.holds() && self.in_canary(step) {
            return Some("the failure of its canary".to_owned());
        }
        let failures = self.failures_in_wave(step);
        (waves.failures > 0 && failures >= waves.failures as usize).then(|| {
            let of = if waves.hosts.len() > 1 { format!(" in wave {} of {}", at + 1, waves.hosts.len()) } else { String::new() };
            format!("{}{of}", text::count(failures as u64, "failure"))
        })
    }

    /// An entry about waves: a word for it, and what it says.
    pub fn wave_entry(&self, entry: &Entry) -> (&'static str, String) {
        match entry {
            Entry::WaveReached { step, wave } => {
                let waves = self.waves(*step);
                let n = waves.map_or(0, |waves| waves.hosts.len());
                let hosts = waves.and_then(|waves| waves.hosts.get(*wave)).map_or_else(String::new, |hosts| names(hosts));
                let canary = if *wave == 0 && waves.is_some_and(Waves::holds) { ", the canary" } else { "" };
                ("wave", format!("{} of {n} of step {} begins{canary}: {hosts}", wave.saturating_add(1), step.saturating_add(1)))
            }
            Entry::WavePassed { step, by, typed, .. } => {
                let typed = if typed.is_empty() { String::new() } else { format!(": {typed}") };
                ("passed", format!("canary {} of step {} by {by}{typed}", self.canary_names(*step), step.saturating_add(1)))
            }
            Entry::SetAside { place, why, .. } => {
                ("aside", format!("{place}: {why}; the others go on, it comes back at the end"))
            }
            Entry::CameBack { places, .. } => ("back", format!("{}: what is left there is tried now", names(places))),
            _ => ("", String::new()),
        }
    }
}

fn names(hosts: &[String]) -> String {
    let mut out = hosts.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(" ");
    if hosts.len() > NAMES {
        let _ = write!(out, " and {} more", hosts.len() - NAMES);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_are_said_in_a_sentence() {
        let waves = |canary, hold, failures, sizes: &[usize]| {
            let hosts = sizes.iter().map(|n| (0..*n).map(|i| format!("gpu-{i}")).collect()).collect();
            Waves { canary, hold, failures, hosts }.words()
        };
        assert_eq!(
            waves(true, Hold::Prove, 3, &[1, 5, 6]),
            "1 (gpu-0), then 5, then 6 hosts; holds after the canary until it has proved itself; stops at 3 failures in a wave"
        );
        assert_eq!(waves(true, Hold::Approve, 0, &[2, 5]), "2, then 5 hosts; holds after the canary until you type yes");
        assert_eq!(waves(true, Hold::Approve, 0, &[2, 1]), "2, then 1 host; holds after the canary until you type yes");
        assert_eq!(waves(true, Hold::Prove, 1, &[1]), "the one host at once; stops at 1 failure in a wave");
    }
}
