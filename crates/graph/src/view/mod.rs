//! What readers see of a checkpoint, and changes from outside any run.

mod glance;
mod place;
mod states;
mod update;

pub(crate) use glance::{head, head_at_end};
pub(crate) use states::{history, state};
pub(crate) use update::update_state;

use runloom_core::executor::ExecutorError;

use crate::state::ReadError;

impl From<ReadError> for ExecutorError {
    fn from(error: ReadError) -> Self {
        Self::Failed(error.to_string())
    }
}
