//! The program as an operator meets it: the whole runbook in a real pseudo-terminal on a real cluster, and the ways out.
//! Never waits by time alone: what is waited for is on the screen, with a deadline.

#[path = "support/lab.rs"]
#[expect(dead_code, reason = "the terminal needs less of a lab than the stores' tests")]
mod lab;

#[path = "support/pty.rs"]
#[expect(dead_code, reason = "the program's tests need less of a terminal than the interface's")]
mod pty;

use lab::Lab;
use portable_pty::CommandBuilder;
use pty::{SOON, Terminal};
use std::{path::Path, time::Duration};

/// For what the cluster has to do: a manager that starts, a rescan.
const WORK: Duration = Duration::from_secs(90);

/// castoff in a terminal of 120x36; runs are kept in `kept`.
fn castoff(kept: &Path, arguments: &[&str]) -> Terminal {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_castoff"));
    command.args(arguments);
    command.args(["--state", &kept.to_string_lossy()]);
    command.env_remove("NO_COLOR");
    Terminal::open(command, (120, 36))
}

#[test]
fn the_whole_runbook_goes_through_a_terminal() {
    let Some(lab) = Lab::start("CASTOFF_LAB") else {
        eprintln!("\n*** NOT RUN: no Python 3.11 for the 23.09 era ***\n");
        return;
    };
    let kept = tempfile::tempdir().unwrap();
    let (cluster, file) = (lab.cluster(), lab.cluster_file());
    let file = file.to_string_lossy();
    let mut terminal = castoff(kept.path(), &["run", "backend-ai", "--cluster", &file]);

    terminal.shows("DRY RUN");
    terminal.shows("Nothing has been changed. 10 steps, 4 questions");
    assert!(terminal.in_alternate_screen());
    terminal.press("E");
    terminal.answer(SOON, "Pull the new images   question 1 of 4", "yes");

    // Left at a question, and gone on with in another terminal.
    terminal.shows_within(WORK, "Open the window   question 2 of 4");
    terminal.leave();
    let (code, rest) = terminal.end();
    assert_eq!(code, 13, "{rest}");
    assert!(rest.contains("nobody runs it now: castoff resume "), "{rest}");
    let mut terminal = castoff(kept.path(), &["resume", "--cluster", &file]);
    terminal.shows("C continue");
    terminal.press("C");
    terminal.answer(WORK, "Open the window   question 2 of 4", &cluster);

    // Stopped, rescanned, started again; now four sessions are in the way of the rest.
    terminal.shows_within(WORK, "session train-mnist");
    terminal.resize((80, 24));
    terminal.shows("session train-mnist");
    terminal.until("drawn at 80x24", |terminal| {
        let screen = terminal.screen();
        screen.lines().all(|line| line.chars().count() <= 80) && screen.contains("stats-park")
    });
    lab.drain();
    terminal.shows_within(WORK, "✔  no session and no container uses an old image");
    terminal.answer(WORK, "Delete the old metadata   question 3 of 4", &cluster);
    terminal.answer(WORK, "Remove old images   question 4 of 4", &format!("remove 9 images from {cluster}"));
    terminal.shows_within(WORK, "This run is over. Nothing is running.");
    terminal.shows("DONE");
    terminal.press("q");
    let (code, rest) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    for words in ["DONE", "LEFT TO DO BY HAND", "10  Remove old images", " journal  ", "castoff rollback "] {
        assert!(rest.contains(words), "no `{words}` in the scrollback: {rest}");
    }
    assert_eq!(lab.sql("SELECT count(*) FROM images WHERE registry = 'index.docker.io'"), ["0"]);
    assert_eq!(lab.castoff(kept.path(), &["plan", "backend-ai"]).code, 0, "nothing is left to do");
}

#[test]
fn leaving_at_a_question_stops_the_run_there() {
    let kept = tempfile::tempdir().unwrap();
    let mut terminal = castoff(kept.path(), &["run", "backend-ai", "--simulate"]);
    terminal.shows("DRY RUN");
    terminal.press("E");
    terminal.shows("To do this, type   yes");
    terminal.leave();
    let (code, rest) = terminal.end();
    assert_eq!(code, 13, "{rest}");
    assert!(rest.contains("Pull new images on agents     gate"), "{rest}");
    assert!(rest.contains("a rehearsal: no cluster was touched") && !rest.contains("castoff resume"), "{rest}");
}

#[test]
fn the_first_picture_does_not_wait_for_the_cluster() {
    let kept = tempfile::tempdir().unwrap();
    let terminal = castoff(kept.path(), &["run", "backend-ai", "--simulate"]);
    terminal.shows("DRY RUN");
    let raw = terminal.raw();
    let at = |words: &str| raw.find(words).unwrap_or_else(|| panic!("no `{words}`: {raw}"));
    // Blanks are not written: word by word.
    assert!(at("Reading") < at("DRY"), "{raw}");
    assert!(!terminal.screen().contains("Reading the cluster"), "what was waited for is gone:\n{}", terminal.screen());
    assert_eq!(raw.matches("\x1b[?1049h").count(), 1, "the screen is taken once");
    assert!(raw.contains("\x1b]0;plan prod-a"), "the title names the cluster, once it is known");
}

#[test]
fn ctrl_c_at_the_plan_leaves_nothing_behind() {
    let kept = tempfile::tempdir().unwrap();
    let mut terminal = castoff(kept.path(), &["run", "backend-ai", "--simulate"]);
    terminal.shows("DRY RUN");
    terminal.press("\u{3}");
    let (code, rest) = terminal.end();
    assert_ne!(code, 0, "{rest}");
    for folder in ["runs", "rehearsals/runs"] {
        let runs = std::fs::read_dir(kept.path().join(folder)).map_or(0, Iterator::count);
        assert_eq!(runs, 0, "a run was begun in {folder}: {rest}");
    }
}

#[test]
fn what_was_typed_or_pasted_before_a_question_opens_no_gate() {
    let kept = tempfile::tempdir().unwrap();
    let mut terminal = castoff(kept.path(), &["run", "backend-ai", "--simulate"]);
    terminal.shows("DRY RUN");
    // In one breath: the gate opens while the keys are on their way.
    terminal.press("Eyes\r");
    terminal.shows("To do this, type   yes");
    std::thread::sleep(Duration::from_secs(1));
    let open =
        |terminal: &Terminal| terminal.screen().contains("NEEDS YOU") && terminal.screen().contains("nothing is typed yet");
    assert!(open(&terminal), "{}", terminal.screen());

    terminal.answer(SOON, "question 1 of 4", "yes");
    terminal.shows("question 2 of 4");
    terminal.shows("To do this, type   prod-a");
    std::thread::sleep(Duration::from_secs(1));
    terminal.press("\u{1b}[200~prod-a\r\u{1b}[201~");
    terminal.shows("pasting is off here: the sentence is to be typed");
    assert!(terminal.screen().contains("NEEDS YOU"), "{}", terminal.screen());
    terminal.leave();
    assert_eq!(terminal.end().0, 13);
}

#[test]
fn a_run_that_loses_its_terminal_ends_its_step_and_stops_at_the_next_question() {
    for (how, last) in [("finish-step", "Pull new images on agents     done"), ("pause", "Pull new images on agents     to do")] {
        let kept = tempfile::tempdir().unwrap();
        let mut terminal = castoff(kept.path(), &["run", "backend-ai", "--simulate", "--on-hangup", how]);
        terminal.shows("DRY RUN");
        terminal.press("E");
        terminal.answer(SOON, "question 1 of 4", "yes");
        terminal.shows("RUNNING step 2 of 10");
        terminal.hang_up();
        assert_eq!(terminal.code(), 13, "{how}");
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_castoff"))
            .args(["status", "--state"])
            .arg(kept.path().join("rehearsals"))
            .output()
            .unwrap();
        let status = String::from_utf8(status.stdout).unwrap();
        assert!(status.contains(last), "{how}: {status}");
        assert!(!status.contains("running"), "{how}: nothing is left in flight: {status}");
    }
}
