//! Sees a run in a process through: takes what it says, asks it to stop, and takes the process away if
//! that does not help.

use std::time::Duration;

use runloom_core::executor::{Ended, Outcome, StopKind, StopSignal};
use runloom_core::ids::RunId;
use runloom_core::run::RunError;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::nodes::Nodes;
use super::{convert, errors};
use crate::measures;
use crate::peer::{Call, CallError, Heard, Item};
use crate::pool::{Loss, Place};
use crate::protocol::{Event, OutcomeKind, RemoteError, RunEnded, Stop, decode, item};

/// What the executor gets on top of the grace period: its own means to stop a run need it.
const LAST_MEANS: Duration = Duration::from_secs(1);

/// Bytes of events that were published.
pub(super) struct Taken {
    pub(super) bytes: u64,
}

/// A run under way.
pub(super) struct Drive {
    /// The run.
    pub(super) call: Call,
    /// Where it is.
    pub(super) place: Place,
    /// Says when to stop.
    pub(super) stop: StopSignal,
    /// Cancelled when nobody waits for the run any more.
    pub(super) left: CancellationToken,
    /// How long it may take to stop.
    pub(super) grace: Duration,
    /// Takes events.
    pub(super) said: mpsc::UnboundedSender<Vec<Event>>,
    /// Says which were published.
    pub(super) taken: mpsc::UnboundedReceiver<Taken>,
    /// Its nodes, in its trace.
    pub(super) nodes: Nodes,
}

/// When to take the process away.
#[derive(Default)]
struct Deadline(Option<Instant>);

impl Deadline {
    /// The first deadline stays.
    fn set(&mut self, patience: Duration) {
        self.0.get_or_insert_with(|| Instant::now() + patience);
    }

    fn is_set(&self) -> bool {
        self.0.is_some()
    }

    fn now(&mut self) {
        self.0 = Some(Instant::now());
    }

    async fn passed(&self) {
        match self.0 {
            Some(moment) => tokio::time::sleep_until(moment).await,
            None => std::future::pending().await,
        }
    }
}

impl Drive {
    /// Returns when the run is over, none of its code executes any more and all that it asked for is
    /// answered, as far as that can be had.
    pub(super) async fn through(mut self, run: RunId) -> Outcome {
        let mut deadline = Deadline::default();
        self.stop.mark_changed();
        let mut can_be_asked = true;
        let answer = loop {
            tokio::select! {
                biased;
                heard = self.call.next() => match heard {
                    Heard::Done(answer) => break answer,
                    Heard::Item(said) => self.take(&said, &mut deadline, run),
                },
                Some(Taken { bytes }) = self.taken.recv() => self.say(item::CREDIT, &bytes),
                () = self.left.cancelled(), if !deadline.is_set() => {
                    self.ask_to_stop(StopKind::LeaseLost, &mut deadline);
                }
                changed = self.stop.changed(), if can_be_asked => {
                    can_be_asked = changed.is_ok();
                    let kind = *self.stop.borrow_and_update();
                    if let Some(kind) = kind {
                        self.ask_to_stop(kind, &mut deadline);
                    }
                }
                () = deadline.passed() => {
                    tracing::warn!(run.id = %run, "a run cannot be stopped; its process is killed");
                    self.place.kill();
                    break Err(CallError::Gone);
                }
            }
        };
        let outcome = match answer {
            Ok(body) => Self::ended(&body, run),
            Err(CallError::Gone) => ended(self.gone(run).await),
            Err(CallError::Refused(refusal)) => ended(refused(refusal)),
            Err(error) => ended(odd(&error)),
        };
        self.call.close().await;
        outcome
    }

    fn take(&mut self, said: &Item, deadline: &mut Deadline, run: RunId) {
        match said.name.as_str() {
            item::EVENTS => match decode(&said.body) {
                // Nobody listens to a run that was left.
                Ok(events) => drop(self.said.send(events)),
                Err(error) => {
                    tracing::error!(run.id = %run, %error, "an executor's events are lost");
                }
            },
            item::NODE => match decode(&said.body) {
                Ok(node) => self.nodes.take(node),
                Err(error) => tracing::debug!(run.id = %run, %error, "a node is not understood"),
            },
            // Waiting longer helps nobody.
            item::STUCK if deadline.is_set() => deadline.now(),
            _ => {}
        }
    }

    fn ask_to_stop(&self, kind: StopKind, deadline: &mut Deadline) {
        if kind != StopKind::Drain {
            deadline.set(self.grace + LAST_MEANS);
        }
        let grace_ms = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
        let kind = kind.to_string();
        self.say(item::STOP, &Stop { kind, grace_ms });
    }

    fn say<B: serde::Serialize>(&self, name: &str, body: &B) {
        if let Err(error) = self.call.say(name, body) {
            // That the process is gone is heard as the answer.
            tracing::debug!(%error, name, "an executor was not reached");
        }
    }

    /// What the executor's answer means.
    fn ended(body: &[u8], run: RunId) -> Outcome {
        let body: RunEnded = match decode(body) {
            Ok(body) => body,
            Err(error) => return ended(odd(&error)),
        };
        if body.leaked_threads > 0 {
            measures::leaked(body.leaked_threads);
        }
        if let Some(traceback) = body
            .error
            .as_ref()
            .and_then(|error| error.traceback.as_deref())
        {
            tracing::info!(run.id = %run, "{traceback}");
        }
        let head = body.head.map(convert::head).transpose();
        let head = head.unwrap_or_else(|error| {
            tracing::error!(run.id = %run, %error, "an executor said something odd");
            None
        });
        let ended = match body.outcome {
            OutcomeKind::Success => Ended::Success,
            OutcomeKind::Paused => Ended::Paused,
            OutcomeKind::Stopped => Ended::Stopped,
            OutcomeKind::Drained => Ended::Drained,
            OutcomeKind::Failed => Ended::Failed(errors::of_run(body.error)),
            OutcomeKind::Retry => Ended::Retry(errors::of_run(body.error)),
        };
        Outcome { ended, head }
    }

    /// What it means that the process is gone.
    async fn gone(&self, run: RunId) -> Ended {
        match self.place.lost().await {
            Loss::Killed => Ended::Stopped,
            Loss::Evicted => Ended::Evicted,
            Loss::Died(how) => {
                tracing::warn!(run.id = %run, how, "the process that executed a run ended");
                let message = format!("the process that executed the run ended: {how}");
                Ended::Retry(RunError::new("ExecutorDied", message))
            }
        }
    }
}

fn ended(ended: Ended) -> Outcome {
    Outcome { ended, head: None }
}

/// The executor did not take the run.
fn refused(refusal: RemoteError) -> Ended {
    match refusal.kind.as_str() {
        RemoteError::UNAVAILABLE => Ended::Retry(errors::of_run(Some(refusal))),
        RemoteError::FENCED => Ended::Stopped,
        _ => Ended::Failed(errors::of_run(Some(refusal))),
    }
}

fn odd(error: &dyn std::fmt::Display) -> Ended {
    Ended::Failed(RunError::new("ExecutorError", error.to_string()))
}
