//! A night as it might be: the plan of a move with eleven steps, and journals that end at interesting moments.
//! Never a claim about what the engine does: only about what the screens show.

use castoff::model::{
    Ask, Change, ChangeId, Check, Digest, Entry, Fault, FaultKind, Gate, GateReport, ImageRef, Kept, KeyDiff, Known, LayerPhase,
    LayerProgress, LedgerLine, Limits, Outcome, Plan, PlannedChange, PlannedStep, Problem, Progress, Row, RowDiff, Service,
    Stamped, SurveyLine, Totals, Value, Verdict, Window,
};
use castoff::tui::{Look, OnHangup, Start};
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};

/// 2026-11-21 02:40:00 KST.
pub const NIGHT_MS: i64 = 1_795_196_400_000;

const NEW: &str = "cr.backend.ai/stable";
const IMAGES: [(&str, u64); 6] = [
    ("python:3.6-ubuntu18.04", 420_000_000),
    ("python:3.9-ubuntu20.04", 510_000_000),
    ("python-tensorflow:2.3-py36-cuda10.1", 3_900_000_000),
    ("python-pytorch:1.8-py36-cuda10.2", 4_400_000_000),
    ("ngc-pytorch:22.04-py38-cuda11.6", 6_800_000_000),
    ("r-base:3.6-ubuntu18.04", 880_000_000),
];

pub fn look() -> Look {
    Look { mono: false, colorblind: false, ascii: false, zone: TimeZone::posix("KST-9").unwrap() }
}

pub fn start(plan: Plan, entries: Vec<Stamped>) -> Start {
    let run = if entries.is_empty() { String::new() } else { "7f3a".to_owned() };
    Start {
        plan: plan.into(),
        entries,
        run,
        simulated: false,
        folder: "/var/lib/castoff/runs/7f3a".into(),
        journal: "/var/lib/castoff/runs/7f3a".to_owned(),
        look: look(),
        rollback_to: None,
        watching: None,
        window: None,
        again: " --state /srv/castoff".to_owned(),
        still: false,
        hidden: vec!["CASTOFF_TEST_SECRET".to_owned()],
        on_hangup: OnHangup::Pause,
    }
}

fn digest(n: usize) -> Digest {
    let word = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("sha256:{}", format!("{word:016x}").repeat(4)).parse().unwrap()
}

fn image(name: &str) -> ImageRef {
    name.parse().unwrap()
}

pub fn host(n: usize) -> String {
    format!("gpu-{:02}", n + 1)
}

pub fn problem(subject: &str, why: &str, hint: Option<&str>) -> Problem {
    Problem {
        subject: subject.to_owned(),
        why: why.to_owned(),
        owner: None,
        place: None,
        since_ms: None,
        hint: hint.map(str::to_owned),
    }
}

fn gate(title: &str, text: &[&str], ask: Ask, sentence: &str, checks: Vec<Check>, wait: bool) -> Gate {
    let text = text.iter().map(|line| (*line).to_owned()).collect();
    Gate { title: title.to_owned(), text, ask, sentence: sentence.to_owned(), checks, wait }
}

fn pulls() -> Vec<Change> {
    let mut out = vec![];
    for h in 0..12 {
        for (i, (name, size_bytes)) in IMAGES.iter().enumerate() {
            let new = image(&format!("{NEW}/{name}"));
            let id = digest(100 + i);
            // Half of the agents hold the last image already, under its old name.
            out.push(if i == 5 && h % 2 == 0 {
                Change::Tag { host: host(h), image: new, from: image(&format!("lablup/{name}")), id, before: None }
            } else {
                Change::Pull { host: host(h), image: new, digest: digest(200 + i), id, before: None, size_bytes: *size_bytes }
            });
        }
    }
    out
}

fn removals() -> Vec<Change> {
    (0..57)
        .map(|n| {
            let (name, size_bytes) = IMAGES[n % 6];
            Change::Remove {
                host: host(n % 12),
                image: image(&format!("lablup/{name}")),
                id: digest(300 + n % 6),
                digest: (n % 6 != 5).then(|| digest(400 + n)),
                twin: None,
                size_bytes,
            }
        })
        .collect()
}

fn unused() -> BTreeMap<String, BTreeMap<ImageRef, Digest>> {
    let mut out: BTreeMap<String, BTreeMap<ImageRef, Digest>> = BTreeMap::new();
    for change in removals() {
        if let Change::Remove { host, image, id, .. } = change {
            out.entry(host).or_default().insert(image, id);
        }
    }
    out
}

fn registry_keys() -> Vec<KeyDiff> {
    let key = |rest: &str| format!("/sorna/local/config/docker/registry/{rest}");
    let text = |text: &str| Some(Value::text(text));
    vec![
        KeyDiff { key: key("cr.backend.ai"), before: None, after: text("https://cr.backend.ai") },
        KeyDiff { key: key("cr.backend.ai/type"), before: None, after: text("harbor2") },
        KeyDiff { key: key("cr.backend.ai/project"), before: None, after: text("stable,community") },
        KeyDiff { key: key("index.docker.io"), before: text("https://registry-1.docker.io"), after: None },
        KeyDiff { key: key("index.docker.io/username"), before: text("lablup"), after: None },
        KeyDiff { key: key("index.docker.io/password"), before: Some(Value::Hidden), after: None },
    ]
}

fn domain_rows() -> Vec<RowDiff> {
    let row = |registries: &[&str]| -> Option<Row> {
        Some([("allowed_docker_registries".to_owned(), serde_json::json!(registries))].into_iter().collect())
    };
    ["default", "research", "class-2026"]
        .into_iter()
        .map(|domain| RowDiff {
            table: "domains".to_owned(),
            key: domain.to_owned(),
            before: row(&["index.docker.io"]),
            after: row(&["index.docker.io", "cr.backend.ai"]),
        })
        .collect()
}

fn rescan() -> Change {
    let expect = IMAGES.iter().enumerate();
    Change::Rescan {
        manager: "mgr-01".to_owned(),
        era: castoff::model::Era::Etcd,
        namespace: "local".to_owned(),
        registry: "cr.backend.ai".to_owned(),
        expect: expect.map(|(i, (name, _))| vec![Known { name: format!("{NEW}/{name}"), config: digest(100 + i) }]).collect(),
        keys_before: BTreeMap::new(),
        rows_before: vec![],
    }
}

/// Id, title, what it would do, gate, changes.
type Step = (&'static str, &'static str, &'static str, Option<Gate>, Vec<Change>);

/// The move: eleven steps, twelve agents, six images.
pub fn plan() -> Plan {
    let drained = Check::Drained { registry: "index.docker.io".to_owned(), repositories: vec!["lablup/".to_owned()] };
    let new: BTreeSet<ImageRef> = IMAGES.iter().map(|(name, _)| image(&format!("{NEW}/{name}"))).collect();
    let needed: BTreeMap<String, u64> = (0..12).map(|h| (host(h), 17_000_000_000)).collect();
    let parts = castoff::model::Wants::backend_ai().parts.into_iter().chain([castoff::model::Part::Registries]).collect();
    let answers = Check::Answers { parts, machines: castoff::model::MachineWants::default() };
    let preflight = vec![answers, Check::Version, Check::Pullable { images: new }, Check::Space { needed }];
    let service = |after| vec![Change::Service { manager: "mgr-01".to_owned(), after }];
    let alias = |name: &str, i: usize| {
        let (image, _) = IMAGES[i];
        KeyDiff {
            key: format!("/sorna/local/images/_aliases/{name}"),
            before: Some(Value::text(format!("index.docker.io/lablup/{image}"))),
            after: Some(Value::text(format!("{NEW}/{image}"))),
        }
    };
    let aliases = [("python", 1), ("python%3Alatest", 1), ("tensorflow", 2), ("pytorch", 3)];
    let metadata = (0..24).map(|n| KeyDiff {
        key: format!("/sorna/local/images/index.docker.io/lablup%2Fpython/tag-{n}"),
        before: Some(Value::text(digest(n).as_str())),
        after: None,
    });
    let steps: Vec<Step> = vec![
        (
            "preflight",
            "look before leaping",
            "4 checks: answers, version, images, room",
            Some(gate("LOOK BEFORE LEAPING", &[], Ask::Nothing, "", preflight, false)),
            vec![],
        ),
        (
            "pull",
            "pull the new images on the agents",
            "pull 6 images on 12 agents, 195 GB; 6 by a local tag",
            Some(gate(
                "PULL THE NEW IMAGES",
                &["Disk and network are used; users notice nothing."],
                Ask::Yes,
                "yes",
                vec![],
                false,
            )),
            pulls(),
        ),
        (
            "stop",
            "stop the manager",
            "stop 1 service; the API is down until step 7",
            Some(gate(
                "STOP THE MANAGER",
                &["The API is down until the manager is started again in step 7, about 3 min. Running sessions go on."],
                Ask::Name,
                "prod-a",
                vec![],
                false,
            )),
            service(Service::Stopped),
        ),
        (
            "registry",
            "point Backend.AI at the new registry",
            "add 3 keys, delete 3 keys",
            None,
            vec![Change::Keys { diffs: registry_keys() }],
        ),
        ("rescan", "rescan the new registry", "read 6 images into the metadata", None, vec![rescan()]),
        (
            "aliases",
            "point the aliases at the new images",
            "change 4 keys",
            None,
            aliases.iter().map(|(name, i)| Change::Keys { diffs: vec![alias(name, *i)] }).collect(),
        ),
        ("start", "start the manager", "start 1 service", None, service(Service::Running)),
        (
            "domains",
            "allow the new registry in every domain",
            "change 3 rows of domains",
            None,
            vec![Change::Rows { diffs: domain_rows() }],
        ),
        (
            "drain",
            "wait for old sessions to end",
            "wait until nobody uses an old image",
            Some(gate(
                "WAIT FOR OLD SESSIONS TO END",
                &["Sessions on old images end by themselves, or by their owners' hands."],
                Ask::Nothing,
                "",
                vec![drained.clone()],
                true,
            )),
            vec![],
        ),
        (
            "metadata",
            "delete the old metadata",
            "delete 24 keys",
            Some(gate(
                "DELETE THE OLD METADATA",
                &["Old images can no longer be chosen by users."],
                Ask::Name,
                "prod-a",
                vec![drained.clone()],
                false,
            )),
            vec![Change::Keys { diffs: metadata.collect() }],
        ),
        (
            "remove",
            "remove the old images from the agents",
            "remove 57 names on 12 agents, 161 GB",
            Some(gate(
                "REMOVE THE OLD IMAGES",
                &["57 names of old images on 12 agents are removed, 161 GB.", "A removed image has to be pulled again."],
                Ask::Count,
                "remove 57 images from prod-a",
                vec![drained, Check::Unused { images: unused() }],
                false,
            )),
            removals(),
        ),
    ];
    let steps: Vec<PlannedStep> = steps.into_iter().enumerate().map(|(i, step)| planned(i, step)).collect();
    let changes = steps.iter().map(|step| step.changes.len()).sum::<usize>() as u64;
    Plan {
        v: castoff::model::plan::PLAN_VERSION,
        plan: "9c1e4f02".to_owned(),
        runbook: "backend-ai".to_owned(),
        title: "Move Backend.AI off Docker Hub".to_owned(),
        cluster: "prod-a".to_owned(),
        read_at_ms: NIGHT_MS - 74_000,
        found: "Backend.AI 20.09.7: registries, images and aliases in etcd (20.03 to 21.09)".to_owned(),
        steps,
        ledger: ledger(),
        wants: castoff::model::Wants::backend_ai(),
        totals: Totals {
            changes,
            found: 0,
            pulls: 66,
            pull_bytes: 195_640_000_000,
            tags: 6,
            saved_bytes: 5_280_000_000,
            keys: 34,
            rows: 3,
            removals: 57,
            hosts: 0,
            units: 0,
            clusters: 0,
            gates: 6,
            irreversible: 10,
        },
        limits: Limits::default(),
        notes: vec![
            problem("registry cr.backend.ai", "2 projects are read: stable, community", None),
            problem("agent gpu-07", "its free disk space is not known", Some("look with df -h /var/lib/docker on gpu-07")),
        ],
        blockers: vec![],
    }
}

fn planned(i: usize, (id, title, summary, gate, changes): (&str, &str, &str, Option<Gate>, Vec<Change>)) -> PlannedStep {
    let changes = changes.into_iter().enumerate();
    let kept = |n: usize| Kept {
        subject: format!("lablup/legacy:{n}"),
        place: host(n),
        why: "no counterpart in the new registry".to_owned(),
    };
    PlannedStep {
        id: id.to_owned(),
        title: title.to_owned(),
        action: id.to_owned(),
        summary: summary.to_owned(),
        gate,
        waves: None,
        changes: changes.map(|(n, change)| PlannedChange::new(ChangeId { step: i, n }, change, false)).collect(),
        kept: if id == "remove" { (0..9).map(kept).collect() } else { vec![] },
    }
}

fn ledger() -> Vec<LedgerLine> {
    let line = |(i, (name, _)): (usize, &(&str, u64))| LedgerLine {
        old: image(&format!("lablup/{name}")),
        old_id: Some(digest(300 + i)),
        hosts: (0..12 - i).map(host).collect(),
        new: (i != 4).then(|| image(&format!("{NEW}/{name}"))),
        new_digest: Some(digest(200 + i)),
        new_id: Some(digest(100 + i)),
        verdict: [
            Verdict::Identical,
            Verdict::DifferentBuild,
            Verdict::Identical,
            Verdict::Identical,
            Verdict::NoCounterpart,
            Verdict::Identical,
        ][i],
        proof: [
            "config digests are equal",
            "config digests differ: rebuilt 2023-04-02",
            "config digests are equal",
            "manifest digests are equal",
            "not in cr.backend.ai",
            "config digests are equal",
        ][i]
            .to_owned(),
        proven_at_ms: NIGHT_MS - 70_000,
    };
    IMAGES.iter().enumerate().map(line).collect()
}

/// A journal as it grows.
pub struct Story {
    pub plan: Plan,
    pub entries: Vec<Stamped>,
    pub at_ms: i64,
}

impl Story {
    pub fn begin() -> Self {
        Self::of(plan())
    }

    pub fn of(plan: Plan) -> Self {
        let mut story = Self { plan: plan.clone(), entries: vec![], at_ms: NIGHT_MS };
        story.push(Entry::Planned { plan: plan.into(), by: "kim on ops-01".to_owned() });
        story
    }

    /// The same night in a window: set with the first entry.
    pub fn within(mut self, window: Window) -> Self {
        let entry = Entry::WindowSet { window, by: "kim on ops-01".to_owned() };
        self.entries.insert(1, Stamped { seq: 2, at_ms: NIGHT_MS, entry });
        for (stamped, seq) in self.entries.iter_mut().zip(1..) {
            stamped.seq = seq;
        }
        self
    }

    pub fn push(&mut self, entry: Entry) {
        self.entries.push(Stamped { seq: self.entries.len() as u64 + 1, at_ms: self.at_ms, entry });
    }

    pub fn wait(&mut self, ms: i64) -> &mut Self {
        self.at_ms += ms;
        self
    }

    pub fn gate(&mut self, step: usize) -> &mut Self {
        self.push(Entry::GateReached { step });
        self
    }

    pub fn approve(&mut self, step: usize) -> &mut Self {
        let typed = self.plan.steps[step].gate.as_ref().map_or_else(String::new, |gate| gate.sentence.clone());
        let plan = self.plan.plan.clone();
        self.wait(9000).push(Entry::GateApproved { step, by: "kim on ops-01".to_owned(), plan, typed });
        self
    }

    pub fn start(&mut self, step: usize, n: usize) -> &mut Self {
        self.push(Entry::Started { change: ChangeId { step, n } });
        self
    }

    pub fn done(&mut self, step: usize, n: usize) -> &mut Self {
        self.push(Entry::Done { change: ChangeId { step, n } });
        self
    }

    pub fn fail(&mut self, step: usize, n: usize, fault: Fault) -> &mut Self {
        self.push(Entry::Failed { change: ChangeId { step, n }, fault });
        self
    }

    /// A whole step, with its gate.
    pub fn step(&mut self, step: usize) -> &mut Self {
        if self.plan.steps[step].gate.is_some() {
            self.gate(step).approve(step);
        }
        for n in 0..self.plan.steps[step].changes.len() {
            self.start(step, n).wait(1700).done(step, n);
        }
        self
    }

    pub fn steps(&mut self, steps: std::ops::Range<usize>) -> &mut Self {
        for step in steps {
            self.step(step);
        }
        self
    }
}

/// Agreed for tonight: from 02:30 KST, until so many minutes after 02:40.
pub fn window(until_min: i64) -> Window {
    Window { from_ms: NIGHT_MS - 600_000, until_ms: NIGHT_MS + until_min * 60_000, zone: "KST-9".to_owned() }
}

/// Pulling: 30 pulled, 4 on the way, one waits for its next attempt.
pub fn pulling() -> Story {
    let mut story = Story::begin();
    story.step(0).gate(1).approve(1);
    for n in 0..30 {
        story.start(1, n).wait(14_000).done(1, n);
    }
    for n in 30..35 {
        story.start(1, n);
    }
    let why = "registry answered 429, wait 12 s".to_owned();
    story.wait(8000).push(Entry::Retried { change: ChangeId { step: 1, n: 32 }, why, after_ms: 12_000 });
    story
}

/// What the engines say while the four pull, `second` seconds later; one of them has been silent for 75 s at second 60.
pub fn progress(story: &Story, second: i64) -> Vec<Progress> {
    let of = |n: usize, phase: &str, per_mille: i64, silent: bool| {
        let id = ChangeId { step: 1, n };
        let total = story.plan.change(id).change.size_bytes();
        let at_ms = if silent { story.at_ms - 15_000 } else { story.at_ms + second * 1000 - 200 };
        Progress { change: id, phase: phase.to_owned(), done: total * per_mille.unsigned_abs() / 1000, total, at_ms }
    };
    vec![
        of(30, "unpacking", 970, false),
        of(31, "pulling", 200 + second * 8, false),
        of(33, "pulling", 120, true),
        of(34, "pulling", 10 + second * 11, false),
    ]
}

pub fn no_space() -> Fault {
    Fault::new(
        FaultKind::Space,
        "cannot pull `cr.backend.ai/stable/ngc-pytorch:22.04-py38-cuda11.6` on `gpu-06`",
        "write /var/lib/docker/tmp/GetImageBlob118: no space left on device",
    )
    .hint("free 7 GB or more where the engine keeps its data, then retry: docker system df shows what is there")
}

/// The pull failed: no space on two agents, one image is gone from the registry.
pub fn failed() -> Story {
    let mut story = Story::begin();
    story.step(0).gate(1).approve(1);
    for n in 0..72 {
        story.start(1, n);
        story.wait(11_000);
        match n {
            32 | 34 | 40 | 41 => story.fail(1, n, no_space()),
            57 => {
                let what = "cannot pull `cr.backend.ai/stable/python-pytorch:1.8-py36-cuda10.2` on `gpu-10`";
                story.fail(1, n, Fault::new(FaultKind::Missing, what, "manifest unknown"))
            }
            _ => story.done(1, n),
        };
    }
    story
}

/// Everything up to the wait for old sessions.
pub fn draining() -> Story {
    let mut story = Story::begin();
    story.steps(0..8).gate(8);
    story
}

pub fn sessions(story: &Story, n: usize) -> GateReport {
    let names = [("train-bert", "lee@snu.example"), ("jupyter-17", "park@kaist.example"), ("sweep-03", "choi@snu.example")];
    let session = |i: usize| Problem {
        owner: Some(names[i % 3].1.to_owned()),
        place: Some(host(i)),
        since_ms: Some(story.at_ms - 11_520_000 + i64::try_from(i).unwrap() * 900_000),
        ..problem(&format!("session {}", names[i % 3].0), "running, uses index.docker.io/lablup/python:3.6-ubuntu18.04", None)
    };
    GateReport { step: 8, problems: (0..n).map(session).collect(), read_at_ms: story.at_ms }
}

/// A brown-out of ten minutes, two users refused so far.
pub fn brown_out() -> Story {
    let (_, text) = castoff::runbook::SHIPPED.iter().find(|(name, _)| *name == "brown-out").unwrap();
    let runbook = castoff::runbook::Runbook::parse("brown-out", text, &[]).unwrap();
    let (plan, _) = runbook.plan(&castoff::cluster::sim::demo(NIGHT_MS)).unwrap();
    let mut story = Story::of(plan);
    story.step(0).gate(1);
    for (session, owner) in [("train-bert", "lee@snu.example"), ("jupyter-17", "park@kaist.example")] {
        let why = "was refused: index.docker.io/lablup/python:3.6-ubuntu18.04";
        story.wait(72_000);
        let problem = Problem {
            owner: Some(owner.to_owned()),
            since_ms: Some(story.at_ms),
            ..Problem::new(format!("session {session}"), why)
        };
        story.push(Entry::Seen { step: 1, problem });
    }
    story.wait(20_000);
    story
}

/// The question before the removal.
pub fn asking() -> Story {
    let mut story = Story::begin();
    story.steps(0..10).gate(10);
    story
}

/// Cut off while pulling, found again eleven minutes later.
pub fn survey(story: &Story) -> Vec<SurveyLine> {
    let line = |step: usize, journal: &str, cluster: &str, verdict: &str, agrees: bool| SurveyLine {
        step,
        journal: journal.to_owned(),
        cluster: cluster.to_owned(),
        verdict: verdict.to_owned(),
        agrees,
    };
    let mut out = vec![
        line(0, "done", "the same", "agree", true),
        line(1, "30 done, 5 begun", "33 done", "3 more than the journal: taken as done", false),
    ];
    out.extend((2..story.plan.steps.len()).map(|step| line(step, "not begun", "as planned", "agree", true)));
    out
}

/// Done, but for two changes that a person left out.
pub fn over() -> Story {
    let mut story = failed();
    for n in [32, 34, 40, 41] {
        let change = ChangeId { step: 1, n };
        story.push(Entry::Retried { change, why: "asked by kim".to_owned(), after_ms: 0 });
        story.start(1, n).wait(31_000).done(1, n);
    }
    let why = "retired image".to_owned();
    story.push(Entry::Skipped { change: ChangeId { step: 1, n: 57 }, why, by: "kim on ops-01".to_owned() });
    story.steps(2..11).push(Entry::Finished { outcome: Outcome::DoneWithSkips });
    story
}

/// Rolled back to before the stop of the manager.
pub fn rolled_back() -> Story {
    let mut story = Story::begin();
    story.steps(0..6);
    story.push(Entry::RollbackBegun { to: 2, by: "kim on ops-01".to_owned(), why: "the window ends".to_owned() });
    for step in (2..6).rev() {
        for n in (0..story.plan.steps[step].changes.len()).rev() {
            story.push(Entry::UndoStarted { change: ChangeId { step, n } });
            story.wait(2100).push(Entry::Undone { change: ChangeId { step, n } });
        }
    }
    story.push(Entry::Finished { outcome: Outcome::RolledBack });
    story
}

/// The rollback met a key that somebody else has changed.
pub fn stuck() -> Story {
    let mut story = Story::begin();
    story.steps(0..6);
    story.push(Entry::RollbackBegun { to: 2, by: "kim on ops-01".to_owned(), why: "the window ends".to_owned() });
    for n in (0..4).rev() {
        let change = ChangeId { step: 5, n };
        story.push(Entry::UndoStarted { change });
        story.wait(900);
        if n == 2 {
            let what = "cannot undo key `/sorna/local/images/_aliases/tensorflow`";
            let fault = Fault::new(FaultKind::Drift, what, "the key is `index.docker.io/lablup/tf:2`, neither before nor after");
            story.push(Entry::UndoFailed { change, fault: fault.hint("somebody else wrote it: put it right by hand, then R") });
        } else {
            story.push(Entry::Undone { change });
        }
    }
    story
}

/// A big cluster: 200 agents x 40 images, as the night of a university might be.
pub fn big_plan() -> Plan {
    let mut plan = plan();
    let names = ["python", "tf", "torch", "r-base", "julia", "octave", "ngc-pytorch", "jax"];
    let image_of = |i: usize| image(&format!("{NEW}/{}:{}.{}", names[i % 8], 2 + i / 8, i % 5));
    let change = |n: usize| {
        let (h, i) = (n / 40, n % 40);
        let host = format!("agent-{:03}", h + 1);
        Change::Pull {
            host,
            image: image_of(i),
            digest: digest(200 + i),
            id: digest(100 + i),
            before: None,
            size_bytes: 600_000_000,
        }
    };
    let pulls = (0..8000).map(|n| PlannedChange::new(ChangeId { step: 1, n }, change(n), false));
    plan.steps[1].changes = pulls.collect();
    "pull 40 images on 200 agents, 4.8 TB".clone_into(&mut plan.steps[1].summary);
    plan
}

/// Two agents without space, one image that is gone, one agent that does not answer, eight that pull, the rest done or to do.
pub fn big() -> Story {
    let mut story = Story::of(big_plan());
    story.step(0).gate(1).approve(1);
    let gone = || Fault::new(FaultKind::Missing, "cannot pull `cr.backend.ai/stable/r-base:6.1` on an agent", "manifest unknown");
    for h in 0..155 {
        let last = match h {
            16 | 117 => 27,
            1 | 38 | 75 | 90 | 112 | 127 | 164 => 31,
            43 | 100 => 30 + h % 7,
            132 => 20,
            _ => 40,
        };
        story.wait(700);
        for i in 0..last {
            let n = h * 40 + i;
            story.start(1, n);
            match (h, i) {
                (1 | 38 | 90 | 112 | 127, 27) => story.fail(1, n, gone()),
                _ => story.done(1, n),
            };
        }
        if last < 40 {
            match h {
                16 | 117 => {
                    for i in 27..34 {
                        let what = format!("cannot pull `{}` on `agent-{:03}`", story.plan.steps[1].changes[i].subject, h + 1);
                        story.start(1, h * 40 + i).wait(3000).fail(1, h * 40 + i, Fault { what, ..no_space() });
                    }
                    story.start(1, h * 40 + 34).start(1, h * 40 + 35);
                }
                132 => {
                    let change = ChangeId { step: 1, n: h * 40 + 20 };
                    let why = "cannot reach `agent-133`: connection refused".to_owned();
                    story.start(1, h * 40 + 20).push(Entry::Retried { change, why, after_ms: 30_000 });
                }
                _ => {
                    story.start(1, h * 40 + last).start(1, h * 40 + last + 1);
                }
            }
        }
    }
    story.wait(8000);
    story
}

/// What the engines say of the pulls of a big cluster, `second` seconds later.
pub fn big_progress(story: &Story, second: i64) -> Vec<Progress> {
    let state = castoff::model::State::fold(&story.entries).unwrap();
    let running = state.steps[1].changes.iter().enumerate().filter(|(_, c)| c.status == castoff::model::Status::Running);
    let of = |(n, _): (usize, &castoff::model::ChangeState)| {
        let total = 600_000_000;
        let done = (n as u64 % 7 * 70_000_000 + second.unsigned_abs() * 4_000_000).min(total);
        let phase = if done == total { "unpacking" } else { "pulling" }.to_owned();
        Progress { change: ChangeId { step: 1, n }, phase, done, total, at_ms: story.at_ms + second * 1000 }
    };
    running.map(of).collect()
}

/// The layers of a pull on its way.
pub fn layers() -> Vec<LayerProgress> {
    let layer = |n: usize, phase, done, total, unpacked| LayerProgress {
        id: digest(900 + n).short().to_owned(),
        phase,
        done,
        total,
        unpacked,
    };
    vec![
        layer(0, LayerPhase::There, 0, 0, 0),
        layer(1, LayerPhase::Done, 28_000_000, 28_000_000, 28_000_000),
        layer(2, LayerPhase::Unpacking, 210_000_000, 210_000_000, 88_000_000),
        layer(3, LayerPhase::Pulled, 4_100_000, 4_100_000, 0),
        layer(4, LayerPhase::Pulling, 120_000_000, 298_000_000, 0),
        layer(5, LayerPhase::Waiting, 0, 0, 0),
    ]
}
