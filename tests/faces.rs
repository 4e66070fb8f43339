//! The faces as an operator meets them: which one a terminal gets, a whole plain run typed in a real pseudo-terminal,
//! signals, closed pipes. Never waits by time alone: what is waited for is said, with a deadline.

#[path = "support/pty.rs"]
#[expect(dead_code, reason = "plain lines need less of a terminal than a screen")]
mod pty;

use portable_pty::CommandBuilder;
use pty::{SOON, Terminal};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// For a whole step of the rehearsal, on a busy machine.
const WORK: Duration = Duration::from_mins(3);
/// The plan of the embedded cluster.
const GATES: [&str; 4] = ["pull", "stop", "metadata", "remove"];

/// castoff in a pseudo-terminal, read as text.
struct Talk {
    terminal: Terminal,
    /// What was read so far.
    mark: usize,
}

impl Talk {
    fn open(kept: &Path, arguments: &[&str], term: &str, size: (u16, u16)) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_castoff"));
        command.args(arguments);
        command.args(["--state", &kept.to_string_lossy()]);
        command.env("TERM", term);
        command.env("TZ", "UTC");
        for name in ["NO_COLOR", "CASTOFF_UI", "CASTOFF_ON_HANGUP"] {
            command.env_remove(name);
        }
        Self { terminal: Terminal::open(command, size), mark: 0 }
    }

    fn said(&self) -> String {
        self.terminal.raw().replace('\r', "")
    }

    /// Waits until these words are said after what was read so far.
    fn hears(&mut self, deadline: Duration, words: &str) {
        let found = |said: &str| said[self.mark..].find(words).map(|at| self.mark + at + words.len());
        let heard = self.terminal.comes(deadline, |_| found(&self.said()).is_some());
        assert!(heard, "no `{words}` after:\n{}", &self.said()[self.mark..]);
        self.mark = found(&self.said()).expect("it was heard");
    }

    fn press(&mut self, keys: &str) {
        self.terminal.press(keys);
    }

    /// As a person does, who has read the question first.
    fn answers(&mut self, deadline: Duration, words: &str, line: &str) {
        self.hears(deadline, words);
        thread::sleep(Duration::from_millis(700));
        self.press(&format!("{line}\n"));
    }

    fn end(mut self) -> (u32, String) {
        (self.terminal.ended(), self.said())
    }
}

/// castoff without a terminal.
fn castoff(kept: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_castoff"));
    command.args(arguments).args(["--state", &kept.to_string_lossy()]);
    command.env_remove("CASTOFF_UI").env("LC_ALL", "C.UTF-8").env("TZ", "UTC").stdin(Stdio::null());
    command
}

fn plan_id() -> String {
    let kept = tempfile::tempdir().unwrap();
    let out = castoff(kept.path(), &["plan", "backend-ai", "--simulate"]).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.split_whitespace().skip_while(|word| *word != "plan").nth(1).unwrap().to_owned()
}

fn approvals(gates: &[&str]) -> Vec<String> {
    let plan = plan_id();
    gates.iter().flat_map(|gate| ["--approve".to_owned(), format!("{gate}={plan}")]).collect()
}

/// The arguments of a whole headless rehearsal.
fn rehearsal(gates: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = ["run", "backend-ai", "--simulate", "--headless"].map(str::to_owned).into();
    out.extend(approvals(gates));
    out
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// The folder of the one rehearsal below `kept`.
fn folder(kept: &Path) -> PathBuf {
    let runs: Vec<PathBuf> = std::fs::read_dir(kept.join("rehearsals/runs")).unwrap().map(|run| run.unwrap().path()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].clone()
}

fn log(kept: &Path) -> String {
    std::fs::read_to_string(folder(kept).join("run.log")).unwrap()
}

/// A line without its time, if it had one: `02:14:32  started …`, or the longer form of the log.
fn untimed(line: &str) -> Option<&str> {
    let (time, rest) = line.split_once("  ")?;
    let digits = time.starts_with(|c: char| c.is_ascii_digit()) && time.contains(':');
    digits.then_some(rest)
}

/// Lines about one change that runs beside others come in any order.
fn is_of_change(line: &str) -> bool {
    ["started ", "done ", "found "].iter().any(|verb| line.starts_with(verb))
}

/// How far a run is at some moment, which no two runs tell alike.
fn is_sign_of_life(line: &str) -> bool {
    line.contains(" to do, ") && line.contains(" %") || line.starts_with("still waiting [")
}

/// The told lines of a run, without times, in an order that does not depend on the machine.
fn told(text: &str) -> Vec<String> {
    let mut out: Vec<String> = vec![];
    let mut block: Vec<String> = vec![];
    for line in text.lines().filter_map(untimed).filter(|line| !is_sign_of_life(line)) {
        if is_of_change(line) {
            block.push(line.to_owned());
            continue;
        }
        block.sort();
        out.append(&mut block);
        out.push(line.to_owned());
    }
    out.append(&mut block);
    out
}

/// A conversation without times, ages and names of this machine, in an order that does not depend on it.
fn still(text: &str) -> String {
    let mut out: Vec<String> = vec![];
    let mut block: Vec<String> = vec![];
    for line in text.lines() {
        let line = untimed(line).map_or_else(|| line.to_owned(), |rest| format!("TIME  {rest}"));
        let rest = line.strip_prefix("TIME  ").unwrap_or(&line);
        if is_sign_of_life(rest) {
            continue;
        }
        if is_of_change(rest) {
            block.push(line);
            continue;
        }
        block.sort();
        out.append(&mut block);
        out.push(line);
    }
    out.append(&mut block);
    out.join("\n")
}

fn filters() -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+", "MOMENT");
    settings.add_filter(r"\d\d:\d\d:\d\d to \d\d:\d\d:\d\d \S+, [\d:]+(, by .*)?", "FROM TO");
    settings.add_filter(r"for \d[\w ]*\n", "for AGE\n");
    settings.add_filter(r"\d[\w ]* ago", "AGE ago");
    settings.add_filter(r"\d{8}-\d{6}-[0-9a-f]{4}", "RUN");
    settings.add_filter(r"by \S+( as \S+)? on [\w.-]+", "by OPERATOR");
    settings.add_filter(r" +\d+:\d\d(  )", " TOOK$1");
    settings.add_filter(r" +\d+:\d\d( +\d)", " TOOK$1");
    settings.add_filter(r"/\S+/rehearsals", "STATE/rehearsals");
    settings.bind_to_scope()
}

#[test]
fn a_whole_run_is_typed_in_a_plain_terminal_and_told_in_the_words_of_headless() {
    // Side by side: the same rehearsal without a terminal.
    let quiet = tempfile::tempdir().unwrap();
    let arguments = rehearsal(&GATES);
    let headless = castoff(quiet.path(), &words(&arguments)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    let kept = tempfile::tempdir().unwrap();
    let mut talk = Talk::open(kept.path(), &["run", "backend-ai", "--simulate", "--ui", "plain"], "xterm", (200, 50));
    talk.answers(SOON, "To begin, type: execute.", "execute");
    talk.answers(WORK, "QUESTION 1 of 4: Pull the new images", "yes");
    talk.answers(WORK, "QUESTION 2 of 4: Open the window", "prod-a");
    talk.hears(WORK, "waits until: no session and no container uses an old image");
    talk.hears(WORK, "in the way, over time: ");
    talk.answers(WORK, "QUESTION 3 of 4: Delete the old metadata", "prod-a");
    talk.answers(WORK, "To do this, type exactly: remove 62 images from prod-a", "remove 62 images from prod-a");
    talk.hears(WORK, "finished  done");
    let (code, said) = talk.end();
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains('\u{1b}') && !said.contains('\u{8}'), "no cursor is moved and no colour set");
    assert!(said.contains(" LEFT TO DO BY HAND") && said.contains("10  Remove old images"), "the report is printed");

    let headless = headless.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(headless.stdout).unwrap(), String::from_utf8(headless.stderr).unwrap());
    assert_eq!(headless.status.code(), Some(0), "{err}");

    // The same words for each entry; only who opened the gates is another thing.
    let entries = |text: &str| -> Vec<String> {
        told(text).into_iter().filter(|line| !line.starts_with("approved") && !is_remark(line)).collect()
    };
    assert_eq!(entries(&said), entries(&out));
    assert!(entries(&out).len() > 250, "{}", entries(&out).len());
    // And the log has every line of both streams.
    let log = told(&log(quiet.path()));
    for line in told(&out).iter().chain(&told(&err)) {
        assert!(log.contains(line), "`{line}` is not in run.log");
    }

    let _filters = filters();
    let (_, conversation) = said.split_once("QUESTION: run this plan").unwrap();
    insta::assert_snapshot!("plain run", still(conversation));
    insta::assert_snapshot!("headless run", format!("{}\n=== standard error ===\n{}", still(&out), still(&err)));
}

/// What is told beside the entries.
fn is_remark(line: &str) -> bool {
    ["waits for  ", "no longer in the way", "in the way, over time"].iter().any(|start| line.starts_with(start))
}

#[test]
fn a_terminal_that_cannot_show_the_interface_gets_plain_lines_and_the_reason() {
    for (term, size, why) in [
        ("dumb", (120, 36), "plain lines, because TERM is `dumb`"),
        ("xterm", (50, 10), "plain lines, because the terminal is 50x10 and the terminal interface needs 60x16"),
    ] {
        let kept = tempfile::tempdir().unwrap();
        let mut talk = Talk::open(kept.path(), &["run", "backend-ai", "--simulate"], term, size);
        talk.hears(SOON, why);
        talk.answers(SOON, "To begin, type: execute.", "leave");
        let (code, said) = talk.end();
        assert_eq!(code, 12, "{said}");
        assert!(!said.contains('\u{1b}'), "{said}");
    }
}

#[test]
fn the_face_can_be_asked_for() {
    let kept = tempfile::tempdir().unwrap();
    let said = castoff(kept.path(), &["run", "backend-ai", "--simulate", "--ui", "tui"]).output().unwrap();
    assert_eq!(said.status.code(), Some(2), "{}", String::from_utf8_lossy(&said.stderr));
    // The end of an input that never began is no way to begin.
    let said = castoff(kept.path(), &["run", "backend-ai", "--simulate"]).env("CASTOFF_UI", "plain").output().unwrap();
    let out = String::from_utf8(said.stdout).unwrap();
    assert!(out.contains("QUESTION: run this plan") && out.contains("End of input"), "{out}");
    assert_eq!(said.status.code(), Some(12));
    // Without a terminal nobody is asked.
    let said = castoff(kept.path(), &["run", "backend-ai", "--simulate"]).output().unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains("the gate of `pull` needs an answer"));
}

#[test]
fn lines_typed_ahead_open_no_gate() {
    let kept = tempfile::tempdir().unwrap();
    let mut talk = Talk::open(kept.path(), &["run", "backend-ai", "--simulate", "--ui", "plain"], "xterm", (120, 36));
    talk.hears(SOON, "To begin, type: execute.");
    thread::sleep(Duration::from_millis(700));
    // All at once, as a hand does that knows the questions: the second line is there before the gate is, and the beginning of
    // a line before the question opens its ears.
    talk.press("execute\nyes\nyes\nye");
    talk.hears(SOON, "To do this, type exactly: yes");
    thread::sleep(Duration::from_secs(1));
    talk.press("s\n");
    talk.hears(SOON, "`s` is no word here");
    talk.answers(SOON, "possible words", "yes");
    talk.hears(SOON, "approved  Pull new images on agents");
    talk.press("\u{3}");
    talk.hears(SOON, "Stopping: ");
    let (code, said) = talk.end();
    assert_eq!(code, 13, "{said}");
    assert_eq!(said.matches("approved  Pull").count(), 1);
}

/// A plain rehearsal in the middle of its pulls.
fn pulling(kept: &Path) -> Talk {
    let mut talk = Talk::open(kept, &["run", "backend-ai", "--simulate", "--ui", "plain"], "xterm", (120, 36));
    talk.answers(SOON, "To begin, type: execute.", "execute");
    talk.answers(SOON, "To do this, type exactly: yes", "yes");
    talk.hears(SOON, "started   2.");
    talk
}

#[test]
fn ctrl_c_once_stops_at_the_safe_point() {
    let kept = tempfile::tempdir().unwrap();
    let mut talk = pulling(kept.path());
    talk.press("\u{3}");
    talk.hears(SOON, "in flight will be finished and written first, in 20 s at most");
    talk.hears(SOON, "paused    stopped at a safe point");
    let (code, said) = talk.end();
    assert_eq!(code, 13, "{said}");
    assert!(!said.contains("when it was cut"), "{said}");
}

#[test]
fn ctrl_c_twice_stops_at_once() {
    let kept = tempfile::tempdir().unwrap();
    let mut talk = pulling(kept.path());
    talk.press("\u{3}");
    talk.hears(SOON, "Stopping: ");
    talk.press("\u{3}");
    talk.hears(SOON, "Stopping at once: ");
    let (code, said) = talk.end();
    assert_eq!(code, 13, "{said}");
    assert!(said.contains("on the way when it was cut: "), "{said}");
}

#[test]
fn ctrl_d_and_sigterm_stop_at_the_safe_point() {
    let kept = tempfile::tempdir().unwrap();
    let mut talk = pulling(kept.path());
    talk.press("\u{4}");
    talk.hears(SOON, "End of input: castoff stops at the next safe point");
    talk.hears(SOON, "paused    stopped at a safe point");
    assert_eq!(talk.end().0, 13);

    let kept = tempfile::tempdir().unwrap();
    let mut talk = pulling(kept.path());
    talk.terminal.signal(Signal::TERM);
    talk.hears(SOON, "SIGTERM: castoff stops at the next safe point.");
    assert_eq!(talk.end().0, 143);
    assert!(log(kept.path()).contains("paused    stopped at a safe point"));
}

#[test]
fn a_lost_terminal_ends_the_step_and_stops_at_the_question() {
    let kept = tempfile::tempdir().unwrap();
    let mut talk = pulling(kept.path());
    talk.terminal.hang_up();
    assert!(talk.terminal.comes(WORK, |_| log(kept.path()).contains("gate      Stop managers waits")), "{}", log(kept.path()));
    assert_eq!(talk.terminal.code(), 13);
    assert!(log(kept.path()).contains("paused    stopped at a safe point"));
}

#[test]
fn ctrl_z_is_refused_while_changes_are_in_flight() {
    let kept = tempfile::tempdir().unwrap();
    let mut talk = pulling(kept.path());
    talk.press("\u{1a}");
    talk.hears(SOON, "Changes are in flight and cannot be left alone: `pause` first.");
    talk.press("\u{3}");
    assert_eq!(talk.end().0, 13);
}

#[test]
fn a_reader_that_leaves_ends_the_output_and_not_the_run() {
    let kept = tempfile::tempdir().unwrap();
    let arguments = rehearsal(&["pull"]);
    let mut child = castoff(kept.path(), &words(&arguments)).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // As `| head -1` does.
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("planned   plan "), "{first}");
    assert_eq!(child.wait().unwrap().code(), Some(12), "it comes to the gate that nobody answered");
    let log = log(kept.path());
    assert!(log.contains("gate      Stop managers waits"), "every pull was made: {log}");
}

#[test]
fn a_headless_run_stops_in_degrees_and_its_log_is_followed() {
    let kept = tempfile::tempdir().unwrap();
    let arguments = rehearsal(&["pull"]);
    let mut run = castoff(kept.path(), &words(&arguments)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("started   2.")));
    let (to, said) = mpsc::channel();
    let rest = thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(to.send(line))));

    let state = kept.path().join("rehearsals");
    let mut follower = castoff(&state, &["log", "-f"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut followed = BufReader::new(follower.stdout.take().unwrap()).lines();
    let first = followed.next().unwrap().unwrap();
    assert!(first.starts_with("    1  ") && first.contains("  planned   plan "), "{first}");
    assert!(followed.by_ref().map_while(Result::ok).any(|line| line.contains("  done      2.")), "it goes on with the run");

    let id = Pid::from_raw(run.id().cast_signed()).unwrap();
    let mut err = BufReader::new(run.stderr.take().unwrap());
    // The second has to come while something is in flight: something was begun just now.
    said.try_iter().for_each(drop);
    assert!(said.iter().any(|line| line.contains("started   2.")), "no further pull is begun");
    for words in ["stopping at the next safe point", "stopping at once"] {
        kill_process(id, Signal::INT).unwrap();
        let mut line = String::new();
        while !line.starts_with(words) {
            line.clear();
            assert!(err.read_line(&mut line).unwrap() > 0, "standard error ends before `{words}`");
        }
    }
    assert_eq!(run.wait().unwrap().code(), Some(13));
    rest.join().unwrap();
    // The run is not over: who follows is told so, and stays.
    let mut line = String::new();
    BufReader::new(follower.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("nobody runs it now: castoff resume "), "{line}");
    assert!(follower.try_wait().unwrap().is_none());
    follower.kill().unwrap();
    follower.wait().unwrap();

    let out = castoff(&state, &["log", "--format", "json"]).output().unwrap();
    let out = String::from_utf8(out.stdout).unwrap();
    for (line, seq) in out.lines().zip(1..) {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&entry["v"], &entry["seq"]), (&1.into(), &serde_json::Value::from(seq)), "{line}");
    }
    assert!(out.lines().count() > 10, "{out}");
}

#[test]
fn sigusr1_tells_how_the_run_stands_in_every_face() {
    // Headless: on standard error, and in the log.
    let kept = tempfile::tempdir().unwrap();
    let arguments = rehearsal(&["pull"]);
    let mut child = castoff(kept.path(), &words(&arguments)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = Pid::from_raw(child.id().cast_signed()).unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("started   2.")));
    let mut err = BufReader::new(child.stderr.take().unwrap());
    kill_process(id, Signal::USR1).unwrap();
    let mut line = String::new();
    while !line.starts_with("held by this castoff") {
        line.clear();
        assert!(err.read_line(&mut line).unwrap() > 0, "standard error ends");
    }
    kill_process(id, Signal::INT).unwrap();
    let mut rest = String::new();
    err.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("in flight  2.") && rest.contains("stopping at the next safe point"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(13));
    assert!(log(kept.path()).contains("  status  held by this castoff"));

    let kept = tempfile::tempdir().unwrap();
    let mut talk = pulling(kept.path());
    talk.terminal.signal(Signal::USR1);
    talk.hears(SOON, "held by this castoff");
    talk.press("\u{3}");
    assert_eq!(talk.end().0, 13);

    // The terminal interface says only where it is written.
    let kept = tempfile::tempdir().unwrap();
    let mut talk = Talk::open(kept.path(), &["run", "backend-ai", "--simulate"], "xterm", (160, 36));
    talk.hears(SOON, "DRY RUN");
    talk.terminal.signal(Signal::USR1);
    talk.hears(SOON, "run.log");
    // Whoever writes the log and whoever draws the screen hear of it each by itself.
    let told = || std::fs::read_to_string(folder(kept.path()).join("run.log")).unwrap_or_default();
    assert!(talk.terminal.comes(SOON, |_| told().contains("  status  ")), "{}", told());
    talk.press("q");
    assert_eq!(talk.end().0, 12);
}
