//! Every path of the API, written once: routes, the OpenAPI document and `Location` headers are all
//! made of these.

use runloom_core::ids::{RunId, ThreadId};

/// Health, also at the root.
pub const OK: &str = "/ok";
/// Whether there should be work for it.
pub const READY: &str = "/ready";
/// Health.
pub const ROOT: &str = "/";
/// Version and abilities.
pub const INFO: &str = "/info";
/// The OpenAPI document.
pub const OPENAPI: &str = "/openapi.json";
/// The OpenAPI document as a page.
pub const DOCS: &str = "/docs";
/// What that page is made of.
pub const DOCS_FILE: &str = "/docs/{file}";

/// Assistants.
pub const ASSISTANTS: &str = "/assistants";
/// Search of assistants.
pub const ASSISTANTS_SEARCH: &str = "/assistants/search";
/// Count of assistants.
pub const ASSISTANTS_COUNT: &str = "/assistants/count";
/// One assistant.
pub const ASSISTANT: &str = "/assistants/{assistant_id}";
/// Its versions.
pub const ASSISTANT_VERSIONS: &str = "/assistants/{assistant_id}/versions";
/// Its current version.
pub const ASSISTANT_LATEST: &str = "/assistants/{assistant_id}/latest";
/// The drawing of its graph.
pub const ASSISTANT_GRAPH: &str = "/assistants/{assistant_id}/graph";
/// The schemas of its graph.
pub const ASSISTANT_SCHEMAS: &str = "/assistants/{assistant_id}/schemas";
/// The schemas of its graph's subgraphs.
pub const ASSISTANT_SUBGRAPHS: &str = "/assistants/{assistant_id}/subgraphs";
/// The schemas of one of its graph's subgraphs.
pub const ASSISTANT_SUBGRAPH: &str = "/assistants/{assistant_id}/subgraphs/{namespace}";

/// Threads.
pub const THREADS: &str = "/threads";
/// Search of threads.
pub const THREADS_SEARCH: &str = "/threads/search";
/// Count of threads.
pub const THREADS_COUNT: &str = "/threads/count";
/// Deletion of many threads.
pub const THREADS_PRUNE: &str = "/threads/prune";
/// One thread.
pub const THREAD: &str = "/threads/{thread_id}";
/// A copy of it.
pub const THREAD_COPY: &str = "/threads/{thread_id}/copy";
/// Its state.
pub const THREAD_STATE: &str = "/threads/{thread_id}/state";
/// Its state at a checkpoint.
pub const THREAD_STATE_AT: &str = "/threads/{thread_id}/state/{checkpoint_id}";
/// Its state at a checkpoint that the body names.
pub const THREAD_STATE_CHECKPOINT: &str = "/threads/{thread_id}/state/checkpoint";
/// Its past states.
pub const THREAD_HISTORY: &str = "/threads/{thread_id}/history";
/// The events of all its runs.
pub const THREAD_STREAM: &str = "/threads/{thread_id}/stream";

/// The runs of a thread.
pub const THREAD_RUNS: &str = "/threads/{thread_id}/runs";
/// Create a run and stream it.
pub const THREAD_RUNS_STREAM: &str = "/threads/{thread_id}/runs/stream";
/// Create a run and wait for it.
pub const THREAD_RUNS_WAIT: &str = "/threads/{thread_id}/runs/wait";
/// One run.
pub const THREAD_RUN: &str = "/threads/{thread_id}/runs/{run_id}";
/// Wait for it.
pub const THREAD_RUN_JOIN: &str = "/threads/{thread_id}/runs/{run_id}/join";
/// Stream it.
pub const THREAD_RUN_STREAM: &str = "/threads/{thread_id}/runs/{run_id}/stream";
/// Cancel it.
pub const THREAD_RUN_CANCEL: &str = "/threads/{thread_id}/runs/{run_id}/cancel";
/// Runs without a thread of their caller's.
pub const RUNS: &str = "/runs";
/// Create one and stream it.
pub const RUNS_STREAM: &str = "/runs/stream";
/// Create one and wait for it.
pub const RUNS_WAIT: &str = "/runs/wait";
/// Create many.
pub const RUNS_BATCH: &str = "/runs/batch";
/// Cancel many runs.
pub const RUNS_CANCEL: &str = "/runs/cancel";
/// A run by its id alone.
pub const RUN: &str = "/runs/{run_id}";
/// Wait for a run by its id alone.
pub const RUN_JOIN: &str = "/runs/{run_id}/join";
/// Stream a run by its id alone.
pub const RUN_STREAM: &str = "/runs/{run_id}/stream";

/// Items of the long-term memory.
pub const ITEMS: &str = "/store/items";
/// Search of items.
pub const ITEMS_SEARCH: &str = "/store/items/search";
/// Namespaces of items.
pub const NAMESPACES: &str = "/store/namespaces";

/// Where a run of a thread is.
pub fn thread_run(thread: ThreadId, run: RunId) -> String {
    format!("/threads/{thread}/runs/{run}")
}

/// Where a run of a thread can be waited for.
pub fn thread_run_join(thread: ThreadId, run: RunId) -> String {
    format!("/threads/{thread}/runs/{run}/join")
}

/// Where a run of a thread can be streamed.
pub fn thread_run_stream(thread: ThreadId, run: RunId) -> String {
    format!("/threads/{thread}/runs/{run}/stream")
}

/// How a run without a caller's thread is named. Clients take all that follows `/runs/` for its id.
pub fn run(run: RunId) -> String {
    format!("/runs/{run}")
}

/// Where a run can be waited for by its id alone.
pub fn run_join(run: RunId) -> String {
    format!("/runs/{run}/join")
}

/// Where a run can be streamed by its id alone.
pub fn run_stream(run: RunId) -> String {
    format!("/runs/{run}/stream")
}
