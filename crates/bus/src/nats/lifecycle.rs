//! What happens to runs, kept in a stream for whoever wants to react to it.
//!
//! An event is published when the stream acknowledges it. Repetitions within the stream's duplicate
//! window are dropped by the server; listeners tell later ones by the event's id.

use std::sync::Arc;

use async_nats::{HeaderMap, RequestErrorKind};
use async_trait::async_trait;
use bytes::Bytes;
use runloom_core::bus::BusError;
use runloom_core::lifecycle::{LifecycleEvent, LifecycleFeed};
use serde::Serialize;
use tokio::time::timeout;

use super::link::{CALL, Link};
use super::notifier::stored;
use super::streams::{Part, Streams};
use super::subject::Subjects;

/// By this header servers tell repetitions.
const ID: &str = "Nats-Msg-Id";

/// The body of a message.
#[derive(Serialize)]
struct Body<'a> {
    v: u8,
    #[serde(flatten)]
    event: &'a LifecycleEvent,
}

/// Publishes what happens to runs.
pub(super) struct NatsLifecycle {
    link: Arc<Link>,
    streams: Arc<Streams>,
    subjects: Subjects,
}

impl NatsLifecycle {
    pub(super) fn new(link: Arc<Link>, streams: Arc<Streams>, subjects: Subjects) -> Self {
        Self {
            link,
            streams,
            subjects,
        }
    }

    async fn send(&self, event: &LifecycleEvent) -> Result<(), Failure> {
        self.link.ready().map_err(Failure::Other)?;
        let mut headers = HeaderMap::new();
        headers.insert(ID, event.id.to_string());
        let subject = self.subjects.lifecycle(event);
        let client = self.link.client();
        let asking = client.request_with_headers(subject, headers, encode(event)?);
        match timeout(CALL, asking).await {
            Ok(Ok(ack)) => stored(&ack).map_err(Failure::Other),
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                Err(Failure::NoStream)
            }
            Ok(Err(error)) => Err(other(error)),
            Err(elapsed) => Err(other(elapsed)),
        }
    }
}

enum Failure {
    /// No stream takes it.
    NoStream,
    Other(BusError),
}

fn other(error: impl std::fmt::Display) -> Failure {
    Failure::Other(BusError(error.to_string()))
}

fn encode(event: &LifecycleEvent) -> Result<Bytes, Failure> {
    let body = serde_json::to_vec(&Body { v: 1, event });
    body.map(Bytes::from).map_err(other)
}

#[async_trait]
impl LifecycleFeed for NatsLifecycle {
    async fn publish(&self, event: &LifecycleEvent) -> Result<(), BusError> {
        let mut sent = self.send(event).await;
        if matches!(sent, Err(Failure::NoStream)) {
            self.streams.ensure(Part::Lifecycle).await?;
            sent = self.send(event).await;
        }
        sent.map_err(|failure| match failure {
            Failure::NoStream => BusError("no stream keeps what happens to runs".to_owned()),
            Failure::Other(error) => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use runloom_core::lifecycle::Stage;

    use super::*;

    #[test]
    fn an_event_has_its_documented_shape() {
        let id = "01990000-0000-7000-8000-00000000000";
        let event = LifecycleEvent {
            id: 7,
            at: DateTime::from_timestamp(1_700_000_000, 250_000_000).unwrap(),
            thread_id: format!("{id}1").parse().unwrap(),
            run_id: format!("{id}2").parse().unwrap(),
            assistant_id: format!("{id}3").parse().unwrap(),
            graph_id: "agent".into(),
            stage: Stage::Running,
            attempt: 1,
        };
        let Ok(body) = encode(&event) else {
            panic!("an event is JSON");
        };
        let expected = format!(
            r#"{{"v":1,"id":7,"at":"2023-11-14T22:13:20.250Z","thread_id":"{id}1","run_id":"{id}2","#,
        ) + &format!(
            r#""assistant_id":"{id}3","graph_id":"agent","status":"running","attempt":1}}"#
        );
        assert_eq!(body, expected);
    }
}
