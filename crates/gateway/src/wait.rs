//! Waiting for the end of a run.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use runloom_core::bus::RunChange;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::run::Run;
use tokio::time::sleep;

use crate::Gateway;

/// How often the database is asked whether a run is over while no hint says so. Hints may be lost.
pub(crate) const RECHECK: Duration = Duration::from_secs(3);

/// How often it is asked where there are no hints at all, as the bus is out of reach.
const WITHOUT_HINTS: Duration = Duration::from_millis(500);

/// Watches for the end of one run. Made before the run can end, it misses nothing.
pub(crate) struct Watch {
    gateway: Gateway,
    thread: ThreadId,
    run: RunId,
    changes: BoxStream<'static, RunChange>,
    recheck: Duration,
}

impl Watch {
    pub(crate) async fn new(gateway: &Gateway, thread: ThreadId, run: RunId) -> Self {
        let changes = gateway.ports.notifier.changes(thread).await;
        let (changes, recheck) = match changes {
            Ok(changes) => (changes.chain(stream::pending()).boxed(), RECHECK),
            Err(error) => {
                tracing::debug!(%error, run.id = %run, thread.id = %thread,
                    "no hints; the database is asked");
                (stream::pending().boxed(), WITHOUT_HINTS)
            }
        };
        Self {
            gateway: gateway.clone(),
            thread,
            run,
            changes,
            recheck,
        }
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub(crate) fn thread(&self) -> ThreadId {
        self.thread
    }

    /// The run once it is over; `None` if it is gone. Asks the database at once.
    pub(crate) async fn end(&mut self) -> Option<Run> {
        loop {
            let database = self.gateway.database();
            match database.run(Some(self.thread), self.run).await {
                Ok(Some(run)) if !run.status.is_terminal() => {}
                Ok(over) => return over,
                Err(error) => {
                    tracing::debug!(%error, run.id = %self.run, thread.id = %self.thread,
                        "cannot see whether it is over");
                }
            }
            self.hint().await;
        }
    }

    /// The same, for a run that was just accepted and need not be looked at before something
    /// happens.
    pub(crate) async fn end_of_new(&mut self) -> Option<Run> {
        self.hint().await;
        self.end().await
    }

    /// Waits for a change that looks like the end, but not for long.
    async fn hint(&mut self) {
        let end = self.changes.by_ref();
        let mut end =
            end.filter(|change| std::future::ready(change.run_id == self.run && change.is_end()));
        tokio::select! {
            _ = end.next() => {}
            () = sleep(self.recheck) => {}
        }
    }
}
