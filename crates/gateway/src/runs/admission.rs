//! The admission of a run in traces: its span, under which the run's attempts belong, and what it has
//! to do with the runs that it stops.

use std::time::{Duration, Instant};

use runloom_core::compose::NewRun;
use runloom_core::effects::Effects;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::trace::{self, Kind, Span, Start, TraceParent};

use crate::Gateway;

/// The admission of one run, as traces show it.
pub(super) struct Admission {
    span: Span,
    /// Where the signals that it leads to belong.
    parent: Option<TraceParent>,
}

impl Admission {
    /// Begins, if anybody records, and has the run belong there.
    pub(super) fn of(new: &mut NewRun) -> Self {
        let mut span = trace::span(|| Start {
            name: "submit".into(),
            kind: Kind::Internal,
            parent: new.kwargs.trace.as_ref(),
            ago: Duration::ZERO,
        });
        span.set("run.id", || new.id.to_string());
        span.set("thread.id", || new.thread_id.to_string());
        span.set("assistant", || new.assistant.id.to_string());
        span.set("graph", || new.assistant.graph_id.to_string());
        span.set("strategy", || <&str>::from(new.multitask_strategy));
        let context = span.context_or(new.kwargs.trace.as_ref());
        let parent = context.as_ref().map(|context| context.parent);
        new.kwargs.trace = context;
        Self { span, parent }
    }

    /// What became of it. Whoever is asked to stop hears where that belongs.
    pub(super) fn answered(mut self, is_accepted: bool, effects: &mut Effects) -> Answered {
        self.span.set(
            "outcome",
            || {
                if is_accepted { "accepted" } else { "refused" }
            },
        );
        effects.asked_in(self.parent);
        let is_recorded = trace::is_on() && self.parent.is_some_and(TraceParent::is_sampled);
        let stops = effects.signals.iter().filter(|_| is_recorded);
        Answered {
            stops: stops.map(|(_, signal)| signal.run_id).collect(),
            span: self.span,
            at: Instant::now(),
        }
    }
}

/// An admission that was answered: nobody waits for it any more.
pub(super) struct Answered {
    span: Span,
    stops: Vec<RunId>,
    at: Instant,
}

impl Answered {
    /// Says to which runs it has to do, as they are to stop for it, and ends.
    pub(super) async fn end(mut self, gateway: &Gateway, thread: ThreadId) {
        for run in self.stops {
            if let Ok(Some(run)) = gateway.database().run(Some(thread), run).await {
                self.span.link(run.kwargs.trace.map(|trace| trace.parent));
            }
        }
        self.span.end(self.at.elapsed());
    }
}
