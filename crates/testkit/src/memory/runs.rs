//! Runs in the model.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runloom_core::admission::{Admission, InFlight, Origin, Stop, admit, stop, superseded_reason};
use runloom_core::compose::{IfThreadMissing, NewRun, Place};
use runloom_core::database::{CancelRequest, Cancelled, DatabaseError, Runs, Submission};
use runloom_core::effects::Effects;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::run::Run;
use runloom_core::search::{CancelSelection, Page, RunFilter};
use runloom_core::thread::Thread;

use super::Memory;
use super::state::{State, paged};
use super::thread_row::{Asker, RunRow, ThreadRow};
use super::threads::blank;

#[async_trait]
impl Runs for Memory {
    async fn submit_run(&self, new: NewRun) -> Result<Submission, DatabaseError> {
        let (mut state, now) = self.begin();
        if let Some(run) = state.run(new.id) {
            let run = Box::new(run.clone());
            let mut effects = Effects::default();
            state.thread(run.thread_id)?.wake_if_due(now, &mut effects);
            return Ok(Submission::Accepted(run, effects));
        }
        let row = match state.threads.get(&new.thread_id) {
            None if new.if_thread_missing == IfThreadMissing::Reject => {
                return Err(DatabaseError::NotFound("thread"));
            }
            // Work on a copy, so that a refusal leaves nothing behind.
            row => row.cloned(),
        };
        match accept(row, &new, now)? {
            None => Ok(Submission::Rejected),
            Some((row, run, effects)) => {
                state.threads.insert(run.thread_id, row);
                Ok(Submission::Accepted(Box::new(run), effects))
            }
        }
    }

    async fn run(&self, thread: Option<ThreadId>, id: RunId) -> Result<Option<Run>, DatabaseError> {
        let (state, _) = self.begin();
        let run = state.run(id);
        let run = run.filter(|run| thread.is_none_or(|thread| run.thread_id == thread));
        Ok(run.cloned())
    }

    async fn runs(
        &self,
        thread: ThreadId,
        filter: RunFilter,
        page: Page,
    ) -> Result<Vec<Run>, DatabaseError> {
        let (state, _) = self.begin();
        let rows = state.threads.get(&thread).into_iter();
        let runs = rows.flat_map(|row| row.runs.values()).map(|row| &row.run);
        let mut found: Vec<_> = runs
            .filter(|run| filter.status.is_none_or(|status| run.status == status))
            .cloned()
            .collect();
        found.sort_by_key(|run| std::cmp::Reverse((run.created_at, run.seq)));
        Ok(paged(found, page))
    }

    async fn cancel_runs(&self, request: CancelRequest) -> Result<Cancelled, DatabaseError> {
        let (mut state, now) = self.begin();
        let mut cancelled = Cancelled::default();
        let asker = Asker {
            superseded_by: None,
            reason: Some(request.reason),
        };
        for (thread, run) in selected(&state, &request.selection) {
            cancelled.runs.push((thread, run.id));
            if let Some(stop) = stop(run, request.action, Origin::Cancelled) {
                let effects = state.thread(thread)?.stop(run.id, stop, &asker, now)?;
                cancelled.effects.extend(effects);
            }
        }
        let mut touched: Vec<_> = cancelled.runs.iter().map(|(thread, _)| *thread).collect();
        touched.dedup();
        for thread in touched {
            let row = state.thread(thread)?;
            row.refresh(now);
            row.wake_if_due(now, &mut cancelled.effects);
        }
        Ok(cancelled)
    }

    async fn delete_run(&self, thread: ThreadId, id: RunId) -> Result<(), DatabaseError> {
        let (mut state, _) = self.begin();
        let row = state.thread(thread)?;
        if !row.row(id)?.run.status.is_terminal() {
            return Err(DatabaseError::Busy);
        }
        row.runs.remove(&id);
        Ok(())
    }
}

/// The thread and the run after `new` was accepted on `row`; `None` if it is refused.
fn accept(
    row: Option<ThreadRow>,
    new: &NewRun,
    now: DateTime<Utc>,
) -> Result<Option<(ThreadRow, Run, Effects)>, DatabaseError> {
    let composed = new.compose(row.as_ref().map(|row| &row.thread));
    let mut row = row.unwrap_or_else(|| {
        let mut row = ThreadRow::new(Thread {
            ttl: new.thread_ttl,
            ..blank(new.thread_id, JsonMap::new(), now)
        });
        row.temporary = new.kwargs.temporary;
        row
    });
    let Admission::Accepted(stops) = admit(new.multitask_strategy, &row.in_flight()) else {
        return Ok(None);
    };
    let mut effects = supersede(&mut row, &stops, new.id, now)?;

    row.thread.metadata = composed.thread_metadata;
    row.thread.config = composed.thread_config;
    row.thread.updated_at = now;
    row.last_seq += 1;
    let accepted_at = row.last_accepted_at.map_or(now, |last| last.max(now));
    row.last_accepted_at = Some(accepted_at);
    let place = Place {
        seq: row.last_seq,
        accepted_at,
    };
    let run = new.accepted(composed.metadata, composed.kwargs, place, now);
    let queued = RunRow {
        run: run.clone(),
        not_before: run.created_at,
        handed_back: 0,
    };
    row.runs.insert(run.id, queued);
    effects.changes.push(row.told(run.id));
    row.refresh(now);
    row.wake_if_due(now, &mut effects);
    Ok(Some((row, run, effects)))
}

/// Stops the runs whose place `by` takes.
fn supersede(
    row: &mut ThreadRow,
    stops: &[(RunId, Stop)],
    by: RunId,
    now: DateTime<Utc>,
) -> Result<Effects, DatabaseError> {
    let asker = Asker {
        superseded_by: Some(by),
        reason: Some(superseded_reason(by)),
    };
    let mut effects = Effects::default();
    for (run, stop) in stops {
        effects.extend(row.stop(*run, *stop, &asker, now)?);
    }
    Ok(effects)
}

/// The runs in flight that a selection names, by thread and in the order of acceptance.
fn selected(state: &State, selection: &CancelSelection) -> Vec<(ThreadId, InFlight)> {
    let named = |thread: ThreadId, run: &InFlight| match selection {
        CancelSelection::Pending => !run.running,
        CancelSelection::Running => run.running,
        CancelSelection::All => true,
        CancelSelection::Runs(of, ids) => thread == *of && ids.contains(&run.id),
    };
    let mut selected = Vec::new();
    for (thread, row) in &state.threads {
        let runs = row.in_flight().into_iter();
        selected.extend(
            runs.filter(|run| named(*thread, run))
                .map(|run| (*thread, run)),
        );
    }
    selected
}
