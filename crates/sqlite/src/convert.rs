//! Times as the columns hold them, and arithmetic on them that cannot overflow.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Microseconds since 1970: what every column that holds a time holds.
pub(crate) fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// The time that a column holds.
pub(crate) fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The time a while before `now`, or the beginning of time.
pub(crate) fn before(now: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    let delta = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
    now.checked_sub_signed(delta)
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}
