//! What must follow a committed change elsewhere, and how it is carried out: the same for the
//! gateway, the worker and the sweep.

use std::time::Duration;

use futures::future::{join_all, join4};

use crate::bus::{EventLog, Notifier, RunChange, Signal, SignalReply};
use crate::ids::{ThreadId, WorkerId};
use crate::trace::{self, Kind, Span, Start, TraceContext, TraceParent};

/// What must follow a committed change. All of it is hints: losing any costs time, never a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Runs that changed their status, in order.
    pub changes: Vec<RunChange>,
    /// Workers to be asked to stop a run.
    pub signals: Vec<(WorkerId, Signal)>,
    /// Threads that have a run to be claimed.
    pub wakes: Vec<ThreadId>,
}

/// How long to wait for a worker's answer to a signal. After that its next renewal tells it.
const SIGNAL_WAIT: Duration = Duration::from_secs(1);

impl Effects {
    /// Adds what must follow another change.
    pub fn extend(&mut self, other: Self) {
        self.changes.extend(other.changes);
        self.signals.extend(other.signals);
        self.wakes.extend(other.wakes);
    }

    /// Says what asks for its signals, in a trace.
    pub fn asked_in(&mut self, trace: Option<TraceParent>) {
        for (_, signal) in &mut self.signals {
            signal.trace = trace;
        }
    }

    /// Carries everything out, all at once: somebody waits for each. The changes are told in order.
    /// Says how each signal was answered.
    pub async fn carry_out(
        self,
        notifier: &dyn Notifier,
        events: &dyn EventLog,
    ) -> Vec<SignalReply> {
        let Self {
            changes,
            signals,
            wakes,
        } = self;
        let signals = signals.into_iter().map(async |(worker, mut signal)| {
            let mut span = signalling(worker, &mut signal);
            let reply = notifier.signal(worker, signal, SIGNAL_WAIT).await;
            span.set("reply", || <&str>::from(reply));
            drop(span);
            if reply != SignalReply::Stopping {
                tracing::debug!(run.id = %signal.run_id, worker.id = %worker, ?reply,
                    "signal not taken; the next renewal brings it");
            }
            reply
        });
        let ended = changes.iter().filter(|change| change.is_end());
        let ends = ended.map(async |change| {
            note(events.end(change.thread_id, change.run_id).await);
        });
        let told = async {
            for change in &changes {
                note(notifier.announce(*change).await);
            }
        };
        let wakes = wakes.into_iter().map(async |thread| {
            note(notifier.wake(thread).await);
        });
        let (replies, ..) = join4(join_all(signals), told, join_all(wakes), join_all(ends)).await;
        replies
    }
}

/// The span of a signal that belongs to a trace, and the signal below it.
fn signalling(worker: WorkerId, signal: &mut Signal) -> Span {
    let Some(parent) = signal.trace.map(TraceContext::from) else {
        return Span::none();
    };
    let mut span = trace::span(|| Start {
        name: "signal".into(),
        kind: Kind::Client,
        parent: Some(&parent),
        ago: Duration::ZERO,
    });
    span.set("run.id", || signal.run_id.to_string());
    span.set("worker.id", || worker.to_string());
    span.set("action", || <&str>::from(signal.action));
    signal.trace = span.context_or(Some(&parent)).map(|context| context.parent);
    span
}

fn note(result: Result<(), crate::bus::BusError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "hint not sent; the sweep makes up for it");
    }
}
