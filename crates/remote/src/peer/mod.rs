//! One socket's conversation: requests in both directions, and what is said while they are under way.

mod call;
mod routes;
mod wire;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use call::{Call, Heard, Item};
pub use routes::{Answers, Registration};

use crate::frame::{Frame, FrameError, Kind};
use crate::protocol::{self, Malformed, RemoteError};
use routes::Routes;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The other side is gone, or the conversation with it is over.
    #[error("the executor's process is gone")]
    Gone,
    /// The other side answered with an error.
    #[error(transparent)]
    Refused(#[from] RemoteError),
    /// What was sent or answered cannot be encoded or decoded.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The request is larger than a frame may be; its size in bytes.
    #[error("a message of {0} bytes is too large for an executor")]
    TooLarge(usize),
    /// There was no answer for as long as there may be none.
    #[error("the graph gave no answer within {0:?}")]
    Late(Duration),
}

/// The worker's end of a socket. Dropping it ends the conversation: whatever is asked has no answer then.
pub struct Peer {
    shared: Arc<Shared>,
}

/// What the reading task, the writing task and the calls have in common.
struct Shared {
    outgoing: mpsc::UnboundedSender<Frame>,
    next_call: AtomicU64,
    /// Where to say what is heard about a call; `None` when the conversation is over.
    calls: Mutex<Option<HashMap<u64, mpsc::UnboundedSender<Heard>>>>,
    routes: Routes,
    ended: CancellationToken,
}

impl Peer {
    /// Takes over a connected socket. Needs a tokio runtime, which reads and writes from now on.
    pub fn start(socket: UnixStream) -> Self {
        let (outgoing, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            outgoing,
            next_call: AtomicU64::new(1),
            calls: Mutex::new(Some(HashMap::new())),
            routes: Routes::default(),
            ended: CancellationToken::new(),
        });
        let (reads, writes) = socket.into_split();
        // Both end with the conversation; nobody has to wait for them.
        let tasks = TaskTracker::new();
        tasks.spawn(wire::write(queue, writes, shared.ended.clone()));
        tasks.spawn(wire::read(reads, Arc::clone(&shared)));
        Self { shared }
    }

    /// A number for a request, never given twice.
    pub fn number(&self) -> u64 {
        self.shared.next_call.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request that goes on for a while.
    pub fn open<B: Serialize + ?Sized>(&self, method: &str, body: &B) -> Result<Call, CallError> {
        self.open_as(self.number(), method, body)
    }

    /// Sends a request under a number from [`Peer::number`] that was not used yet.
    pub fn open_as<B: Serialize + ?Sized>(
        &self,
        number: u64,
        method: &str,
        body: &B,
    ) -> Result<Call, CallError> {
        let frame = Frame {
            kind: Kind::Request,
            call: number,
            method: method.to_owned(),
            body: protocol::encode(body)?,
        };
        let (sender, heard) = mpsc::unbounded_channel();
        self.shared
            .calls()
            .as_mut()
            .ok_or(CallError::Gone)?
            .insert(number, sender);
        let call = Call::new(number, heard, Arc::clone(&self.shared));
        self.shared.send(frame)?;
        Ok(call)
    }

    /// Asks and waits for the answer. Dropping the future forgets the request; the other side still
    /// carries it out.
    pub async fn call<B, R>(&self, method: &str, body: &B) -> Result<R, CallError>
    where
        B: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.open(method, body)?.reply().await
    }

    /// From now on requests on behalf of `call` are answered by `answers`, until the registration ends.
    /// Others are refused as fenced.
    pub fn register(&self, call: u64, answers: Arc<dyn Answers>) -> Registration {
        self.shared.routes.register(call, answers)
    }

    /// Is cancelled when the conversation is over, and ends it when it is cancelled.
    pub(crate) fn end_token(&self) -> CancellationToken {
        self.shared.ended.clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Option<HashMap<u64, mpsc::UnboundedSender<Heard>>>> {
        self.calls.lock().expect("nobody panics with this lock")
    }

    fn send(&self, frame: Frame) -> Result<(), CallError> {
        match frame.fits() {
            Err(FrameError::TooLarge(size)) => Err(CallError::TooLarge(size)),
            _ => self.outgoing.send(frame).map_err(|_| CallError::Gone),
        }
    }

    /// Answers a request of the other side.
    fn answer(&self, call: u64, answer: Result<Bytes, RemoteError>) {
        let frame = |kind, body| Frame {
            kind,
            call,
            method: String::new(),
            body,
        };
        let error = |error: &RemoteError| {
            let body = protocol::encode(error).expect("texts can be encoded");
            frame(Kind::Error, body)
        };
        let sent = match answer {
            Ok(body) => self.send(frame(Kind::Reply, body)),
            Err(refusal) => self.send(error(&refusal)),
        };
        if let Err(problem @ CallError::TooLarge(_)) = sent {
            let refusal = RemoteError::new(RemoteError::INVALID, problem.to_string());
            // Whoever is gone needs no answer.
            let _ = self.send(error(&refusal));
        }
    }

    /// Ends the conversation. Calls under way hear that the other side is gone.
    fn end(&self) {
        self.ended.cancel();
        *self.calls() = None;
    }
}

#[cfg(test)]
mod tests;
