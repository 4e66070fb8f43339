//! What keys may do: capitals ask, lower case and enter write nothing, a gate opens by its sentence alone.
//! Never draws.

use super::*;

#[test]
fn a_gate_sentence_approves_and_nothing_else() {
    let mut app = asking();
    assert_eq!(press(&mut app, KeyCode::Enter), None);
    type_in(&mut app, "ages from prod-a");
    let approve = Command::Approve { step: 10, plan: "9c1e4f02".to_owned(), typed: "remove 57 images from prod-a".to_owned() };
    assert_eq!(press(&mut app, KeyCode::Enter), Some(approve));
    assert_eq!(press(&mut app, KeyCode::Enter), None, "an answer is sent once");
}

#[test]
fn a_refusal_asks_again_from_the_beginning() {
    let mut app = asking();
    type_in(&mut app, "ages from prod-a");
    assert!(press(&mut app, KeyCode::Enter).is_some());
    app.event(Event::Refused("a session came back".to_owned()), app.now_ms);
    assert!(picture(&mut app, (120, 36)).contains("a session came back"));
    assert_eq!(press(&mut app, KeyCode::Enter), None);
}

#[test]
fn keys_before_400_ms_are_lost() {
    let story = sample::asking();
    let mut app = running(&story);
    let opened_ms = story.at_ms;
    for c in "remove 57 images from prod-a".chars() {
        app.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE), opened_ms + 399);
    }
    assert_eq!(app.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE), opened_ms + 400), None);
    app.paste("remove 57 images from prod-a", opened_ms + 1000);
    assert_eq!(app.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE), opened_ms + 1000), None);
}

#[test]
fn ctrl_c_has_three_degrees() {
    let mut app = pulling();
    let at_ms = app.now_ms;
    let mut ctrl_c = |after_ms: i64| app.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), at_ms + after_ms);
    assert_eq!(ctrl_c(0), Some(Command::Stop));
    assert_eq!(ctrl_c(6000), None, "too late for a second one");
    assert_eq!(ctrl_c(7000), Some(Command::StopNow));
    assert_eq!(ctrl_c(8000), None);
    assert!(app.left.is_some());
}

#[test]
fn ctrl_c_stops_a_step_also_between_two_of_its_changes() {
    let mut story = sample::Story::begin();
    story.step(0).gate(1).approve(1).start(1, 0).done(1, 0);
    let mut app = running(&story);
    let at_ms = app.now_ms;
    assert_eq!(app.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), at_ms), Some(Command::Stop));
    assert!(app.popup.is_none());
}

#[test]
fn a_plan_and_a_resumed_run_begin_with_a_capital() {
    let mut app = fresh();
    assert_eq!(letter(&mut app, 'E'), Some(Command::Begin));
    assert_eq!(letter(&mut app, 'E'), None);
    let mut app = resumed();
    assert_eq!(letter(&mut app, 'C'), Some(Command::Begin));
}

/// Every screen that a key can be pressed on.
fn everywhere() -> Vec<App> {
    let mut closed = asking();
    press(&mut closed, KeyCode::Esc);
    let mut retry = running(&sample::failed());
    letter(&mut retry, 'R');
    let mut leave = pulling();
    letter(&mut leave, 'q');
    let mut cells = pulling();
    press(&mut cells, KeyCode::Enter);
    let mut box_of_matrix = running(&sample::failed());
    press(&mut box_of_matrix, KeyCode::Enter);
    letter(&mut box_of_matrix, 'R');
    let mut cell = running(&sample::failed());
    press(&mut cell, KeyCode::Enter);
    press(&mut cell, KeyCode::Enter);
    let mut canary = running(&in_waves::held());
    press(&mut canary, KeyCode::Esc);
    let mut out =
        vec![canary, fresh(), blocked(), pulling(), draining(), resumed(), closed, retry, leave, cells, box_of_matrix, cell];
    out.extend([watching(&sample::pulling(), None), watching(&sample::failed(), None), watching(&sample::asking(), None)]);
    let mut paused = sample::pulling().within(sample::window(5));
    let why = "window over: it ended at 02:45 KST; step 4 has no whole way back".to_owned();
    paused.push(Entry::Paused { why, by: "the window".to_owned() });
    out.push(running(&paused));
    out.extend([sample::failed(), sample::over(), sample::rolled_back(), sample::stuck()].iter().map(running));
    out
}

/// Keys that are no letters.
const OTHERS: [KeyCode; 24] = [
    KeyCode::Left,
    KeyCode::Right,
    KeyCode::Enter,
    KeyCode::Esc,
    KeyCode::Up,
    KeyCode::Down,
    KeyCode::Tab,
    KeyCode::Backspace,
    KeyCode::PageDown,
    KeyCode::Home,
    KeyCode::End,
    KeyCode::Char('/'),
    KeyCode::Char('?'),
    KeyCode::Char(']'),
    KeyCode::Char(' '),
    KeyCode::F(1),
    KeyCode::F(4),
    KeyCode::Char(':'),
    KeyCode::Char('!'),
    KeyCode::Char('1'),
    KeyCode::Char('4'),
    KeyCode::Char('='),
    KeyCode::Char('['),
    KeyCode::F(3),
];

/// Every word of the palette that acts, and some that look.
const WORDS: [&str; 21] = [
    "retry-one",
    "execute",
    "continue",
    "pause",
    "go-on",
    "retry",
    "retry failed",
    "retry cause",
    "retry-cause",
    "skip",
    "rollback",
    "abort",
    "close",
    "window",
    "stop",
    "limit pulls=4",
    "limit total=1",
    "verify",
    "quit",
    "answer",
    "goto 3",
];

#[test]
fn the_words_of_the_property_are_all_that_act() {
    for binding in castoff::tui::keys::TABLE.iter().filter(|binding| binding.intent.acts()) {
        assert!(WORDS.iter().any(|word| word.split(' ').next() == Some(binding.intent.name())), "{}", binding.intent.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_lower_case_key_and_no_enter_writes(keys in prop::collection::vec(0usize..OTHERS.len() + 26, 0..40)) {
        for mut app in everywhere() {
            for key in &keys {
                let small = u8::try_from(*key).ok().filter(|n| *n < 26).map(|n| KeyCode::Char(char::from(b'a' + n)));
                let code = small.unwrap_or_else(|| OTHERS[key - 26]);
                // An open question is another matter: letters go into its sentence.
                let asked = matches!(app.popup, Some(Popup::Question(_)));
                let command = press(&mut app, code);
                prop_assert!(asked || command.as_ref().is_none_or(|command| !command.writes()), "{:?} after {:?}", command, code);
            }
        }
    }

    #[test]
    fn no_word_and_no_enter_writes(keys in prop::collection::vec(0usize..OTHERS.len() + 26, 0..12), words in prop::collection::vec(0usize..WORDS.len(), 1..6)) {
        for mut app in everywhere() {
            for key in &keys {
                press(&mut app, key.checked_sub(26).map_or_else(|| KeyCode::Char(char::from(b'a' + u8::try_from(*key).unwrap())), |n| OTHERS[n]));
            }
            for word in &words {
                app.now_ms += 1000;
                let typed = format!(":{}", WORDS[*word]);
                for code in typed.chars().map(KeyCode::Char).chain([KeyCode::Tab, KeyCode::Enter, KeyCode::Enter]) {
                    let command = press(&mut app, code);
                    prop_assert!(command.as_ref().is_none_or(|command| !command.writes()), "{:?} of {}", command, WORDS[*word]);
                }
            }
        }
    }

    #[test]
    fn no_key_of_a_watcher_acts(keys in prop::collection::vec(32u8..127, 0..60)) {
        let held = castoff::tui::Held { what: "cluster `prod-a`".to_owned(), unreachable: None };
        let stories = [sample::pulling(), sample::failed(), sample::asking(), sample::over(), sample::stuck()];
        let mut apps: Vec<App> = stories.iter().map(|story| watching(story, None)).collect();
        apps.push(watching(&sample::pulling(), Some(held)));
        for mut app in apps {
            for key in &keys {
                let command = letter(&mut app, char::from(*key));
                prop_assert!(matches!(command, None | Some(Command::Recheck)), "{:?}", command);
            }
        }
    }

    #[test]
    fn random_keys_at_a_gate_never_approve(keys in prop::collection::vec(32u8..127, 1000)) {
        let story = sample::asking();
        let mut app = running(&story);
        app.tick(story.at_ms + 1000);
        for key in keys {
            let code = match key {
                b'~' => KeyCode::Enter,
                b'}' => KeyCode::Backspace,
                b'{' => KeyCode::Esc,
                key => KeyCode::Char(char::from(key)),
            };
            let command = press(&mut app, code);
            let approves = matches!(command, Some(Command::Approve { .. }));
            prop_assert!(!approves);
        }
    }
}
