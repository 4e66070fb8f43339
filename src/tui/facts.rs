//! What the screens ask again and again of a step, found once or kept while news comes in: a step may have 100 000 changes.
//! Never a second truth: a test finds the same by counting.

use super::app::{App, STALLED_MS};
use super::find::Find;
use super::words;
use crate::model::{ChangeId, Plan, PlannedStep, Progress, Status};

/// What the plan says of one step.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Bytes it is about to move.
    pub bytes: u64,
    pub no_way_back: bool,
    /// What an undo gives back: a class, and a sentence.
    pub way_back: (&'static str, String),
}

impl Facts {
    pub fn of(plan: &Plan) -> Vec<Self> {
        let of_step = |step: &PlannedStep| Self {
            bytes: step.pending().map(|planned| planned.change.size_bytes()).sum(),
            no_way_back: words::no_way_back(step),
            way_back: words::way_back(step),
        };
        plan.steps.iter().map(of_step).collect()
    }
}

/// A list of changes by their index in the step, of which a page is looked at: nothing is made of the 100 000 others.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Sorted; they come first.
    first: Vec<usize>,
    /// How many of those that are not among the first follow, in order.
    others: usize,
    /// Where something is looked for: what is left of all these.
    chosen: Option<Vec<usize>>,
}

impl Listed {
    pub fn len(&self) -> usize {
        self.chosen.as_ref().map_or(self.first.len() + self.others, Vec::len)
    }

    pub fn get(&self, at: usize) -> Option<usize> {
        if let Some(chosen) = &self.chosen {
            return chosen.get(at).copied();
        }
        if let Some(n) = self.first.get(at) {
            return Some(*n);
        }
        let nth = at - self.first.len();
        // As many of the first stand before the nth other as have fewer than so many others before them.
        let (mut low, mut high) = (0, self.first.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.first[middle] - middle <= nth { low = middle + 1 } else { high = middle }
        }
        (nth < self.others).then_some(nth + low)
    }

    pub fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}

impl App {
    /// Bytes of a step: (there, in all). What was already there when the plan was made counts in neither.
    pub fn bytes(&self, step: usize) -> (u64, u64) {
        let there = self.state.steps.get(step).map_or(0, |step| step.counts.bytes);
        (there + self.arriving.get(&step).copied().unwrap_or(0), self.facts[step].bytes)
    }

    /// Takes the newest progress of a change.
    pub(super) fn progressed(&mut self, progress: Progress) {
        let id = progress.change;
        let bytes =
            |app: &Self, done: u64| if app.arrives(id) { done.min(app.plan.steps[id.step].pending_bytes(id.n)) } else { 0 };
        let now = bytes(self, progress.done);
        let before = self.progress.insert(id, progress).map_or(0, |before| bytes(self, before.done));
        let sum = self.arriving.entry(id.step).or_default();
        *sum = *sum + now - before;
    }

    /// An entry about this change is folded in by `with`: what is on its way is counted anew.
    pub(super) fn refold<T>(&mut self, change: Option<ChangeId>, with: impl FnOnce(&mut Self) -> T) -> T {
        let Some(id) = change else { return with(self) };
        let before = self.on_its_way(id);
        let out = with(self);
        let now = self.on_its_way(id);
        let sum = self.arriving.entry(id.step).or_default();
        *sum = *sum + now - before;
        out
    }

    /// Bytes of one change that are on their way.
    fn on_its_way(&self, id: ChangeId) -> u64 {
        let Some(progress) = self.progress.get(&id).filter(|_| self.arrives(id)) else { return 0 };
        progress.done.min(self.plan.steps[id.step].pending_bytes(id.n))
    }

    fn arrives(&self, id: ChangeId) -> bool {
        let change = self.state.steps.get(id.step).and_then(|step| step.changes.get(id.n));
        change.is_some_and(|change| matches!(change.status, Status::Running | Status::Retrying(_)))
    }

    /// Unix time in milliseconds of the last sign of life of a running step, if that is long ago.
    pub fn stalled_since(&self, step: usize) -> Option<i64> {
        let state = self.state.steps.get(step)?;
        let mut last = None;
        for n in state.counts.busy.iter().copied().filter(|n| state.changes[*n].status == Status::Running) {
            let heard = self.progress.get(&ChangeId { step, n }).map(|progress| progress.at_ms);
            last = last.max(heard).max(state.changes[n].started_ms);
            // One that lives is enough: the others need not be asked.
            if last.is_some_and(|last| self.now_ms - last <= STALLED_MS) {
                return None;
            }
        }
        last
    }

    /// Failed changes of the selected step first, then the others, in order; or only the failed ones.
    pub fn listed(&self) -> Listed {
        let n = self.plan.steps.get(self.step).map_or(0, |step| step.changes.len());
        let failed = self.state.steps.get(self.step).map(|step| step.counts.failed.iter().copied().collect::<Vec<_>>());
        let mut listed = Listed { first: failed.unwrap_or_default(), others: 0, chosen: None };
        if !self.failed_only {
            listed.others = n - listed.first.len();
        }
        if self.finding().and_then(Find::word).is_some() {
            listed.chosen = Some(listed.iter().filter(|n| self.shows(|| self.change_words(*n))).collect());
        }
        listed
    }

    /// Changes of a step on their way just now, those in trouble before the others: how many, and the first few.
    pub fn busy(&self, step: usize, most: usize) -> (usize, Vec<usize>) {
        let Some(state) = self.state.steps.get(step) else { return (0, vec![]) };
        let counts = &state.counts;
        // Asked of the progress in its order, not of each change: it is cheap where thousands are on their way.
        let of_step = self.progress.range(ChangeId { step, n: 0 }..ChangeId { step: step + 1, n: 0 });
        let silent = of_step.filter(|(_, progress)| self.now_ms - progress.at_ms > STALLED_MS).map(|(id, _)| id.n);
        let silent = silent.filter(|n| counts.busy.contains(n) && !counts.retrying.contains(n)).take(most);
        let mut out: Vec<usize> = counts.retrying.iter().copied().take(most).chain(silent).collect();
        out.sort_unstable();
        out.truncate(most);
        let others: Vec<usize> = counts.busy.iter().copied().filter(|n| !out.contains(n)).take(most - out.len()).collect();
        out.extend(others);
        (counts.busy.len(), out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Change, Entry, Fault, FaultKind, Hold, Limits, PlannedChange, Stamped, Totals, Waves, plan::PLAN_VERSION,
    };
    use crate::tui::{Look, Start};
    use proptest::prelude::*;

    const CHANGES: usize = 6;

    /// Two steps of six pulls, one of them already true.
    fn plan() -> Plan {
        let pull = |step: usize, n: usize| {
            let image = "cr.example/stable/python:3.9".parse().unwrap();
            let digest = crate::model::Digest::of("x");
            let size_bytes = 100 + n as u64;
            let change =
                Change::Pull { host: format!("gpu-{n}"), image, digest: digest.clone(), id: digest, before: None, size_bytes };
            PlannedChange::new(ChangeId { step, n }, change, n == 0)
        };
        let waves = || Waves {
            canary: false,
            hold: Hold::Prove,
            failures: 0,
            hosts: [0..2, 2..CHANGES].map(|wave| wave.map(|n| format!("gpu-{n}")).collect()).into(),
        };
        let step = |step| PlannedStep {
            id: format!("pull-{step}"),
            title: "pull".to_owned(),
            action: "pull-images".to_owned(),
            summary: String::new(),
            gate: None,
            changes: (0..CHANGES).map(|n| pull(step, n)).collect(),
            waves: (step == 1).then(waves),
            kept: vec![],
        };
        Plan {
            v: PLAN_VERSION,
            plan: "9c1e4f02".to_owned(),
            runbook: "test".to_owned(),
            title: String::new(),
            cluster: "prod-a".to_owned(),
            read_at_ms: 0,
            found: String::new(),
            steps: (0..2).map(step).collect(),
            ledger: vec![],
            wants: crate::model::Wants::backend_ai(),
            totals: Totals::default(),
            limits: Limits::default(),
            notes: vec![],
            blockers: vec![],
        }
    }

    /// Any entry, possible here or not, about any change.
    fn entry() -> impl Strategy<Value = Result<Entry, Progress>> {
        let fault = || Fault::new(FaultKind::Lasting, "cannot pull", "no room");
        (0..14_u8, 0..2_usize, 0..CHANGES, 0..200_u64).prop_map(move |(kind, step, n, done)| {
            let change = ChangeId { step, n };
            let words = String::new;
            Ok(match kind {
                0 | 1 => Entry::Started { change },
                2 => Entry::Done { change },
                3 => Entry::Found { change },
                4 => Entry::Failed { change, fault: fault() },
                5 => Entry::Retried { change, why: words(), after_ms: 0 },
                6 => Entry::Skipped { change, why: words(), by: words() },
                7 if done < 20 => Entry::RollbackBegun { to: step, by: words(), why: words() },
                8 => Entry::UndoStarted { change },
                9 => Entry::Undone { change },
                10 => Entry::UndoFailed { change, fault: fault() },
                11 => Entry::WaveReached { step: 1, wave: step },
                _ => return Err(Progress { change, phase: words(), done, total: 200, at_ms: 1 }),
            })
        })
    }

    fn recounted(app: &App, step: usize) -> (crate::model::Counts, u64) {
        let mut counts = crate::model::Counts::default();
        let mut arriving = 0;
        for (n, change) in app.state.steps[step].changes.iter().enumerate() {
            let size = app.plan.steps[step].pending_bytes(n);
            counts.add((app.state.steps[step].waves.of(n), n), change, size);
            if matches!(change.status, Status::Running | Status::Retrying(_)) {
                arriving += app.progress.get(&ChangeId { step, n }).map_or(0, |progress| progress.done.min(size));
            }
        }
        (counts, arriving)
    }

    #[test]
    fn failed_ones_are_listed_first_and_every_change_once() {
        for first in [vec![], vec![0], vec![5], vec![1, 2, 4], vec![0, 1, 2, 3, 4, 5]] {
            let others = (0..6).filter(|n| !first.contains(n));
            let expected: Vec<usize> = first.iter().copied().chain(others).collect();
            let listed = Listed { first: first.clone(), others: 6 - first.len(), chosen: None };
            assert_eq!(listed.iter().collect::<Vec<_>>(), expected);
            assert_eq!((listed.len(), listed.get(6)), (6, None));
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_counting_finds(news in prop::collection::vec(entry(), 0..200)) {
            let start = Start {
                plan: plan().into(),
                entries: vec![],
                run: String::new(),
                simulated: false,
                folder: "/".into(),
                journal: String::new(),
                look: Look { mono: true, ascii: true, colorblind: false, zone: jiff::tz::TimeZone::UTC },
                rollback_to: None,
                watching: None,
                window: None,
                on_hangup: crate::tui::OnHangup::Pause,
                again: String::new(),
                still: false,
                hidden: vec![],
            };
            let mut app = App::new(start, 0).unwrap();
            let planned = Entry::Planned { plan: plan().into(), by: String::new() };
            for news in std::iter::once(Ok(planned)).chain(news) {
                match news {
                    // One that cannot follow is refused, and must change no count.
                    Ok(entry) => app.event(crate::model::Event::Entry(Stamped { seq: app.state.seq + 1, at_ms: 5, entry }), 5),
                    Err(progress) => app.event(crate::model::Event::Progress(progress), 5),
                }
            }
            for step in 0..2 {
                let (mut counts, arriving) = recounted(&app, step);
                let kept = &app.state.steps[step].counts;
                // When it began and ended is remembered, also of what has begun again since.
                counts.last_ms = kept.last_ms;
                prop_assert_eq!(kept, &counts);
                prop_assert_eq!(app.bytes(step).0, counts.bytes + arriving);
                for wave in 0..2 {
                    // One change a host.
                    let of_wave = |n: &usize| app.state.waves(step).is_some() && app.state.steps[step].waves.of(*n) == wave;
                    let over = |n: &usize| app.state.steps[step].changes[*n].is_over();
                    let counted = (0..CHANGES).filter(of_wave).filter(over).count();
                    prop_assert_eq!(app.state.wave_tally(step, wave).0, counted);
                }
            }
        }
    }
}
