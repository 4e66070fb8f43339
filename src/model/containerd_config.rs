//! containerd's `config.toml`: the one setting that makes it read a folder of `hosts.toml`, and what stands against it.
//! It never touches another setting, and never a file that would make the CRI plugin refuse.

mod lint;
#[cfg(test)]
mod tests;

pub use lint::{conflicts, lint};

use super::text;
use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// The CRI plugin of configuration version 2.
const CRI_2: &str = "io.containerd.grpc.v1.cri";
/// The image plugin of versions 3 and later.
const CRI_3: &str = "io.containerd.cri.v1.images";
/// Under each of these names the plugin may be disabled.
const DISABLING: [&str; 4] = ["cri", CRI_2, CRI_3, "io.containerd.cri.v1.runtime"];
const NEWEST: i64 = 4;

/// What `containerd config dump` says of registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Version of the configuration format.
    pub format: u32,
    /// Empty: no folder is read.
    pub config_path: String,
    /// Registries with a table `mirrors`.
    pub mirrors: Vec<String>,
    /// Registries with a table `configs.*.tls`.
    pub tls: Vec<String>,
    /// As the dump has them: containerd 1.x names the configuration itself too.
    pub imports: Vec<String>,
    pub cri_disabled: bool,
}

/// Reads what `containerd config dump` has printed.
pub fn dumped(written: &str) -> Result<Dumped, String> {
    let document = document(written)?;
    let format = format(&document)?.ok_or("the configuration names no version")?;
    let registry = registry(&document, format);
    Ok(Dumped {
        format: u32::try_from(format).unwrap_or_default(),
        config_path: registry.and_then(path_of).unwrap_or_default(),
        mirrors: registry.map(|table| names(table, "mirrors")).unwrap_or_default(),
        tls: registry.map(with_tls).unwrap_or_default(),
        imports: imports(&document),
        cri_disabled: disabled(&document).is_some(),
    })
}

/// The folder that this file names, as it is written; several stand with `:` between them.
pub fn config_path(written: &str) -> Option<String> {
    let document = document(written).ok()?;
    let format = format(&document).ok()??;
    registry(&document, format).and_then(path_of)
}

/// The same file with `config_path` as one folder. Comments, order and everything else stay as they are.
/// An absent file becomes a minimal one in the format of the daemon, 2 or 3.
pub fn set_config_path(written: Option<&str>, format_of_daemon: u32, folder: &str) -> Result<String, String> {
    super::mirror_choice::absolute(folder).map_err(|why| format!("`config_path` as `{folder}` {why}"))?;
    if folder.contains(':') {
        return Err(format!("`config_path` as `{folder}` is a list: containerd 2.1 and later takes it for one folder"));
    }
    let written = written.unwrap_or_default();
    let document_as_read = document(written)?;
    let mut document = document_as_read.clone();
    let format = match format(&document)? {
        Some(format) => format,
        None if document.is_empty() => {
            let format = i64::from(format_of_daemon.clamp(2, 3));
            document.insert("version", toml_edit::value(format));
            format
        }
        None => return Err(no_version()),
    };
    if format > 2 && format_of_daemon == 2 {
        return Err(format!("the configuration has version {format}, which this containerd does not read: it knows version 2"));
    }
    if let Some(name) = disabled(&document) {
        return Err(format!("`disabled_plugins` names `{name}`: without its CRI plugin containerd reads no `config_path`"));
    }
    if let Some(table) = registry(&document, format) {
        let mirrors = names(table, "mirrors");
        if !mirrors.is_empty() {
            return Err(format!(
                "`mirrors` are set for {}: with a `config_path` the CRI plugin refuses to start",
                mirrors.join(", ")
            ));
        }
        let tls = with_tls(table);
        if !tls.is_empty() && format_of_daemon == 2 {
            return Err(format!(
                "`configs` set TLS for {}: with a `config_path` the CRI plugin refuses to start",
                tls.join(", ")
            ));
        }
        if path_of(table).as_deref() == Some(folder) {
            return Ok(written.to_owned());
        }
    }
    let as_read = document_as_read.to_string();
    place(document.as_table_mut(), &["plugins", plugin(format), "registry"], false, folder)?;
    let out = spliced(written, &as_read, &document.to_string()).ok_or_else(by_hand)?;
    if only_difference(written, &out, format) { Ok(out) } else { Err(by_hand()) }
}

fn by_hand() -> String {
    "the file is written so that castoff cannot keep the rest of it as it is: set `config_path` by hand".to_owned()
}

/// The edited text with the lines of the written one wherever nothing was edited: line ends and a byte order mark are
/// kept. `None`: what was read is not what was written.
fn spliced(written: &str, as_read: &str, edited: &str) -> Option<String> {
    let ended = written.is_empty() || written.ends_with('\n');
    let whole = if ended { written.to_owned() } else { format!("{written}\n") };
    let own: Vec<&str> = whole.split_inclusive('\n').collect();
    let read: Vec<&str> = as_read.split_inclusive('\n').collect();
    let new: Vec<&str> = edited.split_inclusive('\n').collect();
    let bare = |line: &str| line.trim_start_matches('\u{feff}').replace('\r', "");
    if own.len() != read.len() || own.iter().zip(&read).any(|(own, read)| bare(own) != *read) {
        return None;
    }
    let before = read.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = read.len().min(new.len()) - before;
    let after = read.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let end = if written.contains("\r\n") { "\r\n" } else { "\n" };
    let between = new[before..new.len() - after].concat().replace('\n', end);
    let mark = if before == 0 && written.starts_with('\u{feff}') { "\u{feff}" } else { "" };
    let mut out = [mark, &own[..before].concat(), &between, &own[own.len() - after..].concat()].concat();
    if !ended && after > 0 {
        out.pop();
    }
    Some(out)
}

/// Whether two texts say the same but for the folder, and a version where there was nothing.
fn only_difference(before: &str, after: &str, format: i64) -> bool {
    let values = |text: &str| text.trim_start_matches('\u{feff}').parse::<toml::Table>().ok();
    let (Some(mut before), Some(mut after)) = (values(before), values(after)) else { return false };
    before.entry("version").or_insert(toml::Value::Integer(format));
    for table in [&mut before, &mut after] {
        let plugins = table.entry("plugins").or_insert_with(|| toml::Table::new().into());
        let Some(plugins) = plugins.as_table_mut() else { return false };
        let Some(plugin) = plugins.entry(plugin(format)).or_insert_with(|| toml::Table::new().into()).as_table_mut() else {
            return false;
        };
        let Some(registry) = plugin.entry("registry").or_insert_with(|| toml::Table::new().into()).as_table_mut() else {
            return false;
        };
        registry.remove("config_path");
    }
    before == after
}

/// Whether a version, as a distribution writes it, is this one or later. One that cannot be read is taken for old.
pub fn at_least(version: &str, wanted: (u32, u32, u32)) -> bool {
    release(version).is_some_and(|release| release >= wanted)
}

/// `v2.1.3`, `1.6.20~ds1`: the three numbers.
fn release(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.trim().trim_start_matches('v').splitn(3, '.');
    let number = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
    Some((parts.next().and_then(number)?, parts.next().and_then(number)?, parts.next().and_then(number).unwrap_or(0)))
}

fn document(written: &str) -> Result<DocumentMut, String> {
    written.parse::<DocumentMut>().map_err(|error: toml_edit::TomlError| {
        let line = error.span().map(|span| written[..written.floor_char_boundary(span.start)].matches('\n').count() + 1);
        let place = line.map_or_else(String::new, |line| format!("line {line}: "));
        text::clean(&format!("{place}{}", error.message()))
    })
}

/// The version that the file names; version 1 is refused.
fn format(document: &DocumentMut) -> Result<Option<i64>, String> {
    let Some(item) = document.get("version") else { return Ok(None) };
    match item.as_integer() {
        Some(0 | 1) => Err("the configuration has version 1, which containerd 2.0 has given up: `containerd config migrate` \
            prints it in a newer one"
            .to_owned()),
        Some(format @ 2..=NEWEST) => Ok(Some(format)),
        Some(other) => Err(format!("the configuration has version {other}: castoff knows 2 to {NEWEST}")),
        None => Err("`version` is no number".to_owned()),
    }
}

fn no_version() -> String {
    "the configuration names no `version`, which makes it version 1: `containerd config migrate` prints it in a newer one"
        .to_owned()
}

fn plugin(format: i64) -> &'static str {
    if format == 2 { CRI_2 } else { CRI_3 }
}

fn registry(document: &DocumentMut, format: i64) -> Option<&dyn TableLike> {
    let plugins = document.get("plugins")?.as_table_like()?;
    plugins.get(plugin(format))?.as_table_like()?.get("registry")?.as_table_like()
}

fn path_of(registry: &dyn TableLike) -> Option<String> {
    registry.get("config_path")?.as_str().map(str::to_owned)
}

fn names(table: &dyn TableLike, key: &str) -> Vec<String> {
    let inner = table.get(key).and_then(Item::as_table_like);
    inner.map(|inner| inner.iter().map(|(name, _)| text::clean(name)).collect()).unwrap_or_default()
}

fn with_tls(registry: &dyn TableLike) -> Vec<String> {
    configs_with(registry, "tls")
}

fn configs_with(registry: &dyn TableLike, key: &str) -> Vec<String> {
    let Some(configs) = registry.get("configs").and_then(Item::as_table_like) else { return vec![] };
    let having = configs.iter().filter(|(_, item)| item.as_table_like().is_some_and(|config| config.contains_key(key)));
    having.map(|(name, _)| text::clean(name)).collect()
}

fn imports(document: &DocumentMut) -> Vec<String> {
    let words = document.get("imports").and_then(Item::as_array);
    words.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn disabled(document: &DocumentMut) -> Option<&str> {
    let words = document.get("disabled_plugins").and_then(Item::as_array);
    words.into_iter().flatten().filter_map(Value::as_str).find(|name| DISABLING.contains(name))
}

/// Goes down to the table, makes what is missing in the way its surroundings are written, and sets the folder there.
fn place(table: &mut dyn TableLike, steps: &[&str], braces: bool, folder: &str) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        return set(table, folder);
    };
    if table.get(step).is_none_or(Item::is_none) {
        // Inside braces and behind dotted keys no header may stand.
        let dotted = table.is_dotted();
        let made = if braces {
            Item::Value(Value::InlineTable(InlineTable::new()))
        } else {
            let mut made = Table::new();
            made.set_dotted(dotted);
            made.set_implicit(!rest.is_empty());
            Item::Table(made)
        };
        table.insert(step, made);
    }
    let item = table.get_mut(step).ok_or_else(|| format!("`{step}` cannot be set"))?;
    let braces = item.is_inline_table();
    let inner = item.as_table_like_mut().ok_or_else(|| format!("`{step}` is no table"))?;
    place(inner, rest, braces, folder)
}

fn set(table: &mut dyn TableLike, folder: &str) -> Result<(), String> {
    match table.get_mut("config_path") {
        Some(item) if !item.is_none() => {
            let value = item.as_value_mut().ok_or("`config_path` is no text")?;
            let decor = value.decor().clone();
            *value = Value::from(folder);
            *value.decor_mut() = decor;
        }
        _ => {
            table.insert("config_path", toml_edit::value(folder));
        }
    }
    Ok(())
}
