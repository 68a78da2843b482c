//! Attempts in traces: the spans of an attempt, and what it has to do with the run that takes its
//! run's place.

use std::time::Duration;

use runloom_core::admission;
use runloom_core::ids::{RunId, ThreadId, WorkerId};
use runloom_core::lease::Claimed;
use runloom_core::run::{CancelAction, Run};
use runloom_core::trace::{self, Kind, Span, Start, TraceContext, TraceParent};
use tokio::time::Instant;

use crate::measures::Heard;
use crate::stopper::Stopper;
use crate::verdict::Verdict;

/// The next run of a thread, claimed by the settlement of the one before.
pub(crate) struct Successor {
    pub(crate) claimed: Box<Claimed>,
    /// The attempt that it stopped.
    pub(crate) before: Option<TraceParent>,
}

impl Successor {
    /// A run that stopped no attempt here.
    pub(crate) fn of(claimed: Box<Claimed>) -> Self {
        Self {
            claimed,
            before: None,
        }
    }

    /// Where it belongs, if it is there because it stopped the run before it.
    fn asker(&self) -> Option<TraceParent> {
        let run = &self.claimed.run;
        admission::action(run.multitask_strategy)?;
        let trace = run.kwargs.trace.as_ref();
        trace.map(|trace| trace.parent)
    }
}

/// A stop whose code has ended.
struct Stop {
    action: CancelAction,
    heard: Heard,
    asker: Option<TraceParent>,
    asked: Instant,
    stopped: Instant,
}

/// The spans of an attempt.
#[derive(Default)]
pub(crate) struct Traced {
    span: Span,
    context: Option<TraceContext>,
    run: Option<(RunId, ThreadId)>,
    stop: Option<Stop>,
}

impl Traced {
    /// Begins, if anybody records. What `run` does belongs under it from now on.
    pub(crate) fn begin(worker: WorkerId, run: &mut Run, before: Option<TraceParent>) -> Self {
        if !trace::is_on() {
            return Self::default();
        }
        let mut span = trace::span(|| Start {
            name: "attempt".into(),
            kind: Kind::Consumer,
            parent: run.kwargs.trace.as_ref(),
            ago: Duration::ZERO,
        });
        name(&mut span, run.id, run.thread_id);
        span.set("assistant", || run.assistant_id.to_string());
        span.set("graph", || run.graph_id.to_string());
        span.set("strategy", || <&str>::from(run.multitask_strategy));
        span.set("attempt", || run.attempt);
        span.set("worker.id", || worker.to_string());
        span.link(before);
        let context = span.context();
        run.kwargs.trace.clone_from(&context);
        Self {
            span,
            context,
            run: Some((run.id, run.thread_id)),
            stop: None,
        }
    }

    /// The code of the attempt has ended.
    pub(crate) fn stopped(&mut self, stopper: &Stopper, verdict: &Verdict) {
        if self.run.is_none() {
            return;
        }
        self.span.set("outcome", || outcome(verdict));
        if let Verdict::Fail(error) | Verdict::Retry(error) = verdict {
            self.span
                .fail(|| format!("{}: {}", error.error, error.message));
        }
        self.stop = stopper.request().map(|(action, heard, asked)| Stop {
            action,
            heard,
            asker: stopper.asker(),
            asked,
            stopped: Instant::now(),
        });
    }

    /// Begins the span of the settlement.
    pub(crate) fn settling(&self) -> Span {
        let mut span = self.below("settle", Duration::ZERO);
        if let Some((run, thread)) = self.run {
            name(&mut span, run, thread);
        }
        span
    }

    /// Ends, and says what that has to do with the run that comes next.
    pub(crate) fn end(&mut self, next: Option<Box<Claimed>>) -> Option<Successor> {
        let mut next = next.map(Successor::of);
        let Some((run, thread)) = self.run else {
            return next;
        };
        if let Some(stop) = self.stop.take() {
            let mut span = self.below("stop", stop.asked.elapsed());
            name(&mut span, run, thread);
            span.set("action", || <&str>::from(stop.action));
            span.set("heard", || <&str>::from(stop.heard));
            let successor = next.as_ref().and_then(Successor::asker);
            span.link(stop.asker.or(successor));
            span.end(stop.stopped.elapsed());
            if let (Some(next), Some(_)) = (&mut next, successor) {
                next.before = self.context.as_ref().map(|context| context.parent);
            }
        }
        drop(std::mem::take(&mut self.span));
        next
    }

    fn below(&self, name: &'static str, ago: Duration) -> Span {
        let Some(context) = &self.context else {
            return Span::none();
        };
        trace::span(|| Start {
            name: name.into(),
            kind: Kind::Internal,
            parent: Some(context),
            ago,
        })
    }
}

fn name(span: &mut Span, run: RunId, thread: ThreadId) {
    span.set("run.id", || run.to_string());
    span.set("thread.id", || thread.to_string());
}

/// What became of the attempt.
fn outcome(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Succeed => "success",
        Verdict::Pause => "paused",
        Verdict::Fail(_) => "error",
        Verdict::TimeOut => "timeout",
        Verdict::Interrupt => "interrupted",
        Verdict::Discard => "rolled_back",
        Verdict::HandBack => "handed_back",
        Verdict::Retry(_) => "retry",
    }
}
