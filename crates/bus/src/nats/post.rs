//! Small messages that nobody waits for, such as acknowledgements, sent in the background in order.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::link::Link;
use super::tasks::Spawner;

/// Sends without waiting. What cannot be sent is dropped: the bus makes up for it.
#[derive(Clone)]
pub(super) struct Post(mpsc::UnboundedSender<Letter>);

enum Letter {
    To(String, Bytes),
    /// Says that all before it was sent.
    Mark(oneshot::Sender<()>),
}

impl Post {
    /// A post on `link`, which works until the last copy of it is dropped.
    pub(super) fn new(link: Arc<Link>, spawner: &Spawner) -> Self {
        let (sender, mut letters) = mpsc::unbounded_channel();
        spawner.spawn(async move {
            while let Some(letter) = letters.recv().await {
                match letter {
                    Letter::To(subject, payload) => {
                        if let Err(error) = link.publish(subject, payload).await {
                            tracing::debug!(%error, "an acknowledgement was not sent");
                        }
                    }
                    // Who does not wait any more need not be told.
                    Letter::Mark(reached) => drop(reached.send(())),
                }
            }
        });
        Self(sender)
    }

    /// Sends soon.
    pub(super) fn send(&self, subject: String, payload: impl Into<Bytes>) {
        // Without its task the process is ending.
        let _ = self.0.send(Letter::To(subject, payload.into()));
    }

    /// Waits until everything is sent.
    pub(super) async fn sent(&self) {
        let (mark, reached) = oneshot::channel();
        if self.0.send(Letter::Mark(mark)).is_ok() {
            // Without its task nothing more is sent.
            let _ = reached.await;
        }
    }
}
