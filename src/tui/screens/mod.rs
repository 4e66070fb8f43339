//! The screens and boxes, one a file. Each draws a part of the interface's state.
//! Never holds a state of its own.

mod by_host;
mod by_image;
mod canary;
pub mod cell;
pub mod changes;
mod detail;
pub mod diff;
pub mod end;
pub mod explain;
pub mod failure;
pub mod gate;
pub mod held;
pub mod help;
mod hosts;
pub mod leave;
pub mod ledger;
pub mod log;
pub mod matrix;
pub mod notes;
pub mod overview;
pub mod palette;
pub mod plan;
pub mod resume;
mod rollback;
pub mod sides;
mod steps;
pub mod too_small;
pub mod waiting;
pub mod window;
mod zoom;

pub use detail::places;
