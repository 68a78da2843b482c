//! When this worker's lease runs out, by its own clock and somewhat before the database's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::time::Monotonic;

/// The local end of the worker's lease. Nothing may be executed or published after it: by then
/// somebody else may hold what the worker held.
pub(crate) struct Deadline {
    time: Arc<dyn Monotonic>,
    at: watch::Sender<Duration>,
}

impl Deadline {
    /// A lease that has not begun.
    pub(crate) fn new(time: Arc<dyn Monotonic>) -> Self {
        Self {
            time,
            at: watch::Sender::new(Duration::ZERO),
        }
    }

    /// The time now, to be taken before a renewal is sent.
    pub(crate) fn now(&self) -> Duration {
        self.time.elapsed()
    }

    /// Takes note of a renewal that was sent at `sent`, for `term`.
    pub(crate) fn extend(&self, sent: Duration, term: Duration) {
        self.at.send_replace(sent + term);
    }

    /// How long the lease lasts from now; `None` if it ran out.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = self.at.borrow().checked_sub(self.now())?;
        (!left.is_zero()).then_some(left)
    }

    /// Returns when the lease has run out.
    pub(crate) async fn passed(&self) {
        /// Timers may stand still while the machine sleeps, so the clock is asked now and then.
        const LOOK: Duration = Duration::from_secs(1);
        while let Some(left) = self.left() {
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }

    /// Returns when there is a lease; after it has run out, when it was renewed.
    pub(crate) async fn renewed(&self) {
        let mut at = self.at.subscribe();
        while self.left().is_none() {
            if at.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Simulated;

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_a_term_after_the_renewal_was_sent_not_answered() {
        let deadline = Deadline::new(Arc::new(Simulated::new()));
        let sent = deadline.now();
        tokio::time::advance(Duration::from_secs(3)).await;
        deadline.extend(sent, Duration::from_secs(9));
        assert_eq!(deadline.left(), Some(Duration::from_secs(6)));
        deadline.passed().await;
        assert_eq!(deadline.left(), None);
        assert_eq!(deadline.now(), Duration::from_secs(9));
    }
}
