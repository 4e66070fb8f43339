//! castoff: cast off from Docker Hub, one journaled change at a time.
//!
//! # The idea
//!
//! A **plan** is a fold of changes over an inventory. A **run** is a fold of entries over a state. The engine turns the
//! first into the second, one change at a time, and writes to the journal before it acts. Everything else (terminal,
//! plain and headless lines, resume, rollback, dry run, simulator, report) reads one of the two folds.
//!
//! ```text
//!   runbook.toml ──parse──▶ Runbook ──plan(inventory)──▶ Plan                pure, no IO
//!                                                         │ approved, written to the journal
//!                                                         ▼
//!   operator ───Command──▶ Engine ──Change──▶ Cluster (Live | Sim)
//!                           │   ▲                │
//!                    Entry  │   └──── standing ──┘
//!                           ▼
//!                        Journal (durable)
//!                           │ then
//!                           ▼ Event
//!                    tui / headless / report:  State::apply(entry), draw or print
//! ```
//!
//! # The map, in reading order
//!
//! | layer | module | what it is |
//! |---|---|---|
//! | 0 | [`model`] | plain data and pure functions: `model::change`, `model::world`, `model::run` are the heart |
//! | 0 | [`private`] | files on this machine for their owner alone |
//! | 1 | [`actions`] | runbook words turned into changes; one file each, one table |
//! | 2 | [`runbook`] | TOML, and the plan it makes of an inventory |
//! | 2 | [`journal`] | append, read, lock, take over; in a folder, or in a PostgreSQL that operators share |
//! | 2 | [`cluster`] | the only seam to the outside: `Live` and `Sim` |
//! | 3 | [`engine`] | the loop: limits, waves, gates, retry, undo, stop |
//! | 3 | [`remote`] | a second terminal at a run: the socket, who looks on, who asks |
//! | 3 | [`notify`] | tells a command or a webhook when a run needs a person |
//! | 3 | [`report`], [`account`] | a plan and a run as text; a run as lines, one an event |
//! | 3 | [`headless`], [`plain`], [`tui`] | front ends: they see events and send commands, and know nothing else |
//! | 4 | [`cli`] | wires everything |
//!
//! # What always holds (`tests/layers.rs` and `tests/crash.rs` keep it)
//!
//! - Written first, done second, shown third. A journal that cannot be written stops the run before the next effect.
//! - Right before an effect the journal and the cluster are asked whether the run is still ours (`engine::guard`).
//! - A change is applied only if the world still stands `Before`; it is `Done` only after reading back.
//! - What somebody else did is `Found` and no rollback touches it.
//! - No action does IO; no front end knows the engine; nothing but `cluster` opens a connection (a notice's webhook apart).
//! - No secret is in a plan, an entry, an event or a report: passwords are read as `Value::Hidden`.

pub mod account;
pub mod actions;
pub mod cli;
pub mod cluster;
pub mod engine;
pub mod headless;
pub mod journal;
pub mod model;
pub mod notify;
pub mod plain;
pub mod private;
pub mod remote;
pub mod report;
pub mod runbook;
pub mod tui;
