//! The same night, with the pull in waves: the canary, a host that is set aside, a threshold, a hold for approval.

use super::sample::{self, Story, host, no_space};
use castoff::model::{ChangeId, Entry, Event, Fault, FaultKind, Hold, Plan, Stamped, Wait, Waves};

fn with(hold: Hold, failures: u32) -> Plan {
    let mut plan = sample::plan();
    let hosts = vec![vec![host(0)], (1..6).map(host).collect(), (6..9).map(host).collect(), (9..12).map(host).collect()];
    plan.steps[1].waves = Some(Waves { canary: true, hold, failures, hosts });
    plan
}

pub fn plan() -> Plan {
    with(Hold::Prove, 3)
}

fn begin(plan: Plan) -> Story {
    let mut story = Story::of(plan);
    story.step(0).gate(1).approve(1).push(Entry::WaveReached { step: 1, wave: 0 });
    story
}

fn done(story: &mut Story, changes: std::ops::Range<usize>) {
    for n in changes {
        story.start(1, n).wait(14_000).done(1, n);
    }
}

/// Two of six are done on the canary.
pub fn canary() -> Story {
    let mut story = begin(plan());
    done(&mut story, 0..2);
    story.start(1, 2).start(1, 3).wait(9000);
    story
}

/// The canary is done and waits for a person.
pub fn held() -> Story {
    let mut story = begin(with(Hold::Approve, 0));
    done(&mut story, 0..6);
    story
}

pub fn passed(story: &Story) -> Stamped {
    let (by, plan, typed) = ("kim on ops-01".to_owned(), story.plan.plan.clone(), "yes".to_owned());
    let entry = Entry::WavePassed { step: 1, wave: 0, by, plan, typed };
    Stamped { seq: story.entries.len() as u64 + 1, at_ms: story.at_ms, entry }
}

fn second_wave() -> Story {
    let mut story = begin(plan());
    done(&mut story, 0..6);
    story.push(Entry::WavePassed {
        step: 1,
        wave: 0,
        by: "its changes, read back".to_owned(),
        plan: "9c1e4f02".to_owned(),
        typed: String::new(),
    });
    story.push(Entry::WaveReached { step: 1, wave: 1 });
    story
}

/// In the second wave one host has no space and waits for the end.
pub fn set_aside() -> Story {
    let mut story = second_wave();
    done(&mut story, 6..20);
    story.start(1, 24).fail(1, 24, no_space());
    let why = no_space().why;
    story.push(Entry::SetAside { step: 1, place: host(4), why });
    done(&mut story, 20..22);
    story.start(1, 22).start(1, 23).start(1, 30).wait(5000);
    story
}

pub fn waits() -> Event {
    let wait = |changes, why: &str| Wait { changes, why: why.to_owned(), until_ms: None };
    Event::Waits { step: 1, waits: vec![wait(3, "40 requests/s to cr.backend.ai"), wait(2, "3 at once on a host")] }
}

/// Three failures in the second wave: its threshold.
pub fn stopped() -> Story {
    let mut story = second_wave();
    done(&mut story, 6..9);
    for n in 9..12 {
        let what = "cannot pull `cr.backend.ai/stable/python-pytorch:1.8-py36-cuda10.2` on `gpu-02`";
        story.start(1, n).fail(1, n, Fault::new(FaultKind::Missing, what, "manifest unknown"));
    }
    assert!(story.entries.iter().all(|stamped| stamped.entry != Entry::Started { change: ChangeId { step: 1, n: 12 } }));
    story
}
