//! What finished tasks of the stopped superstep had written to the chat. A resume takes their
//! writes as they are; without this, a new input would lose them.

use runloom_core::checkpoint::{NULL_TASK, PendingWrite};
use runloom_core::message::{add_messages, coerce_all};
use runloom_core::projection::to_json;
use serde_json::Value;
use uuid::Uuid;

use super::Stopped;

/// Their messages, in the order of the tasks, without those that the checkpoint itself has already.
/// `before`, which is what readers see, may show them as well, so where the checkpoint does not say what
/// it has (nothing yet, or only differences), all of them are kept: by their ids they come only once.
pub(super) fn messages(stopped: &Stopped<'_>, before: &[Value]) -> Vec<Value> {
    let mut kept = Vec::new();
    let known = checkpointed(stopped);
    let has_it = |merged: &[Value], message: &Value| known.is_some() && merged.contains(message);
    let mut merged = known.clone().unwrap_or_else(|| before.to_vec());
    let writes = stopped.stored.map(|stored| stored.writes.as_slice());
    let own = |write: &&PendingWrite| {
        write.index >= 0
            && write.task_id != NULL_TASK
            && Some(write.channel.as_str()) == stopped.channel
    };
    for write in writes.unwrap_or_default().iter().filter(own) {
        let Some(update) = update(stopped, write) else {
            continue;
        };
        // What cannot be merged here could not be merged when the state is read either.
        let Ok(after) = add_messages(&merged, &Value::Array(update.clone())) else {
            continue;
        };
        let new = update
            .into_iter()
            .filter(|message| !has_it(&merged, message));
        kept.extend(new);
        merged = after;
    }
    kept
}

/// The messages of the checkpoint itself, without any pending write.
fn checkpointed(stopped: &Stopped<'_>) -> Option<Vec<Value>> {
    let blob = stopped.stored?.channels.get(stopped.channel?)?;
    let Ok(Value::Array(messages)) = to_json(blob) else {
        return None;
    };
    Some(messages)
}

/// The messages of one write. One without an id gets the same whenever this is asked, so that it is
/// never kept twice.
fn update(stopped: &Stopped<'_>, write: &PendingWrite) -> Option<Vec<Value>> {
    let raw = to_json(&write.blob).ok()?;
    let mut messages = coerce_all(&raw).ok()?;
    let given = given_ids(&raw);
    for (place, message) in messages.iter_mut().enumerate() {
        if !given.iter().any(|id| message["id"] == **id) {
            let name = format!("{}:{}:{place}", write.task_id, write.index);
            let id = Uuid::new_v5(&stopped.run.thread_id.0, name.as_bytes());
            message["id"] = Value::String(id.to_string());
        }
    }
    Some(messages)
}

/// The ids that the messages brought, in any of the forms a message can have.
fn given_ids(raw: &Value) -> Vec<&str> {
    let messages = raw
        .as_array()
        .map_or(std::slice::from_ref(raw), Vec::as_slice);
    let places = messages.iter().flat_map(|message| {
        [
            &message["id"],
            &message["data"]["id"],
            &message["kwargs"]["id"],
        ]
    });
    places.filter_map(Value::as_str).collect()
}
