//! Lets an attempt's code reach storage until the attempt is over, and knows when the last call is
//! through.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Open until it is closed, once.
#[derive(Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    inside: TaskTracker,
}

impl Gate {
    /// Lets one call in, until the token is dropped; `None` if the gate is closed.
    pub(crate) fn enter(&self) -> Option<TaskTrackerToken> {
        // Counted first, looked at second: a call is either seen by `close` or refused.
        let token = self.inside.token();
        (!self.is_closed()).then_some(token)
    }

    /// Whether calls are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Refuses all further calls and waits for those inside.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.inside.close();
        self.inside.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn closing_waits_for_calls_inside_and_refuses_others() {
        let gate = Arc::new(Gate::default());
        let inside = gate.enter().expect("an open gate");
        let closing = gate.clone();
        let mut closing = Box::pin(async move { closing.close().await });
        assert!(closing.as_mut().now_or_never().is_none());
        assert!(gate.enter().is_none());
        drop(inside);
        closing.await;
    }
}
