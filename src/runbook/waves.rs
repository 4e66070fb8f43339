//! How waves are written in a runbook, at the top for every host step and in a step for itself, and what a plan makes of
//! them. Decides nothing about who is healthy: it only counts hosts.

use crate::actions::ACTIONS;
use crate::model::{
    Hold, PlannedStep, Waves,
    wave::{Size, spread},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::{borrow::Cow, fmt};

/// Waves as written; what a step leaves out is taken from the top of the runbook.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WrittenWaves {
    /// Hosts that go first and alone; 0: none.
    canary: Option<usize>,
    /// The waves that follow, as numbers (`5`) or shares (`"25%"`) of the step's hosts. The rest comes last.
    then: Option<Vec<WrittenSize>>,
    /// What ends the hold after the canary.
    hold: Option<Hold>,
    /// This many failures in one wave stop the step.
    failures: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct WrittenSize(Size);

impl WrittenWaves {
    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), String> {
        if self.failures == Some(0) {
            return Err("`failures = 0` would stop before it began: 1 stops at the first failure".to_owned());
        }
        Ok(())
    }

    fn over(&self, all: &Self) -> Self {
        Self {
            canary: self.canary.or(all.canary),
            then: self.then.clone().or_else(|| all.then.clone()),
            hold: self.hold.or(all.hold),
            failures: self.failures.or(all.failures),
        }
    }

    /// The waves over the hosts of a step; `None` where it has no host with anything to do.
    pub fn compile(&self, step: &PlannedStep) -> Option<Waves> {
        step.pending().next()?;
        let canary = self.canary.unwrap_or_default();
        let sizes: Vec<Size> = self.then.iter().flatten().map(|size| size.0).collect();
        let hosts = spread(&step.hosts(), canary, &sizes);
        let (hold, failures) = (self.hold.unwrap_or_default(), self.failures.unwrap_or_default());
        Some(Waves { canary: canary > 0, hold, failures, hosts }).filter(|waves| waves.hosts.len() > 1 || waves.failures > 0)
    }
}

/// Takes the waves out of the table of a step. `None`: nothing is written, or the step's changes are on no host.
pub fn of_step(table: &mut toml::Table, id: &str, action: &str, all: &WrittenWaves) -> Result<Option<WrittenWaves>, String> {
    let on_hosts: Vec<&str> = ACTIONS.iter().filter(|kind| kind.on_hosts).map(|kind| kind.name).collect();
    let own = match table.remove("waves") {
        None => None,
        // An unknown action is told by whoever looks for it.
        Some(_) if !on_hosts.contains(&action) && ACTIONS.iter().any(|kind| kind.name == action) => {
            let allowed = on_hosts.join("`, `");
            return Err(format!("step `{id}` does `{action}`: `waves` are for actions on hosts: `{allowed}`"));
        }
        Some(value) => Some(value.try_into::<WrittenWaves>().map_err(|e| match e.message() {
            // The parser's words first: whoever shows the mistake finds in them what was meant.
            words if words.starts_with("unknown") => format!("{words} (waves of step `{id}`)"),
            words => format!("waves of step `{id}`: {words}"),
        })?),
    };
    let holds = own.as_ref().is_some_and(|own| own.hold.is_some());
    let waves = own.map_or_else(|| all.clone(), |own| own.over(all));
    waves.check().map_err(|why| format!("waves of step `{id}`: {why}"))?;
    let any = waves.canary.is_some() || waves.then.is_some() || waves.failures.is_some();
    if holds && waves.canary.unwrap_or_default() == 0 {
        return Err(format!("waves of step `{id}`: `hold` holds after a canary, and there is none: `canary = 1` makes one"));
    }
    Ok(Some(waves).filter(|_| any && on_hosts.contains(&action)))
}

impl<'de> Deserialize<'de> for WrittenSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = WrittenSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of hosts, such as 5, or a share, such as \"25%\"")
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<WrittenSize, E> {
                match usize::try_from(n) {
                    Ok(n) if n > 0 => Ok(WrittenSize(Size::Hosts(n))),
                    _ => Err(E::custom(format!("`{n}` is no size of a wave: 1 host at least"))),
                }
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<WrittenSize, E> {
                self.visit_i64(i64::try_from(n).unwrap_or(i64::MAX))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<WrittenSize, E> {
                let percent = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
                match percent.filter(|percent| (1..=100).contains(percent)) {
                    Some(percent) => Ok(WrittenSize(Size::Percent(percent))),
                    None => Err(E::custom(format!("`{text}` is no size of a wave: a number, or a share from 1% to 100%"))),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for WrittenSize {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^([1-9][0-9]?|100)%$" },
        ] })
    }
}
