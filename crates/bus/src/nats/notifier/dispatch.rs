//! Sends wake-ups.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use runloom_core::bus::BusError;
use runloom_core::ids::ThreadId;
use serde::Deserialize;
use tokio::time::timeout;

use crate::nats::link::{Failure, Link};
use crate::nats::streams::{Part, Streams};
use crate::nats::subject::Subjects;

/// Without an acknowledgement after this time, a worker is told directly: a cluster that elects a
/// leader takes seconds.
const ACKNOWLEDGED: Duration = Duration::from_millis(250);

/// How long a wake-up waits for its stream to be made anew.
const MADE: Duration = Duration::from_secs(1);

/// Sends wake-ups into the work queue, or past it.
pub(super) struct Dispatcher {
    pub(super) link: Arc<Link>,
    pub(super) streams: Arc<Streams>,
    pub(super) subjects: Subjects,
}

impl Dispatcher {
    /// Says that `thread` is to be looked at.
    pub(super) async fn wake(&self, thread: ThreadId) -> Result<(), BusError> {
        let ask = || {
            let subject = self.subjects.dispatch(thread);
            self.link.request(subject, Bytes::new(), ACKNOWLEDGED)
        };
        let mut answer = ask().await;
        if matches!(answer, Err(Failure::NoResponders)) {
            let made = timeout(MADE, self.streams.ensure(Part::Dispatch)).await;
            if matches!(made, Ok(Ok(()))) {
                answer = ask().await;
            }
        }
        match answer.map_err(BusError::from).and_then(|ack| stored(&ack)) {
            Ok(()) => return Ok(()),
            Err(error) => tracing::debug!(%error, thread.id = %thread, "waking past the queue"),
        }
        let body = Bytes::from(thread.to_string());
        self.link.publish(self.subjects.wake(), body).await
    }
}

#[derive(Deserialize)]
struct Ack {
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    description: String,
}

/// Whether a stream says that it has the message.
pub(in crate::nats) fn stored(message: &Message) -> Result<(), BusError> {
    let ack: Ack = serde_json::from_slice(&message.payload)
        .map_err(|error| BusError(format!("no acknowledgement: {error}")))?;
    ack.error
        .map_or(Ok(()), |refusal| Err(BusError(refusal.description)))
}
