//! Reads a `hosts.toml` as containerd does: what it cannot decode is a mistake with its line, what it passes over is passed over.
//! It never says what is unwise; `lint` does.

use super::{HostEntry, HostsToml, Settings, address};
use crate::model::{Mistake, mirror_choice::host_and_port};
use std::collections::BTreeMap;
use toml_edit::{Document, Item, TableLike};

const ORIGIN: &str = "hosts.toml";
const CAPABILITIES: [&str; 4] = ["pull", "resolve", "push", "referrers"];

/// With the first mistake that keeps containerd from decoding it: it then asks the registry itself, without a word to who pulls.
pub fn parse(text: &str) -> Result<HostsToml, Mistake> {
    let document = document(text)?;
    let reader = Reader { text };
    let root = document.as_table();
    let server = match root.get("server") {
        Some(item) => Some(reader.string(item, "server")?),
        None => None,
    };
    if let Some(url) = &server {
        reader.url(url, root.get("server"))?;
    }
    let mut hosts = vec![];
    if let Some(item) = root.get("host") {
        let table = item.as_table_like().ok_or_else(|| reader.mistake(item, "`host` is no table"))?;
        for (url, item) in table.iter() {
            let Some(host) = item.as_table_like() else {
                return Err(reader.mistake(item, &format!("host `{url}` is no table")));
            };
            let settings = reader.settings(host)?;
            if is_seen(table, item) {
                reader.url(url, Some(item))?;
                hosts.push(HostEntry { url: url.to_owned(), settings });
            }
        }
    }
    Ok(HostsToml { server, own: reader.settings(root)?, hosts })
}

pub(super) fn document(text: &str) -> Result<Document<&str>, Mistake> {
    Document::parse(text).map_err(|error| match error.span() {
        Some(span) => Mistake::at(ORIGIN, text, span.start, span.end, error.message()),
        None => Mistake::of_file(ORIGIN, error.message()),
    })
}

/// Whether every containerd sees this host: only those with a `[host."URL"]` header of their own.
pub(super) fn is_seen(hosts: &dyn TableLike, item: &Item) -> bool {
    !hosts.is_dotted() && item.as_table().is_some_and(|table| !table.is_dotted())
}

struct Reader<'t> {
    text: &'t str,
}

impl Reader<'_> {
    fn mistake(&self, item: &Item, message: &str) -> Mistake {
        match item.span() {
            Some(span) => Mistake::at(ORIGIN, self.text, span.start, span.end, message),
            None => Mistake::of_file(ORIGIN, message),
        }
    }

    fn settings(&self, table: &dyn TableLike) -> Result<Settings, Mistake> {
        let mut out = Settings::default();
        if let Some(item) = table.get("capabilities") {
            out.capabilities = self.strings(item, "capabilities")?;
            if let Some(odd) = out.capabilities.iter().find(|c| !CAPABILITIES.contains(&c.to_lowercase().as_str())) {
                return Err(self.mistake(item, &format!("unknown capability `{odd}`")));
            }
        }
        if let Some(item) = table.get("ca") {
            out.ca = self.one_or_more(item, "ca")?;
        }
        if let Some(item) = table.get("client") {
            out.client = self.client(item)?;
        }
        if let Some(item) = table.get("skip_verify") {
            out.skip_verify = Some(self.boolean(item, "skip_verify")?);
        }
        if let Some(item) = table.get("override_path") {
            out.override_path = self.boolean(item, "override_path")?;
        }
        if let Some(item) = table.get("dial_timeout") {
            let timeout = self.string(item, "dial_timeout")?;
            if !timeout.is_empty() {
                if !is_duration(&timeout) {
                    return Err(self.mistake(item, &format!("`dial_timeout` is `{timeout}`, which is no duration: `2s`")));
                }
                out.dial_timeout = Some(timeout);
            }
        }
        if let Some(item) = table.get("header") {
            let header = item.as_table_like().ok_or_else(|| self.mistake(item, "`header` is no table"))?;
            let read = header.iter().map(|(name, item)| Ok((name.to_owned(), self.one_or_more(item, name)?)));
            out.header = read.collect::<Result<BTreeMap<_, _>, Mistake>>()?;
        }
        Ok(out)
    }

    fn client(&self, item: &Item) -> Result<Vec<(String, Option<String>)>, Mistake> {
        if let Some(one) = item.as_str() {
            return Ok(vec![(one.to_owned(), None)]);
        }
        let wrong = || self.mistake(item, "`client` is neither a path, nor a list of paths or of pairs of paths");
        let pairs = item.as_array().ok_or_else(wrong)?.iter().map(|value| {
            if let Some(one) = value.as_str() {
                return Ok((one.to_owned(), None));
            }
            let pair: Vec<&str> = value.as_array().ok_or_else(wrong)?.iter().filter_map(|path| path.as_str()).collect();
            match (pair.as_slice(), value.as_array().map(toml_edit::Array::len)) {
                // An empty key is one in the file of the certificate.
                ([certificate, ""], Some(2)) => Ok(((*certificate).to_owned(), None)),
                ([certificate, key], Some(2)) => Ok(((*certificate).to_owned(), Some((*key).to_owned()))),
                _ => Err(wrong()),
            }
        });
        pairs.collect()
    }

    fn one_or_more(&self, item: &Item, name: &str) -> Result<Vec<String>, Mistake> {
        match item.as_str() {
            Some(one) => Ok(vec![one.to_owned()]),
            None => self.strings(item, name),
        }
    }

    fn strings(&self, item: &Item, name: &str) -> Result<Vec<String>, Mistake> {
        let words = item.as_array().map(|array| array.iter().map(|value| value.as_str().map(str::to_owned)));
        let words: Option<Vec<String>> = words.and_then(Iterator::collect);
        words.ok_or_else(|| self.mistake(item, &format!("`{name}` is no list of texts")))
    }

    fn string(&self, item: &Item, name: &str) -> Result<String, Mistake> {
        item.as_str().map(str::to_owned).ok_or_else(|| self.mistake(item, &format!("`{name}` is no text")))
    }

    fn boolean(&self, item: &Item, name: &str) -> Result<bool, Mistake> {
        item.as_bool().ok_or_else(|| self.mistake(item, &format!("`{name}` is neither true nor false")))
    }

    /// What Go's URL reader refuses; what it takes and means otherwise is told by `lint`.
    fn url(&self, url: &str, item: Option<&Item>) -> Result<(), Mistake> {
        let read = address(url);
        let odd = url.contains(char::is_control) || read.host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '}', '|']);
        let port = read.host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map(|(_, port)| port);
        let numeric = port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()));
        let six = !read.host.starts_with('[') || host_and_port(&read.host).is_ok();
        if !odd && numeric && six {
            return Ok(());
        }
        let message = format!("`{url}` is no URL");
        Err(item.map_or_else(|| Mistake::of_file(ORIGIN, message.clone()), |item| self.mistake(item, &message)))
    }
}

/// As Go writes a duration: `2s`, `1m30s`, `1.5h`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (figures, tail) = rest.split_at(number);
        if !figures.bytes().any(|b| b.is_ascii_digit()) || figures.matches('.').count() > 1 {
            return false;
        }
        let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].iter().find_map(|unit| {
            let after = tail.strip_prefix(unit)?;
            after.chars().next().is_none_or(|c| c.is_ascii_digit() || c == '.').then_some(after)
        });
        match unit {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}
