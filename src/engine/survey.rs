//! Before a resumed run goes on: what the journal says, and what the cluster says. It changes nothing; the engine asks
//! each change again at its turn.

use super::Engine;
use crate::cluster::Cluster;
use crate::model::{
    Change, ChangeId, Event, Inventory, Level, Part, Plan, Problem, Standing, State, Status, SurveyLine, Unanswered, Wants,
};
use std::collections::{BTreeMap, BTreeSet};

/// A host that drifted is told of once, and not in hundreds of rows.
const MOST: usize = 20;

/// The journal of a run beside the cluster as it is now.
pub struct Survey {
    pub lines: Vec<SurveyLine>,
    /// What others changed since the plan was made.
    pub changed: Vec<Problem>,
    pub unanswered: Vec<Unanswered>,
}

/// Reads the cluster for a run that has a plan. Changes nothing, and needs no lock.
pub async fn survey(cluster: &dyn Cluster, state: &State) -> Survey {
    let wants = state.plan.as_ref().map_or_else(Wants::backend_ai, |plan| plan.wants.clone());
    let inventory = cluster.read(&wants).await;
    let lines = (0..state.steps.len()).map(|step| survey_line(state, &inventory, step)).collect();
    let changed = changed(state, &inventory);
    Survey { lines, changed, unanswered: inventory.unanswered }
}

impl Engine {
    /// The survey, for the front end.
    pub(super) async fn survey(&mut self) {
        let survey = survey(&*self.setup.cluster, &self.state).await;
        for unanswered in &survey.unanswered {
            self.say(Level::Warn, &unanswered.subject, &unanswered.why).await;
        }
        // Of what was not read nobody knows whether it changed: it is told beside what did.
        let silent = survey.unanswered.iter().map(|it| Problem::new(&it.subject, format!("does not answer: {}", it.why)));
        let changed = survey.changed.into_iter().chain(silent).collect();
        let _ = self.setup.events.send(Event::Changed(changed)).await;
        let _ = self.setup.events.send(Event::Survey(survey.lines)).await;
    }
}

/// Hosts that left or joined, and what stands neither before nor after.
fn changed(state: &State, inventory: &Inventory) -> Vec<Problem> {
    let Some(plan) = &state.plan else { return vec![] };
    // First what nobody may overlook: none of it is cut off below.
    let mut out = undone(state, plan, inventory);
    let most = out.len() + MOST;
    out.extend(hosts(plan, inventory));
    for (step, planned) in plan.steps.iter().enumerate() {
        for (n, change) in planned.changes.iter().enumerate() {
            // A name in use is what the drain gate waits for; a host that is away was told of above.
            let elsewhere = host(&change.change).is_some_and(|at| !at.is_in(inventory));
            let silent = is_unread(&change.change, inventory);
            if matches!(change.change, Change::Remove { .. }) || elsewhere || silent || overtaken(state, step, n) {
                continue;
            }
            let why = match inventory.standing(&change.change) {
                Standing::Neither(why) => why,
                // A part of what this run began may stand: nobody else did that.
                Standing::Midway if !state.status(change.id).ours => "a part of it is so already, a part is not".to_owned(),
                Standing::Before if state.status(change.id).status == Status::Found && !has_begun_again(state, step, n) => {
                    "was so already when the run came to it, and is so no longer".to_owned()
                }
                _ => continue,
            };
            if !awaited(state, step, n) {
                let about = format!("{} (step {})", change.subject, step + 1);
                out.push(Problem { place: Some(change.place.clone()), ..Problem::new(about, why) });
            }
        }
    }
    let more = out.len().saturating_sub(most);
    out.truncate(most);
    if more > 0 {
        out.push(Problem::new(
            format!("{more} more"),
            "stand neither before nor after: castoff verify --format json has the steps",
        ));
    }
    out
}

/// What this run has done and somebody took back, wholly or in part. Those of one step and place beyond a few are one line.
fn undone(state: &State, plan: &Plan, inventory: &Inventory) -> Vec<Problem> {
    let mut lost: BTreeMap<(usize, &str), Vec<&str>> = BTreeMap::new();
    for (step, planned) in plan.steps.iter().enumerate() {
        for (n, change) in planned.changes.iter().enumerate() {
            let elsewhere = host(&change.change).is_some_and(|at| !at.is_in(inventory));
            // A brown-out is given back by its own guard when castoff is gone: that is nobody else.
            let ends_by_itself = matches!(change.change, Change::BrownOut { begins: true, .. });
            let done = state.status(change.id).status == Status::Done && !ends_by_itself;
            if !done || elsewhere || is_unread(&change.change, inventory) || has_begun_again(state, step, n) {
                continue;
            }
            if matches!(inventory.standing(&change.change), Standing::Before | Standing::Midway) {
                lost.entry((step, &change.place)).or_default().push(&change.subject);
            }
        }
    }
    let told = |((step, place), subjects): ((usize, &str), Vec<&str>)| {
        let more = match subjects.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        Problem::undone(format!("{}{more} (step {})", subjects[0], step + 1), place)
    };
    lost.into_iter().map(told).collect()
}

/// The part of the cluster that would tell was not read: nothing is concluded from that.
fn is_unread(change: &Change, inventory: &Inventory) -> bool {
    let silent = |part: Part| inventory.unanswered.iter().any(|unanswered| unanswered.part == part);
    match change {
        Change::Keys { .. } => silent(Part::Keys),
        Change::Rows { .. } | Change::Alias { .. } | Change::BrownOut { .. } => silent(Part::Tables),
        Change::Rescan { .. } => silent(Part::Keys) || silent(Part::Tables),
        Change::Service { .. } => silent(Part::Managers),
        Change::Pull { .. } | Change::Tag { .. } | Change::Remove { .. } | Change::Configure { .. } | Change::Unit { .. } => {
            false
        }
        Change::Platform9 { .. } => silent(Part::Platform9),
    }
}

/// Whether this run itself has begun to change the same thing again, later.
fn has_begun_again(state: &State, step: usize, n: usize) -> bool {
    let plan = state.plan.as_ref().expect("a resumed run has a plan");
    let planned = &plan.steps[step].changes[n];
    let mut later = plan.steps[step + 1..].iter().flat_map(|s| &s.changes);
    later.any(|other| other.is_about(planned) && (state.status(other.id).ours || is_over(state, other.id)))
}

fn hosts(plan: &Plan, inventory: &Inventory) -> Vec<Problem> {
    let changes = plan.steps.iter().flat_map(|step| &step.changes);
    let known: BTreeSet<At<'_>> = changes.clone().filter_map(|change| host(&change.change)).collect();
    // Where the list of hosts itself could not be read, nobody has left and nobody has joined.
    let unread = inventory.unanswered.iter().filter(|u| u.part == Part::Hosts).any(|u| !u.subject.starts_with("agent "));
    if unread {
        return vec![];
    }
    let gone = known.iter().filter(|at| !at.is_in(inventory) && !at.is_silent(inventory));
    let left = |at: &At<'_>| Problem::new(format!("host {}", at.host), "has left the cluster since the plan was made");
    let mut out: Vec<Problem> = gone.map(left).collect();
    // Only where the plan has something for every host does a missing name tell of a new one.
    if changes.clone().any(|change| matches!(change.change, Change::Pull { .. } | Change::Tag { .. })) {
        let new = inventory.hosts.keys().filter(|name| !known.iter().any(|at| at.host == name.as_str()));
        out.extend(new.map(|host| {
            let hint = Some("after this run, castoff plan tells what it lacks".to_owned());
            Problem { hint, ..Problem::new(format!("host {host}"), "has joined: this plan does nothing for it") }
        }));
    }
    out
}

/// The host of a change, and the part of the inventory that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At<'a> {
    part: Part,
    host: &'a str,
}

impl At<'_> {
    fn is_in(self, inventory: &Inventory) -> bool {
        if self.part == Part::Machines {
            inventory.machines.contains_key(self.host)
        } else {
            inventory.hosts.contains_key(self.host)
        }
    }

    fn is_silent(self, inventory: &Inventory) -> bool {
        let called = format!("{} {}", if self.part == Part::Machines { "host" } else { "agent" }, self.host);
        inventory.unanswered.iter().any(|unanswered| unanswered.part == self.part && unanswered.subject == called)
    }
}

fn host(change: &Change) -> Option<At<'_>> {
    match change {
        Change::Pull { host, .. } | Change::Tag { host, .. } | Change::Remove { host, .. } => {
            Some(At { part: Part::Hosts, host })
        }
        Change::Configure { host, .. } | Change::Unit { host, .. } => Some(At { part: Part::Machines, host }),
        _ => None,
    }
}

/// Changes of a step, by how what stands and what the journal says differ.
#[derive(Default)]
struct Seen {
    stands: u64,
    /// Done, and taken back.
    lost: u64,
    /// Not over, and so all the same.
    more: u64,
    /// Written by an attempt that did not end well: nobody has proved it.
    unproven: u64,
    left_out: u64,
    /// Undone, or its undo failed, and it stands.
    not_undone: u64,
    drifted: u64,
    unread: u64,
}

impl Seen {
    /// `goes_on`: forward; `failed`: something waits for a person first.
    fn verdict(&self, goes_on: bool, failed: bool) -> String {
        let then = |words: &'static str| if goes_on { words } else { "" };
        let again = then(if failed { ": a retry proves them" } else { ": tried again" });
        let told = [
            (self.lost, "done no longer stand: see what changed", ""),
            (self.unread, "not read", ""),
            (self.more, "more than the journal", then(": taken as they are")),
            (self.unproven, "written and not proven", again),
            (self.left_out, if self.left_out == 1 { "left out stands" } else { "left out stand" }, " all the same"),
            (self.not_undone, if self.not_undone == 1 { "not undone stands" } else { "not undone stand" }, ""),
            (self.drifted, if self.drifted == 1 { "stands otherwise now" } else { "stand otherwise now" }, ""),
        ];
        let told: Vec<String> = told.iter().filter(|(n, ..)| *n > 0).map(|(n, what, then)| format!("{n} {what}{then}")).collect();
        if told.is_empty() { "agree".to_owned() } else { told.join(", ") }
    }
}

fn survey_line(state: &State, inventory: &Inventory, step: usize) -> SurveyLine {
    let planned = &state.plan.as_ref().expect("a resumed run has a plan").steps[step];
    let tally = state.tally(step);
    let done = tally.done + tally.found;
    let mut seen = Seen::default();
    for (n, planned) in planned.changes.iter().enumerate() {
        let now = state.status(planned.id);
        let over = is_over(state, planned.id);
        let unread = is_unread(&planned.change, inventory)
            || host(&planned.change).is_some_and(|at| !at.is_in(inventory) && at.is_silent(inventory));
        match inventory.standing(&planned.change) {
            _ if unread => seen.unread += 1,
            // A manager that still runs is no proof that it was started: it was not stopped yet.
            Standing::After if awaited(state, step, n) => {}
            Standing::After => {
                seen.stands += 1;
                match &now.status {
                    _ if over => {}
                    Status::Skipped(_) => seen.left_out += 1,
                    Status::Undone | Status::UndoFailed(_) => seen.not_undone += 1,
                    _ if now.ours && planned.change.told_by_attempt() => seen.unproven += 1,
                    _ => seen.more += 1,
                }
            }
            // A stopped manager that was started again later in the run is as it should be.
            _ if overtaken(state, step, n) => seen.stands += 1,
            _ if over => seen.lost += 1,
            // A name in use is what the drain gate waits for.
            Standing::Neither(_) if matches!(planned.change, Change::Remove { .. }) => {}
            Standing::Before => {}
            Standing::Midway if now.ours => {}
            Standing::Midway | Standing::Neither(_) => seen.drifted += 1,
        }
    }
    let total = tally.total();
    let journal = if total == 0 { "nothing to do".to_owned() } else { format!("{done} of {total} done") };
    let cluster = if total == 0 { "-".to_owned() } else { format!("{} of {total} stand", seen.stands) };
    let goes_on = state.goes_forward();
    let verdict = seen.verdict(goes_on, state.failed(step) > 0);
    let agrees = verdict == "agree";
    SurveyLine { step, journal, cluster, verdict, agrees }
}

/// Whether a later step that is done changed the same thing again.
fn overtaken(state: &State, step: usize, n: usize) -> bool {
    let plan = state.plan.as_ref().expect("a resumed run has a plan");
    let planned = &plan.steps[step].changes[n];
    let mut later = plan.steps[step + 1..].iter().flat_map(|s| &s.changes);
    is_over(state, planned.id) && later.any(|other| other.is_about(planned) && is_over(state, other.id))
}

/// Whether an earlier step, which is not done yet, has to change the same thing first.
fn awaited(state: &State, step: usize, n: usize) -> bool {
    let plan = state.plan.as_ref().expect("a resumed run has a plan");
    let planned = &plan.steps[step].changes[n];
    let mut earlier = plan.steps[..step].iter().flat_map(|s| &s.changes);
    !is_over(state, planned.id) && earlier.any(|other| other.is_about(planned) && !is_over(state, other.id))
}

fn is_over(state: &State, id: ChangeId) -> bool {
    matches!(state.status(id).status, Status::Done | Status::Found)
}
