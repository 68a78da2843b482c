//! What attempts store, that of several threads in one statement.

use std::sync::Arc;

use runloom_core::checkpoint::{NewCheckpoint, NewWrites};
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::lease::Fence;
use sqlx::types::Uuid;

use crate::error::Result;
use crate::server::Server;
use crate::session::Session;
use crate::shelf::{self, Author, Heads, Values, Writes};
use crate::together::Request;

/// Checkpoints and pending writes of an attempt.
pub(crate) struct Put {
    pub(crate) thread: ThreadId,
    pub(crate) fence: Fence,
    pub(crate) run: RunId,
    pub(crate) checkpoints: Vec<NewCheckpoint>,
    pub(crate) writes: Vec<NewWrites>,
}

/// What was put is stored.
pub(crate) struct Stored;

impl Put {
    /// Stores it alone, waiting for the lock of its thread. False, and nothing is stored, if the attempt
    /// does not hold that.
    pub(crate) async fn alone(&self, server: &Server) -> Result<bool> {
        let mut session = server.statement().await?;
        let author = Author {
            run: Some(self.run),
            fence: Some(self.fence),
        };
        let (checkpoints, writes) = (&self.checkpoints, &self.writes);
        let is_held = shelf::put(&mut session, self.thread, author, checkpoints, writes).await?;
        session.commit().await?;
        Ok(is_held)
    }
}

impl Request for Put {
    type Reply = Stored;

    fn thread(&self) -> Option<ThreadId> {
        Some(self.thread)
    }

    fn bytes(&self) -> usize {
        let heads = self
            .checkpoints
            .iter()
            .map(|new| new.checkpoint.head.data.len());
        let values = self.checkpoints.iter().flat_map(|new| &new.blobs);
        let values = values.map(|value| value.blob.data.len());
        let writes = self.writes.iter().flat_map(|new| &new.writes);
        let writes = writes.map(|write| write.blob.data.len());
        heads.chain(values).chain(writes).sum()
    }

    async fn carry_out(server: &Server, requests: &[Arc<Self>]) -> Result<Vec<Option<Stored>>> {
        let mut session = server.statement().await?;
        let places = put(&mut session, requests).await?;
        session.commit().await?;
        let mut replies: Vec<_> = requests.iter().map(|_| None).collect();
        for place in places {
            let reply = usize::try_from(place - 1).ok();
            if let Some(reply) = reply.and_then(|index| replies.get_mut(index)) {
                *reply = Some(Stored);
            }
        }
        Ok(replies)
    }
}

/// Stores what those put that hold their threads, as [`shelf::put`] does; but does not wait for the
/// locks of the threads. Answers with the places of those whose rows are stored, counted from one.
async fn put(db: &mut Session, requests: &[Arc<Put>]) -> Result<Vec<i64>> {
    let uuids = |uuid: fn(&Put) -> Uuid| requests.iter().map(|put| uuid(put)).collect::<Vec<_>>();
    let epochs: Vec<_> = requests.iter().map(|put| put.fence.epoch).collect();
    let (mut heads, mut values) = (Heads::default(), Values::default());
    let mut writes = Writes::default();
    for (owner, put) in (1..).zip(requests) {
        heads.add(owner, &put.checkpoints)?;
        values.add(owner, &put.checkpoints);
        writes.add(owner, &put.writes);
    }
    let stored = sqlx::query_scalar!(
        r#"with held as materialized (
            select a.place, t.id, a.run
            from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[]) with ordinality
                as a (thread, epoch, claim, run, place)
            join threads t on t.id = a.thread and t.epoch = a.epoch and t.claim = a.claim
                and t.held_run = a.run
            for share of t skip locked
        ),
        stored_values as (
            insert into channel_blobs (thread_id, ns, channel, version, run_id, kind, data)
            select held.id, v.ns, v.channel, v.version, held.run, v.kind, v.data
            from unnest(
                $5::integer[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bytea[]
            ) as v (owner, ns, channel, version, kind, data)
            join held on held.place = v.owner
            on conflict do nothing
        ),
        stored_checkpoints as (
            insert into checkpoints (
                thread_id, ns, id, parent, run_id, metadata, head_kind, head, versions, created_at
            )
            select held.id, c.ns, c.id, c.parent, held.run, c.metadata::json, c.head_kind, c.head,
                c.versions::json, c.created_at
            from unnest(
                $11::integer[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
                $17::bytea[], $18::text[], $19::timestamptz[]
            ) as c (owner, ns, id, parent, metadata, head_kind, head, versions, created_at)
            join held on held.place = c.owner
            on conflict do nothing
        ),
        stored_writes as (
            insert into pending_writes (
                thread_id, ns, checkpoint_id, task_id, position, writer, run_id, task_path,
                channel, kind, data
            )
            select held.id, w.ns, w.checkpoint_id, w.task_id, w.position,
                case when w.position < 0 then held.run else $29 end, held.run, w.task_path,
                w.channel, w.kind, w.data
            from unnest(
                $20::integer[], $21::text[], $22::text[], $23::text[], $24::integer[],
                $25::text[], $26::text[], $27::text[], $28::bytea[]
            ) as w (owner, ns, checkpoint_id, task_id, position, task_path, channel, kind, data)
            join held on held.place = w.owner
            on conflict (thread_id, ns, checkpoint_id, task_id, position, writer) do update set
                run_id = excluded.run_id, task_path = excluded.task_path,
                channel = excluded.channel, kind = excluded.kind, data = excluded.data,
                written = default
            where pending_writes.position < 0
        )
        select place as "place!" from held"#,
        &uuids(|put| put.thread.0),
        &epochs,
        &uuids(|put| put.fence.claim.0),
        &uuids(|put| put.run.0),
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
        &writes.data[..] as _,
        Uuid::nil()
    );
    Ok(stored.fetch_all(db).await?)
}
