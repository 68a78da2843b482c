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
use sqlx::types::{Json, Uuid};
use sqlx::{Connection, SqliteConnection};

use crate::connections::Change;
use crate::convert::{micros, time};
use crate::error::{Error, Result};
use crate::rows::ThreadRow;
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
        let mut connection = self.writer().await?;
        let mut change = self.change(&mut connection).await?;
        let (mut row, run) = admit_writer(&mut change, thread, &guard).await?;
        for new in &checkpoints {
            put_checkpoint(&mut change, thread, run, new).await?;
        }
        for new in &writes {
            put_writes(&mut change, thread, run, new).await?;
        }
        if let Guard::Idle { head, .. } = guard {
            row.apply_head(head);
            row.note_end(false, None, change.now);
            row.refresh(false, change.now);
            threads::store(&mut change, &row).await?;
            threads::store_values(&mut change, &row).await?;
        }
        Ok(change.commit().await?)
    }

    async fn checkpoint(
        &self,
        thread: ThreadId,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, DatabaseError> {
        let mut reader = self.reader().await?;
        let mut moment = reader.begin().await.map_err(Error::from)?;
        let row = match id {
            Some(id) => find(&mut moment, thread, ns, id).await?,
            None => latest(&mut moment, thread, ns).await?,
        };
        Ok(match row {
            Some(row) => Some(tuple(&mut moment, row.into()).await?),
            None => None,
        })
    }

    async fn checkpoints(
        &self,
        thread: ThreadId,
        query: CheckpointQuery,
    ) -> Result<Vec<CheckpointTuple>, DatabaseError> {
        let mut reader = self.reader().await?;
        let mut moment = reader.begin().await.map_err(Error::from)?;
        Ok(list(&mut moment, thread, &query).await?)
    }

    async fn delete_checkpoints(
        &self,
        thread: ThreadId,
        runs: &[RunId],
    ) -> Result<(), DatabaseError> {
        let mut connection = self.writer().await?;
        let mut change = self.change(&mut connection).await?;
        pruning::delete_of_runs(&mut change, thread, runs).await?;
        Ok(change.commit().await?)
    }

    async fn prune_checkpoints(&self, thread: ThreadId) -> Result<(), DatabaseError> {
        let mut connection = self.writer().await?;
        let mut change = self.change(&mut connection).await?;
        pruning::prune(&mut change, thread).await?;
        Ok(change.commit().await?)
    }
}

/// The thread and the run to write for, if the guard lets it write.
async fn admit_writer(
    change: &mut Change<'_>,
    thread: ThreadId,
    guard: &Guard,
) -> Result<(ThreadRow, Option<RunId>)> {
    let row = threads::load(change, thread).await?;
    match (guard, row) {
        (Guard::Attempt(fence, run), Some(row)) if row.is_held(*fence, *run) => {
            Ok((row, Some(*run)))
        }
        (Guard::Attempt(..), _) => Err(DatabaseError::Fenced.into()),
        (Guard::Idle { .. }, None) => Err(DatabaseError::NotFound("thread").into()),
        (Guard::Idle { seen, .. }, Some(row)) => {
            if runs::outlook(change, thread).await?.in_flight {
                return Err(DatabaseError::Busy.into());
            }
            let latest = latest(change, thread, "").await?;
            if latest.as_ref().map(|row| &row.id) != seen.as_ref().map(|id| &id.0) {
                return Err(DatabaseError::Changed.into());
            }
            Ok((row, None))
        }
    }
}

/// Stores a checkpoint and its values, each unless it is there.
async fn put_checkpoint(
    change: &mut Change<'_>,
    thread: ThreadId,
    writer: Option<RunId>,
    new: &NewCheckpoint,
) -> Result<()> {
    let checkpoint = &new.checkpoint;
    let run = writer.map(|run| run.0);
    put_blobs(change, thread, run, &checkpoint.ns, &new.blobs).await?;
    sqlx::query!(
        "insert into checkpoints (
            thread_id, ns, id, parent, run_id, metadata, head_kind, head, versions, created_at
        ) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
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
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Stores channel values, each unless its version is there. They travel as one run of bytes with a
/// list of where each begins, so that a checkpoint costs one statement however many it has.
async fn put_blobs(
    change: &mut Change<'_>,
    thread: ThreadId,
    run: Option<Uuid>,
    ns: &str,
    blobs: &[ChannelBlob],
) -> Result<()> {
    if blobs.is_empty() {
        return Ok(());
    }
    let mut data = Vec::with_capacity(blobs.iter().map(|blob| blob.blob.data.len()).sum());
    let mut list = Vec::with_capacity(blobs.len());
    for ChannelBlob {
        channel,
        version,
        blob,
    } in blobs
    {
        // SQL counts from one, and takes a part of no bytes for none at all.
        list.push((
            channel,
            version,
            &blob.kind,
            data.len() + 1,
            blob.data.len(),
        ));
        data.extend_from_slice(&blob.data);
    }
    sqlx::query!(
        "insert into channel_blobs (thread_id, ns, channel, version, run_id, kind, data)
        select ?1, ?2, v.value ->> 0, v.value ->> 1, ?3, v.value ->> 2,
            coalesce(substr(?5, v.value ->> 3, v.value ->> 4), x'')
        from json_each(?4) v where true
        on conflict do nothing",
        thread.0,
        ns,
        run,
        Json(list),
        data
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Stores pending writes. A write of a special slot hides an earlier one; it replaces it only
/// within a run, so that the earlier one is back when the run is discarded.
pub(crate) async fn put_writes(
    change: &mut Change<'_>,
    thread: ThreadId,
    writer: Option<RunId>,
    new: &NewWrites,
) -> Result<()> {
    let run = writer.map(|run| run.0);
    for write in &new.writes {
        let is_special = write.index < 0;
        // A row that is replaced gets a new place in the order of rows: it is the latest again.
        sqlx::query!(
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
        )
        .execute(&mut **change)
        .await?;
    }
    Ok(())
}

/// The columns of `checkpoints`.
struct CheckpointColumns {
    thread_id: ThreadId,
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

impl From<CheckpointColumns> for Checkpoint {
    fn from(columns: CheckpointColumns) -> Self {
        Self {
            thread_id: columns.thread_id,
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

async fn find(
    db: &mut SqliteConnection,
    thread: ThreadId,
    ns: &str,
    id: &CheckpointId,
) -> Result<Option<CheckpointColumns>> {
    let row = sqlx::query_as!(
        CheckpointColumns,
        "select * from checkpoints where thread_id = ? and ns = ? and id = ?",
        thread.0,
        ns,
        id.0
    );
    Ok(row.fetch_optional(db).await?)
}

async fn latest(
    db: &mut SqliteConnection,
    thread: ThreadId,
    ns: &str,
) -> Result<Option<CheckpointColumns>> {
    let row = sqlx::query_as!(
        CheckpointColumns,
        "select * from checkpoints where thread_id = ? and ns = ? order by id desc limit 1",
        thread.0,
        ns
    );
    Ok(row.fetch_optional(db).await?)
}

/// How many checkpoints are looked at in one go.
const PAGE: u32 = 64;

async fn list(
    db: &mut SqliteConnection,
    thread: ThreadId,
    query: &CheckpointQuery,
) -> Result<Vec<CheckpointTuple>> {
    let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
    let mut found = Vec::new();
    let mut offset = 0;
    while found.len() < limit {
        let rows = page(db, thread, query, offset).await?;
        let is_last = rows.len() < PAGE as usize;
        let matching = rows.into_iter().map(Checkpoint::from);
        let matching = matching.filter(|row| map_contains(&row.metadata, &query.metadata));
        for checkpoint in matching.take(limit - found.len()) {
            found.push(tuple(db, checkpoint).await?);
        }
        if is_last {
            break;
        }
        offset += PAGE;
    }
    Ok(found)
}

async fn page(
    db: &mut SqliteConnection,
    thread: ThreadId,
    query: &CheckpointQuery,
    offset: u32,
) -> Result<Vec<CheckpointColumns>> {
    let before = query.before.as_ref().map(|id| &id.0);
    // Two statements, so that each can walk its index from the end.
    let rows = match &query.ns {
        Some(ns) => {
            sqlx::query_as!(
                CheckpointColumns,
                "select * from checkpoints
                where thread_id = ?1 and ns = ?2 and (?3 is null or id < ?3)
                order by id desc limit ?4 offset ?5",
                thread.0,
                ns,
                before,
                PAGE,
                offset
            )
            .fetch_all(db)
            .await?
        }
        None => {
            sqlx::query_as!(
                CheckpointColumns,
                "select * from checkpoints where thread_id = ?1 and (?2 is null or id < ?2)
                order by id desc, ns limit ?3 offset ?4",
                thread.0,
                before,
                PAGE,
                offset
            )
            .fetch_all(db)
            .await?
        }
    };
    Ok(rows)
}

/// A checkpoint with its values and pending writes.
async fn tuple(db: &mut SqliteConnection, checkpoint: Checkpoint) -> Result<CheckpointTuple> {
    let channels = sqlx::query!(
        "select b.channel, b.kind, b.data
        from json_each(?3) v cross join channel_blobs b
        where b.thread_id = ?1 and b.ns = ?2 and b.channel = v.key and b.version = v.value",
        checkpoint.thread_id.0,
        checkpoint.ns,
        Json(&checkpoint.versions)
    );
    let channels = channels.fetch_all(&mut *db).await?;
    let channels = channels.into_iter();
    Ok(CheckpointTuple {
        channels: channels
            .map(|row| (row.channel, blob(row.kind, row.data)))
            .collect(),
        writes: writes(db, &checkpoint).await?,
        checkpoint,
    })
}

async fn writes(db: &mut SqliteConnection, checkpoint: &Checkpoint) -> Result<Vec<PendingWrite>> {
    let rows = sqlx::query!(
        r#"select task_id, task_path, position as "position: i32", channel, kind, data
        from pending_writes
        where thread_id = ? and ns = ? and checkpoint_id = ? order by rowid"#,
        checkpoint.thread_id.0,
        checkpoint.ns,
        checkpoint.id.0
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    // Later rows hide earlier ones of the same slot.
    let visible: BTreeMap<(String, i32), PendingWrite> = rows
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
