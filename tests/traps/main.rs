//! What Docker Engine, containerd and podman really do with mirrors: each trap that castoff minds is shown to exist, with
//! the daemons of the lab and what reached its mirrors. castoff itself is never run here.
//!
//! `make test` sets everything up; by hand: `lab/up --for mirrors`, then
//! `CASTOFF_LAB_MIRRORS=$PWD/lab/.state/default cargo test --test traps`.

mod containerd;
mod docker;
#[path = "../support/mirrors.rs"]
#[expect(dead_code, reason = "castoff's own tests need more of it")]
mod mirrors;
mod podman;
