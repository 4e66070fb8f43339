//! Ports for servers of tests.

use std::{
    fs::File,
    net::TcpListener,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// A port on which nobody listens, and which nobody takes by chance before a server of ours does: it is none of those that
/// Linux gives away (32768 and up) or that labs use, and each process of tests picks from five hundred of its own.
pub fn free_port() -> u16 {
    const EACH: u16 = 500;
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
