//! Between the words of the protocol and those of the core.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use runloom_core::checkpoint::{
    Blob, ChannelBlob, Checkpoint, CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites,
    PendingWrite,
};
use runloom_core::ids::{CheckpointId, RunId, ThreadId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::state::Head;
use serde::Serialize;

use crate::protocol::{
    ChannelValue, HeadBody, JsonBytes, ListCheckpoints, PutCheckpoint, PutWrites, TupleBody, Typed,
    VersionedBlob, WriteRow,
};

/// Something that came from the executor is not what it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not valid: {problem}")]
pub(super) struct Odd {
    what: &'static str,
    problem: String,
}

fn odd(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> Odd {
    move |problem| Odd {
        what,
        problem: problem.to_string(),
    }
}

/// A value that has a JSON form, encoded.
pub(super) fn json_bytes<T: Serialize + ?Sized>(value: &T) -> JsonBytes {
    serde_json::to_vec(value)
        .expect("what came from JSON has a JSON form")
        .into()
}

/// A document of the user, as it is.
pub(super) fn document(json: &Json) -> JsonBytes {
    Bytes::copy_from_slice(json.as_str().as_bytes())
}

/// One JSON document.
pub(super) fn json(bytes: &JsonBytes, what: &'static str) -> Result<Json, Odd> {
    let text = std::str::from_utf8(bytes).map_err(|error| odd(what)(&error))?;
    Json::from_text(text.to_owned()).map_err(|error| odd(what)(&error))
}

/// One JSON object.
pub(super) fn object(bytes: &JsonBytes, what: &'static str) -> Result<JsonMap, Odd> {
    serde_json::from_slice(bytes).map_err(|error| odd(what)(&error))
}

fn time(text: &str) -> Result<DateTime<Utc>, Odd> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|error| odd("a time")(&error))?;
    Ok(time.with_timezone(&Utc))
}

/// A time as it travels.
pub(super) fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A checkpoint to be stored for `thread`, written by `run` if by any.
pub(super) fn new_checkpoint(
    put: PutCheckpoint,
    thread_id: ThreadId,
    run_id: Option<RunId>,
) -> Result<NewCheckpoint, Odd> {
    let Typed(kind, data) = put.head;
    let checkpoint = Checkpoint {
        thread_id,
        ns: put.ns,
        id: CheckpointId(put.id),
        parent: put.parent.map(CheckpointId),
        run_id,
        metadata: object(&put.metadata, "the metadata of a checkpoint")?,
        head: Blob { kind, data },
        versions: put.versions,
        created_at: time(&put.created_at)?,
    };
    let blob = |VersionedBlob(channel, version, kind, data)| ChannelBlob {
        channel,
        version,
        blob: Blob { kind, data },
    };
    Ok(NewCheckpoint {
        checkpoint,
        blobs: put.blobs.into_iter().map(blob).collect(),
    })
}

/// Writes to be stored.
pub(super) fn new_writes(put: PutWrites) -> NewWrites {
    let write = |WriteRow(task_id, task_path, index, channel, kind, data)| PendingWrite {
        task_id,
        task_path,
        index,
        channel,
        blob: Blob { kind, data },
    };
    NewWrites {
        ns: put.ns,
        checkpoint_id: CheckpointId(put.checkpoint_id),
        writes: put.writes.into_iter().map(write).collect(),
    }
}

/// Which checkpoints to list.
pub(super) fn query(list: ListCheckpoints) -> Result<CheckpointQuery, Odd> {
    let metadata = list.metadata.as_ref();
    let metadata = metadata.map(|metadata| object(metadata, "a filter of metadata"));
    Ok(CheckpointQuery {
        ns: list.ns,
        before: list.before.map(CheckpointId),
        metadata: metadata.transpose()?.unwrap_or_default(),
        limit: list.limit,
    })
}

/// A stored checkpoint as it travels.
pub(super) fn tuple(tuple: CheckpointTuple) -> TupleBody {
    let checkpoint = tuple.checkpoint;
    let channel = |(channel, blob): (String, Blob)| ChannelValue(channel, blob.kind, blob.data);
    let write = |write: PendingWrite| {
        let Blob { kind, data } = write.blob;
        WriteRow(
            write.task_id,
            write.task_path,
            write.index,
            write.channel,
            kind,
            data,
        )
    };
    TupleBody {
        ns: checkpoint.ns,
        id: checkpoint.id.0,
        parent: checkpoint.parent.map(|id| id.0),
        run_id: checkpoint.run_id.map(|id| id.to_string()),
        metadata: json_bytes(&checkpoint.metadata),
        head: Typed(checkpoint.head.kind, checkpoint.head.data),
        versions: checkpoint.versions,
        created_at: time_text(checkpoint.created_at),
        channels: tuple.channels.into_iter().map(channel).collect(),
        writes: tuple.writes.into_iter().map(write).collect(),
    }
}

/// Where a thread was left.
pub(super) fn head(body: HeadBody) -> Result<Head, Odd> {
    Ok(Head {
        checkpoint_id: body.checkpoint_id.map(CheckpointId),
        values: json(&body.values, "the values of a thread")?,
        next: body.next,
        interrupts: object(&body.interrupts, "what a thread waits for")?,
    })
}
