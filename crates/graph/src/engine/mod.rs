//! The engine: plan, execute, apply, checkpoint, again.
//!
//! One [`Loop`] drives one graph; a subgraph's loop runs inside the task of its node. Loops never
//! touch the host, so they can be dropped at any point.

mod begin;
mod breakpoints;
mod command;
mod fork;
mod ledger;
mod level;
mod looping;
mod nested;
mod start;
mod superstep;
mod tasks;

pub(crate) use begin::{apply_input, begin};
pub(crate) use command::{InputCommand, update as parse_update};
pub(crate) use level::{Level, Voice, reference};
pub(crate) use looping::Loop;
pub(crate) use nested::{Nested, run_nested};
pub(crate) use start::{accepted_input, start_writes};

use crate::error::{Failure, Interrupt, NodeError};
use crate::run::StoreError;
use crate::state::ReadError;

/// How a loop ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// No tasks are left.
    Done,
    /// It waits for a human: for answers, or at a breakpoint if there are none to give.
    Paused(Vec<Interrupt>),
    /// It was asked to stop.
    Stopped,
    /// It was asked to drain.
    Drained,
}

/// Why a loop broke off.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// A node or the graph failed.
    Failed(Failure),
    /// Nothing can be stored any more.
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NodeError> for Fault {
    fn from(error: NodeError) -> Self {
        let kind = error.kind().to_owned();
        Self::Failed(Failure::new(kind, error.to_string()))
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Update(error) => error.into(),
            other => Self::Failed(Failure::new("CheckpointError", other.to_string())),
        }
    }
}

impl From<crate::channel::UpdateError> for Fault {
    fn from(error: crate::channel::UpdateError) -> Self {
        Self::Failed(Failure::new("InvalidUpdateError", error.to_string()))
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(Failure::new("CheckpointError", error.to_string()))
    }
}
