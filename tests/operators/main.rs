//! Two operators: a journal in a real PostgreSQL, the lease of a cluster in a real etcd, and that whoever lost a run has no
//! effect any more.

mod fence;
mod lease;
mod shared;
#[expect(dead_code, reason = "whole castoffs need more of it")]
mod stall;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "less of the stores than their own tests need")]
mod support;

use castoff::journal::{Home, Place};
use castoff::model::Holder;
use std::path::Path;
use support::postgres::{Database, PASSWORD};

/// A castoff on a machine of its own.
pub fn holder(who: &str) -> Holder {
    Holder {
        who: format!("{who} on {who}-01"),
        host: format!("{who}-01"),
        pid: 4123,
        since: "2026-11-21 02:14:11 UTC".to_owned(),
        process: format!("{who} 1"),
    }
}

pub async fn home(state: &Path, url: String) -> Home {
    try_home(state, url).await.unwrap()
}

pub async fn try_home(state: &Path, url: String) -> Result<Home, castoff::journal::JournalError> {
    let is_dead = |holder: &Holder| holder.who.starts_with("dead");
    Home::shared(state, Place { url, password: Some(PASSWORD.into()), ca: None, client: None, is_dead }).await
}

pub async fn database() -> Database {
    Database::with("").await
}
