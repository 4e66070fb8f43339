//! Cast off from Docker Hub.

pub mod cluster;
pub mod model;
pub mod tui;
