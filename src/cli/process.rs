//! This process as others can know it: who, on which machine, and what tells it from every other one that ever ran.
//! Calls a process gone only where that is certain: on this machine, since its last start, in this very namespace.

use super::run::{now_ms, operator};
use crate::model::Holder;
use crate::remote::peer;
use crate::report;
use std::fs;

/// What stands in locks, in a shared journal and in etcd for the next one to read.
pub fn holder() -> Holder {
    Holder {
        who: operator(),
        host: peer::host(),
        pid: std::process::id(),
        since: report::moment(now_ms()),
        process: identity(std::process::id()).unwrap_or_default(),
    }
}

/// Whether the process of this holder is certainly gone. One of another machine is never called so.
pub fn is_dead(holder: &Holder) -> bool {
    let Some((machine, _)) = holder.process.rsplit_once(' ') else { return false };
    this_machine().is_some_and(|this| this == machine) && identity(holder.pid).as_ref() != Some(&holder.process)
}

/// Machine, then the moment of the process's start, in ticks since the machine's own.
fn identity(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything: the twentieth word is the start, the first the state.
    let (_, rest) = stat.rsplit_once(") ")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let gone = matches!(words.first(), Some(&("Z" | "X")));
    let started = words.get(19).filter(|_| !gone)?;
    Some(format!("{} {started}", this_machine()?))
}

/// One start of one machine, and the namespace in which its process numbers count.
fn this_machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_machine_that_is_gone_is_called_gone() {
        assert!(!is_dead(&holder()), "this one lives");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let of_child = Holder { pid: child.id(), process: identity(child.id()).unwrap(), ..holder() };
        assert!(!is_dead(&of_child));
        let elsewhere = Holder { process: of_child.process.replacen('-', "+", 1), ..of_child.clone() };
        child.kill().unwrap();
        assert!(of_child.process.starts_with(&this_machine().unwrap()));
        child.wait().unwrap();
        assert!(is_dead(&of_child));
        assert!(!is_dead(&elsewhere), "nobody knows from here");
        assert!(!is_dead(&Holder::named("kim")));
        let of_first = format!("{} 1", this_machine().unwrap());
        let another = Holder { pid: std::process::id(), process: of_first, ..of_child };
        assert!(is_dead(&another), "its number has another process now");
    }
}
