//! A JSON object as bytes: where its members stand, so that one can be changed and every other byte stays.
//! It never repairs: what is no object, or names a key twice, is refused with its place.

use super::text;
use serde_json::Value;
use std::{collections::BTreeSet, fmt, ops::Range};

/// Why a text cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub why: String,
    pub hint: Option<String>,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.why)
    }
}

impl Flaw {
    /// `at`: bytes from the start.
    pub(super) fn at(text: &str, at: usize, why: impl Into<String>, hint: &str) -> Self {
        let at = text.floor_char_boundary(at.min(text.len()));
        let line_start = text[..at].rfind('\n').map_or(0, |n| n + 1);
        let column = text[line_start..at].trim_start_matches(BOM).chars().count() + 1;
        let line = text[..line_start].matches('\n').count() + 1;
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Self { line, column, why: text::clean(&why.into()), hint }
    }
}

pub(super) const BOM: char = '\u{feff}';

/// One member; ranges are bytes of the whole text.
pub(super) struct Member {
    pub name: String,
    /// With its quotes.
    pub key: Range<usize>,
    pub value: Range<usize>,
}

pub(super) struct Object {
    /// Behind `{`.
    pub open: usize,
    /// Before `}`.
    pub close: usize,
    pub members: Vec<Member>,
    pub value: serde_json::Map<String, Value>,
}

/// Reads a text that is one JSON object, with or without a byte order mark.
pub(super) fn object(text: &str) -> Result<Object, Flaw> {
    let body = text.strip_prefix(BOM).unwrap_or(text);
    let value = match serde_json::from_str(body) {
        Ok(Value::Object(value)) => value,
        Ok(_) => return Err(Flaw::at(text, start(text), "is JSON, but no object: `{` is missing", "")),
        Err(error) => return Err(flaw(text, &error)),
    };
    let open = start(text) + 1;
    let (mut members, mut names) = (vec![], BTreeSet::new());
    let mut at = blank(text, open);
    while !text[at..].starts_with('}') {
        let key = at..past(text, at);
        let name: String = serde_json::from_str(&text[key.clone()]).map_err(|error| flaw(text, &error))?;
        if !names.insert(name.clone()) {
            let hint = "the engine takes the last one without a word: leave one of them";
            return Err(Flaw::at(text, at, format!("the key `{name}` stands there twice"), hint));
        }
        let colon = blank(text, key.end);
        let begin = blank(text, colon + 1);
        let end = past(text, begin);
        members.push(Member { name, key, value: begin..end });
        at = blank(text, end);
        if text[at..].starts_with(',') {
            at = blank(text, at + 1);
        }
    }
    Ok(Object { open, close: at, members, value })
}

/// The elements of a list that is known to be well-formed; `list` includes its brackets.
pub(super) fn elements(text: &str, list: &Range<usize>) -> Vec<Range<usize>> {
    let mut out = vec![];
    let mut at = blank(text, list.start + 1);
    while at + 1 < list.end {
        let end = past(text, at);
        out.push(at..end);
        at = blank(text, end);
        at = if text[at..].starts_with(',') { blank(text, at + 1) } else { list.end };
    }
    out
}

fn start(text: &str) -> usize {
    blank(text, if text.starts_with(BOM) { BOM.len_utf8() } else { 0 })
}

/// Past white space.
fn blank(text: &str, from: usize) -> usize {
    text[from..].bytes().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).map_or(text.len(), |n| from + n)
}

/// Past one value of a well-formed text.
fn past(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut quoted) = (from, 0usize, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => {
                quoted = !quoted;
                if !quoted && depth == 0 {
                    return at + 1;
                }
            }
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth == 0 => return at,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at.min(bytes.len())
}

/// What the reader found wrong, in words for whoever wrote the file by hand.
fn flaw(text: &str, error: &serde_json::Error) -> Flaw {
    let body = if text.starts_with(BOM) { BOM.len_utf8() } else { 0 };
    let line_start = match error.line() {
        0 | 1 => body,
        line => text.match_indices('\n').nth(line - 2).map_or(text.len(), |(n, _)| n + 1),
    };
    let at = text.floor_char_boundary((line_start + error.column().saturating_sub(1)).min(text.len()));
    let rest = &text[at..];
    let before = text[..at].trim_end_matches([' ', '\t', '\n', '\r']);
    let is_smart = |c: char| matches!(c, '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}');
    if error.is_eof() {
        return Flaw::at(text, text.len(), "ends too early", "a bracket or a quote is not closed");
    }
    if rest.starts_with(is_smart) {
        let quote = rest.chars().next().unwrap_or_default();
        return Flaw::at(text, at, format!("`{quote}` is no quote of JSON"), "an editor made it: write a plain `\"`");
    }
    if rest.starts_with(['}', ']']) && before.ends_with(',') {
        return Flaw::at(
            text,
            before.len() - 1,
            "a comma stands before the closing bracket",
            "take it out: JSON allows none there",
        );
    }
    if rest.starts_with('#') || rest.starts_with("//") || rest.starts_with("/*") {
        return Flaw::at(text, at, "a comment stands there", "take it out: JSON has no comments");
    }
    if rest.starts_with('\'') {
        return Flaw::at(text, at, "`'` is no quote of JSON", "write `\"`");
    }
    if rest.starts_with('"') && before.ends_with(['"', ']', '}']) {
        return Flaw::at(text, at, "a comma or a colon is missing before it", "");
    }
    // The reader's words without its place, which counts bytes.
    let why = error.to_string();
    let why = why.split(" at line ").next().unwrap_or_default();
    Flaw::at(text, at, format!("is no JSON: {why}"), "")
}
