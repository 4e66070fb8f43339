//! A run that meets what it did not expect: what was done before it, faults that last, drift. It stops, or leaves it alone.

use super::fuse::Fuse;
use super::stories::forward;
use super::walk::{End, Family, Stage, Story, back_after, family, settled, start};
use castoff::cluster::Cluster;
use castoff::engine::Ending;
use castoff::model::{Entry, Fault, FaultKind, Outcome, Part, Stamped, State, Wants};
use castoff::runbook::{Runbook, SHIPPED};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The run comes to a failure, and then to no end: it waits for a person.
async fn waits_for_a_person(running: impl Future<Output = Option<Ending>>, state: &Path) {
    let failed = async {
        let begun = Instant::now();
        let is_failed = |entries: Vec<Stamped>| entries.iter().any(|e| matches!(e.entry, Entry::Failed { .. }));
        while !castoff::journal::read(state, "run").await.is_ok_and(is_failed) {
            assert!(begun.elapsed() < Duration::from_mins(1), "nothing fails");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Long enough for what it must not do.
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    tokio::select! {
        ended = running => panic!("it waits for nobody: {ended:?}"),
        () = failed => {}
    }
}

#[tokio::test]
async fn a_second_run_finds_everything_and_changes_nothing() {
    for (name, text) in SHIPPED.iter().filter(|(name, _)| family(name) == Family::Move) {
        let runbook = Runbook::parse(name, text, &[]).unwrap();
        let (_, planned) = runbook.plan(&start()).unwrap();
        let after = settled(planned);
        let (again, _) = runbook.plan(&after).unwrap();
        assert!(again.is_empty() && again.totals.found > 0, "{name}: {:#?}", again.totals);
        let mut stage = Stage::new(Arc::new(again), after.clone());
        let ending = stage.process(&forward(), &Fuse::never()).await;
        assert_eq!(ending, Some(Ending::Finished(Outcome::Done)));
        assert_eq!(stage.sim.world(), after);
        let entries = stage.entries().await;
        assert!(!entries.iter().any(|e| matches!(e.entry, Entry::Started { .. })), "{name}: something was begun");
    }
}

#[tokio::test]
async fn what_was_found_is_left_alone_by_a_rollback() {
    let runbook = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap();
    let (plan, _) = runbook.plan(&start()).unwrap();
    // Somebody pulls one image between the plan and the run.
    let theirs = plan.steps[1].changes[0].change.clone();
    let mut stage = Stage::new(Arc::new(plan), start());
    stage.sim.meddle(|world| world.apply(&theirs));
    let before = settled(stage.sim.world());
    let story = Story { operator: |_, _, state| back_after(20, state), ..Story::new("back", End::RolledBack) };
    let ending = stage.process(&story, &Fuse::never()).await;
    assert_eq!(ending, Some(Ending::Finished(Outcome::RolledBack)));
    assert_eq!(settled(stage.sim.world()), before);
}

#[tokio::test]
async fn passing_faults_are_retried_and_lasting_ones_stop_the_run() {
    let runbook = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap();
    let (plan, planned) = runbook.plan(&start()).unwrap();
    let busy = || Fault::new(FaultKind::Passing, "cannot pull", "503").retry_after_ms(Some(5));
    let plan = Arc::new(plan);
    let mut stage = Stage::new(plan.clone(), start());
    stage.sim.fail("pull", "gpu-01", vec![busy(), busy()]);
    let ending = stage.process(&forward(), &Fuse::never()).await;
    assert_eq!(ending, Some(Ending::Finished(Outcome::Done)));
    assert_eq!(settled(stage.sim.world()), settled(planned));
    let entries = stage.entries().await;
    let retried = entries.iter().filter(|e| matches!(e.entry, Entry::Retried { .. })).count();
    assert_eq!(retried, 2);

    let mut stage = Stage::new(plan, start());
    stage.sim.fail("pull", "gpu-01", vec![Fault::new(FaultKind::Space, "cannot pull", "no space left on device")]);
    let (story, fuse, state) = (forward(), Fuse::never(), stage.state.path().to_owned());
    waits_for_a_person(Box::pin(stage.process(&story, &fuse)), &state).await;
    let entries = stage.entries().await;
    let folded = State::fold(&entries).unwrap();
    assert_eq!(folded.causes().len(), 1);
    assert!(stage.sim.world().managers.values().all(|m| m.running), "nothing after the failed step was begun");
}

#[tokio::test]
async fn drift_stops_the_run_before_any_effect() {
    let runbook = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap();
    let (plan, _) = runbook.plan(&start()).unwrap();
    let (story, fuse) = (forward(), Fuse::never());
    let mut stage = Stage::new(Arc::new(plan), start());
    stage.sim.meddle(|world| {
        let row = world.tables.get_mut("domains").unwrap().iter_mut().find(|row| row["name"] == "research").unwrap();
        row.insert("allowed_docker_registries".to_owned(), serde_json::json!(["index.docker.io", "new.example"]));
    });
    let fresh = stage.sim.read(&Wants { parts: [Part::Tables].into_iter().collect(), ..Wants::default() }).await;
    assert_eq!(stage.plan.differences(&fresh).len(), 1, "a saved plan is stale");
    let state = stage.state.path().to_owned();
    waits_for_a_person(Box::pin(stage.process(&story, &fuse)), &state).await;
    let entries = stage.entries().await;
    let folded = State::fold(&entries).unwrap();
    let causes = folded.causes();
    assert_eq!(causes[0].0.kind, FaultKind::Drift);
    assert!(causes[0].0.why.contains("new.example"), "{}", causes[0].0.why);
    assert!(!entries.iter().any(|e| matches!(&e.entry, Entry::Started { change } if *change == causes[0].1[0])));
}
