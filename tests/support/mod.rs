//! Real servers for tests, started in a temporary folder on free ports and stopped with the test.
//! A binary that is missing fails the test: a store is never tested against a stand-in.

pub mod etcd;
pub mod ports;
pub mod postgres;

pub use ports::free_port;
use std::{path::PathBuf, process::Command};

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
