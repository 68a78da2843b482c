//! The two tasks of a conversation: one reads, one writes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::unconstrained;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::routes::Taken;
use super::{CallError, Heard, Item, Shared};
use crate::frame::{self, Frame, FrameError, Kind, Reader};
use crate::protocol::{self, OnBehalf, RemoteError};

/// How many frames are taken from the queue at once, and how many bytes written at once.
const FRAMES_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 64 * 1024;

/// Writes what is queued until the conversation ends: all that waits goes out in one piece.
pub(super) async fn write(
    mut queue: mpsc::UnboundedReceiver<Frame>,
    socket: OwnedWriteHalf,
    ended: CancellationToken,
) {
    let mut socket = BufWriter::with_capacity(BYTES_AT_ONCE, socket);
    let mut batch = Vec::with_capacity(FRAMES_AT_ONCE);
    let writing = async {
        while queue.recv_many(&mut batch, FRAMES_AT_ONCE).await > 0 {
            for frame in batch.drain(..) {
                frame::write(&mut socket, &frame).await?;
            }
            socket.flush().await?;
        }
        Ok::<(), FrameError>(())
    };
    if let Some(Err(error)) = ended.run_until_cancelled(writing).await {
        // Usual when the process died; the reading task tells everybody.
        tracing::debug!(%error, "cannot write to an executor");
        ended.cancel();
    }
}

/// Reads until the conversation ends. Never waits for whoever is told: storage must not wait for streams.
pub(super) async fn read(socket: OwnedReadHalf, shared: Arc<Shared>) {
    let mut frames = Reader::new(socket);
    let ended = shared.ended.clone();
    let reading = async {
        loop {
            match frames.next().await {
                None => break,
                Some(Ok(frame)) => take(frame, &shared).await,
                Some(Err(FrameError::Socket(error))) => {
                    tracing::debug!(%error, "cannot read from an executor");
                    break;
                }
                Some(Err(error)) => {
                    warn!(%error, "an executor sent something that is no message");
                    break;
                }
            }
        }
    };
    ended.run_until_cancelled(reading).await;
    shared.end();
}

async fn take(frame: Frame, shared: &Arc<Shared>) {
    let number = frame.call;
    match frame.kind {
        Kind::Request => answer(frame, shared).await,
        Kind::Item => {
            let item = Item {
                name: frame.method,
                body: frame.body,
            };
            if let Some(calls) = shared.calls().as_ref()
                && let Some(call) = calls.get(&number)
            {
                // Whoever does not listen any more is about to forget the call.
                let _ = call.send(Heard::Item(item));
            }
        }
        Kind::Reply => done(number, Ok(frame.body), shared),
        Kind::Error => {
            let error = match protocol::decode::<RemoteError>(&frame.body) {
                Ok(error) => CallError::Refused(error),
                Err(error) => CallError::Malformed(error),
            };
            done(number, Err(error), shared);
        }
    }
}

fn done(number: u64, answer: Result<Bytes, CallError>, shared: &Shared) {
    let call = shared
        .calls()
        .as_mut()
        .and_then(|calls| calls.remove(&number));
    if let Some(call) = call {
        let _ = call.send(Heard::Done(answer));
    }
}

/// Starts to answer a request of the other side.
async fn answer(frame: Frame, shared: &Arc<Shared>) {
    let call = frame.call;
    let Ok(OnBehalf { call: on_behalf }) = protocol::decode(&frame.body) else {
        let message = format!("no requests of this kind are taken here: {}", frame.method);
        shared.answer(
            call,
            Err(RemoteError::new(RemoteError::UNSUPPORTED, message)),
        );
        return;
    };
    let Some(taken) = shared.routes.take(on_behalf) else {
        let message = "the attempt is over";
        shared.answer(call, Err(RemoteError::new(RemoteError::FENCED, message)));
        return;
    };
    let Taken {
        answers,
        token,
        under_way,
    } = taken;
    let answering = async move { answers.answer(&frame.method, frame.body).await };
    let mut answering = Box::pin(AssertUnwindSafe(answering).catch_unwind().map(|answer| {
        let failed = |_| RemoteError::new(RemoteError::FAILED, "the worker failed to answer");
        answer.map_err(failed).flatten()
    }));
    // The first step is taken here: in order, and only here.
    match futures::poll!(unconstrained(&mut answering)) {
        std::task::Poll::Ready(answer) => shared.answer(call, answer),
        std::task::Poll::Pending => {
            let shared = Arc::clone(shared);
            under_way.spawn(async move {
                shared.answer(call, answering.await);
                drop(token);
            });
        }
    }
}
