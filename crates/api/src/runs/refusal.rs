//! Why the description of a run, or a question about runs, is refused.

use runloom_core::ids::ThreadId;

use crate::error::ErrorCode;

/// What is wrong with a request about runs, before anything is looked up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunRefusal {
    /// It does not have the form it must have.
    #[error("{0}")]
    Invalid(String),
    /// A checkpoint id is not one.
    #[error("Invalid checkpoint ID")]
    InvalidCheckpoint,
    /// The checkpoint is that of another thread.
    #[error("The checkpoint belongs to thread {0}, not to the thread of this run.")]
    ForeignCheckpoint(ThreadId),
    /// Both ways to configure a run are used at once.
    #[error(
        "Cannot specify both configurable and context. Prefer setting context alone; it is also \
         available to the graph as configurable."
    )]
    BothConfigurations,
    /// There is no thread on which anything could be resumed.
    #[error("You must provide a thread_id when resuming.")]
    ResumeWithoutThread,
}

impl RunRefusal {
    /// The kind of refusal.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::InvalidCheckpoint | Self::ForeignCheckpoint(_) => {
                ErrorCode::Invalid
            }
            Self::BothConfigurations | Self::ResumeWithoutThread => ErrorCode::BadRequest,
        }
    }
}
