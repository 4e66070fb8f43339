//! A plan: all changes of a runbook against an inventory. Plain data, journaled whole, so that a resume never
//! re-reads a runbook that somebody edited. What was approved is what runs.

use super::{
    Change, Check, Digest, Inventory, LedgerLine, Limits, MachineWants, Part, Problem, Standing, Wants, Waves, WayBack, text,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// The format this version writes and the newest it reads.
pub const PLAN_VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    pub v: u32,
    /// Hash of what would be done: steps, changes, ledger, limits. Eight hex digits.
    pub plan: String,
    /// Name of the runbook.
    #[serde(deserialize_with = "super::edge::line")]
    pub runbook: String,
    #[serde(deserialize_with = "super::edge::line")]
    pub title: String,
    /// Name of the cluster, as typed at gates.
    pub cluster: String,
    /// Unix time in milliseconds at which the cluster was read.
    #[serde(deserialize_with = "super::edge::moment")]
    pub read_at_ms: i64,
    /// What the cluster was found to be, in one sentence: the Backend.AI version and era, for example.
    #[serde(deserialize_with = "super::edge::line")]
    pub found: String,
    pub steps: Vec<PlannedStep>,
    pub ledger: Vec<LedgerLine>,
    /// What has to be read to know where its changes stand.
    #[serde(default = "Wants::backend_ai")]
    pub wants: Wants,
    pub totals: Totals,
    pub limits: Limits,
    /// What the operator should know or do by hand: left-over names, insecure registries, unknown disk space.
    pub notes: Vec<Problem>,
    /// What stood against the checks of the preflight when the plan was made. Not empty: the plan cannot be run.
    pub blockers: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlannedStep {
    pub id: String,
    #[serde(deserialize_with = "super::edge::line")]
    pub title: String,
    pub action: String,
    /// One line: what it would do.
    #[serde(deserialize_with = "super::edge::line")]
    pub summary: String,
    pub gate: Option<Gate>,
    /// How its hosts take their turn; `None`: all side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waves: Option<Waves>,
    pub changes: Vec<PlannedChange>,
    /// What the step deliberately leaves, with the reason.
    pub kept: Vec<Kept>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlannedChange {
    pub id: ChangeId,
    #[serde(deserialize_with = "super::edge::line")]
    pub kind: String,
    #[serde(deserialize_with = "super::edge::line")]
    pub subject: String,
    #[serde(rename = "where")]
    #[serde(deserialize_with = "super::edge::line")]
    pub place: String,
    #[serde(deserialize_with = "super::edge::page")]
    pub before: String,
    #[serde(deserialize_with = "super::edge::page")]
    pub after: String,
    pub reversible: bool,
    pub way_back: WayBack,
    /// It was already true when the plan was made.
    pub found: bool,
    pub change: Change,
    /// What it asks of its registry, in requests; 0: not known, or nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub requests: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Kept {
    #[serde(deserialize_with = "super::edge::line")]
    pub subject: String,
    #[serde(rename = "where")]
    #[serde(deserialize_with = "super::edge::line")]
    pub place: String,
    #[serde(deserialize_with = "super::edge::line")]
    pub why: String,
}

/// Where a run waits until its checks pass and the operator confirms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Gate {
    #[serde(deserialize_with = "super::edge::line")]
    pub title: String,
    /// The consequence, in sentences.
    #[serde(deserialize_with = "super::edge::list")]
    pub text: Vec<String>,
    pub ask: Ask,
    /// What has to be typed; empty where nothing is asked.
    #[serde(deserialize_with = "super::edge::line")]
    pub sentence: String,
    pub checks: Vec<Check>,
    /// Whether it waits for its checks (asking again and again) or refuses at once.
    pub wait: bool,
}

impl Gate {
    /// The parts of the inventory its checks need.
    pub fn wants(&self) -> Wants {
        let parts: BTreeSet<Part> = self.checks.iter().flat_map(Check::parts).collect();
        let images = self.checks.iter().filter_map(|c| if let Check::Pullable { images } = c { Some(images) } else { None });
        let machines = self.checks.iter().map(Check::machines).fold(MachineWants::default(), MachineWants::and);
        Wants { parts, images: images.flatten().cloned().collect(), machines, ..Wants::default() }
    }

    pub fn problems(&self, inventory: &Inventory) -> Vec<Problem> {
        let mut out: Vec<Problem> = vec![];
        for problem in self.checks.iter().flat_map(|check| check.problems(inventory)) {
            if !out.contains(&problem) {
                out.push(problem);
            }
        }
        out
    }
}

/// The class of a gate's question: the heavier the act, the more there is to type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Only the checks.
    Nothing,
    /// `yes`: reversible.
    Yes,
    /// The cluster's name: a service stops, data is removed with a backup.
    Name,
    /// A sentence with the count: cannot be undone, or hard to.
    Count,
}

/// `3.12`: the twelfth change of the third step, as a person counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChangeId {
    /// Index of the step, from 0.
    pub step: usize,
    /// Index in the step, from 0.
    pub n: usize,
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.step + 1, self.n + 1)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not the id of a change, such as `3.12`", super::text::clean(.0))]
pub struct BadChangeId(String);

impl FromStr for ChangeId {
    type Err = BadChangeId;
    fn from_str(text: &str) -> Result<Self, BadChangeId> {
        let bad = || BadChangeId(text.to_owned());
        let (step, n) = text.split_once('.').ok_or_else(bad)?;
        let index = |part: &str| part.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).ok_or_else(bad);
        Ok(Self { step: index(step)?, n: index(n)? })
    }
}

impl TryFrom<String> for ChangeId {
    type Error = BadChangeId;
    fn try_from(text: String) -> Result<Self, BadChangeId> {
        text.parse()
    }
}

impl From<ChangeId> for String {
    fn from(id: ChangeId) -> Self {
        id.to_string()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Totals {
    /// Changes that are not true yet.
    pub changes: u64,
    /// Changes that were already true.
    pub found: u64,
    pub pulls: u64,
    /// Compressed bytes to pull, shared layers once for each host.
    pub pull_bytes: u64,
    /// Local tags instead of pulls, and the bytes they save.
    pub tags: u64,
    pub saved_bytes: u64,
    pub keys: u64,
    pub rows: u64,
    /// Names of images to remove.
    pub removals: u64,
    /// Hosts to configure.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hosts: u64,
    /// Units of hosts to stop or to start.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub units: u64,
    /// Clusters of Platform9 whose mirror is put.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clusters: u64,
    pub gates: u64,
    /// Changes with no way back, or not a whole one.
    pub irreversible: u64,
}

impl Plan {
    pub fn change(&self, id: ChangeId) -> &PlannedChange {
        &self.steps[id.step].changes[id.n]
    }

    pub fn step_index(&self, id: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.id == id)
    }

    /// Nothing would be done: every change is already true.
    pub fn is_empty(&self) -> bool {
        self.totals.changes == 0
    }

    /// What no longer fits a fresh inventory: a saved plan with differences is stale and refused.
    ///
    /// Containers are left out of the question: a plan counts on a drain that has not happened yet.
    pub fn differences(&self, fresh: &Inventory) -> Vec<Problem> {
        let mut world = fresh.clone();
        world.hosts.values_mut().for_each(|host| host.containers.clear());
        let mut out = vec![];
        for planned in self.steps.iter().flat_map(|step| &step.changes) {
            match world.standing(&planned.change) {
                Standing::Before | Standing::Midway => world.apply(&planned.change),
                Standing::After => {}
                Standing::Neither(why) => out.push(Problem {
                    subject: format!("change {} ({} {})", planned.id, planned.kind, planned.subject),
                    why,
                    owner: None,
                    place: Some(planned.place.clone()),
                    since_ms: None,
                    hint: None,
                }),
            }
        }
        out
    }
}

impl PlannedStep {
    /// Changes that were not already true when the plan was made.
    pub fn pending(&self) -> impl Iterator<Item = &PlannedChange> {
        self.changes.iter().filter(|change| !change.found)
    }

    /// Bytes that one of its changes is about to move; none if it was already true when the plan was made.
    pub fn pending_bytes(&self, n: usize) -> u64 {
        self.changes.get(n).filter(|planned| !planned.found).map_or(0, |planned| planned.change.size_bytes())
    }

    /// The weakest way back of its changes.
    pub fn way_back(&self) -> WayBack {
        let mut out = WayBack::Whole;
        for change in self.pending() {
            match (&change.way_back, &out) {
                (none @ WayBack::None(_), _) => return none.clone(),
                (partly @ WayBack::Partly(_), WayBack::Whole) => out = partly.clone(),
                _ => {}
            }
        }
        out
    }

    /// The sign of the step in a plan: `+ ~ -`, `w` for one that only waits, `<` for one that only reads.
    pub fn sign(&self) -> char {
        match self.changes.first() {
            // Files that are new on some hosts and not on others: they change.
            Some(first)
                if matches!(first.change, Change::Configure { .. })
                    && self.changes.iter().any(|planned| planned.change.sign() != first.change.sign()) =>
            {
                '~'
            }
            Some(first) => first.change.sign(),
            None if self.gate.as_ref().is_some_and(|gate| gate.wait) => 'w',
            None => '<',
        }
    }
}

impl PlannedChange {
    /// The same thing at the same place, whatever is done to it.
    pub fn is_about(&self, other: &Self) -> bool {
        self.subject == other.subject && self.place == other.place
    }

    pub fn new(id: ChangeId, change: Change, found: bool) -> Self {
        let (before, after) = change.sides();
        let way_back = change.way_back().tidy();
        Self {
            id,
            kind: change.kind().to_owned(),
            subject: text::clean(&change.subject()),
            place: text::clean(change.place()),
            before: text::page(&before),
            after: text::page(&after),
            reversible: way_back == WayBack::Whole,
            way_back,
            found,
            change,
            requests: 0,
        }
    }
}

fn is_zero<N: Copy + Into<u64>>(n: &N) -> bool {
    (*n).into() == 0
}

/// The first eight hex digits of a hash: what a plan is called.
pub fn plan_name(hash: &Digest) -> String {
    hash.as_str()[7..15].to_owned()
}
