//! Who answers the requests of the other side: whoever registered for the call that they name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::protocol::RemoteError;

/// Answers requests on behalf of one call.
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    /// Answers one request. `body` is a msgpack map, and so is the answer whatever the method says.
    ///
    /// Requests are started in the order in which they came, up to the first point where they wait, and
    /// then go on beside each other.
    async fn answer(&self, method: &str, body: Bytes) -> Result<Bytes, RemoteError>;
}

/// Where requests go.
#[derive(Clone, Default)]
pub(super) struct Routes(Arc<Mutex<HashMap<u64, Route>>>);

/// Where the requests of one call go.
struct Route {
    answers: Arc<dyn Answers>,
    under_way: TaskTracker,
}

/// A request that was taken: [`Registration::close`] waits for it.
pub(super) struct Taken {
    /// Who answers it.
    pub(super) answers: Arc<dyn Answers>,
    /// To be kept until it is answered.
    pub(super) token: TaskTrackerToken,
    /// Where to go on answering it.
    pub(super) under_way: TaskTracker,
}

impl Routes {
    fn table(&self) -> MutexGuard<'_, HashMap<u64, Route>> {
        self.0.lock().expect("nobody panics with this lock")
    }

    pub(super) fn register(&self, call: u64, answers: Arc<dyn Answers>) -> Registration {
        let under_way = TaskTracker::new();
        let route = Route {
            answers,
            under_way: under_way.clone(),
        };
        self.table().insert(call, route);
        Registration {
            call,
            routes: self.clone(),
            under_way,
        }
    }

    /// Takes a request on behalf of `call`, if anybody answers for it.
    pub(super) fn take(&self, call: u64) -> Option<Taken> {
        let table = self.table();
        let route = table.get(&call)?;
        Some(Taken {
            answers: Arc::clone(&route.answers),
            // While the table is locked: whoever unregisters afterwards sees the request.
            token: route.under_way.token(),
            under_way: route.under_way.clone(),
        })
    }
}

/// As long as it lives, requests of a call are answered.
pub struct Registration {
    call: u64,
    routes: Routes,
    under_way: TaskTracker,
}

impl Registration {
    /// Takes no more requests and returns when all that were taken are answered.
    pub async fn close(&mut self) {
        self.unregister();
        self.under_way.close();
        self.under_way.wait().await;
    }

    fn unregister(&self) {
        self.routes.table().remove(&self.call);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.unregister();
    }
}
