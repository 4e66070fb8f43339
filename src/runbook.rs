//! Layer 2: a runbook as written, and the plan it makes of an inventory. Pure: it reads no file and no cluster.

mod waves;
mod written;

pub use written::{SHIPPED, schema};

use crate::actions::{self, About, Action, Drawn, Mirror, Move};
use crate::model::plan::{PLAN_VERSION, plan_name};
use crate::model::{
    Ask, Change, ChangeId, Check, Digest, Gate, Inventory, Kept, LedgerLine, Limits, Machine, Mistake, Part, Plan, PlannedChange,
    PlannedStep, Problem, Standing, Totals, Wants, text, world::lacking_layers,
};
use std::collections::{BTreeMap, BTreeSet};

/// A runbook, read and checked.
#[derive(Debug)]
pub struct Runbook {
    pub name: String,
    pub title: String,
    moved: Option<Move>,
    mirror: Option<Mirror>,
    limits: Limits,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    id: String,
    title: String,
    action_name: String,
    action: Box<dyn Action>,
    gate: Option<written::WrittenGate>,
    /// Steps for whose sake this one is there: without pending changes in them it is left out.
    needed_for: Vec<String>,
    /// How its hosts take their turn.
    waves: Option<waves::WrittenWaves>,
}

/// A step that cannot be planned against this inventory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step `{step}`: {why}")]
pub struct PlanError {
    pub step: String,
    pub why: String,
}

impl Runbook {
    /// Reads a runbook. `sets` are `name=value` pairs that replace values: `pull.also=["…"]`, `limits.total=8`.
    pub fn parse(origin: &str, text: &str, sets: &[String]) -> Result<Self, Mistake> {
        let runbook = written::read(origin, text)?;
        if sets.is_empty() { Ok(runbook) } else { written::read("--set", &written::set(text, sets)?) }
    }

    /// What to read of the cluster before anything can be planned.
    pub fn wants(&self) -> Wants {
        let nothing = Move::default();
        let about = self.about(&nothing, &[], &[]);
        self.steps.iter().map(|step| step.action.wants(&about)).fold(Wants::default(), Wants::and)
    }

    fn about<'a>(&'a self, nothing: &'a Move, ledger: &'a [LedgerLine], earlier: &'a [&'a Change]) -> About<'a> {
        About { moved: self.moved.as_ref().unwrap_or(nothing), mirror: self.mirror.as_ref(), ledger, earlier }
    }

    /// What to ask of registries, once the cluster is known; `None`: nothing moves.
    pub fn registry_wants(&self, inventory: &Inventory) -> Option<Wants> {
        let moved = self.moved.as_ref()?;
        let ledger = actions::ledger(inventory, moved);
        let candidates = ledger.iter().flat_map(|line| moved.candidates(&line.old));
        let images = ledger.iter().map(|line| line.old.clone()).chain(candidates).collect();
        let mut projects: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for place in &moved.to {
            if let Some((registry, project)) = place.split_once('/') {
                projects.entry(registry.to_owned()).or_default().insert(project.to_owned());
            }
        }
        Some(Wants { parts: [Part::Registries].into_iter().collect(), images, projects, ..Wants::default() })
    }

    /// Plans the whole runbook: each step sees the inventory as the steps before it will leave it.
    /// Returns the plan and the inventory it would end in.
    pub fn plan(&self, inventory: &Inventory) -> Result<(Plan, Inventory), PlanError> {
        let nothing = Move::default();
        let ledger = self.moved.as_ref().map_or_else(Vec::new, |moved| actions::ledger(inventory, moved));
        let mut world = inventory.clone();
        let mut drawn: Vec<Drawn> = vec![];
        let mut planned: Vec<Vec<PlannedChange>> = vec![];
        // Where a step asks for files and units, they are as the steps before leave them.
        let mut ahead: BTreeMap<usize, Inventory> = BTreeMap::new();
        for (index, step) in self.steps.iter().enumerate() {
            let plan_error = |why| PlanError { step: step.id.clone(), why };
            let earlier: Vec<&Change> = planned.iter().flatten().map(|planned: &PlannedChange| &planned.change).collect();
            let about = self.about(&nothing, &ledger, &earlier);
            let mut of_step = if inventory.unanswered.is_empty() {
                step.action.plan(&world, &about).map_err(plan_error)?
            } else {
                // What is not known cannot be planned; the first step that looks names it.
                let named = drawn.iter().any(|drawn: &Drawn| !drawn.checks.is_empty());
                step.action
                    .plan(&world, &about)
                    .unwrap_or_else(|_| if named { Drawn::default() } else { unread(&step.action.wants(&about)) })
            };
            if of_step.checks.iter().any(|check| matches!(check, Check::File { .. } | Check::Units { .. })) {
                ahead.insert(index, Inventory { machines: world.machines.clone(), ..inventory.clone() });
            }
            let changes = std::mem::take(&mut of_step.changes).into_iter().enumerate().map(|(n, change)| {
                let found = world.standing(&change) == Standing::After;
                let requests = if found { 0 } else { requests(&world, &change) };
                world.apply(&change);
                PlannedChange { requests, ..PlannedChange::new(ChangeId { step: index, n }, change, found) }
            });
            planned.push(changes.collect());
            drawn.push(of_step);
        }
        self.leave_out_unneeded(&mut planned, &mut drawn);
        let mut notes: Vec<Problem> = drawn.iter_mut().flat_map(|drawn| std::mem::take(&mut drawn.notes)).collect();
        notes.extend(self.moved.iter().flat_map(|moved| actions::left_over(inventory, moved)));
        let gates = self.gates(inventory, &planned, &drawn);
        let steps: Vec<PlannedStep> = self
            .steps
            .iter()
            .zip(planned)
            .zip(drawn)
            .zip(gates)
            .map(|(((step, changes), drawn), gate)| {
                let mut planned = PlannedStep {
                    id: step.id.clone(),
                    title: step.title.clone(),
                    action: step.action_name.clone(),
                    summary: drawn.summary,
                    gate,
                    waves: None,
                    changes,
                    kept: drawn.kept,
                };
                planned.waves = step.waves.as_ref().and_then(|waves| waves.compile(&planned));
                planned
            })
            .collect();
        let gates = steps.iter().enumerate().filter_map(|(n, step)| Some((n, step.gate.as_ref().filter(|gate| !gate.wait)?)));
        let blockers = gates.flat_map(|(n, gate)| gate.problems(ahead.get(&n).unwrap_or(inventory)));
        let mut blockers: Vec<Problem> = blockers.collect();
        blockers.dedup();
        let found = match &inventory.backend_ai {
            Some(b) if self.moved.is_some() => format!("Backend.AI {}: {}", b.version, b.era.sentence()),
            None if self.moved.is_some() => "Backend.AI could not be read".to_owned(),
            _ => machines(inventory),
        };
        let mut plan = Plan {
            v: PLAN_VERSION,
            plan: String::new(),
            runbook: self.name.clone(),
            title: self.title.clone(),
            cluster: inventory.cluster.clone(),
            read_at_ms: inventory.read_at_ms,
            found,
            totals: totals(&steps),
            wants: self.wants(),
            steps,
            ledger,
            limits: self.limits,
            notes,
            blockers,
        };
        plan = plan.tidied();
        plan.plan = hash(&plan);
        Ok((plan, world))
    }

    /// A step that is there for the sake of others does nothing when they have nothing to do: no manager is stopped
    /// for nothing.
    fn leave_out_unneeded(&self, planned: &mut [Vec<PlannedChange>], drawn: &mut [Drawn]) {
        let pending = |changes: &Vec<PlannedChange>| changes.iter().any(|change| !change.found);
        let busy: BTreeSet<&str> =
            self.steps.iter().zip(&*planned).filter(|(_, changes)| pending(changes)).map(|(step, _)| step.id.as_str()).collect();
        let unneeded = |step: &Step| !step.needed_for.is_empty() && !step.needed_for.iter().any(|id| busy.contains(id.as_str()));
        let unneeded: Vec<usize> = self.steps.iter().enumerate().filter(|(_, step)| unneeded(step)).map(|(i, _)| i).collect();
        for index in unneeded {
            planned[index].clear();
            "not needed: nothing would change meanwhile".clone_into(&mut drawn[index].summary);
            let names = self.steps[index].needed_for.join(", ");
            drawn[index].kept.push(Kept {
                subject: self.steps[index].title.clone(),
                place: "all".to_owned(),
                why: format!("{names}: already so"),
            });
        }
    }

    /// A gate guards its step and the steps up to the next gate. Where none of them has anything to do nothing is
    /// asked; a gate that only checks stays.
    fn gates(&self, inventory: &Inventory, planned: &[Vec<PlannedChange>], drawn: &[Drawn]) -> Vec<Option<Gate>> {
        let written: Vec<bool> = self.steps.iter().map(|step| step.gate.is_some()).collect();
        let build = |(index, step): (usize, &Step)| {
            let mut checks = drawn[index].checks.clone();
            let Some(gate) = &step.gate else {
                let only_checks = Gate {
                    title: step.title.clone(),
                    text: vec![],
                    ask: Ask::Nothing,
                    sentence: String::new(),
                    wait: checks.iter().any(|check| matches!(check, Check::BrownOut { .. })),
                    checks: checks.clone(),
                };
                return (!checks.is_empty()).then_some(only_checks);
            };
            let end = (index + 1..self.steps.len()).find(|i| written[*i]).unwrap_or(self.steps.len());
            let pending: Vec<&PlannedChange> = planned[index..end].iter().flatten().filter(|change| !change.found).collect();
            if pending.is_empty() && gate.ask != Ask::Nothing {
                return self.refused(index, &drawn[index], inventory);
            }
            let named = gate.checks.iter().map(|word| match word {
                written::CheckWord::Answers => {
                    let wants = self.wants();
                    Check::Answers { parts: wants.parts, machines: wants.machines }
                }
                written::CheckWord::ManagersRun => Check::ManagersRun,
                written::CheckWord::Drained => {
                    let moved = self.moved.clone().unwrap_or_default();
                    let repositories = Some(moved.old_folder()).filter(|folder| !folder.is_empty());
                    Check::Drained { registry: moved.old_registry().to_owned(), repositories: repositories.into_iter().collect() }
                }
            });
            checks.splice(0..0, named);
            let own: Vec<&PlannedChange> = planned[index].iter().filter(|change| !change.found).collect();
            let noun = if self.moved.is_some() { "agent" } else { "host" };
            let fill = |text: &str| fill(text, &inventory.cluster, noun, &own);
            let sentence = match gate.ask {
                Ask::Nothing => String::new(),
                Ask::Yes => "yes".to_owned(),
                Ask::Name => inventory.cluster.clone(),
                Ask::Count => fill(gate.sentence.as_deref().unwrap_or("change {changes} of {cluster}")),
            };
            Some(Gate {
                title: gate.title.clone().unwrap_or_else(|| step.title.clone()),
                text: gate.text.iter().map(|line| fill(line)).chain(drawn[index].warnings.iter().cloned()).collect(),
                ask: gate.ask,
                sentence,
                checks,
                wait: gate.wait,
            })
        };
        self.steps.iter().enumerate().map(build).collect()
    }
}

impl Runbook {
    /// A step without changes whose files nobody can change says so, in place of nothing.
    fn refused(&self, index: usize, drawn: &Drawn, inventory: &Inventory) -> Option<Gate> {
        let checks = drawn.checks.iter().filter(|check| matches!(check, Check::Configuration { .. })).cloned().collect();
        let title = self.steps[index].title.clone();
        let gate = Gate { title, text: vec![], ask: Ask::Nothing, sentence: String::new(), wait: false, checks };
        (!gate.problems(inventory).is_empty()).then_some(gate)
    }
}

/// What was found of hosts, in one sentence.
fn machines(inventory: &Inventory) -> String {
    let of = |word: &str, n: usize| (n > 0).then(|| format!("{} with {word}", text::count(n as u64, "host")));
    let count = |has: fn(&Machine) -> bool| inventory.machines.values().filter(|machine| has(machine)).count();
    let found = [
        of("Docker", count(|m| m.docker.is_some())),
        of("containerd", count(|m| m.containerd.is_some())),
        of("podman", count(|m| m.podman.is_some())),
        inventory.platform9.as_ref().map(|cluster| format!("cluster {} of Platform9", cluster.name)),
    ];
    let found: Vec<String> = found.into_iter().flatten().collect();
    if found.is_empty() { text::count(inventory.machines.len() as u64, "host") } else { found.join(", ") }
}

/// A step that could not be planned: what it needs has to answer.
fn unread(wants: &Wants) -> Drawn {
    let check = Check::Answers { parts: wants.parts.clone(), machines: wants.machines.clone() };
    Drawn { checks: vec![check], ..Drawn::default() }
}

/// Fills the words of a gate with the figures of its step.
fn fill(text: &str, cluster: &str, noun: &str, changes: &[&PlannedChange]) -> String {
    let hosts: BTreeSet<&str> = changes.iter().map(|change| change.place.as_str()).collect();
    let bytes: u64 = changes.iter().map(|change| change.change.size_bytes()).sum();
    let n = changes.len() as u64;
    let parts: u64 = changes.iter().map(|change| parts(&change.change)).sum();
    text.replace("{cluster}", cluster)
        .replace("{count}", &text::count(n, "image"))
        .replace(
            "{changes}",
            &text::count(parts, if n == parts { "change" } else { "key and row" }).replace("key and rows", "keys and rows"),
        )
        .replace("{hosts}", &text::count(hosts.len() as u64, noun))
        .replace("{bytes}", &text::bytes(bytes))
}

/// Keys and rows of a change; 1 for every other kind.
fn parts(change: &Change) -> u64 {
    match change {
        Change::Keys { diffs } => diffs.len() as u64,
        Change::Rows { diffs } | Change::BrownOut { diffs, .. } => diffs.len() as u64,
        _ => 1,
    }
}

/// What a change asks of its registry, in requests. A Docker Engine that pulls by digest asks for `/v2/`, the manifest,
/// the image's configuration, and each layer that it lacks (moby, `distribution/pull_v2.go`: `pullSchema2`); one more
/// for an index, whose manifest of the platform it asks for next, is counted in, as an index is the rule.
fn requests(world: &Inventory, change: &Change) -> u32 {
    let Change::Pull { host, image, .. } = change else { return 0 };
    let layers = world
        .manifest(image)
        .zip(world.hosts.get(host))
        .map_or(1, |(manifest, host)| lacking_layers(host, &manifest.layers).count());
    4 + u32::try_from(layers).unwrap_or(u32::MAX - 4)
}

fn totals(steps: &[PlannedStep]) -> Totals {
    let mut totals = Totals {
        gates: steps.iter().filter(|s| s.gate.as_ref().is_some_and(|g| g.ask != Ask::Nothing)).count() as u64,
        ..Totals::default()
    };
    let mut hosts = BTreeSet::new();
    for planned in steps.iter().flat_map(|step| &step.changes) {
        if planned.found {
            totals.found += 1;
            continue;
        }
        totals.changes += 1;
        totals.irreversible += u64::from(!planned.reversible);
        match &planned.change {
            Change::Keys { diffs } => totals.keys += diffs.iter().filter(|d| d.before != d.after).count() as u64,
            Change::Rows { diffs } | Change::BrownOut { diffs, .. } => {
                totals.rows += diffs.iter().filter(|d| d.before != d.after).count() as u64;
            }
            Change::Alias { .. } => totals.rows += 1,
            Change::Pull { size_bytes, .. } => {
                totals.pulls += 1;
                totals.pull_bytes += size_bytes;
            }
            Change::Tag { .. } => totals.tags += 1,
            Change::Remove { .. } => totals.removals += 1,
            Change::Configure { host, .. } => _ = hosts.insert(host),
            Change::Unit { .. } => totals.units += 1,
            Change::Platform9 { .. } => totals.clusters += 1,
            Change::Service { .. } | Change::Rescan { .. } => {}
        }
    }
    totals.hosts = hosts.len() as u64;
    totals
}

/// What would be done decides the id; when the cluster was read does not.
fn hash(plan: &Plan) -> String {
    let ledger: Vec<_> = plan
        .ledger
        .iter()
        .map(|line| (&line.old, &line.old_id, &line.hosts, &line.new, &line.new_digest, line.verdict))
        .collect();
    let what = (&plan.runbook, &plan.cluster, &plan.steps, ledger, plan.limits);
    let text = serde_json::to_string(&what).expect("a plan is plain data");
    plan_name(&Digest::of(&text))
}
