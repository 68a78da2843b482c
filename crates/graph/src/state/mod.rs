//! The state of a graph at a checkpoint: channel values, and what runs next.

mod advance;
mod apply;
pub(crate) mod null_rows;
mod plan;
mod rows;
mod shown;
mod slots;
mod snapshot;

pub(crate) use advance::{Origin, Stamp};
pub(crate) use apply::{check, refused, routes};
pub(crate) use plan::{Plan, Planned, plan_after};
pub(crate) use rows::{Finished, Progress, Row, place};
pub(crate) use shown::Shown;
pub(crate) use slots::{Slot, slots};
pub(crate) use snapshot::{ReadError, Readers, Snapshot};
