//! Where the secrets of a text stand. What is whole JSON or TOML is read exactly; of anything else more is hidden.
//! It never fails: a text that nobody could read is hidden from the key to the end of its line.

use super::{
    View, markers,
    view::{Kind, line_end, spans, string},
};
use std::ops::Range;

/// Parts of names whose values are secrets; names are compared in small letters without what joins words.
const SECRET: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "auth",
    "credential",
    "accesskey",
    "apikey",
    "privatekey",
    "cookie",
    "bearer",
];
/// Parts of names that hold such a part and no secret.
const OPEN: [&str; 4] = ["authorizationplugins", "authorizationplugin", "credentialhelpers", "credentialhelper"];
/// Whole names that are no secret even inside a secret table.
const WHO: [&str; 4] = ["username", "user", "email", "serveraddress"];
/// How names end whose values are paths, if they read like one.
const PATHS: [&str; 5] = ["file", "path", "dir", "folder", "filename"];

/// Byte ranges in order, none of which overlaps another, none empty.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let view = View::of(text);
    let whole = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json = serde_json::from_str::<serde::de::IgnoredAny>(whole).is_ok();
    let known = json || toml::from_str::<toml::Table>(whole).is_ok();
    let spans = if known { spans(&view.chars) } else { vec![] };
    let mut finder = Finder { odd: odd(&view.chars), chars: &view.chars, json, known, spans, found: vec![] };
    finder.keys();
    finder.urls();
    let mut found: Vec<_> = finder.found.iter().map(|range| view.bytes(range)).collect();
    found.extend(markers(text).into_iter().map(|(range, _)| range));
    found.sort_by_key(|range| (range.start, range.end));
    let mut out: Vec<Range<usize>> = vec![];
    for range in found {
        match out.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ if range.is_empty() => {}
            _ => out.push(range),
        }
    }
    out
}

/// For each place, whether the rest of its line holds an odd number of `"` (bit 1) and of `'` (bit 2).
fn odd(chars: &[char]) -> Vec<u8> {
    let mut out = vec![0; chars.len() + 1];
    for (i, c) in chars.iter().enumerate().rev() {
        out[i] = match c {
            '\n' => 0,
            '"' => out[i + 1] ^ 1,
            '\'' => out[i + 1] ^ 2,
            _ => out[i + 1],
        };
    }
    out
}

struct Finder<'t> {
    chars: &'t [char],
    odd: Vec<u8>,
    json: bool,
    /// JSON or TOML without a fault: strings end where they seem to.
    known: bool,
    spans: Vec<(Range<usize>, Kind)>,
    found: Vec<Range<usize>>,
}

impl Finder<'_> {
    fn keys(&mut self) {
        let mut in_secret_table = false;
        let mut i = 0;
        // In a broken text nobody knows what belongs to a value: the keys that seem to stand in one are looked at too.
        let mut in_value = 0;
        while i < self.chars.len() {
            if !self.json && (i == 0 || self.chars[i - 1] == '\n') {
                in_secret_table = self.table(i).unwrap_or(in_secret_table);
            }
            let c = self.chars[i];
            let end = match c {
                ':' | '=' if self.is_secret_key(i, in_secret_table) => {
                    let value = self.past(i + 1, |c| c == ' ' || c == '\t');
                    // Of such a key all of its line, and no more: a long text would take for ever.
                    Some(if i < in_value { self.rest_of_line(value) } else { self.value(i, i + 1, &self.name_before(i).0) })
                }
                '"' | '\'' if !self.known && i >= in_value => self.no_separator(i),
                _ => None,
            };
            i = match end {
                Some(end) if !self.known && i >= in_value => {
                    in_value = end;
                    i + 1
                }
                end => end.unwrap_or(i + 1).max(i + 1),
            };
        }
    }

    /// Of a line `[a.auth."host"]`, whether the table is a secret one. Names in quotes are those of hosts and plugins.
    fn table(&self, start: usize) -> Option<bool> {
        let line: String = self.chars[start..line_end(self.chars, start)].iter().collect();
        let line = line.trim_start_matches('\u{feff}').trim();
        let inner = line.strip_prefix('[')?;
        let mut quote = None;
        let mut name = String::new();
        for c in inner.chars() {
            match (c, quote) {
                (']', None) => return Some(is_secret(&name)),
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (c, None) => name.push(c),
                _ => {}
            }
        }
        None
    }

    /// Whether a key whose value is secret ends at this separator.
    fn is_secret_key(&self, at: usize, in_secret_table: bool) -> bool {
        let (name, start) = self.name_before(at);
        let secret = is_secret(&name) || in_secret_table && !name.is_empty() && !is_who(&name);
        secret && !self.is_address(at, start, &name)
    }

    /// `"password" "x"`, in a broken text.
    fn no_separator(&mut self, at: usize) -> Option<usize> {
        let (name, _) = self.name_before(at + 1);
        let next = self.past(at + 1, char::is_whitespace);
        let follows = next > at + 1 && matches!(self.chars.get(next), Some('"' | '\''));
        (follows && is_secret(&name)).then(|| self.value(at, at + 1, &name))
    }

    /// The name that ends before a place, and where it begins. Quoted parts of a dotted name, but for the last, are left out.
    fn name_before(&self, at: usize) -> (String, usize) {
        let back =
            |end: usize, take: &dyn Fn(char) -> bool| self.chars[..end].iter().rposition(|c| !take(*c)).map_or(0, |n| n + 1);
        let mut end = back(at, &char::is_whitespace);
        let mut name = String::new();
        let mut first = true;
        for _ in 0..16 {
            let Some(last) = end.checked_sub(1).map(|n| self.chars[n]) else { break };
            let start = if matches!(last, '"' | '\'') {
                let start = back(end - 1, &|c| c != last && c != '\n');
                if first {
                    name = self.chars[start..end - 1].iter().collect();
                }
                if start == 0 || self.chars[start - 1] != last {
                    return (name, start);
                }
                start - 1
            } else {
                let start = back(end, &|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
                name = self.chars[start..end].iter().collect::<String>() + &name;
                if start == end || self.chars[start] != '.' {
                    return (name, start);
                }
                start
            };
            first = false;
            end = start;
        }
        (name, end)
    }

    /// `auth.example:5000`, `https://token.example`: a host and its port, a scheme.
    fn is_address(&self, at: usize, start: usize, name: &str) -> bool {
        if self.chars[at] != ':' {
            return false;
        }
        let next = |n: usize| self.chars.get(at + n).copied();
        if (next(1), next(2)) == (Some('/'), Some('/')) {
            return true;
        }
        let end = self.past(at + 1, |c| c.is_ascii_digit());
        let is_port =
            (2..=6).contains(&(end - at)) && !matches!(self.chars.get(end), Some(c) if c.is_alphanumeric() || *c == '@');
        let in_url = start >= 2 && self.chars[start - 2..start] == ['/', '/'];
        is_port && (in_url || self.inside(at).is_some() && name.contains('.'))
    }

    /// The string or comment around a place.
    fn span(&self, at: usize) -> Option<&(Range<usize>, Kind)> {
        let n = self.spans.partition_point(|(span, _)| span.end <= at);
        self.spans.get(n).filter(|(span, _)| span.start <= at)
    }

    /// Where the string around a place ends.
    fn inside(&self, at: usize) -> Option<usize> {
        self.span(at).filter(|(_, kind)| *kind != Kind::Comment).map(|(span, _)| span.end)
    }

    fn past(&self, from: usize, take: impl Fn(char) -> bool) -> usize {
        self.chars[from..].iter().position(|c| !take(*c)).map_or(self.chars.len(), |n| from + n)
    }

    /// Hides the value that begins at or behind `from`; gives where it ends.
    fn value(&mut self, separator: usize, from: usize, name: &str) -> usize {
        let blank = |c: char| c.is_whitespace() && c != '\n';
        let mut i = self.past(from, blank);
        if let Some((span, kind)) = self.span(separator).cloned() {
            let end = if kind == Kind::Comment { self.trimmed(i, span.end) } else { span.end };
            if i < end && !self.is_path(name, self.past(i, |c| matches!(c, '"' | '\'' | '\\'))) {
                self.found.push(i..end);
            }
            return span.end;
        }
        while i < self.chars.len() {
            match self.chars[i] {
                '\n' => {
                    let next = self.past(i, char::is_whitespace);
                    let opens = matches!(self.chars.get(next), Some('"' | '\'' | '[' | '{'));
                    if !opens && self.chars[separator] == '=' {
                        return i;
                    }
                    i = next;
                }
                // A comment where only a broken text has one; the value may still come.
                '#' | '/' if !self.known && !self.is_path(name, i) => {
                    i = self.rest_of_line(i);
                }
                quote @ ('"' | '\'') => {
                    let (inner, after) = string(self.chars, i, false);
                    if self.is_path(name, inner.start) {
                        return after;
                    }
                    let bit = if quote == '"' { 1 } else { 2 };
                    let next = self.chars.get(self.past(after, blank));
                    let closed = matches!(next, None | Some('\n' | ',' | '}' | ']' | '#' | ';')) && self.odd[after] & bit == 0;
                    if self.known || closed {
                        self.found.push(inner);
                        return after;
                    }
                    let end = self.trimmed(inner.start, line_end(self.chars, after));
                    self.found.push(inner.start..end);
                    return end;
                }
                '[' | '{' => return self.group(i),
                _ => return self.word(i, name),
            }
        }
        i
    }

    /// Everything in brackets but names of keys and what merely says who.
    fn group(&mut self, start: usize) -> usize {
        let (mut depth, mut who) = (0usize, false);
        let mut i = start;
        while i < self.chars.len() {
            let (inner, after) = match self.chars[i] {
                '[' | '{' => {
                    depth += 1;
                    (i..i, i + 1)
                }
                ']' | '}' => {
                    depth -= 1;
                    if depth == 0 {
                        return i + 1;
                    }
                    (i..i, i + 1)
                }
                ',' | ':' | '=' => (i..i, i + 1),
                c if c.is_whitespace() => (i..i, i + 1),
                '"' | '\'' => string(self.chars, i, false),
                '#' => (i..line_end(self.chars, i), line_end(self.chars, i)),
                _ => {
                    let end = self.past(i, |c| !c.is_whitespace() && !",:=[]{}\"'".contains(c));
                    (i..end, end)
                }
            };
            i = after;
            if inner.is_empty() {
                continue;
            }
            let next = self.past(after, char::is_whitespace);
            let text: String = self.chars[inner.clone()].iter().collect();
            if self.known && matches!(self.chars.get(next), Some(':' | '=')) {
                who = is_who(&text);
            } else if !std::mem::take(&mut who) && !is_literal(&text) {
                self.found.push(inner);
            }
        }
        i
    }

    fn word(&mut self, start: usize, name: &str) -> usize {
        let end = self.past(start, |c| !c.is_whitespace() && !matches!(c, ',' | ']' | '}'));
        let text: String = self.chars[start..end].iter().collect();
        let alone =
            matches!(self.chars.get(self.past(end, |c| matches!(c, ' ' | '\t' | '\r'))), None | Some('\n' | ',' | ']' | '}'));
        if is_literal(&text) && alone || self.is_path(name, start) {
            return end;
        }
        if self.known {
            self.found.push(start..end);
            return end;
        }
        self.rest_of_line(start)
    }

    /// Hides to the end of the line, and of those that a backslash joins to it.
    fn rest_of_line(&mut self, start: usize) -> usize {
        let mut end = line_end(self.chars, start);
        loop {
            let trimmed = self.trimmed(start, end);
            if end < self.chars.len() && trimmed > start && self.chars[trimmed - 1] == '\\' {
                end = line_end(self.chars, end + 1);
            } else {
                self.found.push(start..trimmed);
                return end;
            }
        }
    }

    fn trimmed(&self, start: usize, end: usize) -> usize {
        self.chars[start..end].iter().rposition(|c| !c.is_whitespace()).map_or(start, |n| start + n + 1)
    }

    /// `token-file = "/run/token"`.
    fn is_path(&self, name: &str, value: usize) -> bool {
        let name = flat(name);
        let value: String = self.chars[value..].iter().take(3).collect();
        PATHS.iter().any(|end| name.ends_with(end)) && ["/", "~/", "./", "../"].iter().any(|begin| value.starts_with(begin))
    }

    /// Passwords in URLs: from the first `:` to the last `@`, as odd as they may be.
    fn urls(&mut self) {
        let (mut run, mut last) = (0, 0);
        for i in 0..self.chars.len().saturating_sub(2) {
            if self.chars[i..i + 3] != [':', '/', '/'] {
                continue;
            }
            let from = i + 3;
            if run <= from {
                let outside = |finder: &Self| finder.past(from, |c| !c.is_whitespace() && c != '"');
                run = self.inside(i).unwrap_or_else(|| outside(self));
                last = (from..run).rev().find(|at| self.chars[*at] == '@' && !self.is_digest(at + 1)).unwrap_or(0);
            }
            if last <= from {
                continue;
            }
            let until = |stops: &str| (from..last).find(|at| stops.contains(self.chars[*at])).unwrap_or(last);
            let colon = until(":");
            let scheme: String = self.name_before(i).0;
            if colon < last {
                // A second URL before the `@`: the password is that one's.
                if self.chars[colon..].starts_with(&[':', '/', '/']) {
                    continue;
                }
                self.found.push(colon + 1..last);
            } else if until("/?#") == last && scheme.to_ascii_lowercase().starts_with("http") {
                self.found.push(from..last);
            }
        }
    }

    fn is_digest(&self, at: usize) -> bool {
        self.chars[at..].starts_with(&['s', 'h', 'a', '2', '5', '6', ':'])
            || self.chars[at..].starts_with(&['s', 'h', 'a', '5', '1', '2', ':'])
    }
}

fn flat(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_who(name: &str) -> bool {
    WHO.contains(&flat(name.rsplit('.').next().unwrap_or(name)).as_str())
}

fn is_secret(name: &str) -> bool {
    let flat = OPEN.iter().fold(flat(name), |flat, open| flat.replace(open, ""));
    !is_who(name) && SECRET.iter().any(|part| flat.contains(part))
}

/// What is no secret and would be no text either.
fn is_literal(text: &str) -> bool {
    matches!(text, "true" | "false" | "null")
}
