//! What keeps a Docker daemon from its mirror: findings of one host, in the order in which a person would look.
//! It looks at what was read and asks nothing; a line that does not say of whom it speaks is never put on the mirror.

use super::{Fault, Machine, Reach, Store, daemon_json, docker_hosts, text};
use serde::Serialize;
use serde_json::Value as Json;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Good,
    /// Worth knowing, or not known.
    Note,
    Bad,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// `name`, `connection`, `file`, `daemon`, `registry`, `image`, `log`.
    pub check: &'static str,
    pub verdict: Verdict,
    pub found: String,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    fn new(check: &'static str, verdict: Verdict, found: impl AsRef<str>) -> Self {
        Self { check, verdict, found: text::clean(found.as_ref()), hint: None }
    }

    /// The host could not be asked.
    pub fn unreached(fault: &Fault) -> Self {
        let found = Self::new("connection", Verdict::Bad, format!("the host was not asked: {}: {}", fault.what, fault.why));
        Self { hint: fault.hint.as_deref().map(text::clean), ..found }
    }

    /// The daemon could not be asked.
    pub fn silent(fault: &Fault) -> Self {
        let hint = fault.hint.clone().unwrap_or_else(|| "`systemctl status docker` and its log say why; after `start request repeated too quickly`, mend the file, then `systemctl reset-failed docker`".to_owned());
        Self::new("daemon", Verdict::Bad, format!("the Docker daemon does not answer: {}", fault.why)).hint(hint)
    }

    fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = Some(text::clean(hint.as_ref()));
        self
    }
}

/// All findings of a host about one mirror. `log` are lines of its Docker daemon, oldest first.
pub fn findings(host: &str, machine: &Machine, mirror: &str, log: &[String]) -> Vec<Finding> {
    let (mut found, after) = of_reach(host, mirror, answer(machine, mirror));
    found.push(of_file(machine, mirror));
    found.extend(of_lint(machine));
    found.push(of_daemon(machine, mirror));
    found.extend(after);
    found.extend(of_log(mirror, log));
    found
}

/// The same of a host on which no Docker daemon is looked for: how the mirror answers there.
pub fn findings_without_docker(host: &str, machine: &Machine, mirror: &str) -> Vec<Finding> {
    let (mut found, after) = of_reach(host, mirror, answer(machine, mirror));
    found.extend(after);
    found.push(Finding::new("daemon", Verdict::Note, "the cluster file names no Docker daemon here: only the mirror was asked"));
    found
}

/// What the mirror answered, in whichever way it was asked.
fn answer<'a>(machine: &'a Machine, mirror: &str) -> Option<&'a Reach> {
    let of = |asked: &str| asked.split_whitespace().next().is_some_and(|asked| same(asked, mirror));
    machine.reach.iter().find(|(asked, _)| of(asked)).map(|(_, reach)| reach)
}

/// The way to it, and then what it answers.
fn of_reach(host: &str, mirror: &str, reach: Option<&Reach>) -> (Vec<Finding>, Vec<Finding>) {
    use Verdict::{Bad, Good, Note};
    let name = || Finding::new("name", Good, format!("`{}` resolves", authority(mirror)));
    let connection = || Finding::new("connection", Good, "it takes connections");
    let registry = |verdict, found: &str| Finding::new("registry", verdict, found);
    let way = || vec![name(), connection()];
    let proxy = "castoff asks without a proxy: a daemon with one of its own may reach it all the same";
    match reach {
        None => (vec![Finding::new("connection", Note, "the mirror was not asked from this host")], vec![]),
        Some(Reach::NoName { why }) => {
            let hint = format!("look for typing errors in the address, then at the resolver of `{host}`; {proxy}");
            (vec![Finding::new("name", Bad, format!("`{}` does not resolve: {why}", authority(mirror))).hint(hint)], vec![])
        }
        Some(Reach::NoConnection { why }) => {
            let hint = format!("look at the port, and at firewalls between `{host}` and the mirror; {proxy}");
            (vec![name(), Finding::new("connection", Bad, format!("no connection: {why}")).hint(hint)], vec![])
        }
        Some(Reach::Tls { why }) => {
            let hint = if mirror.starts_with("http://") {
                "write https:// in `registry-mirrors`".to_owned()
            } else {
                format!(
                    "the daemon needs its authority in `/etc/docker/certs.d/{}/ca.crt`; a wrong name, a date or plain HTTP is mended at the mirror or in its address",
                    authority(mirror)
                )
            };
            (way(), vec![registry(Bad, &format!("TLS: {why}")).hint(hint)])
        }
        Some(Reach::Failing { why }) => (vec![], vec![registry(Bad, why).hint("ask who runs the mirror, with this line")]),
        Some(Reach::NoRegistry { status, content_type }) => {
            let kind = if content_type.is_empty() { String::new() } else { format!(" with {content_type}") };
            let found = format!("`/v2/` is answered by {status}{kind}: that is no registry");
            (
                way(),
                vec![
                    registry(Bad, &found).hint("look for typing errors in the address; a page is a portal or a proxy in between"),
                ],
            )
        }
        Some(Reach::Login { scheme }) => {
            let hint =
                "a daemon has no login for a mirror: it would send the one of Docker Hub there; the mirror has to serve without";
            (way(), vec![registry(Bad, &format!("it demands a login ({scheme})")).hint(hint)])
        }
        Some(Reach::NoImage { image }) => {
            let missing = Finding::new("image", Bad, format!("it does not have `{image}`"));
            let hint = "a mirror that only serves what was put there answers so; choose an image that it should have (`--image`)";
            (way(), vec![registry(Good, "`/v2/` is answered as by a registry"), missing.hint(hint)])
        }
        Some(Reach::Ok { digest }) => {
            let image = match digest {
                Some(digest) => Finding::new("image", Good, format!("it serves the image: {digest}")),
                None => Finding::new("image", Note, "no image was asked for"),
            };
            (way(), vec![registry(Good, "`/v2/` is answered as by a registry"), image])
        }
    }
}

fn of_file(machine: &Machine, mirror: &str) -> Finding {
    use Verdict::{Bad, Good, Note};
    let usual = "/etc/docker/daemon.json";
    let own = machine.docker.as_ref().map(|docker| docker.config.as_str()).filter(|path| !path.is_empty());
    // No daemon was asked where its file is: what was read is meant.
    let read = || machine.files.keys().map(String::as_str).find(|path| path.rsplit('.').next() == Some("json"));
    let path = own.or_else(read).unwrap_or(usual);
    let finding = |verdict, found: String| Finding::new("file", verdict, found);
    let wanted = format!("it has to hold `\"registry-mirrors\": [\"{mirror}\"]`");
    let state = match machine.files.get(path) {
        None => return finding(Note, format!("`{path}` was not read")),
        Some(None) => return finding(Bad, format!("there is no `{path}`")).hint(wanted),
        Some(Some(state)) => state,
    };
    // What comes before and what is empty is judged by the daemon's version, below.
    let written = state.text.trim_start_matches('\u{feff}');
    let written = if written.trim().is_empty() { "{}" } else { written };
    let keys = match serde_json::from_str::<Json>(written) {
        Ok(Json::Object(keys)) => keys,
        Ok(_) => return finding(Bad, format!("`{path}` holds no JSON object")).hint(wanted),
        Err(error) => {
            let hint = "a comma too many, a curly quote or a comment keeps the daemon from it; it goes on as it is until it is restarted";
            return finding(Bad, format!("`{path}` is no JSON: {error}")).hint(hint);
        }
    };
    let listed = keys.get("registry-mirrors").and_then(Json::as_array).cloned().unwrap_or_default();
    let listed: Vec<&str> = listed.iter().filter_map(Json::as_str).collect();
    match () {
        () if listed.iter().any(|one| same(one, mirror)) => finding(Good, format!("`{path}` names the mirror")),
        () if keys.contains_key("registry-mirror") => {
            finding(Bad, format!("`{path}` has the key `registry-mirror`, which the daemon passes over without a word"))
                .hint("write `registry-mirrors`")
        }
        () if listed.is_empty() => finding(Bad, format!("`{path}` names no mirror")).hint(wanted),
        () => {
            finding(Bad, format!("`{path}` names {}, and not this mirror", quoted(&listed))).hint("compare them letter by letter")
        }
    }
}

/// What else is odd about the file, for the daemon that reads it.
fn of_lint(machine: &Machine) -> Vec<Finding> {
    let Some(docker) = &machine.docker else { return vec![] };
    let Some(Some(state)) = machine.files.get(&docker.config) else { return vec![] };
    let finding = |found: daemon_json::Finding| {
        let verdict = if found.matters == daemon_json::Matters::Note { Verdict::Note } else { Verdict::Bad };
        let finding = Finding::new("file", verdict, format!("{}: {}", found.problem.subject, found.problem.why));
        Finding { hint: found.problem.hint, ..finding }
    };
    daemon_json::lint(docker, Some(&state.text)).into_iter().map(finding).collect()
}

fn of_daemon(machine: &Machine, mirror: &str) -> Finding {
    use Verdict::{Bad, Good, Note};
    let Some(docker) = &machine.docker else { return Finding::new("daemon", Note, "the Docker daemon was not asked") };
    let finding = |verdict, found: String| Finding::new("daemon", verdict, found);
    let listed: Vec<&str> = docker.mirrors.iter().map(String::as_str).collect();
    match listed.iter().position(|one| same(one, mirror)) {
        Some(_) if docker.store == Store::Containerd => match docker_hosts::overruled(machine, mirror) {
            Some(problem) => finding(Bad, problem.words()).hint(problem.hint.unwrap_or_default()),
            None => {
                finding(Good, format!("Docker {} runs with the mirror; its images are in containerd's store", docker.version))
            }
        },
        Some(0) => finding(Good, format!("Docker {} runs with the mirror", docker.version)),
        Some(_) => finding(Note, format!("it runs with the mirror, and asks {} first", quoted(&listed[..1]))),
        None => {
            let running = if listed.is_empty() { "no mirror".to_owned() } else { quoted(&listed) };
            let flag = docker.flags.iter().chain(&docker.unit_flags).any(|word| word.starts_with("--registry-mirror"));
            let hint = if flag {
                "its command line has `--registry-mirror`: a daemon with both that and the file does not start, so leave one of them"
            } else {
                "once the file is right: `systemctl reload docker`, then look at its log, for a file that is refused is only told there"
            };
            finding(Bad, format!("it runs with {running}")).hint(hint)
        }
    }
}

/// What the daemon wrote since it last took up its configuration.
fn of_log(mirror: &str, log: &[String]) -> Vec<Finding> {
    use Verdict::{Bad, Good, Note};
    let mirror = authority(mirror).to_ascii_lowercase();
    let (mut rejected, mut served, mut failed, mut unclear) = (None, 0_usize, vec![], vec![]);
    // Whom the daemon says that it asks: only with `debug`.
    let mut asked: Option<String> = None;
    for line in log.iter().filter_map(|line| classify(line)) {
        match line {
            LogLine::Reloaded => {
                (rejected, served, asked) = (None, 0, None);
                failed.clear();
                unclear.clear();
            }
            LogLine::Rejected { error } => rejected = Some(error),
            LogLine::Trying { from } => {
                served += usize::from(from.eq_ignore_ascii_case(&mirror));
                asked = Some(from);
            }
            LogLine::Passed { from, error } => match from.or_else(|| asked.take()) {
                Some(from) if from.eq_ignore_ascii_case(&mirror) => failed.push(error),
                Some(_) => {}
                None => unclear.push(error),
            },
        }
    }
    let mut found = vec![];
    if let Some(error) = rejected {
        let hint = "the daemon goes on with its old configuration: correct the file and reload again";
        found.push(Finding::new("log", Bad, format!("the daemon refused its configuration: {error}")).hint(hint));
    }
    if let Some(last) = failed.last() {
        let hint = "each of these pulls went on to Docker Hub";
        found.push(Finding::new("log", Bad, format!("the mirror was passed by {}: {last}", times(failed.len()))).hint(hint));
    }
    if let Some(last) = unclear.last() {
        let hint =
            "the last endpoint, Docker Hub itself, leaves the same line; with `\"debug\": true` the daemon says whom it asks";
        let found_that = format!("an endpoint was passed by {}, the log does not say which: {last}", times(unclear.len()));
        found.push(Finding::new("log", Note, found_that).hint(hint));
    }
    if found.is_empty() {
        found.push(match (log.is_empty(), served) {
            (true, _) => Finding::new("log", Note, "the log of the daemon was not read, or is empty"),
            (false, 0) => Finding::new("log", Note, "the log does not speak of the mirror: that is no proof that it is used"),
            (false, _) => Finding::new("log", Good, format!("the daemon asked the mirror {}", times(served))),
        });
    }
    found
}

/// A line of a Docker daemon that tells of a mirror or of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogLine {
    /// It asks this endpoint now, `host:port`.
    Trying { from: String },
    /// An endpoint did not serve, and the next one is asked. `from` where the error names its endpoint. The last endpoint
    /// leaves the same line.
    Passed { from: Option<String>, error: String },
    /// The configuration was taken up, by a reload or a start.
    Reloaded,
    /// The configuration was refused: the old one goes on.
    Rejected { error: String },
}

/// When the daemon wrote a line, by its own clock, in its own words: `2026-11-22T02:00:00.000000001Z`.
pub fn written_at(line: &str) -> Option<String> {
    field(line, "time")
}

/// One line of the daemon, with or without what a journal puts in front, as text or JSON. `None`: about something else.
pub fn classify(line: &str) -> Option<LogLine> {
    let (message, error, host) = (field(line, "msg")?, field(line, "error"), field(line, "host"));
    let behind = |start: &str| message.strip_prefix(start).map(|rest| rest.trim_start_matches([':', ' ']).to_owned());
    let clean = |error: String| text::clean(&error);
    let reason = |rest: String| clean(error.clone().unwrap_or(rest));
    let passed = |rest: String| {
        let error = reason(rest);
        LogLine::Passed { from: host.clone().or_else(|| endpoint(&error)), error }
    };
    if let Some(from) = message.strip_prefix("Trying to pull ").and_then(|rest| endpoint(rest.split_once(" from ")?.1)) {
        return Some(LogLine::Trying { from });
    }
    // The containerd store: it tells what came of each request, and the last one that went well is who serves.
    if message == "fetch response received" && field(line, "response.status").is_some_and(|status| status.starts_with("200")) {
        return Some(LogLine::Trying { from: endpoint(&field(line, "url")?)? });
    }
    // The line before it, `Error getting v2 registry`, tells the same once more.
    if let Some(rest) = behind("Attempting next endpoint for pull after error") {
        return Some(passed(rest));
    }
    // The containerd store.
    if let Some(rest) = behind("trying next host") {
        return Some(passed(rest));
    }
    if message.starts_with("Reloaded configuration") || message == "Daemon has completed initialization" {
        return Some(LogLine::Reloaded);
    }
    let refusals = ["Error reconfiguring the daemon", "Error reloading configuration", "unable to configure the Docker daemon"];
    let refused = refusals.iter().find_map(|start| Some((*start, behind(start)?)));
    refused.map(|(start, rest)| {
        let whole = if start.starts_with("unable") { format!("{start} {rest}") } else { rest };
        LogLine::Rejected { error: reason(whole) }
    })
}

/// `key=word`, `key="words"` of logrus, or a field of a JSON line.
fn field(line: &str, key: &str) -> Option<String> {
    if let Some(Json::Object(fields)) = line.find('{').and_then(|at| serde_json::from_str(&line[at..]).ok()) {
        return fields.get(key)?.as_str().map(str::to_owned);
    }
    let start = format!("{key}=");
    let at = line.match_indices(&start).map(|(at, _)| at).find(|at| *at == 0 || line[..*at].ends_with(' '))?;
    let value = &line[at + start.len()..];
    let Some(quoted) = value.strip_prefix('"') else { return value.split_whitespace().next().map(str::to_owned) };
    let (mut out, mut escaped) = (String::new(), false);
    for c in quoted.chars() {
        match c {
            c if escaped => {
                out.push(if c == 'n' { ' ' } else { c });
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => break,
            c => out.push(c),
        }
    }
    Some(out)
}

/// The `host:port` of the first address in a text.
fn endpoint(text: &str) -> Option<String> {
    let rest = text.split_once("://")?.1;
    let host = rest.split(['/', '"', '\'', ' ', '?']).next()?;
    (!host.is_empty()).then(|| text::clean(host))
}

fn authority(mirror: &str) -> &str {
    let rest = mirror.split_once("://").map_or(mirror, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Docker writes one `/` at the end of each mirror.
fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn times(n: usize) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

#[cfg(test)]
#[path = "doctor/tests.rs"]
mod tests;
