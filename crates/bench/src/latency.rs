//! Latencies of many samples.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The distribution of a latency.
#[derive(Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    /// The distribution of `samples`, to a microsecond.
    pub(crate) fn of(samples: impl IntoIterator<Item = Duration>) -> Self {
        let mut histogram = Histogram::new(3).expect("three digits are allowed");
        for sample in samples {
            histogram.saturating_record(u64::try_from(sample.as_micros()).unwrap_or(u64::MAX));
        }
        Self(histogram)
    }

    fn millis(&self, quantile: f64) -> f64 {
        Duration::from_micros(self.0.value_at_quantile(quantile)).as_secs_f64() * 1e3
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, p99) = (self.millis(0.5), self.millis(0.99));
        write!(
            f,
            "p50 {median:>7.2} ms   p99 {p99:>7.2} ms   n {}",
            self.0.len()
        )
    }
}
