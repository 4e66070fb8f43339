//! One change, the way to its server, and what has to come of it whatever happens on the way.
//! It never looks at how a client is made: it asks, applies and undoes as the engine does.

use crate::proxy::{Fault, Proxy, When};
use castoff::{
    cluster::{Cluster, live::Live},
    model::{self, Change, FaultKind, Part, Standing, Wants},
};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

/// Where in the life of a change the fault begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before the first word.
    Connect,
    /// The answer to the login, or to the first words.
    Login,
    /// The question where it stands.
    Read,
    /// The write, before the server has it.
    Write,
    /// The answer of the write, when the server has it.
    Answer,
    /// The question whether it stands now, over a connection that is open.
    Back,
    Undo,
    UndoAnswer,
    /// The reading of the whole part for an inventory.
    Inventory,
}

impl Phase {
    pub const ALL: [Self; 9] = [
        Self::Connect,
        Self::Login,
        Self::Read,
        Self::Write,
        Self::Answer,
        Self::Back,
        Self::Undo,
        Self::UndoAnswer,
        Self::Inventory,
    ];
}

#[derive(Clone, Debug)]
pub struct Case {
    pub phase: Phase,
    pub fault: Fault,
}

/// What any server may meet.
pub const FAULTS: [Fault; 10] = [
    Fault::Refuse,
    Fault::Cut(0),
    Fault::Cut(5),
    Fault::CutRequest(7),
    Fault::Reset(0),
    Fault::Reset(5),
    Fault::Stall,
    Fault::Garbage,
    Fault::Delay(Duration::from_millis(150)),
    Fault::Trickle(256, Duration::from_millis(2)),
];

/// What a server that speaks HTTP may meet beside those.
pub const OF_HTTP: [Fault; 5] = [
    Fault::Length(9),
    Fault::Length(-3),
    Fault::Says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    Fault::Says("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    Fault::Says("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
];

pub fn product(phases: &[Phase], faults: &[Fault]) -> Vec<Case> {
    let all = phases.iter().flat_map(|phase| faults.iter().map(|fault| Case { phase: *phase, fault: fault.clone() }));
    // Where the answer is spoiled, the question was whole.
    let whole =
        |case: &Case| matches!(case.fault, Fault::CutRequest(_)) && [Phase::Answer, Phase::UndoAnswer].contains(&case.phase);
    all.filter(|case| !whole(case)).collect()
}

/// Bytes by which the proxy knows a question.
#[derive(Clone, Debug)]
pub struct Marks {
    pub login: Vec<u8>,
    pub read: Vec<u8>,
    pub write: Vec<u8>,
    /// Of the question that makes the write hold: the same, or a commit.
    pub commit: Vec<u8>,
    pub undo: Vec<u8>,
}

/// The kind of a fault, and words of which its cause has one.
pub type Told = (FaultKind, &'static [&'static str]);
pub type Causes = fn(&Fault) -> Option<Told>;
type Counting = Pin<Box<dyn Future<Output = usize> + Send>>;

pub struct Scene {
    pub live: Live,
    pub proxy: Arc<Proxy>,
    pub change: Change,
    pub marks: Marks,
    /// What a fault has to name.
    pub subject: String,
    pub part: Part,
    /// A call ends within this.
    pub deadline: Duration,
    /// How often the server was made to do it, there and back counted alike.
    pub effects: Box<dyn Fn() -> Counting + Send + Sync>,
    /// How a fault is called here, where that is not how others call it.
    pub causes: Causes,
    /// Lives as long as the scene.
    #[expect(dead_code, reason = "a folder goes when it is dropped")]
    pub kept: Box<dyn std::any::Any + Send + Sync>,
}

/// What has to come of a fault: `None`, it is borne.
pub fn expected(causes: Causes, fault: &Fault) -> Option<Told> {
    if let Some(own) = causes(fault) {
        return Some(own);
    }
    const BROKEN: &[&str] = &["reset", "closed", "broke"];
    match fault {
        Fault::Delay(_) | Fault::Trickle(..) => None,
        Fault::Refuse => Some((FaultKind::Passing, &["refused", "no socket", "reset", "closed", "broke", "No such file"])),
        Fault::Cut(_) | Fault::CutRequest(_) | Fault::Reset(_) => Some((FaultKind::Passing, BROKEN)),
        Fault::Stall => Some((FaultKind::Passing, &["no answer", "did not answer", "in time", "reported nothing"])),
        Fault::Garbage => {
            Some((FaultKind::Passing, &["invalid", "no answer", "did not answer", "http2", "broke", "not be read"]))
        }
        Fault::Length(_) => Some((FaultKind::Passing, &["broke", "length", "EOF", "expected"])),
        Fault::Says(text) if text.contains(" 429 ") => Some((FaultKind::Passing, &["429"])),
        Fault::Says(text) if text.contains(" 503 ") => Some((FaultKind::Passing, &["503"])),
        Fault::Says(_) => Some((FaultKind::Passing, &["500"])),
    }
}

fn silent(_: &str, _: u64, _: u64) {}

/// Plays a case to its end; what is wrong, in words.
pub async fn play(scene: Scene, case: &Case) -> Result<(), String> {
    let Scene { live, proxy, change, marks, .. } = &scene;
    let say = |what: &str| format!("{what} before any fault");
    let apply = async || live.apply(change, &silent).await;
    let undo = async || live.undo(change, &silent).await;
    let standing = async || live.standing(change).await;
    let fault = case.fault.clone();
    if case.phase >= Phase::Write && case.phase != Phase::Inventory {
        let stands = standing().await;
        if stands != Ok(Standing::Before) {
            return Err(say(&format!("{stands:?}")));
        }
    }
    let back = [Phase::Undo, Phase::UndoAnswer].contains(&case.phase);
    if case.phase == Phase::Back || back {
        apply().await.map_err(|fault| say(&fault.to_string()))?;
    }
    let when = match case.phase {
        _ if marks.write.is_empty() && case.phase != Phase::Login => When::Now,
        Phase::Connect | Phase::Back => When::Now,
        Phase::Login => When::Answer(marks.login.clone()),
        Phase::Read => When::Question(marks.read.clone()),
        Phase::Write => When::Question(marks.write.clone()),
        Phase::Answer => When::Answer(marks.commit.clone()),
        Phase::Undo => When::Question(marks.undo.clone()),
        Phase::UndoAnswer => When::Answer(if marks.commit == marks.write { marks.undo.clone() } else { marks.commit.clone() }),
        Phase::Inventory => When::Now,
    };
    // Where nobody can read what passes, the answer is what comes a moment after the beginning.
    let later = when == When::Now && [Phase::Answer, Phase::UndoAnswer].contains(&case.phase);
    let ordered = async {
        if later {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        proxy.order(fault.clone(), when).await;
    };
    let ordering = if later {
        Some(ordered)
    } else {
        ordered.await;
        None
    };
    let begun = Instant::now();
    let asking = async {
        match case.phase {
            Phase::Inventory => {
                let inventory = live.read(&Wants { parts: [scene.part].into(), ..Wants::default() }).await;
                let missing = inventory.unanswered.into_iter().find(|one| one.part == scene.part && one.subject != "postgres");
                match missing {
                    // An inventory knows no kinds: who is missing stops the plan.
                    Some(one) => Err(model::Fault::new(FaultKind::Passing, one.subject, one.why)),
                    None => Ok(()),
                }
            }
            Phase::Connect | Phase::Login | Phase::Read | Phase::Back => standing().await.map(|_| ()),
            Phase::Write | Phase::Answer => apply().await,
            Phase::Undo | Phase::UndoAnswer => undo().await,
        }
    };
    let (answer, _) = tokio::join!(asking, futures::future::OptionFuture::from(ordering));
    let took = begun.elapsed();
    if !proxy.has_struck() {
        return Err("the fault never began: its mark was not seen".to_owned());
    }
    if took > scene.deadline {
        return Err(format!("it took {:.1} s: {answer:?}", took.as_secs_f64()));
    }
    match (expected(scene.causes, &fault), &answer) {
        (None, Ok(())) => {}
        (Some((kind, causes)), Err(fault)) => {
            if std::env::var_os("CASTOFF_FAULTS_SHOWN").is_some() {
                println!("{:?} {:?} {:.1} s: {:?} {fault}", case.phase, case.fault, took.as_secs_f64(), fault.kind);
            }
            let named = fault.what.contains(&scene.subject) || case.phase == Phase::Inventory;
            if fault.kind != kind || !named || !causes.iter().any(|cause| fault.why.contains(cause)) {
                return Err(format!("{:?} {fault} | {:?}", fault.kind, fault.hint));
            }
        }
        // Not every answer has a length to be wrong about.
        (Some(_), Ok(())) if matches!(fault, Fault::Length(_)) => {}
        (expected, answer) => return Err(format!("{answer:?} where {expected:?} is right")),
    }
    proxy.heal().await;
    goes_on(&scene, back).await
}

/// The fault is gone: the same client makes the same change, and it is made once.
async fn goes_on(scene: &Scene, back: bool) -> Result<(), String> {
    let Scene { live, change, .. } = scene;
    let (from, to) = if back { (Standing::After, Standing::Before) } else { (Standing::Before, Standing::After) };
    let stands = live.standing(change).await.map_err(|fault| format!("afterwards: {fault}"))?;
    if stands == from {
        let done = if back { live.undo(change, &silent).await } else { live.apply(change, &silent).await };
        done.map_err(|fault| format!("again: {fault}"))?;
    }
    let stands = live.standing(change).await.map_err(|fault| format!("at the end: {fault}"))?;
    if stands != to {
        return Err(format!("it stands {stands:?} in the end"));
    }
    let (effects, meant) = ((scene.effects)().await, if back { 2 } else { 1 });
    if effects != meant {
        return Err(format!("it was done {effects} times, not {meant}"));
    }
    Ok(())
}
