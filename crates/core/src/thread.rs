//! A thread: a conversation, the unit of order and of state.

use chrono::{DateTime, Utc};
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
