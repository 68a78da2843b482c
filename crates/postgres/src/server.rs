//! The server: connections, and how they are used.

use chrono::{DateTime, Utc};
use tokio_util::task::TaskTracker;

use crate::Config;
use crate::connections::{Change, Connections};
use crate::convert;
use crate::error::Result;
use crate::session::Session;

/// The server, as it was asked to be used.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) connections: Connections,
    pub(crate) config: Config,
    /// What serves requests that go together.
    pub(crate) tasks: TaskTracker,
}

impl Server {
    /// A connection to read from, for single statements.
    pub(crate) async fn reader(&self) -> Result<Session> {
        self.connections.single().await
    }

    /// A connection to read several things from as they are at one moment.
    pub(crate) async fn moment(&self) -> Result<Session> {
        self.connections.moment().await
    }

    /// A session for a single statement that changes something, to be committed.
    pub(crate) async fn statement(&self) -> Result<Session> {
        if self.config.prepared {
            return self.connections.single().await;
        }
        self.connections.change().await
    }

    /// The time by the clock that was handed in; none where statements ask the database's own.
    pub(crate) fn set_time(&self) -> Option<DateTime<Utc>> {
        let clock = self.config.clock.as_ref();
        clock.map(|clock| convert::whole_micros(clock.now()))
    }

    /// Begins a change. It happens now; where it concerns a thread, when the thread is locked.
    pub(crate) async fn change(&self) -> Result<Change> {
        let session = self.connections.change().await?;
        Change::new(session, self.config.clock.clone(), self.config.max_attempts).await
    }
}
