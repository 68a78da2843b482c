//! Checkpoints: a thread's state after a superstep, as rows that serve graphs of any language.
//!
//! Values are opaque typed bytes. Large channel values are stored once per version and shared by
//! all checkpoints that name the version. Writes of tasks that finished in a superstep that did not
//! are kept beside the checkpoint they started from ("pending writes").

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{CheckpointId, RunId, ThreadId};
use crate::json::JsonMap;

/// The id of the task that stands for the checkpoint itself: its pending writes belong to the
/// state and are applied whenever it is read or built upon.
pub const NULL_TASK: &str = "00000000-0000-0000-0000-000000000000";

/// The path of pending writes that keep what an aborted run had said ("residue"). They are part of
/// the state for readers and for a new input, and ignored by a resume.
pub const RESIDUE_PATH: &str = "~residue";

/// Where the rows of residue start within their task.
pub const RESIDUE_INDEX: i32 = 1_000;

/// Bytes with the name of their encoding, such as `json` or `msgpack`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// How `data` is encoded.
    pub kind: String,
    /// The encoded value.
    pub data: Bytes,
}

impl Blob {
    /// A value encoded as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self {
            kind: "json".to_owned(),
            data: serde_json::to_vec(value)?.into(),
        })
    }
}

/// A checkpoint as its graph's runtime wrote it, without its channel values.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The thread it belongs to.
    pub thread_id: ThreadId,
    /// The namespace: empty for the root graph, `node:task` parts joined by `|` below it.
    pub ns: String,
    /// Its id; ids of one thread and namespace grow.
    pub id: CheckpointId,
    /// The checkpoint it was built upon.
    pub parent: Option<CheckpointId>,
    /// The run that wrote it; none for updates from outside.
    pub run_id: Option<RunId>,
    /// `source` (input, loop, update, fork), `step`, `parents`, and the run's own metadata.
    pub metadata: JsonMap,
    /// What the runtime needs besides channel values, opaque.
    pub head: Blob,
    /// The version of each channel that has a value, by channel.
    pub versions: BTreeMap<String, String>,
    /// When it was made, by the runtime's clock.
    pub created_at: DateTime<Utc>,
}

/// The value of one channel at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelBlob {
    /// The channel.
    pub channel: String,
    /// The version; a value never changes once it has one.
    pub version: String,
    /// The value.
    pub blob: Blob,
}

/// A checkpoint to be stored, with the channel values that are new in it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Values of versions that were not stored before.
    pub blobs: Vec<ChannelBlob>,
}

/// One write of one task, kept beside a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingWrite {
    /// The task, by its id.
    pub task_id: String,
    /// Where the task stands in the graph; orders writes.
    pub task_path: String,
    /// Position within the task. Negative numbers are special slots (error -1, scheduled -2,
    /// interrupt -3, resume -4), which may be overwritten; others are written once.
    pub index: i32,
    /// The channel written to.
    pub channel: String,
    /// The value.
    pub blob: Blob,
}

/// Writes to be stored beside a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct NewWrites {
    /// The namespace of the checkpoint.
    pub ns: String,
    /// The checkpoint that the tasks started from.
    pub checkpoint_id: CheckpointId,
    /// The writes. Storing the same write twice is harmless.
    pub writes: Vec<PendingWrite>,
}

/// Something that an attempt has to store.
#[derive(Clone, Debug, PartialEq)]
pub enum Put {
    /// A checkpoint.
    Checkpoint(Box<NewCheckpoint>),
    /// Writes beside a checkpoint that was put before.
    Writes(NewWrites),
}

/// A checkpoint read back: with all its channel values and pending writes.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointTuple {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The value of every channel named in `checkpoint.versions`, by channel.
    pub channels: BTreeMap<String, Blob>,
    /// Pending writes, ordered by task path, task and index.
    pub writes: Vec<PendingWrite>,
}

/// Which checkpoints to list; newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckpointQuery {
    /// Only this namespace; all of them if none.
    pub ns: Option<String>,
    /// Only checkpoints older than this one.
    pub before: Option<CheckpointId>,
    /// Only checkpoints whose metadata contains this (JSON containment).
    pub metadata: JsonMap,
    /// At most so many.
    pub limit: Option<u32>,
}

/// Where a checkpoint is, as clients name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointRef {
    /// The thread.
    pub thread_id: ThreadId,
    /// The namespace.
    #[serde(default)]
    pub checkpoint_ns: String,
    /// The checkpoint; the latest if none.
    pub checkpoint_id: Option<CheckpointId>,
    /// The checkpoints of the graphs above and below, by namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_map: Option<JsonMap>,
}
