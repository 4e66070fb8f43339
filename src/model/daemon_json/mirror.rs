//! What an engine takes for a mirror, by its version. It never asks one.

use crate::model::veil;

/// Three numbers of a version: 20.10.24 of `20.10.24+dfsg1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32, pub u32);

impl Release {
    pub fn parse(version: &str) -> Option<Self> {
        let version = version.trim().trim_start_matches('v');
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        let mut numbers = version[..end].split('.').map(str::parse);
        let first = numbers.next()?.ok()?;
        let mut next = || numbers.next().map_or(Some(0), Result::ok);
        Some(Self(first, next()?, next()?))
    }
}

/// The first that takes a mirror with a path.
const PATHS: Release = Release(24, 0, 8);

/// The mirror as the engine lists it, with one closing `/`; or why an engine of this version refuses it. A version that
/// cannot be read counts as an old one.
pub fn valid_mirror(url: &str, version: &str) -> Result<String, String> {
    let shown = crate::model::text::clean(&veil::veil(url).text);
    let refused = |why: &str| Err(format!("mirror `{shown}` {why}"));
    let Some((scheme, rest)) = url.split_once("://") else {
        return refused("names no scheme: it begins with `https://` or `http://`");
    };
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return refused("has a scheme that no engine takes: only `https` and `http` are");
    }
    if rest.contains(|c: char| c.is_whitespace() || !c.is_ascii_graphic() || "\"'<>\\^`{|}".contains(c)) && !rest.contains('@') {
        return refused("holds a character that stands in no URL");
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return refused("holds a user name or password: the engine takes none for a mirror");
    }
    if path.contains('?') {
        return refused("has a query (`?`)");
    }
    if path.contains('#') {
        return refused("has a fragment (`#`)");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() || host.contains(['%', '@']) {
        return refused("names no host");
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return refused("has a port that is none");
    }
    if path.contains("//") {
        return refused("has an empty part in its path (`//`)");
    }
    if !matches!(path, "" | "/") && Release::parse(version).is_none_or(|release| release < PATHS) {
        return refused(&format!(
            "has a path, which Docker Engine takes from 24.0.8 and 25.0.0 on; this one is {}",
            named(version)
        ));
    }
    Ok(format!("{}/", url.strip_suffix('/').unwrap_or(url)))
}

fn named(version: &str) -> String {
    if version.is_empty() { "not known".to_owned() } else { crate::model::text::clean(version) }
}
