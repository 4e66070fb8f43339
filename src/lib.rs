//! Cast off from Docker Hub.

pub mod actions;
pub mod cli;
pub mod cluster;
pub mod engine;
pub mod headless;
pub mod journal;
pub mod model;
pub mod report;
pub mod runbook;
pub mod tui;
