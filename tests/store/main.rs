//! The two stores of Backend.AI, against real servers that the tests start themselves.

mod etcd;
mod postgres;
mod schema;
#[path = "../support/mod.rs"]
mod support;
