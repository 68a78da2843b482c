//! Small messages that nobody waits for, such as acknowledgements, sent in the background in order.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::link::Link;
use super::tasks::Spawner;

/// Sends without waiting. What cannot be sent is dropped: the bus makes up for it.
#[derive(Clone)]
pub(super) struct Post(mpsc::UnboundedSender<(String, Bytes)>);

impl Post {
    /// A post on `link`, which works until the last copy of it is dropped.
    pub(super) fn new(link: Arc<Link>, spawner: &Spawner) -> Self {
        let (sender, mut letters) = mpsc::unbounded_channel();
        spawner.spawn(async move {
            while let Some((subject, payload)) = letters.recv().await {
                if let Err(error) = link.publish(subject, payload).await {
                    tracing::debug!(%error, "an acknowledgement was not sent");
                }
            }
        });
        Self(sender)
    }

    /// Sends soon.
    pub(super) fn send(&self, subject: String, payload: impl Into<Bytes>) {
        // Without its task the process is ending.
        let _ = self.0.send((subject, payload.into()));
    }
}
