//! The terminal interface in a real pseudo-terminal: taken over, given back, and lost.
//! Never the engine: a driver in this very file plays its part, started as a process of its own.

#[path = "screens/sample.rs"]
#[expect(dead_code, reason = "the pictures need more of the sample than the driver")]
mod sample;

#[path = "support/pty.rs"]
#[expect(dead_code, reason = "the interface's tests answer no gate")]
mod pty;

use castoff::model::{Command, Event, Progress};
use castoff::tui;
use portable_pty::CommandBuilder;
use pty::Terminal;
use rustix::process::Signal;
use std::{path::PathBuf, time::Instant};
use tokio::sync::mpsc;

/// Where the driver writes what became of it: its terminal may be gone.
const RESULT: &str = "CASTOFF_TEST_RESULT";
/// What the driver plays: `plan`, `run`, `panic`, `gone`, `nonsense`, `deaf`.
const PART: &str = "CASTOFF_TEST_PART";

/// Not a test: the process that the tests start in a pseudo-terminal.
#[test]
#[ignore = "started by the other tests"]
fn driver() {
    let part = std::env::var(PART).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let left = runtime.block_on(async {
        let story = sample::pulling();
        let (event_to, events) = mpsc::channel(64);
        let (commands, mut command_from) = mpsc::channel(64);
        let engine = tokio::spawn(async move {
            let mut said = vec![];
            while let Some(command) = command_from.recv().await {
                said.push(format!("{command:?}"));
                match command {
                    Command::Begin => {
                        for stamped in story.entries.clone() {
                            event_to.send(Event::Entry(stamped)).await.unwrap();
                        }
                        match part.as_str() {
                            "panic" => drop(tokio::spawn(async { panic!("a worker has fallen over") }).await),
                            "gone" => break,
                            // A time before all times: the interface has to fall over it.
                            "nonsense" => {
                                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                                for n in 1..=72 {
                                    let change = format!("2.{n}").parse().unwrap();
                                    let progress = Progress { change, phase: String::new(), done: 1, total: 2, at_ms: i64::MIN };
                                    event_to.send(Event::Progress(progress)).await.unwrap();
                                }
                            }
                            _ => {}
                        }
                    }
                    Command::Stop | Command::StopNow if part != "deaf" => break,
                    _ => {}
                }
            }
            said.join(" ")
        });
        let look = tui::Look::from_environment(|name| std::env::var(name).ok(), false, None);
        let start = tui::Start { look, ..sample::start(sample::plan(), vec![]) };
        let left = tui::run(start, events, commands).await;
        format!("{left:?} after {}", engine.await.unwrap())
    });
    let cpu = std::fs::read_to_string("/proc/self/stat").unwrap();
    std::fs::write(std::env::var(RESULT).unwrap(), format!("{left}\n{cpu}")).unwrap();
    println!("the last words");
}

/// A terminal with the driver in it.
struct Stage {
    terminal: Terminal,
    result: PathBuf,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// Opens on the plan, which is the first screen.
    fn open(part: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let result = folder.path().join("result");
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "driver", "--nocapture", "--test-threads=1"]);
        command.env(PART, part);
        command.env(RESULT, &result);
        for (name, value) in variables {
            command.env(name, value);
        }
        let stage = Self { terminal: Terminal::open(command, (80, 24)), result, _folder: folder };
        stage.terminal.shows("DRY RUN");
        stage
    }

    /// The same, with the run begun.
    fn running(part: &str, variables: &[(&str, &str)]) -> Self {
        let mut stage = Self::open(part, variables);
        stage.terminal.press("E");
        stage.terminal.shows("RUNNING step 2 of 11");
        stage
    }

    /// What the driver wrote at its end: how it left, and what it had of a core.
    fn result(&mut self) -> (String, u64) {
        let result = self.result.clone();
        let whole = |_: &Terminal| std::fs::read_to_string(&result).is_ok_and(|text| text.lines().count() == 2);
        self.terminal.until("the end of the driver", whole);
        let text = std::fs::read_to_string(&result).unwrap();
        let (left, stat) = text.split_once('\n').unwrap();
        (left.to_owned(), ticks(stat))
    }
}

/// What a process has had of a core, in hundredths of a second, by its line of `/proc/PID/stat`.
fn ticks(stat: &str) -> u64 {
    stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().unwrap()).sum()
}

#[test]
fn the_terminal_is_given_back_when_the_operator_leaves() {
    let mut stage = Stage::open("plan", &[]);
    assert!(stage.terminal.in_alternate_screen());
    stage.terminal.press("q");
    assert_eq!(stage.result().0, "Ok(Stopped) after ");
    stage.terminal.is_given_back();
    stage.terminal.shows("the last words");
    assert_eq!(stage.terminal.code(), 0);
}

#[test]
fn the_selected_row_is_reversed_without_colors_too() {
    for variables in [&[][..], &[("NO_COLOR", "1")][..]] {
        let mut stage = Stage::open("plan", variables);
        stage.terminal.until("a reversed row", |terminal| {
            let reversed = |screen: &vt100::Screen, row| (0..80).all(|x| screen.cell(row, x).is_some_and(vt100::Cell::inverse));
            terminal.look(|screen| (0..24).any(|row| reversed(screen, row)))
        });
        stage.terminal.press("q");
        stage.result();
    }
}

/// The parameters of every SGR sequence: a colour by number is one of them, `38;5;3`.
fn styles(raw: &str) -> Vec<String> {
    let mut out = vec![];
    for rest in raw.split("\x1b[").skip(1) {
        let Some((sequence, _)) = rest.split_once('m').filter(|(s, _)| s.chars().all(|c| c.is_ascii_digit() || c == ';')) else {
            continue;
        };
        let mut parts = sequence.split(';');
        while let Some(part) = parts.next() {
            let by_number = matches!(part, "38" | "48");
            let rest: Vec<&str> = if by_number { parts.by_ref().take(2).collect() } else { vec![] };
            out.push([&[part], rest.as_slice()].concat().join(";"));
        }
    }
    out
}

#[test]
fn sixteen_colors_are_enough_and_the_background_is_left_alone() {
    let mut stage = Stage::running("run", &[]);
    for key in ["\r", "l", "i", "v", "?"] {
        stage.terminal.press(key);
        stage.terminal.press("\u{7f}");
    }
    stage.terminal.press("\u{3}");
    stage.result();
    // Black, blue and white vanish on some background.
    let legible = [1, 2, 3, 5, 6, 9, 10, 11, 13, 14].map(|color| format!("38;5;{color}"));
    let allowed = ["0", "1", "2", "4", "7", "22", "24", "27", "39", "49", "59", ""].map(str::to_owned);
    let styles = styles(&stage.terminal.raw());
    for style in &styles {
        assert!(legible.contains(style) || allowed.contains(style), "style {style}");
    }
    assert!(styles.iter().filter(|style| legible.contains(style)).count() > 5, "there are colours at all");
}

#[test]
fn without_colors_not_one_is_sent() {
    let mut stage = Stage::running("run", &[("NO_COLOR", "1")]);
    stage.terminal.press("\u{3}");
    stage.result();
    for style in styles(&stage.terminal.raw()) {
        assert!(!style.starts_with("38") && !style.starts_with("48"), "style {style}");
    }
}

#[test]
fn a_terminal_without_utf8_gets_plain_characters() {
    for variables in [&[("LC_ALL", "C")][..], &[("TERM", "linux")][..]] {
        let mut stage = Stage::running("run", variables);
        stage.terminal.press("\u{3}");
        stage.result();
        stage.terminal.until("it is left", |terminal| terminal.raw().contains("\x1b[?1049l"));
        let raw = stage.terminal.raw();
        let (_, ours) = raw.split_once("\x1b[?1049h").unwrap();
        let (ours, _) = ours.split_once("\x1b[?1049l").unwrap();
        assert!(ours.is_ascii(), "{variables:?}");
    }
}

#[test]
fn the_terminal_is_asked_nothing_and_the_mouse_is_left_alone() {
    let mut stage = Stage::open("plan", &[]);
    let before = stage.terminal.raw().len();
    stage.terminal.press("\u{c}");
    stage.terminal.until("everything is drawn again", |terminal| terminal.raw().len() > before + 1000);
    stage.terminal.press("q");
    stage.result();
    let raw = stage.terminal.raw();
    for question in
        ["\x1b[6n", "\x1b[5n", "\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[?u", "\x1b]10;?", "\x1b]11;?", "\x1b[14t", "\x1b[18t"]
    {
        assert!(!raw.contains(question), "{question:?}");
    }
    for mouse in ["\x1b[?1000h", "\x1b[?1002h", "\x1b[?1003h", "\x1b[?1006h"] {
        assert!(!raw.contains(mouse), "{mouse:?}");
    }
}

#[test]
fn every_screen_follows_a_resize() {
    let mut stage = Stage::running("run", &[]);
    // The key that opens a screen, what it shows at any size, and the way back.
    for (key, words) in
        [("", "backend-ai"), ("\r", "matrix"), ("l", "log"), ("i", "note"), ("v", "ledger"), ("?", "help"), ("q", "leave")]
    {
        stage.terminal.press(key);
        for size in [(120, 36), (60, 16), (200, 50), (80, 24)] {
            stage.terminal.resize(size);
            stage.terminal.until(&format!("{words} at {size:?}"), |terminal| {
                let screen = terminal.screen();
                let fits = screen.lines().all(|line| line.chars().count() <= usize::from(size.0));
                fits && screen.to_lowercase().contains(words) && screen.lines().count() == usize::from(size.1)
            });
        }
        // A key right after a resize is not lost.
        stage.terminal.resize((50, 12));
        stage.terminal.shows("50x12 is too small: 60x16 needed. The run goes on");
        stage.terminal.resize((80, 24));
        stage.terminal.press("\u{1b}");
        stage.terminal.until("back at the overview", |terminal| {
            terminal.screen().contains("capital") || terminal.screen().contains("STEP 2")
        });
    }
    stage.terminal.press("\u{3}");
    stage.result();
}

#[test]
fn a_run_stops_at_the_safe_point() {
    let mut stage = Stage::running("run", &[]);
    stage.terminal.press("q");
    stage.terminal.shows("stop at the safe point and leave");
    stage.terminal.press("L");
    assert_eq!(stage.result().0, "Ok(Stopped) after Begin Stop");
    stage.terminal.is_given_back();
}

#[test]
fn ctrl_c_has_three_degrees() {
    let mut stage = Stage::running("deaf", &[]);
    stage.terminal.press("\u{3}");
    stage.terminal.shows("Stopping after 4 changes in flight. Ctrl-C again within 5 s stops at once.");
    stage.terminal.press("\u{3}");
    stage.terminal.shows("Stopping at once");
    stage.terminal.press("\u{3}");
    assert_eq!(stage.result().0, "Ok(Stopped) after Begin Stop StopNow");
    stage.terminal.is_given_back();
}

#[test]
fn ctrl_z_gives_the_terminal_back_until_it_goes_on() {
    let mut stage = Stage::open("plan", &[]);
    stage.terminal.press("\u{1a}");
    stage.terminal.until("it is suspended", |terminal| terminal.process_state().as_deref() == Some("T"));
    stage.terminal.is_given_back();
    stage.terminal.signal(Signal::CONT);
    stage.terminal.until("it is drawn again", |terminal| terminal.in_alternate_screen() && terminal.screen().contains("DRY RUN"));
    stage.terminal.press("q");
    stage.result();
    stage.terminal.is_given_back();
}

#[test]
fn ctrl_z_is_refused_while_changes_are_in_flight() {
    let mut stage = Stage::running("run", &[]);
    stage.terminal.press("\u{1a}");
    stage.terminal.shows("P pauses first");
    assert_ne!(stage.terminal.process_state().as_deref(), Some("T"));
    stage.terminal.press("\u{3}");
    stage.result();
}

#[test]
fn a_lost_terminal_stops_the_run_and_burns_nothing() {
    let mut stage = Stage::running("run", &[]);
    let stat = format!("/proc/{}/stat", stage.terminal.process().as_raw_nonzero());
    let before = ticks(&std::fs::read_to_string(stat).unwrap());
    let begun = Instant::now();
    stage.terminal.hang_up();
    let (left, ticks) = stage.result();
    assert_eq!(left, "Ok(Detached) after Begin Stop");
    let ticks = ticks - before;
    // A spinning reader takes all there is.
    let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap() / 10;
    assert!(ticks < elapsed / 2 + 100, "{ticks} of {elapsed} ticks");
}

#[test]
fn sigterm_asks_for_a_safe_stop() {
    let mut stage = Stage::running("run", &[]);
    stage.terminal.signal(Signal::TERM);
    assert_eq!(stage.result().0, "Ok(Signal(15)) after Begin Stop");
    stage.terminal.is_given_back();
}

#[test]
fn sighup_stops_the_run_without_a_terminal() {
    let mut stage = Stage::running("run", &[]);
    stage.terminal.signal(Signal::HUP);
    assert_eq!(stage.result().0, "Ok(Detached) after Begin Stop");
}

#[test]
fn an_engine_that_ends_early_gives_the_terminal_back() {
    let mut stage = Stage::open("gone", &[]);
    stage.terminal.press("E");
    assert_eq!(stage.result().0, "Ok(Stopped) after Begin");
    stage.terminal.is_given_back();
}

#[test]
fn a_panic_elsewhere_leaves_the_screen_alone_and_is_told() {
    let mut stage = Stage::open("panic", &[]);
    stage.terminal.press("E");
    stage.terminal.shows("a worker has fallen over");
    assert!(stage.terminal.in_alternate_screen());
    stage.terminal.press("\u{3}");
    stage.result();
    stage.terminal.is_given_back();
}

#[test]
fn a_panic_of_the_interface_gives_the_terminal_back_before_it_is_printed() {
    let mut stage = Stage::open("nonsense", &[]);
    stage.terminal.press("E");
    stage
        .terminal
        .until("the panic is printed", |terminal| !terminal.in_alternate_screen() && terminal.screen().contains("panicked"));
    stage.terminal.is_given_back();
    let raw = stage.terminal.raw();
    assert!(raw.rfind("panicked") > raw.rfind("\x1b[?1049l"), "it stays in the scrollback");
    assert_ne!(stage.terminal.code(), 0);
}
