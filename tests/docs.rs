//! docs/runbooks.md and the schema for editors say what the table of actions says; every runbook that is shown anywhere can be
//! read, and holds to the schema. `CASTOFF_WRITE_DOCS=1 cargo test --test docs` writes the tables anew.

use castoff::{
    actions::ACTIONS,
    runbook::{Runbook, SHIPPED, schema},
};
use serde_json::Value;
use std::{fmt::Write as _, fs};

const DOCS: &str = "docs/runbooks.md";
const BEGIN: &str = "<!-- written by tests/docs.rs: from here -->\n";
const END: &str = "<!-- to here -->\n";

/// One parameter's type in words.
fn kind(schema: &Value) -> String {
    let of = |name: &str| match name {
        "string" => "text".to_owned(),
        "boolean" => "`true`, `false`".to_owned(),
        "integer" | "number" => "number".to_owned(),
        other => other.to_owned(),
    };
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().filter(|word| !word.is_null()).map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(word) = schema.get("const") {
        return format!("`{word}`");
    }
    for one_of in ["anyOf", "oneOf"] {
        if let Some(kinds) = schema[one_of].as_array() {
            let mut all: Vec<String> = kinds.iter().filter(|one| one["type"] != "null").map(kind).collect();
            all.dedup();
            return all.join(", ");
        }
    }
    match &schema["type"] {
        Value::Array(kinds) => {
            let kind = kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap();
            self::kind(&serde_json::json!({ "type": kind, "items": schema["items"].clone() }))
        }
        Value::String(kind) if kind == "array" => format!("list of {}", self::kind(&schema["items"])),
        Value::String(kind) if kind == "object" => "table".to_owned(),
        Value::String(kind) => of(kind),
        _ => "any".to_owned(),
    }
}

/// A table of the fields of an object.
fn table(schema: &Value) -> String {
    let empty = serde_json::Map::new();
    let fields = schema["properties"].as_object().unwrap_or(&empty);
    if fields.is_empty() {
        return "It has no parameter.\n".to_owned();
    }
    let needed = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name));
    let mut out = "| parameter | is | |\n|---|---|---|\n".to_owned();
    // What has to be there stands first.
    let mut names: Vec<&String> = fields.keys().collect();
    names.sort_by_key(|name| (!needed(name), name.as_str()));
    for name in names {
        let about = fields[name]["description"].as_str().unwrap_or_default().replace('\n', " ");
        assert!(!about.is_empty(), "`{name}` has no words in the schema: {schema}");
        let must = if needed(name) { ", needed" } else { "" };
        let _ = writeln!(out, "| `{name}` | {}{must} | {} |", kind(&fields[name]), about.replace('|', "\\|"));
    }
    out
}

fn written() -> String {
    let root = schema();
    let mut out = format!("{BEGIN}\n");
    for (name, title) in [("mirror", "`[mirror]`"), ("move", "`[move]`"), ("limits", "`[limits]`"), ("waves", "`[waves]`")] {
        let found = &root["properties"][name];
        let of = found["anyOf"].as_array().map_or(found, |kinds| kinds.iter().find(|one| one["type"] != "null").unwrap());
        let _ = write!(out, "### {title}\n\n{}\n", table(of));
    }
    let steps = root["properties"]["step"]["items"]["oneOf"].as_array().unwrap();
    let gate = &steps[0]["properties"]["gate"];
    let _ = write!(out, "### `[step.gate]`\n\n{}\n", table(gate));
    for action in ACTIONS {
        let needs = action.needs.map_or_else(String::new, |table| format!(" Needs `[{table}]`."));
        let waves = if action.on_hosts { " May go in waves." } else { "" };
        let mut about = action.about.to_owned();
        about[..1].make_ascii_uppercase();
        let _ = write!(out, "### `{}`\n\n{about}.{needs}{waves}\n\n{}\n", action.name, table(&(action.schema)().to_value()));
    }
    out + END
}

#[test]
fn the_documentation_has_every_action_with_its_parameters() {
    let text = fs::read_to_string(DOCS).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the place of the tables");
    let (_, after) = rest.split_once(END).expect("the end of the tables");
    let whole = format!("{before}{}{after}", written());
    if std::env::var_os("CASTOFF_WRITE_DOCS").is_some() {
        fs::write(DOCS, &whole).unwrap();
    }
    assert!(fs::read_to_string(DOCS).unwrap() == whole, "{DOCS} is old: CASTOFF_WRITE_DOCS=1 cargo test --test docs");
}

/// What in `value` the schema does not allow: the few words of JSON Schema that ours has, and no others.
fn against(schema: &Value, value: &Value, place: &str, out: &mut Vec<String>) {
    let Some(rules) = schema.as_object() else { return };
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("{other}"),
    };
    let own = |schema: &Value| {
        let mut found = vec![];
        against(schema, value, place, &mut found);
        found
    };
    for (word, rule) in rules {
        let mut no = |why: String| out.push(format!("{place}: {why}"));
        match word.as_str() {
            "$schema" | "title" | "description" | "default" | "format" | "pattern" => {}
            "type" => {
                let kinds: Vec<&str> = rule
                    .as_array()
                    .map_or_else(|| vec![rule.as_str().unwrap()], |all| all.iter().filter_map(Value::as_str).collect());
                if !kinds.into_iter().any(is) {
                    no(format!("{value} is no {rule}"));
                }
            }
            "const" if value != rule => no(format!("{value} is not {rule}")),
            "enum" if !rule.as_array().unwrap().contains(value) => no(format!("{value} is none of {rule}")),
            "const" | "enum" => {}
            "minimum" if value.as_f64().is_some_and(|n| n < rule.as_f64().unwrap()) => no(format!("{value} is below {rule}")),
            "maximum" if value.as_f64().is_some_and(|n| n > rule.as_f64().unwrap()) => no(format!("{value} is above {rule}")),
            "minimum" | "maximum" => {}
            "minItems" => {
                if value.as_array().is_some_and(|all| (all.len() as u64) < rule.as_u64().unwrap()) {
                    no(format!("fewer than {rule}"));
                }
            }
            "uniqueItems" => {}
            "required" => {
                for name in rule.as_array().unwrap().iter().filter(|name| value.get(name.as_str().unwrap()).is_none()) {
                    no(format!("has no {name}"));
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(inner) = value.get(name) {
                        against(rule, inner, &format!("{place}.{name}"), out);
                    }
                }
            }
            "additionalProperties" => {
                let known = |name: &String| rules.get("properties").is_some_and(|known| known.get(name).is_some());
                for (name, inner) in value.as_object().into_iter().flatten().filter(|(name, _)| !known(name)) {
                    if *rule == Value::Bool(false) {
                        out.push(format!("{place}: `{name}` is not known"));
                    } else {
                        against(rule, inner, &format!("{place}.{name}"), out);
                    }
                }
            }
            "items" => {
                for (n, inner) in value.as_array().into_iter().flatten().enumerate() {
                    against(rule, inner, &format!("{place}[{n}]"), out);
                }
            }
            "oneOf" | "anyOf" => {
                let all: Vec<Vec<String>> = rule.as_array().unwrap().iter().map(own).collect();
                let fit = all.iter().filter(|found| found.is_empty()).count();
                if fit == 0 || (word == "oneOf" && fit > 1) {
                    let nearest = all.iter().min_by_key(|found| found.len()).unwrap();
                    no(format!("{fit} of {word} fit; the nearest: {nearest:?}"));
                }
            }
            other => panic!("{place}: the schema has `{other}`, which this test does not know"),
        }
    }
}

fn problems(toml: &str) -> Vec<String> {
    let value = serde_json::to_value(toml.parse::<toml::Table>().unwrap()).unwrap();
    let mut out = vec![];
    against(&schema(), &value, "runbook", &mut out);
    out
}

/// The blocks of TOML that are whole runbooks.
fn shown(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks
        .filter(|block| {
            block.contains("[[step]]") && block.contains("\nname = ")
                || block.starts_with("name = ") && block.contains("[[step]]")
        })
        .collect()
}

#[test]
fn every_runbook_that_is_shipped_or_shown_holds_to_the_schema() {
    let mut all: Vec<(String, String)> = SHIPPED.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    all.push(("own".to_owned(), fs::read_to_string("tests/crash/own.toml").unwrap()));
    for path in ["README.md", DOCS] {
        let found = shown(path);
        assert!(!found.is_empty(), "{path} shows no runbook");
        all.extend(found.into_iter().map(|text| (path.to_owned(), text)));
    }
    for (name, text) in all {
        Runbook::parse(&name, &text, &[]).unwrap_or_else(|mistake| panic!("{mistake}"));
        assert_eq!(problems(&text), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_schema_refuses_what_castoff_refuses() {
    let good = "name = 'a'\ntitle = 'b'\n[mirror]\nurl = 'https://m.example'\n[[step]]\nid = 'x'\naction = 'mirror-docker'\n";
    assert_eq!(problems(good), Vec::<String>::new());
    let check = |from: &str, to: &str| {
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        assert_ne!(problems(&bad), Vec::<String>::new(), "{bad}");
        assert!(Runbook::parse("bad", &bad, &[]).is_err(), "{bad}");
    };
    check("'mirror-docker'", "'miror-docker'");
    check("id = 'x'\n", "");
    check("action = 'mirror-docker'\n", "");
    check("action = 'mirror-docker'\n", "action = 'mirror-docker'\nothers = 'remove'\n");
    check("action = 'mirror-docker'\n", "action = 'write-file'\n");
    check("action = 'mirror-docker'\n", "action = 'check-units'\nunits = 'docker'\n");
    check("action = 'mirror-docker'\n", "action = 'mirror-docker'\n[step.gate]\nask = 'no'\n");
    check("url = ", "uri = ");
    check("title = 'b'\n", "");
    check("[mirror]", "[limit]\ntotal = 3\n[mirror]");
}
