//! A night in which every name and every word that comes from outside is poison, set where no reader has cleaned it:
//! nothing of it reaches a cell, the title, a copy or a page.

use super::*;
use castoff::model::{GateReport, Level, PlannedChange, Problem, Status, text};

/// What people put into names to get at a terminal, at a reader of a log, or at a clipboard.
pub const POISON: &str = "\u{1b}[31337m\u{1b}]52;c;cG9pc29u\u{7}\u{1b}]8;;http://evil.example\u{1b}\\\u{1b}P1$r31337\u{1b}\\\u{9b}31337H\u{9d}0;owned\u{9c}\
     \u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}\u{7f}\u{8}\u{0}\n# forged\r\n| forged |\tb\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}한";

fn poison(words: &mut String) {
    words.push_str(POISON);
}

fn poison_all<'a>(words: impl IntoIterator<Item = &'a mut String>) {
    words.into_iter().for_each(poison);
}

fn poison_change(change: &mut PlannedChange) {
    poison_all([&mut change.subject, &mut change.place, &mut change.before, &mut change.after, &mut change.kind]);
}

fn poison_problem(problem: &mut Problem) {
    poison(&mut problem.subject);
    poison(&mut problem.why);
    let Problem { owner, place, hint, .. } = problem;
    for words in [owner, place, hint] {
        *words = Some(POISON.to_owned());
    }
}

fn poison_plan(plan: &mut castoff::model::Plan) {
    poison_all([&mut plan.title, &mut plan.found, &mut plan.cluster, &mut plan.runbook]);
    for step in &mut plan.steps {
        poison_all([&mut step.title, &mut step.summary]);
        step.changes.iter_mut().for_each(poison_change);
        for kept in &mut step.kept {
            poison_all([&mut kept.subject, &mut kept.place, &mut kept.why]);
        }
        if let Some(gate) = &mut step.gate {
            poison(&mut gate.title);
            gate.text.iter_mut().for_each(poison);
        }
    }
    for line in &mut plan.ledger {
        poison(&mut line.proof);
        line.hosts.iter_mut().for_each(poison);
    }
    plan.notes.iter_mut().chain(&mut plan.blockers).for_each(poison_problem);
}

fn poisoned(mut story: Story) -> Story {
    poison_plan(&mut story.plan);
    // Longer than any line may be; a million characters would only take longer.
    let long = format!("{POISON}{}", "l".repeat(30_000));
    for stamped in &mut story.entries {
        match &mut stamped.entry {
            Entry::Planned { plan, by } => {
                *plan = story.plan.clone().into();
                poison(by);
            }
            Entry::Failed { fault, .. } | Entry::UndoFailed { fault, .. } => {
                fault.why.push_str(&long);
                poison(&mut fault.what);
                fault.hint = Some(POISON.to_owned());
            }
            Entry::Retried { why, .. } | Entry::Paused { why, .. } | Entry::Skipped { why, .. } => poison(why),
            Entry::RollbackBegun { by, why, .. } => poison_all([by, why]),
            Entry::SetAside { place, why, .. } => poison_all([place, why]),
            Entry::CameBack { places, .. } => places.iter_mut().for_each(poison),
            Entry::GateApproved { by, typed, .. } => poison_all([by, typed]),
            _ => {}
        }
    }
    story
}

/// No cell, no title, no copy holds anything that a terminal obeys or cannot show.
fn harmless(app: &mut App, size: (u16, u16)) {
    app.size = size;
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    for cell in &terminal.backend().buffer().content {
        let symbol = cell.symbol();
        assert!(!symbol.chars().any(text::harmful) && symbol.chars().count() <= 8, "{symbol:?} on {:?}", app.screen);
    }
    // Escapes and links would show as their own text if they were only cut short.
    let drawn = terminal.backend().to_string();
    for part in ["31337", "cG9pc29u", "evil.example", "owned"] {
        assert!(!drawn.contains(part), "{part} on {:?}:\n{drawn}", app.screen);
    }
    let title = app.window_title();
    assert!(text::is_clean(&title), "{title:?}");
}

/// What `y` and `o` give away, too.
fn gives_away_nothing(app: &App) {
    // `Debug` writes as an escape whatever could not be seen; three marks may stand on a letter.
    let copied = format!("{:?}{:?}", app.copied(None), app.page_text()).replace("\\u{301}", "");
    for escape in ["\\u{", "\\r", "\\t", "\\0"] {
        let at = copied.find(escape).map(|at| copied[at.saturating_sub(100)..].chars().take(200).collect::<String>());
        assert_eq!(at, None, "{escape} in what leaves {:?}", app.screen);
    }
    assert!(copied.split("\\n").all(|line| line.len() < 30_000));
}

#[test]
fn poison_in_every_name_is_harmless_on_every_screen() {
    let stories = [
        sample::pulling(),
        sample::failed(),
        sample::draining(),
        sample::asking(),
        sample::over(),
        sample::rolled_back(),
        sample::stuck(),
        in_waves::held(),
        in_waves::set_aside(),
        in_waves::stopped(),
    ];
    let keys: Vec<char> = "jklhGgxdviyft?zPRSABCVWTO]:/123+sawEq \n\t\u{1b}\u{2}\u{4}".chars().collect();
    let mut random: usize = 7;
    let mut screens = std::collections::BTreeSet::new();
    let mut apps: Vec<App> = stories.into_iter().map(|story| running(&poisoned(story))).collect();
    let mut plan = sample::plan();
    poison_plan(&mut plan);
    let mut blocker = sample::problem("agent", "full", None);
    poison_problem(&mut blocker);
    apps.push(App::new(start(plan.clone(), vec![]), NIGHT_MS).unwrap());
    plan.blockers.push(blocker.clone());
    apps.push(App::new(start(plan, vec![]), NIGHT_MS).unwrap());
    let story = poisoned(sample::pulling());
    apps.push(App::new(start(story.plan.clone(), story.entries.clone()), story.at_ms + 1000).unwrap());
    for app in &mut apps {
        let at_ms = app.now_ms;
        let words = || POISON.to_owned();
        app.event(Event::Said { level: Level::Error, at_ms, place: words(), text: words().repeat(400) }, at_ms);
        app.event(Event::Refused(words()), at_ms);
        app.event(Event::Changed(vec![blocker.clone()]), at_ms);
        app.event(Event::Gate(GateReport { step: 1, problems: vec![blocker.clone()], read_at_ms: at_ms }), at_ms);
        let walk = "\n\tjd\u{1b}\u{1b}\u{1b}\n\njt\u{1b}tz\u{1b}\u{1b}l\u{1b}i\u{1b}v\u{1b}x\u{1b}R\u{1b}?\u{1b}:\u{1b}/pull\n\u{1b}q\u{1b}\u{1b}";
        let mut walk: Vec<char> = walk.chars().collect();
        for _ in 0..24 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            walk.push(keys[(random >> 33) % keys.len()]);
        }
        for (n, key) in walk.into_iter().enumerate() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                '\u{2}' => KeyCode::F(2),
                '\u{4}' => KeyCode::F(4),
                letter => KeyCode::Char(letter),
            };
            press(app, code);
            if screens.insert(format!("{:?}", app.screen)) || n % 16 == 0 {
                gives_away_nothing(app);
            }
            harmless(app, SIZES[n % 3]);
        }
        app.paste(POISON, at_ms + 200_000);
        harmless(app, SIZES[0]);
    }
    for screen in
        ["Plan", "Overview", "Changes", "Matrix", "Cell", "Resume", "Log", "Notes", "Ledger", "Diff", "Explain", "Failure", "End"]
    {
        assert!(screens.contains(screen), "the walk does not come by {screen}: {screens:?}");
    }
    let failed = poisoned(sample::failed());
    assert!(running(&failed).state.steps.iter().any(|step| step.changes.iter().any(|c| matches!(c.status, Status::Failed(_)))));
}
