//! What stands still: a process that is paused, as by SIGSTOP or a frozen machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Stops everything of one process while it is closed. Whoever waits goes on in the order of coming,
/// so that a seed is a history.
#[derive(Clone, Default)]
pub(crate) struct Pause(Arc<Gate>);

#[derive(Default)]
struct Gate {
    closed: AtomicBool,
    opened: Notify,
}

impl Pause {
    /// Pauses or resumes.
    pub(crate) fn set(&self, paused: bool) {
        self.0.closed.store(paused, Ordering::SeqCst);
        if !paused {
            self.0.opened.notify_waiters();
        }
    }

    /// Whether it is paused now.
    pub(crate) fn is_set(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    /// Waits until nothing is paused.
    pub(crate) async fn passed(&self) {
        loop {
            // Made before the look, so that an opening in between is not missed.
            let opened = self.0.opened.notified();
            if !self.is_set() {
                return;
            }
            opened.await;
        }
    }
}
