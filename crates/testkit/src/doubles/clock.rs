//! Clocks for tests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use runloom_core::clock::Clock;

/// Where the clocks of tests begin: a moment in whole seconds, the same in every test.
fn beginning() -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000, 0).expect("a time within range")
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(Mutex<DateTime<Utc>>);

impl ManualClock {
    /// A clock at the beginning.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(beginning())))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let by = TimeDelta::from_std(by).expect("a duration within range");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// Moves it back, as an adjustment of a machine's clock may do.
    pub fn step_back(&self, by: Duration) {
        let by = TimeDelta::from_std(by).expect("a duration within range");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that goes with tokio's time, so that it can be paused and jumps over idle waits.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock(tokio::time::Instant);

impl TokioClock {
    /// A clock at the beginning.
    pub fn start() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        let passed = TimeDelta::from_std(self.0.elapsed()).expect("a duration within range");
        // Databases keep microseconds; what is stored must read back as it was.
        beginning() + TimeDelta::microseconds(passed.num_microseconds().unwrap_or(i64::MAX))
    }
}
