//! How often, when and after which errors a node is tried again.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::error::NodeError;

type Predicate = Arc<dyn Fn(&NodeError) -> bool + Send + Sync>;

/// A node's policy for failures. What waits for a human or was stopped is never tried again.
#[derive(Clone)]
pub struct RetryPolicy {
    max_attempts: usize,
    initial: Duration,
    factor: f32,
    longest: Duration,
    jitter: bool,
    predicate: Predicate,
}

impl Default for RetryPolicy {
    /// Three attempts, half a second and then a second apart, after any failure.
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial: Duration::from_millis(500),
            factor: 2.0,
            longest: Duration::from_mins(2),
            jitter: true,
            predicate: Arc::new(|_| true),
        }
    }
}

impl RetryPolicy {
    /// At most so many attempts, the first one included.
    pub fn max_attempts(mut self, attempts: usize) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Waits `initial` after the first failure and `factor` times longer after each further one, but
    /// never longer than `longest`.
    pub fn back_off(mut self, initial: Duration, factor: f32, longest: Duration) -> Self {
        (self.initial, self.factor, self.longest) = (initial, factor.max(1.0), longest);
        self
    }

    /// Whether a random part is added to each wait, so that many nodes do not try in step.
    pub fn jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }

    /// Only after failures for which `predicate` holds.
    pub fn only_if(
        mut self,
        predicate: impl Fn(&NodeError) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.predicate = Arc::new(predicate);
        self
    }

    pub(crate) fn wants(&self, error: &NodeError) -> bool {
        !error.is_interrupt() && !error.is_cancelled() && (self.predicate)(error)
    }

    /// The waits between attempts; it ends when there are to be no more.
    pub(crate) fn waits(&self) -> impl Iterator<Item = Duration> + use<> {
        let builder = ExponentialBuilder::new()
            .with_min_delay(self.initial)
            .with_factor(self.factor)
            .with_max_delay(self.longest)
            .with_max_times(self.max_attempts - 1);
        if self.jitter {
            builder.with_jitter().build()
        } else {
            builder.build()
        }
    }
}
