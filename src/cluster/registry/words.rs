//! What headers and answers of registries mean: challenges, next pages, waiting times, refusals.
//! Pure text; it never asks anything.

use crate::model::{Fault, FaultKind};
use reqwest::Url;

/// What a registry wants before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The value of `WWW-Authenticate`. `None`: none that castoff can answer.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(char::is_whitespace).unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let get = |name: &str| parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
        Some(Self::Bearer { realm: get("realm")?, service: get("service"), scope: get("scope") })
    }
}

/// `name="value", name=value`: a comma within quotes does not part.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = vec![];
    let mut rest = text.trim_start_matches([',', ' ', '\t']);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                after.split_once(',').map_or((after.trim().to_owned(), ""), |(value, after)| (value.trim().to_owned(), after))
            }
        };
        found.push((name.trim().to_owned(), value));
        rest = after.trim_start_matches([',', ' ', '\t']);
    }
    found
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// Path and query of the next page. Only these are taken: whatever host a link names, castoff stays where it is.
pub(super) fn next_page(link: &str, base: &Url) -> Option<String> {
    let next = link.split(',').find(|part| {
        let parameters = part.split(';').skip(1);
        parameters.map(str::trim).any(|p| p.eq_ignore_ascii_case("rel=\"next\"") || p.eq_ignore_ascii_case("rel=next"))
    })?;
    let target = next.split_once('<')?.1.split_once('>')?.0;
    let url = base.join(target).ok()?;
    let page = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    // `//host/…` and `/\host/…` would be another host when they are joined again.
    base.join(&page).is_ok_and(|again| page.starts_with('/') && again.origin() == base.origin()).then_some(page)
}

/// `Retry-After` in milliseconds: seconds, or a date. At most an hour, for a clock may be wrong.
pub(super) fn retry_after_ms(header: &str, now: jiff::Timestamp) -> Option<u64> {
    const HOUR_MS: u64 = 3_600_000;
    if let Ok(seconds) = header.trim().parse::<u64>() {
        return Some(seconds.saturating_mul(1000).min(HOUR_MS));
    }
    let at = jiff::fmt::rfc2822::parse(header.trim()).ok()?.timestamp();
    Some(u64::try_from(at.as_millisecond() - now.as_millisecond()).unwrap_or(0).min(HOUR_MS))
}

/// A refusal as a fault: the registry's own words where it has some. `login` is what helps where a login is the matter.
pub(super) fn refusal(what: &str, status: u16, body: &[u8], retry_after_ms: Option<u64>, login: &str) -> Fault {
    let said = own_words(body);
    let why = match &said {
        Some(said) => format!("the registry answered {status}: {said}"),
        None => format!("the registry answered {status}"),
    };
    let unknown =
        said.as_deref().is_some_and(|said| ["NAME_UNKNOWN", "MANIFEST_UNKNOWN"].iter().any(|code| said.starts_with(code)));
    match status {
        404 => Fault::new(FaultKind::Missing, what, why),
        _ if unknown => Fault::new(FaultKind::Missing, what, why),
        401 | 403 => Fault::new(FaultKind::Denied, what, why).hint(login),
        408 | 425 | 429 | 500..=599 => Fault::new(FaultKind::Passing, what, why).retry_after_ms(retry_after_ms),
        _ => Fault::new(FaultKind::Lasting, what, why),
    }
}

/// `CODE: message` of the first error that a registry or Harbor gives.
fn own_words(body: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = answer.get("errors")?.get(0)?;
    let text = |name: &str| first.get(name).and_then(serde_json::Value::as_str).unwrap_or("");
    Some(format!("{}: {}", text("code"), text("message")).trim_matches([':', ' ']).to_owned()).filter(|said| !said.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_real_registries_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        let cases = [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                Some(bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push"))),
            ),
            (r#"bearer Realm="https://x/t" , service=plain"#, Some(bearer("https://x/t", Some("plain"), None))),
            (r#"Bearer realm="a\"b""#, Some(bearer("a\"b", None, None))),
            (r#"Basic realm="Registry Realm""#, Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            ("Bearer service=x", None),
            ("Negotiate", None),
            ("", None),
        ];
        for (header, expect) in cases {
            assert_eq!(Challenge::parse(header), expect, "{header}");
        }
    }

    #[test]
    fn a_next_page_never_leads_elsewhere() {
        let base: Url = "https://cr.backend.ai/".parse().unwrap();
        let cases = [
            (r#"</v2/_catalog?last=b&n=2>; rel="next""#, Some("/v2/_catalog?last=b&n=2")),
            (r#"</x?page=1>; rel="prev" , </x?page=3&page_size=100>; rel="next""#, Some("/x?page=3&page_size=100")),
            ("<http://evil.example/v2/_catalog?n=2>; rel=next", Some("/v2/_catalog?n=2")),
            ("<https://cr.backend.ai//evil.example/x>; rel=next", None),
            (r"<x:/\evil.example/x>; rel=next", None),
            ("<data:x>; rel=next", None),
            (r#"</x>; rel="last""#, None),
            ("nonsense", None),
        ];
        for (header, expect) in cases {
            assert_eq!(next_page(header, &base).as_deref(), expect, "{header}");
        }
    }

    #[test]
    fn waiting_times_are_seconds_or_a_date() {
        let now: jiff::Timestamp = "2026-11-21T14:00:00Z".parse().unwrap();
        let cases = [
            ("5", Some(5000)),
            (" 120 ", Some(120_000)),
            ("999999", Some(3_600_000)),
            ("Sat, 21 Nov 2026 14:00:30 GMT", Some(30_000)),
            ("Sat, 21 Nov 2026 13:00:00 GMT", Some(0)),
            ("soon", None),
        ];
        for (header, expect) in cases {
            assert_eq!(retry_after_ms(header, now), expect, "{header}");
        }
    }

    #[test]
    fn refusals_keep_the_words_of_the_registry() {
        let body = br#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known"}]}"#;
        let fault = refusal("x", 404, body, None, "x");
        assert_eq!(
            (fault.kind, fault.why.as_str()),
            (FaultKind::Missing, "the registry answered 404: NAME_UNKNOWN: repository name not known")
        );
        assert_eq!(refusal("x", 429, b"", Some(5000), "x").retry_after_ms, Some(5000));
        assert_eq!(refusal("x", 503, b"<html>", None, "x").kind, FaultKind::Passing);
        assert_eq!(refusal("x", 401, b"", None, "x").kind, FaultKind::Denied);
        assert_eq!(refusal("x", 400, b"", None, "x").kind, FaultKind::Lasting);
    }
}
