//! Stopping runs, the way the rules of admission say.

use runloom_core::admission::{InFlight, Origin, Stop, stop};
use runloom_core::database::decisions::Asker;
use runloom_core::database::{CancelRequest, Cancelled};
use runloom_core::effects::Effects;
use runloom_core::ids::ThreadId;
use runloom_core::search::CancelSelection;

use crate::change::Change;
use crate::error::Result;
use crate::rollback::discard;
use crate::rows::{RunRow, ThreadRow};
use crate::statement::{Id, all};
use crate::{runs, threads};

/// Carries out what the rules say about stopping a run of `thread`.
pub(crate) fn carry_out(
    change: &Change<'_>,
    thread: &ThreadRow,
    mut row: RunRow,
    stop: Stop,
    asker: &Asker,
) -> Result<Effects> {
    let Some(effects) = row.stop(stop, asker, thread.holder, change.now)? else {
        discard(change, &row)?;
        return Ok(Effects {
            changes: vec![row.told_gone()],
            ..Effects::default()
        });
    };
    runs::store(change, &row)?;
    Ok(effects)
}

/// Stops all runs that a request names.
pub(crate) fn cancel(change: &Change<'_>, request: CancelRequest) -> Result<Cancelled> {
    let asker = Asker {
        superseded_by: None,
        reason: Some(request.reason),
    };
    let mut cancelled = Cancelled::default();
    for id in threads_in_flight(change, &request.selection)? {
        let Some(mut thread) = threads::load(change, id)? else {
            continue;
        };
        let mut touched = false;
        for row in runs::in_flight(change, id)? {
            let facts = InFlight::of(&row.run);
            if !request.selection.names(id, &facts) {
                continue;
            }
            touched = true;
            cancelled.runs.push((id, facts.id));
            if let Some(stop) = stop(facts, request.action, Origin::Cancelled) {
                let effects = carry_out(change, &thread, row, stop, &asker)?;
                cancelled.effects.extend(effects);
            }
        }
        if touched {
            threads::finish(change, &mut thread, &mut cancelled.effects)?;
        }
    }
    Ok(cancelled)
}

/// The threads with runs in flight among which a selection may find something.
fn threads_in_flight(change: &Change<'_>, selection: &CancelSelection) -> Result<Vec<ThreadId>> {
    if let CancelSelection::Runs(thread, _) = selection {
        return Ok(vec![*thread]);
    }
    let ids: Vec<Id> = all(
        change,
        "select distinct thread_id from runs where status in ('pending', 'running')
        order by thread_id",
        (),
    )?;
    Ok(ids.into_iter().map(|Id(id)| ThreadId(id)).collect())
}
