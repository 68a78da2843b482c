//! The latest state of a thread as far as it is kept without its graph: shown while no executor can
//! compute it.

use runloom_core::checkpoint::{Checkpoint, CheckpointRef};
use runloom_core::ids::CheckpointId;
use runloom_core::json::Json;
use runloom_core::projection;
use runloom_core::state::{StateQuery, ThreadState};
use runloom_core::thread::{Thread, ThreadStatus};
use serde_json::Value;

use crate::Gateway;
use crate::error::Refusal;

/// Whether what is kept answers `query`: it is about the latest checkpoint of the root graph.
pub(super) fn answers(query: &StateQuery) -> bool {
    query.ns.is_empty() && query.checkpoint_id.is_none()
}

/// What is kept: the values, the checkpoint and what waits for a human. What would run next is not.
pub(super) async fn state(gateway: &Gateway, thread: Thread) -> Result<ThreadState, Refusal> {
    let stored = gateway.database().checkpoint(thread.id, "", None).await?;
    let Some(stored) = stored else {
        return Ok(ThreadState::empty());
    };
    let at_rest = thread.status != ThreadStatus::Busy;
    let values = thread.values.filter(|_| at_rest).unwrap_or_else(|| {
        // Newer than what the last run left, but with all channels instead of those that are shown.
        Json::from_value(&Value::Object(projection::values(&stored)))
    });
    let waiting = thread.interrupts.into_iter();
    let waiting = waiting.filter_map(|(_, waiting)| match waiting {
        Value::Array(waiting) => Some(waiting),
        _ => None,
    });
    let checkpoint = stored.checkpoint;
    let parent = checkpoint.parent.clone();
    Ok(ThreadState {
        values,
        interrupts: waiting.flatten().collect(),
        created_at: Some(checkpoint.created_at),
        checkpoint: Some(place(&checkpoint, checkpoint.id.clone())),
        parent_checkpoint: parent.map(|parent| place(&checkpoint, parent)),
        metadata: Some(checkpoint.metadata),
        ..ThreadState::empty()
    })
}

fn place(checkpoint: &Checkpoint, id: CheckpointId) -> CheckpointRef {
    CheckpointRef {
        thread_id: checkpoint.thread_id,
        checkpoint_ns: checkpoint.ns.clone(),
        checkpoint_id: Some(id),
        checkpoint_map: None,
    }
}
