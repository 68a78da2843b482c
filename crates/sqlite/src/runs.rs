//! Runs, as those who ask for them see them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runloom_core::admission::{Admission, InFlight, admit, superseded_reason};
use runloom_core::compose::{Composed, IfThreadMissing, NewRun, Place};
use runloom_core::database::decisions::Asker;
use runloom_core::database::{CancelRequest, Cancelled, DatabaseError, Runs, Submission};
use runloom_core::effects::Effects;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::json::{Json as RawJson, JsonMap};
use runloom_core::run::Run;
use runloom_core::search::{Page, RunFilter};
use rusqlite::{Connection, params};

use crate::change::Change;
use crate::convert::{micros, time};
use crate::error::Result;
use crate::rows::{RunColumns, RunRow, ThreadRow};
use crate::statement::{Json, Word, all, columns, execute, first};
use crate::stops::{cancel, carry_out};
use crate::{Sqlite, threads};

#[async_trait]
impl Runs for Sqlite {
    async fn submit_run(&self, new: NewRun) -> Result<Submission, DatabaseError> {
        let input = new.kwargs.input.as_ref();
        let weight = input.map_or(0, |input| input.as_str().len());
        self.change(weight, move |change| submit(change, &new))
            .await
    }

    async fn run(&self, thread: Option<ThreadId>, id: RunId) -> Result<Option<Run>, DatabaseError> {
        let row = self.read(move |db| load(db, id)).await?;
        let row = row.filter(|row| thread.is_none_or(|thread| row.run.thread_id == thread));
        Ok(row.map(|row| row.run))
    }

    async fn runs(
        &self,
        thread: ThreadId,
        filter: RunFilter,
        page: Page,
    ) -> Result<Vec<Run>, DatabaseError> {
        self.read(move |db| list(db, thread, filter, page)).await
    }

    async fn cancel_runs(&self, request: CancelRequest) -> Result<Cancelled, DatabaseError> {
        self.change(0, move |change| cancel(change, request)).await
    }

    async fn delete_run(&self, thread: ThreadId, id: RunId) -> Result<(), DatabaseError> {
        self.change(0, move |change| delete(change, thread, id))
            .await
    }
}

fn submit(change: &Change<'_>, new: &NewRun) -> Result<Submission> {
    let mut effects = Effects::default();
    let known = threads::load(change, new.thread_id)?;
    let mut rows = in_flight_and(change, new.thread_id, new.id)?;
    if let Some(known) = rows.extract_if(.., |row| row.run.id == new.id).next() {
        return resubmit(change, known);
    }
    let is_first = known.is_none();
    let (mut thread, composed) = place(known, new, change.now)?;
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
        effects.extend(carry_out(change, &thread, row, stop, &asker)?);
    }
    let row = accept(&mut thread, new, composed, change.now);
    effects.changes.push(row.told());
    if is_first {
        // The thread comes first, as the row of the run refers to it; and nothing else lies before it.
        let queue = Outlook {
            in_flight: true,
            due: row.not_before <= change.now,
        };
        threads::finish_with(change, &mut thread, &queue, &mut effects)?;
        insert(change, &row)?;
    } else {
        insert(change, &row)?;
        threads::finish(change, &mut thread, &mut effects)?;
    }
    Ok(Submission::Accepted(Box::new(row.run), effects))
}

/// The answer to a run that was submitted before.
fn resubmit(change: &Change<'_>, known: RunRow) -> Result<Submission> {
    let mut effects = Effects::default();
    if let Some(mut thread) = threads::load(change, known.run.thread_id)? {
        threads::finish(change, &mut thread, &mut effects)?;
    }
    Ok(Submission::Accepted(Box::new(known.run), effects))
}

/// The thread of a new run, made if need be, and what the run and the thread are stored with.
fn place(
    known: Option<ThreadRow>,
    new: &NewRun,
    now: DateTime<Utc>,
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
            let mut row = ThreadRow::new(new.thread_id, JsonMap::new(), now);
            row.temporary = new.kwargs.temporary;
            row.thread.ttl = new.thread_ttl;
            Ok((row, new.compose(None)))
        }
    }
}

/// The new run: pending, last in the thread's order of acceptance. Both are left to be stored.
fn accept(thread: &mut ThreadRow, new: &NewRun, composed: Composed, now: DateTime<Utc>) -> RunRow {
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
    RunRow {
        not_before: run.created_at,
        run,
        handed_back: 0,
    }
}

fn delete(change: &Change<'_>, thread: ThreadId, id: RunId) -> Result<()> {
    if threads::load(change, thread)?.is_none() {
        return Err(DatabaseError::NotFound("thread").into());
    }
    let row = load(change, id)?;
    let row = row.filter(|row| row.run.thread_id == thread);
    let row = row.ok_or(DatabaseError::NotFound("run"))?;
    if !row.run.status.is_terminal() {
        return Err(DatabaseError::Busy.into());
    }
    remove(change, id)
}

/// The run.
pub(crate) fn load(db: &Connection, id: RunId) -> Result<Option<RunRow>> {
    let row: Option<RunColumns> = first(db, "select * from runs where id = ?", params![id.0])?;
    Ok(row.map(RunRow::from))
}

/// The runs of a thread that are pending or running, in the order of acceptance.
pub(crate) fn in_flight(db: &Connection, thread: ThreadId) -> Result<Vec<RunRow>> {
    Ok(by_acceptance(all(
        db,
        "select * from runs where thread_id = ? and status in ('pending', 'running')",
        params![thread.0],
    )?))
}

/// The same, and the run `id` if it is known, wherever and however it is.
fn in_flight_and(db: &Connection, thread: ThreadId, id: RunId) -> Result<Vec<RunRow>> {
    Ok(by_acceptance(all(
        db,
        "select * from runs
        where (thread_id = ? and status in ('pending', 'running')) or id = ?",
        params![thread.0, id.0],
    )?))
}

/// Sorts a few runs. Not left to SQL, which would walk through all that the thread ever had.
fn by_acceptance(rows: Vec<RunColumns>) -> Vec<RunRow> {
    let mut rows: Vec<_> = rows.into_iter().map(RunRow::from).collect();
    rows.sort_by_key(|row| row.run.seq);
    rows
}

/// The run to be claimed next, if it is due: the first in the queue, unless it waits for another
/// attempt.
pub(crate) fn due(change: &Change<'_>, thread: ThreadId) -> Result<Option<RunRow>> {
    let now = change.now;
    let first: Option<RunColumns> = first(
        change,
        "select * from runs
        where thread_id = ? and status in ('pending', 'running') and status = 'pending'
            and created_at <= ?
        order by created_at, seq limit 1",
        params![thread.0, micros(now)],
    )?;
    let first = first.map(RunRow::from);
    Ok(first.filter(|row| row.not_before <= now))
}

columns! {
    /// What lies before a thread: whether any run is pending or running, and whether there is one to
    /// be claimed next, which is due.
    pub(crate) struct Outlook {
        in_flight: bool,
        due: bool,
    }
}

/// What lies before the thread: the same question as [`due`], without reading the run.
pub(crate) fn outlook(change: &Change<'_>, thread: ThreadId) -> Result<Outlook> {
    let outlook: Option<Outlook> = first(
        change,
        "select
            exists (
                select 1 from runs where thread_id = ?1 and status in ('pending', 'running')
            ) as in_flight,
            coalesce((
                select not_before <= ?2 from runs
                where thread_id = ?1 and status in ('pending', 'running') and status = 'pending'
                    and created_at <= ?2
                order by created_at, seq limit 1
            ), 0) as due",
        params![thread.0, micros(change.now)],
    )?;
    outlook.ok_or_else(|| rusqlite::Error::QueryReturnedNoRows.into())
}

fn list(db: &Connection, thread: ThreadId, filter: RunFilter, page: Page) -> Result<Vec<Run>> {
    let rows: Vec<RunColumns> = all(
        db,
        "select * from runs where thread_id = ?1 and (?2 is null or status = ?2)
        order by created_at desc, seq desc limit ?3 offset ?4",
        params![thread.0, filter.status.map(Word), page.limit, page.offset],
    )?;
    Ok(rows.into_iter().map(|row| RunRow::from(row).run).collect())
}

fn insert(change: &Change<'_>, row: &RunRow) -> Result<()> {
    let run = &row.run;
    execute(
        change,
        "insert into runs (
            id, thread_id, assistant_id, graph_id, seq, created_at, updated_at, status, metadata,
            kwargs, multitask_strategy, policy, not_before
        ) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            run.id.0,
            run.thread_id.0,
            run.assistant_id.0,
            run.graph_id.0,
            run.seq,
            micros(run.created_at),
            micros(run.updated_at),
            Word(run.status),
            Json(&run.metadata),
            Json(&run.kwargs),
            Word(run.multitask_strategy),
            Json(&run.policy),
            micros(row.not_before)
        ],
    )?;
    Ok(())
}

/// Writes what may change of a run.
pub(crate) fn store(change: &Change<'_>, row: &RunRow) -> Result<()> {
    let run = &row.run;
    execute(
        change,
        "update runs set
            created_at = ?, updated_at = ?, status = ?, cancel = ?, cancel_reason = ?,
            superseded_by = ?, attempt = ?, handed_back = ?, not_before = ?, worker_id = ?,
            error = ?, output = ?, interrupted_output = ?
        where id = ?",
        params![
            micros(run.created_at),
            micros(run.updated_at),
            Word(run.status),
            run.cancel.map(Word),
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
        ],
    )?;
    Ok(())
}

/// Deletes the record of a run.
pub(crate) fn remove(change: &Change<'_>, id: RunId) -> Result<()> {
    execute(change, "delete from runs where id = ?", params![id.0])?;
    Ok(())
}
