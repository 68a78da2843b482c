//! Changing a thread's state from outside a run: the executor computes the checkpoints, and all of
//! them are stored at once if the thread is still what they were computed from.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use runloom_api::state::{Checkpoint, StatePatch, StateUpdate, StateUpdated};
use runloom_api::threads::Superstep;
use runloom_core::database::{DatabaseError, Guard, ThreadPatch};
use runloom_core::ids::{CheckpointId, GraphId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::state::{Head, NodeUpdate, StateUpdate as CoreUpdate};
use runloom_core::thread::{NewThread, Thread, ThreadStatus};

use super::checkpoints::{Buffer, Kept};
use super::{TAG, chosen, graph_of};
use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{Body, ThreadPath, checkpoint_id};

/// How often to compute an update anew because the thread changed meanwhile.
const TRIES: u32 = 5;

/// Change the state of a thread as if one of its graph's nodes had.
#[utoipa::path(post, path = paths::THREAD_STATE, tag = TAG, request_body = StateUpdate,
    params(("thread_id" = uuid::Uuid, Path, description = "The thread")),
    responses((status = 200, body = StateUpdated), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn update_thread_state(
    State(gateway): State<Gateway>,
    ThreadPath(thread_id): ThreadPath,
    Body(body): Body<StateUpdate>,
) -> Result<Json<StateUpdated>, Refusal> {
    let (ns, chosen) = chosen(thread_id, body.checkpoint)?;
    let by_id = body
        .checkpoint_id
        .as_deref()
        .map(checkpoint_id)
        .transpose()?;
    let request = Request {
        thread_id,
        ns,
        checkpoint_id: chosen.or(by_id),
        update: NodeUpdate {
            values: body.values,
            command: None,
            as_node: body.as_node,
        },
    };
    for _ in 0..TRIES {
        match request.attempt(&gateway).await {
            Ok(checkpoint) => return Ok(Json(checkpoint.into())),
            Err(Failure::Changed) => {}
            Err(Failure::Refused(refusal)) => return Err(refusal),
        }
    }
    Err(DatabaseError::Changed.into())
}

/// Merge metadata into a thread's, by the path that some clients use for it.
#[utoipa::path(patch, path = paths::THREAD_STATE, tag = TAG, request_body = StatePatch,
    params(("thread_id" = uuid::Uuid, Path, description = "The thread")),
    responses((status = 204), (status = 404, body = ErrorBody)))]
pub(super) async fn patch_thread_state(
    State(gateway): State<Gateway>,
    ThreadPath(thread_id): ThreadPath,
    Body(body): Body<StatePatch>,
) -> Result<StatusCode, Refusal> {
    let patch = ThreadPatch {
        metadata: body.metadata.unwrap_or_default(),
        ttl: None,
    };
    gateway.patch_thread(thread_id, patch).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A change of state that was asked for.
struct Request {
    thread_id: ThreadId,
    ns: String,
    checkpoint_id: Option<CheckpointId>,
    update: NodeUpdate,
}

/// Why an attempt at a change came to nothing.
enum Failure {
    /// The thread changed meanwhile: worth another try.
    Changed,
    /// It cannot be done.
    Refused(Refusal),
}

impl<E: Into<Refusal>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl Request {
    async fn attempt(&self, gateway: &Gateway) -> Result<Checkpoint, Failure> {
        let thread = gateway.thread(self.thread_id).await?;
        if thread.status == ThreadStatus::Busy {
            return Err(busy(self.thread_id).into());
        }
        let graph = graph_of(&thread).ok_or_else(|| no_graph(self.thread_id))?;
        let database = gateway.database();
        let seen = database.checkpoint(self.thread_id, "", None).await?;
        let seen = seen.map(|tuple| tuple.checkpoint.id);
        if let Some(id) = &self.checkpoint_id {
            let base = database
                .checkpoint(self.thread_id, &self.ns, Some(id))
                .await?;
            base.ok_or_else(|| Refusal::not_found(format!("Checkpoint {id} not found")))?;
        }
        let update = CoreUpdate {
            thread_id: self.thread_id,
            ns: self.ns.clone(),
            checkpoint_id: self.checkpoint_id.clone(),
            supersteps: vec![vec![self.update.clone()]],
            metadata: metadata(&graph, &thread),
        };
        let (kept, head) = compute(gateway, &graph, update).await?;
        let written = kept.checkpoints.iter().rev().map(|new| &new.checkpoint);
        let written = written.filter(|checkpoint| checkpoint.ns == self.ns);
        let checkpoint = Checkpoint {
            thread_id: self.thread_id,
            checkpoint_ns: self.ns.clone(),
            checkpoint_id: written.map(|checkpoint| checkpoint.id.clone()).next(),
            checkpoint_map: None,
        };
        let guard = Guard::Idle { seen, head };
        let Kept {
            checkpoints,
            writes,
            ..
        } = kept;
        let stored = database.put_checkpoints(self.thread_id, guard, checkpoints, writes);
        match stored.await {
            Ok(()) => Ok(checkpoint),
            Err(DatabaseError::Changed) => Err(Failure::Changed),
            Err(DatabaseError::Busy) => Err(busy(self.thread_id).into()),
            Err(DatabaseError::NotFound(_)) => Err(Refusal::no_thread(self.thread_id).into()),
            Err(other) => Err(other.into()),
        }
    }
}

async fn compute(
    gateway: &Gateway,
    graph: &GraphId,
    update: CoreUpdate,
) -> Result<(Kept, Head), Refusal> {
    let executor = gateway.executor(graph)?;
    let buffer = Buffer::new(gateway, update.thread_id);
    let head = executor.update_state(graph, update, buffer.clone()).await?;
    Ok((buffer.take(), head))
}

/// What the checkpoints of an update say of themselves: the same as those of a run.
fn metadata(graph: &GraphId, thread: &Thread) -> JsonMap {
    let mut metadata = thread.metadata.clone();
    metadata.insert("graph_id".to_owned(), graph.to_string().into());
    metadata.insert("thread_id".to_owned(), thread.id.to_string().into());
    metadata
}

fn busy(thread: ThreadId) -> Refusal {
    Refusal::conflict(format!(
        "Thread {thread} has in-flight runs. Wait for them or cancel them, then update its state."
    ))
}

fn no_graph(thread: ThreadId) -> Refusal {
    Refusal::bad_request(format!(
        "Thread {thread} belongs to no graph yet. Start a run on it, or set its metadata.graph_id."
    ))
}

/// The state that a thread is created with.
pub(crate) struct FirstState {
    thread: ThreadId,
    kept: Kept,
    head: Head,
}

impl FirstState {
    /// Computes the state that `supersteps` make of an empty thread. Nothing is stored yet.
    pub(crate) async fn compute(
        gateway: &Gateway,
        new: &NewThread,
        supersteps: Vec<Superstep>,
    ) -> Result<Self, Refusal> {
        let graph = new.metadata.get("graph_id").and_then(|id| id.as_str());
        let graph = graph.map(GraphId::from).ok_or_else(|| {
            Refusal::bad_request("supersteps need metadata.graph_id: it says what they are of")
        })?;
        let mut metadata = new.metadata.clone();
        metadata.insert("thread_id".to_owned(), new.id.to_string().into());
        let updates = |superstep: Superstep| {
            let updates = superstep.updates.into_iter();
            updates.map(NodeUpdate::from).collect()
        };
        let update = CoreUpdate {
            thread_id: new.id,
            ns: String::new(),
            checkpoint_id: None,
            supersteps: supersteps.into_iter().map(updates).collect(),
            metadata,
        };
        let (kept, head) = compute(gateway, &graph, update).await?;
        let thread = new.id;
        Ok(Self { thread, kept, head })
    }

    /// Stores it if the thread has no state yet.
    pub(crate) async fn store(self, gateway: &Gateway) -> Result<(), DatabaseError> {
        let guard = Guard::Idle {
            seen: None,
            head: self.head,
        };
        let Kept {
            checkpoints,
            writes,
            ..
        } = self.kept;
        let database = gateway.database();
        database
            .put_checkpoints(self.thread, guard, checkpoints, writes)
            .await
    }
}
