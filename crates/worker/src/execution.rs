//! Has an executor execute, and leaves it behind if it does not stop when it should.

use std::sync::Arc;
use std::time::Duration;

use runloom_core::executor::{self, Ended, Executor, Host, Outcome, StopSignal};
use runloom_core::run::RunError;
use runloom_core::state::Head;
use tokio::task::JoinError;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::stopper::hard;

/// How an execution ended.
#[derive(Debug, PartialEq)]
pub(crate) struct Ending {
    /// The kind of end.
    pub(crate) ended: Ended,
    /// The head, if the executor said where it left it.
    pub(crate) head: Option<Head>,
}

impl Ending {
    fn failed(error: &str, message: String) -> Self {
        Self {
            ended: Ended::Failed(RunError::new(error, message)),
            head: None,
        }
    }
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        Self {
            ended: outcome.ended,
            head: outcome.head,
        }
    }
}

/// Executes `attempt` until it ends, or until `patience` after a hard stop was signalled.
///
/// The executor gets a task of its own on `code`: code that blocks its thread then blocks nobody
/// who waits for it here.
pub(crate) async fn execute(
    executor: Arc<dyn Executor>,
    attempt: executor::Attempt,
    host: Arc<dyn Host>,
    patience: Duration,
    code: &TaskTracker,
) -> Ending {
    let stop = attempt.stop.clone();
    let mut task =
        code.spawn(async move { executor.execute(attempt, host).await }.in_current_span());
    tokio::select! {
        biased;
        outcome = &mut task => outcome.map_or_else(broken, Ending::from),
        () = overdue(stop, patience) => {
            tracing::warn!("the executor did not stop; leaving it behind");
            task.abort();
            Ending { ended: Ended::Stopped, head: None }
        }
    }
}

async fn overdue(stop: StopSignal, patience: Duration) {
    hard(stop).await;
    sleep(patience).await;
}

/// The end of an executor that did not return.
fn broken(error: JoinError) -> Ending {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_else(|| "no message".to_owned());
            Ending::failed("Panic", format!("the graph panicked: {text}"))
        }
        Err(_cancelled) => Ending {
            ended: Ended::Retry(RunError::new("ExecutorError", "the executor was shut down")),
            head: None,
        },
    }
}
