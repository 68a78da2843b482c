//! One attempt: a place in a process, the run in it, and the events that come out of it.

use std::sync::Arc;

use runloom_core::executor::{Attempt, Ended, Host, Outcome, StopKind, StopSignal};
use runloom_core::run::RunError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::RemoteExecutor;
use super::desk::Desk;
use super::drive::{Drive, Taken};
use super::nodes::Nodes;
use super::{events, request};
use crate::peer::{Call, CallError};
use crate::pool::Place;
use crate::protocol::Event;

/// How many bytes of events may be under way at once. Enough for a process to go on while readers catch
/// up, and little enough to hold for each of thousands of runs.
const CREDIT: u64 = 256 * 1024;

/// How many bytes that were published make new credit. Nearly all runs end before: telling of each event
/// would cost the process more than saying it.
const NEW_CREDIT: u64 = CREDIT / 4;

/// Runs `attempt` to its end.
pub(super) async fn execute(
    executor: &RemoteExecutor,
    attempt: Attempt,
    host: Arc<dyn Host>,
) -> Outcome {
    let left = CancellationToken::new();
    // When this future is dropped, nothing of the run reaches the host any more.
    let _leaving = left.clone().drop_guard();
    let desk = Desk::of_run(&attempt, host.clone(), left.clone());
    let begun = tokio::select! {
        biased;
        ended = asked_to_stop(attempt.stop.clone()) => Err(ended),
        begun = begin(executor, &attempt, &*host, &desk) => begun,
    };
    let (place, call) = match begun {
        Ok(begun) => begun,
        Err(ended) => return nowhere(ended),
    };
    let (said, to_say) = mpsc::unbounded_channel();
    let (taken, to_credit) = mpsc::unbounded_channel();
    let drive = Drive {
        call,
        place,
        stop: attempt.stop.clone(),
        left,
        grace: executor.config.grace,
        said,
        taken: to_credit,
        nodes: Nodes::of(&attempt),
    };
    // A task of its own: a run whose future was dropped has to be stopped nevertheless.
    let outcome = executor
        .drives
        .spawn(drive.through(attempt.run_id).in_current_span());
    follow(outcome, emit(to_say, taken, &*host)).await
}

/// Sends the request to a process that has room.
async fn begin(
    executor: &RemoteExecutor,
    attempt: &Attempt,
    host: &dyn Host,
    desk: &Arc<Desk>,
) -> Result<(Place, Call), Ended> {
    let mut request = request::of(attempt, CREDIT);
    loop {
        let place = executor.pool.place().await;
        let place = place.map_err(|_closed| Ended::Evicted)?;
        if let Some(error) = broken(&place, attempt) {
            return Err(Ended::Failed(error));
        }
        request.latest = request::latest(attempt, host).await;
        match place.open("run", &request, Some(desk.clone())) {
            Ok(call) => return Ok((place, call)),
            // The process ended just now; another one takes over.
            Err(CallError::Gone) => tokio::task::yield_now().await,
            Err(error) => {
                let error = RunError::new("InputTooLarge", error.to_string());
                return Err(Ended::Failed(error));
            }
        }
    }
}

/// How an attempt ends that is asked to stop before it began.
async fn asked_to_stop(mut stop: StopSignal) -> Ended {
    let asked = stop.wait_for(Option::is_some).await.map(|kind| *kind);
    let Ok(asked) = asked else {
        // Nobody is left who could ask.
        return std::future::pending().await;
    };
    match asked {
        Some(StopKind::Drain) => Ended::Drained,
        _ => Ended::Stopped,
    }
}

fn nowhere(ended: Ended) -> Outcome {
    Outcome { ended, head: None }
}

/// Why the graph of `attempt` cannot be run, if it cannot.
fn broken(place: &Place, attempt: &Attempt) -> Option<RunError> {
    let graph = &attempt.graph_id;
    let Some(known) = place.manifest().graph(&graph.0) else {
        let message = format!("no graph named {graph} is served here");
        return Some(RunError::new("UnknownGraphError", message));
    };
    let problem = known.problem()?;
    Some(RunError::new("GraphLoadError", problem))
}

/// Waits for the outcome, and for what was said before to be published if that matters.
async fn follow(mut outcome: JoinHandle<Outcome>, emitting: impl Future<Output = ()>) -> Outcome {
    tokio::pin!(emitting);
    let mut emitted = false;
    let outcome = tokio::select! {
        biased;
        outcome = &mut outcome => outcome,
        () = &mut emitting => {
            emitted = true;
            outcome.await
        }
    };
    let outcome = outcome.unwrap_or_else(|error| {
        let message = format!("the run cannot be followed any more: {error}");
        nowhere(Ended::Retry(RunError::new("ExecutorError", message)))
    });
    if !emitted && wants_to_be_heard(&outcome.ended) {
        emitting.await;
    }
    outcome
}

/// Whether what a run said before it ended like this must still be said. What is cut off or begun anew
/// need not wait for slow readers.
fn wants_to_be_heard(ended: &Ended) -> bool {
    match ended {
        Ended::Success | Ended::Paused | Ended::Drained | Ended::Failed(_) => true,
        Ended::Stopped | Ended::Evicted | Ended::Retry(_) => false,
    }
}

/// Publishes events until there are no more. What was published makes room for more: who has used up
/// its credit gets some, as all of it makes new credit when it is published.
async fn emit(
    mut said: mpsc::UnboundedReceiver<Vec<Event>>,
    taken: mpsc::UnboundedSender<Taken>,
    host: &dyn Host,
) {
    let mut bytes = 0;
    while let Some(batch) = said.recv().await {
        bytes += batch.iter().map(|event| event.2.len() as u64).sum::<u64>();
        let batch = batch.into_iter().filter_map(events::emission);
        host.emit(batch.collect()).await;
        if bytes >= NEW_CREDIT {
            // Who is gone needs no credit.
            let _ = taken.send(Taken { bytes });
            bytes = 0;
        }
    }
}
