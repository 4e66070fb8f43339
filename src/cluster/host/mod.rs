//! A host as a machine: what castoff reads and writes there, here or over ssh. One command a question; what runs there is
//! a POSIX shell with coreutils or busybox. It never decides what a file should hold.

pub mod backup;
pub mod files;
