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

/// Stores checkpoints with their values, each unless it is there, and pending writes. A write of a
/// special slot hides an earlier one; it replaces it only within a run, so that the earlier one is
/// back when the run is discarded.
///
/// False, and nothing is stored, if the thread does not carry the fence. While it is looked at, the
/// thread is locked so that nobody can claim it before this is committed: the rows are inserted from
/// the row that holds the lock, and Postgres looks at that row anew if it had to wait for it.
pub(crate) async fn put(
    db: &mut Session,
    thread: ThreadId,
    author: Author,
    checkpoints: &[NewCheckpoint],
    writes: &[NewWrites],
) -> Result<bool> {
    let heads = Heads::of(checkpoints)?;
    let values = Values::of(checkpoints);
    let writes = Writes::of(writes);
    let stored = sqlx::query_scalar!(
        r#"with held as materialized (
            select id from threads
            where id = $1 and ($2::bigint is null or (epoch = $2 and claim = $3 and held_run = $4))
            for share
        ),
        stored_values as (
            insert into channel_blobs (thread_id, ns, channel, version, run_id, kind, data)
            select held.id, v.ns, v.channel, v.version, $4, v.kind, v.data
            from held, unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[])
                as v (ns, channel, version, kind, data)
            on conflict do nothing
        ),
        stored_checkpoints as (
            insert into checkpoints (
                thread_id, ns, id, parent, run_id, metadata, head_kind, head, versions, created_at
            )
            select held.id, c.ns, c.id, c.parent, $4, c.metadata::json, c.head_kind, c.head,
                c.versions::json, c.created_at
            from held, unnest(
                $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::bytea[],
                $16::text[], $17::timestamptz[]
            ) as c (ns, id, parent, metadata, head_kind, head, versions, created_at)
            on conflict do nothing
        ),
        stored_writes as (
            insert into pending_writes (
                thread_id, ns, checkpoint_id, task_id, position, writer, run_id, task_path,
                channel, kind, data
            )
            select held.id, w.ns, w.checkpoint_id, w.task_id, w.position,
                case when w.position < 0 then coalesce($4, $26) else $26 end, $4, w.task_path,
                w.channel, w.kind, w.data
            from held, unnest(
                $18::text[], $19::text[], $20::text[], $21::integer[], $22::text[], $23::text[],
                $24::text[], $25::bytea[]
            ) as w (ns, checkpoint_id, task_id, position, task_path, channel, kind, data)
            on conflict (thread_id, ns, checkpoint_id, task_id, position, writer) do update set
                run_id = excluded.run_id, task_path = excluded.task_path,
                channel = excluded.channel, kind = excluded.kind, data = excluded.data,
                written = default
            where pending_writes.position < 0
        )
        select 1 as "held!" from held"#,
        thread.0,
        author.fence.map(|fence| fence.epoch),
        author.fence.map(|fence| fence.claim.0),
        author.run.map(|run| run.0),
        &values.ns[..] as _,
        &values.channel[..] as _,
        &values.version[..] as _,
        &values.kind[..] as _,
        &values.data[..] as _,
        &heads.ns[..] as _,
        &heads.id[..] as _,
        &heads.parent[..] as _,
        &heads.metadata[..] as _,
        &heads.head_kind[..] as _,
        &heads.head[..] as _,
        &heads.versions[..] as _,
        &heads.created_at[..] as _,
        &writes.ns[..] as _,
        &writes.checkpoint_id[..] as _,
        &writes.task_id[..] as _,
        &writes.position[..] as _,
        &writes.task_path[..] as _,
        &writes.channel[..] as _,
        &writes.kind[..] as _,
        &writes.data[..] as _,
        Uuid::nil()
    );
    Ok(stored.fetch_optional(db).await?.is_some())
}

/// Checkpoints, column by column.
#[derive(Default)]
struct Heads<'a> {
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
    fn of(checkpoints: &'a [NewCheckpoint]) -> Result<Self> {
        let mut columns = Self::default();
        for NewCheckpoint { checkpoint, .. } in checkpoints {
            columns.ns.push(&checkpoint.ns);
            columns.id.push(&checkpoint.id.0);
            let parent = checkpoint.parent.as_ref();
            columns.parent.push(parent.map(|parent| parent.0.as_str()));
            let metadata = serde_json::to_string(&checkpoint.metadata)?;
            columns.metadata.push(metadata);
            columns.head_kind.push(&checkpoint.head.kind);
            columns.head.push(&checkpoint.head.data);
            let versions = serde_json::to_string(&checkpoint.versions)?;
            columns.versions.push(versions);
            columns.created_at.push(checkpoint.created_at);
        }
        Ok(columns)
    }
}

/// Channel values, column by column; the first of each version.
#[derive(Default)]
struct Values<'a> {
    ns: Vec<&'a str>,
    channel: Vec<&'a str>,
    version: Vec<&'a str>,
    kind: Vec<&'a str>,
    data: Vec<&'a [u8]>,
}

impl<'a> Values<'a> {
    fn of(checkpoints: &'a [NewCheckpoint]) -> Self {
        let mut versions = BTreeMap::new();
        for NewCheckpoint { checkpoint, blobs } in checkpoints {
            for value in blobs {
                let key = (&checkpoint.ns, &value.channel, &value.version);
                versions.entry(key).or_insert(&value.blob);
            }
        }
        // Everybody stores in the same order, so nobody waits in a circle.
        let mut columns = Self::default();
        for ((ns, channel, version), blob) in versions {
            columns.ns.push(ns);
            columns.channel.push(channel);
            columns.version.push(version);
            columns.kind.push(&blob.kind);
            columns.data.push(&blob.data);
        }
        columns
    }
}

/// Pending writes, column by column; of each slot the one that counts, as a statement changes a row
/// only once.
#[derive(Default)]
pub(crate) struct Writes<'a> {
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
    pub(crate) fn of(writes: &'a [NewWrites]) -> Self {
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
        let mut columns = Self::default();
        for ((ns, checkpoint_id, task_id, position), write) in slots {
            columns.ns.push(ns);
            columns.checkpoint_id.push(checkpoint_id);
            columns.task_id.push(task_id);
            columns.position.push(position);
            columns.task_path.push(&write.task_path);
            columns.channel.push(&write.channel);
            columns.kind.push(&write.blob.kind);
            columns.data.push(&write.blob.data);
        }
        columns
    }
}

/// A checkpoint with its values and its pending writes, each column of theirs a list.
struct TupleColumns {
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

/// The checkpoints named by namespace and id, or the latest of a namespace, in the order of `keys`,
/// with their values and pending writes, all as they are at one moment. What is not there is left
/// out.
///
/// There is one value of a version. To say so to Postgres (`limit 1`) keeps it from reading all that
/// the thread ever had in order to pick a few.
pub(crate) async fn tuples(
    db: &mut Session,
    thread: ThreadId,
    keys: &[(String, Option<String>)],
) -> Result<Vec<CheckpointTuple>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (namespaces, ids): (Vec<_>, Vec<_>) = keys
        .iter()
        .map(|(ns, id)| (ns.as_str(), id.as_deref()))
        .unzip();
    let rows = sqlx::query_as!(
        TupleColumns,
        r#"select c.ns as "ns!", c.id as "id!", c.parent, c.run_id, c.metadata as "metadata!: _",
            c.head_kind as "head_kind!", c.head as "head!", c.versions as "versions!: _",
            c.created_at as "created_at!", v.channels as "channels!", v.kinds as "kinds!",
            v.data as "data!", w.tasks as "write_tasks!", w.paths as "write_paths!",
            w.positions as "write_positions!", w.channels as "write_channels!",
            w.kinds as "write_kinds!", w.data as "write_data!"
        from unnest($2::text[], $3::text[]) with ordinality as k (ns, id, place)
        cross join lateral (
            (select * from checkpoints where thread_id = $1 and ns = k.ns and id = k.id)
            union all
            (select * from checkpoints where k.id is null and thread_id = $1 and ns = k.ns
            order by id desc limit 1)
        ) c
        cross join lateral (
            select coalesce(array_agg(b.channel), '{}') as channels,
                coalesce(array_agg(b.kind), '{}') as kinds,
                coalesce(array_agg(b.data), '{}') as data
            from json_each_text(c.versions) version
            cross join lateral (
                select * from channel_blobs
                where thread_id = $1 and ns = c.ns and channel = version.key
                    and version = version.value
                limit 1
            ) b
        ) v
        cross join lateral (
            select coalesce(array_agg(task_id), '{}') as tasks,
                coalesce(array_agg(task_path), '{}') as paths,
                coalesce(array_agg(position), '{}') as positions,
                coalesce(array_agg(channel), '{}') as channels,
                coalesce(array_agg(kind), '{}') as kinds,
                coalesce(array_agg(data), '{}') as data
            from (
                select distinct on (task_id, position) *
                from pending_writes
                where thread_id = $1 and ns = c.ns and checkpoint_id = c.id
                order by task_id, position, written desc
            ) visible
        ) w
        order by k.place"#,
        thread.0,
        &namespaces[..] as _,
        &ids[..] as _
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    Ok(rows.map(|row| row.into_tuple(thread)).collect())
}

impl TupleColumns {
    fn into_tuple(self, thread: ThreadId) -> CheckpointTuple {
        CheckpointTuple {
            checkpoint: Checkpoint {
                thread_id: thread,
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
