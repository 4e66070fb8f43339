//! Whatever a person asks at whatever time, and whatever fails meanwhile: no entry is written that cannot follow, the run goes
//! on, and it ends in what its journal says.

use super::walk::{Family, Story, now_ms, settled, shipped, shm, small};
use async_trait::async_trait;
use castoff::cluster::{
    Cluster, Report,
    sim::{Pace, Sim},
};
use castoff::engine::{Ending, Engine, Setup};
use castoff::journal::Journal;
use castoff::model::{
    Change, Command, Event, Fault, FaultKind, Inventory, Next, Outcome, Plan, Stamped, Standing, State, Status, Stop, Target,
    Wants,
};
use proptest::prelude::*;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;
use tokio::{sync::mpsc, time::Instant};

/// No entry for so long: nothing goes on by itself.
const IDLE: Duration = Duration::from_millis(40);
/// More than any case needs to come to its end.
const ROUNDS: usize = 600;

/// A simulator of which some calls fail, counted over all of them.
struct Moody {
    sim: Sim,
    calls: AtomicUsize,
    /// The call, what is said of it, and whether it took effect all the same.
    troubles: Vec<(usize, FaultKind, bool)>,
}

impl Moody {
    fn trouble(&self) -> Option<(Fault, bool)> {
        let n = self.calls.fetch_add(1, Ordering::SeqCst);
        let found = self.troubles.iter().find(|(at, ..)| *at == n)?;
        Some((Fault::new(found.1, "cannot do it", "it fails now"), found.2))
    }
}

#[async_trait]
impl Cluster for Moody {
    async fn read(&self, wants: &Wants) -> Inventory {
        self.sim.read(wants).await
    }
    async fn standing(&self, change: &Change) -> Result<Standing, Fault> {
        match self.trouble() {
            Some((fault, _)) => Err(fault),
            None => self.sim.standing(change).await,
        }
    }
    async fn apply(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        let trouble = self.trouble();
        if trouble.as_ref().is_none_or(|(_, done)| *done) {
            self.sim.apply(change, report).await?;
        }
        trouble.map_or(Ok(()), |(fault, _)| Err(fault))
    }
    async fn undo(&self, change: &Change, report: Report<'_>) -> Result<(), Fault> {
        let trouble = self.trouble();
        if trouble.as_ref().is_none_or(|(_, done)| *done) {
            self.sim.undo(change, report).await?;
        }
        trouble.map_or(Ok(()), |(fault, _)| Err(fault))
    }
}

/// What a person may ask; numbers are taken as they fit the plan.
#[derive(Clone, Debug)]
enum Wish {
    Pause,
    Continue,
    Retry,
    RetryOne(usize),
    Skip,
    SkipOne(usize),
    RollBack(usize),
    Abort,
    Stop,
    Limit(u32),
}

impl Wish {
    fn command(&self, plan: &Plan) -> Command {
        let one = |n: usize| {
            let ids: Vec<_> = plan.steps.iter().flat_map(|step| &step.changes).map(|planned| planned.id).collect();
            Target::Changes(vec![ids[n % ids.len()]])
        };
        let why = || "test".to_owned();
        match self {
            Self::Pause => Command::Pause,
            Self::Continue => Command::Continue,
            Self::Retry => Command::Retry(Target::Failed),
            Self::RetryOne(n) => Command::Retry(one(*n)),
            Self::Skip => Command::Skip { target: Target::Failed, why: why() },
            Self::SkipOne(n) => Command::Skip { target: one(*n), why: why() },
            Self::RollBack(n) => Command::RollBack { to: n % plan.steps.len(), why: why() },
            Self::Abort => Command::Abort { why: why() },
            Self::Stop => Command::Stop,
            Self::Limit(n) => Command::SetLimit(format!("total={n}").parse().unwrap()),
        }
    }
}

/// What a person does where nothing goes on, the n-th time.
fn patient(plan: &Plan, state: &State, n: usize) -> Command {
    match state.next() {
        // What counts on something that was skipped fails each time.
        Next::Stop(Stop::Failed(_)) if n > 30 => Command::RollBack { to: 0, why: "test".to_owned() },
        Next::Stop(Stop::Paused) => Command::Continue,
        Next::Stop(_) => Command::Retry(Target::Failed),
        Next::Canary(step) => Command::ApproveCanary { step, plan: plan.plan.clone(), typed: "yes".to_owned() },
        Next::Gate(step) => {
            let typed = state.gate(step).unwrap().sentence.clone();
            Command::Approve { step, plan: plan.plan.clone(), typed }
        }
        _ => Command::Recheck,
    }
}

/// One process after the other until the run is over. Each wish is asked when as many entries are there, or when nothing
/// goes on.
async fn play(plan: Arc<Plan>, cluster: Arc<Moody>, mut wishes: Vec<(u64, Wish)>) -> (Vec<Stamped>, Outcome) {
    let folder = shm();
    wishes.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let mut rounds = 0;
    loop {
        let journal = match Journal::open(folder.path(), "run", "test").await {
            Ok(journal) => journal,
            Err(_) => Journal::create(folder.path(), "run", "test").await.unwrap(),
        };
        let mut seen = State::fold(&journal.entries().await.unwrap()).unwrap();
        let (to_engine, commands) = mpsc::channel(64);
        let (events, mut from_engine) = mpsc::channel(64);
        let setup = Setup {
            recheck: Duration::from_millis(1),
            backoff: Duration::from_millis(1),
            ..Setup::new(cluster.clone(), journal, (commands, events), "test", now_ms)
        };
        let engine = tokio::spawn(Engine::new(setup).await.unwrap().run(Some(plan.clone())));
        to_engine.send(Command::Begin).await.unwrap();
        let (mut idle, mut in_vain) = (Instant::now() + IDLE, 0);
        loop {
            let event = match tokio::time::timeout_at(idle, from_engine.recv()).await {
                Ok(None) => break,
                Ok(event) => event,
                Err(_) => None,
            };
            match event {
                Some(Event::Entry(entry)) => {
                    (idle, in_vain) = (Instant::now() + IDLE, 0);
                    seen.apply(&entry).unwrap();
                    while let Some((_, wish)) = wishes.pop_if(|(at, _)| *at <= entry.seq) {
                        let _ = to_engine.send(wish.command(&plan)).await;
                    }
                }
                Some(Event::Refused(why)) => assert!(!why.contains("cannot follow"), "{why}"),
                Some(_) => {}
                None => {
                    idle = Instant::now() + IDLE;
                    (rounds, in_vain) = (rounds + 1, in_vain + 1);
                    if rounds >= ROUNDS {
                        let entries = castoff::journal::read(folder.path(), "run").await.unwrap();
                        panic!("it comes to no end: {:?}\n{}", seen.next(), told(&entries));
                    }
                    let wish = if in_vain > 1 { wishes.pop() } else { None };
                    let command = wish.map_or_else(|| patient(&plan, &seen, rounds), |(_, wish)| wish.command(&plan));
                    let _ = to_engine.send(command).await;
                }
            }
        }
        match engine.await.unwrap().expect("no engine ends by an error") {
            Ending::Finished(outcome) => {
                return (castoff::journal::read(folder.path(), "run").await.unwrap(), outcome);
            }
            Ending::Stopped | Ending::Cut(_) => {}
        }
    }
}

/// The entries but for the plan, a line each.
fn told(entries: &[Stamped]) -> String {
    let lines: Vec<String> = entries.iter().skip(1).map(|stamped| format!("{} {:?}", stamped.seq, stamped.entry)).collect();
    lines.join("\n")
}

/// `make soak` plays more.
fn cases() -> u32 {
    std::env::var("CASTOFF_SOAK_CASES").map_or(40, |n| n.parse().expect("a number of cases"))
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        2 => Just(Wish::Pause),
        3 => Just(Wish::Continue),
        4 => Just(Wish::Retry),
        2 => any::<usize>().prop_map(Wish::RetryOne),
        2 => Just(Wish::Skip),
        3 => any::<usize>().prop_map(Wish::SkipOne),
        3 => any::<usize>().prop_map(Wish::RollBack),
        1 => Just(Wish::Abort),
        1 => Just(Wish::Stop),
        1 => (1u32..9).prop_map(Wish::Limit),
    ]
}

fn kind() -> impl Strategy<Value = FaultKind> {
    prop_oneof![Just(FaultKind::Passing), Just(FaultKind::Lasting), Just(FaultKind::Drift), Just(FaultKind::Space)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 12, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn whatever_is_asked_at_whatever_time_the_run_ends_as_its_journal_says(
        of_mirrors in any::<bool>(),
        which in any::<usize>(),
        wishes in prop::collection::vec((0u64..100, wish()), 0..9),
        troubles in prop::collection::vec((0u64..100, kind(), any::<bool>()), 0..7),
    ) {
        let of = if of_mirrors { Family::Mirror } else { Family::Move };
        let runbooks = shipped(&Story { of, ..super::stories::forward() });
        let runbook = &runbooks[which % runbooks.len()];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let start = Sim::new(small(), Pace::Instant).read(&runbook.wants()).await;
            let (plan, _) = runbook.plan(&start).unwrap();
            let plan = Arc::new(plan);
            // Hundredths of what a run takes: entries, and calls.
            let wishes = wishes.into_iter().map(|(at, wish)| (at * (plan.totals.changes * 2 + 6) / 100, wish)).collect();
            let call = |at: u64| usize::try_from(at * plan.totals.changes * 5 / 100).unwrap();
            let troubles = troubles.into_iter().map(|(at, kind, done)| (call(at), kind, done)).collect();
            let cluster = Moody { sim: Sim::new(start.clone(), Pace::Instant), calls: AtomicUsize::new(0), troubles };
            let cluster = Arc::new(cluster);
            let (entries, outcome) = play(plan.clone(), cluster.clone(), wishes).await;
            let state = State::fold(&entries).unwrap();
            assert_eq!(state.finished.as_ref(), Some(&outcome));
            let all = || plan.steps.iter().flat_map(|step| &step.changes).map(|planned| (planned, &state.status(planned.id).status));
            // What is left out after it was begun stands as it was left.
            let whole = !all().any(|(_, status)| matches!(status, Status::Skipped(_)));
            if whole && !matches!(outcome, Outcome::Aborted(_)) {
                let mut expected = start.clone();
                all().filter(|(_, status)| **status == Status::Done).for_each(|(planned, _)| expected.apply(&planned.change));
                let (is, should) = (format!("{:#?}", settled(cluster.sim.world())), format!("{:#?}", settled(expected)));
                let differs = similar::TextDiff::from_lines(&should, &is).unified_diff().to_string();
                assert!(differs.is_empty(), "{outcome:?}: the cluster is not what the journal says:\n{differs}\n{}", told(&entries));
            }
        });
    }
}
