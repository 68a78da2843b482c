//! Threads: their locks, their rows, and what clients do with them.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runloom_core::admission::{InFlight, Origin, stop};
use runloom_core::database::decisions::Asker;
use runloom_core::database::{DatabaseError, ThreadDeletion, ThreadPatch, Threads};
use runloom_core::effects::Effects;
use runloom_core::ids::ThreadId;
use runloom_core::run::CancelAction;
use runloom_core::search::{Page, SortOrder, ThreadFilter, ThreadSort};
use runloom_core::thread::{IfExists, NewThread, Thread, TtlStrategy};
use sqlx::types::Text;

use crate::connections::Change;
use crate::error::Result;
use crate::json::{AsJson, texts};
use crate::rows::{ThreadColumns, ThreadRow};
use crate::runs::Outlook;
use crate::server::Server;
use crate::session::Session;
use crate::stops::carry_out;
use crate::together::Request;
use crate::{Postgres, TRIES, retention, runs, search};

#[async_trait]
impl Threads for Postgres {
    async fn create_thread(&self, new: NewThread) -> Result<Thread, DatabaseError> {
        if self.server.config.one_trip
            && let Some(thread) = self.make_thread(&new).await?
        {
            return Ok(thread);
        }
        for _ in 0..TRIES {
            let mut change = self.server.change().await?;
            let mut row = ThreadRow::new(new.id, new.metadata.clone(), change.now);
            row.thread.ttl = new.ttl;
            if insert(&mut change, &row).await? {
                change.commit().await?;
                return Ok(row.thread);
            }
            if new.if_exists == IfExists::Raise {
                return Err(DatabaseError::Exists("thread"));
            }
            if let Some(row) = load_whole(&mut change, new.id).await? {
                return Ok(row.thread);
            }
        }
        let text = "the thread was made and deleted again and again";
        Err(DatabaseError::Unavailable(text.to_owned()))
    }

    async fn thread(&self, id: ThreadId) -> Result<Option<Thread>, DatabaseError> {
        let mut reader = self.server.reader().await?;
        Ok(load_whole(&mut reader, id).await?.map(|row| row.thread))
    }

    async fn patch_thread(
        &self,
        id: ThreadId,
        patch: ThreadPatch,
    ) -> Result<Thread, DatabaseError> {
        let mut change = self.server.change().await?;
        lock(&mut change, id).await?;
        let row = load_whole(&mut change, id).await?;
        let mut row = row.ok_or(DatabaseError::NotFound("thread"))?;
        row.thread.metadata.extend(patch.metadata);
        row.thread.updated_at = change.now;
        if let Some(ttl) = patch.ttl {
            row.thread.ttl = ttl;
            retention::store_ttl(&mut change, &row.thread).await?;
        }
        store(&mut change, &row).await?;
        change.commit().await?;
        Ok(row.thread)
    }

    async fn delete_thread(&self, id: ThreadId) -> Result<ThreadDeletion, DatabaseError> {
        let mut change = self.server.change().await?;
        let deletion = delete(&mut change, id).await?;
        change.commit().await?;
        Ok(deletion)
    }

    async fn search_threads(
        &self,
        filter: &ThreadFilter,
        sort: (ThreadSort, SortOrder),
        page: Page,
    ) -> Result<Vec<Thread>, DatabaseError> {
        let mut reader = self.server.reader().await?;
        let ids = search::threads(&mut reader, filter, sort, page).await?;
        Ok(load_many(&mut reader, &ids).await?)
    }

    async fn count_threads(&self, filter: &ThreadFilter) -> Result<u64, DatabaseError> {
        let mut reader = self.server.reader().await?;
        Ok(search::count_threads(&mut reader, filter).await?)
    }

    async fn copy_thread(&self, from: ThreadId, to: ThreadId) -> Result<Thread, DatabaseError> {
        let mut change = self.server.change().await?;
        lock_shared(&mut change, from).await?;
        let source = load_whole(&mut change, from).await?;
        let source = source.ok_or(DatabaseError::NotFound("thread"))?;
        let mut row = ThreadRow::new(to, source.thread.metadata, change.now);
        row.thread.config = source.thread.config;
        row.thread.values = source.thread.values;
        row.thread.interrupts = source.thread.interrupts;
        row.thread.ttl = source.thread.ttl;
        row.unfinished = source.unfinished;
        row.refresh(false, change.now);
        if !insert(&mut change, &row).await? {
            return Err(DatabaseError::Exists("thread"));
        }
        store_values(&mut change, &row).await?;
        copy_state(&mut change, from, to).await?;
        change.commit().await?;
        Ok(row.thread)
    }
}

impl Postgres {
    /// Makes a thread in one round trip, with others. None if it is there already.
    async fn make_thread(&self, new: &NewThread) -> Result<Option<Thread>, DatabaseError> {
        let made_at = |now| {
            let mut row = ThreadRow::new(new.id, new.metadata.clone(), now);
            row.thread.ttl = new.ttl;
            row
        };
        let make = Arc::new(MakeThread(made_at(DateTime::UNIX_EPOCH)));
        let now = self.threads.ask(&self.server, make).await?;
        Ok(now.map(|now| made_at(now).thread))
    }
}

/// A thread to be made, but for the time.
pub(crate) struct MakeThread(ThreadRow);

impl Request for MakeThread {
    /// When it was made.
    type Reply = DateTime<Utc>;

    fn thread(&self) -> Option<ThreadId> {
        Some(self.0.thread.id)
    }

    async fn carry_out(
        server: &Server,
        requests: &[Arc<Self>],
    ) -> Result<Vec<Option<DateTime<Utc>>>> {
        let threads = || requests.iter().map(|request| &request.0.thread);
        let ttls = || threads().map(|thread| thread.ttl);
        let ids: Vec<_> = threads().map(|thread| thread.id.0).collect();
        let mut session = server.statement().await?;
        let made = sqlx::query!(
            r#"with made as (
                insert into threads (
                    id, created_at, updated_at, state_updated_at, metadata, config, status,
                    hinted_at, at_rest_since
                )
                select t.id, moment, moment, moment, t.metadata::json, t.config::json, t.status,
                    moment, null
                from coalesce($5, clock_timestamp()) as moment,
                    unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
                        as t (id, metadata, config, status)
                on conflict do nothing
                returning id, created_at
            ), lasting as (
                insert into thread_ttls (thread_id, minutes, strategy, due_at)
                select x.id, x.minutes, x.strategy, made.created_at + x.minutes * interval '1 minute'
                from unnest($1::uuid[], $6::float8[], $7::text[]) as x (id, minutes, strategy)
                    join made on made.id = x.id
                where x.minutes is not null
            )
            select id, created_at from made"#,
            &ids,
            &texts(threads().map(|thread| Some(&thread.metadata)))? as _,
            &texts(threads().map(|thread| Some(&thread.config)))? as _,
            &threads()
                .map(|thread| thread.status.to_string())
                .collect::<Vec<_>>(),
            server.set_time(),
            &ttls().map(|ttl| Some(ttl?.minutes)).collect::<Vec<_>>() as _,
            &ttls()
                .map(|ttl| Some(ttl?.strategy.to_string()))
                .collect::<Vec<_>>() as _
        );
        let made = made.fetch_all(&mut session).await?;
        session.commit().await?;
        let made: HashMap<_, _> = made
            .into_iter()
            .map(|row| (row.id, row.created_at))
            .collect();
        Ok(ids.iter().map(|id| made.get(id).copied()).collect())
    }
}

/// Locks the thread, waiting for whoever has it, and reads it without its values; from then on the
/// change happens now. The first step of every change of a thread or of its runs.
pub(crate) async fn lock(change: &mut Change, id: ThreadId) -> Result<Option<ThreadRow>> {
    let row = sqlx::query_as!(
        ThreadColumns,
        r#"select *, null as "values: _", null as "interrupts: _", null::float8 as ttl_minutes,
            null as "ttl_strategy: _"
        from threads where id = $1
        for no key update"#,
        id.0
    );
    let row = row.fetch_optional(&mut **change).await?;
    change.read_clock().await?;
    Ok(row.map(ThreadRow::from))
}

/// Like [`lock`], but others may share it: nobody claims, settles or frees the thread until the
/// change is over, so what holds of its fence holds until then.
pub(crate) async fn lock_shared(change: &mut Change, id: ThreadId) -> Result<Option<ThreadRow>> {
    let row = sqlx::query_as!(
        ThreadColumns,
        r#"select *, null as "values: _", null as "interrupts: _", null::float8 as ttl_minutes,
            null as "ttl_strategy: _"
        from threads where id = $1
        for share"#,
        id.0
    );
    let row = row.fetch_optional(&mut **change).await?;
    change.read_clock().await?;
    Ok(row.map(ThreadRow::from))
}

/// The thread with its values, as it was committed last.
pub(crate) async fn load_whole(db: &mut Session, id: ThreadId) -> Result<Option<ThreadRow>> {
    let row = sqlx::query_as!(
        ThreadColumns,
        r#"select t.*, v."values" as "values?", v.interrupts as "interrupts?",
            x.minutes as "ttl_minutes?", x.strategy as "ttl_strategy?: Text<TtlStrategy>"
        from threads t
            left join thread_values v on v.thread_id = t.id
            left join thread_ttls x on x.thread_id = t.id
        where t.id = $1"#,
        id.0
    );
    Ok(row.fetch_optional(db).await?.map(ThreadRow::from))
}

/// Those of the threads that are there, with their values, in the order of their ids in `ids`.
async fn load_many(db: &mut Session, ids: &[ThreadId]) -> Result<Vec<Thread>> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        ThreadColumns,
        r#"select t.*, v."values" as "values?", v.interrupts as "interrupts?",
            x.minutes as "ttl_minutes?", x.strategy as "ttl_strategy?: Text<TtlStrategy>"
        from unnest($1::uuid[]) with ordinality as w (id, place)
            cross join lateral (select * from threads where id = w.id limit 1) t
            left join thread_values v on v.thread_id = t.id
            left join thread_ttls x on x.thread_id = t.id
        order by w.place"#,
        &ids
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    Ok(rows.map(|row| ThreadRow::from(row).thread).collect())
}

/// Stores a thread that is not there. False if it is, with nothing changed.
pub(crate) async fn insert(change: &mut Change, row: &ThreadRow) -> Result<bool> {
    let inserted = sqlx::query!(
        "insert into threads (
            id, created_at, updated_at, state_updated_at, metadata, config, status, failed,
            unfinished, temporary, at_rest_since, hinted_at
        ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict do nothing",
        row.thread.id.0,
        row.thread.created_at,
        row.thread.updated_at,
        row.thread.state_updated_at,
        AsJson(&row.thread.metadata) as _,
        AsJson(&row.thread.config) as _,
        Text(row.thread.status) as _,
        row.failed,
        row.unfinished,
        row.temporary,
        row.at_rest_since,
        row.hinted_at
    );
    let is_ours = inserted.execute(&mut **change).await?.rows_affected() > 0;
    if is_ours && row.thread.ttl.is_some() {
        retention::store_ttl(change, &row.thread).await?;
    }
    Ok(is_ours)
}

/// Writes what may change of a thread that is locked, without its values.
pub(crate) async fn store(change: &mut Change, row: &ThreadRow) -> Result<()> {
    sqlx::query!(
        "update threads set
            updated_at = $2, state_updated_at = $3, metadata = $4, config = $5, status = $6,
            error = $7, failed = $8, unfinished = $9, at_rest_since = $10, hinted_at = $11,
            next_seq = $12, accepted_at = $13, epoch = $14, claim = $15, worker_id = $16,
            held_run = $17, claimed_at = $18
        where id = $1",
        row.thread.id.0,
        row.thread.updated_at,
        row.thread.state_updated_at,
        AsJson(&row.thread.metadata) as _,
        AsJson(&row.thread.config) as _,
        Text(row.thread.status) as _,
        row.thread.error.as_ref().map(AsJson) as _,
        row.failed,
        row.unfinished,
        row.at_rest_since,
        row.hinted_at,
        row.next_seq,
        row.accepted_at,
        row.epoch,
        row.holder.map(|holder| holder.fence.claim.0),
        row.holder.map(|holder| holder.worker_id.0),
        row.holder.map(|holder| holder.run_id.0),
        row.holder.map(|holder| holder.claimed_at)
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Writes what the thread's last run left.
pub(crate) async fn store_values(change: &mut Change, row: &ThreadRow) -> Result<()> {
    let Some(values) = &row.thread.values else {
        return Ok(());
    };
    sqlx::query!(
        r#"insert into thread_values (thread_id, "values", interrupts) values ($1, $2, $3)
        on conflict (thread_id) do update set
            "values" = excluded."values", interrupts = excluded.interrupts"#,
        row.thread.id.0,
        AsJson(values) as _,
        AsJson(&row.thread.interrupts) as _
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Brings the thread's status up to date with its runs, asks for a wake-up if it is free and has a
/// due run, and writes it: the last step of whatever changed a run of it.
pub(crate) async fn finish(
    change: &mut Change,
    row: &mut ThreadRow,
    effects: &mut Effects,
) -> Result<()> {
    let queue = runs::outlook(change, row.thread.id).await?;
    finish_with(change, row, &queue, effects).await
}

/// The same, where it is known already what lies before the thread.
pub(crate) async fn finish_with(
    change: &mut Change,
    row: &mut ThreadRow,
    queue: &Outlook,
    effects: &mut Effects,
) -> Result<()> {
    let now = change.now;
    row.refresh(queue.in_flight, now);
    if queue.due && row.holder.is_none() {
        row.hinted_at = now;
        effects.wakes.push(row.thread.id);
    }
    store(change, row).await
}

async fn delete(change: &mut Change, id: ThreadId) -> Result<ThreadDeletion> {
    let row = lock(change, id).await?;
    let row = row.ok_or(DatabaseError::NotFound("thread"))?;
    let in_flight = runs::in_flight(change, id).await?;
    let mut effects = Effects::default();
    for run in in_flight {
        let stop = stop(
            InFlight::of(&run.run),
            CancelAction::Rollback,
            Origin::Cancelled,
        );
        if let Some(stop) = stop {
            effects.extend(carry_out(change, &row, run, stop, &Asker::default()).await?);
        }
    }
    if row.holder.is_some() {
        return Ok(ThreadDeletion::Stopping(effects));
    }
    remove(change, id).await?;
    Ok(ThreadDeletion::Deleted(effects))
}

/// Deletes a thread with everything that belongs to it.
pub(crate) async fn remove(change: &mut Change, id: ThreadId) -> Result<()> {
    sqlx::query!("delete from threads where id = $1", id.0)
        .execute(&mut **change)
        .await?;
    Ok(())
}

/// Copies checkpoints, values and pending writes; the latter in their order, which decides what
/// hides what.
async fn copy_state(change: &mut Change, from: ThreadId, to: ThreadId) -> Result<()> {
    sqlx::query!(
        "insert into checkpoints (
            thread_id, ns, id, parent, run_id, metadata, head_kind, head, versions, created_at
        )
        select $2, ns, id, parent, run_id, metadata, head_kind, head, versions, created_at
        from checkpoints where thread_id = $1",
        from.0,
        to.0
    )
    .execute(&mut **change)
    .await?;
    sqlx::query!(
        "insert into channel_blobs (thread_id, ns, channel, version, run_id, kind, data)
        select $2, ns, channel, version, run_id, kind, data
        from channel_blobs where thread_id = $1",
        from.0,
        to.0
    )
    .execute(&mut **change)
    .await?;
    sqlx::query!(
        "insert into pending_writes (
            thread_id, ns, checkpoint_id, task_id, position, writer, run_id, task_path, channel,
            kind, data
        )
        select $2, ns, checkpoint_id, task_id, position, writer, run_id, task_path, channel,
            kind, data
        from pending_writes where thread_id = $1 order by written",
        from.0,
        to.0
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}
