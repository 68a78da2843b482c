//! One attempt from its claim to its settlement.

use std::convert::Infallible;
use std::sync::Arc;

use futures::future::join;
use runloom_core::checkpoint::CheckpointTuple;
use runloom_core::database::{Settled, Settlement, Transit};
use runloom_core::executor::{self, Ended, StopKind, StopSignal, Work};
use runloom_core::ids::ClaimId;
use runloom_core::lease::{Claimed, Lease};
use runloom_core::run::{Run, RunError, RunStatus};
use runloom_core::state::Head;
use runloom_core::trace::TraceParent;
use serde_json::json;
use tokio::time::sleep;
use tracing::Instrument;
use tracing::field::{Empty, display};

use crate::active::Known;
use crate::execution::{self, Ending};
use crate::gate::Gate;
use crate::host::AttemptHost;
use crate::incarnation::Incarnation;
use crate::measures::{self, ClaimTime};
use crate::plan::{Plan, keeps_input};
use crate::publisher::Publisher;
use crate::said::Observed;
use crate::settle::settle;
use crate::settlement::Ends;
use crate::stopper::Stopper;
use crate::stored;
use crate::traces::{Successor, Traced};
use crate::verdict::{self, Verdict};

/// One try at a run.
pub(crate) struct Attempt {
    worker: Arc<Incarnation>,
    lease: Lease,
    run: Run,
    claimed: ClaimTime,
    stopper: Arc<Stopper>,
    publisher: Arc<Publisher>,
    observed: Arc<Observed>,
    trace: Traced,
}

impl Attempt {
    /// The attempt that `claimed` allows. Signals for it are heard from now on. `before` is the attempt
    /// that it takes over from, in a trace.
    pub(crate) fn new(
        worker: &Arc<Incarnation>,
        mut claimed: Claimed,
        known: &Known,
        before: Option<TraceParent>,
    ) -> Self {
        let stopper = Arc::new(Stopper::new(claimed.run.cancel));
        known.begin(claimed.run.id, &stopper);
        measures::claimed(&claimed);
        let trace = Traced::begin(worker.id, &mut claimed.run, before);
        let publisher = Publisher::new(
            &claimed,
            worker.ports.events.clone(),
            &worker.config,
            &worker.publications,
        );
        Self {
            worker: worker.clone(),
            claimed: ClaimTime::of(&claimed),
            lease: claimed.lease,
            run: claimed.run,
            stopper,
            publisher: Arc::new(publisher),
            observed: Arc::default(),
            trace,
        }
    }

    /// Sees the attempt through. Answers with the thread's next run, claimed as `next`, if the
    /// settlement took one.
    pub(crate) async fn carry_out(self, next: Option<ClaimId>) -> Option<Successor> {
        let span = tracing::info_span!("attempt", run.id = %self.run.id,
            thread.id = %self.run.thread_id, worker.id = %self.worker.id,
            attempt = self.run.attempt, fence = self.lease.fence.epoch, trace.id = Empty);
        if let Some(trace) = &self.run.kwargs.trace {
            span.record("trace.id", display(trace.trace_id()));
        }
        self.see_through(next).instrument(span).await
    }

    async fn see_through(mut self, next: Option<ClaimId>) -> Option<Successor> {
        let (verdict, head) = self.proceed().await;
        let executed = self.claimed.elapsed();
        tracing::debug!(?verdict, "the code has stopped");
        self.trace.stopped(&self.stopper, &verdict);
        // What is handed back is for others: claiming it again at once would help nobody.
        let next = next.filter(|_| verdict != Verdict::HandBack);
        // All at once: the run that interrupts waits for it. Nothing of this attempt may be heard after
        // its successor began.
        let flushed = self.publisher.flush();
        let read_back = self.read_back(&verdict, head.as_ref());
        let ((), (now, left)) = join(flushed, read_back).await;
        let asked = now.as_ref().filter(|run| run.cancel.is_some());
        let asked = asked.map(|run| run.updated_at);
        let on_request = matches!(verdict, Verdict::Interrupt | Verdict::Discard);
        let ends = Ends {
            worker: &self.worker,
            run: &self.run,
            now,
            left,
            // An attempt without its thread may not have stored what it says.
            head: head.filter(|_| !self.stopper.is_lost()),
            // What it said may answer what was never stored, even its own input.
            spoken: if self.stopper.is_lost() {
                Vec::new()
            } else {
                self.observed.spoken()
            },
        };
        let settlement = ends.settlement(verdict).await;
        let settling = self.trace.settling();
        let settled = settle(&self.worker, &self.lease, settlement.clone(), next).await?;
        drop(settling);
        measures::settled(self.run.id, &settlement.transit, &settled, executed);
        let request = self.stopper.request().filter(|_| on_request);
        if let Some(request) = request {
            measures::stopped(request, asked, self.claimed);
            settled
                .next
                .as_deref()
                .inspect(|next| measures::took_over(next));
        }
        let Settled { effects, next } = settled;
        let next = self.trace.end(next);
        let worker = self.worker.clone();
        let publications = worker.publications.clone();
        let told = async move {
            // Only now that it is committed may anybody be told.
            let failed = effects.changes.iter().any(|change| {
                change.run_id == self.run.id && change.status == Some(RunStatus::Error)
            });
            if let Some(error) = error_of(&settlement).filter(|_| failed) {
                tracing::info!(run.id = %self.run.id, thread.id = %self.run.thread_id,
                    error = %format_args!("{}: {}", error.error, error.message), "a run failed");
                self.publisher.fail(error).await;
            }
            let ports = &worker.ports;
            effects.carry_out(&*ports.notifier, &*ports.events).await;
        };
        publications.spawn(told.in_current_span());
        next
    }

    /// What of an interrupted run is stored: the run, and the checkpoint that it left as its head.
    async fn read_back(
        &self,
        verdict: &Verdict,
        head: Option<&Head>,
    ) -> (Option<Run>, Option<CheckpointTuple>) {
        if *verdict != Verdict::Interrupt {
            return (None, None);
        }
        let left = async {
            let id = head?.checkpoint_id.as_ref()?;
            stored::checkpoint(&self.worker, self.run.thread_id, Some(id)).await
        };
        join(stored::run(&self.worker, &self.run), left).await
    }

    /// Does what the run needs, and says what that means for it.
    async fn proceed(&self) -> (Verdict, Option<Head>) {
        if self.worker.deadline.left().is_none() {
            self.stopper.ask(StopKind::LeaseLost);
        }
        let plan = Plan::of(&self.run);
        if plan == Plan::Discard {
            return (Verdict::Discard, None);
        }
        if self.stopper.is_lost() {
            return (Verdict::HandBack, None);
        }
        self.introduce().await;
        match plan {
            Plan::Execute => self.execute().await,
            Plan::ApplyInput => self.visit().await,
            Plan::Mend | Plan::Discard => (Verdict::Interrupt, None),
        }
    }

    /// The first event of every attempt.
    async fn introduce(&self) {
        let data = json!({"run_id": self.run.id.to_string(), "attempt": self.run.attempt});
        self.publisher
            .publish("metadata".into(), data.to_string().into())
            .await;
    }

    async fn execute(&self) -> (Verdict, Option<Head>) {
        if self.worker.stopping.is_cancelled() {
            return (Verdict::HandBack, None);
        }
        let signal = self.stopper.run_signal();
        let ending = tokio::select! {
            biased;
            ending = self.perform(Work::Run, signal) => ending,
            never = self.pace() => match never {},
        };
        let verdict = verdict::of_run(ending.ended, self.stopper.cause());
        let untouched = !self.observed.has_applied_input();
        if verdict == Verdict::Interrupt && untouched && keeps_input(&self.run) {
            // It was stopped before its input was stored where the next run finds it.
            return self.visit().await;
        }
        (verdict, ending.head)
    }

    /// Applies the input of an interrupted run.
    async fn visit(&self) -> (Verdict, Option<Head>) {
        let signal = self.stopper.visit_signal();
        let ending = self.perform(Work::ApplyInput, signal).await;
        let cause = self.stopper.cause();
        let verdict = verdict::of_visit(ending.ended, cause, self.stopper.is_lost());
        (verdict, ending.head)
    }

    /// Has the executor do `work`. No code of it reaches storage any more when this returns.
    async fn perform(&self, work: Work, stop: StopSignal) -> Ending {
        let Some(executor) = self.worker.ports.registry.executor(&self.run.graph_id) else {
            let message = format!("no graph named {} is served here", self.run.graph_id);
            return Ending {
                ended: Ended::Failed(RunError::new("UnknownGraph", message)),
                head: None,
            };
        };
        let host = Arc::new(AttemptHost {
            worker: self.worker.clone(),
            thread: self.run.thread_id,
            run: self.run.id,
            fence: self.lease.fence,
            stopper: self.stopper.clone(),
            publisher: self.publisher.clone(),
            observed: self.observed.clone(),
            gate: Arc::new(Gate::default()),
        });
        let attempt = executor::Attempt {
            run_id: self.run.id,
            thread_id: self.run.thread_id,
            assistant_id: self.run.assistant_id,
            graph_id: self.run.graph_id.clone(),
            attempt: self.run.attempt,
            kwargs: self.run.kwargs.clone(),
            metadata: self.run.metadata.clone(),
            work,
            stop,
        };
        let patience = self.worker.config.patience();
        let code = &self.worker.code;
        let ending =
            execution::execute(executor.clone(), attempt, host.clone(), patience, code).await;
        host.close().await;
        ending
    }

    /// Asks the attempt to stop when it takes too long or when the worker stops.
    async fn pace(&self) -> Infallible {
        let config = &self.worker.config;
        let timeout = async {
            match config.run_timeout {
                Some(timeout) => sleep(timeout).await,
                None => std::future::pending().await,
            }
            self.stopper.ask(StopKind::Timeout);
        };
        let drain = async {
            self.worker.stopping.cancelled().await;
            self.stopper.ask(StopKind::Drain);
            sleep(config.drain).await;
            self.stopper.ask(StopKind::LeaseLost);
        };
        join(timeout, drain).await;
        std::future::pending().await
    }
}

/// Why the run fails, if it does.
fn error_of(settlement: &Settlement) -> Option<&RunError> {
    match &settlement.transit {
        Transit::Fail(error) | Transit::Retry(_, error) => Some(error),
        Transit::Succeed | Transit::TimeOut(_) | Transit::Interrupt | Transit::HandBack => None,
    }
}
