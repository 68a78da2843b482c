//! The nodes of a run in its trace, as its process tells of them. Those that were under way when it
//! ended, however it did, end with it.

use std::collections::HashMap;

use runloom_core::executor::Attempt;
use runloom_core::ids::RunId;
use runloom_core::trace::{self, Span, TraceContext};

use crate::protocol::Node;

/// Nodes under way that are remembered: a process that tells of more is not believed.
const MOST: usize = 10_000;

/// The nodes of a run that are under way.
pub(super) struct Nodes {
    run: RunId,
    above: Option<TraceContext>,
    open: HashMap<String, Span>,
}

impl Nodes {
    /// None yet.
    pub(super) fn of(attempt: &Attempt) -> Self {
        Self {
            run: attempt.run_id,
            above: attempt.kwargs.trace.clone(),
            open: HashMap::new(),
        }
    }

    /// One begins or ends.
    pub(super) fn take(&mut self, node: Node) {
        let Node(task, node, outcome) = node;
        let Some(above) = &self.above else {
            return;
        };
        match outcome {
            None if self.open.len() < MOST => {
                let mut span = trace::node_span(above, &node);
                span.set("run.id", || self.run.to_string());
                self.open.insert(task, span);
            }
            None => {}
            Some(outcome) => {
                if let Some(mut span) = self.open.remove(&task) {
                    if outcome == "error" {
                        span.fail(|| format!("{node} failed"));
                    }
                    span.set("outcome", || outcome);
                }
            }
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for span in self.open.values_mut() {
            span.set("outcome", || "stopped");
        }
    }
}
