//! Reads what streams keep, many messages at a time. The library cannot do that yet, so this speaks
//! the server's own protocol (2.11 and newer): one request, many answers, the last with a status.

use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use runloom_core::bus::BusError;
use serde::Serialize;
use tokio::time::timeout;

use crate::nats::link::{CALL, Failure, Link, bounded};

/// The most messages and bytes that are asked for at a time: little enough that a server with many
/// readers does not think any of them slow.
const PAGE: u32 = 256;
const PAGE_BYTES: u32 = 512 << 10;

/// So long the next answer may take.
const NEXT: Duration = Duration::from_secs(2);

/// A message that a stream keeps.
pub(super) struct Stored {
    /// Its place in the stream.
    pub(super) place: u64,
    pub(super) headers: Option<HeaderMap>,
    pub(super) body: Bytes,
}

/// Messages of one subject, in order.
pub(super) struct Page {
    pub(super) messages: Vec<Stored>,
    /// Whether there are more after these.
    pub(super) more: bool,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the server's names")]
struct Batch<'a> {
    seq: u64,
    next_by_subj: &'a str,
    batch: u32,
    max_bytes: u32,
}

#[derive(Serialize)]
struct Last<'a> {
    last_by_subj: &'a str,
}

/// The messages on `subject` from the place `from` on. `api` is where the stream is asked.
pub(super) async fn page(
    link: &Link,
    api: String,
    subject: &str,
    from: u64,
) -> Result<Page, Failure> {
    let request = Batch {
        seq: from.max(1),
        next_by_subj: subject,
        batch: PAGE,
        max_bytes: PAGE_BYTES,
    };
    let inbox = link.client().new_inbox();
    let answers = link.subscribe(inbox.clone()).await;
    let mut answers = answers.map_err(Failure::Unavailable)?;
    let body = encode(&request)?;
    let sent = link.client().publish_with_reply(api, inbox, body);
    bounded(CALL, sent).await.map_err(Failure::Unavailable)?;
    let mut messages = Vec::new();
    loop {
        let Ok(Some(message)) = timeout(NEXT, answers.next()).await else {
            let late = "a stream of events does not answer in time".to_owned();
            return Err(Failure::Unavailable(BusError(late)));
        };
        match ends(&message)? {
            None => messages.extend(stored(message)),
            Some(more) => return Ok(Page { messages, more }),
        }
    }
}

/// The last message on `subject`.
pub(super) async fn last(
    link: &Link,
    api: String,
    subject: &str,
) -> Result<Option<Stored>, Failure> {
    let body = encode(&Last {
        last_by_subj: subject,
    })?;
    let message = link.request(api, body, CALL).await?;
    Ok(match ends(&message)? {
        None => stored(message),
        Some(_) => None,
    })
}

/// Whether this is the end of the answers, and then, whether the stream has more.
fn ends(message: &Message) -> Result<Option<bool>, Failure> {
    match message.status {
        None => Ok(None),
        Some(StatusCode::NO_RESPONDERS) => Err(Failure::NoResponders),
        Some(StatusCode::NOT_FOUND) => Ok(Some(false)),
        // "EOB": all that was asked for.
        Some(status) if status.as_u16() == 204 => Ok(Some(
            number(message, "Nats-Num-Pending").is_some_and(|more| more > 0),
        )),
        Some(status) => {
            let about = message.description.as_deref().unwrap_or_default();
            let refused = format!("a stream of events refused to be read: {status} {about}");
            Err(Failure::Unavailable(BusError(refused)))
        }
    }
}

fn stored(message: Message) -> Option<Stored> {
    Some(Stored {
        place: number(&message, "Nats-Sequence")?,
        headers: message.headers,
        body: message.payload,
    })
}

fn number(message: &Message, header: &str) -> Option<u64> {
    let value = message.headers.as_ref()?.get(header)?;
    value.as_str().parse().ok()
}

fn encode(request: &impl Serialize) -> Result<Bytes, Failure> {
    let body = serde_json::to_vec(request);
    let body = body.map_err(|error| Failure::Unavailable(BusError(error.to_string())))?;
    Ok(body.into())
}
