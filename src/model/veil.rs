//! Hides the secrets of a configuration text, and fills them in again: what is kept and shown never holds one.
//! It never decides what a file means, only which of its bytes may be seen; in doubt it hides more.
//!
//! Three markers stand for what is not shown:
//!
//! | marker | filled with |
//! |---|---|
//! | `(hidden N)` | the bytes that [`veil`] took from there, exactly |
//! | `(secret NAME)` | the secret of that name (letters, digits, `-`, `_`, `.`), escaped where it stands in double quotes |
//! | `(basic USER NAME)` | `Basic ` and base64 of `USER:secret`; made by [`basic`], which writes odd characters of USER as `%2F` |
//!
//! A marker belongs where [`veil`] hides: a secret filled in under a key that names none would be read back in the open.

mod find;
#[cfg(test)]
mod tests;
mod view;

use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    fmt::{self, Write},
    ops::Range,
};
use view::{Kind, View};

/// A text without its secrets, and the secrets in their order. It is never stored whole, and its `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Veiled {
    pub text: String,
    /// As they stood in the text: the first is that of `(hidden 1)`.
    pub values: Vec<String>,
}

impl fmt::Debug for Veiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Veiled").field("text", &self.text).field("values", &self.values.len()).finish()
    }
}

/// Puts `(hidden 1)`, `(hidden 2)`, … for the secrets of a JSON, TOML or ini-like text: values of keys that name one,
/// passwords in URLs, and whatever already reads like a marker, so that it survives.
pub fn veil(text: &str) -> Veiled {
    let (mut out, mut values, mut from) = (String::with_capacity(text.len()), vec![], 0);
    for range in find::secrets(text) {
        values.push(text[range.clone()].to_owned());
        let _ = write!(out, "{}(hidden {})", &text[from..range.start], values.len());
        from = range.end;
    }
    out.push_str(&text[from..]);
    Veiled { text: out, values }
}

/// Fills every marker; one that cannot be filled is an error that names it and holds no secret.
pub fn unveil(text: &str, values: &[String], secret: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let markers = markers(text);
    let quoted = if markers.is_empty() { vec![] } else { view::quoted(text) };
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for (range, marker) in markers {
        let shown = super::text::clean(&text[range.clone()]);
        let named = |name: &str| secret(name).ok_or_else(|| format!("no secret is named `{name}`, as `{shown}` asks"));
        let filled = match marker {
            Marker::Hidden(n) => {
                let value = n.checked_sub(1).and_then(|n| values.get(n));
                value.cloned().ok_or_else(|| format!("`{shown}` stands for nothing: the file hides {}", values.len()))?
            }
            Marker::Secret(name) => {
                let kind =
                    quoted.iter().find(|(span, _)| span.start <= range.start && range.end <= span.end).map(|(_, kind)| *kind);
                fitted(&named(name)?, kind).map_err(|why| format!("`{shown}` cannot be filled: the secret {why}"))?
            }
            Marker::Basic(user, name) if user.contains(':') => {
                return Err(format!(
                    "`{shown}` cannot be filled: a user name with `:` and a password from `{name}` cannot be told apart"
                ));
            }
            Marker::Basic(user, name) => format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", named(name)?))),
            Marker::Unknown => return Err(format!("`{shown}` is no marker that is known")),
        };
        out.push_str(&text[from..range.start]);
        out.push_str(&filled);
        from = range.end;
    }
    out.push_str(&text[from..]);
    Ok(out)
}

/// The marker of a header of HTTP basic authentication; USER is any text without `:`.
pub fn basic(user: &str, secret: &str) -> String {
    let mut out = "(basic ".to_owned();
    for byte in user.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'$' | b'@' | b'+' => out.push(byte.into()),
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    format!("{out} {secret})")
}

/// Whether two texts are the same but for their secrets: every marker counts as every other, and so does what only a
/// filled and veiled text hides (`Bearer (secret hub)` is read back as `(hidden 1)`).
pub fn same(a: &str, b: &str) -> bool {
    a == b || bare(a) == bare(b) || bare(&veil(a).text) == bare(&veil(b).text)
}

/// Whether a text is filled with a named secret, of which nobody can tell by the text whether it is the same.
pub fn names_secret(text: &str) -> bool {
    markers(text).iter().any(|(_, marker)| matches!(marker, Marker::Secret(_) | Marker::Basic(..)))
}

fn bare(text: &str) -> String {
    let (mut out, mut from) = (String::new(), 0);
    for (range, _) in markers(text) {
        out.push_str(&text[from..range.start]);
        out.push_str("(hidden)");
        from = range.end;
    }
    out + &text[from..]
}

enum Marker<'t> {
    Hidden(usize),
    Secret(&'t str),
    Basic(String, &'t str),
    /// Begins like one.
    Unknown,
}

/// How a marker begins. Nothing else in a veiled text begins so.
const BEGINS: [&str; 3] = ["(hidden ", "(secret ", "(basic "];
/// Longer ones are none.
const LONGEST: usize = 600;

/// Everything that begins like a marker: to its `)`, or its beginning alone.
fn markers(text: &str) -> Vec<(Range<usize>, Marker<'_>)> {
    let mut out = vec![];
    let mut at = 0;
    while let Some(found) = text[at..].find('(') {
        let start = at + found;
        at = start + 1;
        let Some(begin) = BEGINS.iter().find(|begin| text[start..].starts_with(*begin)) else { continue };
        let inner = start + begin.len();
        let end = text[inner..]
            .bytes()
            .take(LONGEST)
            .position(|byte| matches!(byte, b')' | b'(' | b'"' | b'\'' | b'\\' | b'\n' | b'\r'));
        match end.map(|end| inner + end) {
            Some(end) if text.as_bytes()[end] == b')' => {
                out.push((start..end + 1, marker(begin, &text[inner..end])));
                at = end + 1;
            }
            _ => {
                out.push((start..inner, Marker::Unknown));
                at = inner;
            }
        }
    }
    out
}

fn marker<'t>(begin: &str, inner: &'t str) -> Marker<'t> {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    match begin {
        "(hidden " if inner.bytes().all(|byte| byte.is_ascii_digit()) && !inner.starts_with('0') => {
            inner.parse().map_or(Marker::Unknown, Marker::Hidden)
        }
        "(secret " if is_name(inner) => Marker::Secret(inner),
        "(basic " => match inner.split_once(' ') {
            Some((user, name)) if is_name(name) => plain(user).map_or(Marker::Unknown, |user| Marker::Basic(user, name)),
            _ => Marker::Unknown,
        },
        _ => Marker::Unknown,
    }
}

/// `%2F` as `/`.
fn plain(user: &str) -> Option<String> {
    let mut out = vec![];
    let mut bytes = user.bytes();
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        out.push(match byte {
            b'%' => u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?,
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// The value as the place needs it: escaped in double quotes; elsewhere as it is, where it can stand there at all.
fn fitted(value: &str, kind: Option<Kind>) -> Result<String, &'static str> {
    match kind {
        Some(Kind::Double) => {
            let mut out = String::new();
            for c in value.chars() {
                match c {
                    '"' | '\\' => out.extend(['\\', c]),
                    c if c.is_control() => drop(write!(out, "\\u{:04X}", u32::from(c))),
                    c => out.push(c),
                }
            }
            Ok(out)
        }
        _ if value.contains(char::is_control) => Err("holds a control character, which only a text in double quotes can write"),
        Some(Kind::Single) if value.contains('\'') => Err("holds `'` and stands in single quotes"),
        _ => Ok(value.to_owned()),
    }
}
