//! Checkpoints, channel values and pending writes, as they are asked for.

use std::sync::Arc;

use async_trait::async_trait;
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites};
use runloom_core::database::{Checkpoints, DatabaseError, Guard};
use runloom_core::ids::{CheckpointId, RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::search::map_contains;
use runloom_core::state::Head;
use sqlx::types::Json;

use crate::connections::Change;
use crate::error::Result;
use crate::puts::{Put, Stored};
use crate::server::Server;
use crate::session::Session;
use crate::shelf::{self, Author, Key, Part};
use crate::together::Request;
use crate::{Postgres, pruning, runs, threads};

#[async_trait]
impl Checkpoints for Postgres {
    async fn put_checkpoints(
        &self,
        thread: ThreadId,
        guard: Guard,
        checkpoints: Vec<NewCheckpoint>,
        writes: Vec<NewWrites>,
    ) -> Result<(), DatabaseError> {
        match guard {
            Guard::Attempt(fence, run) => {
                let put = Put {
                    thread,
                    fence,
                    run,
                    checkpoints,
                    writes,
                };
                self.put_held(put).await
            }
            Guard::Idle { seen, head } => {
                let mut change = self.server.change().await?;
                put_idle(&mut change, thread, seen, head, &checkpoints, &writes).await?;
                Ok(change.commit().await?)
            }
        }
    }

    async fn checkpoint(
        &self,
        thread: ThreadId,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, DatabaseError> {
        if [ns].into_iter().chain(id.map(|id| &*id.0)).any(is_nowhere) {
            return Ok(None);
        }
        let key = (thread, ns.to_owned(), id.map(|id| id.0.clone()));
        let read = Arc::new(ReadCheckpoint(key));
        if let Some(tuple) = self.checkpoints.ask(&self.server, read.clone()).await? {
            return Ok(tuple);
        }
        let mut reader = self.server.reader().await?;
        Ok(shelf::tuples(&mut reader, &[&read.0]).await?.pop())
    }

    async fn checkpoints(
        &self,
        thread: ThreadId,
        query: CheckpointQuery,
    ) -> Result<Vec<CheckpointTuple>, DatabaseError> {
        let mut moment = self.server.moment().await?;
        Ok(list(&mut moment, thread, &query).await?)
    }

    async fn delete_checkpoints(
        &self,
        thread: ThreadId,
        runs: &[RunId],
    ) -> Result<(), DatabaseError> {
        let mut change = self.server.change().await?;
        pruning::delete_of_runs(&mut change, thread, runs).await?;
        Ok(change.commit().await?)
    }

    async fn prune_checkpoints(&self, thread: ThreadId) -> Result<(), DatabaseError> {
        let mut change = self.server.change().await?;
        pruning::prune(&mut change, thread).await?;
        Ok(change.commit().await?)
    }
}

/// A checkpoint to be read.
pub(crate) struct ReadCheckpoint(Key);

impl Request for ReadCheckpoint {
    /// None if there is no such checkpoint.
    type Reply = Option<CheckpointTuple>;

    fn thread(&self) -> Option<ThreadId> {
        None
    }

    async fn carry_out(
        server: &Server,
        requests: &[Arc<Self>],
    ) -> Result<Vec<Option<Option<CheckpointTuple>>>> {
        let keys: Vec<_> = requests.iter().map(|request| &request.0).collect();
        let mut reader = server.reader().await?;
        let mut replies: Vec<_> = requests.iter().map(|_| Some(None)).collect();
        for (place, tuple) in shelf::placed_tuples(&mut reader, &keys).await? {
            if let Some(reply) = replies.get_mut(place) {
                *reply = Some(Some(tuple));
            }
        }
        Ok(replies)
    }
}

/// Whether no column can hold this text: Postgres' texts have no zero.
fn is_nowhere(text: &str) -> bool {
    text.contains('\0')
}

impl Postgres {
    /// Stores what an attempt made, if it still holds the thread.
    async fn put_held(&self, put: Put) -> Result<(), DatabaseError> {
        let put = Arc::new(put);
        if self.server.config.one_trip
            && let Some(Stored) = self.puts.ask(&self.server, put.clone()).await?
        {
            return Ok(());
        }
        if !put.alone(&self.server).await? {
            return Err(DatabaseError::Fenced);
        }
        Ok(())
    }
}

/// Stores what was made outside of any run, if the thread is as its maker saw it.
async fn put_idle(
    change: &mut Change,
    thread: ThreadId,
    seen: Option<CheckpointId>,
    head: Head,
    checkpoints: &[NewCheckpoint],
    writes: &[NewWrites],
) -> Result<()> {
    let row = threads::lock(change, thread).await?;
    let mut row = row.ok_or(DatabaseError::NotFound("thread"))?;
    if runs::outlook(change, thread).await?.in_flight {
        return Err(DatabaseError::Busy.into());
    }
    if latest(change, thread).await? != seen {
        return Err(DatabaseError::Changed.into());
    }
    let part = Part {
        thread,
        author: Author {
            run: None,
            fence: None,
        },
        checkpoints,
        writes,
    };
    shelf::put(change, &[part], true).await?;
    row.apply_head(head);
    row.note_end(false, None, change.now);
    row.refresh(false, change.now);
    threads::store(change, &row).await?;
    threads::store_values(change, &row).await
}

/// Stores pending writes of a run, whose thread is locked.
pub(crate) async fn put_writes(
    change: &mut Change,
    thread: ThreadId,
    run: Option<RunId>,
    new: &NewWrites,
) -> Result<()> {
    let part = Part {
        thread,
        author: Author { run, fence: None },
        checkpoints: &[],
        writes: std::slice::from_ref(new),
    };
    shelf::put(change, &[part], true).await?;
    Ok(())
}

/// The latest checkpoint of the root graph.
async fn latest(change: &mut Change, thread: ThreadId) -> Result<Option<CheckpointId>> {
    let latest = sqlx::query_scalar!(
        "select id from checkpoints where thread_id = $1 and ns = '' order by id desc limit 1",
        thread.0
    );
    let latest = latest.fetch_optional(&mut **change).await?;
    Ok(latest.map(CheckpointId))
}

/// What is looked at of a checkpoint before it is read.
struct Candidate {
    ns: String,
    id: String,
    metadata: Json<JsonMap>,
}

/// How many checkpoints are looked at in one go.
const PAGE: u32 = 256;

async fn list(
    moment: &mut Session,
    thread: ThreadId,
    query: &CheckpointQuery,
) -> Result<Vec<CheckpointTuple>> {
    let asked = [query.ns.as_deref(), query.before.as_ref().map(|id| &*id.0)];
    if asked.into_iter().flatten().any(is_nowhere) {
        return Ok(Vec::new());
    }
    let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
    let mut found = Vec::new();
    let mut offset = 0;
    while found.len() < limit {
        let rows = page(moment, thread, query, offset).await?;
        let is_last = rows.len() < PAGE as usize;
        let matching = rows.into_iter();
        let matching = matching.filter(|row| map_contains(&row.metadata, &query.metadata));
        let keys = matching.take(limit - found.len());
        let keys: Vec<_> = keys.map(|row| (thread, row.ns, Some(row.id))).collect();
        found.extend(shelf::tuples(moment, &keys.iter().collect::<Vec<_>>()).await?);
        if is_last {
            break;
        }
        offset += PAGE;
    }
    Ok(found)
}

async fn page(
    moment: &mut Session,
    thread: ThreadId,
    query: &CheckpointQuery,
    offset: u32,
) -> Result<Vec<Candidate>> {
    let before = query.before.as_ref().map(|id| &*id.0);
    let limit = query.limit.filter(|_| query.metadata.is_empty());
    let limit = limit.unwrap_or(PAGE).min(PAGE);
    // Two statements, so that each can walk its index from the end.
    let rows = match &query.ns {
        Some(ns) => {
            sqlx::query_as!(
                Candidate,
                "select ns, id, metadata from checkpoints
                where thread_id = $1 and ns = $2 and ($3::text is null or id < $3)
                order by id desc limit $4 offset $5",
                thread.0,
                ns,
                before,
                i64::from(limit),
                i64::from(offset)
            )
            .fetch_all(moment)
            .await?
        }
        None => {
            sqlx::query_as!(
                Candidate,
                "select ns, id, metadata from checkpoints
                where thread_id = $1 and ($2::text is null or id < $2)
                order by id desc, ns limit $3 offset $4",
                thread.0,
                before,
                i64::from(limit),
                i64::from(offset)
            )
            .fetch_all(moment)
            .await?
        }
    };
    Ok(rows)
}
