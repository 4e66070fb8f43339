//! Every shipped runbook, cut off at every point: at each entry, before and after each effect, forward, on the way back,
//! and while something else happens to it. Resumed, it ends in exactly the planned inventory, or in the one it began with.
//! The walks over the larger cluster, and those with two crashes at every pair of points, are for the soak.

mod asked;
mod faults;
mod fuse;
mod mirrors;
mod stories;
mod walk;

use castoff::model::{Entry, Stamped};
use stories::{aborted, again, aside, back, forward, limits, passing, paused, retried_back, skipped, stopping, window};
use walk::{Family, Story, every_point, points, start, two_crashes, with_units};

fn count(entries: &[Stamped], which: fn(&Entry) -> bool) -> usize {
    entries.iter().filter(|stamped| which(&stamped.entry)).count()
}

#[tokio::test]
async fn a_crash_anywhere_is_resumed() {
    every_point(&forward(), |_| {}).await;
}

#[tokio::test]
async fn a_crash_anywhere_in_a_rollback_is_resumed() {
    let [first, half, last] = back();
    every_point(&first, |_| {}).await;
    every_point(&half, |_| {}).await;
    // The long walks are whole in the soak.
    points(&last, 3, |_| {}).await;
}

#[tokio::test]
async fn a_crash_in_a_retry_is_resumed() {
    every_point(&passing(), |entries| {
        assert_eq!(count(entries, |entry| matches!(entry, Entry::Retried { .. })), 3);
    })
    .await;
    every_point(&again(), |entries| {
        let asked = |entry: &Entry| matches!(entry, Entry::Retried { why, .. } if why.starts_with("asked by"));
        assert_eq!((count(entries, |entry| matches!(entry, Entry::Failed { .. })), count(entries, asked)), (2, 2));
    })
    .await;
}

#[tokio::test]
async fn a_crash_of_a_paused_run_is_resumed() {
    every_point(&paused(), |entries| {
        assert_eq!(count(entries, |entry| matches!(entry, Entry::Paused { .. })), 2);
        assert_eq!(count(entries, |entry| matches!(entry, Entry::Continued { .. })), 2);
    })
    .await;
}

#[tokio::test]
async fn a_crash_while_a_limit_is_changed_is_resumed() {
    every_point(&limits(), |entries| assert_eq!(count(entries, |entry| matches!(entry, Entry::LimitChanged { .. })), 4)).await;
}

#[tokio::test]
async fn a_crash_while_a_window_is_moved_is_resumed() {
    every_point(&window(), |entries| {
        assert_eq!(count(entries, |entry| matches!(entry, Entry::WindowSet { .. })), 1);
        assert_eq!(count(entries, |entry| matches!(entry, Entry::WindowMoved { .. })), 2);
    })
    .await;
}

#[tokio::test]
async fn a_crash_anywhere_in_waves_skips_no_canary_and_forgets_no_host() {
    every_point(&aside(), |entries| {
        assert_eq!(count(entries, |entry| matches!(entry, Entry::SetAside { .. })), 1);
        assert_eq!(count(entries, |entry| matches!(entry, Entry::CameBack { .. })), 1);
        assert!(count(entries, |entry| matches!(entry, Entry::WavePassed { .. })) >= 1);
    })
    .await;
}

#[tokio::test]
async fn a_crash_while_something_is_skipped_is_resumed() {
    every_point(&skipped(), |entries| assert_eq!(count(entries, |entry| matches!(entry, Entry::Skipped { .. })), 1)).await;
}

#[tokio::test]
async fn a_crash_in_an_abort_leaves_exactly_what_is_done() {
    every_point(&aborted(), |_| {}).await;
}

#[tokio::test]
async fn a_crash_anywhere_in_a_brown_out_gives_the_registry_back() {
    let [after_the_first, _, _] = back();
    for story in [forward(), after_the_first] {
        let story = Story { of: Family::ThereAndBack, ..story };
        every_point(&story, |_| {}).await;
        two_crashes(&story, 1).await;
    }
}

#[tokio::test]
async fn a_crash_anywhere_in_a_runbook_of_mirrors_is_resumed() {
    let [first, half, last] = back();
    every_point(&Story { of: Family::Mirror, ..forward() }, |_| {}).await;
    for story in [first, half, last] {
        points(&Story { of: Family::Mirror, ..story }, 2, |_| {}).await;
    }
    two_crashes(&Story { of: Family::Mirror, ..forward() }, 17).await;
}

#[tokio::test]
async fn a_crash_anywhere_in_a_runbook_of_files_and_units_is_resumed() {
    let [first, half, last] = back();
    every_point(&Story { of: Family::Own, start: with_units, ..forward() }, |_| {}).await;
    for story in [first, half, last] {
        points(&Story { of: Family::Own, start: with_units, ..story }, 4, |_| {}).await;
    }
    two_crashes(&Story { of: Family::Own, start: with_units, ..forward() }, 29).await;
}

#[tokio::test]
async fn a_crash_while_something_happens_to_a_run_of_mirrors_is_resumed() {
    let one = |story: &'static str, which: fn(&Entry) -> bool, times: usize| {
        move |entries: &[Stamped]| {
            mirrors::proven(entries);
            assert_eq!(count(entries, which), times, "{story}");
        }
    };
    let retried: fn(&Entry) -> bool = |entry| matches!(entry, Entry::Retried { .. });
    // The walks are whole in the soak.
    points(&mirrors::passing(), 3, one("a retry", retried, 2)).await;
    points(&mirrors::again(), 3, one("asked again", |entry| matches!(entry, Entry::Failed { .. }), 1)).await;
    points(&mirrors::skipped(), 3, one("skipped", |entry| matches!(entry, Entry::Skipped { .. }), 1)).await;
    let undone: fn(&Entry) -> bool = |entry| matches!(entry, Entry::UndoFailed { .. });
    points(&mirrors::skipped_and_back(), 5, one("skipped and taken back", undone, 0)).await;
    points(&mirrors::paused(), 5, one("paused", |entry| matches!(entry, Entry::Paused { .. }), 1)).await;
    points(&mirrors::aborted(), 5, |_| {}).await;
    points(&mirrors::aside(), 7, |entries| {
        assert_eq!(count(entries, |entry| matches!(entry, Entry::SetAside { .. })), 1);
        assert_eq!(count(entries, |entry| matches!(entry, Entry::CameBack { .. })), 1);
    })
    .await;
    points(&mirrors::retried_back(), 7, one("stuck", |entry| matches!(entry, Entry::UndoFailed { .. }), 1)).await;
    points(&mirrors::retried_back_beside_a_failure(), 7, |entries| {
        assert_eq!(count(entries, |entry| matches!(entry, Entry::Failed { .. })), 1);
        assert_eq!(count(entries, |entry| matches!(entry, Entry::UndoFailed { .. })), 1);
    })
    .await;
}

#[tokio::test]
async fn a_crash_in_the_retry_of_a_stuck_rollback_is_resumed() {
    points(&retried_back(), 3, |entries| {
        assert_eq!(count(entries, |entry| matches!(entry, Entry::UndoFailed { .. })), 1);
    })
    .await;
}

#[tokio::test]
async fn a_second_crash_in_the_resume_of_the_first_is_resumed() {
    for story in [forward(), passing(), stopping(), retried_back()] {
        two_crashes(&story, 19).await;
    }
    two_crashes(&back()[1], 19).await;
}

#[tokio::test]
#[ignore = "soak"]
async fn soak_every_story_on_the_larger_cluster() {
    let mut stories =
        vec![forward(), passing(), again(), paused(), limits(), window(), aside(), skipped(), aborted(), retried_back()];
    stories.extend(back());
    for story in stories {
        every_point(&Story { start, ..story }, |_| {}).await;
    }
    for story in [mirrors::paused(), mirrors::aborted(), mirrors::aside(), mirrors::retried_back()] {
        every_point(&story, |_| {}).await;
    }
}

#[tokio::test]
#[ignore = "soak"]
async fn soak_every_story_of_mirrors() {
    let mut stories = vec![mirrors::passing(), mirrors::again(), mirrors::skipped(), mirrors::paused(), mirrors::aborted()];
    stories.extend([mirrors::aside(), mirrors::retried_back(), mirrors::skipped_and_back()]);
    stories.push(mirrors::retried_back_beside_a_failure());
    stories.extend(back().map(|story| Story { of: Family::Mirror, ..story }));
    for story in stories {
        every_point(&story, |_| {}).await;
    }
}

#[tokio::test]
#[ignore = "soak"]
async fn soak_two_crashes_at_every_pair_of_points() {
    for story in [forward(), passing(), stopping(), retried_back(), mirrors::retried_back()].into_iter().chain(back()) {
        two_crashes(&story, 1).await;
    }
}
