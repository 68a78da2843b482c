//! What is kept of a run that was stopped in the middle of a superstep: what its finished tasks had
//! told the conversation, answers to tool calls that nobody answered, and text that was streamed.
//!
//! It is written beside the head as writes of the checkpoint itself, so that no checkpoint is made,
//! no user code runs and what would run next stays as it was. A resume ignores it.

mod partial;
mod reason;
mod siblings;
mod tool_calls;

use runloom_core::checkpoint::{
    Blob, CheckpointTuple, NULL_TASK, NewWrites, PendingWrite, RESIDUE_INDEX, RESIDUE_PATH,
};
use runloom_core::json::{Json, JsonMap};
use runloom_core::message::add_messages;
use runloom_core::partial::{Partial, ToolCalls};
use runloom_core::run::Run;
use runloom_core::state::Head;
use serde_json::Value;

pub(crate) use reason::Reason;

use crate::said::Spoken;

/// A run that was stopped, and where it stood.
pub(crate) struct Stopped<'a> {
    /// The run.
    pub(crate) run: &'a Run,
    /// Why it was stopped.
    pub(crate) reason: Reason,
    /// The channel of chat messages of its graph, if it has one.
    pub(crate) channel: Option<&'a str>,
    /// What was streamed of tasks that did not finish.
    pub(crate) spoken: &'a [Spoken],
    /// The head.
    pub(crate) head: Head,
    /// The head as it is stored, with its pending writes.
    pub(crate) stored: Option<&'a CheckpointTuple>,
    /// Whether the head is where the executor itself says that it stopped, so that tasks of other
    /// nodes than those that would run next are known to be finished.
    pub(crate) exact: bool,
}

/// What becomes of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Residue {
    /// The head with the residue applied.
    pub(crate) head: Head,
    /// What to store beside the head.
    pub(crate) writes: Option<NewWrites>,
    /// What the run had said, for its record.
    pub(crate) said: Option<Json>,
}

/// What a run had said, if it is not known where it stood.
pub(crate) fn record(run: &Run, reason: Reason, spoken: &[Spoken]) -> Option<Json> {
    let spoken = spoken
        .iter()
        .filter(|spoken| !spoken.text.trim().is_empty());
    let said: Vec<_> = spoken
        .map(|spoken| partial::message(run, reason, spoken))
        .collect();
    (!said.is_empty()).then(|| Json::from_value(&Value::Array(said)))
}

/// Decides what is kept, and in which order.
pub(crate) fn of(stopped: Stopped<'_>) -> Residue {
    let mut values: JsonMap = stopped.head.values.parse().unwrap_or_default();
    let before = stopped.messages(&values);
    let policy = stopped.run.policy;

    let known = |id: &str| before.iter().any(|message| message["id"] == id);
    let unsaid = |spoken: &&Spoken| !known(&spoken.message_id) && !spoken.text.trim().is_empty();
    let spoken: Vec<_> = stopped.spoken.iter().filter(unsaid).collect();
    let all_said = spoken
        .iter()
        .map(|spoken| partial::message(stopped.run, stopped.reason, spoken));
    let said: Vec<Value> = all_said.collect();

    let mut kept = Vec::new();
    if policy.partial == Partial::Auto || policy.tool_calls == ToolCalls::Repair {
        kept = siblings::messages(&stopped, &before);
    }
    if policy.tool_calls == ToolCalls::Repair {
        let answers = tool_calls::answers(&stopped, &before, &kept);
        kept.extend(answers);
    }
    if policy.partial == Partial::Auto {
        let unfinished = spoken.iter().map(|spoken| stopped.is_unfinished(spoken));
        let own = said.iter().zip(unfinished).filter(|(message, unfinished)| {
            // A finished task may have brought the whole message.
            *unfinished && kept.iter().all(|kept| kept["id"] != message["id"])
        });
        let own: Vec<_> = own.map(|(message, _)| message.clone()).collect();
        kept.extend(own);
    }

    let writes = stopped.writes(&kept);
    let mut head = stopped.head;
    if let (Some(_), Some(channel)) = (&writes, stopped.channel)
        && let Ok(after) = add_messages(&before, &Value::Array(kept))
        && values.contains_key(channel)
    {
        values.insert(channel.to_owned(), Value::Array(after));
        head.values = Json::from_value(&Value::Object(values));
    }
    let said = (!said.is_empty()).then(|| Json::from_value(&Value::Array(said)));
    Residue { head, writes, said }
}

impl Stopped<'_> {
    /// The messages in `values`.
    fn messages(&self, values: &JsonMap) -> Vec<Value> {
        let messages = self.channel.and_then(|channel| values.get(channel));
        messages
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    }

    /// Whether the task that spoke had not finished.
    fn is_unfinished(&self, spoken: &Spoken) -> bool {
        !self.exact || self.head.next.contains(&spoken.node)
    }

    /// `messages` as a write of the stored head; nothing without one.
    fn writes(&self, messages: &[Value]) -> Option<NewWrites> {
        let stored = self.stored?;
        let channel = self.channel.filter(|_| !messages.is_empty())?;
        // A head can be left twice, by a run and by one that resumed it; both are remembered.
        let taken = stored.writes.iter().filter(|write| is_residue(write));
        let index = taken.map(|write| write.index + 1).max();
        Some(NewWrites {
            ns: stored.checkpoint.ns.clone(),
            checkpoint_id: stored.checkpoint.id.clone(),
            writes: vec![PendingWrite {
                task_id: NULL_TASK.to_owned(),
                task_path: RESIDUE_PATH.to_owned(),
                index: index.unwrap_or(RESIDUE_INDEX),
                channel: channel.to_owned(),
                blob: Blob::json(messages).expect("a JSON value encodes"),
            }],
        })
    }
}

/// Whether a write is residue of an earlier stop.
pub(crate) fn is_residue(write: &PendingWrite) -> bool {
    write.task_id == NULL_TASK && write.task_path == RESIDUE_PATH
}

#[cfg(test)]
mod tests;
