//! Who is at the other end: names of users, and who may ask. The kernel's word counts, never the peer's own.

use super::wire::Ask;
use crate::model::text;

/// More is no name of a terminal.
const LONGEST: usize = 80;

/// Name of a user of this machine.
pub fn user(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = uid.to_string();
    let of_uid = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(&number)).then(|| name.to_owned())
    };
    passwd.lines().find_map(of_uid).unwrap_or_else(|| format!("uid {uid}"))
}

/// Name of this machine.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Why this user may not look on, if so: only the owner of the run and root may.
pub fn refused(uid: u32) -> Option<String> {
    let owner = rustix::process::geteuid().as_raw();
    let allowed = uid == owner || uid == 0;
    (!allowed).then(|| format!("this run belongs to {}: {} may not watch it or act on it", user(owner), user(uid)))
}

/// `kim as root on ops-01, pts/3`: who asks, for the journal. Only root is believed about who became it.
pub fn by(uid: u32, ask: &Ask) -> String {
    let short = |words: &str| text::clean(words).chars().take(LONGEST).collect::<String>();
    let name = user(uid);
    let name = match &ask.sudo {
        Some(real) if uid == 0 && *real != name => format!("{} as {name}", short(real)),
        _ => name,
    };
    let terminal = short(&ask.terminal);
    let terminal = if terminal.is_empty() { "no terminal".to_owned() } else { terminal };
    text::clean(&format!("{name} on {}, {terminal}", host()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Command;

    #[test]
    fn the_journal_names_who_asked_and_nobody_can_pretend() {
        let ask = |sudo: Option<&str>, terminal: &str| Ask {
            id: 1,
            terminal: terminal.to_owned(),
            sudo: sudo.map(str::to_owned),
            command: Command::Pause,
        };
        let on = host();
        assert_eq!(by(0, &ask(Some("kim"), "pts/3")), format!("kim as root on {on}, pts/3"));
        assert_eq!(by(0, &ask(None, "")), format!("root on {on}, no terminal"));
        assert_eq!(by(4_000_000, &ask(Some("kim"), "pts/3")), format!("uid 4000000 on {on}, pts/3"));
        assert_eq!(by(0, &ask(None, "\u{1b}[2Jpts/3")), format!("root on {on}, pts/3"));
        assert!(by(0, &ask(None, &"x".repeat(10_000))).len() < 200);
    }
}
