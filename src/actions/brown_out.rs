//! `begin-brown-out` and `end-brown-out`: a rehearsal of the day when the old registry is gone. For a stated time no domain
//! allows it, and it is seen who is refused; then every domain gets back exactly what it had.

use super::{About, Action, Drawn};
use crate::model::{Change, Check, Inventory, Row, RowDiff, image::canonical_registry, text};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value as Json, json};

const COLUMN: &str = "allowed_docker_registries";
/// Long enough to be noticed by nobody, short enough to be one.
const SHORTEST_S: i64 = 1;
const LONGEST_S: i64 = 24 * 3600;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Begin {
    /// How long: `10m`, `1h 30m`, `90s`.
    #[serde(rename = "for", deserialize_with = "seconds")]
    #[schemars(with = "String")]
    for_s: u64,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct End {}

impl Action for Begin {
    fn plan(&self, world: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let old = about.moved.old_registry();
        let mut diffs = vec![];
        for row in world.rows("domains") {
            let (Some(Json::String(name)), Some(Json::Array(allowed))) = (row.get("name"), row.get(COLUMN)) else {
                return Err("a row of `domains` has no name or no list of registries".to_owned());
            };
            let is_old = |entry: &&Json| entry.as_str().is_some_and(|name| canonical_registry(name) == old);
            if allowed.iter().any(|entry| is_old(&entry)) {
                let left: Vec<&Json> = allowed.iter().filter(|entry| !is_old(entry)).collect();
                let side = |list: Json| -> Row { [(COLUMN.to_owned(), list)].into_iter().collect() };
                let (before, after) = (Some(side(json!(allowed))), Some(side(json!(left))));
                diffs.push(RowDiff { table: "domains".to_owned(), key: name.clone(), before, after });
            }
        }
        if diffs.is_empty() {
            return Ok(Drawn { summary: format!("no domain allows {old}"), ..Drawn::default() });
        }
        let domains = text::count(diffs.len() as u64, "domain");
        let time = text::duration(self.for_s.saturating_mul(1000).cast_signed());
        let summary = format!("{old} is allowed in none of {domains} for {time}; running sessions go on");
        let change = Change::BrownOut { registry: old.to_owned(), diffs, begins: true, for_s: self.for_s };
        Ok(Drawn { changes: vec![change], summary, ..Drawn::default() })
    }
}

impl Action for End {
    fn plan(&self, _: &Inventory, about: &About<'_>) -> Result<Drawn, String> {
        let begun = about.earlier.iter().rev().find_map(|change| match change {
            Change::BrownOut { registry, diffs, begins: true, for_s } => Some((registry, diffs, *for_s)),
            _ => None,
        });
        let Some((registry, diffs, for_s)) = begun else {
            return Ok(Drawn { summary: "no brown-out has begun before".to_owned(), ..Drawn::default() });
        };
        let back = |diff: &RowDiff| RowDiff { before: diff.after.clone(), after: diff.before.clone(), ..diff.clone() };
        let diffs: Vec<RowDiff> = diffs.iter().map(back).collect();
        let time = text::duration(for_s.saturating_mul(1000).cast_signed());
        let summary = format!("waits {time}, tells who is refused, then every domain has what it had");
        let change = Change::BrownOut { registry: registry.clone(), diffs, begins: false, for_s };
        Ok(Drawn { changes: vec![change], checks: vec![Check::BrownOut { for_s }], summary, ..Drawn::default() })
    }
}

fn seconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = |why: &str| serde::de::Error::custom(format!("`{text}` is no time for a brown-out: {why}"));
    let time: SignedDuration = text.parse().map_err(|_| wrong("`10m`, `1h 30m` and `90s` are"))?;
    let s = time.as_secs();
    if (SHORTEST_S..=LONGEST_S).contains(&s) { Ok(s.unsigned_abs()) } else { Err(wrong("from 1 s to 24 h are")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::Move;
    use crate::model::Standing;

    fn world(lists: &[(&str, &[&str])]) -> Inventory {
        let mut world = Inventory::new("test", 0);
        let row = |(name, list): &(&str, &[&str])| -> Row {
            [("name".to_owned(), json!(name)), (COLUMN.to_owned(), json!(list))].into_iter().collect()
        };
        world.tables.insert("domains".to_owned(), lists.iter().map(row).collect());
        world
    }

    fn drawn(action: &dyn Action, world: &Inventory, earlier: &[&Change]) -> Drawn {
        let moved = Move { from: "docker.io/lablup".to_owned(), to: vec!["cr.x/stable".to_owned()], overrides: [].into() };
        action.plan(world, &About { moved: &moved, mirror: None, ledger: &[], earlier }).unwrap()
    }

    #[test]
    fn every_domain_has_afterwards_what_it_had_before() {
        let before = world(&[("a", &["x.example", "index.docker.io"]), ("b", &["x.example"]), ("c", &["docker.io"])]);
        let begin = drawn(&Begin { for_s: 60 }, &before, &[]);
        let [begins] = begin.changes.as_slice() else { panic!("{begin:?}") };
        let mut dark = before.clone();
        dark.apply(begins);
        assert_eq!(dark.tables, world(&[("a", &["x.example"]), ("b", &["x.example"]), ("c", &[])]).tables);
        let end = drawn(&End {}, &dark, &[begins]);
        let [ends] = end.changes.as_slice() else { panic!("{end:?}") };
        assert_eq!(dark.standing(ends), Standing::Before);
        let mut light = dark.clone();
        light.apply(ends);
        assert_eq!(light, before);
        assert_eq!(end.checks, [Check::BrownOut { for_s: 60 }]);
    }

    #[test]
    fn without_a_domain_to_darken_nothing_is_waited_for() {
        let world = world(&[("a", &["x.example"])]);
        assert!(drawn(&Begin { for_s: 60 }, &world, &[]).changes.is_empty());
        let end = drawn(&End {}, &world, &[]);
        assert!(end.changes.is_empty() && end.checks.is_empty());
    }

    #[test]
    fn a_time_is_written_as_people_write_it() {
        let read = |text: &str| toml::from_str::<Begin>(&format!("for = \"{text}\"")).map(|begin| begin.for_s);
        assert_eq!(read("10m").unwrap(), 600);
        assert_eq!(read("1h 30m").unwrap(), 5400);
        for wrong in ["", "10", "0s", "25h", "-5m", "soon"] {
            assert!(read(wrong).unwrap_err().to_string().contains("no time for a brown-out"), "{wrong}");
        }
    }
}
