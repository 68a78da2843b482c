//! Finding threads.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use runloom_api::extract::Extract;
use runloom_api::page::{page, select};
use runloom_api::paths;
use runloom_api::threads::{Thread, ThreadCount, ThreadSearch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::TAG;
use crate::Gateway;
use crate::error::Refusal;
use crate::extract::Body;
use crate::page::{Extent, and_one_more, cut, headers};

pub(super) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .routes(routes!(search_threads))
        .routes(routes!(count_threads))
}

/// List threads.
#[utoipa::path(post, path = paths::THREADS_SEARCH, tag = TAG, request_body = ThreadSearch,
    responses((status = 200, body = Vec<Thread>)))]
async fn search_threads(
    State(gateway): State<Gateway>,
    Body(body): Body<ThreadSearch>,
) -> Result<Response, Refusal> {
    let page = page(body.limit, 10, body.offset);
    let filter = body.filter();
    let database = gateway.database();
    let listed = database.search_threads(&filter, body.sort(), and_one_more(page));
    let mut found = listed.await?;
    let headers: HeaderMap = match cut(&mut found, page) {
        Extent::Ends(total) => headers(None, total),
        Extent::Goes { next } => headers(next, database.count_threads(&filter).await?),
    };
    let found = found.into_iter().map(Thread::from);
    let found = found.map(|thread| picked(thread, body.extract.as_ref()));
    let found: Vec<_> = found.collect::<Result<_, _>>()?;
    let Some(fields) = body.select else {
        return Ok((headers, Json(found)).into_response());
    };
    let mut fields: Vec<&str> = fields.into_iter().map(Into::into).collect();
    fields.push("extracted");
    let found = found.iter().map(|thread| select(thread, &fields));
    let found = found.collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| Refusal::internal(&error))?;
    Ok((headers, Json(found)).into_response())
}

/// The thread with what is to be picked out of it.
fn picked(mut thread: Thread, extract: Option<&Extract>) -> Result<Thread, Refusal> {
    if let Some(extract) = extract {
        let value = serde_json::to_value(&thread).map_err(|error| Refusal::internal(&error))?;
        thread.extracted = Some(extract.of(&value));
    }
    Ok(thread)
}

/// Count threads.
#[utoipa::path(post, path = paths::THREADS_COUNT, tag = TAG, request_body = ThreadCount,
    responses((status = 200, body = u64)))]
async fn count_threads(
    State(gateway): State<Gateway>,
    Body(body): Body<ThreadCount>,
) -> Result<Json<u64>, Refusal> {
    let count = gateway.database().count_threads(&body.filter()).await?;
    Ok(Json(count))
}
