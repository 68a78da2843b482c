//! A thread: a conversation, the unit of order and of state.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::ThreadId;
use crate::json::{Json, JsonMap};
use crate::run::RunError;

/// Where a thread stands.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ThreadStatus {
    /// Nothing is in flight and nothing waits.
    Idle,
    /// At least one run is pending or running.
    Busy,
    /// Nothing is in flight, but the graph did not come to its end: it waits for a human or was
    /// stopped.
    Interrupted,
    /// Nothing is in flight and the last run failed.
    Error,
}

/// All that a thread's status depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadFacts {
    /// Whether any run is pending or running.
    pub in_flight: bool,
    /// Whether the last run to end failed or timed out.
    pub failed: bool,
    /// Whether the latest checkpoint has nodes left to run.
    pub unfinished: bool,
}

impl ThreadFacts {
    /// The status that follows. Recomputed in every transaction that changes a fact, so a thread
    /// can't be stuck.
    pub fn status(self) -> ThreadStatus {
        match self {
            Self {
                in_flight: true, ..
            } => ThreadStatus::Busy,
            Self { failed: true, .. } => ThreadStatus::Error,
            Self {
                unfinished: true, ..
            } => ThreadStatus::Interrupted,
            Self { .. } => ThreadStatus::Idle,
        }
    }
}

/// What becomes of a thread whose time is up.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TtlStrategy {
    /// It is deleted with all that belongs to it.
    #[default]
    Delete,
    /// Its history is deleted: its latest state stays.
    KeepLatest,
}

/// How long a thread is kept after anything last happened on it, and what becomes of it then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ttl {
    /// For so many minutes; [`Ttl::new`] says which numbers make sense.
    pub minutes: f64,
    /// What becomes of it then.
    pub strategy: TtlStrategy,
}

impl Ttl {
    /// The longest: a hundred years.
    pub const MOST_MINUTES: f64 = 52_560_000.0;

    /// None where the number makes no sense: it must be positive and not beyond
    /// [`Ttl::MOST_MINUTES`].
    pub fn new(minutes: f64, strategy: TtlStrategy) -> Option<Self> {
        let makes_sense = minutes > 0.0 && minutes <= Self::MOST_MINUTES;
        makes_sense.then_some(Self { minutes, strategy })
    }

    /// How long it is.
    pub fn span(self) -> TimeDelta {
        #[expect(clippy::cast_possible_truncation, reason = "at most a hundred years")]
        TimeDelta::microseconds((self.minutes * 60_000_000.0).round() as i64)
    }
}

/// A conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Thread {
    /// Its id.
    pub id: ThreadId,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its row last changed.
    pub updated_at: DateTime<Utc>,
    /// When its values or status were last written by a run or an update.
    pub state_updated_at: DateTime<Utc>,
    /// The user's metadata; runs add `graph_id` and `assistant_id`.
    pub metadata: JsonMap,
    /// Where it stands.
    pub status: ThreadStatus,
    /// The configuration that its runs inherit.
    pub config: JsonMap,
    /// The values when the last run ended; none before.
    pub values: Option<Json>,
    /// Pending interrupts by task id.
    pub interrupts: JsonMap,
    /// Why the last run failed, if it did.
    pub error: Option<RunError>,
    /// How long it is kept; for good if none.
    pub ttl: Option<Ttl>,
}

impl Thread {
    /// When its time is up, unless something happens on it before: whatever changes its row (a run that
    /// is accepted or ends, an update of its state or of its metadata) gives it all its time again.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        let ttl = self.ttl?;
        self.updated_at.checked_add_signed(ttl.span())
    }
}

/// What to do if a thread to be created exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfExists {
    /// Refuse.
    #[default]
    Raise,
    /// Answer with what is there.
    DoNothing,
}

/// A thread to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct NewThread {
    /// Its id.
    pub id: ThreadId,
    /// The user's metadata.
    pub metadata: JsonMap,
    /// What to do if it exists already.
    pub if_exists: IfExists,
    /// How long it is kept; for good if none.
    pub ttl: Option<Ttl>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_positive_and_bounded() {
        let span = |minutes| Ttl::new(minutes, TtlStrategy::Delete).map(Ttl::span);
        assert_eq!(span(0.5), Some(TimeDelta::seconds(30)));
        assert_eq!(span(1.0 / 3.0), Some(TimeDelta::seconds(20)));
        assert_eq!(span(Ttl::MOST_MINUTES), Some(TimeDelta::days(36_500)));
        for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY, Ttl::MOST_MINUTES + 1.0] {
            assert_eq!(span(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn work_in_flight_outranks_failure_and_failure_outranks_unfinished_work() {
        let all = ThreadFacts {
            in_flight: true,
            failed: true,
            unfinished: true,
        };
        assert_eq!(all.status(), ThreadStatus::Busy);
        let ended = ThreadFacts {
            in_flight: false,
            ..all
        };
        assert_eq!(ended.status(), ThreadStatus::Error);
        let stopped = ThreadFacts {
            failed: false,
            ..ended
        };
        assert_eq!(stopped.status(), ThreadStatus::Interrupted);
        let done = ThreadFacts {
            unfinished: false,
            ..stopped
        };
        assert_eq!(done.status(), ThreadStatus::Idle);
    }
}
