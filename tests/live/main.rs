//! castoff as its operators meet it, the program itself, against the real servers of a lab.
//!
//! `make test` sets everything up; by hand: `lab/up`, then
//! `CASTOFF_LAB=$PWD/lab/.state/default cargo test --test live`. No test needs what another one leaves behind.

mod back;
mod brown_out;
mod cut;
mod faults;
mod gates;
mod input;
mod kills;
mod lab;
mod operators;
mod saved;
mod secrets;
#[path = "../support/soak.rs"]
mod soak;
#[path = "../operators/stall.rs"]
#[expect(dead_code, reason = "the journal's own tests need more of it")]
mod stall;
mod story;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "less of the stores than their own tests need")]
mod support;
mod whole;
mod world;
