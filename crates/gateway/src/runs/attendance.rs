//! What becomes of a run when the connection that shows it to its client closes.

use runloom_core::database::{CancelRequest, DatabaseError};
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::run::CancelAction;
use runloom_core::search::CancelSelection;
use tokio::runtime::Handle;

use crate::Gateway;

/// Why a run was cancelled, for people.
pub(super) const DISCONNECTED: &str = "the client disconnected";

/// A client's presence: held by the body of its response, dropped with it.
pub(crate) struct Attendance {
    gateway: Gateway,
    thread: ThreadId,
    run: RunId,
    /// Whether the run is cancelled if the client leaves before its end.
    cancel: bool,
    /// Whether the thread is deleted once the client has seen the run's end.
    temporary: bool,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client left.
    Left,
    /// The client saw the end of the run.
    Served,
    /// We closed the connection.
    Excused,
}

impl Attendance {
    /// A client that may come and go.
    pub(crate) fn new(gateway: &Gateway, thread: ThreadId, run: RunId) -> Self {
        Self {
            gateway: gateway.clone(),
            thread,
            run,
            cancel: false,
            temporary: false,
            end: End::Left,
        }
    }

    /// If `cancel`, the run is cancelled when the client leaves before its end.
    pub(crate) fn required(mut self, cancel: bool) -> Self {
        self.cancel = cancel;
        self
    }

    /// If `temporary`, the thread is deleted once the client has seen the run's end. Where this
    /// does not come to pass, housekeeping does it.
    pub(crate) fn last_guest(mut self, temporary: bool) -> Self {
        self.temporary = temporary;
        self
    }

    /// The client has seen the run's end.
    pub(crate) fn served(&mut self) {
        self.end = End::Served;
    }

    /// The client did not leave: we end the response.
    pub(crate) fn excused(&mut self) {
        self.end = End::Excused;
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let (thread, run) = (self.thread, self.run);
        // Without a runtime the process ends, and others see to the rest.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let gateway = self.gateway.clone();
        match self.end {
            End::Left if self.cancel => {
                let cancelling = async move { gateway.disconnected(thread, run).await };
                self.gateway.tasks.spawn_on(cancelling, &runtime);
            }
            End::Served if self.temporary => {
                let deleting = async move { gateway.clear_away(thread).await };
                self.gateway.tasks.spawn_on(deleting, &runtime);
            }
            End::Left | End::Served | End::Excused => {}
        }
    }
}

impl Gateway {
    /// Cancels a run whose client left.
    pub(super) async fn disconnected(&self, thread: ThreadId, run: RunId) {
        let request = CancelRequest {
            selection: CancelSelection::Runs(thread, vec![run]),
            action: CancelAction::Interrupt,
            reason: DISCONNECTED.to_owned(),
        };
        match self.database().cancel_runs(request).await {
            Ok(cancelled) => self.follow_up(cancelled.effects).await,
            Err(error) => {
                tracing::warn!(%error, run.id = %run, thread.id = %thread,
                    "a run whose client left goes on");
            }
        }
    }

    /// Deletes the thread of a run that is over and was the only one it was made for.
    async fn clear_away(&self, thread: ThreadId) {
        use runloom_core::database::ThreadDeletion::{Deleted, Stopping};
        match self.database().delete_thread(thread).await {
            Ok(Deleted(effects) | Stopping(effects)) => self.follow_up(effects).await,
            Err(DatabaseError::NotFound(_)) => {}
            Err(error) => {
                tracing::debug!(%error, thread.id = %thread, "left to housekeeping");
            }
        }
    }
}
