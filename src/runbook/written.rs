//! How a runbook is written: TOML, every mistake with its place and a hint. Decides nothing about a cluster.

use super::{
    Runbook, Step,
    waves::{self, WrittenWaves},
};
use crate::actions::{self, Mirror, Move};
use crate::model::{Ask, Limits, Mistake, place::meant};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;

/// The runbooks inside the binary: name and text.
pub const SHIPPED: &[(&str, &str)] = &[
    ("backend-ai", include_str!("../../runbooks/backend-ai.toml")),
    ("brown-out", include_str!("../../runbooks/brown-out.toml")),
    ("containerd-mirror", include_str!("../../runbooks/containerd-mirror.toml")),
    ("docker-mirror", include_str!("../../runbooks/docker-mirror.toml")),
    ("podman-mirror", include_str!("../../runbooks/podman-mirror.toml")),
];

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    name: String,
    title: String,
    #[serde(rename = "move")]
    moved: Option<Spanned<Move>>,
    mirror: Option<Spanned<Mirror>>,
    #[serde(default)]
    limits: Limits,
    /// For every step whose changes are on hosts.
    waves: Option<Spanned<WrittenWaves>>,
    step: Vec<Spanned<toml::Table>>,
}

/// Where a step waits, as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WrittenGate {
    pub ask: Ask,
    /// Its heading; left out: the title of the step.
    pub title: Option<String>,
    /// With `{cluster}`, `{count}`, `{changes}`, `{hosts}`, `{bytes}` filled in.
    #[serde(default)]
    pub text: Vec<String>,
    /// For `ask = "count"`: what has to be typed.
    pub sentence: Option<String>,
    /// Checks beside those of the action: `answers`, `drained`, `managers-run`.
    #[serde(default)]
    pub checks: Vec<CheckWord>,
    /// Wait for the checks instead of refusing at once.
    #[serde(default)]
    pub wait: bool,
}

/// The checks a runbook may name; what an action checks by itself joins them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckWord {
    /// Everything that was asked has answered.
    Answers,
    /// No live session and no container of Backend.AI uses an old image.
    Drained,
    /// Every manager answers.
    ManagersRun,
}

/// Reads one runbook.
pub fn read(origin: &str, text: &str) -> Result<Runbook, Mistake> {
    let written: Written = toml::from_str(text).map_err(|e| Mistake::of_toml(origin, text, &e))?;
    let at = |span: &Range<usize>, message: String| Mistake::at(origin, text, span.start, span.end, message);
    let moved = written.moved.map(|moved| checked(moved, Move::check)).transpose().map_err(|(span, why)| at(&span, why))?;
    let mirror = written.mirror.map(|mirror| checked(mirror, Mirror::check)).transpose().map_err(|(span, why)| at(&span, why))?;
    let waves = match written.waves {
        Some(waves) => {
            let span = waves.span();
            let waves = waves.into_inner();
            waves.check().map_err(|why| in_step(origin, text, &span, &why))?;
            waves
        }
        None => WrittenWaves::default(),
    };
    if written.step.is_empty() {
        return Err(Mistake::of_file(origin, "the runbook has no step"));
    }
    let mut steps: Vec<Step> = vec![];
    let mut ids = BTreeSet::new();
    for table in written.step {
        let span = table.span();
        let step = read_step(table.into_inner(), &waves).map_err(|why| in_step(origin, text, &span, &why))?;
        let needs = actions::ACTIONS.iter().find(|kind| kind.name == step.action_name).and_then(|kind| kind.needs);
        let lacks = match needs {
            Some("move") => moved.is_none(),
            Some(_) => mirror.is_none(),
            None => false,
        };
        if let Some(table) = needs.filter(|_| lacks) {
            let why = format!("action `{}` needs a `[{table}]`, and the runbook has none", step.action_name);
            return Err(in_step(origin, text, &span, &why));
        }
        if !ids.insert(step.id.clone()) {
            return Err(in_step(origin, text, &span, &format!("two steps have the id `{}`", step.id)));
        }
        steps.push(step);
    }
    if let Some((step, id)) = steps.iter().find_map(|step| Some((step, step.needed_for.iter().find(|id| !ids.contains(*id))?))) {
        let why = format!("step `{}` is needed for `{id}`, which is no step", step.id);
        let start = text.find(&format!("\"{id}\"")).map_or(0, |i| i + 1);
        return Err(Mistake::at(origin, text, start, start + id.len(), why));
    }
    Ok(Runbook { name: written.name, title: written.title, moved, mirror, limits: written.limits, steps })
}

/// What was written, or what is wrong with it and where.
fn checked<T>(written: Spanned<T>, check: fn(&T) -> Result<(), String>) -> Result<T, (Range<usize>, String)> {
    let span = written.span();
    let inner = written.into_inner();
    check(&inner).map_err(|why| (span, why))?;
    Ok(inner)
}

fn read_step(mut table: toml::Table, all: &WrittenWaves) -> Result<Step, String> {
    let id = take_text(&mut table, "id")?.ok_or("a step has no `id`")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if id.is_empty() || !id.chars().all(plain) {
        return Err(format!("`{id}` is not an id: lower-case letters, digits and `-` are"));
    }
    let action_name = take_text(&mut table, "action")?.ok_or_else(|| format!("step `{id}` has no `action`"))?;
    let title = take_text(&mut table, "title")?.unwrap_or_else(|| id.clone());
    let gate = table
        .remove("gate")
        .map(|value| value.try_into::<WrittenGate>().map_err(|e| format!("gate of step `{id}`: {}", e.message())));
    let needed_for = table
        .remove("needed-for")
        .map(|value| value.try_into::<Vec<String>>().map_err(|e| format!("`needed-for`: {}", e.message())));
    let gate = gate.transpose()?;
    let needed_for = needed_for.transpose()?.unwrap_or_default();
    let waves = waves::of_step(&mut table, &id, &action_name, all)?;
    let action = actions::find(&action_name, table)?;
    Ok(Step { id, title, action_name, action, gate, needed_for, waves })
}

fn take_text(table: &mut toml::Table, key: &str) -> Result<Option<String>, String> {
    let text = |value: toml::Value| value.as_str().map(str::to_owned).ok_or_else(|| format!("`{key}` must be text"));
    table.remove(key).map(text).transpose()
}

/// The place of a mistake inside a step: the first word in backticks that stands in the step's text, beginning with
/// those after `action …:` or `gate …:`, which are nearest to the mistake.
fn in_step(origin: &str, text: &str, span: &Range<usize>, why: &str) -> Mistake {
    let end = text[span.start..].find("\n[[").map_or(text.len(), |i| span.start + i);
    let body = &text[span.start..end];
    let near = why.split_once(": ").map_or(why, |(_, rest)| rest);
    let words = near.split('`').skip(1).step_by(2).chain(why.split('`').skip(1).step_by(2));
    let place = words.filter(|word| word.len() > 1).find_map(|word| body.find(word).map(|i| (span.start + i, word.len())));
    let (start, width) = place.unwrap_or((span.start, 8));
    let mistake = Mistake::at(origin, text, start, start + width, why);
    match meant(why) {
        Some(word) => mistake.hint(format!("did you mean `{word}`?")),
        None if why.starts_with("unknown action") => mistake.hint("castoff list names the actions"),
        None => mistake,
    }
}

/// Replaces values by `name=value`: `limits.total=8`, `move.to=["…"]`, and `STEP.name` for a field of a step.
pub fn set(text: &str, sets: &[String]) -> Result<String, Mistake> {
    let mut table: toml::Table = toml::from_str(text).map_err(|e| Mistake::of_toml("--set", text, &e))?;
    for set in sets {
        let wrong = |why: String| Mistake::of_file(&format!("--set {set}"), why).hint("such as --set limits.total=8");
        let (path, value) = set.split_once('=').ok_or_else(|| wrong("`name=value` is needed".to_owned()))?;
        let parsed = toml::from_str::<toml::Table>(&format!("value = {value}")).ok().and_then(|mut t| t.remove("value"));
        let value = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
        let (first, rest) = path
            .split_once('.')
            .ok_or_else(|| wrong(format!("`{path}` names no field of `limits`, `waves`, `move` or a step")))?;
        if matches!(first, "limits" | "waves") {
            table.entry(first).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        }
        let of_step = has_step(&table, first) && !is_field(first, rest);
        let target = match table.get_mut(first) {
            Some(toml::Value::Table(found)) if !of_step => Some(found),
            _ => table.get_mut("step").and_then(toml::Value::as_array_mut).and_then(|steps| {
                let steps = steps.iter_mut().filter_map(toml::Value::as_table_mut);
                steps.into_iter().find(|step| step.get("id").and_then(toml::Value::as_str) == Some(first))
            }),
        };
        let mut target = target.ok_or_else(|| wrong(format!("there is no step `{first}`")))?;
        let mut names = rest.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                target.insert(name.to_owned(), value);
                break;
            }
            let next = target.entry(name).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            target = next.as_table_mut().ok_or_else(|| wrong(format!("`{name}` has no fields")))?;
        }
    }
    Ok(table.to_string())
}

fn has_step(table: &toml::Table, id: &str) -> bool {
    let steps = table.get("step").and_then(toml::Value::as_array);
    steps.into_iter().flatten().any(|step| step.get("id").and_then(toml::Value::as_str) == Some(id))
}

/// Whether a table of the runbook has such a field. A step may be called as a table is: `mirror.url`, `mirror.restart`.
fn is_field(table: &str, path: &str) -> bool {
    let schema = match table {
        "limits" => actions::whole_schema::<Limits>(),
        "waves" => actions::whole_schema::<WrittenWaves>(),
        "move" => actions::whole_schema::<Move>(),
        "mirror" => actions::whole_schema::<Mirror>(),
        _ => return false,
    };
    let field = path.split('.').next().unwrap_or_default();
    schema.get("properties").is_some_and(|properties| properties.get(field).is_some())
}

#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "A runbook of castoff")]
#[expect(dead_code, reason = "only its schema is used")]
struct Shape {
    /// What runs of it are called.
    name: String,
    /// What it does, in one line.
    title: String,
    /// From where to where images move, for the actions of a move.
    #[serde(rename = "move")]
    moved: Option<Move>,
    /// The registry that answers in place of others, for the actions of a mirror.
    mirror: Option<Mirror>,
    /// How much at once.
    limits: Option<Limits>,
    /// How hosts take their turn, in every step whose changes are on hosts.
    waves: Option<WrittenWaves>,
    /// What is done, one after the other.
    step: Vec<serde_json::Map<String, serde_json::Value>>,
}

/// JSON schema of a runbook: each step is one of the actions with its parameters.
pub fn schema() -> serde_json::Value {
    use serde_json::json;
    let mut root = actions::whole_schema::<Shape>().to_value();
    let gate = actions::whole_schema::<WrittenGate>().to_value();
    let waves = actions::whole_schema::<WrittenWaves>().to_value();
    let steps = actions::ACTIONS.iter().map(|kind| {
        let mut step = (kind.schema)().to_value();
        let properties =
            step.as_object_mut().expect("a struct's schema is an object").entry("properties").or_insert_with(|| json!({}));
        properties["action"] = json!({ "type": "string", "const": kind.name, "description": kind.about });
        properties["id"] =
            json!({ "type": "string", "pattern": "^[a-z0-9-]+$", "description": "Names it in gates, `--set` and `--to`." });
        properties["title"] = json!({ "type": "string", "description": "Its line on the screen; left out: the id." });
        properties["gate"] = gate.clone();
        if kind.on_hosts {
            properties["waves"] = waves.clone();
        }
        let about = "Ids of steps for whose sake it is there: it is left out when they have nothing to do.";
        properties["needed-for"] = json!({ "type": "array", "items": { "type": "string" }, "description": about });
        let required = step.as_object_mut().expect("an object").entry("required").or_insert_with(|| json!([]));
        required.as_array_mut().expect("a list").extend([json!("action"), json!("id")]);
        step["title"] = json!(kind.name);
        step
    });
    let about = root["properties"]["step"]["description"].clone();
    let steps: Vec<_> = steps.collect();
    root["properties"]["step"] = json!({ "type": "array", "minItems": 1, "items": { "oneOf": steps }, "description": about });
    root
}
