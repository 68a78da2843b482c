//! What attempts store, that of several threads in one statement.

use std::sync::Arc;

use runloom_core::checkpoint::{NewCheckpoint, NewWrites};
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::lease::Fence;

use crate::error::Result;
use crate::server::Server;
use crate::shelf::{self, Author, Part};
use crate::together::Request;

/// Checkpoints and pending writes of an attempt.
pub(crate) struct Put {
    pub(crate) thread: ThreadId,
    pub(crate) fence: Fence,
    pub(crate) run: RunId,
    pub(crate) checkpoints: Vec<NewCheckpoint>,
    pub(crate) writes: Vec<NewWrites>,
}

/// What was put is stored.
pub(crate) struct Stored;

impl Put {
    /// Stores it alone, waiting for the lock of its thread. False, and nothing is stored, if the attempt
    /// does not hold that.
    pub(crate) async fn alone(&self, server: &Server) -> Result<bool> {
        let mut session = server.statement().await?;
        let places = shelf::put(&mut session, &[self.part()], true).await?;
        session.commit().await?;
        Ok(!places.is_empty())
    }

    fn part(&self) -> Part<'_> {
        Part {
            thread: self.thread,
            author: Author {
                run: Some(self.run),
                fence: Some(self.fence),
            },
            checkpoints: &self.checkpoints,
            writes: &self.writes,
        }
    }
}

impl Request for Put {
    type Reply = Stored;

    fn thread(&self) -> Option<ThreadId> {
        Some(self.thread)
    }

    fn bytes(&self) -> usize {
        let heads = self
            .checkpoints
            .iter()
            .map(|new| new.checkpoint.head.data.len());
        let values = self.checkpoints.iter().flat_map(|new| &new.blobs);
        let values = values.map(|value| value.blob.data.len());
        let writes = self.writes.iter().flat_map(|new| &new.writes);
        let writes = writes.map(|write| write.blob.data.len());
        heads.chain(values).chain(writes).sum()
    }

    async fn carry_out(server: &Server, requests: &[Arc<Self>]) -> Result<Vec<Option<Stored>>> {
        let parts: Vec<_> = requests.iter().map(|put| put.part()).collect();
        let mut session = server.statement().await?;
        let places = shelf::put(&mut session, &parts, false).await?;
        session.commit().await?;
        let is_stored = |place| places.contains(&place).then_some(Stored);
        Ok((1..)
            .zip(requests)
            .map(|(place, _)| is_stored(place))
            .collect())
    }
}
