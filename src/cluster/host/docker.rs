//! A Docker daemon as it runs on a host: its API, the words it was started with, and those that would start it anew.
//! What of its process cannot be seen is left empty and never guessed.

use super::files::{self, decoded, finished, script};
use crate::{
    cluster::{config::DockerConfig, docker::DockerEngine, ssh::Runner},
    model::{DockerDaemon, Fault, text},
};
use std::{collections::BTreeMap, time::Duration};

const DEADLINE: Duration = Duration::from_secs(20);
const SCRIPT: &str = include_str!("docker.sh");
const USUAL_SOCKET: &str = "/run/docker.sock";
const USUAL_CONFIG: &str = "/etc/docker/daemon.json";

/// Reads the daemon behind the socket of its section.
pub async fn read(runner: &Runner, engine: &DockerEngine, config: &DockerConfig) -> Result<DockerDaemon, Fault> {
    let mut daemon = engine.daemon().await?;
    let output = runner.run_with(&script(SCRIPT, [config.socket.as_str()]), &[], DEADLINE).await?;
    let told = Told::of(finished(&output, "cannot look for dockerd")?);
    let process = told.process_of(&config.socket);
    daemon.unit_flags = cleaned(&told.unit_flags());
    daemon.config = config.config.clone().unwrap_or_else(|| text::clean(&config_path(process, daemon.rootless)));
    daemon.certs = certs(config, &daemon);
    daemon.flags = cleaned(process.map_or(&[], |process| process.flags.as_slice()));
    Ok(daemon)
}

/// The folders on the way to its `daemon.json` that are not there, outermost first.
pub async fn absent(runner: &Runner, config: &str) -> Result<Vec<String>, Fault> {
    match config.rsplit_once('/') {
        Some((folder, _)) if !folder.is_empty() => files::folders(runner, folder).await.map(|found| found.absent),
        _ => Ok(vec![]),
    }
}

/// A daemon without root looks beside its `daemon.json`.
fn certs(config: &DockerConfig, daemon: &DockerDaemon) -> String {
    match daemon.config.rsplit_once('/') {
        Some((folder, _)) if daemon.rootless && config.certs == DockerConfig::default().certs => format!("{folder}/certs.d"),
        _ => config.certs.clone(),
    }
}

fn cleaned(words: &[String]) -> Vec<String> {
    words.iter().map(|word| text::clean(word)).collect()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Process {
    flags: Vec<String>,
    /// `HOME` and `XDG_CONFIG_HOME`.
    home: BTreeMap<String, String>,
}

/// What the script printed.
#[derive(Debug, Default)]
struct Told {
    processes: Vec<Process>,
    unit: String,
    environment: Vec<String>,
}

impl Told {
    fn of(text: &str) -> Self {
        let mut told = Self::default();
        // No line of base64 begins with `=`, so a mark is what a line begins with.
        for part in format!("\n{text}").split("\n=").skip(1) {
            let (mark, rest) = part.split_once('\n').unwrap_or((part, ""));
            let text = String::from_utf8_lossy(&decoded(rest).unwrap_or_default()).into_owned();
            match mark {
                "process" => {
                    let flags = text.split_terminator('\0').skip(1).map(str::to_owned).collect();
                    told.processes.push(Process { flags, home: BTreeMap::new() });
                }
                "home" => {
                    if let Some(process) = told.processes.last_mut() {
                        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
                        process.home = text.lines().filter_map(pair).collect();
                    }
                }
                "unit" => told.unit = text,
                "environment" => told.environment.push(text),
                _ => {}
            }
        }
        told
    }

    /// The one that listens there: it says so, or it says nothing and the place is the usual one.
    fn process_of(&self, socket: &str) -> Option<&Process> {
        let socket = same_place(socket);
        let hosts = |process: &Process| values(&process.flags, &["-H", "--host"]);
        let named = |process: &&Process| {
            hosts(process).iter().any(|host| host.strip_prefix("unix://").is_some_and(|path| same_place(path) == socket))
        };
        let by_unit = self.processes.iter().find(|process| hosts(process).iter().any(|host| host.starts_with("fd://")));
        // One in a container may name the usual place as well; the unit's is the host's own.
        if let Some(process) = by_unit.filter(|_| socket == USUAL_SOCKET).or_else(|| self.processes.iter().find(named)) {
            return Some(process);
        }
        let silent: Vec<&Process> = self.processes.iter().filter(|process| hosts(process).is_empty()).collect();
        match (socket.as_str(), silent.as_slice()) {
            // Without `--host` it is in `hosts` of its `daemon.json`, or the usual one; rootless by where it runs.
            (_, [one]) => Some(one),
            (_, many) => many.iter().copied().find(|process| process.flags.is_empty()).filter(|_| socket == USUAL_SOCKET),
        }
    }

    fn unit_flags(&self) -> Vec<String> {
        let field = |name: &str| self.unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let Some(start) = field("ExecStart") else { return vec![] };
        // `{ path=… ; argv[]=… ; ignore_errors=no ; …`: of several the last is the daemon.
        let Some(words) = start.rsplit("argv[]=").next().filter(|_| start.contains("argv[]=")) else { return vec![] };
        let words = words.split(" ; ignore_errors=").next().unwrap_or(words);
        let mut variables: BTreeMap<String, String> = BTreeMap::new();
        for pair in quoted_words(field("Environment").unwrap_or_default()) {
            variables.extend(pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        // What a file says goes before the unit.
        for file in &self.environment {
            variables.extend(file.lines().filter_map(assignment));
        }
        quoted_words(words).iter().skip(1).flat_map(|word| filled(word, &variables)).collect()
    }
}

/// `/var/run` is a link to `/run`.
fn same_place(path: &str) -> String {
    path.strip_prefix("/var/run/").map_or_else(|| path.to_owned(), |rest| format!("/run/{rest}"))
}

fn config_path(process: Option<&Process>, rootless: bool) -> String {
    let Some(process) = process else { return USUAL_CONFIG.to_owned() };
    if let Some(path) = values(&process.flags, &["--config-file"]).pop() {
        return path;
    }
    let home = process.home.get("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).cloned();
    let home = home.or_else(|| process.home.get("HOME").map(|home| format!("{home}/.config")));
    match home {
        Some(home) if rootless => format!("{home}/docker/daemon.json"),
        _ => USUAL_CONFIG.to_owned(),
    }
}

/// Values of a flag, in each of its spellings: `-H x`, `-Hx`, `-H=x`, `--host x`, `--host=x`.
fn values(flags: &[String], names: &[&str]) -> Vec<String> {
    let mut out = vec![];
    let mut words = flags.iter();
    while let Some(word) = words.next() {
        for name in names {
            if word == name {
                out.extend(words.next().cloned());
                break;
            }
            let short = name.len() == 2;
            if let Some(rest) = word.strip_prefix(name).filter(|rest| rest.starts_with('=') || short) {
                out.push(rest.trim_start_matches('=').to_owned());
                break;
            }
        }
    }
    out
}

/// A line of an environment file: `NAME=value`, with or without quotes.
fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let (name, value) = line.split_once('=').filter(|_| !line.starts_with(['#', ';']))?;
    let value = value.trim();
    let bare = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    Some((name.trim().to_owned(), bare('"').or_else(|| bare('\'')).unwrap_or(value).to_owned()))
}

/// Words as systemd splits them: at white space, but not within quotes.
fn quoted_words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut open, mut any) = (vec![], String::new(), None, false);
    for c in text.chars() {
        match (c, open) {
            (c, Some(quote)) if c == quote => open = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => (open, any) = (Some(c), true),
            (c, None) if c.is_whitespace() => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            (c, None) => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

/// `$NAME` as a word of its own becomes words, `${NAME}` a part of its word, as systemd does.
fn filled(word: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    let value = |name: &str| variables.get(name).map_or("", String::as_str);
    let plain = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if let Some(name) = word.strip_prefix('$').filter(|name| plain(name)) {
        return quoted_words(value(name));
    }
    let (mut out, mut rest) = (String::new(), word);
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((name, after)) = behind.split_once('}').filter(|(name, _)| plain(name)) else { break };
        out.push_str(before);
        out.push_str(value(name));
        rest = after;
    }
    vec![out + rest]
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::STANDARD};

    fn told(parts: &[(&str, &str)]) -> Told {
        let part = |(mark, text): &(&str, &str)| format!("={mark}\n{}\n", STANDARD.encode(text));
        Told::of(&parts.iter().map(part).collect::<String>())
    }

    #[test]
    fn the_daemon_of_a_socket_is_found_among_several() {
        let told = told(&[
            ("process", "dockerd\0--config-file\0/srv/a.json\0-H\0unix:///run/a.sock\0"),
            ("home", "HOME=/root\n"),
            ("process", "/usr/bin/dockerd\0--host=unix:///srv/b.sock\0--debug\0"),
            ("home", ""),
            ("process", "/usr/bin/dockerd\0-H\0fd://\0--containerd=/run/containerd/containerd.sock\0"),
            ("process", "/usr/bin/dockerd\0"),
            ("home", "HOME=/home/kim\n"),
        ]);
        let check = |socket: &str, expect: Option<&str>| {
            let found = told.process_of(socket).map(|process| process.flags.first().map_or("", String::as_str));
            assert_eq!(found, expect, "{socket}");
        };
        check("/var/run/a.sock", Some("--config-file"));
        check("/srv/b.sock", Some("--host=unix:///srv/b.sock"));
        check("/var/run/docker.sock", Some("-H"));
        check("/run/user/1000/docker.sock", Some(""));
        assert_eq!(config_path(told.process_of("/run/a.sock"), false), "/srv/a.json");
        assert_eq!(config_path(told.process_of("/srv/b.sock"), false), USUAL_CONFIG);
        let rootless = told.process_of("/run/user/1000/docker.sock");
        assert_eq!(config_path(rootless, true), "/home/kim/.config/docker/daemon.json");
        assert_eq!(config_path(None, false), USUAL_CONFIG);
    }

    #[test]
    fn who_listens_somewhere_else_is_not_taken_for_it() {
        let told = told(&[("process", "dockerd\0-H\0unix:///run/a.sock\0")]);
        assert_eq!(told.process_of("/var/run/docker.sock"), None);
        // As docker:dind runs in a container, and the host's own as its unit has it.
        let (inner, own) = ("dockerd\0--host=unix:///var/run/docker.sock\0", "/usr/bin/dockerd\0-H\0fd://\0");
        let both = self::told(&[("process", inner), ("process", own)]);
        assert_eq!(both.process_of("/var/run/docker.sock").map(|process| process.flags[0].as_str()), Some("-H"));
        assert_eq!(Told::default().unit_flags(), Vec::<String>::new());
    }

    #[test]
    fn a_unit_is_read_with_its_variables_filled_in() {
        // As Debian's docker.io has it, with a drop-in that sets a variable.
        let unit = "ExecStart={ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// --data-root=${ROOT}/docker $DOCKER_OPTS $NONE ; \
                    ignore_errors=no ; start_time=[Sat 2026-11-21 20:00:00 UTC] ; stop_time=[n/a] ; pid=812 ; code=(null) ; status=0/0 }\n\
                    Environment=ROOT=/srv \"PROXY=http://proxy one\"\n\
                    EnvironmentFiles=/etc/default/docker (ignore_errors=yes)\n";
        let file = "# DOCKER_OPTS=\"--dns 8.8.8.8\"\nDOCKER_OPTS=\"--registry-mirror https://m.example --label 'a b'\"\n";
        let flags = told(&[("unit", unit), ("environment", file)]).unit_flags();
        let expect = ["-H", "fd://", "--data-root=/srv/docker", "--registry-mirror", "https://m.example", "--label", "a b"];
        assert_eq!(flags, expect);
        assert_eq!(told(&[("unit", "ExecStart=\n")]).unit_flags(), Vec::<String>::new());
    }
}
