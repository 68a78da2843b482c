//! What stands still: a worker process that is paused, as by SIGSTOP or a frozen machine.

use tokio::sync::watch;

/// Stops everything of one worker while it is closed.
#[derive(Clone)]
pub(crate) struct Pause(watch::Sender<bool>);

impl Pause {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Pauses or resumes.
    pub(crate) fn set(&self, paused: bool) {
        self.0.send_replace(paused);
    }

    /// Waits until nothing is paused.
    pub(crate) async fn passed(&self) {
        let mut paused = self.0.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = paused.wait_for(|paused| !paused).await;
    }
}
