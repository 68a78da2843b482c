//! One attempt: the root graph's loop, and beside it all that talks to the host.

use std::sync::{Arc, Mutex, OnceLock};

use runloom_core::executor::{Attempt, Ended, Host, Outcome, Work};
use runloom_core::run::RunError;
use runloom_core::state::Head;

use super::GraphExecutor;
use crate::compiled::CompiledGraph;
use crate::engine::{self, End, Fault, Level, Loop};
use crate::run::{self, Closing, Pump, Run, Stop, Store, StoreError};
use crate::stream::Modes;
use crate::view;

/// Runs `attempt` to its end.
pub(super) async fn execute(
    executor: &GraphExecutor,
    graph: &CompiledGraph,
    attempt: Attempt,
    host: Arc<dyn Host>,
) -> Outcome {
    let (events, pump, close_events) = Pump::new(host.clone());
    let (store, service) = Store::new(host.clone());
    let stop = Stop::default();
    let signal = attempt.stop.clone();
    stop.note(*signal.borrow());
    let runtime = executor.runtime.clone();
    let run = Arc::new(Run {
        metadata: Arc::new(run::metadata(&attempt)),
        modes: modes(&attempt),
        events,
        store: store.clone(),
        host: Arc::downgrade(&host),
        items: host.items(),
        clock: executor.clock.clone(),
        runtime: runtime.unwrap_or_else(tokio::runtime::Handle::current),
        grace: executor.grace,
        stop: stop.clone(),
        answers: OnceLock::new(),
        shown: Mutex::default(),
        messages_channel: graph.messages_channel().map(str::to_owned),
        attempt,
    });
    let work = async {
        let outcome = drive(&Level::root(&run, graph)).await;
        let closing = match outcome.ended {
            Ended::Stopped | Ended::Retry(_) => Closing::Discard,
            _ => Closing::Drain,
        };
        // Fails only if the pump is gone, which then has nothing to close.
        let _ = close_events.send(closing);
        store.close();
        outcome
    };
    let all = async {
        let (outcome, (), ()) = tokio::join!(work, pump.run(), service.run());
        outcome
    };
    tokio::select! {
        outcome = all => outcome,
        never = watch(run::watch(signal, stop.clone()), &store, &stop) => match never {},
    }
}

/// What to show. Nobody watches an input being applied.
fn modes(attempt: &Attempt) -> Modes {
    match attempt.work {
        Work::Run => Modes::of(&attempt.kwargs.stream_mode),
        Work::ApplyInput => Modes::default(),
    }
}

/// Stops the attempt when it is asked to stop, or cannot store anything any more.
async fn watch(
    signal: impl Future<Output = std::convert::Infallible>,
    store: &Store,
    stop: &Stop,
) -> std::convert::Infallible {
    let broken = async {
        store.broken().cancelled().await;
        stop.now().cancel();
        std::future::pending().await
    };
    tokio::select! {
        never = signal => never,
        never = broken => never,
    }
}

async fn drive(level: &Arc<Level>) -> Outcome {
    let (root, result) = match level.run.attempt.work {
        Work::Run => run_root(level).await,
        Work::ApplyInput => (None, apply_input(level).await),
    };
    let flushed = level.run.store.flush().await;
    let ended = match flushed.map_err(Fault::from).and(result) {
        Err(Fault::Store(error)) => {
            return Outcome {
                ended: without_storage(&error),
                head: None,
            };
        }
        Err(Fault::Failed(failure)) => Ended::Failed(RunError::new(failure.kind, failure.message)),
        Ok(End::Done) => Ended::Success,
        Ok(End::Paused(_)) => Ended::Paused,
        Ok(End::Stopped) if was_asked(level) => Ended::Stopped,
        Ok(End::Stopped) => Ended::Retry(unasked()),
        Ok(End::Drained) => Ended::Drained,
    };
    // A graph that came to its end in this attempt is at a checkpoint without pending writes.
    let known = ended == Ended::Success;
    let head = match root.filter(|root| known && root.wrote()) {
        Some(root) => Some(view::head_at_end(&level.graph, root.at())),
        None => stored_head(level).await,
    };
    Outcome { ended, head }
}

fn without_storage(error: &StoreError) -> Ended {
    match error {
        StoreError::Fenced | StoreError::Closed => Ended::Stopped,
        StoreError::Unavailable(_) => {
            Ended::Retry(RunError::new("StorageUnavailable", error.to_string()))
        }
    }
}

/// Whether it is no surprise that the attempt stopped.
fn was_asked(level: &Level) -> bool {
    level.run.attempt.work == Work::ApplyInput || level.run.stop.now().is_cancelled()
}

/// A node gave up as if it had been asked to, or the runtime that it was on is gone.
fn unasked() -> RunError {
    let text = "a node ended as if the run had been stopped, but nobody had asked for that";
    RunError::new("CancelledError", text)
}

async fn run_root(level: &Arc<Level>) -> (Option<Loop>, Result<End, Fault>) {
    match engine::begin(level).await {
        Ok(mut root) => {
            let end = root.run().await;
            (Some(root), end)
        }
        Err(fault) => (None, Err(fault)),
    }
}

async fn apply_input(level: &Arc<Level>) -> Result<End, Fault> {
    match engine::apply_input(level).await {
        Ok(None) => {}
        Ok(Some(root)) => root.stop_here()?,
        Err(Fault::Failed(failure)) => {
            tracing::warn!(run.id = %level.run.attempt.run_id,
                thread.id = %level.run.attempt.thread_id, ?failure,
                "the input of a superseded run cannot be applied");
        }
        Err(fault) => return Err(fault),
    }
    Ok(End::Stopped)
}

/// The head as a reader sees it; `None` if it cannot be read.
async fn stored_head(level: &Level) -> Option<Head> {
    let tuple = level.run.store.read("", None).await.ok()?;
    match view::head(&level.graph, tuple) {
        Ok(head) => Some(head),
        Err(error) => {
            tracing::error!(run.id = %level.run.attempt.run_id,
                thread.id = %level.run.attempt.thread_id, %error, "the head cannot be read");
            None
        }
    }
}
