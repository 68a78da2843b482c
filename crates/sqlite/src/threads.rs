//! Threads.

use async_trait::async_trait;
use runloom_core::admission::{InFlight, Origin, stop};
use runloom_core::database::decisions::Asker;
use runloom_core::database::{DatabaseError, ThreadDeletion, ThreadPatch, Threads};
use runloom_core::effects::Effects;
use runloom_core::ids::ThreadId;
use runloom_core::run::CancelAction;
use runloom_core::search::{Page, SortOrder, ThreadFilter, ThreadSort};
use runloom_core::thread::{IfExists, NewThread, Thread};
use rusqlite::{Connection, params};

use crate::Sqlite;
use crate::change::Change;
use crate::convert::micros;
use crate::error::Result;
use crate::rows::{ThreadColumns, ThreadRow};
use crate::runs::Outlook;
use crate::statement::{Json, Word, execute, first};
use crate::stops::carry_out;
use crate::{runs, search};

#[async_trait]
impl Threads for Sqlite {
    async fn create_thread(&self, new: NewThread) -> Result<Thread, DatabaseError> {
        self.change(0, move |change| create(change, new)).await
    }

    async fn thread(&self, id: ThreadId) -> Result<Option<Thread>, DatabaseError> {
        let row = self.read(move |db| load_whole(db, id)).await?;
        Ok(row.map(|row| row.thread))
    }

    async fn patch_thread(
        &self,
        id: ThreadId,
        patch: ThreadPatch,
    ) -> Result<Thread, DatabaseError> {
        let apply = move |change: &Change<'_>| {
            let row = load_whole(change, id)?;
            let mut row = row.ok_or(DatabaseError::NotFound("thread"))?;
            row.thread.metadata.extend(patch.metadata);
            row.thread.ttl = patch.ttl.unwrap_or(row.thread.ttl);
            row.thread.updated_at = change.now;
            store(change, &row)?;
            Ok(row.thread)
        };
        self.change(0, apply).await
    }

    async fn delete_thread(&self, id: ThreadId) -> Result<ThreadDeletion, DatabaseError> {
        self.change(0, move |change| delete(change, id)).await
    }

    async fn search_threads(
        &self,
        filter: &ThreadFilter,
        sort: (ThreadSort, SortOrder),
        page: Page,
    ) -> Result<Vec<Thread>, DatabaseError> {
        let filter = filter.clone();
        let find = move |db: &Connection| {
            let mut found = Vec::new();
            for id in search::threads(db, &filter, sort, page)? {
                found.extend(load_whole(db, id)?.map(|row| row.thread));
            }
            Ok(found)
        };
        self.read(find).await
    }

    async fn count_threads(&self, filter: &ThreadFilter) -> Result<u64, DatabaseError> {
        let filter = filter.clone();
        self.read(move |db| search::count_threads(db, &filter))
            .await
    }

    async fn copy_thread(&self, from: ThreadId, to: ThreadId) -> Result<Thread, DatabaseError> {
        self.change(0, move |change| copy(change, from, to)).await
    }
}

fn create(change: &Change<'_>, new: NewThread) -> Result<Thread> {
    match (load_whole(change, new.id)?, new.if_exists) {
        (Some(_), IfExists::Raise) => Err(DatabaseError::Exists("thread").into()),
        (Some(row), IfExists::DoNothing) => Ok(row.thread),
        (None, _) => {
            let mut row = ThreadRow::new(new.id, new.metadata, change.now);
            row.thread.ttl = new.ttl;
            store(change, &row)?;
            Ok(row.thread)
        }
    }
}

fn copy(change: &Change<'_>, from: ThreadId, to: ThreadId) -> Result<Thread> {
    let source = load_whole(change, from)?;
    let source = source.ok_or(DatabaseError::NotFound("thread"))?;
    if load(change, to)?.is_some() {
        return Err(DatabaseError::Exists("thread").into());
    }
    let mut row = ThreadRow::new(to, source.thread.metadata, change.now);
    row.thread.config = source.thread.config;
    row.thread.values = source.thread.values;
    row.thread.interrupts = source.thread.interrupts;
    row.thread.ttl = source.thread.ttl;
    row.unfinished = source.unfinished;
    row.refresh(false, change.now);
    store(change, &row)?;
    store_values(change, &row)?;
    copy_state(change, from, to)?;
    Ok(row.thread)
}

/// The thread without its values, as most changes need it.
pub(crate) fn load(db: &Connection, id: ThreadId) -> Result<Option<ThreadRow>> {
    let row: Option<ThreadColumns> = first(
        db,
        r#"select *, null as "values", null as interrupts from threads where id = ?"#,
        params![id.0],
    )?;
    Ok(row.map(ThreadRow::from))
}

/// The thread with its values.
pub(crate) fn load_whole(db: &Connection, id: ThreadId) -> Result<Option<ThreadRow>> {
    let row: Option<ThreadColumns> = first(
        db,
        r#"select t.*, v."values", v.interrupts
        from threads t left join thread_values v on v.thread_id = t.id
        where t.id = ?"#,
        params![id.0],
    )?;
    Ok(row.map(ThreadRow::from))
}

/// Writes the thread as it is now, without its values.
pub(crate) fn store(change: &Change<'_>, row: &ThreadRow) -> Result<()> {
    execute(
        change,
        "insert into threads (
            id, created_at, updated_at, state_updated_at, metadata, config, status, error,
            failed, unfinished, temporary, at_rest_since, hinted_at, next_seq, accepted_at,
            epoch, claim, worker_id, held_run, claimed_at, ttl_minutes, ttl_strategy
        ) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        on conflict (id) do update set
            updated_at = excluded.updated_at, state_updated_at = excluded.state_updated_at,
            metadata = excluded.metadata, config = excluded.config,
            status = excluded.status, error = excluded.error,
            failed = excluded.failed, unfinished = excluded.unfinished,
            at_rest_since = excluded.at_rest_since, hinted_at = excluded.hinted_at,
            next_seq = excluded.next_seq, accepted_at = excluded.accepted_at,
            epoch = excluded.epoch, claim = excluded.claim, worker_id = excluded.worker_id,
            held_run = excluded.held_run, claimed_at = excluded.claimed_at,
            ttl_minutes = excluded.ttl_minutes, ttl_strategy = excluded.ttl_strategy",
        params![
            row.thread.id.0,
            micros(row.thread.created_at),
            micros(row.thread.updated_at),
            micros(row.thread.state_updated_at),
            Json(&row.thread.metadata),
            Json(&row.thread.config),
            Word(row.thread.status),
            row.thread.error.as_ref().map(Json),
            row.failed,
            row.unfinished,
            row.temporary,
            row.at_rest_since.map(micros),
            micros(row.hinted_at),
            row.next_seq,
            micros(row.accepted_at),
            row.epoch,
            row.holder.map(|holder| holder.fence.claim.0),
            row.holder.map(|holder| holder.worker_id.0),
            row.holder.map(|holder| holder.run_id.0),
            row.holder.map(|holder| micros(holder.claimed_at)),
            row.thread.ttl.map(|ttl| ttl.minutes),
            row.thread.ttl.map(|ttl| Word(ttl.strategy))
        ],
    )?;
    Ok(())
}

/// Writes what the thread's last run left.
pub(crate) fn store_values(change: &Change<'_>, row: &ThreadRow) -> Result<()> {
    let Some(values) = &row.thread.values else {
        return Ok(());
    };
    execute(
        change,
        r#"insert into thread_values (thread_id, "values", interrupts) values (?, ?, ?)
        on conflict (thread_id) do update set
            "values" = excluded."values", interrupts = excluded.interrupts"#,
        params![
            row.thread.id.0,
            values.as_str(),
            Json(&row.thread.interrupts)
        ],
    )?;
    Ok(())
}

/// Brings the thread's status up to date with its runs, asks for a wake-up if it is free and has a
/// due run, and writes it: the last step of whatever changed a run of it.
pub(crate) fn finish(
    change: &Change<'_>,
    row: &mut ThreadRow,
    effects: &mut Effects,
) -> Result<()> {
    let queue = runs::outlook(change, row.thread.id)?;
    finish_with(change, row, &queue, effects)
}

/// The same, where it is known already what lies before the thread.
pub(crate) fn finish_with(
    change: &Change<'_>,
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
    store(change, row)
}

fn delete(change: &Change<'_>, id: ThreadId) -> Result<ThreadDeletion> {
    let row = load(change, id)?;
    let row = row.ok_or(DatabaseError::NotFound("thread"))?;
    let in_flight = runs::in_flight(change, id)?;
    let mut effects = Effects::default();
    for run in in_flight {
        let stop = stop(
            InFlight::of(&run.run),
            CancelAction::Rollback,
            Origin::Cancelled,
        );
        if let Some(stop) = stop {
            effects.extend(carry_out(change, &row, run, stop, &Asker::default())?);
        }
    }
    if row.holder.is_some() {
        return Ok(ThreadDeletion::Stopping(effects));
    }
    remove(change, id)?;
    Ok(ThreadDeletion::Deleted(effects))
}

/// Deletes a thread with everything that belongs to it.
pub(crate) fn remove(change: &Change<'_>, id: ThreadId) -> Result<()> {
    execute(change, "delete from threads where id = ?", params![id.0])?;
    Ok(())
}

/// Copies checkpoints, values and pending writes; the latter in their order, which decides what
/// hides what.
fn copy_state(change: &Change<'_>, from: ThreadId, to: ThreadId) -> Result<()> {
    execute(
        change,
        "insert into checkpoints (
            thread_id, ns, id, parent, run_id, metadata, head_kind, head, versions, created_at
        )
        select ?2, ns, id, parent, run_id, metadata, head_kind, head, versions, created_at
        from checkpoints where thread_id = ?1",
        params![from.0, to.0],
    )?;
    execute(
        change,
        "insert into channel_blobs (thread_id, ns, channel, version, run_id, kind, data)
        select ?2, ns, channel, version, run_id, kind, data
        from channel_blobs where thread_id = ?1",
        params![from.0, to.0],
    )?;
    execute(
        change,
        "insert into pending_writes (
            thread_id, ns, checkpoint_id, task_id, position, writer, run_id, task_path, channel,
            kind, data
        )
        select ?2, ns, checkpoint_id, task_id, position, writer, run_id, task_path, channel,
            kind, data
        from pending_writes where thread_id = ?1 order by rowid",
        params![from.0, to.0],
    )?;
    Ok(())
}
