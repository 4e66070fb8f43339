//! What the kernel says of a process: the time its threads took, and the most memory it held.
//! Never asks the process itself.

use std::{collections::BTreeMap, ffi::OsString, fs};

/// Nanoseconds on a processor, of each thread but those of this name.
pub type Busy = BTreeMap<OsString, u64>;

pub fn busy(pid: u32, but: &str) -> Busy {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_task = |task: fs::DirEntry| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        if name.trim() == but {
            return None;
        }
        // The first number is the time spent running, in nanoseconds.
        fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok().map(|ns| (task.file_name(), ns))
    };
    tasks.filter_map(of_task).collect()
}

/// The nanoseconds between two looks. A thread that has ended in between had nothing to do: tokio lets such go.
pub fn busy_ns(before: &Busy, after: &Busy) -> u64 {
    after.iter().map(|(thread, ns)| ns.saturating_sub(before.get(thread).copied().unwrap_or(0))).sum()
}

/// The most memory it ever held, in megabytes.
pub fn peak_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).map_or(0.0, |kb| kb * 1024.0 / 1e6)
}

/// `x86_64, 2 cores, AMD EPYC`.
pub fn words() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map_or("", |(_, name)| name.trim());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{}, {cores} cores, {model}; load {}", std::env::consts::ARCH, load.split(' ').next().unwrap_or_default())
}
