//! Workflow graphs and their phase machine as flat arrays.
//!
//! Pure: no I/O, no clock, no Python. Time and everything else from outside comes in with events; what is to be done comes
//! out as effects. Start with `phase.rs` for the rules, `kernel.rs` for the one call, `step.rs` for what it does.

mod bulk;
mod check;
mod driver;
mod elements;
mod error;
mod frontier;
mod graph;
mod kernel;
mod line;
mod map;
mod order;
mod phase;
mod retry;
mod run;
mod snapshot;
mod step;
mod stop;
mod story;
mod timer;
mod turn;

pub use driver::Driver;
pub use elements::MapCounts;
pub use error::CoreError;
pub use graph::{Graph, NONE, NodeColumns};
pub use kernel::Kernel;
pub use phase::{
    AbortReason, EffectKind, EventKind, FailureClass, Kind, NEXT, Phase, Refusal, RunPhase,
};
pub use run::{Failures, Run};
pub use turn::{Effects, Event, Events, Refused, Transitions, Turn};
