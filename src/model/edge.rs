//! Where text from outside enters the model: it is cleaned while it is read from a file or a socket, and once when an
//! inventory or a plan is made. Never cleans what is acted on: a name that cleaning would change is left out, and said.

use super::{Inventory, Kept, LedgerLine, Part, Plan, Problem, Unanswered, WayBack, text};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Reads one line of words for a person.
pub fn line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(cleaned)
}

/// Reads several lines in one text.
pub fn page<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|words| text::page(&words))
}

/// Reads one line that may be missing.
pub fn maybe<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(from).map(|words| words.map(cleaned))
}

/// Reads a list of lines.
pub fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Vec::<String>::deserialize(from).map(|words| words.into_iter().map(cleaned).collect())
}

/// No image, layer or file is larger: 1.1 TB. Sums over every change of a run then stay within what can be counted.
const LARGEST_BYTES: u64 = 1 << 40;
/// The years 1970 to 9999, in Unix milliseconds: what can be shown, and differences that can be counted.
const LAST_MS: i64 = 253_402_300_799_999;

/// A size as somebody else says it, within reason.
pub fn bounded(bytes: u64) -> u64 {
    bytes.min(LARGEST_BYTES)
}

/// A moment as somebody else says it, within reason.
pub fn possible(ms: i64) -> i64 {
    ms.clamp(0, LAST_MS)
}

/// Reads a size.
pub fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    u64::deserialize(from).map(bounded)
}

/// Reads the free space of a disk, if it is known.
pub fn room<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Option::<u64>::deserialize(from).map(|bytes| bytes.map(|bytes| bytes.min(LARGEST_BYTES << 20)))
}

/// Reads a moment.
pub fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    i64::deserialize(from).map(possible)
}

/// Reads a moment that may be missing.
pub fn moment_maybe<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    Option::<i64>::deserialize(from).map(|ms| ms.map(possible))
}

/// An error of a parser in one line: it quotes what it read.
pub fn told(error: &dyn std::fmt::Display) -> String {
    text::clean(&error.to_string())
}

fn cleaned(words: String) -> String {
    if text::is_clean(&words) { words } else { text::clean(&words) }
}

fn tidy(words: &mut String) {
    *words = cleaned(std::mem::take(words));
}

fn tidy_all<'a>(words: impl IntoIterator<Item = &'a mut String>) {
    words.into_iter().for_each(tidy);
}

impl Problem {
    fn tidy(&mut self) {
        let Self { subject, why, owner, place, since_ms: _, hint } = self;
        tidy_all([subject, why]);
        tidy_all([owner, place, hint].into_iter().flatten());
    }
}

impl WayBack {
    pub(super) fn tidy(mut self) -> Self {
        if let Self::Partly(why) | Self::None(why) = &mut self {
            tidy(why);
        }
        self
    }
}

impl Plan {
    /// Cleans every word for people. Those of the changes were cleaned when they were made; what a change does is left
    /// exactly as it is.
    #[must_use]
    pub fn tidied(mut self) -> Self {
        tidy_all([&mut self.title, &mut self.found, &mut self.runbook]);
        for step in &mut self.steps {
            tidy_all([&mut step.title, &mut step.summary]);
            for Kept { subject, place, why } in &mut step.kept {
                tidy_all([subject, place, why]);
            }
            if let Some(gate) = &mut step.gate {
                tidy_all([&mut gate.title, &mut gate.sentence]);
                tidy_all(&mut gate.text);
            }
        }
        for LedgerLine { proof, .. } in &mut self.ledger {
            tidy(proof);
        }
        self.notes.iter_mut().chain(&mut self.blockers).for_each(Problem::tidy);
        self
    }

    /// Whether every change stands where its id says, so that it is found again.
    pub fn is_in_order(&self) -> bool {
        let in_order = |(step, planned): (usize, &super::PlannedStep)| {
            planned.changes.iter().enumerate().all(|(n, change)| change.id == super::ChangeId { step, n })
        };
        self.steps.iter().enumerate().all(in_order)
    }

    /// A name that would be acted on and is not what it seems. castoff writes no such plan.
    pub fn deceives(&self) -> Option<String> {
        let named = self.steps.iter().flat_map(|step| &step.changes).map(|planned| planned.change.place());
        let ids = self.steps.iter().map(|step| step.id.as_str());
        let mut names = ids.chain([self.cluster.as_str(), self.plan.as_str()]).chain(named);
        let word = |id: &str| id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let hidden = names.find(|name| !is_name(name));
        hidden.or_else(|| self.steps.iter().map(|step| step.id.as_str()).find(|id| !word(id))).map(text::clean)
    }
}

/// Whether a name of a cluster, a host, a manager or a step is what it looks like.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && text::is_clean(name)
}

impl Inventory {
    /// Cleans what is only shown. A host, a manager or a registry whose name cleaning would change cannot be acted on:
    /// it is left out and counts as not answered, so that nothing is planned as if it were not there.
    #[must_use]
    pub fn tidied(mut self) -> Self {
        let mut left_out = vec![];
        let mut out = |part: Part, what: &str, names: Vec<String>| {
            left_out.extend(names.into_iter().map(|name| Unanswered {
                part,
                subject: format!("{what} {}", text::clean(&name)),
                why: "its name holds characters that cannot be seen or is too long: it is left out".to_owned(),
                hint: None,
            }));
        };
        out(Part::Hosts, "agent", misnamed(&mut self.hosts));
        out(Part::Managers, "manager", misnamed(&mut self.managers));
        out(Part::Registries, "registry", misnamed(&mut self.registries));
        if let Some(backend_ai) = &mut self.backend_ai {
            tidy(&mut backend_ai.version);
        }
        for registry in self.registries.values_mut() {
            tidy(&mut registry.url);
            tidy_all(&mut registry.login);
            tidy_all(registry.refused.values_mut());
        }
        for host in self.hosts.values_mut() {
            tidy(&mut host.engine);
            for container in &mut host.containers {
                tidy_all([&mut container.id, &mut container.name, &mut container.image]);
            }
        }
        for session in &mut self.sessions {
            tidy_all([
                &mut session.id,
                &mut session.name,
                &mut session.owner,
                &mut session.status,
                &mut session.image,
                &mut session.agent,
            ]);
        }
        for refusal in &mut self.refusals {
            tidy_all([&mut refusal.session, &mut refusal.owner, &mut refusal.image]);
        }
        for Unanswered { part: _, subject, why, hint } in &mut self.unanswered {
            tidy_all([subject, why]);
            tidy_all(hint);
        }
        self.unanswered.extend(left_out);
        self
    }
}

/// Takes out what stands under a name that is not what it looks like.
fn misnamed<T>(named: &mut BTreeMap<String, T>) -> Vec<String> {
    let names: Vec<String> = named.keys().filter(|name| !is_name(name)).cloned().collect();
    names.iter().for_each(|name| drop(named.remove(name)));
    names
}
