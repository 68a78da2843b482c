//! Runs, as those who ask for them see them.

use async_trait::async_trait;
use runloom_core::admission::{Admission, InFlight, admit, superseded_reason};
use runloom_core::compose::{Composed, IfThreadMissing, NewRun, Place};
use runloom_core::database::decisions::Asker;
use runloom_core::database::{CancelRequest, Cancelled, DatabaseError, Runs, Submission};
use runloom_core::effects::Effects;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::json::{Json as RawJson, JsonMap};
use runloom_core::run::Run;
use runloom_core::search::{Page, RunFilter};
use sqlx::SqliteConnection;
use sqlx::types::{Json, Text};

use crate::connections::Change;
use crate::convert::{micros, time};
use crate::error::Result;
use crate::rows::{RunColumns, RunRow, ThreadRow};
use crate::stops::{cancel, carry_out};
use crate::{Sqlite, threads};

#[async_trait]
impl Runs for Sqlite {
    async fn submit_run(&self, new: NewRun) -> Result<Submission, DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        let submission = submit(&mut change, &new).await?;
        change.commit().await?;
        Ok(submission)
    }

    async fn run(&self, thread: Option<ThreadId>, id: RunId) -> Result<Option<Run>, DatabaseError> {
        let mut reader = self.reader().await?;
        let row = load(&mut reader, id).await?;
        let row = row.filter(|row| thread.is_none_or(|thread| row.run.thread_id == thread));
        Ok(row.map(|row| row.run))
    }

    async fn runs(
        &self,
        thread: ThreadId,
        filter: RunFilter,
        page: Page,
    ) -> Result<Vec<Run>, DatabaseError> {
        let mut reader = self.reader().await?;
        Ok(list(&mut reader, thread, filter, page).await?)
    }

    async fn cancel_runs(&self, request: CancelRequest) -> Result<Cancelled, DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        let cancelled = cancel(&mut change, request).await?;
        change.commit().await?;
        Ok(cancelled)
    }

    async fn delete_run(&self, thread: ThreadId, id: RunId) -> Result<(), DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        delete(&mut change, thread, id).await?;
        Ok(change.commit().await?)
    }
}

async fn submit(change: &mut Change<'_>, new: &NewRun) -> Result<Submission> {
    let mut effects = Effects::default();
    let known = threads::load(change, new.thread_id).await?;
    let mut rows = in_flight_and(change, new.thread_id, new.id).await?;
    if let Some(known) = rows.extract_if(.., |row| row.run.id == new.id).next() {
        return resubmit(change, known).await;
    }
    let (mut thread, composed) = place(change, known, new).await?;
    let facts: Vec<_> = rows.iter().map(|row| InFlight::of(&row.run)).collect();
    let Admission::Accepted(stops) = admit(new.multitask_strategy, &facts) else {
        return Ok(Submission::Rejected);
    };
    let asker = Asker {
        superseded_by: Some(new.id),
        reason: Some(superseded_reason(new.id)),
    };
    for (run, stop) in stops {
        let row = rows.extract_if(.., |row| row.run.id == run).next();
        let row = row.ok_or(DatabaseError::NotFound("run"))?;
        effects.extend(carry_out(change, &thread, row, stop, &asker).await?);
    }
    let row = accept(change, &mut thread, new, composed).await?;
    effects.changes.push(row.told());
    threads::finish(change, &mut thread, &mut effects).await?;
    Ok(Submission::Accepted(Box::new(row.run), effects))
}

/// The answer to a run that was submitted before.
async fn resubmit(change: &mut Change<'_>, known: RunRow) -> Result<Submission> {
    let mut effects = Effects::default();
    if let Some(mut thread) = threads::load(change, known.run.thread_id).await? {
        threads::finish(change, &mut thread, &mut effects).await?;
    }
    Ok(Submission::Accepted(Box::new(known.run), effects))
}

/// The thread of a new run, made if need be, and what the run and the thread are stored with.
async fn place(
    change: &mut Change<'_>,
    known: Option<ThreadRow>,
    new: &NewRun,
) -> Result<(ThreadRow, Composed)> {
    match known {
        Some(row) => {
            let composed = new.compose(Some(&row.thread));
            Ok((row, composed))
        }
        None if new.if_thread_missing == IfThreadMissing::Reject => {
            Err(DatabaseError::NotFound("thread").into())
        }
        None => {
            let mut row = ThreadRow::new(new.thread_id, JsonMap::new(), change.now);
            row.temporary = new.kwargs.temporary;
            // The row of the run refers to it.
            threads::store(change, &row).await?;
            Ok((row, new.compose(None)))
        }
    }
}

/// Stores the new run as pending, last in the thread's order of acceptance.
async fn accept(
    change: &mut Change<'_>,
    thread: &mut ThreadRow,
    new: &NewRun,
    composed: Composed,
) -> Result<RunRow> {
    let now = change.now;
    thread.thread.metadata = composed.thread_metadata;
    thread.thread.config = composed.thread_config;
    thread.thread.updated_at = now;
    thread.accepted_at = thread.accepted_at.max(now);
    let place = Place {
        seq: thread.next_seq,
        accepted_at: thread.accepted_at,
    };
    let mut run = new.accepted(composed.metadata, composed.kwargs, place, now);
    // What is answered now is what is read later.
    run.created_at = time(micros(run.created_at));
    thread.next_seq += 1;
    let row = RunRow {
        not_before: run.created_at,
        run,
        handed_back: 0,
    };
    insert(change, &row).await?;
    Ok(row)
}

async fn delete(change: &mut Change<'_>, thread: ThreadId, id: RunId) -> Result<()> {
    if threads::load(change, thread).await?.is_none() {
        return Err(DatabaseError::NotFound("thread").into());
    }
    let row = load(change, id).await?;
    let row = row.filter(|row| row.run.thread_id == thread);
    let row = row.ok_or(DatabaseError::NotFound("run"))?;
    if !row.run.status.is_terminal() {
        return Err(DatabaseError::Busy.into());
    }
    remove(change, id).await
}

/// The run.
pub(crate) async fn load(db: &mut SqliteConnection, id: RunId) -> Result<Option<RunRow>> {
    let row = sqlx::query_as!(RunColumns, "select * from runs where id = ?", id.0);
    Ok(row.fetch_optional(db).await?.map(RunRow::from))
}

/// The runs of a thread that are pending or running, in the order of acceptance.
pub(crate) async fn in_flight(db: &mut SqliteConnection, thread: ThreadId) -> Result<Vec<RunRow>> {
    let rows = sqlx::query_as!(
        RunColumns,
        "select * from runs where thread_id = ? and status in ('pending', 'running')",
        thread.0
    );
    Ok(by_acceptance(rows.fetch_all(db).await?))
}

/// The same, and the run `id` if it is known, wherever and however it is.
async fn in_flight_and(
    db: &mut SqliteConnection,
    thread: ThreadId,
    id: RunId,
) -> Result<Vec<RunRow>> {
    let rows = sqlx::query_as!(
        RunColumns,
        "select * from runs
        where (thread_id = ? and status in ('pending', 'running')) or id = ?",
        thread.0,
        id.0
    );
    Ok(by_acceptance(rows.fetch_all(db).await?))
}

/// Sorts a few runs. Not left to SQL, which would walk through all that the thread ever had.
fn by_acceptance(rows: Vec<RunColumns>) -> Vec<RunRow> {
    let mut rows: Vec<_> = rows.into_iter().map(RunRow::from).collect();
    rows.sort_by_key(|row| row.run.seq);
    rows
}

/// The run to be claimed next, if it is due: the first in the queue, unless it waits for another
/// attempt.
pub(crate) async fn due(change: &mut Change<'_>, thread: ThreadId) -> Result<Option<RunRow>> {
    let now = change.now;
    let first = sqlx::query_as!(
        RunColumns,
        "select * from runs
        where thread_id = ? and status in ('pending', 'running') and status = 'pending'
            and created_at <= ?
        order by created_at, seq limit 1",
        thread.0,
        micros(now)
    );
    let first = first.fetch_optional(&mut **change).await?;
    let first = first.map(RunRow::from);
    Ok(first.filter(|row| row.not_before <= now))
}

/// What lies before a thread.
pub(crate) struct Outlook {
    /// Whether any run is pending or running.
    pub(crate) in_flight: bool,
    /// Whether there is a run to be claimed next, and it is due.
    pub(crate) due: bool,
}

/// What lies before the thread: the same question as [`due`], without reading the run.
pub(crate) async fn outlook(change: &mut Change<'_>, thread: ThreadId) -> Result<Outlook> {
    let outlook = sqlx::query_as!(
        Outlook,
        r#"select
            exists (
                select 1 from runs where thread_id = ?1 and status in ('pending', 'running')
            ) as "in_flight!: bool",
            coalesce((
                select not_before <= ?2 from runs
                where thread_id = ?1 and status in ('pending', 'running') and status = 'pending'
                    and created_at <= ?2
                order by created_at, seq limit 1
            ), 0) as "due!: bool""#,
        thread.0,
        micros(change.now)
    );
    Ok(outlook.fetch_one(&mut **change).await?)
}

async fn list(
    db: &mut SqliteConnection,
    thread: ThreadId,
    filter: RunFilter,
    page: Page,
) -> Result<Vec<Run>> {
    let rows = sqlx::query_as!(
        RunColumns,
        "select * from runs where thread_id = ?1 and (?2 is null or status = ?2)
        order by created_at desc, seq desc limit ?3 offset ?4",
        thread.0,
        filter.status.map(Text),
        page.limit,
        page.offset
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| RunRow::from(row).run).collect())
}

async fn insert(change: &mut Change<'_>, row: &RunRow) -> Result<()> {
    let run = &row.run;
    sqlx::query!(
        "insert into runs (
            id, thread_id, assistant_id, graph_id, seq, created_at, updated_at, status, metadata,
            kwargs, multitask_strategy, policy, not_before
        ) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        run.id.0,
        run.thread_id.0,
        run.assistant_id.0,
        run.graph_id.0,
        run.seq,
        micros(run.created_at),
        micros(run.updated_at),
        Text(run.status),
        Json(&run.metadata),
        Json(&run.kwargs),
        Text(run.multitask_strategy),
        Json(&run.policy),
        micros(row.not_before)
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Writes what may change of a run.
pub(crate) async fn store(change: &mut Change<'_>, row: &RunRow) -> Result<()> {
    let run = &row.run;
    sqlx::query!(
        "update runs set
            created_at = ?, updated_at = ?, status = ?, cancel = ?, cancel_reason = ?,
            superseded_by = ?, attempt = ?, handed_back = ?, not_before = ?, worker_id = ?,
            error = ?, output = ?, interrupted_output = ?
        where id = ?",
        micros(run.created_at),
        micros(run.updated_at),
        Text(run.status),
        run.cancel.map(Text),
        run.cancel_reason,
        run.superseded_by.map(|id| id.0),
        run.attempt,
        row.handed_back,
        micros(row.not_before),
        run.worker_id.map(|id| id.0),
        run.error.as_ref().map(Json),
        run.output.as_ref().map(RawJson::as_str),
        run.interrupted_output.as_ref().map(RawJson::as_str),
        run.id.0
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Deletes the record of a run.
pub(crate) async fn remove(change: &mut Change<'_>, id: RunId) -> Result<()> {
    sqlx::query!("delete from runs where id = ?", id.0)
        .execute(&mut **change)
        .await?;
    Ok(())
}
