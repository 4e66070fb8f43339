//! The linear face as a conversation: the real engine on the simulator, lines typed and lines read.
//! Never a terminal: `tests/faces.rs` has one.

use castoff::cluster::sim::{Pace, Sim, demo};
use castoff::engine::{Ending, Engine, Setup};
use castoff::journal::{self, Journal};
use castoff::model::{Command, Entry, Fault, FaultKind, Inventory, OnHangup, Outcome, Plan, Stamped, State, Status};
use castoff::plain::{self, Ends, Input, Left};
use castoff::runbook::{Runbook, SHIPPED};
use std::{
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinHandle};

const RUN: &str = "run";
const SOON: Duration = Duration::from_secs(20);

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A cluster small enough for a conversation.
fn start() -> Inventory {
    let mut world = demo(now_ms());
    world.hosts.retain(|name, _| ["gpu-01", "gpu-04", "gpu-06"].contains(&name.as_str()));
    world.sessions.retain(|session| world.hosts.contains_key(&session.agent));
    world
}

/// Without waves, so that failures of two hosts are there at once.
fn plan() -> Plan {
    let mut plan = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap().plan(&start()).unwrap().0;
    plan.steps.iter_mut().for_each(|step| step.waves = None);
    plan
}

/// Where the words go; after `closed_after` lines nobody takes them any more.
#[derive(Clone, Default)]
struct Paper {
    said: Arc<Mutex<String>>,
    closed_after: Option<usize>,
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut said = self.said.lock().unwrap();
        if self.closed_after.is_some_and(|n| said.lines().count() >= n) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        said.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One castoff process, talked to.
struct Talk {
    lines: Option<mpsc::UnboundedSender<Input>>,
    out: Paper,
    err: Paper,
    /// What was read so far.
    mark: usize,
    face: JoinHandle<io::Result<Left>>,
    engine: JoinHandle<Result<Ending, castoff::engine::EngineError>>,
}

impl Talk {
    async fn open(state: &Path, sim: &Arc<Sim>, plan: &Plan) -> Self {
        Self::with(state, sim, plan, None, Paper::default()).await
    }

    async fn with(state: &Path, sim: &Arc<Sim>, plan: &Plan, rollback_to: Option<usize>, out: Paper) -> Self {
        let journal = match Journal::open(state, RUN, "test").await {
            Ok(journal) => journal,
            Err(_) => Journal::create(state, RUN, "test").await.unwrap(),
        };
        let entries: Vec<Stamped> = journal.entries().await.unwrap();
        let (to_engine, commands) = mpsc::channel::<Command>(64);
        let (events, from_engine) = mpsc::channel(4096);
        let setup = Setup {
            recheck: Duration::from_millis(50),
            backoff: Duration::from_millis(1),
            ..Setup::new(sim.clone(), journal, (commands, events), "kim", now_ms)
        };
        let engine = tokio::spawn(Engine::new(setup).await.unwrap().run(Some(Arc::new(plan.clone()))));
        let (lines, typed) = mpsc::unbounded_channel();
        let err = Paper::default();
        let start = plain::Start {
            plan: Arc::new(plan.clone()),
            entries,
            run: RUN.to_owned(),
            simulated: true,
            rollback_to,
            window: None,
            width: 120,
            color: false,
            on_hangup: OnHangup::default(),
        };
        let ends = Ends::new(typed, Box::new(out.clone()), Box::new(err.clone()));
        let face = tokio::spawn(plain::run(start, from_engine, to_engine, ends));
        Self { lines: Some(lines), out, err, mark: 0, face, engine }
    }

    fn said(&self) -> String {
        self.out.said.lock().unwrap().clone()
    }

    /// Waits until these words are said after what was read so far.
    async fn hears(&mut self, words: &str) {
        let begun = tokio::time::Instant::now();
        loop {
            let said = self.said();
            if let Some(at) = said[self.mark..].find(words) {
                self.mark += at + words.len();
                return;
            }
            assert!(begun.elapsed() < SOON, "no `{words}` after:\n{}", &said[self.mark..]);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A line that comes in long after what was said.
    fn types(&self, line: &str) {
        self.line(line, 60_000);
    }

    fn line(&self, line: &str, later_ms: i64) {
        self.line_of(line, now_ms() + later_ms);
    }

    /// A line that came in at this time.
    fn line_of(&self, line: &str, at_ms: i64) {
        let _ = self.lines.as_ref().unwrap().send(Input::Line(line.to_owned(), at_ms));
    }

    async fn answers(&mut self, words: &str, line: &str) {
        self.hears(words).await;
        self.types(line);
    }

    async fn ends(self) -> (Left, Ending, String) {
        let face = tokio::time::timeout(SOON, self.face).await.expect("the face ends").unwrap().unwrap();
        let engine = tokio::time::timeout(SOON, self.engine).await.expect("the engine ends").unwrap().unwrap();
        let said = self.out.said.lock().unwrap().clone();
        (face, engine, said)
    }
}

async fn entries(state: &Path) -> Vec<Stamped> {
    journal::read(state, RUN).await.unwrap()
}

fn approved(entries: &[Stamped], step: usize) -> Option<String> {
    entries.iter().find_map(|stamped| match &stamped.entry {
        Entry::GateApproved { step: at, typed, .. } if *at == step => Some(typed.clone()),
        _ => None,
    })
}

/// The last gate's sentence carries the count of the plan.
fn removal(plan: &Plan) -> String {
    plan.steps.last().unwrap().gate.as_ref().unwrap().sentence.clone()
}

#[tokio::test]
async fn end_of_input_stops_the_run_and_a_resume_goes_on_to_the_end() {
    // The whole cluster: its sessions are not gone at the first look.
    let state = tempfile::tempdir().unwrap();
    let plan = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &[]).unwrap().plan(&demo(now_ms())).unwrap().0;
    let sim = Arc::new(Sim::new(demo(now_ms()), Pace::Instant));
    let mut talk = Talk::open(state.path(), &sim, &plan).await;
    talk.answers("To begin, type: execute", "execute").await;
    talk.answers("QUESTION 1 of 4", "yes").await;
    talk.hears("QUESTION 2 of 4: Open the window").await;
    talk.lines.take();
    let (left, ending, said) = talk.ends().await;
    assert_eq!((left, ending), (Left::Stopped, Ending::Stopped));
    assert!(said.contains("End of input: castoff stops at the next safe point and leaves."), "{said}");

    let mut talk = Talk::open(state.path(), &sim, &plan).await;
    talk.hears("RESUME: this run stands still: stopped at a safe point").await;
    talk.answers("Recommended: continue.", "continue").await;
    talk.answers("To do this, type exactly: prod-a", "prod-a").await;
    // The gate of the drain asks nothing while something is in the way.
    talk.hears("waits until: no session and no container uses an old image").await;
    talk.hears("waits for  session").await;
    talk.hears("in the way, over time: ").await;
    talk.answers("QUESTION 3 of 4", "prod-a").await;
    talk.answers("QUESTION 4 of 4", &removal(&plan)).await;
    let (left, ending, said) = talk.ends().await;
    assert_eq!((left, ending), (Left::Finished, Ending::Finished(Outcome::Done)), "{said}");
    assert!(!said.contains('\u{1b}'), "no escape sequence");
}

#[tokio::test]
async fn lines_typed_before_a_question_never_answer_it() {
    let (state, plan) = (tempfile::tempdir().unwrap(), plan());
    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    let mut talk = Talk::open(state.path(), &sim, &plan).await;
    // In the channel before anything is said, as a pipe full of answers has them.
    for line in ["execute", "yes", "prod-a"] {
        talk.line(line, 0);
    }
    talk.hears("What was typed before the question was there does not count.").await;
    let before = now_ms();
    talk.answers("", "execute").await;
    // Before the question of the gate is printed, and within 300 ms after.
    talk.hears("To do this, type exactly: yes").await;
    talk.line_of("yes", before);
    talk.line_of("yes", before + 300);
    talk.hears("does not count").await;
    talk.types("");
    talk.hears("Waiting for your answer").await;
    assert_eq!(approved(&entries(state.path()).await, 1), None);
    talk.types("Yes");
    talk.hears("`Yes` is no word here").await;
    talk.types("yes");
    talk.hears("approved  Pull new images on agents by kim: yes").await;
    talk.lines.take();
    talk.ends().await;
    assert_eq!(approved(&entries(state.path()).await, 1).as_deref(), Some("yes"));
}

#[tokio::test]
async fn a_thousand_lines_without_the_sentence_open_no_gate() {
    let (state, plan) = (tempfile::tempdir().unwrap(), plan());
    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    let mut talk = Talk::open(state.path(), &sim, &plan).await;
    talk.answers("To begin, type: execute", "execute").await;
    talk.answers("QUESTION 1 of 4", "yes").await;
    talk.hears("To do this, type exactly: prod-a").await;
    let parts =
        ["prod", "-a", "prod-b", "yes", "", "execute", "ask", "not now", "check", "status", "why", "help", "continue", "PROD-A"];
    let mut random = 2_026_u64;
    for _ in 0..1000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let n = usize::try_from(random >> 33).unwrap();
        let (one, two) = (parts[n % parts.len()], parts[n / 100 % parts.len()]);
        let line = if n.is_multiple_of(3) { one.to_owned() } else { format!("{one} {two}") };
        talk.types(&line);
    }
    talk.types("leave");
    let (left, _, said) = talk.ends().await;
    assert_eq!(left, Left::Stopped, "{said}");
    assert_eq!(approved(&entries(state.path()).await, 2), None);
}

#[tokio::test]
async fn failures_are_grouped_by_cause_and_chosen_by_word() {
    let (state, plan) = (tempfile::tempdir().unwrap(), plan());
    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    // Faults of images, not of hosts: those would set their host aside.
    let lost = || Fault::new(FaultKind::Missing, "cannot pull `x`", "repository unknown").hint("push it");
    let gone = Fault::new(FaultKind::Missing, "cannot pull `y`", "manifest unknown");
    sim.fail("pull", "gpu-01", vec![lost(), lost()]);
    sim.fail("pull", "gpu-04", vec![gone]);
    let mut talk = Talk::open(state.path(), &sim, &plan).await;
    talk.answers("To begin, type: execute", "execute").await;
    talk.answers("QUESTION 1 of 4", "yes").await;
    talk.hears("FAILED: step 2, Pull new images on agents, changed ").await;
    talk.hears("cause 1: 2 changes, repository unknown").await;
    talk.hears("  where: gpu-01").await;
    talk.hears("  what helps: push it").await;
    talk.hears("cause 2: 1 change, manifest unknown").await;
    talk.answers("Recommended, once it is mended: retry, or one cause: retry 1", "retry 3").await;
    talk.answers("There are 2 causes: name one by its number, 1 to 2.", "skip retired image").await;
    talk.answers("name one by its number", "skip 2").await;
    talk.answers("A reason is needed", "skip 2 retired image").await;
    talk.hears("retired image (by kim)").await;
    talk.answers("cause 1: 2 changes", "retry").await;
    talk.hears("retried").await;
    talk.answers("QUESTION 2 of 4", "roll back").await;
    talk.hears("ROLL BACK to before step 2").await;
    talk.answers("Say why", "not now").await;
    // Closed, and what stood behind it is asked again.
    talk.answers("QUESTION 2 of 4", "roll back 2").await;
    talk.answers("Say why", "the window is over").await;
    talk.answers("type exactly the name of the cluster: prod-a", "prod-b").await;
    talk.answers("This is not it, letter by letter", "prod-a").await;
    let (left, ending, said) = talk.ends().await;
    assert_eq!((left, ending), (Left::Finished, Ending::Finished(Outcome::RolledBack)), "{said}");
    let folded = State::fold(&entries(state.path()).await).unwrap();
    let skipped = folded.steps[1].changes.iter().filter(|c| matches!(&c.status, Status::Skipped(why) if why == "retired image"));
    assert_eq!(skipped.count(), 1);
}

#[tokio::test]
async fn the_others_follow_a_canary_only_when_it_is_approved_by_its_sentence() {
    let state = tempfile::tempdir().unwrap();
    let sets = ["waves.hold=approve".to_owned()];
    let plan = Runbook::parse(SHIPPED[0].0, SHIPPED[0].1, &sets).unwrap().plan(&start()).unwrap().0;
    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    let mut talk = Talk::open(state.path(), &sim, &plan).await;
    talk.answers("To begin, type: execute", "execute").await;
    let before = now_ms();
    talk.answers("QUESTION 1 of 4", "yes").await;
    talk.hears("QUESTION: the canary of step 2, Pull new images on agents").await;
    talk.hears("To do this, type exactly: yes").await;
    talk.line_of("yes", before + 300);
    talk.hears("does not count").await;
    talk.types("not now");
    talk.answers("Type ask for the question", "ask").await;
    talk.answers("To do this, type exactly: yes", "yes").await;
    talk.hears("QUESTION 2 of 4").await;
    talk.lines.take();
    talk.ends().await;
    let passed = entries(state.path()).await.into_iter().filter_map(|stamped| match stamped.entry {
        Entry::WavePassed { by, typed, .. } => Some((by, typed)),
        _ => None,
    });
    assert_eq!(passed.collect::<Vec<_>>(), [("kim".to_owned(), "yes".to_owned())]);
}

#[tokio::test]
async fn a_run_is_paused_limited_and_aborted_by_words() {
    let (state, plan) = (tempfile::tempdir().unwrap(), plan());
    let sim = Arc::new(Sim::new(start(), Pace::Lively));
    let mut talk = Talk::open(state.path(), &sim, &plan).await;
    talk.answers("To begin, type: execute", "execute").await;
    talk.answers("QUESTION 1 of 4", "yes").await;
    talk.answers("started", "limit pulls=1").await;
    talk.answers("limits    1 a host", "limit pulls=0").await;
    talk.answers("would stop everything", "why").await;
    talk.answers("in flight  2.", "pause").await;
    talk.answers("Paused. Possible words: go on", "status").await;
    talk.answers("2  Pull new images on agents", "go on").await;
    talk.answers("goes on   by kim", "pause").await;
    talk.answers("Paused. ", "abort").await;
    talk.answers("ABORT: the run ends here for good", "wrong cluster").await;
    talk.answers("name of the cluster", "prod-a").await;
    let (left, ending, said) = talk.ends().await;
    assert_eq!((left, ending), (Left::Finished, Ending::Finished(Outcome::Aborted("wrong cluster".to_owned()))), "{said}");
}

#[tokio::test]
async fn a_closed_output_ends_the_output_and_not_the_run() {
    let (state, plan) = (tempfile::tempdir().unwrap(), plan());
    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    let out = Paper { closed_after: Some(1), ..Paper::default() };
    let mut talk = Talk::with(state.path(), &sim, &plan, None, out).await;
    // The words go on where they can still be read.
    talk.out = talk.err.clone();
    talk.hears("standard output is closed").await;
    talk.answers("To begin, type: execute", "execute").await;
    talk.answers("QUESTION 1 of 4", "yes").await;
    for words in ["QUESTION 2 of 4", "QUESTION 3 of 4"] {
        talk.answers(words, "prod-a").await;
    }
    talk.answers("QUESTION 4 of 4", &removal(&plan)).await;
    assert_eq!(talk.ends().await.1, Ending::Finished(Outcome::Done));
}

#[tokio::test]
async fn a_rollback_is_asked_in_words_too() {
    let (state, plan) = (tempfile::tempdir().unwrap(), plan());
    let sim = Arc::new(Sim::new(start(), Pace::Instant));
    let mut talk = Talk::open(state.path(), &sim, &plan).await;
    talk.answers("To begin, type: execute", "execute").await;
    talk.answers("QUESTION 1 of 4", "yes").await;
    talk.answers("QUESTION 2 of 4", "leave").await;
    talk.ends().await;
    let mut talk = Talk::with(state.path(), &sim, &plan, Some(0), Paper::default()).await;
    talk.hears("would be undone: step 2, Pull new images on agents").await;
    talk.answers("Say why", "a rehearsal").await;
    talk.answers("name of the cluster: prod-a", "prod-a").await;
    assert_eq!(talk.ends().await.1, Ending::Finished(Outcome::RolledBack));
}
