//! Why a command did not run at all: what the system, ssh and sudo say, as a fault that helps.

use super::Output;
use crate::model::{Fault, FaultKind};

pub(super) fn not_started(program: &str, working_dir: Option<&str>, e: &std::io::Error) -> Fault {
    let kind = match e.kind() {
        std::io::ErrorKind::NotFound => FaultKind::Missing,
        std::io::ErrorKind::PermissionDenied => FaultKind::Denied,
        _ => FaultKind::Lasting,
    };
    let place = working_dir.map_or_else(String::new, |folder| format!(" in `{folder}`"));
    Fault::new(kind, format!("`{program}`{place}"), e.to_string())
}

/// ssh says why in its log; behind a jump host the reason is what the ssh to that one says, and not that the way ended.
pub(super) fn refused_by_ssh(what: &str, log: &str) -> Fault {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let with = |part: &str| lines.iter().copied().find(|line| line.contains(part));
    if log.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let place = with("Offending").and_then(|line| line.split(" key in ").nth(1));
        let why = place
            .map_or_else(|| "its host key has changed".to_owned(), |place| format!("its host key is not the one in {place}"));
        return Fault::new(FaultKind::Denied, what, why)
            .hint("somebody may be in between: find out why it changed, then correct known_hosts (`[ssh]` in the cluster file names the configuration that castoff uses)");
    }
    if log.contains("Host key verification failed") {
        let why = with("host key is known for").map_or("its host key is not known", |line| line.trim_end_matches('.'));
        return Fault::new(FaultKind::Denied, what, why)
            .hint("check its host key, then connect once by hand or add it to the known_hosts of the ssh configuration that `[ssh]` of the cluster file names");
    }
    if let Some(why) = with("Permission denied") {
        return Fault::new(FaultKind::Denied, what, why).hint(
            "castoff never types a password: load a key that this host accepts, or name it in the ssh configuration that `[ssh]` of the cluster file names; a certificate may have expired",
        );
    }
    if let Some(why) = with("Could not resolve hostname") {
        return Fault::new(FaultKind::Lasting, what, why).hint("neither DNS nor the ssh configuration knows the name");
    }
    if let Some(why) = with("Bad configuration option").or_else(|| with("Can't open user config file")) {
        return Fault::new(FaultKind::Lasting, what, why)
            .hint("correct the ssh configuration that `[ssh]` of the cluster file names");
    }
    Fault::new(FaultKind::Passing, what, lines.last().copied().unwrap_or("ssh ended without a word"))
}

/// Why sudo did not run a command at all. A command of its own that failed has other words, or printed something.
pub(super) fn refused_by_sudo(output: &Output) -> Option<String> {
    let line = output.stderr.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let own = line.strip_prefix("sudo: ").filter(|words| !words.starts_with("unable to resolve host"));
    let policy = [" is not in the sudoers file", " is not allowed to execute ", " may not run sudo"];
    let why = own.or_else(|| policy.iter().any(|part| line.contains(part)).then_some(line))?;
    (output.code == Some(1) && output.stdout.is_empty()).then(|| why.to_owned())
}
