//! What the executor asks for on the data socket: checkpoints and the store.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::JsonBytes;

/// What every body on the data socket begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnBehalf {
    /// The number of the run or question that asks.
    pub call: u64,
}

/// A value as LangGraph's serializer wrote it, `[kind, bytes]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typed(
    /// `msgpack`, `json`, `bytes`, `null`, …
    pub String,
    /// The encoded value.
    pub Bytes,
);

/// A new value of a channel, `[channel, version, kind, bytes]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionedBlob(
    /// The channel.
    pub String,
    /// Its version.
    pub String,
    /// How the value is encoded.
    pub String,
    /// The encoded value.
    pub Bytes,
);

/// The value of a channel, `[channel, kind, bytes]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelValue(
    /// The channel.
    pub String,
    /// How the value is encoded.
    pub String,
    /// The encoded value.
    pub Bytes,
);

/// A pending write, `[task_id, task_path, index, channel, kind, bytes]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteRow(
    /// The task that wrote it.
    pub String,
    /// Where the task is in its superstep.
    pub String,
    /// The place among the task's writes.
    pub i32,
    /// The channel.
    pub String,
    /// How the value is encoded.
    pub String,
    /// The encoded value.
    pub Bytes,
);

/// The body of `get_checkpoint`; answered with a [`TupleBody`] or nil.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetCheckpoint {
    /// The namespace.
    pub ns: String,
    /// Which one; the latest if there is none.
    #[serde(default)]
    pub id: Option<String>,
}

/// The body of `list_checkpoints`; answered with a list of [`TupleBody`], newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListCheckpoints {
    /// Only this namespace.
    #[serde(default)]
    pub ns: Option<String>,
    /// Only checkpoints older than this one.
    #[serde(default)]
    pub before: Option<String>,
    /// Only checkpoints whose metadata contains this object.
    #[serde(default)]
    pub metadata: Option<JsonBytes>,
    /// The most checkpoints.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// The body of `put_checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutCheckpoint {
    /// The namespace.
    pub ns: String,
    /// Its id.
    pub id: String,
    /// The checkpoint before it.
    #[serde(default)]
    pub parent: Option<String>,
    /// Source, step and what the run added.
    pub metadata: JsonBytes,
    /// The checkpoint without the values of its channels.
    pub head: Typed,
    /// The channels that have a value, with the version of it.
    pub versions: BTreeMap<String, String>,
    /// The values that are new.
    pub blobs: Vec<VersionedBlob>,
    /// When it was made, RFC 3339.
    pub created_at: String,
}

/// The body of `put_writes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutWrites {
    /// The namespace.
    pub ns: String,
    /// The checkpoint from which the tasks started.
    pub checkpoint_id: String,
    /// What they wrote.
    pub writes: Vec<WriteRow>,
}

/// A stored checkpoint with everything that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TupleBody {
    /// The namespace.
    pub ns: String,
    /// Its id.
    pub id: String,
    /// The checkpoint before it.
    pub parent: Option<String>,
    /// The run that wrote it.
    pub run_id: Option<String>,
    /// Source, step and what the run added.
    pub metadata: JsonBytes,
    /// The checkpoint without the values of its channels.
    pub head: Typed,
    /// The channels that have a value, with the version of it.
    pub versions: BTreeMap<String, String>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// The values of the channels.
    pub channels: Vec<ChannelValue>,
    /// The pending writes.
    pub writes: Vec<WriteRow>,
}
