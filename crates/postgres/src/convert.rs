//! Times as the columns hold them, and arithmetic on them that stays within what they can hold.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// As precise as the columns, which hold microseconds: what is answered now is what is read later.
pub(crate) fn whole_micros(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// The time a while before `now`, or the beginning of time: 1970, which is earlier than anything
/// that is stored, and which Postgres, unlike chrono's own beginning, knows.
pub(crate) fn before(now: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    let delta = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
    let time = now.checked_sub_signed(delta);
    time.map_or(DateTime::UNIX_EPOCH, |time| {
        whole_micros(time).max(DateTime::UNIX_EPOCH)
    })
}
