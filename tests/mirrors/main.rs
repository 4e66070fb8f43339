//! The runbooks of mirrors, run by the real program on the mirrors' lab: real daemons, real mirrors, and counts of what
//! reached them. What is true is read from files and daemons, never from castoff.
//!
//! `make test` sets everything up; by hand: `lab/up --for mirrors`, then
//! `CASTOFF_LAB_MIRRORS=$PWD/lab/.state/default cargo test --test mirrors`.

mod containerd;
mod docker;
#[path = "../support/mirrors.rs"]
mod mirrors;
mod podman;
mod scene;
