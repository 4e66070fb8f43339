//! The pages of a run that puts a mirror in front of Docker Hub, and what plan and report say of it.
//! Never draws what another run would not.

use super::*;
use castoff::model::{ChangeId, Entry, Fault, FaultKind, Outcome, State};
use castoff::report;

fn planned(plan: castoff::model::Plan) -> App {
    App::new(start(plan, vec![]), NIGHT_MS).unwrap()
}

fn midway() -> App {
    let mut app = running(&mirrors::midway());
    for progress in mirrors::progress() {
        app.event(Event::Progress(progress), app.now_ms);
    }
    app
}

/// At the gate, which has been looked at.
fn at_the_gate(plan: castoff::model::Plan) -> App {
    let story = mirrors::asking(plan);
    let mut app = running(&story);
    let report = castoff::model::GateReport { step: 1, problems: vec![], read_at_ms: story.at_ms };
    app.event(Event::Gate(report), story.at_ms + 4000);
    app
}

#[test]
fn the_plan_of_a_mirror() {
    let mut app = planned(mirrors::plan());
    app.step = 1;
    app.change = 2;
    check("mirror-plan", &mut app);
    letter(&mut app, 'd');
    check("mirror-diff", &mut app);
    press(&mut app, KeyCode::Esc);
    letter(&mut app, 'x');
    check("mirror-explain", &mut app);
    press(&mut app, KeyCode::Esc);
    press(&mut app, KeyCode::Enter);
    check("mirror-hosts-planned", &mut app);
    check("mirror-nothing", &mut planned(mirrors::nothing()));
}

#[test]
fn a_mirror_that_cannot_be_put_there() {
    let mut app = planned(mirrors::blocked());
    assert_eq!(letter(&mut app, 'E'), None);
    check("mirror-blocked", &mut app);
    letter(&mut app, 'i');
    check("mirror-notes", &mut app);
}

#[test]
fn hosts_that_get_a_mirror() {
    let mut app = midway();
    check("mirror-running", &mut app);
    press(&mut app, KeyCode::Enter);
    press(&mut app, KeyCode::Down);
    check("mirror-hosts", &mut app);
    letter(&mut app, 'd');
    check("mirror-diff-done", &mut app);
    let mut app = midway();
    letter(&mut app, 'l');
    check("mirror-log", &mut app);
}

#[test]
fn a_proof_that_fails() {
    let mut app = running(&mirrors::failed());
    check("mirror-failure", &mut app);
    press(&mut app, KeyCode::Enter);
    check("mirror-hosts-failed", &mut app);
}

#[test]
fn a_gate_says_which_containers_stop() {
    check("mirror-gate", &mut at_the_gate(mirrors::plan()));
    check("mirror-gate-restart", &mut at_the_gate(mirrors::restarting()));
}

#[test]
fn the_end_of_a_mirror_run() {
    let mut app = running(&mirrors::over());
    let drawn = picture(&mut app, (120, 36));
    assert!(!drawn.contains("LEFT TO DO"), "what is only to know is no work: {drawn}");
    check("mirror-end", &mut app);
    // Names of real runs are long: the head of the plain lines does not fit there, and is not drawn in any of its parts.
    "20261122-110015-e998".clone_into(&mut app.run);
    let drawn = picture(&mut app, (60, 16));
    assert!(!drawn.contains("----") && drawn.matches("DONE").count() == 1, "{drawn}");
    check("mirror-rolled-back", &mut running(&mirrors::rolled_back()));
}

fn question(app: &mut App, key: char) -> String {
    letter(app, key);
    picture(app, (120, 36)).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_was_begun_is_never_called_not_made() {
    let mut app = running(&mirrors::failed());
    let drawn = question(&mut app, 'A');
    assert!(drawn.contains("4 changes done stay as they are; 2 were begun and may stand; 6 are not made."), "{drawn}");
    let mut story = mirrors::failed();
    story.push(Entry::Finished { outcome: Outcome::Aborted("enough".to_owned()) });
    let state = State::fold(&story.entries).unwrap();
    let report = report::report_markdown("7f3a", &state, &story.entries);
    let line = "what was begun there may stand   (gpu-04, gpu-05)";
    assert!(report.contains("## Left to do by hand") && report.contains(line), "{report}");
    assert!(picture(&mut running(&story), (160, 40)).contains("(gpu-04, gpu-05)"));
}

#[test]
fn a_rollback_counts_what_it_takes_back_also_of_hosts_that_were_left_out() {
    let mut app = running(&mirrors::skipped());
    let drawn = question(&mut app, 'B');
    assert!(drawn.contains("12 changes would be undone"), "{drawn}");
    let mut story = mirrors::skipped();
    mirrors::roll_back(&mut story, 0..11);
    // The last one is changed by somebody, and left as it is.
    let change = ChangeId { step: 1, n: 11 };
    let fault = Fault::new(FaultKind::Drift, "cannot undo", "edited");
    let (why, by) = ("edited by lee".to_owned(), "kim on ops-01".to_owned());
    story.push(Entry::UndoStarted { change });
    story.push(Entry::UndoFailed { change, fault });
    story.push(Entry::Skipped { change, why, by });
    story.push(Entry::Finished { outcome: Outcome::RolledBack });
    let drawn = picture(&mut running(&story), (120, 36));
    assert!(drawn.contains("ROLLED BACK, 1 LEFT TO DO") && drawn.contains("(gpu-12)"), "{drawn}");
}

#[test]
fn a_rollback_says_how_much_of_it_is_done() {
    let mut story = mirrors::over();
    mirrors::roll_back(&mut story, 6..12);
    story.push(Entry::UndoStarted { change: ChangeId { step: 1, n: 5 } });
    let drawn = picture(&mut running(&story), (120, 36));
    assert!(drawn.contains("undoing 50%"), "{drawn}");
}

#[test]
fn what_failed_before_a_rollback_is_no_failure_of_it() {
    let mut story = mirrors::asking(mirrors::plan());
    story.approve(1).push(Entry::WaveReached { step: 1, wave: 0 });
    story.fail(1, 0, Fault::new(FaultKind::Drift, "cannot configure it", "the file holds something else"));
    let drawn = picture(&mut running(&story), (120, 36));
    assert!(drawn.contains("FAILED") && drawn.contains("not begun"), "{drawn}");
    mirrors::roll_back(&mut story, 0..0);
    assert!(State::fold(&story.entries).unwrap().causes().is_empty(), "nothing of it could be tried again");
    let drawn = picture(&mut running(&story), (120, 36));
    assert!(!drawn.contains("UNDO FAILED") && drawn.contains("1 had failed"), "{drawn}");
    story.push(Entry::Finished { outcome: Outcome::RolledBack });
    let drawn = picture(&mut running(&story), (120, 36));
    assert!(!drawn.contains("FAILED") && drawn.contains("1 had failed, 11 not made"), "{drawn}");
    let status = report::status_text("7f3a", &State::fold(&story.entries).unwrap(), None);
    assert!(status.contains("not run") && status.contains("1 had failed, 11 not made"), "{status}");
    assert!(!status.contains("to do") && !status.contains("FAILED"), "{status}");
}

#[test]
fn a_host_that_came_back_and_failed_again_has_failed() {
    let mut story = mirrors::aside();
    let mut app = running(&story);
    press(&mut app, KeyCode::Enter);
    let drawn = picture(&mut app, (120, 36));
    assert!(drawn.contains("set aside") && !drawn.contains("FAILED    "), "{drawn}");
    mirrors::comes_back_and_fails(&mut story);
    let mut app = running(&story);
    press(&mut app, KeyCode::Enter);
    let drawn = picture(&mut app, (120, 36));
    assert!(!drawn.contains("set aside     ") && drawn.contains("FAILED    "), "{drawn}");
}

#[test]
fn a_mirror_run_without_colors_and_in_ascii() {
    let mut app = running(&mirrors::failed());
    press(&mut app, KeyCode::Enter);
    app.look.mono = true;
    snapshot("mirror-mono", &styled(&mut app, (60, 16)));
    app.look.ascii = true;
    let drawn = picture(&mut app, (80, 24));
    assert!(drawn.is_ascii(), "{drawn}");
    snapshot("mirror-ascii", &drawn);
}

#[test]
fn no_page_of_a_mirror_run_speaks_of_agents_or_images() {
    let mut apps = [planned(mirrors::plan()), midway(), running(&mirrors::failed()), running(&mirrors::over())];
    for app in &mut apps {
        for key in [KeyCode::Null, KeyCode::Enter, KeyCode::Char('l'), KeyCode::Char('x'), KeyCode::Char('d')] {
            press(app, key);
            let drawn = picture(app, (120, 36));
            assert!(!drawn.contains("agent"), "{drawn}");
            press(app, KeyCode::Esc);
        }
    }
}

#[test]
fn the_plan_and_the_report_of_a_mirror_in_words() {
    snapshot("mirror-plan-text", &without_times(&report::plan_text(&mirrors::plan(), 100)));
    snapshot("mirror-plan-text-blocked", &without_times(&report::plan_text(&mirrors::blocked(), 100)));
    let told = |story: &Story| {
        let state = State::fold(&story.entries).unwrap();
        let whole = report::report_markdown("7f3a", &state, &story.entries);
        whole.split("\n## Entries").next().unwrap_or_default().to_owned()
    };
    for (name, story) in [("failed", mirrors::failed()), ("over", mirrors::over())] {
        let state = State::fold(&story.entries).unwrap();
        let json = report::report_json("7f3a", &state, &story.entries);
        if name == "over" {
            assert_eq!(json["steps"][1]["proofs"][0]["proof"], mirrors::SERVED);
            assert_eq!(json["steps"][1]["proofs"][0]["where"].as_array().map(Vec::len), Some(12));
        }
        let status = report::status_text("7f3a", &state, None);
        let words = format!("{}\n=====\n{}", status, told(&story));
        snapshot(&format!("mirror-report-{name}"), &without_times(&words));
    }
}

/// Dates, clocks and zones of this machine out of a text.
fn without_times(words: &str) -> String {
    let is_time = |word: &str| word.len() == 8 && word.as_bytes()[2] == b':' && word.as_bytes()[5] == b':';
    let line = |line: &str| {
        let mut out: Vec<&str> = vec![];
        for word in line.split(' ') {
            let bare = word.trim_end_matches([',', ';', '.']);
            match out.last() {
                _ if bare.starts_with("2026-") => out.push("DATE"),
                Some(&"DATE") if is_time(bare) => {}
                Some(&"DATE")
                    if bare.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '+' || c == '-')
                        && !bare.is_empty() => {}
                _ => out.push(word),
            }
        }
        out.join(" ").trim_end().to_owned()
    };
    words.lines().map(line).collect::<Vec<_>>().join("\n")
}
