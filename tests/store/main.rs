//! The two stores of Backend.AI, against real servers that the tests start themselves.

mod etcd;
mod postgres;
mod schema;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the tests of two operators need more of the servers")]
mod support;
