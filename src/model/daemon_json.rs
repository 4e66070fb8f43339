//! Docker's `daemon.json`: one key set or taken out, and every other byte as it was; its mirrors, read as the engine does.
//! It never repairs a file that it cannot read.

mod lint;
mod mirror;
#[cfg(test)]
mod tests;

pub use super::json_bytes::Flaw;
use super::json_bytes::{BOM, Object, elements, object};
pub use lint::{Finding, Matters, lint, log_level, reload_drops_insecure};
pub use mirror::{Release, valid_mirror};
use serde_json::{Map, Value};
use std::ops::Range;

/// The key that all this is about.
pub const MIRRORS: &str = "registry-mirrors";

/// The text with these mirrors and no others; for no file, or an empty one, a new text.
pub fn merge(text: Option<&str>, mirrors: &[String]) -> Result<String, Flaw> {
    set_key(text, MIRRORS, &Value::from(mirrors))
}

/// The text with a key of its object set: replaced in its place, or added at the end, in the file's own style.
pub fn set_key(text: Option<&str>, key: &str, value: &Value) -> Result<String, Flaw> {
    let Some(text) = text.filter(|text| !is_empty(text)) else {
        return Ok(format!("{{\n    {}: {}\n}}\n", Value::from(key), one_line(value, ", ")));
    };
    let before = object(text)?;
    let after = match before.members.iter().find(|member| member.name == key) {
        Some(member) if before.value.get(key) == Some(value) => {
            return Ok(replaced(text, &member.value, &text[member.value.clone()]));
        }
        Some(member) => replaced(text, &member.value, &in_style(text, &before, &member.value, value)),
        None => added(text, &before, key, value),
    };
    let mut wanted = before.value;
    wanted.insert(key.to_owned(), value.clone());
    proven(after, &wanted)
}

/// The text without a key of its object.
pub fn remove_key(text: &str, key: &str) -> Result<String, Flaw> {
    if is_empty(text) {
        return Ok(text.to_owned());
    }
    let before = object(text)?;
    let Some(n) = before.members.iter().position(|member| member.name == key) else { return Ok(text.to_owned()) };
    let (members, this) = (&before.members, &before.members[n]);
    let gone = match (n.checked_sub(1), members.get(n + 1)) {
        (_, Some(next)) => this.key.start..next.key.start,
        (Some(last), None) => members[last].value.end..this.value.end,
        (None, None) => before.open..this.value.end,
    };
    let mut wanted = before.value;
    wanted.shift_remove(key);
    proven(replaced(text, &gone, ""), &wanted)
}

/// The mirrors that a file asks for, each with its closing `/` and once, as the engine lists them.
pub fn mirrors(text: &str) -> Result<Vec<String>, Flaw> {
    if is_empty(text) {
        return Ok(vec![]);
    }
    let read = object(text)?;
    let Some(member) = read.members.iter().find(|member| member.name == MIRRORS) else { return Ok(vec![]) };
    let wrong =
        |at: usize| Flaw::at(text, at, format!("`{MIRRORS}` is no list of texts"), "write `[\"https://mirror.example\"]`");
    let list = match &read.value[MIRRORS] {
        Value::Null => return Ok(vec![]),
        Value::Array(list) => list,
        _ => return Err(wrong(member.value.start)),
    };
    let mut out: Vec<String> = vec![];
    for (one, place) in list.iter().zip(elements(text, &member.value)) {
        let one = one.as_str().ok_or_else(|| wrong(place.start))?;
        let one = format!("{}/", one.strip_suffix('/').unwrap_or(one));
        if !out.contains(&one) {
            out.push(one);
        }
    }
    Ok(out)
}

/// Nothing but white space: newer engines take it for `{}`.
fn is_empty(text: &str) -> bool {
    text.strip_prefix(BOM).unwrap_or(text).trim().is_empty()
}

/// A real reader must find in the new text what was wanted, in that order, and nothing else.
fn proven(after: String, wanted: &Map<String, Value>) -> Result<String, Flaw> {
    let read = object(&after)?.value;
    if read == *wanted && read.keys().eq(wanted.keys()) {
        return Ok(after);
    }
    Err(Flaw::at(&after, 0, "would not read as it should after the change", "edit the file by hand"))
}

fn replaced(text: &str, range: &Range<usize>, with: &str) -> String {
    [&text[..range.start], with, &text[range.end..]].concat()
}

fn one_line(value: &Value, comma: &str) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(Value::to_string).collect::<Vec<_>>().join(comma)),
        other => other.to_string(),
    }
}

/// How lists of this file separate on one line: minified files have no space.
fn comma(text: &str, object: &Object) -> &'static str {
    let roomy = |member: &super::json_bytes::Member| !text[member.key.end..member.value.start].ends_with(':');
    if object.members.is_empty() || object.members.iter().any(roomy) { ", " } else { "," }
}

/// A value in the style of the one that it replaces.
fn in_style(text: &str, object: &Object, old: &Range<usize>, value: &Value) -> String {
    let new = match value {
        Value::Array(list) if !list.is_empty() && text[old.clone()].starts_with('[') => list,
        other => return one_line(other, comma(text, object)),
    };
    let places = elements(text, old);
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return one_line(value, comma(text, object)) };
    let (lead, tail) = (&text[old.start + 1..first.start], &text[last.end..old.end - 1]);
    let between = match places.get(1) {
        Some(second) => text[first.end..second.start].to_owned(),
        None if lead.contains('\n') => format!(",{lead}"),
        None => comma(text, object).to_owned(),
    };
    let list: Vec<_> = new.iter().map(Value::to_string).collect();
    format!("[{lead}{}{tail}]", list.join(&between))
}

fn added(text: &str, object: &Object, key: &str, value: &Value) -> String {
    let key = Value::from(key);
    let Some(last) = object.members.last() else {
        let line = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let member = format!("{line}    {key}: {}{line}", one_line(value, ", "));
        return replaced(text, &(object.open..object.close), &member);
    };
    // What stands between this member and what is before it: the file's own indentation.
    let from = text[..last.key.start].rfind(|c: char| !matches!(c, ' ' | '\t' | '\r' | '\n')).map_or(0, |n| n + 1);
    let lead = &text[from..last.key.start];
    let lead = match lead.rfind('\n') {
        Some(n) if lead[..n].ends_with('\r') => &lead[n - 1..],
        Some(n) => &lead[n..],
        None if lead.is_empty() => comma(text, object).trim_start_matches(','),
        None => lead,
    };
    let colon = &text[last.key.end..last.value.start];
    let colon = if colon.contains('\n') { ": " } else { colon };
    let member = format!(",{lead}{key}{colon}{}", one_line(value, comma(text, object)));
    replaced(text, &(last.value.end..last.value.end), &member)
}
