//! Checkpoints, channel values and pending writes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use runloom_core::checkpoint::{
    Blob, ChannelBlob, Checkpoint, CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites,
    PendingWrite,
};
use runloom_core::database::{Checkpoints, DatabaseError, Guard};
use runloom_core::ids::{CheckpointId, RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::search::map_contains;
use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::change::Change;
use crate::convert::{micros, time};
use crate::error::Result;
use crate::rows::ThreadRow;
use crate::statement::{Json, all, columns, execute, first};
use crate::{Sqlite, pruning, runs, threads};

#[async_trait]
impl Checkpoints for Sqlite {
    async fn put_checkpoints(
        &self,
        thread: ThreadId,
        guard: Guard,
        checkpoints: Vec<NewCheckpoint>,
        writes: Vec<NewWrites>,
    ) -> Result<(), DatabaseError> {
        let blobs = checkpoints.iter().flat_map(|new| &new.blobs);
        let weight = blobs.map(|blob| blob.blob.data.len()).sum::<usize>()
            + writes.iter().map(weight).sum::<usize>();
        let put = move |change: &Change<'_>| put(change, thread, guard, &checkpoints, &writes);
        self.change(weight, put).await
    }

    async fn checkpoint(
        &self,
        thread: ThreadId,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, DatabaseError> {
        let (ns, id) = (ns.to_owned(), id.cloned());
        let find = move |db: &Connection| {
            let row = match id {
                Some(id) => find(db, thread, &ns, &id)?,
                None => latest(db, thread, &ns)?,
            };
            row.map(|row| tuple(db, row.into())).transpose()
        };
        self.read(find).await
    }

    async fn checkpoints(
        &self,
        thread: ThreadId,
        query: CheckpointQuery,
    ) -> Result<Vec<CheckpointTuple>, DatabaseError> {
        self.read(move |db| list(db, thread, &query)).await
    }

    async fn delete_checkpoints(
        &self,
        thread: ThreadId,
        runs: &[RunId],
    ) -> Result<(), DatabaseError> {
        let runs = runs.to_owned();
        self.change(0, move |change| {
            pruning::delete_of_runs(change, thread, &runs)
        })
        .await
    }

    async fn prune_checkpoints(&self, thread: ThreadId) -> Result<(), DatabaseError> {
        self.change(0, move |change| pruning::prune(change, thread))
            .await
    }
}

/// How many bytes pending writes bring, roughly.
pub(crate) fn weight(new: &NewWrites) -> usize {
    new.writes.iter().map(|write| write.blob.data.len()).sum()
}

fn put(
    change: &Change<'_>,
    thread: ThreadId,
    guard: Guard,
    checkpoints: &[NewCheckpoint],
    writes: &[NewWrites],
) -> Result<()> {
    let (mut row, run) = admit_writer(change, thread, &guard)?;
    for new in checkpoints {
        put_checkpoint(change, thread, run, new)?;
    }
    for new in writes {
        put_writes(change, thread, run, new)?;
    }
    if let Guard::Idle { head, .. } = guard {
        row.apply_head(head);
        row.note_end(false, None, change.now);
        row.refresh(false, change.now);
        threads::store(change, &row)?;
        threads::store_values(change, &row)?;
    }
    Ok(())
}

/// The thread and the run to write for, if the guard lets it write.
fn admit_writer(
    change: &Change<'_>,
    thread: ThreadId,
    guard: &Guard,
) -> Result<(ThreadRow, Option<RunId>)> {
    let row = threads::load(change, thread)?;
    match (guard, row) {
        (Guard::Attempt(fence, run), Some(row)) if row.is_held(*fence, *run) => {
            Ok((row, Some(*run)))
        }
        (Guard::Attempt(..), _) => Err(DatabaseError::Fenced.into()),
        (Guard::Idle { .. }, None) => Err(DatabaseError::NotFound("thread").into()),
        (Guard::Idle { seen, .. }, Some(row)) => {
            if runs::outlook(change, thread)?.in_flight {
                return Err(DatabaseError::Busy.into());
            }
            let latest = latest(change, thread, "")?;
            if latest.as_ref().map(|row| &row.id) != seen.as_ref().map(|id| &id.0) {
                return Err(DatabaseError::Changed.into());
            }
            Ok((row, None))
        }
    }
}

/// Stores a checkpoint and its values, each unless it is there.
fn put_checkpoint(
    change: &Change<'_>,
    thread: ThreadId,
    writer: Option<RunId>,
    new: &NewCheckpoint,
) -> Result<()> {
    let checkpoint = &new.checkpoint;
    let run = writer.map(|run| run.0);
    for blob in &new.blobs {
        put_blob(change, thread, run, &checkpoint.ns, blob)?;
    }
    execute(
        change,
        "insert into checkpoints (
            thread_id, ns, id, parent, run_id, metadata, head_kind, head, versions, created_at
        ) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
        params![
            thread.0,
            checkpoint.ns,
            checkpoint.id.0,
            checkpoint.parent.as_ref().map(|parent| &parent.0),
            run,
            Json(&checkpoint.metadata),
            checkpoint.head.kind,
            &*checkpoint.head.data,
            Json(&checkpoint.versions),
            micros(checkpoint.created_at)
        ],
    )?;
    Ok(())
}

/// Stores a channel's value, unless this version of it is there.
fn put_blob(
    change: &Change<'_>,
    thread: ThreadId,
    run: Option<Uuid>,
    ns: &str,
    new: &ChannelBlob,
) -> Result<()> {
    execute(
        change,
        "insert into channel_blobs (thread_id, ns, channel, version, run_id, kind, data)
        values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
        params![
            thread.0,
            ns,
            new.channel,
            new.version,
            run,
            new.blob.kind,
            &*new.blob.data
        ],
    )?;
    Ok(())
}

/// Stores pending writes. A write of a special slot hides an earlier one; it replaces it only
/// within a run, so that the earlier one is back when the run is discarded.
pub(crate) fn put_writes(
    change: &Change<'_>,
    thread: ThreadId,
    writer: Option<RunId>,
    new: &NewWrites,
) -> Result<()> {
    let run = writer.map(|run| run.0);
    for write in &new.writes {
        let is_special = write.index < 0;
        // A row that is replaced gets a new place in the order of rows: it is the latest again.
        execute(
            change,
            "insert or replace into pending_writes (
                thread_id, ns, checkpoint_id, task_id, position, writer, run_id, task_path,
                channel, kind, data
            )
            select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
            where ?5 < 0 or not exists (
                select 1 from pending_writes
                where thread_id = ?1 and ns = ?2 and checkpoint_id = ?3 and task_id = ?4
                    and position = ?5
            )",
            params![
                thread.0,
                new.ns,
                new.checkpoint_id.0,
                write.task_id,
                write.index,
                run.filter(|_| is_special).unwrap_or(Uuid::nil()),
                run,
                write.task_path,
                write.channel,
                write.blob.kind,
                &*write.blob.data
            ],
        )?;
    }
    Ok(())
}

columns! {
    /// The columns of `checkpoints`.
    struct CheckpointColumns {
        thread_id: Uuid,
        ns: String,
        id: String,
        parent: Option<String>,
        run_id: Option<Uuid>,
        metadata: Json<JsonMap>,
        head_kind: String,
        head: Vec<u8>,
        versions: Json<BTreeMap<String, String>>,
        created_at: i64,
    }
}

impl From<CheckpointColumns> for Checkpoint {
    fn from(columns: CheckpointColumns) -> Self {
        Self {
            thread_id: columns.thread_id.into(),
            ns: columns.ns,
            id: CheckpointId(columns.id),
            parent: columns.parent.map(CheckpointId),
            run_id: columns.run_id.map(RunId),
            metadata: columns.metadata.0,
            head: blob(columns.head_kind, columns.head),
            versions: columns.versions.0,
            created_at: time(columns.created_at),
        }
    }
}

fn blob(kind: String, data: Vec<u8>) -> Blob {
    Blob {
        kind,
        data: data.into(),
    }
}

fn find(
    db: &Connection,
    thread: ThreadId,
    ns: &str,
    id: &CheckpointId,
) -> Result<Option<CheckpointColumns>> {
    first(
        db,
        "select * from checkpoints where thread_id = ? and ns = ? and id = ?",
        params![thread.0, ns, id.0],
    )
}

fn latest(db: &Connection, thread: ThreadId, ns: &str) -> Result<Option<CheckpointColumns>> {
    first(
        db,
        "select * from checkpoints where thread_id = ? and ns = ? order by id desc limit 1",
        params![thread.0, ns],
    )
}

/// How many checkpoints are looked at in one go.
const PAGE: u32 = 64;

fn list(
    db: &Connection,
    thread: ThreadId,
    query: &CheckpointQuery,
) -> Result<Vec<CheckpointTuple>> {
    let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
    let mut found = Vec::new();
    let mut offset = 0;
    while found.len() < limit {
        let rows = page(db, thread, query, offset)?;
        let is_last = rows.len() < PAGE as usize;
        let matching = rows.into_iter().map(Checkpoint::from);
        let matching = matching.filter(|row| map_contains(&row.metadata, &query.metadata));
        for checkpoint in matching.take(limit - found.len()) {
            found.push(tuple(db, checkpoint)?);
        }
        if is_last {
            break;
        }
        offset += PAGE;
    }
    Ok(found)
}

fn page(
    db: &Connection,
    thread: ThreadId,
    query: &CheckpointQuery,
    offset: u32,
) -> Result<Vec<CheckpointColumns>> {
    let before = query.before.as_ref().map(|id| &id.0);
    // Two statements, so that each can walk its index from the end.
    match &query.ns {
        Some(ns) => all(
            db,
            "select * from checkpoints
                where thread_id = ?1 and ns = ?2 and (?3 is null or id < ?3)
                order by id desc limit ?4 offset ?5",
            params![thread.0, ns, before, PAGE, offset],
        ),
        None => all(
            db,
            "select * from checkpoints where thread_id = ?1 and (?2 is null or id < ?2)
                order by id desc, ns limit ?3 offset ?4",
            params![thread.0, before, PAGE, offset],
        ),
    }
}

/// A checkpoint with its values and pending writes.
fn tuple(db: &Connection, checkpoint: Checkpoint) -> Result<CheckpointTuple> {
    let mut channels = BTreeMap::new();
    for (channel, version) in &checkpoint.versions {
        let value: Option<(String, Vec<u8>)> = first(
            db,
            "select kind, data from channel_blobs
            where thread_id = ? and ns = ? and channel = ? and version = ?",
            params![checkpoint.thread_id.0, checkpoint.ns, channel, version],
        )?;
        channels.extend(value.map(|(kind, data)| (channel.clone(), blob(kind, data))));
    }
    Ok(CheckpointTuple {
        channels,
        writes: writes(db, &checkpoint)?,
        checkpoint,
    })
}

columns! {
    /// What is read of a pending write.
    struct WriteColumns {
        task_id: String,
        task_path: String,
        position: i32,
        channel: String,
        kind: String,
        data: Vec<u8>,
    }
}

fn writes(db: &Connection, checkpoint: &Checkpoint) -> Result<Vec<PendingWrite>> {
    let rows: Vec<WriteColumns> = all(
        db,
        "select task_id, task_path, position, channel, kind, data
        from pending_writes
        where thread_id = ? and ns = ? and checkpoint_id = ? order by rowid",
        params![checkpoint.thread_id.0, checkpoint.ns, checkpoint.id.0],
    )?;
    // Later rows hide earlier ones of the same slot.
    let visible: BTreeMap<(String, i32), PendingWrite> = rows
        .into_iter()
        .map(|row| {
            let write = PendingWrite {
                task_id: row.task_id.clone(),
                task_path: row.task_path,
                index: row.position,
                channel: row.channel,
                blob: blob(row.kind, row.data),
            };
            ((row.task_id, row.position), write)
        })
        .collect();
    let mut writes: Vec<_> = visible.into_values().collect();
    // The map has ordered them by task and position already.
    writes.sort_by(|a, b| a.task_path.cmp(&b.task_path));
    Ok(writes)
}
