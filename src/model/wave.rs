//! Waves: the order in which hosts take their turn in a step, what holds after the first, and hosts that are set aside.
//! Pure: what is reached, passed and set aside are entries; nothing here asks anybody.

use super::{Change, ChangeId, Entry, Fault, FaultKind, Next, PlannedStep, State, Status, Stop};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What has to be typed to approve a canary: it is reversible.
pub const CANARY_SENTENCE: &str = "yes";

/// The waves of one step, compiled: every host of the step stands in exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Waves {
    /// Whether the first wave is a canary, after which the step holds.
    pub canary: bool,
    pub hold: Hold,
    /// This many failures in one wave stop the step: a failed change is one, a host that is set aside is one. 0: no number does.
    pub failures: u32,
    /// The hosts of each wave, in the order in which the plan names them.
    pub hosts: Vec<Vec<String>>,
}

/// What ends the hold after a canary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// Every change of the canary is done and read back.
    #[default]
    Prove,
    /// A person approves it.
    Approve,
}

/// How large a wave is, as a runbook says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Hosts(usize),
    /// Of all hosts of the step, rounded up.
    Percent(usize),
}

/// Spreads hosts over waves: the canary, the sizes in turn, then whoever is left. Empty waves are left out.
pub fn spread(hosts: &[&str], canary: usize, sizes: &[Size]) -> Vec<Vec<String>> {
    let of = |size: &Size| match size {
        Size::Hosts(n) => *n,
        Size::Percent(percent) => (hosts.len() * percent).div_ceil(100),
    };
    let mut left = hosts.iter().map(|host| (*host).to_owned()).peekable();
    let mut out: Vec<Vec<String>> = vec![];
    for n in std::iter::once(canary).chain(sizes.iter().map(of)).chain([usize::MAX]) {
        let wave: Vec<String> = left.by_ref().take(n).collect();
        if !wave.is_empty() {
            out.push(wave);
        }
    }
    out
}

impl Waves {
    /// Whether the step holds after its first wave: a canary that nothing follows holds nothing.
    pub fn holds(&self) -> bool {
        self.canary && self.hosts.len() > 1
    }
}

impl Change {
    /// Whether it happens on a host of which there are many alike.
    pub fn on_host(&self) -> bool {
        matches!(self, Self::Pull { .. } | Self::Tag { .. } | Self::Remove { .. } | Self::Configure { .. } | Self::Unit { .. })
    }
}

impl PlannedStep {
    /// The hosts with something to do, in the order in which the changes name them, then those where all is so already.
    pub fn hosts(&self) -> Vec<&str> {
        let mut out: Vec<&str> = vec![];
        let mut known = BTreeSet::new();
        let on_host = || self.changes.iter().filter(|planned| planned.change.on_host());
        for planned in on_host().filter(|planned| !planned.found).chain(on_host()) {
            if known.insert(planned.place.as_str()) {
                out.push(&planned.place);
            }
        }
        out
    }
}

/// Where the waves of a step are, as the journal tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WaveState {
    /// The newest wave that was reached, from 0, and when.
    pub reached: Option<(usize, i64)>,
    /// Who said that the canary is good, and when.
    pub passed: Option<(String, i64)>,
    pub aside: BTreeMap<String, Aside>,
    /// The wave of each change, and its host by its place in all waves; empty where the step has no waves.
    of: Vec<usize>,
    host_of: Vec<usize>,
    /// For each host: its wave, and how many of its changes are not over.
    left: Vec<(usize, usize)>,
    /// For each wave: of how many hosts every change is over.
    over: Vec<usize>,
}

/// A host that was set aside, so that the others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    pub why: String,
    pub since_ms: i64,
    /// When it came back, which it does once.
    pub back_ms: Option<i64>,
}

impl WaveState {
    pub fn of_step(step: &PlannedStep) -> Self {
        let Some(waves) = &step.waves else { return Self::default() };
        let mut left = vec![];
        let mut places = BTreeMap::new();
        for (wave, host) in waves.hosts.iter().enumerate().flat_map(|(wave, hosts)| hosts.iter().map(move |host| (wave, host))) {
            places.insert(host.as_str(), left.len());
            left.push((wave, 0));
        }
        let host_of = step.changes.iter().map(|planned| places.get(planned.place.as_str()).copied().unwrap_or(usize::MAX));
        let host_of: Vec<usize> = host_of.collect();
        for host in &host_of {
            left.get_mut(*host).into_iter().for_each(|(_, n)| *n += 1);
        }
        let of = host_of.iter().map(|host| left.get(*host).map_or(0, |(wave, _)| *wave)).collect();
        let mut over = vec![0; waves.hosts.len()];
        left.iter().filter(|(_, n)| *n == 0).for_each(|(wave, _)| over[*wave] += 1);
        Self { of, host_of, left, over, ..Self::default() }
    }

    /// A change was over or not, and is so or not now.
    pub(super) fn count(&mut self, n: usize, was_over: bool, is_over: bool) {
        let Some((wave, left)) = self.host_of.get(n).and_then(|host| self.left.get_mut(*host)) else { return };
        if was_over == is_over {
            return;
        }
        let before = *left;
        *left = if is_over { before - 1 } else { before + 1 };
        match (before, *left) {
            (_, 0) => self.over[*wave] += 1,
            (0, _) => self.over[*wave] -= 1,
            _ => {}
        }
    }

    /// The wave a change belongs to.
    pub fn of(&self, n: usize) -> usize {
        self.of.get(n).copied().unwrap_or_default()
    }

    /// The wave the step is in.
    pub fn at(&self) -> usize {
        self.reached.map_or(0, |(wave, _)| wave)
    }

    pub fn is_aside(&self, place: &str) -> bool {
        self.aside.get(place).is_some_and(|aside| aside.back_ms.is_none())
    }
}

/// What one look over the failed changes of a step finds.
#[derive(Default)]
struct Look<'a> {
    /// Failures of the wave that goes on, as its threshold counts them.
    failures: usize,
    failed: bool,
    /// Failed by a fault of its host, which is not set aside yet.
    troubled: Option<(&'a str, &'a Fault)>,
}

impl State {
    pub fn waves(&self, step: usize) -> Option<&Waves> {
        self.plan.as_ref()?.steps.get(step)?.waves.as_ref()
    }

    /// The canary runs, or is done and holds the step.
    pub fn in_canary(&self, step: usize) -> bool {
        self.steps.get(step).is_some_and(|here| here.waves.at() == 0 && here.waves.passed.is_none())
            && self.waves(step).is_some_and(Waves::holds)
    }

    /// When the last change of the canary was over; unix time in milliseconds.
    pub fn canary_over_ms(&self, step: usize) -> Option<i64> {
        let here = self.steps.get(step)?;
        let canary = here.changes.iter().enumerate().filter(|(n, _)| here.waves.of(*n) == 0);
        canary.filter_map(|(_, change)| change.ended_ms).max()
    }

    /// Hosts of a wave, and of how many of them every change is over.
    pub fn wave_tally(&self, step: usize, wave: usize) -> (usize, usize) {
        let Some(hosts) = self.waves(step).and_then(|waves| waves.hosts.get(wave)) else { return (0, 0) };
        (self.steps[step].waves.over[wave], hosts.len())
    }

    /// Failures of the wave that goes on, as its threshold counts them.
    pub fn failures_in_wave(&self, step: usize) -> usize {
        self.steps.get(step).map_or(0, |here| self.look_over(step, here.waves.at()).failures)
    }

    /// Whether every one of these was tried again because its host came back.
    pub fn came_back(&self, ids: &[ChangeId]) -> bool {
        ids.iter().all(|id| self.steps[id.step].waves.aside.get(self.place(*id)).is_some_and(|aside| aside.back_ms.is_some()))
    }

    fn place(&self, id: ChangeId) -> &str {
        self.plan.as_ref().map_or("", |plan| &plan.change(id).place)
    }

    /// What comes next in a step whose gate is passed and which is not over.
    pub(super) fn next_in_step(&self, step: usize) -> Next {
        let here = &self.steps[step].waves;
        let waves = self.waves(step);
        let last = waves.map_or(0, |waves| waves.hosts.len().saturating_sub(1));
        if last > 0 && here.reached.is_none() {
            return Next::Turn(vec![Entry::WaveReached { step, wave: 0 }]);
        }
        let at = here.at();
        let look = self.look_over(step, at);
        let others = |place: &str| at < last || self.going_on(step).any(|id| self.place(id) != place);
        // Where nobody else has anything left to do, there is nobody for whose sake a host would wait.
        if let Some((place, fault)) = look.troubled.filter(|(place, _)| others(place)) {
            return Next::Turn(vec![Entry::SetAside { step, place: place.to_owned(), why: fault.why.clone() }]);
        }
        if self.open(step).next().is_some() {
            return Next::Apply(step);
        }
        if self.is_at_threshold(step) {
            return Next::Stop(Stop::Failed(step));
        }
        if at < last {
            return self.after_wave(step, at, &look);
        }
        let back: Vec<Entry> = self.coming_back(step);
        if back.is_empty() { Next::Stop(Stop::Failed(step)) } else { Next::Turn(back) }
    }

    /// Nothing of the waves so far is left to do, and another wave follows.
    fn after_wave(&self, step: usize, at: usize, look: &Look<'_>) -> Next {
        if self.in_canary(step) {
            let hold = self.waves(step).map_or(Hold::Prove, |waves| waves.hold);
            return match () {
                () if look.failed => Next::Stop(Stop::Failed(step)),
                // Everything of it was skipped: that proves nothing.
                () if hold == Hold::Approve || !self.is_proven(step, at) => Next::Canary(step),
                () => {
                    let plan = self.plan.as_ref().map_or_else(String::new, |plan| plan.plan.clone());
                    let by = "its changes, read back".to_owned();
                    Next::Turn(vec![Entry::WavePassed { step, wave: 0, by, plan, typed: String::new() }])
                }
            };
        }
        Next::Turn(vec![Entry::WaveReached { step, wave: at + 1 }])
    }

    /// The changes of a step that may be applied, in the order of its waves and of the plan.
    pub fn open(&self, step: usize) -> impl Iterator<Item = ChangeId> {
        // At the threshold nothing new starts; what is in flight is finished.
        let running_only = self.is_at_threshold(step);
        let is_running = move |id: &ChangeId| self.status(*id).status == Status::Running;
        self.going_on(step).filter(move |id| !running_only || is_running(id))
    }

    /// Whether `open` names this change.
    pub fn may_apply(&self, id: ChangeId) -> bool {
        let here = &self.steps[id.step];
        let change = &here.changes[id.n];
        let runs = change.status == Status::Running;
        let withheld = || here.waves.is_aside(self.place(id)) || self.is_at_threshold(id.step);
        change.is_open() && here.waves.of(id.n) <= here.waves.at() && (runs || !withheld())
    }

    /// The open changes of the waves so far whose host is not set aside; what runs there is finished all the same.
    fn going_on(&self, step: usize) -> impl Iterator<Item = ChangeId> {
        let here = &self.steps[step];
        let open = here.counts.open.range(..(here.waves.at() + 1, 0)).map(move |(_, n)| ChangeId { step, n: *n });
        open.filter(move |id| {
            here.waves.aside.is_empty() || here.changes[id.n].status == Status::Running || !here.waves.is_aside(self.place(*id))
        })
    }

    /// So many failed that nothing new of the step starts.
    fn is_at_threshold(&self, step: usize) -> bool {
        let most = self.waves(step).map_or(0, |waves| waves.failures as usize);
        most > 0 && self.failures_in_wave(step) >= most
    }

    /// Something of the waves so far was done, or was so already; that proves nothing where an attempt has to tell.
    fn is_proven(&self, step: usize, at: usize) -> bool {
        let here = &self.steps[step];
        let planned = self.plan.iter().flat_map(|plan| &plan.steps[step].changes);
        planned.zip(&here.changes).enumerate().any(|(n, (planned, change))| {
            let found = change.status == Status::Found && !planned.change.told_by_attempt();
            here.waves.of(n) <= at && (found || change.status == Status::Done)
        })
    }

    fn look_over(&self, step: usize, at: usize) -> Look<'_> {
        let here = &self.steps[step];
        let mut look = Look::default();
        let mut counted = BTreeSet::new();
        for n in here.counts.failed.iter().copied().filter(|n| here.waves.of(*n) <= at) {
            let id = ChangeId { step, n };
            let Status::Failed(fault) = &here.changes[n].status else { continue };
            look.failed = true;
            let place = self.place(id);
            let aside = here.waves.aside.contains_key(place);
            if here.waves.of(n) == at && (!aside || counted.insert(place)) {
                look.failures += 1;
            }
            if !aside && look.troubled.is_none() && self.is_of_host(id, fault) {
                look.troubled = Some((place, fault));
            }
        }
        look
    }

    /// Whether a fault is about the host alone. A canary is not set aside: a failure there is what it is for.
    fn is_of_host(&self, id: ChangeId, fault: &Fault) -> bool {
        let Some(plan) = &self.plan else { return false };
        let planned = plan.change(id);
        let here = &self.steps[id.step];
        if !planned.change.on_host()
            || !fault.is_of_host()
            || (here.waves.of(id.n) == 0 && self.waves(id.step).is_some_and(Waves::holds))
        {
            return false;
        }
        // A login that another host lacks too, for the same image, is not about this host.
        let denied_too = |n: &usize| {
            let other = &plan.steps[id.step].changes[*n];
            let denied = matches!(&here.changes[*n].status, Status::Failed(fault) if fault.kind == FaultKind::Denied);
            denied && other.subject == planned.subject && other.place != planned.place
        };
        fault.kind != FaultKind::Denied || fault.unreachable || !here.counts.failed.iter().any(denied_too)
    }

    /// The hosts that were set aside come back, all at once, and what failed there by their fault is tried again.
    fn coming_back(&self, step: usize) -> Vec<Entry> {
        let aside = &self.steps[step].waves.aside;
        let places: Vec<String> =
            aside.iter().filter(|(_, aside)| aside.back_ms.is_none()).map(|(place, _)| place.clone()).collect();
        if places.is_empty() {
            return vec![];
        }
        let here = &self.steps[step];
        let again = |n: &usize| {
            let (id, Status::Failed(fault)) = (ChangeId { step, n: *n }, &here.changes[*n].status) else { return None };
            let back = fault.is_of_host() && places.iter().any(|place| place == self.place(id));
            back.then(|| Entry::Retried { change: id, why: format!("its host comes back: {}", fault.why), after_ms: 0 })
        };
        let again: Vec<Entry> = here.counts.failed.iter().filter_map(again).collect();
        std::iter::once(Entry::CameBack { step, places }).chain(again).collect()
    }

    /// Hosts that are aside and have to come back for these changes to be tried again.
    pub(super) fn back_for(&self, ids: &[ChangeId]) -> Vec<Entry> {
        let mut out: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for id in ids.iter().filter(|id| self.steps[id.step].waves.is_aside(self.place(**id))) {
            let places = out.entry(id.step).or_default();
            if !places.iter().any(|place| place == self.place(*id)) {
                places.push(self.place(*id).to_owned());
            }
        }
        out.into_iter().map(|(step, places)| Entry::CameBack { step, places }).collect()
    }

    /// Folds one of the entries about waves in.
    pub(super) fn fold_wave(&mut self, entry: &Entry, at_ms: i64) -> Result<(), String> {
        if self.rolling_back.is_some() {
            return Err("on the way back there are no waves".to_owned());
        }
        match entry {
            Entry::WaveReached { step, wave } => {
                let n = self.waves(*step).map_or(0, |waves| waves.hosts.len());
                let holds = self.in_canary(*step);
                let here = &mut self.step_mut(*step)?.waves;
                let next = here.reached.map_or(0, |(wave, _)| wave + 1);
                if *wave != next || *wave >= n {
                    return Err(format!("wave {} of {n} cannot be reached now", wave.saturating_add(1)));
                }
                if *wave > 0 && holds {
                    return Err("the canary has not passed".to_owned());
                }
                here.reached = Some((*wave, at_ms));
            }
            Entry::WavePassed { step, wave, by, plan, .. } => {
                if self.plan.as_ref().is_none_or(|p| p.plan != *plan) {
                    return Err(format!("the approval is for plan `{plan}`"));
                }
                let holds = self.in_canary(*step);
                let here = &mut self.step_mut(*step)?.waves;
                if *wave != 0 || !holds || here.reached.is_none() {
                    return Err(format!("wave {} holds nothing", wave.saturating_add(1)));
                }
                here.passed = Some((by.clone(), at_ms));
            }
            Entry::SetAside { step, place, why } => {
                let known = self.plan.as_ref().and_then(|plan| plan.steps.get(*step));
                let known = known.is_some_and(|s| s.changes.iter().any(|planned| planned.place == *place));
                let here = &mut self.step_mut(*step)?.waves;
                if !known || here.aside.contains_key(place) {
                    return Err(format!("`{place}` cannot be set aside"));
                }
                here.aside.insert(place.clone(), Aside { why: why.clone(), since_ms: at_ms, back_ms: None });
            }
            Entry::CameBack { step, places } => {
                let here = &mut self.step_mut(*step)?.waves;
                if let Some(place) = places.iter().find(|place| !here.is_aside(place)) {
                    return Err(format!("`{place}` is not set aside"));
                }
                here.aside.iter_mut().filter(|(place, _)| places.contains(place)).for_each(|(_, a)| a.back_ms = Some(at_ms));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a change may begin: its wave is reached, its host is not set aside.
    pub(super) fn may_begin(&self, id: ChangeId) -> Result<(), String> {
        let Some(here) = self.steps.get(id.step).map(|step| &step.waves) else { return Ok(()) };
        let waves = self.waves(id.step).map_or(0, |waves| waves.hosts.len());
        if waves > 1 && here.reached.is_none_or(|(wave, _)| here.of(id.n) > wave) {
            return Err(format!("wave {} of change {id} is not reached", here.of(id.n) + 1));
        }
        if !here.aside.is_empty() && here.is_aside(self.place(id)) {
            return Err(format!("the host of change {id} is set aside"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(n: usize, canary: usize, sizes: &[Size], expected: &[usize]) {
        let names: Vec<String> = (0..n).map(|i| format!("gpu-{i}")).collect();
        let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
        let waves = spread(&hosts, canary, sizes);
        assert_eq!(waves.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{n} hosts, {canary}, {sizes:?}");
        assert_eq!(waves.concat(), names, "every host once, in order");
    }

    #[test]
    fn hosts_are_spread_over_waves_in_their_order() {
        use Size::{Hosts, Percent};
        check(12, 1, &[Hosts(5), Percent(25)], &[1, 5, 3, 3]);
        check(200, 1, &[Hosts(5), Percent(25)], &[1, 5, 50, 144]);
        check(3, 1, &[Hosts(5), Percent(25)], &[1, 2]);
        check(1, 1, &[Hosts(5)], &[1]);
        check(7, 0, &[Percent(1)], &[1, 6]);
        check(4, 0, &[], &[4]);
        check(4, 9, &[Percent(100)], &[4]);
        check(0, 1, &[Hosts(2)], &[]);
    }
}
