//! Stopping runs, the way the rules of admission say.

use chrono::{DateTime, Utc};
use runloom_core::admission::{InFlight, Origin, Stop, stop};
use runloom_core::bus::Signal;
use runloom_core::database::{CancelRequest, Cancelled};
use runloom_core::effects::Effects;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::run::{CancelAction, Run, Transition};
use runloom_core::search::CancelSelection;

use crate::connections::Change;
use crate::error::Result;
use crate::rollback::discard;
use crate::rows::{RunRow, ThreadRow};
use crate::{runs, threads};

/// Who asked a run to stop, and why.
#[derive(Default)]
pub(crate) struct Asker {
    pub(crate) superseded_by: Option<RunId>,
    pub(crate) reason: Option<String>,
}

impl Asker {
    /// Notes on the run how it is to stop, who wants it, and why.
    fn note(&self, run: &mut Run, action: CancelAction, now: DateTime<Utc>) {
        run.updated_at = now;
        run.cancel = Some(action);
        run.cancel_reason = self.reason.clone().or(run.cancel_reason.take());
        run.superseded_by = self.superseded_by.or(run.superseded_by);
    }
}

/// Carries out what the rules say about stopping a run of `thread`.
pub(crate) async fn carry_out(
    change: &mut Change,
    thread: &ThreadRow,
    mut row: RunRow,
    stop: Stop,
    asker: &Asker,
) -> Result<Effects> {
    let now = change.now;
    let mut effects = Effects::default();
    match stop {
        Stop::Discard => {
            discard(change, &row).await?;
            effects.changes.push(row.told_gone());
            return Ok(effects);
        }
        Stop::Signal(action) => {
            asker.note(&mut row.run, action, now);
            let holder = thread.holder.filter(|holder| holder.run_id == row.run.id);
            effects.signals.extend(holder.map(|holder| {
                let signal = Signal {
                    run_id: row.run.id,
                    claim: holder.fence.claim,
                    action,
                };
                (holder.worker_id, signal)
            }));
        }
        Stop::Visit => {
            asker.note(&mut row.run, CancelAction::Interrupt, now);
            row.run.created_at = row.run.created_at.min(now);
            row.not_before = row.not_before.min(now);
        }
        Stop::End => {
            asker.note(&mut row.run, CancelAction::Interrupt, now);
            row.apply(Transition::Interrupt, now)?;
            effects.changes.push(row.told());
        }
    }
    runs::store(change, &row).await?;
    Ok(effects)
}

/// Stops all runs that a request names.
pub(crate) async fn cancel(change: &mut Change, request: CancelRequest) -> Result<Cancelled> {
    let asker = Asker {
        superseded_by: None,
        reason: Some(request.reason),
    };
    let mut cancelled = Cancelled::default();
    for id in threads_in_flight(change, &request.selection).await? {
        let Some(mut thread) = threads::lock(change, id).await? else {
            continue;
        };
        let mut touched = false;
        for row in runs::in_flight(change, id).await? {
            let facts = InFlight::of(&row.run);
            if !names(&request.selection, &facts) {
                continue;
            }
            touched = true;
            cancelled.runs.push((id, facts.id));
            if let Some(stop) = stop(facts, request.action, Origin::Cancelled) {
                let effects = carry_out(change, &thread, row, stop, &asker).await?;
                cancelled.effects.extend(effects);
            }
        }
        if touched {
            threads::finish(change, &mut thread, &mut cancelled.effects).await?;
        }
    }
    Ok(cancelled)
}

/// The threads with runs in flight among which a selection may find something.
async fn threads_in_flight(
    change: &mut Change,
    selection: &CancelSelection,
) -> Result<Vec<ThreadId>> {
    if let CancelSelection::Runs(thread, _) = selection {
        return Ok(vec![*thread]);
    }
    let ids = sqlx::query_scalar!(
        "select distinct thread_id from runs where status in ('pending', 'running')
        order by thread_id"
    );
    let ids = ids.fetch_all(&mut **change).await?;
    Ok(ids.into_iter().map(ThreadId).collect())
}

fn names(selection: &CancelSelection, run: &InFlight) -> bool {
    match selection {
        CancelSelection::Pending => !run.running,
        CancelSelection::Running => run.running,
        CancelSelection::All => true,
        CancelSelection::Runs(_, ids) => ids.contains(&run.id),
    }
}
