//! What happens to runs, told to whoever wants to react to it.
//!
//! Unlike a hint, none of this may be lost: the database notes each change in the transaction that
//! makes it ([`Outbox`](crate::database::Outbox)), and it is forgotten only when a [`LifecycleFeed`]
//! has taken it. So it is told at least once.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::bus::BusError;
use crate::ids::{AssistantId, GraphId, RunId, ThreadId};

/// Where a run stands now, or that it is gone.
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
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Stage {
    /// Accepted, or given back: it waits for an attempt.
    Pending,
    /// An attempt started.
    Running,
    /// It came to its end, or waits for a human.
    Success,
    /// It failed.
    Error,
    /// It took longer than it may.
    Timeout,
    /// It was stopped.
    Interrupted,
    /// It was deleted while it was in flight: rolled back, or with its thread.
    Discarded,
}

/// One change of one run. Its JSON is what listeners get, beside a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleEvent {
    /// Grows along a thread. No two events have the same, so listeners tell repetitions by it.
    pub id: i64,
    /// When it happened, by the database's clock.
    pub at: DateTime<Utc>,
    /// The thread.
    pub thread_id: ThreadId,
    /// The run.
    pub run_id: RunId,
    /// The assistant it runs.
    pub assistant_id: AssistantId,
    /// The assistant's graph when the run was accepted.
    pub graph_id: GraphId,
    /// What became of it.
    #[serde(rename = "status")]
    pub stage: Stage,
    /// How many attempts were started.
    pub attempt: u32,
}

/// Takes what happens to runs to its listeners.
#[async_trait]
pub trait LifecycleFeed: Send + Sync + 'static {
    /// Answers when the event is kept for the listeners. Harmless when repeated: a feed that has it
    /// already may drop it.
    async fn publish(&self, event: &LifecycleEvent) -> Result<(), BusError>;
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;
    use crate::run::RunStatus;

    #[test]
    fn each_status_of_a_run_is_a_stage_of_the_same_name() {
        for status in RunStatus::iter() {
            let stage: Stage = status.to_string().parse().unwrap();
            assert_eq!(stage.to_string(), status.to_string());
        }
        assert_eq!(Stage::iter().count(), RunStatus::iter().count() + 1);
    }
}
