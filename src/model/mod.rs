//! Layer 0: what castoff talks about, as plain data and pure functions.
//! Nothing here knows files, clocks, the network or the terminal.

pub mod backend_ai;
pub mod brown_out;
pub mod chain;
pub mod change;
mod changed;
pub mod check;
pub mod configure;
pub mod containerd_config;
pub mod counts;
pub mod daemon_json;
pub mod diff;
pub mod docker_hosts;
pub mod doctor;
pub mod edge;
pub mod entry;
pub mod event;
pub mod fault;
pub mod fold;
pub mod hangup;
pub mod hold;
pub mod holder;
pub mod hosts_toml;
pub mod image;
pub mod inventory;
pub mod json_bytes;
pub mod ledger;
mod left;
pub mod limits;
pub mod machine;
pub mod mirror_choice;
pub mod need;
pub mod pace;
pub mod place;
pub mod plan;
pub mod platform9;
pub mod problems;
pub mod projection;
mod proven;
pub mod registries_conf;
pub mod requests;
pub mod run;
pub mod text;
pub mod veil;
pub mod wave;
mod wave_words;
pub mod window;
pub mod world;

pub use backend_ai::Era;
pub use change::{Change, KeyDiff, Known, RowDiff, Service, Standing, Value, WayBack};
pub use check::{Check, Problem};
pub use configure::{FileDiff, FileText, Proof, Prover, TakesUp};
pub use counts::{Counts, Tally};
pub use entry::{Entry, Outcome, Stamped};
pub use event::{
    Asked, Command, Event, GateReport, LayerPhase, LayerProgress, Level, Progress, SurveyLine, Target, Wait, is_reason,
};
pub use fault::{Fault, FaultKind};
pub use fold::IllegalEntry;
pub use hangup::OnHangup;
pub use holder::Holder;
pub use image::{Digest, ImageRef};
pub use inventory::{
    BackendAi, Container, ContainerState, Host, Inventory, Layer, LocalImage, Manager, Manifest, Part, Refusal, Registry, Row,
    Session, Store, Unanswered, Wants,
};
pub use ledger::{LedgerLine, Verdict};
pub use limits::{Limit, LimitChange, Limits};
pub use machine::{ContainerdDaemon, Cri, DockerDaemon, FileState, Machine, MachineWants, Podman, Reach, ReachWant, TakenUp};
pub use mirror_choice::{FileToWrite, Login, MirrorChoice};
pub use need::{Need, need, question};
pub use pace::Pace;
pub use place::Mistake;
pub use plan::{Ask, ChangeId, Gate, Kept, Plan, PlannedChange, PlannedStep, Totals};
pub use platform9::Platform9Cluster;
pub use projection::{End, Loads, Projection};
pub use run::{ChangeState, Next, State, Status, StepState, Stop, tried};
pub use wave::{Aside, CANARY_SENTENCE, Hold, WaveState, Waves};
pub use window::Window;
