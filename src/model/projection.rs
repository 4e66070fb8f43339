//! When what is still to come would end: measured rates first, the mean of this run's own changes next, typical times last.
//! Never an end for what waits for people, and none before a rate can be trusted.

use super::window::{Window, hours};
use super::{Change, ChangeState, Check, Limits, Plan, Service, State, Status, TakesUp, Tally, WayBack};
use std::collections::BTreeMap;

/// Too early to speak of a rate: as for bytes, no end before half a minute and one percent.
const EARLY_MS: i64 = 30_000;
const SHORT_MS: i64 = 60_000;
const LONG_MS: i64 = 600_000;

/// How long one change of a kind takes where this run has made none yet, with the looks before and after it: at least,
/// and at most, in milliseconds. All of them are guesses of what a cluster in good order does; the first change of the
/// kind in the run replaces its guess.
fn typical_ms(kind: &str) -> (i64, i64) {
    match kind {
        "stop" => (2_000, 30_000),
        "start" => (5_000, 60_000),
        // A manager asks the registry for every image of a project.
        "rescan" => (10_000, 180_000),
        "remove" => (1_000, 30_000),
        // Keys, rows, aliases and tags: one call each.
        _ => (500, 5_000),
    }
}

/// Bytes a second that one host pulls and unpacks. Measured: 21 MB/s of compressed layers for each core that unpacks;
/// guessed: half a core at least, four at most.
const PULLS: (u64, u64) = (10_000_000, 84_000_000);

/// What one step has to do, counted once: a plan never changes.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, none excludes another")]
struct Load {
    pending: u64,
    kinds: Vec<(&'static str, u64)>,
    bytes: u64,
    /// The most on one host.
    bytes_of_host: u64,
    /// Places in each wave; one wave where there are none.
    waves: Vec<u64>,
    /// The most changes at one place, and of one registry.
    at_place: u64,
    of_registry: u64,
    gated: bool,
    /// Its gate waits for something that ends in its own time.
    waits: bool,
    /// Not everything of it can be undone.
    lost: bool,
    stops: bool,
}

/// What every step of a plan has to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loads {
    steps: Vec<Load>,
    limits: Limits,
}

/// When something would end; unix times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub earliest_ms: i64,
    /// `None`: something waits that nobody can time.
    pub latest_ms: Option<i64>,
    /// By a rate of this very step.
    pub measured: bool,
}

/// The rest of a run on the clock. Answers of people are not counted: they come when they come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Projection {
    /// `None` for a step that is over, and where it is too early to say.
    pub steps: Vec<Option<End>>,
    pub whole: Option<End>,
    /// The last step before a wait of unknown length, and its end.
    pub known: Option<(usize, End)>,
    takes: Vec<Takes>,
}

/// How long it takes from the beginning of a step, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// At least and at most, to the next wait of unknown length, or to the end of the run.
    pub low_ms: i64,
    pub high_ms: i64,
    /// At least, to the end of the run.
    pub whole_ms: i64,
}

/// The rest of a run in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// `to step 8 between 03:01 and 03:20 KST, 40 to 59 min before the window`.
    pub words: String,
    /// What comes behind a wait: `not before 03:02 KST`.
    pub then: Option<String>,
    /// It ends after the window.
    pub overruns: bool,
}

impl Rest {
    /// In one sentence, with a sign before what ends too late.
    pub fn sentence(&self) -> String {
        let sign = if self.overruns { "! " } else { "" };
        let then = self.then.as_ref().map_or_else(String::new, |then| format!("; then {then}"));
        format!("{sign}{}{then}", self.words)
    }
}

/// The first step that cannot be undone wholly.
pub fn point_of_no_return(plan: &Plan) -> Option<usize> {
    plan.steps.iter().position(|step| step.pending().next().is_some() && step.way_back() != WayBack::Whole)
}

impl Loads {
    pub fn new(plan: &Plan) -> Self {
        let mut waited: Vec<&Check> = vec![];
        let mut steps = vec![];
        for step in &plan.steps {
            let mut load = Load { gated: step.gate.is_some(), ..Load::default() };
            if let Some(gate) = step.gate.as_ref().filter(|gate| gate.wait && !gate.checks.is_empty()) {
                // Who has waited until the old sessions were gone does not wait for them again.
                load.waits = !gate.checks.iter().any(|check| waited.contains(&check));
                waited.extend(gate.checks.iter().filter(|check| matches!(check, Check::Drained { .. })));
            }
            let (mut places, mut registries) = (BTreeMap::<&str, (u64, u64)>::new(), BTreeMap::<&str, u64>::new());
            for planned in step.pending() {
                let (change, size) = (&planned.change, planned.change.size_bytes());
                let kind = change.kind();
                load.pending += 1;
                load.bytes += size;
                match load.kinds.iter_mut().find(|(known, _)| *known == kind) {
                    Some((_, n)) => *n += 1,
                    None => load.kinds.push((kind, 1)),
                }
                let place = places.entry(change.place()).or_default();
                *place = (place.0 + 1, place.1 + size);
                if let Some(registry) = change.registry() {
                    *registries.entry(registry).or_default() += 1;
                }
                load.stops |= match change {
                    Change::Service { after, .. } | Change::Unit { after, .. } => *after == Service::Stopped,
                    // Containers go on while containerd restarts.
                    Change::Configure {
                        daemon: Some(TakesUp::Docker { restart, .. } | TakesUp::Unit { restart, .. }), ..
                    } => *restart,
                    _ => false,
                };
                load.lost |= planned.way_back != WayBack::Whole;
            }
            let waves =
                step.waves.iter().flat_map(|waves| waves.hosts.iter().map(|hosts| hosts.len() as u64)).collect::<Vec<_>>();
            load.waves = if waves.is_empty() { vec![places.len() as u64] } else { waves };
            load.at_place = places.values().map(|(n, _)| *n).max().unwrap_or_default();
            load.bytes_of_host = places.values().map(|(_, bytes)| *bytes).max().unwrap_or_default();
            load.of_registry = registries.into_values().max().unwrap_or_default();
            steps.push(load);
        }
        Self { steps, limits: plan.limits }
    }

    /// The first step that cannot be undone wholly.
    pub fn point(&self) -> Option<usize> {
        self.steps.iter().position(|load| load.lost)
    }

    /// The first step that stops a service: from there on the window counts.
    pub fn first_stop(&self) -> Option<usize> {
        self.steps.iter().position(|load| load.stops)
    }

    /// The steps that a gate lets through: its own, and those up to the next gate.
    pub(super) fn behind_gate(&self, gate: usize) -> std::ops::Range<usize> {
        let next = (gate + 1..self.steps.len()).find(|step| self.steps[*step].gated);
        gate..next.unwrap_or(self.steps.len())
    }

    pub(super) fn is_lost(&self, step: usize) -> bool {
        self.steps.get(step).is_some_and(|load| load.lost)
    }

    pub(super) fn stops(&self, step: usize) -> bool {
        self.steps.get(step).is_some_and(|load| load.stops)
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// The rest of a run, seen from now. `ends` is what the bytes of the running step say about its end.
    pub fn project(&self, plan: &Plan, state: &State, now_ms: i64, ends: Option<(i64, i64)>) -> Projection {
        let n = self.steps.len();
        let mut out = Projection { steps: vec![None; n], takes: vec![Takes::default(); n], ..Projection::default() };
        if state.finished.is_some() || state.rolling_back.is_some() {
            return out;
        }
        let limits = if state.plan.is_some() { state.limits } else { self.limits };
        let measures = Measures::of(plan, state);
        let spans: Vec<(i64, i64)> = self.steps.iter().map(|load| load.takes(&limits, &measures)).collect();
        let mut takes = Takes::default();
        for step in (0..n).rev() {
            let (low, high) = spans[step];
            let waits = self.steps.get(step + 1).is_some_and(|next| next.waits);
            let (low_ms, high_ms) = if waits { (low, high) } else { (low + takes.low_ms, high + takes.high_ms) };
            takes = Takes { low_ms, high_ms, whole_ms: takes.whole_ms + low };
            out.takes[step] = takes;
        }
        let mut at = End { earliest_ms: now_ms, latest_ms: Some(now_ms), measured: false };
        let mut told = true;
        for (step, load) in self.steps.iter().enumerate() {
            if state.plan.is_some() && state.step_is_over(step) {
                continue;
            }
            let changes = state.steps.get(step).map_or(&[][..], |state| state.changes.as_slice());
            let first_ms = state.steps.get(step).and_then(|state| state.counts.first_ms);
            let begun = first_ms.is_some();
            let left = if begun { left(&state.tally(step)) } else { load.pending };
            if load.waits && state.steps.get(step).is_none_or(|state| state.approved.is_none()) {
                at.latest_ms = None;
            }
            at.measured = false;
            match begun.then(|| ends.or_else(|| by_count(changes, now_ms, left))) {
                Some(Some((earliest_ms, latest_ms))) => {
                    at = End { earliest_ms: earliest_ms.max(now_ms), latest_ms: Some(latest_ms.max(now_ms)), measured: true };
                }
                // Bytes flow, and nobody can say yet how fast.
                Some(None) if load.bytes > 0 && left > 0 => told = false,
                Some(None) => {
                    let gone_ms = (now_ms - first_ms.unwrap_or(now_ms)).max(0);
                    let share = |ms: i64| ms * i64::try_from(left).unwrap_or(0) / i64::try_from(load.pending.max(1)).unwrap_or(1);
                    let (low, high) = (share(spans[step].0), share(spans[step].1));
                    at.earliest_ms += (low - gone_ms).max(0);
                    // Longer than it ever should: its end is anybody's guess.
                    at.latest_ms = at.latest_ms.filter(|_| gone_ms < high || left == 0).map(|ms| ms + (high - gone_ms).max(0));
                }
                None => {
                    at.earliest_ms += spans[step].0;
                    at.latest_ms = at.latest_ms.map(|ms| ms + spans[step].1);
                }
            }
            if !told {
                return out;
            }
            out.steps[step] = Some(at);
            if at.latest_ms.is_some() {
                out.known = Some((step, at));
            }
            out.whole = Some(at);
        }
        out
    }
}

impl Load {
    /// How long the step takes from its beginning, at least and at most.
    fn takes(&self, limits: &Limits, measures: &Measures) -> (i64, i64) {
        if self.pending == 0 {
            return (0, 0);
        }
        let up = |n: u64, by: usize| n.div_ceil(u64::try_from(by).unwrap_or(1).max(1));
        // Waves go one after the other, and in a wave so many hosts at once.
        let at_once: u64 = self.waves.iter().map(|places| if limits.hosts == 0 { 1 } else { up(*places, limits.hosts) }).sum();
        // So many changes stand in a row behind each other, by the tightest of the limits.
        let rounds = (up(self.at_place, limits.per_host) * at_once)
            .max(up(self.pending, limits.total))
            .max(up(self.of_registry, limits.per_registry));
        let rounds = i64::try_from(rounds).unwrap_or(i64::MAX);
        let (mut low, mut high, mut n) = (0, 0, 0);
        for (kind, count) in self.kinds.iter().filter(|(kind, _)| *kind != "pull") {
            let count = i64::try_from(*count).unwrap_or(0);
            let one = measures.one_ms(kind).unwrap_or_else(|| typical_ms(kind));
            (low, high, n) = (low + count * one.0, high + count * one.1, n + count);
        }
        let mean = |sum: i64| if n == 0 { 0 } else { sum.saturating_mul(rounds) / i64::try_from(self.pending).unwrap_or(1) };
        let ms = |bytes: u64, rate: u64| i64::try_from(bytes.saturating_mul(1000) / rate.max(1)).unwrap_or(i64::MAX / 4);
        let bytes = match measures.pulls {
            Some(rate) => (ms(self.bytes, rate) * 4 / 5, ms(self.bytes, rate) * 5 / 4),
            None => (
                ms(self.bytes_of_host, PULLS.1),
                ms(self.bytes_of_host, PULLS.0).saturating_mul(i64::try_from(at_once).unwrap_or(1)),
            ),
        };
        (mean(low) + bytes.0, mean(high) + bytes.1)
    }
}

/// What the changes of this run have taken so far.
#[derive(Default)]
struct Measures {
    /// Kind, count, milliseconds in all.
    kinds: Vec<(&'static str, i64, i64)>,
    /// Bytes a second of all pulls together.
    pulls: Option<u64>,
}

impl Measures {
    fn of(plan: &Plan, state: &State) -> Self {
        let mut out = Self::default();
        let (mut bytes, mut pulled_ms) = (0_u64, 0_i64);
        for (step, planned) in state.steps.iter().zip(&plan.steps).filter(|(step, _)| step.counts.tally.done > 0) {
            let (mut first, mut last) = (i64::MAX, i64::MIN);
            for (change, planned) in step.changes.iter().zip(&planned.changes).filter(|(change, _)| change.status == Status::Done)
            {
                let Some((from, to)) = change.started_ms.zip(change.ended_ms) else { continue };
                let kind = planned.change.kind();
                // By a clock that was set back in between it took no time.
                let to = to.max(from);
                match out.kinds.iter_mut().find(|(known, ..)| *known == kind) {
                    Some((_, n, ms)) => (*n, *ms) = (*n + 1, *ms + (to - from)),
                    None => out.kinds.push((kind, 1, to - from)),
                }
                let size = planned.change.size_bytes();
                if size > 0 {
                    bytes += size;
                    (first, last) = (first.min(from), last.max(to));
                }
            }
            pulled_ms += (last.saturating_sub(first)).max(0);
        }
        if pulled_ms >= EARLY_MS {
            out.pulls = (bytes.saturating_mul(1000) / pulled_ms.unsigned_abs()).checked_sub(1).map(|rate| rate + 1);
        }
        out
    }

    /// A fifth less and a quarter more than the mean.
    fn one_ms(&self, kind: &str) -> Option<(i64, i64)> {
        let (_, n, ms) = self.kinds.iter().find(|(known, ..)| *known == kind)?;
        let mean = ms / n;
        Some((mean * 4 / 5, mean * 5 / 4))
    }
}

/// Changes of a step that are not over.
fn left(tally: &Tally) -> u64 {
    tally.waiting + tally.running + tally.retrying + tally.failed
}

/// The end of a running step by how many of its changes ended in the last minute and in the last ten.
fn by_count(changes: &[ChangeState], now_ms: i64, left: u64) -> Option<(i64, i64)> {
    let first = changes.iter().filter_map(|change| change.started_ms).min()?;
    let ended: Vec<i64> =
        changes.iter().filter(|change| change.status == Status::Done).filter_map(|change| change.ended_ms).collect();
    let gone_ms = now_ms - first;
    if left == 0 || gone_ms < EARLY_MS || ended.is_empty() || ended.len() * 100 < changes.len() {
        return None;
    }
    let end = |over_ms: i64| {
        let n = i64::try_from(ended.iter().filter(|at| now_ms - **at <= over_ms).count()).ok().filter(|n| *n > 0)?;
        Some(now_ms + over_ms.min(gone_ms).saturating_mul(i64::try_from(left).ok()?) / n)
    };
    let (short, long) = (end(SHORT_MS), end(LONG_MS)?);
    let short = short.unwrap_or(long);
    Some((short.min(long), short.max(long)))
}

impl Projection {
    pub fn takes(&self, step: usize) -> Takes {
        self.takes.get(step).copied().unwrap_or_default()
    }

    /// The last moment at which a step may begin so that it and what follows it end in the window.
    pub fn begin_by(&self, step: usize, window: &Window) -> i64 {
        let takes = self.takes(step);
        window.until_ms - takes.high_ms.max(takes.whole_ms)
    }

    /// The rest of the run in words; where there is no window, `minute` and `zone` say times.
    pub fn rest(&self, window: Option<&Window>, minute: impl Fn(i64) -> String, zone: &str) -> Option<Rest> {
        let end = |end: &End| window.map_or_else(|| end.words(&minute, zone), |window| end.words_in(window));
        let against = |end: &End| window.map_or_else(String::new, |window| format!(", {}", end.against(window)));
        let whole = self.whole?;
        let (words, then) = match self.known {
            Some((step, known)) if whole.latest_ms.is_none() => {
                (format!("to step {} {}{}", step + 1, end(&known), against(&known)), Some(end(&whole)))
            }
            Some(_) => (format!("{}{}", end(&whole), against(&whole)), None),
            None => (end(&whole), None),
        };
        Some(Rest { words, then, overruns: window.is_some_and(|window| self.overruns(window)) })
    }

    /// Whether a step would begin too late to end in the window: by now, and by when it would be its turn.
    pub fn is_late(&self, step: usize, window: &Window, now_ms: i64) -> bool {
        let turn = step.checked_sub(1).and_then(|before| self.steps.get(before).copied().flatten());
        turn.map_or(now_ms, |end| end.earliest_ms.max(now_ms)) > self.begin_by(step, window)
    }

    /// By what is known the rest of the run ends after the window.
    pub fn overruns(&self, window: &Window) -> bool {
        let latest = self.known.and_then(|(_, end)| end.latest_ms);
        latest.is_some_and(|ms| ms > window.until_ms) || self.whole.is_some_and(|end| end.earliest_ms > window.until_ms)
    }
}

impl End {
    /// `between 02:31 and 02:44 KST`, `about 02:31 KST`, `not before 02:31 KST`; `minute` says a time of day.
    pub fn words(&self, minute: impl Fn(i64) -> String, zone: &str) -> String {
        let from = minute(self.earliest_ms);
        match self.latest_ms.map(minute) {
            None => format!("not before {from} {zone}"),
            Some(to) if to == from => format!("about {to} {zone}"),
            Some(to) => format!("between {from} and {to} {zone}"),
        }
    }

    /// In the zone of a window.
    pub fn words_in(&self, window: &Window) -> String {
        let zone = window.minute_with_zone(self.latest_ms.unwrap_or(self.earliest_ms));
        self.words(|ms| window.minute(ms), zone.rsplit(' ').next().unwrap_or_default())
    }

    /// `20 to 33 min before the window`, `5 to 20 min after the window`: against its end.
    pub fn against(&self, window: &Window) -> String {
        let until = window.until_ms;
        match self.latest_ms {
            Some(latest) if latest <= until => format!("{} before the window", range(until - latest, until - self.earliest_ms)),
            Some(latest) if self.earliest_ms > until => {
                format!("{} after the window", range(self.earliest_ms - until, latest - until))
            }
            Some(latest) => format!("up to {} after the window", hours(latest - until)),
            None if self.earliest_ms > until => format!("{} or more after the window", hours(self.earliest_ms - until)),
            None => "within the window or after it".to_owned(),
        }
    }

    pub fn overruns(&self, window: &Window) -> bool {
        self.latest_ms.unwrap_or(self.earliest_ms) > window.until_ms
    }
}

/// `5 to 20 min`, `40 s to 2 min`, `1 h to 1 h 20 min`, `5 min`.
pub fn range(from_ms: i64, to_ms: i64) -> String {
    let (from, to) = (hours(from_ms), hours(to_ms));
    if from == to {
        return to;
    }
    // One unit is said once.
    for unit in [" min", " s"] {
        if let (Some(a), Some(b)) = (from.strip_suffix(unit), to.strip_suffix(unit))
            && !a.contains(' ')
            && !b.contains(' ')
        {
            return format!("{a} to {b}{unit}");
        }
    }
    format!("{from} to {to}")
}

#[cfg(test)]
mod tests;
