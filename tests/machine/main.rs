//! What castoff reads and writes on a host: here, through a real sshd, with busybox, and by a stand-in for sudo.
//! No lab is needed; it has to be root, as lab and CI are.

mod daemons;
mod files;
mod places;
#[path = "../logins/servers.rs"]
mod servers;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the stores of other tests are started in other ways")]
mod support;
mod tied;
