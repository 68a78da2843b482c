//! A database that is out of reach.

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

/// See the module.
pub(crate) struct Broken;

/// Everything is passed on as bare tokens: as types they would hide their lifetimes.
macro_rules! broken {
    ($port:ident { $($method:ident($($arguments:tt)*) -> [$($answer:tt)*];)* }) => {
        #[async_trait]
        impl $port for Broken {
            $(async fn $method(
                &self,
                $($arguments)*
            ) -> Result<$($answer)*, DatabaseError> {
                unavailable()
            })*
        }
    };
}

fn unavailable<T>() -> Result<T, DatabaseError> {
    Err(DatabaseError::Unavailable("the disk is full".to_owned()))
}

broken! { Threads {
    create_thread(_: NewThread) -> [Thread];
    thread(_: ThreadId) -> [Option<Thread>];
    patch_thread(_: ThreadId, _: ThreadPatch) -> [Thread];
    delete_thread(_: ThreadId) -> [ThreadDeletion];
    search_threads(_: &ThreadFilter, _: (ThreadSort, SortOrder), _: Page) -> [Vec<Thread>];
    count_threads(_: &ThreadFilter) -> [u64];
    copy_thread(_: ThreadId, _: ThreadId) -> [Thread];
} }

broken! { Runs {
    submit_run(_: NewRun) -> [Submission];
    run(_: Option<ThreadId>, _: RunId) -> [Option<Run>];
    runs(_: ThreadId, _: RunFilter, _: Page) -> [Vec<Run>];
    cancel_runs(_: CancelRequest) -> [Cancelled];
    delete_run(_: ThreadId, _: RunId) -> [()];
} }

broken! { Queue {
    enlist(_: WorkerId, _: Duration) -> [()];
    renew(_: WorkerId, _: Duration) -> [Vec<Held>];
    retire(_: WorkerId) -> [()];
    claim(_: ThreadId, _: WorkerId, _: ClaimId) -> [ClaimReply];
    settle(_: &Lease, _: Settlement, _: Option<ClaimId>) -> [Settled];
    sweep(_: u32) -> [Sweep];
    waiting(_: Duration, _: u32) -> [Vec<ThreadId>];
    prune_temporary(_: Duration, _: u32) -> [u32];
} }

broken! { Retention {
    expire_threads(_: u32) -> [Expired];
    prune_runs(_: Duration, _: u32) -> [u32];
} }

broken! { Checkpoints {
    put_checkpoints(_: ThreadId, _: Guard, _: Vec<NewCheckpoint>, _: Vec<NewWrites>) -> [()];
    checkpoint(_: ThreadId, _: &str, _: Option<&CheckpointId>) -> [Option<CheckpointTuple>];
    checkpoints(_: ThreadId, _: CheckpointQuery) -> [Vec<CheckpointTuple>];
    delete_checkpoints(_: ThreadId, _: &[RunId]) -> [()];
    prune_checkpoints(_: ThreadId) -> [()];
} }

broken! { Assistants {
    create_assistant(_: NewAssistant) -> [Assistant];
    assistant(_: AssistantId) -> [Option<Assistant>];
    patch_assistant(_: AssistantId, _: AssistantPatch) -> [Assistant];
    delete_assistant(_: AssistantId) -> [()];
    search_assistants(_: &AssistantFilter, _: (AssistantSort, SortOrder), _: Page) -> [Vec<Assistant>];
    count_assistants(_: &AssistantFilter) -> [u64];
    assistant_versions(_: &VersionFilter, _: Page) -> [Vec<Assistant>];
    set_assistant_version(_: AssistantId, _: i64) -> [Assistant];
} }

broken! { Items {
    put_item(_: &[String], _: &str, _: Json) -> [()];
    item(_: &[String], _: &str) -> [Option<Item>];
    delete_item(_: &[String], _: &str) -> [()];
    search_items(_: &ItemSearch) -> [Vec<Item>];
    namespaces(_: &NamespaceSearch) -> [Vec<Vec<String>>];
} }

broken! { Census {
    tally() -> [Tally];
    sizes() -> [Vec<TableSize>];
} }
