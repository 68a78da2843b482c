//! What happened to runs and is still to be told. Only a database that several machines share has
//! it; it is no part of [`Database`](super::Database).

use std::time::Duration;

use async_trait::async_trait;

use super::DatabaseError;
use crate::ids::WorkerId;
use crate::lifecycle::LifecycleEvent;

/// The events that wait to be told. Each change of a run's status adds one, in the transaction that
/// makes the change; so does the deletion of a run in flight.
///
/// One *relay* at a time may read: ids of a thread grow in the order of its changes, and a second
/// reader would mix that order up. A relay that was paused beyond its lease may still tell what it
/// has read, which is a repetition then.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// The oldest events, at most `limit`, by id; and takes or keeps the lease on the outbox for
    /// `relay`. `None` if another relay has the lease.
    async fn untold(
        &self,
        relay: WorkerId,
        lease: Duration,
        limit: u32,
    ) -> Result<Option<Vec<LifecycleEvent>>, DatabaseError>;

    /// Deletes events that were told.
    async fn told(&self, ids: &[i64]) -> Result<(), DatabaseError>;

    /// Deletes events that nobody could be told for `age`, at most `limit`. Says how many.
    async fn expire(&self, age: Duration, limit: u32) -> Result<u64, DatabaseError>;

    /// Ends the lease of `relay` at once, so that another can go on.
    async fn resign(&self, relay: WorkerId) -> Result<(), DatabaseError>;
}
