//! Runs, as those who ask for them see them.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use runloom_core::admission::{Admission, InFlight, admit, superseded_reason};
use runloom_core::compose::{Composed, IfThreadMissing, NewRun, Place};
use runloom_core::database::decisions::Asker;
use runloom_core::database::{CancelRequest, Cancelled, DatabaseError, Runs, Submission};
use runloom_core::effects::Effects;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::run::Run;
use runloom_core::search::{Page, RunFilter};
use sqlx::types::Text;

use crate::connections::Change;
use crate::convert::whole_micros;
use crate::error::Result;
use crate::json::AsJson;
use crate::rows::{RunColumns, RunRow, ThreadRow};
use crate::server::Server;
use crate::session::Session;
use crate::stops::{cancel, carry_out};
use crate::together::Request;
use crate::{Postgres, TRIES, threads};

#[async_trait]
impl Runs for Postgres {
    async fn submit_run(&self, new: NewRun) -> Result<Submission, DatabaseError> {
        if self.server.config.one_trip {
            match self.submit_in_one(&new).await {
                Ok(Some(submission)) => return Ok(submission),
                Ok(None) => {}
                // Somebody else has submitted the same run at the same time.
                Err(error) if error.violates("runs_pkey") => {}
                Err(error) => return Err(error.into()),
            }
        }
        for _ in 0..TRIES {
            let mut change = self.server.change().await?;
            match submit(&mut change, &new).await {
                Ok(Step::Done(submission)) => {
                    change.commit().await?;
                    return Ok(submission);
                }
                Ok(Step::Elsewhere(thread)) => {
                    drop(change);
                    if let Some(submission) = self.resubmit(thread, new.id).await? {
                        return Ok(submission);
                    }
                }
                Ok(Step::Overtaken) => {}
                // Somebody else has submitted the same run at the same time, to another thread.
                Err(error) if error.violates("runs_pkey") => {}
                Err(error) => return Err(error.into()),
            }
        }
        let text = "the thread was made and deleted again and again";
        Err(DatabaseError::Unavailable(text.to_owned()))
    }

    async fn run(&self, thread: Option<ThreadId>, id: RunId) -> Result<Option<Run>, DatabaseError> {
        let read = self.runs.ask(&self.server, Arc::new(ReadRun(id))).await?;
        let run = if let Some(run) = read {
            run
        } else {
            let mut reader = self.server.reader().await?;
            load(&mut reader, id).await?.map(|row| row.run)
        };
        Ok(run.filter(|run| thread.is_none_or(|thread| run.thread_id == thread)))
    }

    async fn runs(
        &self,
        thread: ThreadId,
        filter: RunFilter,
        page: Page,
    ) -> Result<Vec<Run>, DatabaseError> {
        let mut reader = self.server.reader().await?;
        Ok(list(&mut reader, thread, filter, page).await?)
    }

    async fn cancel_runs(&self, request: CancelRequest) -> Result<Cancelled, DatabaseError> {
        let mut change = self.server.change().await?;
        let cancelled = cancel(&mut change, request).await?;
        change.commit().await?;
        Ok(cancelled)
    }

    async fn delete_run(&self, thread: ThreadId, id: RunId) -> Result<(), DatabaseError> {
        let mut change = self.server.change().await?;
        delete(&mut change, thread, id).await?;
        Ok(change.commit().await?)
    }
}

/// A run to be read.
pub(crate) struct ReadRun(RunId);

impl Request for ReadRun {
    /// None if there is no such run.
    type Reply = Option<Run>;

    fn thread(&self) -> Option<ThreadId> {
        None
    }

    async fn carry_out(
        server: &Server,
        requests: &[Arc<Self>],
    ) -> Result<Vec<Option<Option<Run>>>> {
        let ids: Vec<_> = requests.iter().map(|request| request.0.0).collect();
        let mut reader = server.reader().await?;
        // One look for each, in so many words: told "any of these", Postgres reads all runs as long as it
        // believes that there are few.
        let rows = sqlx::query_as!(
            RunColumns,
            "select r.* from unnest($1::uuid[]) as a (id)
            cross join lateral (select * from runs where id = a.id limit 1) r",
            &ids
        );
        let rows = rows.fetch_all(&mut reader).await?.into_iter();
        let runs: HashMap<_, _> = rows.map(|row| (row.id, RunRow::from(row).run)).collect();
        let run = |request: &Arc<Self>| Some(runs.get(&request.0).cloned());
        Ok(requests.iter().map(run).collect())
    }
}

/// How far a try to submit a run has come.
enum Step {
    Done(Submission),
    /// The run is there, on another thread.
    Elsewhere(ThreadId),
    /// Somebody else has just made the thread: begin anew and wait for its lock.
    Overtaken,
}

async fn submit(change: &mut Change, new: &NewRun) -> Result<Step> {
    let mut effects = Effects::default();
    let known = threads::lock(change, new.thread_id).await?;
    let mut rows = in_flight_and(change, new.thread_id, new.id).await?;
    if let Some(known) = rows.extract_if(.., |row| row.run.id == new.id).next() {
        if known.run.thread_id != new.thread_id {
            return Ok(Step::Elsewhere(known.run.thread_id));
        }
        return Ok(Step::Done(accepted_before(change, known).await?));
    }
    let Some((mut thread, composed)) = place(change, known, new).await? else {
        return Ok(Step::Overtaken);
    };
    let facts: Vec<_> = rows.iter().map(|row| InFlight::of(&row.run)).collect();
    let Admission::Accepted(stops) = admit(new.multitask_strategy, &facts) else {
        return Ok(Step::Done(Submission::Rejected));
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
    Ok(Step::Done(Submission::Accepted(Box::new(row.run), effects)))
}

/// The answer to a run that was submitted before to this thread, which is locked.
async fn accepted_before(change: &mut Change, known: RunRow) -> Result<Submission> {
    let mut effects = Effects::default();
    if let Some(mut thread) = threads::lock(change, known.run.thread_id).await? {
        threads::finish(change, &mut thread, &mut effects).await?;
    }
    Ok(Submission::Accepted(Box::new(known.run), effects))
}

impl Postgres {
    /// The answer to a run that was submitted before, to `thread`; none if it is not there any more.
    async fn resubmit(&self, thread: ThreadId, id: RunId) -> Result<Option<Submission>> {
        let mut change = self.server.change().await?;
        threads::lock(&mut change, thread).await?;
        let Some(known) = load(&mut change, id).await? else {
            return Ok(None);
        };
        let submission = accepted_before(&mut change, known).await?;
        change.commit().await?;
        Ok(Some(submission))
    }
}

/// The thread of a new run, made if need be, and what the run and the thread are stored with. None if
/// somebody else has made it meanwhile.
async fn place(
    change: &mut Change,
    known: Option<ThreadRow>,
    new: &NewRun,
) -> Result<Option<(ThreadRow, Composed)>> {
    match known {
        Some(row) => {
            let composed = new.compose(Some(&row.thread));
            Ok(Some((row, composed)))
        }
        None if new.if_thread_missing == IfThreadMissing::Reject => {
            Err(DatabaseError::NotFound("thread").into())
        }
        None => {
            let mut row = ThreadRow::new(new.thread_id, JsonMap::new(), change.now);
            row.temporary = new.kwargs.temporary;
            row.thread.ttl = new.thread_ttl;
            // The row of the run refers to it.
            let is_ours = threads::insert(change, &row).await?;
            Ok(is_ours.then(|| (row, new.compose(None))))
        }
    }
}

/// Stores the new run as pending, last in the thread's order of acceptance.
async fn accept(
    change: &mut Change,
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
    run.created_at = whole_micros(run.created_at);
    thread.next_seq += 1;
    let row = RunRow {
        not_before: run.created_at,
        run,
        handed_back: 0,
    };
    insert(change, &row).await?;
    Ok(row)
}

async fn delete(change: &mut Change, thread: ThreadId, id: RunId) -> Result<()> {
    if threads::lock(change, thread).await?.is_none() {
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
pub(crate) async fn load(db: &mut Session, id: RunId) -> Result<Option<RunRow>> {
    let row = sqlx::query_as!(RunColumns, "select * from runs where id = $1", id.0);
    Ok(row.fetch_optional(db).await?.map(RunRow::from))
}

/// The runs of a thread that are pending or running, in the order of acceptance.
pub(crate) async fn in_flight(db: &mut Session, thread: ThreadId) -> Result<Vec<RunRow>> {
    let rows = sqlx::query_as!(
        RunColumns,
        "select * from runs where thread_id = $1 and status in ('pending', 'running')",
        thread.0
    );
    Ok(by_acceptance(rows.fetch_all(db).await?))
}

/// The same, and the run `id` if it is known, wherever and however it is.
async fn in_flight_and(db: &mut Session, thread: ThreadId, id: RunId) -> Result<Vec<RunRow>> {
    let rows = sqlx::query_as!(
        RunColumns,
        "select * from runs
        where (thread_id = $1 and status in ('pending', 'running')) or id = $2",
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
pub(crate) async fn due(change: &mut Change, thread: ThreadId) -> Result<Option<RunRow>> {
    let now = change.now;
    let first = sqlx::query_as!(
        RunColumns,
        "select * from runs
        where thread_id = $1 and status in ('pending', 'running') and status = 'pending'
            and created_at <= $2
        order by created_at, seq limit 1",
        thread.0,
        now
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
pub(crate) async fn outlook(change: &mut Change, thread: ThreadId) -> Result<Outlook> {
    let outlook = sqlx::query_as!(
        Outlook,
        r#"select
            exists (
                select 1 from runs where thread_id = $1 and status in ('pending', 'running')
            ) as "in_flight!",
            coalesce((
                select not_before <= $2 from runs
                where thread_id = $1 and status in ('pending', 'running') and status = 'pending'
                    and created_at <= $2
                order by created_at, seq limit 1
            ), false) as "due!""#,
        thread.0,
        change.now
    );
    Ok(outlook.fetch_one(&mut **change).await?)
}

async fn list(
    db: &mut Session,
    thread: ThreadId,
    filter: RunFilter,
    page: Page,
) -> Result<Vec<Run>> {
    let rows = sqlx::query_as!(
        RunColumns,
        "select * from runs where thread_id = $1 and ($2::text is null or status = $2)
        order by created_at desc, seq desc limit $3 offset $4",
        thread.0,
        filter.status.map(Text) as _,
        i64::from(page.limit),
        i64::from(page.offset)
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| RunRow::from(row).run).collect())
}

async fn insert(change: &mut Change, row: &RunRow) -> Result<()> {
    let run = &row.run;
    sqlx::query!(
        "insert into runs (
            id, thread_id, assistant_id, graph_id, seq, created_at, updated_at, status, metadata,
            kwargs, multitask_strategy, policy, not_before
        ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        run.id.0,
        run.thread_id.0,
        run.assistant_id.0,
        run.graph_id.0,
        run.seq,
        run.created_at,
        run.updated_at,
        Text(run.status) as _,
        AsJson(&run.metadata) as _,
        AsJson(&run.kwargs) as _,
        Text(run.multitask_strategy) as _,
        AsJson(&run.policy) as _,
        row.not_before
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Writes what may change of a run.
pub(crate) async fn store(change: &mut Change, row: &RunRow) -> Result<()> {
    let run = &row.run;
    sqlx::query!(
        "update runs set
            created_at = $1, updated_at = $2, status = $3, cancel = $4, cancel_reason = $5,
            superseded_by = $6, attempt = $7, handed_back = $8, not_before = $9, worker_id = $10,
            error = $11, output = $12, interrupted_output = $13
        where id = $14",
        run.created_at,
        run.updated_at,
        Text(run.status) as _,
        run.cancel.map(Text) as _,
        run.cancel_reason,
        run.superseded_by.map(|id| id.0),
        run.attempt.cast_signed(),
        row.handed_back.cast_signed(),
        row.not_before,
        run.worker_id.map(|id| id.0),
        run.error.as_ref().map(AsJson) as _,
        run.output.as_ref().map(AsJson) as _,
        run.interrupted_output.as_ref().map(AsJson) as _,
        run.id.0
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Deletes the record of a run.
pub(crate) async fn remove(change: &mut Change, id: RunId) -> Result<()> {
    sqlx::query!("delete from runs where id = $1", id.0)
        .execute(&mut **change)
        .await?;
    Ok(())
}
