//! When to start a process again after it failed.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// A process that lived this long did not fail at its start.
const SETTLED: Duration = Duration::from_secs(10);

/// How often processes failed in a row, and when to try again.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// A process failed. `random` is between 0 and 1: it spreads those who fail together.
    pub(super) fn failed(&mut self, now: Instant, random: f64) {
        let doubled = FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + doubled.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0));
    }

    /// A process that was started at `born` ended by itself. One that had settled is replaced at once.
    pub(super) fn died(&mut self, born: Instant, now: Instant, random: f64) {
        if now.duration_since(born) >= SETTLED {
            *self = Self::default();
        } else {
            self.failed(now, random);
        }
    }

    /// When to try again; `None` for at once.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// Whether the last process failed: then they are tried one by one.
    pub(super) fn is_careful(&self) -> bool {
        self.failures > 0
    }

    /// Forgets all failures.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_make_the_wait_longer_up_to_a_limit() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.until(now), None);
        let waits: Vec<_> = (0..9)
            .map(|_| {
                backoff.failed(now, 1.0);
                backoff.until(now).unwrap() - now
            })
            .collect();
        assert_eq!(waits[..3], [FIRST, FIRST * 2, FIRST * 4]);
        assert_eq!(waits[8], LONGEST);
        assert_eq!(backoff.until(now + LONGEST), None);
    }

    #[test]
    fn chance_shortens_a_wait_by_at_most_half() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        backoff.failed(now, 0.0);
        assert_eq!(backoff.until(now), Some(now + FIRST / 2));
    }

    #[test]
    fn a_process_that_lived_for_a_while_is_replaced_at_once() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        backoff.died(now, now + SETTLED / 2, 1.0);
        assert!(backoff.is_careful());
        assert!(backoff.until(now + SETTLED / 2).is_some());
        backoff.died(now, now + SETTLED, 1.0);
        assert!(!backoff.is_careful());
        assert_eq!(backoff.until(now + SETTLED), None);
    }
}
