//! Errors of the cluster file, shown in the file: line, column, the line itself, a hint.
//! A secret that stands in the file by mistake is never shown: its characters are starred out.

use crate::model::{place::meant, text};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::{fmt, ops::Range, path::Path};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Complete for people, over several lines: what is wrong, where, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    text: String,
}

impl ConfigError {
    pub(super) fn new(text: String) -> Self {
        Self { text }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ConfigError {}

/// Something wrong with a value, found by its path: keys, and numbers for the members of an array.
pub(super) struct Problem {
    pub path: Vec<String>,
    pub message: String,
    pub hint: String,
}

/// Fields whose value says where a secret is.
const SECRETS: [&str; 3] = ["password", "token", "secrets"];

/// A cluster file as text.
pub(super) struct Place<'a> {
    pub text: &'a str,
    pub origin: &'a Path,
}

impl Place<'_> {
    /// All problems at once, or none.
    pub(super) fn refuse(&self, table: &DeTable, problems: &[Problem]) -> Result<(), ConfigError> {
        let show = |problem: &Problem| self.show(span(table, &problem.path), &problem.message, Some(&problem.hint));
        let shown: Vec<String> = problems.iter().map(show).collect();
        if shown.is_empty() { Ok(()) } else { Err(ConfigError::new(shown.join("\n\n"))) }
    }

    /// An error of the parser: its message, and a guess what was meant.
    pub(super) fn syntax_error(&self, error: &toml::de::Error) -> ConfigError {
        let message = text::clean(&masked_url(error.message()));
        let word = meant(&message);
        let hint = word.map(|word| format!("did you mean `{word}`?"));
        // Where a password may stand, or a section, a field that nobody knows may be a misspelt one; unless it is clear which
        // other field was meant.
        let other = word.is_some_and(|word| !SECRETS.contains(&word));
        let may_be =
            message.starts_with("unknown field") && ["`password`", "`token`", "`etcd`"].iter().any(|w| message.contains(w));
        let unknown = error.span().filter(|_| may_be && !other);
        let source = unknown.map_or_else(|| self.text.to_owned(), |span| without_value(self.text, span.start));
        let place = Place { text: &source, origin: self.origin };
        ConfigError::new(place.show(error.span(), &message, hint.as_deref()))
    }

    fn show(&self, span: Option<Range<usize>>, message: &str, hint: Option<&str>) -> String {
        let origin = text::clean(&self.origin.display().to_string());
        let source = masked(self.text);
        let span = first_line(&source, span.unwrap_or(0..0));
        let snippet = Snippet::source(&source).path(&origin).annotation(AnnotationKind::Primary.span(span));
        let mut group = Level::ERROR.no_name().primary_title(text::clean(message)).element(snippet);
        if let Some(hint) = hint {
            group = group.element(Level::HELP.with_name("hint").message(hint));
        }
        Renderer::plain().render(&[group]).trim_end().to_owned()
    }
}

/// The same text, byte for byte as long, with stars for what stands behind the next `=` of the line of this place.
fn without_value(text: &str, at: usize) -> String {
    let at = at.min(text.len());
    let end = text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |length| at + length);
    match text.get(at..end).and_then(|rest| rest.find('=')) {
        Some(sign) => format!("{}{}{}", &text[..=at + sign], starred(&text[at + sign + 1..end]), &text[end..]),
        None => text.to_owned(),
    }
}

/// The part of a span on its first line: a table's span may cover the whole file.
fn first_line(source: &str, span: Range<usize>) -> Range<usize> {
    let start = span.start.min(source.len());
    let end = span.end.clamp(start, source.len());
    let line = source.get(start..end).and_then(|text| text.find('\n'));
    start..line.map_or(end, |length| start + length)
}

/// Where a value stands; where it is left out, the nearest that holds it.
fn span(table: &DeTable, path: &[String]) -> Option<Range<usize>> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    Some(value_span(value, rest).unwrap_or_else(|| key.span()))
}

fn value_span(value: &Spanned<DeValue>, path: &[String]) -> Option<Range<usize>> {
    let Some((first, rest)) = path.split_first() else {
        return Some(value.span());
    };
    match value.get_ref() {
        DeValue::Table(table) => span(table, path),
        DeValue::Array(array) => {
            let member = array.get(first.parse::<usize>().ok()?)?;
            Some(value_span(member, rest).unwrap_or_else(|| member.span()))
        }
        _ => None,
    }
}

/// The same text, byte for byte as long, with stars for what may be a secret: the value of anything that is named like
/// a password and does not say where to find it, and a password inside a URL.
pub(super) fn masked(text: &str) -> String {
    // Of the section that a line is in: whether it is `[secrets]`, and whether it is one secret of it.
    let (mut secrets, mut one) = (false, false);
    let line_of = |line: &str| {
        if line.trim_start().starts_with('[') {
            let header = line.trim_start().trim_start_matches(['[', ' ', '\t', '"', '\'']);
            (secrets, one) = (header.starts_with("secrets"), header.contains('.'));
        } else if secrets {
            return masked_url(&masked_entry(line, one));
        }
        masked_url(&masked_value(line))
    };
    text.split_inclusive('\n').map(line_of).collect()
}

/// A line of `[secrets]`, where every value is one: unless it plainly says where to find it.
fn masked_entry(line: &str, one: bool) -> String {
    let Some((key, value)) = line.split_once('=') else { return starred(line) };
    let way = |text: &str| ["env", "file", "command"].iter().any(|way| text.trim() == *way);
    let inside = value.trim().strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(inside, _)| inside);
    let told = inside.is_some_and(|inside| inside.matches('=').count() == 1 && inside.split('=').next().is_some_and(way));
    if told || (one && way(key)) { line.to_owned() } else { format!("{key}={}", starred(value)) }
}

fn masked_value(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let mut from = 0;
    while let Some(word) =
        ["pas", "pwd", "secret", "token", "webhook"].iter().filter_map(|w| Some(from + lower[from..].find(w)?)).min()
    {
        let end = line[word..].find([' ', '\t', '=', ':', '"', '\'', ',']).map_or(line.len(), |length| word + length);
        let value = line[end..].find(|c| !matches!(c, ' ' | '\t' | '=' | ':' | '"' | '\'')).map_or(line.len(), |skip| end + skip);
        let told = line[value..].strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(inside, _)| inside.trim_start());
        let ways = ["env", "file", "command"];
        if !told.is_some_and(|inside| ways.iter().any(|way| inside.starts_with(way)) && inside.matches('=').count() == 1) {
            return format!("{}{}", &line[..value], starred(&line[value..]));
        }
        from = line[value..].find('}').map_or(line.len(), |length| value + length);
    }
    line.to_owned()
}

fn masked_url(line: &str) -> String {
    match password_in_url(line) {
        Some(range) => format!("{}{}{}", &line[..range.start], starred(&line[range.clone()]), &line[range.end..]),
        None => line.to_owned(),
    }
}

/// The first password written into a URL: `scheme://user:PASSWORD@host`, or a parameter of that name.
pub(super) fn password_in_url(text: &str) -> Option<Range<usize>> {
    let start = text.find("://")? + 3;
    let end = text[start..].find(['"', '\'', ' ', '\n', '`']).map_or(text.len(), |length| start + length);
    let rest = &text[start..end];
    if let Some(at) = rest.rfind('@')
        && let Some(colon) = rest[..at].find(':')
    {
        return Some(start + colon + 1..start + at);
    }
    let parameter = rest.find("password=").map(|at| at + "password=".len())?;
    let length = rest[parameter..].find('&').unwrap_or(rest.len() - parameter);
    Some(start + parameter..start + parameter + length)
}

fn starred(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() { c.to_string() } else { "*".repeat(c.len_utf8()) }).collect()
}
