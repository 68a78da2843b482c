//! Clocks that run at different rates.

use std::time::Duration;

use runloom_worker::{Monotonic, Simulated};

/// A worker's clock that is too fast or too slow by a constant factor.
pub(crate) struct Skewed {
    inner: Simulated,
    rate: f64,
}

impl Skewed {
    /// A clock on which `rate` seconds pass in a second.
    pub(crate) fn new(rate: f64) -> Self {
        Self {
            inner: Simulated::default(),
            rate,
        }
    }
}

impl Monotonic for Skewed {
    fn elapsed(&self) -> Duration {
        self.inner.elapsed().mul_f64(self.rate)
    }
}
