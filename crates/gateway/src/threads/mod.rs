//! Threads: conversations.

mod removal;
mod search;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use runloom_api::threads::{Thread, ThreadCreate, ThreadPatch};
use runloom_api::ttl::Ttl;
use runloom_core::database::{self, DatabaseError};
use runloom_core::ids::ThreadId;
use runloom_core::thread::{self as core, IfExists, NewThread};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{Body, QueryParams, ThreadPath, id};
use crate::state::FirstState;

const TAG: &str = "Threads";

pub(crate) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .routes(routes!(create_thread))
        .routes(routes!(get_thread, patch_thread, removal::delete_thread))
        .routes(routes!(copy_thread))
        .merge(removal::router())
        .merge(search::router())
}

/// Create a thread.
#[utoipa::path(post, path = paths::THREADS, tag = TAG, request_body = ThreadCreate,
    responses((status = 200, body = Thread), (status = 409, body = ErrorBody)))]
async fn create_thread(
    State(gateway): State<Gateway>,
    Body(body): Body<ThreadCreate>,
) -> Result<Json<Thread>, Refusal> {
    let id = body.thread_id.map(|text| id(&text, "thread")).transpose()?;
    let id = id.unwrap_or_else(ThreadId::new);
    let new = NewThread {
        id,
        // Kept as it is, reserved keys and all: people find threads by the `assistant_id` that they
        // put here before the first run does.
        metadata: body.metadata.unwrap_or_default(),
        if_exists: body.if_exists.unwrap_or_default(),
        ttl: meant(body.ttl)?.or(gateway.config.thread_ttl),
    };
    let supersteps = body.supersteps.filter(|supersteps| !supersteps.is_empty());
    let Some(supersteps) = supersteps else {
        return Ok(Json(create(&gateway, new).await?.into()));
    };
    // Computed first, so that nothing is written if the graph refuses it.
    let first = FirstState::compute(&gateway, &new, supersteps).await?;
    let thread = create(&gateway, new.clone()).await?;
    match first.store(&gateway).await {
        Ok(()) => Ok(Json(gateway.thread(id).await?.into())),
        // The thread was there before and has a state: it is left alone, as was asked for.
        Err(DatabaseError::Changed | DatabaseError::Busy)
            if new.if_exists == IfExists::DoNothing =>
        {
            Ok(Json(thread.into()))
        }
        Err(error) => Err(error.into()),
    }
}

async fn create(gateway: &Gateway, new: NewThread) -> Result<core::Thread, Refusal> {
    let id = new.id;
    let created = gateway.database().create_thread(new).await;
    created.map_err(|error| match error {
        DatabaseError::Exists(_) => {
            Refusal::conflict(format!("Thread with ID {id} already exists"))
        }
        other => other.into(),
    })
}

/// What a time to live means.
fn meant(ttl: Option<Ttl>) -> Result<Option<core::Ttl>, Refusal> {
    let Some(ttl) = ttl else {
        return Ok(None);
    };
    let meant = ttl.meant().ok_or_else(|| {
        let most = core::Ttl::MOST_MINUTES;
        Refusal::invalid(format!(
            "'ttl' must be a positive number of minutes, at most {most}"
        ))
    })?;
    Ok(Some(meant))
}

/// Get a thread.
#[utoipa::path(get, path = paths::THREAD, tag = TAG,
    params(("thread_id" = uuid::Uuid, Path, description = "Its id"),
        ("include" = Option<String>, Query, description = "`ttl` for when it expires")),
    responses((status = 200, body = Thread), (status = 404, body = ErrorBody)))]
async fn get_thread(
    State(gateway): State<Gateway>,
    ThreadPath(id): ThreadPath,
    query: QueryParams,
) -> Result<Json<Thread>, Refusal> {
    let thread = gateway.thread(id).await?;
    let mut included = query.all("include").flat_map(|names| names.split(','));
    Ok(Json(if included.any(|name| name.trim() == "ttl") {
        Thread::with_ttl(thread)
    } else {
        thread.into()
    }))
}

/// Change a thread's metadata, or how long it is kept.
#[utoipa::path(patch, path = paths::THREAD, tag = TAG, request_body = ThreadPatch,
    params(("thread_id" = uuid::Uuid, Path, description = "Its id"),
        ("prefer" = Option<String>, Header, description = "`return=minimal` for no body")),
    responses((status = 200, body = Thread), (status = 204), (status = 404, body = ErrorBody)))]
async fn patch_thread(
    State(gateway): State<Gateway>,
    ThreadPath(id): ThreadPath,
    headers: HeaderMap,
    Body(body): Body<ThreadPatch>,
) -> Result<Response, Refusal> {
    let patch = database::ThreadPatch {
        metadata: body.metadata.unwrap_or_default(),
        ttl: body.ttl.map(meant).transpose()?,
    };
    let thread = gateway.patch_thread(id, patch).await?;
    let preferences = headers.get_all("prefer").iter();
    let minimal = preferences
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim().eq_ignore_ascii_case("return=minimal"));
    Ok(if minimal {
        StatusCode::NO_CONTENT.into_response()
    } else {
        Json(Thread::from(thread)).into_response()
    })
}

/// Copy a thread with its state and history, without its runs.
#[utoipa::path(post, path = paths::THREAD_COPY, tag = TAG,
    params(("thread_id" = uuid::Uuid, Path, description = "Its id")),
    responses((status = 200, body = Thread), (status = 409, body = ErrorBody)))]
async fn copy_thread(
    State(gateway): State<Gateway>,
    ThreadPath(id): ThreadPath,
) -> Result<Json<Thread>, Refusal> {
    let copied = gateway.database().copy_thread(id, ThreadId::new()).await;
    let copy = copied.map_err(|error| match error {
        // Not 404: that is what the published server answers here.
        DatabaseError::NotFound(_) => Refusal::conflict(format!("Thread with ID {id} not found")),
        other => other.into(),
    })?;
    Ok(Json(copy.into()))
}

impl Gateway {
    /// The thread, or the refusal that there is none.
    pub(crate) async fn thread(&self, id: ThreadId) -> Result<core::Thread, Refusal> {
        let thread = self.database().thread(id).await?;
        thread.ok_or_else(|| Refusal::no_thread(id))
    }

    /// Changes a thread's own fields.
    pub(crate) async fn patch_thread(
        &self,
        id: ThreadId,
        patch: database::ThreadPatch,
    ) -> Result<core::Thread, Refusal> {
        let patched = self.database().patch_thread(id, patch).await;
        patched.map_err(|error| match error {
            DatabaseError::NotFound(_) => Refusal::no_thread(id),
            other => other.into(),
        })
    }
}
