//! One worker's connection to the database: it can be cut, and single calls can go wrong in any of
//! the ways in which calls over a network do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use runloom_core::assistant::{Assistant, AssistantPatch, NewAssistant};
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites};
use runloom_core::compose::NewRun;
use runloom_core::database::{
    Assistants, CancelRequest, Cancelled, Census, Checkpoints, DatabaseError, Expired, Guard,
    Items, Queue, Retention, Runs, Settled, Settlement, Submission, Sweep, TableSize, Tally,
    ThreadDeletion, ThreadPatch, Threads,
};
use runloom_core::ids::{AssistantId, CheckpointId, ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::item::{Item, ItemSearch, NamespaceSearch};
use runloom_core::json::Json;
use runloom_core::lease::{ClaimReply, Held, Lease};
use runloom_core::run::Run;
use runloom_core::search::{
    AssistantFilter, AssistantSort, Page, RunFilter, SortOrder, ThreadFilter, ThreadSort,
    VersionFilter,
};
use runloom_core::thread::{NewThread, Thread};
use runloom_testkit::doubles::Gate;
use runloom_testkit::memory::Memory;

/// What happens to a call.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It is carried out, but the answer is lost.
    LoseReply,
    /// It is not carried out: the storage is out of reach.
    Refuse,
    /// It is not carried out: the storage says that it is wrong.
    Break,
    /// It is carried out; the answer waits at the gate.
    HoldReply(Arc<Gate>),
    /// It arrives only after the gate.
    HoldCall(Arc<Gate>),
}

/// A connection with faults.
pub(crate) struct Link {
    inner: Arc<Memory>,
    cut: AtomicBool,
    faults: Mutex<HashMap<&'static str, Vec<Fault>>>,
}

impl Link {
    pub(crate) fn new(inner: Arc<Memory>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            cut: AtomicBool::new(false),
            faults: Mutex::default(),
        })
    }

    /// From now on, or no longer, nothing gets through.
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    /// The next calls of `method` go wrong in these ways.
    pub(crate) fn plan(&self, method: &'static str, faults: impl IntoIterator<Item = Fault>) {
        let mut plans = self.faults.lock().unwrap();
        plans.entry(method).or_default().extend(faults);
    }

    /// How many planned faults of `method` have not happened.
    pub(crate) fn left(&self, method: &'static str) -> usize {
        self.faults.lock().unwrap().get(method).map_or(0, Vec::len)
    }

    async fn through<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, DatabaseError> {
        let unavailable = || DatabaseError::Unavailable("the link is cut".to_owned());
        if self.cut.load(Ordering::SeqCst) {
            return Err(unavailable());
        }
        let fault = match self.faults.lock().unwrap().get_mut(method) {
            Some(faults) if !faults.is_empty() => Some(faults.remove(0)),
            _ => None,
        };
        match fault {
            None => call.await,
            Some(Fault::LoseReply) => call.await.and(Err(unavailable())),
            Some(Fault::Refuse) => Err(unavailable()),
            Some(Fault::Break) => Err(DatabaseError::Internal("as planned".to_owned())),
            Some(Fault::HoldReply(gate)) => {
                let answer = call.await;
                gate.pass().await;
                answer
            }
            Some(Fault::HoldCall(gate)) => {
                gate.pass().await;
                call.await
            }
        }
    }
}

macro_rules! linked {
    ($port:ident { $($method:ident($($arg:ident: $type:ty),*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl $port for Link {
            $(async fn $method(&self, $($arg: $type),*) -> Result<$answer, DatabaseError> {
                self.through(stringify!($method), self.inner.$method($($arg),*)).await
            })*
        }
    };
}

linked!(Threads {
    create_thread(new: NewThread) -> Thread;
    thread(id: ThreadId) -> Option<Thread>;
    patch_thread(id: ThreadId, patch: ThreadPatch) -> Thread;
    delete_thread(id: ThreadId) -> ThreadDeletion;
    search_threads(filter: &ThreadFilter, sort: (ThreadSort, SortOrder), page: Page) -> Vec<Thread>;
    count_threads(filter: &ThreadFilter) -> u64;
    copy_thread(from: ThreadId, to: ThreadId) -> Thread;
});

linked!(Runs {
    submit_run(new: NewRun) -> Submission;
    run(thread: Option<ThreadId>, id: RunId) -> Option<Run>;
    runs(thread: ThreadId, filter: RunFilter, page: Page) -> Vec<Run>;
    cancel_runs(request: CancelRequest) -> Cancelled;
    delete_run(thread: ThreadId, id: RunId) -> ();
});

linked!(Queue {
    enlist(worker: WorkerId, lease: Duration) -> ();
    renew(worker: WorkerId, lease: Duration) -> Vec<Held>;
    retire(worker: WorkerId) -> ();
    claim(thread: ThreadId, worker: WorkerId, claim: ClaimId) -> ClaimReply;
    settle(lease: &Lease, settlement: Settlement, next: Option<ClaimId>) -> Settled;
    sweep(limit: u32) -> Sweep;
    waiting(age: Duration, limit: u32) -> Vec<ThreadId>;
    prune_temporary(age: Duration, limit: u32) -> u32;
});

linked!(Retention {
    expire_threads(limit: u32) -> Expired;
    prune_runs(age: Duration, limit: u32) -> u32;
});

linked!(Checkpoints {
    put_checkpoints(
        thread: ThreadId,
        guard: Guard,
        checkpoints: Vec<NewCheckpoint>,
        writes: Vec<NewWrites>
    ) -> ();
    checkpoint(thread: ThreadId, ns: &str, id: Option<&CheckpointId>) -> Option<CheckpointTuple>;
    checkpoints(thread: ThreadId, query: CheckpointQuery) -> Vec<CheckpointTuple>;
    delete_checkpoints(thread: ThreadId, runs: &[RunId]) -> ();
    prune_checkpoints(thread: ThreadId) -> ();
});

linked!(Assistants {
    create_assistant(new: NewAssistant) -> Assistant;
    assistant(id: AssistantId) -> Option<Assistant>;
    patch_assistant(id: AssistantId, patch: AssistantPatch) -> Assistant;
    delete_assistant(id: AssistantId) -> ();
    search_assistants(
        filter: &AssistantFilter,
        sort: (AssistantSort, SortOrder),
        page: Page
    ) -> Vec<Assistant>;
    count_assistants(filter: &AssistantFilter) -> u64;
    assistant_versions(filter: &VersionFilter, page: Page) -> Vec<Assistant>;
    set_assistant_version(id: AssistantId, version: i64) -> Assistant;
});

linked!(Items {
    put_item(namespace: &[String], key: &str, value: Json) -> ();
    item(namespace: &[String], key: &str) -> Option<Item>;
    delete_item(namespace: &[String], key: &str) -> ();
    search_items(search: &ItemSearch) -> Vec<Item>;
    namespaces(search: &NamespaceSearch) -> Vec<Vec<String>>;
});

linked!(Census {
    tally() -> Tally;
    sizes() -> Vec<TableSize>;
});
