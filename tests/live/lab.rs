//! The lab under test: brought back to its start, spoken to through its own scripts, and castoff run against it.
//! Never asks castoff what is true: that is looked up by the clients in `world`.

use crate::story::Story;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

/// The gates of the shipped runbook that ask.
pub const GATES: [&str; 4] = ["pull", "stop", "metadata", "remove"];

/// One test at a time. Holds what the lab stands at: `None` for anything, or as this story left it, untouched since.
static TURN: Mutex<Option<Arc<Story>>> = Mutex::new(None);

pub struct Lab {
    /// The lab's state folder.
    pub folder: PathBuf,
    /// Runs and files of this test.
    pub scratch: tempfile::TempDir,
    base: u16,
    /// The state folder by a path that is short enough for sockets.
    pub sockets: String,
    turn: MutexGuard<'static, Option<Arc<Story>>>,
}

/// What castoff said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub words: String,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Lab {
    fn open() -> Self {
        let folder = std::env::var_os("CASTOFF_LAB").map(PathBuf::from);
        let folder = folder.expect("these tests need a lab: run `make test`, or lab/up and CASTOFF_LAB=…/lab/.state/NAME");
        let conf = std::fs::read_to_string(folder.join("lab.conf"));
        let conf = conf.unwrap_or_else(|e| panic!("no lab in `{}`: {e}: run `make test`, or lab/up", folder.display()));
        let told = |name: &str| conf.split_whitespace().find_map(|word| word.strip_prefix(name)).expect(name);
        let (base, sockets) = (told("BASE=").parse().unwrap(), told("SHORT=").to_owned());
        assert!(conf.contains("ERA=23.09"), "these tests tell what a manager of 23.09 does");
        let turn = TURN.lock().unwrap_or_else(|poisoned| {
            TURN.clear_poison();
            let mut turn = PoisonError::into_inner(poisoned);
            *turn = None;
            turn
        });
        Self { folder, scratch: tempfile::tempdir().unwrap(), base, sockets, turn }
    }

    /// At the start state, with four live sessions.
    pub fn begin() -> Self {
        let mut lab = Self::open();
        *lab.turn = None;
        lab.script("reset", &[]);
        lab
    }

    /// At the start state, with every session ended by its user.
    pub fn drained() -> Self {
        let lab = Self::begin();
        lab.drain();
        lab
    }

    /// After the whole runbook, and nothing since: told by one run that all such tests share.
    pub fn moved() -> (Self, Arc<Story>) {
        let mut lab = Self::open();
        let story = if let Some(story) = &*lab.turn { Arc::clone(story) } else { Arc::new(Story::live_through(&lab)) };
        *lab.turn = Some(Arc::clone(&story));
        (lab, story)
    }

    /// From a story that others share to a fresh start.
    pub fn begin_again(mut self) -> Self {
        *self.turn = None;
        self.script("reset", &[]);
        self
    }

    pub fn reset(&self) {
        self.script("reset", &[]);
    }

    pub fn drain(&self) {
        self.script("drain", &["--all"]);
    }

    /// `lab/NAME`, with the lab's name; `false` if it ends with another code than 0.
    pub fn asks(&self, script: &str, words: &[&str]) -> bool {
        let lab = self.folder.file_name().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab").join(script);
        Command::new(path).arg("--name").arg(lab).args(words).stdout(Stdio::null()).status().unwrap().success()
    }

    fn script(&self, script: &str, words: &[&str]) {
        assert!(self.asks(script, words), "lab/{script} failed");
    }

    /// A port of the lab, counted from its base: see lab/README.md.
    pub fn port(&self, offset: u16) -> u16 {
        self.base + offset
    }

    /// The manager's own command line.
    pub fn manager(&self, words: &[&str]) -> String {
        let program = self.folder.join("../venv-23.09/bin/backend.ai");
        let mut command = Command::new(program);
        command.arg("mgr").args(words).current_dir(self.folder.join("manager")).env_remove("BACKEND_ENDPOINT");
        let done = command.output().unwrap();
        assert!(done.status.success(), "mgr {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Has the stand-in of the new registry misbehave, until it is told otherwise or the lab is reset.
    pub fn fault(&self, fault: &str) {
        let url = format!("http://127.0.0.1:{}/_lab/fault", self.port(7));
        let done = Command::new("curl").args(["-sf", "--noproxy", "*", "-X", "PUT", "-d", fault, &url]).output().unwrap();
        assert!(done.status.success(), "the stand-in does not answer");
    }

    pub fn no_fault(&self) {
        self.fault("[]");
    }

    pub fn cluster_file(&self) -> String {
        std::fs::read_to_string(self.folder.join("castoff.toml")).unwrap()
    }

    /// A file of this test.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.scratch.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Where castoff keeps the runs of this test.
    pub fn runs(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_castoff"));
        command.args(words).stdin(Stdio::null()).env("CASTOFF_STATE", self.runs());
        command.env("CASTOFF_CLUSTER", self.folder.join("castoff.toml"));
        command
    }

    /// Runs castoff to its end, which has to come within ten minutes.
    pub fn castoff(&self, words: &[&str]) -> Said {
        let read = |name| std::fs::read_to_string(self.scratch.path().join(name)).unwrap();
        let file = |name| std::fs::File::create(self.scratch.path().join(name)).unwrap();
        let mut child = self.command(words).stdout(file("out")).stderr(file("err")).spawn().unwrap();
        let end = Instant::now() + Duration::from_mins(10);
        let code = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if Instant::now() > end {
                child.kill().unwrap();
                panic!("castoff {words:?} does not end:\n{}{}", read("out"), read("err"));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Said { words: words.join(" "), code, out: read("out"), err: read("err") }
    }

    /// Starts castoff with JSON on its standard output, to be watched line by line.
    pub fn watch(&self, words: &[&str]) -> Watched {
        static WATCHED: AtomicUsize = AtomicUsize::new(0);
        let path = self.scratch.path().join(format!("err-watched-{}", WATCHED.fetch_add(1, Ordering::SeqCst)));
        let err = std::fs::File::create(&path).unwrap();
        let mut command = self.command(words);
        let mut child = command.args(["--format", "json"]).stdout(Stdio::piped()).stderr(err).spawn().unwrap();
        let (to, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        // Read at once: a full pipe would hold castoff up.
        std::thread::spawn(move || out.lines().try_for_each(|line| to.send(line.unwrap())));
        Watched { child, lines, err: path }
    }

    /// The plan as castoff makes it now; there has to be something to do.
    pub fn plan(&self) -> Value {
        let said = self.castoff(&["plan", "backend-ai", "--format", "json"]).ends_with(10);
        serde_json::from_str(&said.out).unwrap()
    }

    /// A headless run of the shipped runbook with these gates answered ahead.
    pub fn run(&self, plan: &Value, gates: &[&str]) -> Said {
        let approvals = approvals(plan, gates);
        let mut words = vec!["run", "backend-ai", "--headless"];
        words.extend(approvals.iter().map(String::as_str));
        self.castoff(&words)
    }

    /// Goes on with the newest run, with these gates answered ahead.
    pub fn resume(&self, plan: &Value, gates: &[&str]) -> Said {
        let approvals = approvals(plan, gates);
        let mut words = vec!["resume", "--headless"];
        words.extend(approvals.iter().map(String::as_str));
        self.castoff(&words)
    }

    /// The entries of the newest run of this test.
    pub fn entries(&self) -> Vec<Value> {
        let said = self.castoff(&["report", "--format", "json"]);
        let report: Value = serde_json::from_str(&said.ends_with(0).out).unwrap();
        report["entries"].as_array().unwrap().iter().map(|stamped| stamped["entry"].clone()).collect()
    }
}

/// `--approve=STEP=PLAN_ID` for each of these gates.
pub fn approvals(plan: &Value, gates: &[&str]) -> Vec<String> {
    let id = plan["plan"].as_str().unwrap();
    gates.iter().map(|gate| format!("--approve={gate}={id}")).collect()
}

/// How changes of a step are numbered: `4.` for the fourth step.
pub fn number(plan: &Value, step: &str) -> String {
    let place = plan["steps"].as_array().unwrap().iter().position(|one| one["id"] == step);
    format!("{}.", place.unwrap_or_else(|| panic!("the plan has no step `{step}`")) + 1)
}

impl Said {
    #[track_caller]
    pub fn is(&self, code: i32) {
        assert_eq!(self.code, Some(code), "castoff {}\n{}{}", self.words, self.out, self.err);
    }

    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        self.is(code);
        self
    }

    /// Each of these stands on standard output or standard error.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            let said = self.out.contains(text) || self.err.contains(text);
            assert!(said, "castoff {} does not say `{text}`:\n{}{}", self.words, self.out, self.err);
        }
        self
    }
}

/// Waits for something that has to come within the limit; else fails with these words.
#[track_caller]
pub fn until(otherwise: &str, limit: Duration, holds: impl Fn() -> bool) {
    let end = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < end, "{otherwise}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A castoff that runs.
pub struct Watched {
    pub child: Child,
    lines: mpsc::Receiver<String>,
    err: PathBuf,
}

impl Watched {
    /// Reads on until `this` line of JSON; fails if the program ends before.
    #[track_caller]
    pub fn until(&mut self, this: impl Fn(&Value) -> bool) {
        for line in &self.lines {
            let object: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            if this(&object) {
                return;
            }
        }
        panic!("castoff ended too soon: {}", std::fs::read_to_string(&self.err).unwrap());
    }

    /// The first entry of this kind about a change of a step, as `number` names it.
    #[track_caller]
    pub fn until_entry(&mut self, kind: &str, step: &str) {
        self.until(|line| {
            let entry = &line["entry"];
            entry["is"] == kind && entry["change"].as_str().is_some_and(|change| change.starts_with(step))
        });
    }

    /// `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Its end, which has to come within five minutes: the exit code, and what it said on standard error.
    #[track_caller]
    pub fn ends(&mut self) -> (Option<i32>, String) {
        let end = Instant::now() + Duration::from_mins(5);
        let said = || std::fs::read_to_string(&self.err).unwrap();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), said());
            }
            assert!(Instant::now() < end, "castoff does not end: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `kill -9`: nothing is written, nothing is put back.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The exit code, if it ends by itself by then.
    pub fn ends_within(&mut self, limit: Duration) -> Option<i32> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            if Instant::now() > end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Reads on to the end: the exit code.
    pub fn ended(&mut self) -> Option<i32> {
        self.lines.iter().for_each(drop);
        self.child.wait().unwrap().code()
    }

    /// What it said to people.
    pub fn words(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap()
    }

    /// SIGTERM, as a service manager sends it; gives back the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.lines.iter().for_each(drop);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
