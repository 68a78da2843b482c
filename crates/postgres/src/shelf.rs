//! Checkpoints, channel values and pending writes, as they are stored and read: any number of them
//! in one statement.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use runloom_core::checkpoint::{
    Blob, Checkpoint, CheckpointTuple, NewCheckpoint, NewWrites, PendingWrite,
};
use runloom_core::ids::{CheckpointId, RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::lease::Fence;
use sqlx::types::{Json, Uuid};

use crate::error::Result;
use crate::session::Session;

/// Who writes.
#[derive(Clone, Copy)]
pub(crate) struct Author {
    /// The run that the rows belong to; none from outside of any run.
    pub(crate) run: Option<RunId>,
    /// What the thread must carry, for that run; none where the thread is locked and was judged
    /// already.
    pub(crate) fence: Option<Fence>,
}

/// What is stored on one thread.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) thread: ThreadId,
    pub(crate) author: Author,
    pub(crate) checkpoints: &'a [NewCheckpoint],
    pub(crate) writes: &'a [NewWrites],
}

/// Stores on several threads, see `put_on_shelf` in the migrations. Answers with the places of those
/// that carry the fence, counted from one. Of the others nothing is stored. A thread that is locked is
/// waited for if `patient`, and otherwise left out.
pub(crate) async fn put(db: &mut Session, parts: &[Part<'_>], patient: bool) -> Result<Vec<i32>> {
    let fences = || parts.iter().map(|part| part.author.fence);
    let (mut heads, mut values) = (Heads::default(), Values::default());
    let mut writes = Writes::default();
    for (owner, part) in (1..).zip(parts) {
        heads.add(owner, part.checkpoints)?;
        values.add(owner, part.checkpoints);
        writes.add(owner, part.writes);
    }
    let places = sqlx::query_scalar!(
        r#"select put_on_shelf(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
            $20, $21, $22, $23, $24, $25, $26, $27, $28, $29
        ) as "places!""#,
        &parts.iter().map(|part| part.thread.0).collect::<Vec<_>>(),
        &fences()
            .map(|fence| fence.map(|fence| fence.epoch))
            .collect::<Vec<_>>() as _,
        &fences()
            .map(|fence| fence.map(|fence| fence.claim.0))
            .collect::<Vec<_>>() as _,
        &parts
            .iter()
            .map(|part| part.author.run.map(|run| run.0))
            .collect::<Vec<_>>() as _,
        patient,
        &values.owner,
        &values.ns[..] as _,
        &values.channel[..] as _,
        &values.version[..] as _,
        &values.kind[..] as _,
        &values.data[..] as _,
        &heads.owner,
        &heads.ns[..] as _,
        &heads.id[..] as _,
        &heads.parent[..] as _,
        &heads.metadata[..] as _,
        &heads.head_kind[..] as _,
        &heads.head[..] as _,
        &heads.versions[..] as _,
        &heads.created_at[..] as _,
        &writes.owner,
        &writes.ns[..] as _,
        &writes.checkpoint_id[..] as _,
        &writes.task_id[..] as _,
        &writes.position[..] as _,
        &writes.task_path[..] as _,
        &writes.channel[..] as _,
        &writes.kind[..] as _,
        &writes.data[..] as _
    );
    Ok(places.fetch_one(db).await?)
}

/// Checkpoints, column by column.
#[derive(Default)]
struct Heads<'a> {
    /// The number of the part that it belongs to.
    owner: Vec<i32>,
    ns: Vec<&'a str>,
    id: Vec<&'a str>,
    parent: Vec<Option<&'a str>>,
    metadata: Vec<String>,
    head_kind: Vec<&'a str>,
    head: Vec<&'a [u8]>,
    versions: Vec<String>,
    created_at: Vec<DateTime<Utc>>,
}

impl<'a> Heads<'a> {
    fn add(&mut self, owner: i32, checkpoints: &'a [NewCheckpoint]) -> Result<()> {
        for NewCheckpoint { checkpoint, .. } in checkpoints {
            self.owner.push(owner);
            self.ns.push(&checkpoint.ns);
            self.id.push(&checkpoint.id.0);
            let parent = checkpoint.parent.as_ref();
            self.parent.push(parent.map(|parent| parent.0.as_str()));
            let metadata = serde_json::to_string(&checkpoint.metadata)?;
            self.metadata.push(metadata);
            self.head_kind.push(&checkpoint.head.kind);
            self.head.push(&checkpoint.head.data);
            let versions = serde_json::to_string(&checkpoint.versions)?;
            self.versions.push(versions);
            self.created_at.push(checkpoint.created_at);
        }
        Ok(())
    }
}

/// Channel values, column by column; the first of each version.
#[derive(Default)]
struct Values<'a> {
    /// The number of the part that it belongs to.
    owner: Vec<i32>,
    ns: Vec<&'a str>,
    channel: Vec<&'a str>,
    version: Vec<&'a str>,
    kind: Vec<&'a str>,
    data: Vec<&'a [u8]>,
}

impl<'a> Values<'a> {
    fn add(&mut self, owner: i32, checkpoints: &'a [NewCheckpoint]) {
        let mut versions = BTreeMap::new();
        for NewCheckpoint { checkpoint, blobs } in checkpoints {
            for value in blobs {
                let key = (&checkpoint.ns, &value.channel, &value.version);
                versions.entry(key).or_insert(&value.blob);
            }
        }
        // Everybody stores in the same order, so nobody waits in a circle.
        for ((ns, channel, version), blob) in versions {
            self.owner.push(owner);
            self.ns.push(ns);
            self.channel.push(channel);
            self.version.push(version);
            self.kind.push(&blob.kind);
            self.data.push(&blob.data);
        }
    }
}

/// Pending writes, column by column; of each slot the one that counts, as a statement changes a row
/// only once.
#[derive(Default)]
pub(crate) struct Writes<'a> {
    /// The number of the part that it belongs to.
    pub(crate) owner: Vec<i32>,
    pub(crate) ns: Vec<&'a str>,
    pub(crate) checkpoint_id: Vec<&'a str>,
    pub(crate) task_id: Vec<&'a str>,
    pub(crate) position: Vec<i32>,
    pub(crate) task_path: Vec<&'a str>,
    pub(crate) channel: Vec<&'a str>,
    pub(crate) kind: Vec<&'a str>,
    pub(crate) data: Vec<&'a [u8]>,
}

impl<'a> Writes<'a> {
    pub(crate) fn add(&mut self, owner: i32, writes: &'a [NewWrites]) {
        let mut slots = BTreeMap::new();
        for new in writes {
            for write in &new.writes {
                let slot = (&new.ns, &new.checkpoint_id.0, &write.task_id, write.index);
                if write.index < 0 {
                    slots.insert(slot, write);
                } else {
                    slots.entry(slot).or_insert(write);
                }
            }
        }
        for ((ns, checkpoint_id, task_id, position), write) in slots {
            self.owner.push(owner);
            self.ns.push(ns);
            self.checkpoint_id.push(checkpoint_id);
            self.task_id.push(task_id);
            self.position.push(position);
            self.task_path.push(&write.task_path);
            self.channel.push(&write.channel);
            self.kind.push(&write.blob.kind);
            self.data.push(&write.blob.data);
        }
    }
}

/// A checkpoint with its values and its pending writes, each column of theirs a list.
struct TupleColumns {
    place: i64,
    thread_id: Uuid,
    ns: String,
    id: String,
    parent: Option<String>,
    run_id: Option<Uuid>,
    metadata: Json<JsonMap>,
    head_kind: String,
    head: Vec<u8>,
    versions: Json<BTreeMap<String, String>>,
    created_at: DateTime<Utc>,
    channels: Vec<String>,
    kinds: Vec<String>,
    data: Vec<Vec<u8>>,
    write_tasks: Vec<String>,
    write_paths: Vec<String>,
    write_positions: Vec<i32>,
    write_channels: Vec<String>,
    write_kinds: Vec<String>,
    write_data: Vec<Vec<u8>>,
}

/// Names a checkpoint by thread, namespace and id, or the latest of a namespace.
pub(crate) type Key = (ThreadId, String, Option<String>);

/// The checkpoints named by `keys`, in their order, with their values and pending writes, all as they
/// are at one moment. What is not there is left out.
pub(crate) async fn tuples(db: &mut Session, keys: &[&Key]) -> Result<Vec<CheckpointTuple>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let placed = placed_tuples(db, keys).await?;
    Ok(placed.into_iter().map(|(_, tuple)| tuple).collect())
}

/// The same, each with its place among the keys.
pub(crate) async fn placed_tuples(
    db: &mut Session,
    keys: &[&Key],
) -> Result<Vec<(usize, CheckpointTuple)>> {
    let threads: Vec<_> = keys.iter().map(|(thread, ..)| thread.0).collect();
    let namespaces: Vec<_> = keys.iter().map(|(_, ns, _)| ns.as_str()).collect();
    let ids: Vec<_> = keys.iter().map(|(.., id)| id.as_deref()).collect();
    let rows = sqlx::query_as!(
        TupleColumns,
        r#"select place as "place!", thread_id as "thread_id!", ns as "ns!", id as "id!", parent,
            run_id, metadata as "metadata!: _", head_kind as "head_kind!", head as "head!",
            versions as "versions!: _", created_at as "created_at!", channels as "channels!",
            kinds as "kinds!", data as "data!", write_tasks as "write_tasks!",
            write_paths as "write_paths!", write_positions as "write_positions!",
            write_channels as "write_channels!", write_kinds as "write_kinds!",
            write_data as "write_data!"
        from read_checkpoints($1, $2, $3)"#,
        &threads,
        &namespaces[..] as _,
        &ids[..] as _
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    let placed = |row: TupleColumns| {
        let place = usize::try_from(row.place).unwrap_or_default();
        (place.saturating_sub(1), row.into_tuple())
    };
    Ok(rows.map(placed).collect())
}

impl TupleColumns {
    fn into_tuple(self) -> CheckpointTuple {
        CheckpointTuple {
            checkpoint: Checkpoint {
                thread_id: self.thread_id.into(),
                ns: self.ns,
                id: CheckpointId(self.id),
                parent: self.parent.map(CheckpointId),
                run_id: self.run_id.map(RunId),
                metadata: self.metadata.0,
                head: blob(self.head_kind, self.head),
                versions: self.versions.0,
                created_at: self.created_at,
            },
            channels: {
                let values = self.kinds.into_iter().zip(self.data);
                let values = self.channels.into_iter().zip(values);
                values
                    .map(|(channel, (kind, data))| (channel, blob(kind, data)))
                    .collect()
            },
            writes: {
                let places = self.write_paths.into_iter().zip(self.write_positions);
                let blobs = self.write_kinds.into_iter().zip(self.write_data);
                let blobs = self.write_channels.into_iter().zip(blobs);
                let tasks = self.write_tasks.into_iter();
                let mut writes: Vec<_> = tasks.zip(places).zip(blobs).map(pending_write).collect();
                writes.sort_by(|a, b| place(a).cmp(&place(b)));
                writes
            },
        }
    }
}

/// Pending writes are ordered by path, task and index.
fn place(write: &PendingWrite) -> (&str, &str, i32) {
    (&write.task_path, &write.task_id, write.index)
}

type Parts = ((String, (String, i32)), (String, (String, Vec<u8>)));

fn pending_write(((task_id, (task_path, index)), (channel, (kind, data))): Parts) -> PendingWrite {
    PendingWrite {
        task_id,
        task_path,
        index,
        channel,
        blob: blob(kind, data),
    }
}

fn blob(kind: String, data: Vec<u8>) -> Blob {
    Blob {
        kind,
        data: data.into(),
    }
}
