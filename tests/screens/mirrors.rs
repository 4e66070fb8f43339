//! The same night in front of Docker Hub: twelve hosts get a mirror in their `daemon.json`, in waves, each with a proof.
//! Never a claim about what the engine does: only about what the screens show.

use super::sample::{NIGHT_MS, Story, host, problem};
use castoff::model::{
    Ask, Change, ChangeId, Check, Digest, Entry, Fault, FaultKind, FileDiff, FileState, FileText, Gate, Hold, Limits, Outcome,
    Part, Plan, PlannedChange, PlannedStep, Problem, Progress, Proof, Prover, TakesUp, Totals, Wants, Waves,
};

const MIRROR: &str = "https://mirror.example.internal";
const FILE: &str = "/etc/docker/daemon.json";
pub const SERVED: &str = "busybox:1 was served by https://mirror.example.internal/";

fn state(text: String) -> FileState {
    FileState { sha256: Digest::of(&text), text, mode: 0o644, owner: "0:0".to_owned() }
}

/// As it is found: none, a short one, a long one with a login of a proxy.
fn old(n: usize) -> Option<String> {
    let long = || {
        let labels: Vec<String> = (1..=12).map(|n| format!("    \"rack.{n}=on\"")).collect();
        format!(
            "{{\n  \"labels\": [\n{}\n  ],\n  \"proxies\": {{ \"https-proxy\": \"http://ci:(hidden 1)@proxy.example.internal:3128\" }},\n  \"live-restore\": true\n}}\n",
            labels.join(",\n")
        )
    };
    match n % 3 {
        0 => None,
        1 => Some("{\n  \"log-driver\": \"json-file\",\n  \"live-restore\": true\n}\n".to_owned()),
        _ => Some(long()),
    }
}

fn configure(n: usize, restart: bool) -> Change {
    let before = old(n);
    let new = match &before {
        None => format!("{{\n    \"registry-mirrors\": [\"{MIRROR}\"]\n}}\n"),
        Some(text) => text
            .replace("\"live-restore\": true\n", &format!("\"live-restore\": true,\n  \"registry-mirrors\": [\"{MIRROR}\"]\n")),
    };
    let file = FileDiff {
        path: FILE.to_owned(),
        before: before.map(state),
        after: Some(FileText { text: new, mode: None }),
        between: vec![],
        folders: vec![],
    };
    let daemon = TakesUp::Docker { restart, before: vec![], after: vec![format!("{MIRROR}/")], cleared: None };
    let image = "busybox:1".parse().unwrap();
    let proof = Proof { by: Prover::Docker, image, mirror: format!("{MIRROR}/") };
    Change::Configure { host: host(n), files: vec![file], daemon: Some(daemon), proof: Some(proof) }
}

fn with(restart: bool) -> Plan {
    let hosts = (0..12).map(host).collect();
    let checks = vec![Check::Configuration { of: Prover::Docker, hosts, restart }];
    let mut words = vec!["12 hosts ask the mirror for images of Docker Hub from now on.".to_owned()];
    words.push(if restart {
        "These containers stop, for their daemon has no live-restore: gpu-02: session-21, session-22; gpu-05: session-51; \
         gpu-08: session-81, session-82, session-83."
            .to_owned()
    } else {
        "Nothing stops; what is pulled already stays.".to_owned()
    });
    let gate = |title: &str, text: Vec<String>, ask, sentence: &str, checks| {
        Some(Gate { title: title.to_owned(), text, ask, sentence: sentence.to_owned(), checks, wait: false })
    };
    let answers = Check::Answers { parts: [Part::Machines].into(), machines: castoff::model::MachineWants::default() };
    let how = if restart { "restart" } else { "reload" };
    let changes = (0..12).map(|n| PlannedChange::new(ChangeId { step: 1, n }, configure(n, restart), false)).collect();
    let waves = vec![vec![host(0)], (1..6).map(host).collect(), (6..9).map(host).collect(), (9..12).map(host).collect()];
    let step = |id: &str, title: &str, summary: String, gate, waves, changes| PlannedStep {
        id: id.to_owned(),
        title: title.to_owned(),
        action: id.to_owned(),
        summary,
        gate,
        waves,
        changes,
        kept: vec![],
    };
    Plan {
        v: castoff::model::plan::PLAN_VERSION,
        plan: "9c1e4f02".to_owned(),
        runbook: "docker-mirror".to_owned(),
        title: "Put a mirror in front of Docker Hub".to_owned(),
        cluster: "prod-a".to_owned(),
        read_at_ms: NIGHT_MS - 74_000,
        found: "12 hosts with Docker".to_owned(),
        steps: vec![
            step(
                "check",
                "Check mirror and hosts",
                format!("12 hosts with Docker can use {MIRROR}"),
                gate("Check mirror and hosts", vec![], Ask::Nothing, "", vec![answers]),
                None,
                vec![],
            ),
            step(
                "mirror",
                "Use the mirror",
                format!("12 hosts ask {MIRROR} for images of Docker Hub first; {how}, then a pull as a proof"),
                gate("Use the mirror", words, Ask::Name, "prod-a", checks),
                Some(Waves { canary: true, hold: Hold::Prove, failures: 2, hosts: waves }),
                changes,
            ),
        ],
        ledger: vec![],
        wants: Wants { parts: [Part::Machines].into(), ..Wants::default() },
        totals: Totals { changes: 12, hosts: 12, gates: 1, ..Totals::default() },
        limits: Limits::default(),
        notes: vec![problem("mirror mirror.example.internal", "its certificate is not verified, as the runbook says", None)],
        blockers: vec![],
    }
}

pub fn plan() -> Plan {
    with(false)
}

/// Its daemons restart, and on some of them containers stop.
pub fn restarting() -> Plan {
    with(true)
}

/// Files that a daemon would not take, on three hosts the same.
pub fn blocked() -> Plan {
    let at = |n: usize, problem: Problem| Problem { place: Some(host(n)), ..problem };
    let quotes = || {
        problem(
            "/etc/docker/daemon.json line 3",
            "has \u{201c} in place of \": the daemon does not read it, and does not start again",
            Some("write plain quotation marks there, then plan again"),
        )
    };
    let flag = problem(
        "--registry-mirror in the unit docker.service",
        "the daemon does not start with it and the key both",
        Some("take it out of ExecStart: systemctl edit docker.service on the host"),
    );
    Plan { blockers: vec![at(1, quotes()), at(4, quotes()), at(7, quotes()), at(10, flag)], ..plan() }
}

/// Everything is so already.
pub fn nothing() -> Plan {
    let mut plan = plan();
    plan.steps[1].changes.iter_mut().for_each(|change| change.found = true);
    plan.totals = Totals { found: 12, ..Totals::default() };
    plan
}

fn begin(plan: Plan) -> Story {
    let mut story = Story::of(plan);
    story.gate(0).push(Entry::GateApproved {
        step: 0,
        by: "its checks".to_owned(),
        plan: "9c1e4f02".to_owned(),
        typed: String::new(),
    });
    story
}

/// At the gate of the step that does it.
pub fn asking(plan: Plan) -> Story {
    let mut story = begin(plan);
    story.gate(1);
    story
}

fn proven(story: &mut Story, hosts: std::ops::Range<usize>) {
    for n in hosts {
        story.start(1, n).wait(1400).push(Entry::Proven { change: ChangeId { step: 1, n }, by: SERVED.to_owned() });
        story.done(1, n);
    }
}

fn second_wave() -> Story {
    let mut story = begin(plan());
    story.gate(1).approve(1).push(Entry::WaveReached { step: 1, wave: 0 });
    proven(&mut story, 0..1);
    let by = "its changes, read back".to_owned();
    story.push(Entry::WavePassed { step: 1, wave: 0, by, plan: "9c1e4f02".to_owned(), typed: String::new() });
    story.push(Entry::WaveReached { step: 1, wave: 1 });
    story
}

/// In the second wave: three are done, two are on their way.
pub fn midway() -> Story {
    let mut story = second_wave();
    proven(&mut story, 1..4);
    story.start(1, 4).start(1, 5).wait(900);
    story
}

pub fn progress() -> [Progress; 2] {
    let at = |n, phase: &str| Progress {
        change: ChangeId { step: 1, n },
        phase: phase.to_owned(),
        done: 0,
        total: 0,
        at_ms: midway().at_ms,
    };
    [at(4, "reloading"), at(5, "proving")]
}

/// On two hosts of the second wave it was Docker Hub that served the proof: its threshold.
pub fn failed() -> Story {
    let mut story = second_wave();
    proven(&mut story, 1..3);
    for n in [3, 4] {
        let fault = Fault {
            hint: Some("castoff doctor mirror looks for the reason".to_owned()),
            ..Fault::new(
                FaultKind::Lasting,
                format!("cannot prove the mirror on `{}`", host(n)),
                "busybox:1 came from registry-1.docker.io, and not from the mirror: manifest unknown",
            )
        };
        story.start(1, n).wait(2100).fail(1, n, fault);
    }
    proven(&mut story, 5..6);
    story
}

/// All of it, the failed ones in a second attempt.
pub fn over() -> Story {
    let mut story = failed();
    for n in [3, 4] {
        story.push(Entry::Retried { change: ChangeId { step: 1, n }, why: "asked by kim on ops-01".to_owned(), after_ms: 0 });
    }
    proven(&mut story, 3..5);
    for (wave, hosts) in [(2, 6..9), (3, 9..12)] {
        story.push(Entry::WaveReached { step: 1, wave });
        proven(&mut story, hosts);
    }
    story.push(Entry::Finished { outcome: Outcome::Done });
    story
}

/// Those that failed are left out, and the others are done.
pub fn skipped() -> Story {
    let mut story = failed();
    for n in [3, 4] {
        let (why, by) = ("in use until Monday".to_owned(), "kim on ops-01".to_owned());
        story.push(Entry::Skipped { change: ChangeId { step: 1, n }, why, by });
    }
    for (wave, hosts) in [(2, 6..9), (3, 9..12)] {
        story.push(Entry::WaveReached { step: 1, wave });
        proven(&mut story, hosts);
    }
    story.push(Entry::Finished { outcome: Outcome::DoneWithSkips });
    story
}

/// One host of the second wave has no room, and waits until the others are done.
pub fn aside() -> Story {
    let mut story = second_wave();
    let why = "no space left on device";
    story.start(1, 3).fail(1, 3, Fault::new(FaultKind::Space, "cannot write", why));
    story.push(Entry::SetAside { step: 1, place: host(3), why: why.to_owned() });
    story
}

/// It still has none.
pub fn comes_back_and_fails(story: &mut Story) {
    let change = ChangeId { step: 1, n: 3 };
    story.push(Entry::CameBack { step: 1, places: vec![host(3)] });
    story.push(Entry::Retried { change, why: "its host comes back".to_owned(), after_ms: 0 });
    story.start(1, 3).fail(1, 3, Fault::new(FaultKind::Space, "cannot write", "no space left on device"));
}

pub fn roll_back(story: &mut Story, hosts: std::ops::Range<usize>) {
    story.wait(60_000).push(Entry::RollbackBegun { to: 0, by: "kim on ops-01".to_owned(), why: "the mirror is slow".to_owned() });
    for n in hosts.rev() {
        let change = ChangeId { step: 1, n };
        story.push(Entry::UndoStarted { change });
        story.wait(700).push(Entry::Undone { change });
    }
}

pub fn rolled_back() -> Story {
    let mut story = over();
    roll_back(&mut story, 0..12);
    story.push(Entry::Finished { outcome: Outcome::RolledBack });
    story
}
