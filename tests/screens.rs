//! Every screen of the terminal interface as a picture, and what no key may ever do.
//! Never starts a run: the screens see entries and nothing else.

#[path = "screens/in_waves.rs"]
mod in_waves;
#[path = "screens/keys.rs"]
mod keys;
#[path = "screens/mirror_pages.rs"]
mod mirror_pages;
#[path = "screens/mirrors.rs"]
mod mirrors;
#[path = "screens/poison.rs"]
mod poison;
#[path = "screens/sample.rs"]
mod sample;

use castoff::model::{Command, Entry, Event, Stamped};
use castoff::tui::{
    app::{App, Popup},
    draw::draw,
};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend};
use sample::{NIGHT_MS, Story, start};

const SIZES: [(u16, u16); 3] = [(120, 36), (80, 24), (60, 16)];

/// Types one key a second after everything else.
fn press(app: &mut App, code: KeyCode) -> Option<Command> {
    app.key(KeyEvent::new(code, KeyModifiers::NONE), app.now_ms + 1000)
}

fn letter(app: &mut App, c: char) -> Option<Command> {
    press(app, KeyCode::Char(c))
}

fn type_in(app: &mut App, sentence: &str) {
    for c in sentence.chars() {
        assert_eq!(letter(app, c), None);
    }
}

fn feed(app: &mut App, entries: &[Stamped]) {
    for stamped in entries {
        app.event(Event::Entry(stamped.clone()), stamped.at_ms);
    }
}

/// A run that was begun here and has come this far.
fn running(story: &Story) -> App {
    let mut app = App::new(start(story.plan.clone(), vec![]), NIGHT_MS).unwrap();
    "7f3a".clone_into(&mut app.run);
    feed(&mut app, &story.entries);
    app.tick(story.at_ms);
    app
}

fn picture(app: &mut App, (width, height): (u16, u16)) -> String {
    app.size = (width, height);
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    let drawn = terminal.backend().to_string();
    drawn.lines().map(|line| line.trim_matches('"').trim_end()).collect::<Vec<_>>().join("\n")
}

fn snapshot(name: &str, drawn: &str) {
    insta::assert_snapshot!(name, drawn);
}

fn check(name: &str, app: &mut App) {
    for size in SIZES {
        insta::assert_snapshot!(format!("{name}-{}x{}", size.0, size.1), picture(app, size));
    }
}

fn fresh() -> App {
    App::new(start(sample::plan(), vec![]), NIGHT_MS).unwrap()
}

fn blocked() -> App {
    let mut plan = sample::plan();
    plan.blockers = vec![
        sample::problem("agent gpu-05", "12 GB free, 17 GB needed", Some("free space where the engine keeps its data")),
        sample::problem("image cr.backend.ai/stable/r-base:3.6-ubuntu18.04", "registry answered 401", None),
    ];
    App::new(start(plan, vec![]), NIGHT_MS).unwrap()
}

fn pulling() -> App {
    pulled(&sample::pulling())
}

fn pulled(story: &Story) -> App {
    let mut app = running(story);
    // A minute of pulling, so that there is a rate and an end.
    for second in 0..=60 {
        for progress in sample::progress(story, second) {
            app.event(Event::Progress(progress), story.at_ms + second * 1000);
        }
        app.tick(story.at_ms + second * 1000);
    }
    app
}

fn draining() -> App {
    let story = sample::draining();
    let mut app = running(&story);
    for n in [9, 7, 3] {
        app.event(Event::Gate(sample::sessions(&story, n)), story.at_ms + 60_000);
    }
    app.tick(story.at_ms + 725_000);
    app
}

fn asking() -> App {
    let story = sample::asking();
    let mut app = running(&story);
    let report = castoff::model::GateReport { step: 10, problems: vec![], read_at_ms: story.at_ms };
    app.event(Event::Gate(report), story.at_ms + 4000);
    type_in(&mut app, "remove 57 im");
    app
}

fn resumed() -> App {
    let story = sample::pulling();
    let mut app = App::new(start(story.plan.clone(), story.entries.clone()), story.at_ms + 660_000).unwrap();
    app.event(Event::Changed(vec![]), story.at_ms + 664_000);
    app.event(Event::Survey(sample::survey(&story)), story.at_ms + 664_000);
    app
}

#[test]
fn the_plan() {
    check("plan", &mut fresh());
    let mut app = fresh();
    app.step = 3;
    check("plan-keys", &mut app);
    app.step = 10;
    check("plan-remove", &mut app);
}

#[test]
fn a_plan_that_cannot_be_run() {
    let mut app = blocked();
    assert_eq!(letter(&mut app, 'E'), None);
    check("blocked", &mut app);
    assert_eq!(letter(&mut app, 'i'), None);
    check("notes", &mut app);
}

#[test]
fn waves_in_the_plan_and_while_they_run() {
    let mut app = App::new(start(in_waves::plan(), vec![]), NIGHT_MS).unwrap();
    check("waves-plan", &mut app);
    check("waves-canary", &mut running(&in_waves::canary()));
    let mut app = running(&in_waves::set_aside());
    app.event(in_waves::waits(), app.now_ms);
    check("waves-aside", &mut app);
    insta::assert_snapshot!("waves-stopped", picture(&mut running(&in_waves::stopped()), (80, 24)));
}

#[test]
fn a_canary_that_waits_for_approval() {
    let mut app = running(&in_waves::held());
    app.tick(app.now_ms + 252_000);
    check("waves-question", &mut app);
    press(&mut app, KeyCode::Esc);
    insta::assert_snapshot!("waves-held", picture(&mut app, (80, 24)));
    press(&mut app, KeyCode::Enter);
    app.tick(app.now_ms + 2000);
    type_in(&mut app, "ye");
    assert_eq!(press(&mut app, KeyCode::Enter), None);
    letter(&mut app, 's');
    let approve = Command::ApproveCanary { step: 1, plan: "9c1e4f02".to_owned(), typed: "yes".to_owned() };
    assert_eq!(press(&mut app, KeyCode::Enter), Some(approve));
    let passed = in_waves::passed(&in_waves::held());
    app.event(Event::Entry(passed), app.now_ms);
    assert!(app.popup.is_none(), "the question is answered");
}

#[test]
fn the_ledger() {
    let mut app = fresh();
    letter(&mut app, 'v');
    check("ledger", &mut app);
}

#[test]
fn a_pull_with_progress() {
    check("pulling", &mut pulling());
    let mut app = pulling();
    press(&mut app, KeyCode::Enter);
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Home);
    for _ in 0..31 {
        letter(&mut app, 'j');
    }
    check("changes", &mut app);
}

/// The matrix of a big cluster, after a quarter of a minute of looking.
fn matrix() -> App {
    let story = sample::big();
    let mut app = running(&story);
    press(&mut app, KeyCode::Enter);
    for second in 0..=15 {
        let at_ms = story.at_ms + second * 1000;
        for progress in sample::big_progress(&story, second) {
            app.event(Event::Progress(progress), at_ms);
        }
        app.tick(at_ms);
    }
    app
}

#[test]
fn a_matrix_by_agent_by_image_and_from_far() {
    let mut app = matrix();
    check("matrix", &mut app);
    for key in ['G', 'k'] {
        letter(&mut app, key);
    }
    press(&mut app, KeyCode::Enter);
    for _ in 0..3 {
        letter(&mut app, 'k');
    }
    check("matrix-unfolded", &mut app);
    letter(&mut app, 'f');
    letter(&mut app, 't');
    letter(&mut app, 'f');
    check("matrix-by-image", &mut app);
    letter(&mut app, 'z');
    check("matrix-zoom", &mut app);
    app.look.ascii = true;
    letter(&mut app, 'z');
    insta::assert_snapshot!("matrix-wide", picture(&mut app, (170, 24)));
}

#[test]
fn a_cell_that_pulls_and_one_that_failed() {
    let mut app = matrix();
    let running = castoff::model::ChangeId { step: 1, n: 16 * 40 + 35 };
    app.event(Event::Layers { change: running, layers: sample::layers() }, app.now_ms);
    for _ in 0..8 {
        letter(&mut app, 'l');
    }
    press(&mut app, KeyCode::Enter);
    check("cell-pulling", &mut app);
    press(&mut app, KeyCode::Esc);
    letter(&mut app, 'h');
    letter(&mut app, 'h');
    press(&mut app, KeyCode::Enter);
    check("cell-failed", &mut app);
}

#[test]
fn a_matrix_is_ascii_on_every_terminal_and_needs_no_color() {
    let mut app = matrix();
    let signs = |drawn: &str| drawn.lines().filter(|line| line.starts_with(" agent-")).map(str::to_owned).collect::<Vec<_>>();
    for view in ['t', 't', 'z'] {
        letter(&mut app, view);
        let drawn = picture(&mut app, (120, 36));
        assert!(signs(&drawn).iter().all(|line| line.is_ascii()), "{drawn}");
    }
    app.look.mono = true;
    app.look.ascii = true;
    letter(&mut app, 'z');
    let drawn = styled(&mut app, (80, 24));
    for color in ["Red", "Green", "Yellow", "Magenta", "Cyan"] {
        assert!(!drawn.contains(color), "{color}");
    }
    assert!(picture(&mut app, (80, 24)).is_ascii());
    insta::assert_snapshot!("mono-matrix", styled(&mut app, (60, 16)));
}

#[test]
fn escape_comes_back_to_the_same_cell_and_tab_goes_to_the_list_and_back() {
    let mut app = matrix();
    for key in ['j', 'j', 'l', 'l', 'l'] {
        letter(&mut app, key);
    }
    let before = picture(&mut app, (120, 36));
    press(&mut app, KeyCode::Enter);
    assert!(picture(&mut app, (120, 36)).contains("2.71  cr.backend.ai/stable/ngc-pytorch:5.0 on agent-002"));
    press(&mut app, KeyCode::Esc);
    assert_eq!(picture(&mut app, (120, 36)), before);
    press(&mut app, KeyCode::Tab);
    assert!(picture(&mut app, (120, 36)).contains(" 2.71  pull cr.backend.ai/stable/ngc-pytorch:5.0"));
    press(&mut app, KeyCode::Tab);
    assert_eq!(picture(&mut app, (120, 36)), before);
    press(&mut app, KeyCode::Esc);
    assert!(picture(&mut app, (120, 36)).contains(" STEPS"));
}

#[test]
fn the_eye_stays_on_its_agent_when_the_rows_move() {
    let mut app = matrix();
    for _ in 0..8 {
        letter(&mut app, 'j');
    }
    assert!(picture(&mut app, (120, 36)).contains("\n agent-044  28 "));
    let id = castoff::model::ChangeId { step: 1, n: 43 * 40 + 31 };
    let fault = castoff::model::Fault::new(castoff::model::FaultKind::Missing, "cannot pull `x` on `y`", "manifest unknown");
    let (seq, at_ms) = (app.state.seq + 1, app.now_ms);
    app.event(Event::Entry(Stamped { seq, at_ms, entry: Entry::Failed { change: id, fault } }), at_ms);
    let drawn = picture(&mut app, (120, 36));
    assert!(drawn.contains("\n agent-044  28 "), "{drawn}");
    let row = |name: &str| drawn.lines().position(|line| line.starts_with(name)).unwrap();
    assert!(row(" agent-044  =") < row(" agent-076  ="), "{drawn}");
}

#[test]
fn a_retry_in_the_matrix_means_the_cell_its_cause_or_all() {
    let failed = |step: usize, ns: Vec<usize>| {
        let ids = ns.into_iter().map(|n| castoff::model::ChangeId { step, n });
        Some(Command::Retry(castoff::model::Target::Changes(ids.collect())))
    };
    let mut app = matrix();
    assert_eq!(letter(&mut app, 'R'), None, "it asks which is meant");
    app.now_ms += 2000;
    assert!(picture(&mut app, (120, 36)).contains("only cr.backend.ai/stable/r-base:5.2 on agent-017"));
    assert_eq!(letter(&mut app, 'O'), failed(1, vec![16 * 40 + 27]));
    app.now_ms += 2000;
    letter(&mut app, 'R');
    app.now_ms += 2000;
    let cause = (27..34).map(|i| 16 * 40 + i).chain((27..34).map(|i| 117 * 40 + i)).collect();
    assert_eq!(letter(&mut app, 'T'), failed(1, cause));
    app.now_ms += 2000;
    letter(&mut app, 'R');
    app.now_ms += 2000;
    assert_eq!(letter(&mut app, 'R'), Some(Command::Retry(castoff::model::Target::Failed)));
    press(&mut app, KeyCode::Enter);
    assert_eq!(letter(&mut app, 'R'), failed(1, vec![16 * 40 + 27]), "on the page of a cell that cell is meant");
    letter(&mut app, 'S');
    app.now_ms += 2000;
    type_in(&mut app, "retired image");
    let castoff::model::Target::Changes(ids) = (match press(&mut app, KeyCode::Enter) {
        Some(Command::Skip { target, .. }) => target,
        other => panic!("{other:?}"),
    }) else {
        panic!("every failed change is more than was selected")
    };
    assert_eq!(ids, [castoff::model::ChangeId { step: 1, n: 16 * 40 + 27 }]);
}

#[test]
fn an_agent_is_found_in_the_matrix_also_where_it_is_folded() {
    let mut app = matrix();
    letter(&mut app, '/');
    type_in(&mut app, "agent-150");
    press(&mut app, KeyCode::Enter);
    let drawn = picture(&mut app, (120, 36));
    assert!(drawn.contains("\n agent-150  28 r-base:5.2  done"), "{drawn}");
}

#[test]
fn a_cell_that_has_not_failed_is_not_retried_by_its_page() {
    let mut app = matrix();
    letter(&mut app, 'h');
    press(&mut app, KeyCode::Enter);
    assert_eq!(letter(&mut app, 'R'), None);
    assert!(picture(&mut app, (80, 24)).contains("this change has not failed"));
}

/// A step of 1 000 agents and 100 images, half of it done, 100 changes on their way.
fn huge() -> (App, Vec<usize>) {
    let mut plan = sample::plan();
    let one = plan.steps[1].changes[0].clone();
    let change = |n: usize| {
        let host = format!("agent-{:04}", n / 100 + 1);
        let image: castoff::model::ImageRef = format!("cr.backend.ai/stable/python:{}", n % 100).parse().unwrap();
        let castoff::model::Change::Pull { digest, id, .. } = one.change.clone() else { panic!("the first is a pull") };
        castoff::model::Change::Pull { host, image, digest, id, before: None, size_bytes: 500_000_000 }
    };
    let id = |n| castoff::model::ChangeId { step: 1, n };
    plan.steps[1].changes = (0..100_000).map(|n| castoff::model::PlannedChange::new(id(n), change(n), false)).collect();
    let mut story = Story::of(plan);
    story.step(0).gate(1).approve(1);
    let mut running = vec![];
    for n in 0..50_000 {
        story.start(1, n);
        match n {
            _ if n % 500 == 3 => running.push(n),
            _ if n % 9001 == 5 => {
                story.fail(1, n, sample::no_space());
            }
            _ => {
                story.done(1, n);
            }
        }
    }
    (self::running(&story), running)
}

/// What the kernel has given this thread so far, in milliseconds.
fn spent_ms() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

/// Prints a figure; only one of an optimized build means anything:
/// `cargo test --release --test screens -- --ignored --nocapture a_flood`.
#[test]
#[ignore = "a measurement: prints how much of a core a flood of progress costs"]
fn a_flood_of_progress_costs_next_to_nothing() {
    let (mut app, running) = huge();
    for (name, keys) in [("overview", vec![]), ("matrix", vec![KeyCode::Enter]), ("by image", vec![KeyCode::Char('t')])] {
        for key in keys {
            press(&mut app, key);
        }
        app.size = (200, 50);
        let mut terminal = Terminal::new(TestBackend::new(200, 50)).unwrap();
        terminal.draw(|frame| draw(frame, &app)).unwrap();
        let seconds = 5;
        let (begun_ms, mut folding) = (spent_ms(), 0.0);
        for frame in 0..seconds * 10 {
            let before = spent_ms();
            let at_ms = app.now_ms + 100;
            for k in 0..1000 {
                let change = castoff::model::ChangeId { step: 1, n: running[(k * 7 + frame) % running.len()] };
                let (done, total) = ((frame * 1000 + k) as u64 * 9_000, 500_000_000);
                let progress = castoff::model::Progress { change, phase: "pulling".to_owned(), done, total, at_ms };
                app.event(Event::Progress(progress), at_ms);
            }
            if frame % 10 == 0 {
                app.tick(at_ms);
            }
            app.now_ms = at_ms;
            folding += spent_ms() - before;
            terminal.draw(|frame| draw(frame, &app)).unwrap();
        }
        let all = spent_ms() - begun_ms;
        let percent = |ms: f64| ms / 10.0 / seconds as f64;
        println!(
            "{name}: {:.2} % of a core, {:.2} % of it for 10 000 pieces of progress a second",
            percent(all),
            percent(folding)
        );
    }
}

#[test]
fn a_gate_that_waits_by_itself() {
    check("draining", &mut draining());
}

#[test]
fn a_brown_out_tells_its_end_and_who_was_refused() {
    let story = sample::brown_out();
    let mut app = running(&story);
    let problems = app.state.brown_out(1).unwrap().problem(story.at_ms).into_iter().collect();
    app.event(Event::Gate(castoff::model::GateReport { step: 1, problems, read_at_ms: story.at_ms }), story.at_ms);
    app.tick(story.at_ms);
    check("brown-out", &mut app);
}

#[test]
fn a_question_half_typed() {
    check("question", &mut asking());
}

#[test]
fn a_question_with_checks_that_do_not_hold() {
    let story = sample::asking();
    let mut app = running(&story);
    let mut report = sample::sessions(&story, 3);
    report.step = 10;
    app.event(Event::Gate(report), story.at_ms + 4000);
    type_in(&mut app, "remove 57 images from prod-a");
    assert_eq!(press(&mut app, KeyCode::Enter), None);
    check("question-held", &mut app);
}

#[test]
fn a_failure() {
    let mut app = running(&sample::failed());
    check("failure", &mut app);
    letter(&mut app, 'R');
    check("retry", &mut app);
}

#[test]
fn a_resumed_run() {
    check("resume", &mut resumed());
}

#[test]
fn a_resumed_run_with_changes_of_others() {
    let mut app = resumed();
    let changed = vec![
        sample::problem("host gpu-12", "has left the cluster since the plan was made", None),
        sample::problem("domains research (step 8)", "allowed_docker_registries is [\"index.docker.io\", \"cr.lab\"]", None),
        sample::problem("host gpu-13", "has joined: this plan does nothing for it", None),
    ];
    app.event(Event::Changed(changed), app.now_ms);
    check("resume-changed", &mut app);
    assert_eq!(letter(&mut app, 'V'), Some(Command::Verify));
    assert_eq!(letter(&mut app, 'C'), None, "not before the cluster was looked at");
}

#[test]
fn a_cut_off_run_is_closed_with_a_reason() {
    let mut app = resumed();
    assert_eq!(letter(&mut app, 'X'), None);
    app.now_ms += 1000;
    type_in(&mut app, "given up");
    press(&mut app, KeyCode::Tab);
    type_in(&mut app, "prod-a");
    assert_eq!(press(&mut app, KeyCode::Enter), Some(Command::Abort { why: "given up".to_owned() }));
}

#[test]
fn the_words() {
    let mut app = pulling();
    letter(&mut app, ':');
    check("palette", &mut app);
    type_in(&mut app, "re");
    let drawn = picture(&mut app, (120, 36));
    assert!(drawn.contains("retry [failed|cause]") && drawn.contains("not now: nothing has failed"), "{drawn}");
    let mut app = pulling();
    letter(&mut app, ':');
    type_in(&mut app, "limit pulls=4");
    assert_eq!(press(&mut app, KeyCode::Enter), None);
    check("palette-limit", &mut app);
    app.now_ms += 1000;
    assert_eq!(letter(&mut app, 'l'), None);
    assert_eq!(letter(&mut app, 'L'), Some(Command::SetLimit("pulls=4".parse().unwrap())));
}

/// Types a word into the palette, and enter.
fn word(app: &mut App, word: &str) -> Option<Command> {
    app.now_ms += 1000;
    assert_eq!(letter(app, ':'), None);
    type_in(app, word);
    press(app, KeyCode::Enter)
}

#[test]
fn a_word_does_what_its_key_does() {
    let mut app = pulling();
    assert_eq!(word(&mut app, "goto 7"), None);
    assert_eq!(app.step, 6);
    word(&mut app, "3");
    assert_eq!(app.step, 2);
    word(&mut app, "log");
    word(&mut app, "level 2");
    assert!(picture(&mut app, (120, 36)).contains("show: warn and up"));
    word(&mut app, "find 429");
    assert!(picture(&mut app, (120, 36)).contains("find: 429 (1)"));
    assert_eq!(word(&mut app, "pause"), None, "what acts waits for its capital");
    app.now_ms += 1000;
    assert_eq!(letter(&mut app, 'P'), Some(Command::Pause));
    assert_eq!(word(&mut app, "go-on"), None);
    assert!(picture(&mut app, (120, 36)).contains("the run is not paused"));
    press(&mut app, KeyCode::Esc);
    let mut app = running(&sample::failed());
    assert_eq!(word(&mut app, "retry failed"), None);
    app.now_ms += 1000;
    assert_eq!(letter(&mut app, 'R'), Some(Command::Retry(castoff::model::Target::Failed)));
    assert_eq!(word(&mut app, "rollback"), None, "it opens its question");
    assert!(picture(&mut app, (120, 36)).contains("ROLL BACK TO BEFORE STEP"));
}

#[test]
fn a_question_waits_until_a_word_is_typed() {
    let mut story = Story::begin();
    story.steps(0..9);
    let mut app = running(&story);
    letter(&mut app, ':');
    type_in(&mut app, "le");
    let at_ms = app.now_ms + 1000;
    let reached = Stamped { seq: app.state.seq + 1, at_ms, entry: Entry::GateReached { step: 9 } };
    app.event(Event::Entry(reached), at_ms);
    assert!(!picture(&mut app, (120, 36)).contains("To do this, type"));
    press(&mut app, KeyCode::Esc);
    assert!(picture(&mut app, (120, 36)).contains("To do this, type"));
}

#[test]
fn what_is_looked_for_stays_in_the_title() {
    let mut app = pulling();
    for key in [KeyCode::Enter, KeyCode::Tab, KeyCode::Home] {
        press(&mut app, key);
    }
    letter(&mut app, '/');
    type_in(&mut app, "gpu-03");
    check("find-typing", &mut app);
    press(&mut app, KeyCode::Enter);
    let first = app.change;
    letter(&mut app, 'n');
    assert_eq!(app.change, first + 1);
    letter(&mut app, 'N');
    assert_eq!(app.change, first);
    assert!(picture(&mut app, (80, 24)).contains("find: gpu-03 (6)"));
    press(&mut app, KeyCode::Esc);
    assert!(!picture(&mut app, (80, 24)).contains("find:"), "esc clears it first");
    letter(&mut app, '/');
    type_in(&mut app, "!pytorch");
    press(&mut app, KeyCode::Enter);
    let drawn = picture(&mut app, (120, 36));
    assert!(drawn.contains("without: pytorch (24 left out)") && drawn.contains("48 changes"), "{drawn}");
    assert!(!drawn.contains("python-pytorch:"), "{drawn}");
    press(&mut app, KeyCode::Esc);
    press(&mut app, KeyCode::Esc);
    assert!(picture(&mut app, (120, 36)).contains("STEPS"), "the second esc goes back");
}

#[test]
fn the_log_is_held_and_filtered() {
    let mut app = running(&sample::failed());
    letter(&mut app, 'l');
    letter(&mut app, '2');
    for _ in 0..2 {
        letter(&mut app, 'k');
    }
    letter(&mut app, 'w');
    letter(&mut app, '/');
    type_in(&mut app, "no space");
    press(&mut app, KeyCode::Enter);
    check("log-held", &mut app);
    letter(&mut app, 'a');
    assert!(picture(&mut app, (120, 36)).contains("show: warn and up, gpu-0"));
    letter(&mut app, 'a');
    letter(&mut app, '4');
    letter(&mut app, 's');
    assert!(picture(&mut app, (120, 36)).contains("show: step 2"));
    let held = picture(&mut app, (120, 36));
    // New lines below do not move what is held.
    app.event(
        Event::Said {
            level: castoff::model::Level::Error,
            at_ms: app.now_ms,
            place: "gpu-01".to_owned(),
            text: "noise".to_owned(),
        },
        app.now_ms,
    );
    let later = picture(&mut app, (120, 36));
    assert_eq!(held.lines().nth(20), later.lines().nth(20));
    press(&mut app, KeyCode::End);
    assert!(!picture(&mut app, (120, 36)).contains("Held at line"));
}

#[test]
fn a_step_is_explained() {
    let mut app = running(&sample::failed());
    letter(&mut app, 'x');
    check("explain", &mut app);
    let mut app = fresh();
    app.step = 3;
    letter(&mut app, 'x');
    check("explain-keys", &mut app);
    let mut app = asking();
    press(&mut app, KeyCode::F(4));
    assert!(picture(&mut app, (120, 36)).contains("DELETE /images/"));
}

#[test]
fn a_diff_fills_the_screen() {
    let mut app = fresh();
    app.step = 3;
    letter(&mut app, 'd');
    check("diff", &mut app);
    letter(&mut app, 'w');
    assert!(picture(&mut app, (60, 16)).contains("w cuts them"));
    press(&mut app, KeyCode::Esc);
    app.step = 1;
    letter(&mut app, 'd');
    letter(&mut app, ']');
    assert!(picture(&mut app, (80, 24)).contains("2 of 72"));
}

#[test]
fn offered_commands_are_whole() {
    let again = " --state /srv/castoff";
    let mut leave = pulling();
    letter(&mut leave, 'q');
    let mut failure = running(&sample::failed());
    for app in [&mut leave, &mut failure] {
        let drawn = picture(app, (120, 36)).replace("│\n│", "");
        assert!(drawn.contains(&format!("castoff resume 7f3a{again}")), "{drawn}");
    }
    let drawn = picture(&mut failure, (80, 24));
    assert!(!drawn.contains("castoff resume") && drawn.contains(":copy command"), "{drawn}");
    let drawn = picture(&mut running(&sample::over()), (120, 36));
    assert!(drawn.contains(&format!("--to pull{again}")), "{drawn}");
}

#[test]
fn the_way_back() {
    let mut story = Story::begin();
    story.steps(0..10).gate(10);
    let mut app = running(&story);
    press(&mut app, KeyCode::Esc);
    letter(&mut app, 'B');
    type_in(&mut app, "the window ends");
    check("rollback", &mut app);
}

#[test]
fn down_goes_further_back_as_the_list_is_drawn() {
    let mut story = Story::begin();
    story.steps(0..10).gate(10);
    let mut app = running(&story);
    press(&mut app, KeyCode::Esc);
    letter(&mut app, 'B');
    let to = |app: &mut App| picture(app, (120, 36)).lines().find(|line| line.contains("ROLL BACK TO")).unwrap().to_owned();
    let first = to(&mut app);
    app.now_ms += 2000;
    press(&mut app, KeyCode::Up);
    let later = to(&mut app);
    assert!(first.contains("BEFORE STEP 2 ") && later.contains("BEFORE STEP 3 "), "{first}\n{later}");
    press(&mut app, KeyCode::Down);
    assert_eq!(to(&mut app), first);
}

#[test]
fn a_window_is_always_in_sight() {
    let mut app = fresh();
    app.given = Some(sample::window(80));
    app.tick(NIGHT_MS);
    check("window-plan", &mut app);
    check("window", &mut pulled(&sample::pulling().within(sample::window(80))));
    let mut over = running(&sample::over().within(sample::window(80)));
    assert!(picture(&mut over, (120, 36)).contains(" of a 1 h 30 min window"), "{}", picture(&mut over, (120, 36)));
}

#[test]
fn a_window_that_is_too_short_is_amber() {
    let mut app = pulled(&sample::pulling().within(sample::window(26)));
    check("window-overrun", &mut app);
    let drawn = styled(&mut app, (80, 24));
    let row = drawn.lines().find(|line| line.contains("left")).unwrap();
    assert!(row.contains("! 0:16:02 left") || row.contains("! window 0:1"), "{row}");
    assert!(drawn.contains("fg: Yellow, bg: Reset, underline: Reset, modifier: BOLD"), "amber");
}

/// The question before the removal, which the window does not let through.
fn held() -> App {
    let story = sample::asking().within(sample::window(4));
    let mut app = running(&story);
    let now_ms = story.at_ms + 4000;
    let window = app.state.window.clone().unwrap();
    let problem = castoff::model::hold::at_gate(&story.plan, &app.state, &window, now_ms, 10).expect("it is too short");
    let report = castoff::model::GateReport { step: 10, problems: vec![problem], read_at_ms: now_ms };
    app.event(Event::Gate(report), now_ms);
    app.tick(now_ms);
    app
}

#[test]
fn the_hold_is_ended_by_typing_a_later_end() {
    let mut app = held();
    check("window-held", &mut app);
    type_in(&mut app, "remove 57 images from prod-a");
    assert_eq!(press(&mut app, KeyCode::Enter), None, "the window stands against it");
    assert!(picture(&mut app, (120, 36)).contains("F6 moves it"));
    assert_eq!(press(&mut app, KeyCode::F(6)), None);
    app.now_ms += 1000;
    type_in(&mut app, "03:1");
    assert_eq!(press(&mut app, KeyCode::Enter), None, "03:1 is no time");
    type_in(&mut app, "0");
    check("window-move", &mut app);
    let Some(Command::MoveWindow { window }) = press(&mut app, KeyCode::Enter) else { panic!("no command") };
    assert_eq!(window, sample::window(30));
}

#[test]
fn the_line_of_no_return_is_never_selected() {
    let mut app = running(&sample::pulling());
    for step in 0..11 {
        app.step = step;
        for size in SIZES {
            app.size = size;
            let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
            terminal.draw(|frame| draw(frame, &app)).unwrap();
            let buffer = terminal.backend().buffer();
            let reversed = (0..size.1).filter(|y| buffer[(4, *y)].modifier.contains(ratatui::style::Modifier::REVERSED));
            let rows: Vec<String> = reversed.map(|y| (0..size.0).map(|x| buffer[(x, y)].symbol()).collect()).collect();
            assert!(rows[0].contains(&format!(" {} ", step + 1)) && !rows[0].contains("no return"), "{rows:?}");
        }
    }
}

#[test]
fn ends() {
    check("end", &mut running(&sample::over()));
    check("rolled-back", &mut running(&sample::rolled_back()));
    check("stuck", &mut running(&sample::stuck()));
}

#[test]
fn boxes_and_pages() {
    let mut app = pulling();
    letter(&mut app, 'q');
    check("leave", &mut app);
    press(&mut app, KeyCode::Esc);
    letter(&mut app, '?');
    check("help", &mut app);
    press(&mut app, KeyCode::Esc);
    letter(&mut app, 'l');
    for _ in 0..5 {
        letter(&mut app, 'k');
    }
    check("log", &mut app);
}

/// Somebody looks on at this story from another terminal.
fn watching(story: &Story, held: Option<castoff::tui::Held>) -> App {
    let holder = "kim on ops-01, process 4123, since 2026-11-21 01:58:40 KST".to_owned();
    let mut start = start(story.plan.clone(), story.entries.clone());
    start.watching = Some(castoff::tui::Watching { holder, begun: true, held });
    let mut app = App::new(start, story.at_ms).unwrap();
    app.tick(story.at_ms + 5000);
    app
}

#[test]
fn watching_from_another_terminal() {
    let mut app = watching(&sample::pulling(), None);
    assert_eq!(letter(&mut app, 'P'), None);
    check("watching", &mut app);
    let story = sample::asking();
    let mut app = watching(&story, None);
    let report = castoff::model::GateReport { step: 10, problems: vec![], read_at_ms: story.at_ms };
    app.event(Event::Gate(report), story.at_ms + 4000);
    check("watching-gate", &mut app);
    let mut app = watching(&sample::failed(), None);
    check("watching-failure", &mut app);
    let mut app = watching(&sample::pulling(), None);
    app.engine_ended();
    check("watching-gone", &mut app);
}

#[test]
fn a_lock_that_another_castoff_holds() {
    let held = |unreachable: Option<&str>| {
        Some(castoff::tui::Held { what: "cluster `prod-a`".to_owned(), unreachable: unreachable.map(str::to_owned) })
    };
    let mut app = watching(&sample::draining(), held(None));
    check("held", &mut app);
    letter(&mut app, 'w');
    assert!(picture(&mut app, (120, 36)).contains("WATCHING"), "w looks on");
    letter(&mut app, 'q');
    assert!(app.left.is_some());
    let why = "no castoff listens there: it runs on ops-02: castoff watch 7f3a works there";
    let mut app = watching(&sample::pulling(), held(Some(why)));
    assert_eq!(letter(&mut app, 'w'), None);
    check("held-unreachable", &mut app);
}

#[test]
fn a_watcher_at_a_gate_types_nothing() {
    let story = sample::asking();
    let mut app = watching(&story, None);
    let report = castoff::model::GateReport { step: 10, problems: vec![], read_at_ms: story.at_ms };
    app.event(Event::Gate(report), story.at_ms + 4000);
    for c in "remove 57 images from prod-a".chars() {
        app.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE), story.at_ms + 9000);
    }
    assert_eq!(press(&mut app, KeyCode::Enter), None);
    assert_eq!(letter(&mut app, 'A'), None);
}

#[test]
fn the_bell_rings_once_for_who_does_not_look() {
    let story = sample::asking();
    let report = castoff::model::GateReport { step: 10, problems: vec![], read_at_ms: story.at_ms };
    for (focused, away_ms, rings) in [(true, 0, false), (false, 0, true), (true, 61_000, true)] {
        let mut app = running(&story);
        app.focused = focused;
        app.last_key_ms = story.at_ms - away_ms;
        assert!(!std::mem::take(&mut app.bell), "not before it can be answered");
        app.event(Event::Gate(report.clone()), story.at_ms);
        assert_eq!(std::mem::take(&mut app.bell), rings, "focused {focused}, away {away_ms}");
        app.event(Event::Gate(report.clone()), story.at_ms + 5000);
        assert!(!app.bell, "once");
    }
    for (story, title) in [(sample::failed(), "x failed"), (sample::over(), "+ done"), (sample::stuck(), "x stuck")] {
        let mut app = App::new(start(story.plan.clone(), vec![]), NIGHT_MS).unwrap();
        app.focused = false;
        feed(&mut app, &story.entries);
        assert!(app.bell && app.window_title().starts_with(title), "{}", app.window_title());
    }
}

#[test]
fn paused() {
    let mut story = sample::pulling();
    story.push(Entry::Paused { why: "asked by the operator".to_owned(), by: "kim on ops-01".to_owned() });
    let mut app = running(&story);
    check("paused", &mut app);
    assert_eq!(letter(&mut app, 'P'), Some(Command::Continue));
}

#[test]
fn too_small() {
    insta::assert_snapshot!(picture(&mut pulling(), (50, 12)));
}

/// Every row with the styles of its cells, for looks in which the letters alone say too little.
fn styled(app: &mut App, (width, height): (u16, u16)) -> String {
    app.size = (width, height);
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    format!("{:?}", terminal.backend().buffer())
}

#[test]
fn without_colors_and_in_ascii() {
    for (name, mut app) in [("pulling", pulling()), ("question", asking())] {
        app.look.mono = true;
        let drawn = styled(&mut app, (80, 24));
        for color in ["Red", "Green", "Yellow", "Magenta", "Cyan", "Blue", "White", "Black"] {
            assert!(!drawn.contains(color), "{color} in {name}");
        }
        assert!(drawn.contains("REVERSED"), "the selected row is to be seen in {name}");
        insta::assert_snapshot!(format!("mono-{name}"), drawn);
        app.look.ascii = true;
        let drawn = picture(&mut app, (80, 24));
        assert!(drawn.is_ascii(), "{drawn}");
        insta::assert_snapshot!(format!("ascii-{name}"), drawn);
    }
}

#[test]
fn foreign_text_never_reaches_the_terminal() {
    let mut plan = sample::plan();
    for step in &mut plan.steps {
        step.title.push_str("\u{1b}[2J\u{202e}");
        step.summary.push_str("\u{1b}]52;c;QQ==\u{7}");
        for change in &mut step.changes {
            change.subject.push_str("\u{1b}[31m");
            change.place.push('\u{7}');
        }
    }
    let mut story = sample::failed();
    story.plan = plan.clone();
    story.entries[0].entry = Entry::Planned { plan: plan.clone().into(), by: "kim\u{1b}[0m".to_owned() };
    let mut apps = vec![running(&story), App::new(start(plan, vec![]), NIGHT_MS).unwrap()];
    for app in &mut apps {
        for key in ['?', 'l', 'i', 'v', 'x', 'd', ':'] {
            letter(app, key);
            let drawn = picture(app, (120, 36));
            assert!(!drawn.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{drawn}");
            press(app, KeyCode::Esc);
        }
    }
}

/// What this thread has had of a processor, in milliseconds: others may have it for longer.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let ticks = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

#[test]
fn ten_thousand_changes_are_drawn_in_a_moment() {
    let mut plan = sample::plan();
    let one = plan.steps[1].changes[0].clone();
    plan.steps[1].changes = (0..10_000)
        .map(|n| castoff::model::PlannedChange { id: castoff::model::ChangeId { step: 1, n }, ..one.clone() })
        .collect();
    let mut story = Story::of(plan);
    story.step(0).gate(1).approve(1);
    for n in 0..200 {
        story.start(1, n);
    }
    let mut app = running(&story);
    for key in [KeyCode::Esc, KeyCode::Enter, KeyCode::Char('G')] {
        press(&mut app, key);
        let begun = cpu_ms();
        for _ in 0..10 {
            picture(&mut app, (120, 36));
        }
        // A frame is 100 ms; this is without optimization.
        let took = cpu_ms() - begun;
        assert!(took < 3000, "{took} ms for ten pictures");
    }
    assert!(picture(&mut app, (120, 36)).contains("2.10000"));
}
