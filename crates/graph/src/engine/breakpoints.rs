//! Pauses that the run asked for, before or after nodes.

use serde_json::json;

use super::Loop;
use crate::builder::START;

impl Loop {
    /// Whether the run pauses before the next superstep.
    pub(super) async fn pauses_before(&self) -> bool {
        let Some(nodes) = &self.level.run.attempt.kwargs.interrupt_before else {
            return false;
        };
        let mut next = self.at.plan.next.iter();
        let pauses = self.has_breakpoints() && next.any(|planned| nodes.includes(planned.name()));
        self.paused(pauses).await
    }

    /// Whether the run pauses after the superstep that made the current checkpoint.
    pub(super) async fn pauses_after(&self) -> bool {
        let Some(nodes) = &self.level.run.attempt.kwargs.interrupt_after else {
            return false;
        };
        let mut ran = self.at.plan.ran.iter().filter(|node| *node != START);
        let pauses = self.has_breakpoints() && ran.any(|node| nodes.includes(node));
        self.paused(pauses).await
    }

    fn has_breakpoints(&self) -> bool {
        self.level.is_root() && !self.passes_breakpoints
    }

    async fn paused(&self, pauses: bool) -> bool {
        if pauses && self.level.run.modes.updates {
            self.level
                .emit("updates", &json!({"__interrupt__": []}))
                .await;
        }
        pauses
    }
}
