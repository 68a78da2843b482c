//! A request under way.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::{CallError, Registration, Shared};
use crate::frame::{Frame, Kind};
use crate::protocol;

/// Something the other side said about a call.
#[derive(Debug)]
pub enum Heard {
    /// While it goes on.
    Item(Item),
    /// The answer, last of all.
    Done(Result<Bytes, CallError>),
}

/// Something said about a call while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What kind of thing it is.
    pub name: String,
    /// One msgpack value; see [`protocol::decode`].
    pub body: Bytes,
}

/// A request that was sent. Dropping it forgets it: what is said about it later is ignored.
pub struct Call {
    number: u64,
    heard: mpsc::UnboundedReceiver<Heard>,
    peer: Arc<Shared>,
    serves: Option<Registration>,
}

impl Call {
    pub(super) fn new(
        number: u64,
        heard: mpsc::UnboundedReceiver<Heard>,
        peer: Arc<Shared>,
    ) -> Self {
        Self {
            number,
            heard,
            peer,
            serves: None,
        }
    }

    /// Keeps a registration as long as the call lives.
    pub(crate) fn serving(mut self, registration: Option<Registration>) -> Self {
        self.serves = registration;
        self
    }

    /// Its number, which requests on its behalf carry.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What is said next, in the order in which it was said. After the answer: that the other side is gone.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Heard {
        self.heard
            .recv()
            .await
            .unwrap_or(Heard::Done(Err(CallError::Gone)))
    }

    /// Waits for the answer and ignores what is said before it.
    pub async fn reply<R: DeserializeOwned>(&mut self) -> Result<R, CallError> {
        loop {
            if let Heard::Done(answer) = self.next().await {
                return Ok(protocol::decode(&answer?)?);
            }
        }
    }

    /// Takes no more requests on behalf of this call and returns when all that were taken are answered.
    ///
    /// Needed where the other side cannot be asked, because it died or is not listened to any more.
    pub async fn close(&mut self) {
        if let Some(registration) = &mut self.serves {
            registration.close().await;
        }
    }

    /// Says something about the request to the other side.
    pub fn say<B: Serialize + ?Sized>(&self, name: &str, body: &B) -> Result<(), CallError> {
        if self.peer.ended.is_cancelled() {
            return Err(CallError::Gone);
        }
        self.peer.send(Frame {
            kind: Kind::Item,
            call: self.number,
            method: name.to_owned(),
            body: protocol::encode(body)?,
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(calls) = self.peer.calls().as_mut() {
            calls.remove(&self.number);
        }
    }
}
