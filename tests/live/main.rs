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
mod lab;
mod saved;
mod secrets;
mod story;
mod whole;
mod world;
