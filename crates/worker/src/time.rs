//! Time that only passes forward, for deadlines that must hold even if the machine slept.

use std::time::Duration;

use tokio::time::Instant;

/// A clock without a calendar. It goes on while the machine sleeps, so that a worker that wakes up
/// sees at once that its lease is gone.
pub trait Monotonic: Send + Sync + 'static {
    /// The time since some fixed moment.
    fn elapsed(&self) -> Duration;
}

/// The time since the machine was started, including the time it slept.
#[derive(Clone, Copy, Debug, Default)]
pub struct SinceBoot;

impl Monotonic for SinceBoot {
    fn elapsed(&self) -> Duration {
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::Boottime;
        // Elsewhere the plain monotonic clock already counts the time asleep.
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Monotonic;
        let now = rustix::time::clock_gettime(clock);
        Duration::new(
            u64::try_from(now.tv_sec).unwrap_or(0),
            u32::try_from(now.tv_nsec).unwrap_or(0),
        )
    }
}

/// The runtime's time, which simulations can stop and turn forward.
#[derive(Clone, Copy, Debug)]
pub struct Simulated {
    origin: Instant,
}

impl Simulated {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for Simulated {
    fn default() -> Self {
        Self::new()
    }
}

impl Monotonic for Simulated {
    fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_since_boot_does_not_fall() {
        let before = SinceBoot.elapsed();
        assert!(before > Duration::ZERO);
        assert!(SinceBoot.elapsed() >= before);
    }
}
