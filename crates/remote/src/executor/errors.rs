//! Errors of one side in the words of the other.

use runloom_core::database::DatabaseError;
use runloom_core::executor::{ExecutorError, HostError};
use runloom_core::ids::GraphId;
use runloom_core::run::RunError;

use super::convert::Odd;
use crate::peer::CallError;
use crate::protocol::{Malformed, RemoteError};

/// What the executor is told when its host refuses.
pub(super) fn refusal(error: &HostError) -> RemoteError {
    let kind = match error {
        HostError::Fenced => RemoteError::FENCED,
        HostError::Unavailable(_) => RemoteError::UNAVAILABLE,
    };
    RemoteError::new(kind, error.to_string())
}

/// What the executor is told when the long-term memory refuses.
pub(super) fn refusal_of_items(error: &DatabaseError) -> RemoteError {
    let kind = match error {
        DatabaseError::Fenced => RemoteError::FENCED,
        _ => RemoteError::UNAVAILABLE,
    };
    RemoteError::new(kind, error.to_string())
}

impl From<Odd> for RemoteError {
    fn from(error: Odd) -> Self {
        Self::new(Self::INVALID, error.to_string())
    }
}

impl From<Malformed> for RemoteError {
    fn from(error: Malformed) -> Self {
        Self::new(Self::INVALID, error.to_string())
    }
}

/// Why a question about `graph` has no answer.
pub(super) fn of_question(error: CallError, graph: &GraphId) -> ExecutorError {
    match error {
        CallError::Gone | CallError::Late(_) => ExecutorError::Unavailable(error.to_string()),
        CallError::Refused(refusal) => match refusal.kind.as_str() {
            RemoteError::UNKNOWN_GRAPH => ExecutorError::UnknownGraph(graph.clone()),
            RemoteError::INVALID => ExecutorError::Invalid(refusal.message),
            RemoteError::UNAVAILABLE => HostError::Unavailable(refusal.message).into(),
            RemoteError::FENCED => HostError::Fenced.into(),
            _ => {
                let traceback = refusal.traceback.as_deref().unwrap_or_default();
                tracing::warn!(graph.id = %graph, traceback, "a question about a graph failed");
                ExecutorError::Failed(refusal.message)
            }
        },
        CallError::Malformed(_) | CallError::TooLarge(_) => {
            ExecutorError::Failed(error.to_string())
        }
    }
}

/// Why a run failed, as clients see it.
pub(super) fn of_run(error: Option<RemoteError>) -> RunError {
    let error = error.unwrap_or_else(|| {
        RemoteError::new("ExecutorError", "the executor did not say what failed")
    });
    RunError::new(error.kind, error.message)
}
