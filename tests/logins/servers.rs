//! Real servers, each in a folder of its own, ended with the test.

use crate::support::{free_port, program};
use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub struct Server {
    child: Child,
    pub folder: tempfile::TempDir,
    pub port: u16,
    /// What ends it well.
    pub signal: rustix::process::Signal,
}

impl Server {
    /// Starts a program of this Debian package; `arguments` gets its folder and its port. Waits until the port answers.
    pub fn start(name: &str, package: &str, arguments: impl FnOnce(&std::path::Path, u16) -> Vec<String>) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a temporary folder"), free_port());
        let log = std::fs::File::create(folder.path().join("log")).expect("a log file");
        let mut command = Command::new(find(name, package));
        command.args(arguments(folder.path(), port)).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a log file")).stderr(log);
        // Variables named REGISTRY_* would be read as its configuration.
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("REGISTRY_")) {
            command.env_remove(variable);
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        let server = Self { child, folder, port, signal: rustix::process::Signal::TERM };
        server.until(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    pub fn until(&self, ready: impl Fn() -> bool) {
        let begin = Instant::now();
        while !ready() {
            assert!(begin.elapsed() < Duration::from_mins(1), "it did not come up: {}", self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// By its own way out, so that what it started ends too.
    pub fn end(&mut self) {
        let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) else { return };
        let _ = rustix::process::kill_process(pid, self.signal);
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begin.elapsed() > Duration::from_secs(30) {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

pub fn find(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
    let places: Vec<PathBuf> = std::env::split_paths(&path).chain(own).map(|folder| folder.join(name)).collect();
    program(&places, package)
}
