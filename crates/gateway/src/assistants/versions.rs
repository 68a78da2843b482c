//! The versions of an assistant.

use axum::Json;
use axum::extract::State;
use runloom_api::assistants::{Assistant, VersionChoice, VersionSearch};
use runloom_api::error::ErrorBody;
use runloom_api::page::page;
use runloom_api::paths;
use runloom_core::database::DatabaseError;
use runloom_core::search::VersionFilter;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::TAG;
use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{AssistantPath, Body};

pub(super) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .routes(routes!(list_assistant_versions))
        .routes(routes!(set_assistant_version))
}

/// List the versions of an assistant, newest first.
#[utoipa::path(post, path = paths::ASSISTANT_VERSIONS, tag = TAG, request_body = VersionSearch,
    params(("assistant_id" = String, Path, description = "Its id, or the name of a graph")),
    responses((status = 200, body = Vec<Assistant>), (status = 404, body = ErrorBody)))]
async fn list_assistant_versions(
    State(gateway): State<Gateway>,
    AssistantPath(id): AssistantPath,
    Body(body): Body<VersionSearch>,
) -> Result<Json<Vec<Assistant>>, Refusal> {
    gateway.assistant(id).await?;
    let filter = VersionFilter {
        id,
        metadata: body.metadata.unwrap_or_default(),
    };
    let page = page(body.limit, 10, body.offset);
    let versions = gateway.database().assistant_versions(&filter, page).await?;
    Ok(Json(versions.into_iter().map(Assistant::from).collect()))
}

/// Make a version of an assistant its current one.
#[utoipa::path(post, path = paths::ASSISTANT_LATEST, tag = TAG, request_body = VersionChoice,
    params(("assistant_id" = String, Path, description = "Its id, or the name of a graph")),
    responses((status = 200, body = Assistant), (status = 404, body = ErrorBody)))]
async fn set_assistant_version(
    State(gateway): State<Gateway>,
    AssistantPath(id): AssistantPath,
    Body(VersionChoice { version }): Body<VersionChoice>,
) -> Result<Json<Assistant>, Refusal> {
    let chosen = gateway.database().set_assistant_version(id, version).await;
    let assistant = chosen.map_err(|error| match error {
        DatabaseError::NotFound(_) => Refusal::not_found(format!(
            "Version {version} of assistant with ID {id} not found"
        )),
        other => other.into(),
    })?;
    Ok(Json(assistant.into()))
}
