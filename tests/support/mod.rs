//! Real servers for tests, started in a temporary folder on free ports and stopped with the test.
//! A binary that is missing fails the test: a store is never tested against a stand-in.

pub mod etcd;
pub mod postgres;

use std::{
    fs::File,
    net::TcpListener,
    path::PathBuf,
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// A port on which nobody listens, and which nobody takes by chance before a server of ours does: it is none of those that
/// Linux gives away (32768 and up) or that labs use, and each process of tests picks from fifty of its own.
pub fn free_port() -> u16 {
    const EACH: u16 = 50;
    // Locked as long as the process lives.
    static OWN: LazyLock<(u16, File)> = LazyLock::new(|| {
        let folder = std::env::temp_dir().join(format!("castoff-test-ports-{}", rustix::process::geteuid().as_raw()));
        std::fs::create_dir_all(&folder).expect("a folder of locks");
        let mut firsts = (10_000..20_000).step_by(EACH.into());
        let own = firsts.find_map(|first| {
            let lock = File::create(folder.join(first.to_string())).ok()?;
            lock.try_lock().is_ok().then_some((first, lock))
        });
        own.expect("ports that no other process of tests has")
    });
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mut ports = std::iter::repeat_with(|| OWN.0 + NEXT.fetch_add(1, Ordering::Relaxed) % EACH).take(EACH.into());
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port on 127.0.0.1")
}

/// A program's path, or the end of the test with the Debian package that has it.
pub fn program(candidates: &[PathBuf], package: &str) -> PathBuf {
    let found = candidates.iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("none of {candidates:?} is here: install the Debian package `{package}`")).clone()
}

/// Runs a command to its end; its output is shown if it fails.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&text));
}
