//! A plan of a thousand agents and a hundred images, and somebody who tells of its run as the engine would.
//! Never an engine: nothing is planned, looked at or written.

use castoff::model::{
    Change, ChangeId, Command, Digest, Entry, Event, Hold, ImageRef, Limits, Next, Plan, PlannedChange, PlannedStep, Progress,
    Service, Stamped, State, Totals, Waves, plan::PLAN_VERSION,
};
use std::{
    collections::VecDeque,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::{Receiver, Sender, error::TryRecvError};

pub const AGENTS: usize = 1000;
pub const IMAGES: usize = 100;
/// Pulls that are on their way at any time, and how many end in a second: 100 000 in an hour.
const FLYING: usize = 3 * AGENTS;
const ENDING_PER_S: u32 = 28;
/// Size of every image; what it is does not matter, that there is one does.
const SIZE_BYTES: u64 = 4_800_000_000;
/// The step with the pulls.
const PULL: usize = 1;

pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Of the largest cluster there is to be, with every limit open.
pub fn plan() -> Plan {
    plan_of(AGENTS, Limits { total: FLYING, ..Limits::default() })
}

/// Stop, pull everything everywhere, start.
pub fn plan_of(agents: usize, limits: Limits) -> Plan {
    let service = |after| vec![Change::Service { manager: "mgr-01".to_owned(), after }];
    let changes = (agents * IMAGES) as u64;
    let steps = [
        ("stop", "stop the manager", service(Service::Stopped)),
        ("pull", "pull the new images on the agents", pulls(agents)),
        ("start", "start the manager", service(Service::Running)),
    ];
    Plan {
        v: PLAN_VERSION,
        plan: "9c1e4f02".to_owned(),
        runbook: "backend-ai".to_owned(),
        title: "Move Backend.AI off Docker Hub".to_owned(),
        cluster: "prod-a".to_owned(),
        read_at_ms: now_ms(),
        found: "Backend.AI 23.09.10".to_owned(),
        steps: steps.into_iter().enumerate().map(|(i, written)| step(i, written, agents)).collect(),
        ledger: vec![],
        wants: castoff::model::Wants::backend_ai(),
        totals: Totals { changes: changes + 2, pulls: changes, ..Totals::default() },
        limits,
        notes: vec![],
        blockers: vec![],
    }
}

fn step(i: usize, (id, title, changes): (&str, &str, Vec<Change>), agents: usize) -> PlannedStep {
    let planned = |(n, change)| PlannedChange::new(ChangeId { step: i, n }, change, false);
    PlannedStep {
        id: id.to_owned(),
        title: title.to_owned(),
        action: id.to_owned(),
        summary: format!("{} changes", changes.len()),
        gate: None,
        waves: (i == PULL).then(|| waves(agents)),
        changes: changes.into_iter().enumerate().map(planned).collect(),
        kept: vec![],
    }
}

/// One agent before the others.
fn waves(agents: usize) -> Waves {
    let host = |agent: usize| format!("gpu-{agent:04}");
    let hosts = vec![vec![host(0)], (1..agents).map(host).collect()];
    Waves { canary: true, hold: Hold::Prove, failures: 0, hosts }
}

fn pulls(agents: usize) -> Vec<Change> {
    let image = |n: usize| -> (ImageRef, Digest, Digest) {
        let name = format!("cr.backend.ai/stable/ngc-pytorch:22.{n:02}-py38-cuda11.6");
        (name.parse().expect("a name"), Digest::of(&name), Digest::of(&format!("config of {name}")))
    };
    let images: Vec<_> = (0..IMAGES).map(image).collect();
    let pull = |agent: usize| {
        images.iter().map(move |(image, digest, id)| Change::Pull {
            host: format!("gpu-{agent:04}"),
            image: image.clone(),
            digest: digest.clone(),
            id: id.clone(),
            before: None,
            size_bytes: SIZE_BYTES,
        })
    };
    (0..agents).flat_map(pull).collect()
}

/// What the teller does in each turn of its loop.
struct Teller {
    state: State,
    events: Sender<Event>,
    /// On their way, with the bytes that are there.
    flying: VecDeque<(usize, u64)>,
    next: usize,
}

impl Teller {
    /// Written, folded in, shown: as the engine does it, without the writing.
    fn tell(&mut self, entry: Entry) -> bool {
        let stamped = Stamped { seq: self.state.seq + 1, at_ms: now_ms(), entry };
        self.state.apply(&stamped).expect("a possible run");
        self.events.blocking_send(Event::Entry(stamped)).is_ok()
    }

    fn pass(&mut self, change: ChangeId) -> bool {
        self.tell(Entry::Started { change }) && self.tell(Entry::Done { change })
    }

    /// What follows by itself: a wave, and the next.
    fn turns(&mut self) -> bool {
        while let Next::Turn(entries) = self.state.next() {
            if !entries.into_iter().all(|entry| self.tell(entry)) {
                return false;
            }
        }
        true
    }

    fn start_next(&mut self) -> bool {
        // Every agent its third, then its next: as the limits would have it. The first one is done.
        let others = AGENTS - 1;
        let n = (1 + self.next % others) * IMAGES + self.next / others;
        self.next += 1;
        self.flying.push_back((n, 0));
        self.tell(Entry::Started { change: ChangeId { step: PULL, n } })
    }

    fn end_oldest(&mut self) -> bool {
        let Some((n, _)) = self.flying.pop_front() else { return false };
        self.tell(Entry::Done { change: ChangeId { step: PULL, n } }) && self.start_next()
    }

    fn progress(&mut self, nth: usize) {
        let i = nth % self.flying.len();
        let (n, done) = &mut self.flying[i];
        *done = (*done + 7_000_000).min(SIZE_BYTES);
        let change = ChangeId { step: PULL, n: *n };
        let progress = Progress { change, phase: "pulling".to_owned(), done: *done, total: SIZE_BYTES, at_ms: now_ms() };
        // Lost if the channel is full, as the engine's workers lose it.
        let _ = self.events.try_send(Event::Progress(progress));
    }
}

/// Tells of the run from `Begin` on, `per_s` progress events a second, until the front end stops it or goes.
pub fn tell(plan: &Arc<Plan>, events: Sender<Event>, mut commands: Receiver<Command>, per_s: u32) {
    if !matches!(commands.blocking_recv(), Some(Command::Begin)) {
        return;
    }
    let mut teller = Teller { state: State::default(), events, flying: VecDeque::new(), next: 0 };
    let begun = teller.tell(Entry::Planned { plan: plan.clone(), by: "kim on ops-01".to_owned() })
        && teller.pass(ChangeId { step: 0, n: 0 })
        && teller.turns()
        && (0..IMAGES).all(|n| teller.pass(ChangeId { step: PULL, n }))
        && teller.turns()
        && (0..FLYING).all(|_| teller.start_next());
    let since = Instant::now();
    let (mut told, mut ended) = (0_usize, 0_usize);
    while begun && matches!(commands.try_recv(), Err(TryRecvError::Empty)) {
        thread::sleep(Duration::from_millis(if per_s > 0 { 1 } else { 100 }));
        let due = |per_s: u32| usize::try_from(since.elapsed().as_millis()).unwrap_or(usize::MAX) * per_s as usize / 1000;
        while per_s > 0 && ended < due(ENDING_PER_S) {
            ended += 1;
            if !teller.end_oldest() {
                return;
            }
        }
        while told < due(per_s) {
            told += 1;
            teller.progress(told);
        }
    }
}
