//! Latencies of many samples.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::results::Round;

/// Longer samples count as this.
const HOUR: Duration = Duration::from_hours(1);

/// The distribution of a latency.
#[derive(Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        let longest = HOUR.as_micros().try_into().unwrap_or(u64::MAX);
        Self(Histogram::new_with_bounds(1, longest, 3).expect("sound bounds"))
    }
}

impl Latency {
    /// The distribution of `samples`, to a microsecond.
    pub(crate) fn of(samples: impl IntoIterator<Item = Duration>) -> Self {
        let mut latency = Self::default();
        for sample in samples {
            latency.record(sample);
        }
        latency
    }

    pub(crate) fn record(&mut self, sample: Duration) {
        let micros = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    fn millis(&self, quantile: f64) -> f64 {
        Duration::from_micros(self.0.value_at_quantile(quantile)).as_secs_f64() * 1e3
    }

    /// Notes the quantiles under names that begin with `prefix`; nothing if there are no samples.
    pub(crate) fn note(&self, round: &mut Round, prefix: &str) {
        if self.0.is_empty() {
            return;
        }
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            round.set(&format!("{prefix}{name}_ms"), self.millis(quantile));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_samples() {
        let latency = Latency::of((1..=100).map(Duration::from_millis));
        let mut round = Round::default();
        latency.note(&mut round, "answer_");
        let about = |name: &str, millis: f64| (round.get(name).unwrap() - millis).abs() < 0.1;
        assert!(about("answer_p50_ms", 50.0), "{round:?}");
        assert!(about("answer_p99_ms", 99.0), "{round:?}");
        assert!(about("answer_max_ms", 100.0), "{round:?}");
    }

    #[test]
    fn nothing_measured_is_nothing_noted() {
        let mut round = Round::default();
        Latency::default().note(&mut round, "");
        assert_eq!(round, Round::default());
    }
}
