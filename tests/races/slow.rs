//! A database behind a network: calls take time, answers get lost, and nothing gets through while
//! its user is paused.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use runloom_core::assistant::{Assistant, AssistantPatch, NewAssistant};
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites};
use runloom_core::compose::NewRun;
use runloom_core::database::{
    Assistants, CancelRequest, Cancelled, Census, Checkpoints, Database, DatabaseError, Expired,
    Guard, Items, Queue, Retention, Runs, Settled, Settlement, Submission, Sweep, TableSize, Tally,
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

use tokio_util::task::TaskTracker;

use crate::chaos::Pause;

type Result<T> = std::result::Result<T, DatabaseError>;

/// How bad the way to the database is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// The longest a call takes in each direction.
    pub(crate) delay: Duration,
    /// How often a call or its answer is lost, from 0 to 1.
    pub(crate) loss: f64,
}

/// Whether the database is down, for everybody.
#[derive(Clone, Default)]
pub(crate) struct Outage(Arc<AtomicBool>);

impl Outage {
    /// Begins or ends it.
    pub(crate) fn set(&self, down: bool) {
        self.0.store(down, Ordering::SeqCst);
    }

    fn check(&self) -> Result<()> {
        if self.0.load(Ordering::SeqCst) {
            return Err(DatabaseError::Unavailable(
                "the database is down".to_owned(),
            ));
        }
        Ok(())
    }
}

/// A database as one process sees it.
pub(crate) struct Slow {
    inner: Arc<dyn Database>,
    outage: Outage,
    way: Way,
    pause: Pause,
    random: Mutex<StdRng>,
    /// Writes on their way.
    sent: TaskTracker,
}

impl Slow {
    pub(crate) fn new(
        inner: Arc<dyn Database>,
        outage: Outage,
        way: Way,
        pause: Pause,
        seed: u64,
    ) -> Self {
        Self {
            inner,
            outage,
            way,
            pause,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            sent: TaskTracker::new(),
        }
    }

    async fn travel(&self) -> Result<()> {
        let (delay, lost) = {
            let mut random = self.random.lock().unwrap();
            let longest = u64::try_from(self.way.delay.as_micros()).unwrap();
            (
                random.random_range(0..=longest),
                random.random_bool(self.way.loss),
            )
        };
        tokio::time::sleep(Duration::from_micros(delay)).await;
        self.pause.passed().await;
        if lost {
            return Err(DatabaseError::Unavailable("lost on the way".to_owned()));
        }
        self.outage.check()
    }

    async fn call<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        self.pause.passed().await;
        self.travel().await?;
        let answer = answer.await;
        self.travel().await?;
        answer
    }
}

/// Each method goes to the inner database and back.
macro_rules! through {
    ($port:ident { $(fn $name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)* }) => {
        #[async_trait]
        impl $port for Slow {
            $(async fn $name(&self, $($arg: $ty),*) -> Result<$out> {
                self.call(self.inner.$name($($arg),*)).await
            })*
        }
    };
}

through!(Threads {
    fn create_thread(new: NewThread) -> Thread;
    fn thread(id: ThreadId) -> Option<Thread>;
    fn patch_thread(id: ThreadId, patch: ThreadPatch) -> Thread;
    fn delete_thread(id: ThreadId) -> ThreadDeletion;
    fn search_threads(filter: &ThreadFilter, sort: (ThreadSort, SortOrder), page: Page)
        -> Vec<Thread>;
    fn count_threads(filter: &ThreadFilter) -> u64;
    fn copy_thread(from: ThreadId, to: ThreadId) -> Thread;
});

through!(Runs {
    fn submit_run(new: NewRun) -> Submission;
    fn run(thread: Option<ThreadId>, id: RunId) -> Option<Run>;
    fn runs(thread: ThreadId, filter: RunFilter, page: Page) -> Vec<Run>;
    fn cancel_runs(request: CancelRequest) -> Cancelled;
    fn delete_run(thread: ThreadId, id: RunId) -> ();
});

through!(Queue {
    fn enlist(worker: WorkerId, lease: Duration) -> ();
    fn renew(worker: WorkerId, lease: Duration) -> Vec<Held>;
    fn retire(worker: WorkerId) -> ();
    fn claim(thread: ThreadId, worker: WorkerId, claim: ClaimId) -> ClaimReply;
    fn settle(lease: &Lease, settlement: Settlement, next: Option<ClaimId>) -> Settled;
    fn sweep(limit: u32) -> Sweep;
    fn waiting(age: Duration, limit: u32) -> Vec<ThreadId>;
    fn prune_temporary(age: Duration, limit: u32) -> u32;
});

through!(Retention {
    fn expire_threads(limit: u32) -> Expired;
    fn prune_runs(age: Duration, limit: u32) -> u32;
});

#[async_trait]
impl Checkpoints for Slow {
    /// A write that was sent arrives, whether or not its sender still waits for it; now and then so
    /// late that the sender has lost its lease meanwhile. Then only the fence can refuse it.
    async fn put_checkpoints(
        &self,
        thread: ThreadId,
        guard: Guard,
        checkpoints: Vec<NewCheckpoint>,
        writes: Vec<NewWrites>,
    ) -> Result<()> {
        self.pause.passed().await;
        self.travel().await?;
        let (late, lateness) = {
            let mut random = self.random.lock().unwrap();
            (random.random_bool(0.05), random.random_range(0..2_000))
        };
        let (inner, outage) = (self.inner.clone(), self.outage.clone());
        let sent = self.sent.spawn(async move {
            if late {
                tokio::time::sleep(Duration::from_millis(lateness)).await;
            }
            outage.check()?;
            inner
                .put_checkpoints(thread, guard, checkpoints, writes)
                .await
        });
        let answer = sent.await.expect("the database does not panic");
        self.travel().await?;
        answer
    }

    async fn checkpoint(
        &self,
        thread: ThreadId,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>> {
        self.call(self.inner.checkpoint(thread, ns, id)).await
    }

    async fn delete_checkpoints(&self, thread: ThreadId, runs: &[RunId]) -> Result<()> {
        self.call(self.inner.delete_checkpoints(thread, runs)).await
    }

    async fn prune_checkpoints(&self, thread: ThreadId) -> Result<()> {
        self.call(self.inner.prune_checkpoints(thread)).await
    }

    async fn checkpoints(
        &self,
        thread: ThreadId,
        query: CheckpointQuery,
    ) -> Result<Vec<CheckpointTuple>> {
        self.call(self.inner.checkpoints(thread, query)).await
    }
}

through!(Assistants {
    fn create_assistant(new: NewAssistant) -> Assistant;
    fn assistant(id: AssistantId) -> Option<Assistant>;
    fn patch_assistant(id: AssistantId, patch: AssistantPatch) -> Assistant;
    fn delete_assistant(id: AssistantId) -> ();
    fn search_assistants(filter: &AssistantFilter, sort: (AssistantSort, SortOrder), page: Page)
        -> Vec<Assistant>;
    fn count_assistants(filter: &AssistantFilter) -> u64;
    fn assistant_versions(filter: &VersionFilter, page: Page) -> Vec<Assistant>;
    fn set_assistant_version(id: AssistantId, version: i64) -> Assistant;
});

through!(Items {
    fn put_item(namespace: &[String], key: &str, value: Json) -> ();
    fn item(namespace: &[String], key: &str) -> Option<Item>;
    fn delete_item(namespace: &[String], key: &str) -> ();
    fn search_items(search: &ItemSearch) -> Vec<Item>;
    fn namespaces(search: &NamespaceSearch) -> Vec<Vec<String>>;
});

through!(Census {
    fn tally() -> Tally;
    fn sizes() -> Vec<TableSize>;
});
