//! Pending writes: what tasks leave beside the checkpoint that they started from.

use runloom_core::checkpoint::{Blob, PendingWrite};
use serde_json::Value;

use super::slots::Slot;
use super::snapshot::ReadError;
use crate::command::{Goto, Send};
use crate::error::Interrupt;

/// The channels of special writes, and the slots that they have.
const ERROR: (&str, i32) = ("__error__", -1);
const INTERRUPT: (&str, i32) = ("__interrupt__", -3);
pub(super) const RESUME: (&str, i32) = ("__resume__", -4);

/// The channel of places to go next.
const GOTO: &str = "__goto__";

/// The channel that marks a task as finished that wrote nothing.
const NO_WRITES: &str = "__no_writes__";

/// What a task did when it finished.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Finished {
    /// Writes to channels, in order.
    pub(crate) writes: Vec<(String, Value)>,
    /// Where to go next, by its command and the conditional edges of its node.
    pub(crate) places: Vec<Goto>,
}

impl Finished {
    /// The writes as clients see them: an object, `None` if nothing was written.
    pub(crate) fn shown(&self, shows: impl Fn(&str) -> bool) -> Option<Value> {
        let mut map = serde_json::Map::new();
        for (channel, value) in self.writes.iter().filter(|(channel, _)| shows(channel)) {
            map.insert(channel.clone(), value.clone());
        }
        (!map.is_empty()).then_some(Value::Object(map))
    }
}

/// Something that a task leaves.
pub(crate) enum Row<'a> {
    /// It finished.
    Finished(&'a Finished),
    /// It failed or was stopped.
    Error(&'a str),
    /// It waits for a human.
    Interrupts(&'a [Interrupt]),
    /// The answers it has so far.
    Answers(&'a [Value]),
}

impl Row<'_> {
    /// The writes to store for the task in `slot`.
    pub(crate) fn encode(&self, slot: &Slot) -> Result<Vec<PendingWrite>, serde_json::Error> {
        let path = slot.path_text();
        let ((channel, index), blob) = match self {
            Self::Finished(finished) => return finished_rows(finished, &slot.id, &path, 0),
            Self::Error(text) => (ERROR, Blob::json(text)?),
            Self::Interrupts(interrupts) => (INTERRUPT, Blob::json(interrupts)?),
            Self::Answers(answers) => (RESUME, Blob::json(answers)?),
        };
        Ok(vec![row(&slot.id, &path, index, channel, blob)])
    }
}

pub(super) fn row(task: &str, path: &str, index: i32, channel: &str, blob: Blob) -> PendingWrite {
    PendingWrite {
        task_id: task.to_owned(),
        task_path: path.to_owned(),
        index,
        channel: channel.to_owned(),
        blob,
    }
}

pub(super) fn finished_rows(
    finished: &Finished,
    task: &str,
    path: &str,
    from: i32,
) -> Result<Vec<PendingWrite>, serde_json::Error> {
    let mut rows = Vec::new();
    let mut add = |channel: &str, value: &Value| -> Result<(), serde_json::Error> {
        let index = from + i32::try_from(rows.len()).unwrap_or(i32::MAX);
        rows.push(row(task, path, index, channel, Blob::json(value)?));
        Ok(())
    };
    for (channel, value) in &finished.writes {
        add(channel, value)?;
    }
    for place in &finished.places {
        add(GOTO, &place.to_value())?;
    }
    if rows.is_empty() {
        rows.push(row(task, path, from, NO_WRITES, Blob::json(&Value::Null)?));
    }
    Ok(rows)
}

/// What is known of a task from its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    pub(crate) finished: Option<Finished>,
    pub(crate) error: Option<String>,
    pub(crate) interrupts: Vec<Interrupt>,
    pub(crate) answers: Vec<Value>,
}

impl Progress {
    /// The progress of the task `id`.
    pub(crate) fn of(rows: &[PendingWrite], id: &str) -> Result<Self, ReadError> {
        let mut progress = Self::default();
        for row in rows.iter().filter(|row| row.task_id == id) {
            match (row.channel.as_str(), row.index) {
                ERROR => progress.error = Some(decode(&row.blob)?),
                INTERRUPT => progress.interrupts = decode(&row.blob)?,
                RESUME => progress.answers = decode(&row.blob)?,
                (_, ..0) => {}
                _ => {
                    let finished = progress.finished.get_or_insert_default();
                    add_row(finished, row)?;
                }
            }
        }
        Ok(progress)
    }
}

pub(super) fn add_row(finished: &mut Finished, row: &PendingWrite) -> Result<(), ReadError> {
    match row.channel.as_str() {
        NO_WRITES => {}
        GOTO => finished.places.push(place(decode(&row.blob)?)?),
        channel => {
            let value = decode(&row.blob)?;
            finished.writes.push((channel.to_owned(), value));
        }
    }
    Ok(())
}

/// A place as it is stored, and as clients write it in a command.
pub(crate) fn place(value: Value) -> Result<Goto, ReadError> {
    match value {
        Value::String(node) => Ok(Goto::Node(node)),
        Value::Object(mut send) => {
            let node = send.get("node").and_then(Value::as_str).map(str::to_owned);
            let node = node.ok_or_else(|| ReadError::NoPlace(Value::Object(send.clone())))?;
            let input = send.remove("input").unwrap_or_default();
            Ok(Goto::Send(Send { node, input }))
        }
        other => Err(ReadError::NoPlace(other)),
    }
}

pub(super) fn decode<T: serde::de::DeserializeOwned>(blob: &Blob) -> Result<T, ReadError> {
    if blob.kind != "json" {
        return Err(ReadError::Encoding(blob.kind.clone()));
    }
    Ok(serde_json::from_slice(&blob.data)?)
}
