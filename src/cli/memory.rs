//! What is in memory stays there: passwords are among it.
//! Never changes what a run does.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No core dump of this process or its children, and no other process of the same user reads its memory.
pub fn keep() {
    // Both only take away, so neither can be refused.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
