//! The kept grid against one that is folded anew, after everything that can happen to a run.
//! Never a picture: those are in `tests/screens.rs`.

use super::*;
use crate::model::{Digest, Entry, Event, Fault, FaultKind, Limits, PlannedChange, PlannedStep, Stamped, Totals};
use crate::tui::{Look, OnHangup, Start, app::App};
use proptest::prelude::*;

const HOSTS: usize = 3;
const IMAGES: usize = 4;

fn plan() -> Plan {
    let change = |n: usize| Change::Pull {
        host: format!("gpu-{}", 8 + n / IMAGES),
        image: format!("cr.backend.ai/stable/python:{}", n % IMAGES).parse().unwrap(),
        digest: Digest::of(&n.to_string()),
        id: Digest::of(&n.to_string()),
        before: None,
        // One that moves no bytes at all.
        size_bytes: if n == 5 { 0 } else { 1000 + n as u64 },
    };
    let changes = (0..HOSTS * IMAGES).map(|n| PlannedChange::new(ChangeId { step: 0, n }, change(n), n == 7));
    let step = PlannedStep {
        id: "pull".to_owned(),
        title: "pull".to_owned(),
        action: "pull".to_owned(),
        summary: String::new(),
        gate: None,
        changes: changes.collect(),
        kept: vec![],
        waves: None,
    };
    Plan {
        v: 1,
        plan: "9c1e4f02".to_owned(),
        runbook: "backend-ai".to_owned(),
        title: String::new(),
        cluster: "prod-a".to_owned(),
        read_at_ms: 0,
        found: String::new(),
        steps: vec![step],
        ledger: vec![],
        wants: crate::model::Wants::backend_ai(),
        totals: Totals { changes: 12, ..Totals::default() },
        limits: Limits::default(),
        notes: vec![],
        blockers: vec![],
    }
}

fn app() -> App {
    let look = Look { mono: false, ascii: false, colorblind: false, zone: jiff::tz::TimeZone::UTC };
    let (run, folder) = (String::new(), "/x".into());
    let (on_hangup, rollback_to, again) = (OnHangup::Pause, None, String::new());
    let start = Start {
        plan: plan().into(),
        entries: vec![],
        run,
        simulated: false,
        folder,
        journal: String::new(),
        look,
        rollback_to,
        on_hangup,
        again,
        still: false,
        hidden: vec![],
        watching: None,
        window: None,
    };
    let mut app = App::new(start, 0).unwrap();
    tell(&mut app, Entry::Planned { plan: plan().into(), by: "kim".to_owned() }, 0);
    app
}

/// Entries that cannot follow are refused by the state, and must not reach the grid either.
fn tell(app: &mut App, entry: Entry, at_ms: i64) {
    let seq = app.state.seq + 1;
    app.event(Event::Entry(Stamped { seq, at_ms, entry }), at_ms);
}

fn fault(n: u64) -> Fault {
    Fault::new(FaultKind::Lasting, "cannot pull `x` on `y`", format!("cause {}", n % 2))
}

/// One of everything that can happen.
fn happen(app: &mut App, what: u8, n: usize, amount: u64, at_ms: i64) {
    let change = ChangeId { step: 0, n };
    let entry = match what {
        0 | 1 => Entry::Started { change },
        2 | 3 => Entry::Done { change },
        4 => Entry::Failed { change, fault: fault(amount) },
        5 => Entry::Retried { change, why: format!("cannot pull `x` on `y`: cause {}", amount % 2), after_ms: amount % 2 },
        6 => Entry::Found { change },
        7 if amount < 300 => Entry::Skipped { change, why: "old".to_owned(), by: "kim".to_owned() },
        8 if amount < 60 => Entry::RollbackBegun { to: 0, by: "kim".to_owned(), why: "late".to_owned() },
        8 => Entry::UndoStarted { change },
        9 if amount < 200 => Entry::UndoFailed { change, fault: fault(amount) },
        9 => Entry::Undone { change },
        10 if amount < 40 => return app.engine_ended(),
        10 => return app.tick(at_ms),
        _ => {
            let phase = if amount.is_multiple_of(5) { "stalled" } else { "pulling" }.to_owned();
            return app.event(Event::Progress(Progress { change, phase, done: amount, total: 1100, at_ms }), at_ms);
        }
    };
    tell(app, entry, at_ms);
}

fn check(app: &App) -> Result<(), TestCaseError> {
    let kept = app.cells.grid(0).unwrap();
    let mut anew = Grid::of(&app.plan, 0).unwrap();
    anew.fold(&app.state, &app.progress, app.begun && !app.over, kept.now_ms);
    prop_assert!(kept.seen() == anew.seen(), "{:#?}\n{:#?}", kept.seen(), anew.seen());
    let mut order: Vec<usize> = (0..HOSTS).collect();
    order.sort_by_key(|host| kept.hosts[*host].key(*host));
    prop_assert_eq!(kept.hosts_worst_first().collect::<Vec<_>>(), order);
    prop_assert_eq!(kept.sums.done + kept.cells.iter().map(|cell| cell.size - cell.done).sum::<u64>(), kept.sums.size);
    let tally = app.state.tally(0);
    prop_assert_eq!(u64::from(kept.sums.count(Stand::Failed)), tally.failed);
    prop_assert_eq!(u64::from(kept.sums.count(Stand::Done)), tally.done);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_grid_that_is_kept_equals_one_that_is_folded_anew(
        story in prop::collection::vec((0u8..14, 0usize..HOSTS * IMAGES, 0u64..1200, 0i64..20_000), 0..120)
    ) {
        let mut app = app();
        let mut at_ms = 1000;
        for (what, n, amount, after_ms) in story {
            at_ms += after_ms;
            happen(&mut app, what, n, amount, at_ms);
            check(&app)?;
        }
    }
}

#[test]
fn the_worst_host_comes_first_and_a_done_one_after_all_that_is_begun() {
    let mut app = app();
    for n in 0..IMAGES {
        tell(&mut app, Entry::Started { change: ChangeId { step: 0, n } }, 1000);
        tell(&mut app, Entry::Done { change: ChangeId { step: 0, n } }, 2000);
    }
    let last = ChangeId { step: 0, n: 2 * IMAGES };
    tell(&mut app, Entry::Started { change: last }, 3000);
    let order = |app: &App| {
        let grid = app.cells.grid(0).unwrap();
        grid.hosts_worst_first().map(|host| grid.hosts[host].name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(order(&app), ["gpu-10", "gpu-8", "gpu-9"]);
    tell(&mut app, Entry::Failed { change: last, fault: fault(0) }, 4000);
    tell(&mut app, Entry::Started { change: ChangeId { step: 0, n: IMAGES } }, 5000);
    assert_eq!(order(&app), ["gpu-10", "gpu-9", "gpu-8"]);
}

#[test]
fn what_is_silent_for_a_minute_has_stalled_until_it_says_something() {
    let mut app = app();
    let change = ChangeId { step: 0, n: 0 };
    tell(&mut app, Entry::Started { change }, 1000);
    let stand = |app: &App| app.cells.grid(0).unwrap().cell(0).stand;
    app.tick(60_000);
    assert_eq!(stand(&app), Stand::Running);
    app.tick(62_000);
    assert_eq!(stand(&app), Stand::Stalled);
    app.event(Event::Progress(Progress { change, phase: "pulling".to_owned(), done: 1, total: 2, at_ms: 62_000 }), 62_500);
    assert_eq!(stand(&app), Stand::Running);
    app.engine_ended();
    assert_eq!(stand(&app), Stand::Unknown);
}
