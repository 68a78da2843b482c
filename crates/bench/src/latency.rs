//! Latencies of many samples.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longer samples count as this.
const HOUR: Duration = Duration::from_hours(1);

/// The distribution of a latency.
#[derive(Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    /// The distribution of `samples`, to a microsecond.
    pub(crate) fn of(samples: impl IntoIterator<Item = Duration>) -> Self {
        let longest = HOUR.as_micros().try_into().unwrap_or(u64::MAX);
        let mut histogram = Histogram::new_with_bounds(1, longest, 3).expect("sound bounds");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_samples() {
        let latency = Latency::of((1..=100).map(Duration::from_millis));
        assert!((latency.millis(0.5) - 50.0).abs() < 0.1, "{latency}");
        assert!((latency.millis(0.99) - 99.0).abs() < 0.1, "{latency}");
    }
}
