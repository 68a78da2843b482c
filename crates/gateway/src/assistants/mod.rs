//! Assistants: graphs with their configuration, versioned.

mod graphs;
mod removal;
mod system;
mod versions;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use runloom_api::assistants::{
    Assistant, AssistantCount, AssistantCreate, AssistantPatch, AssistantSearch,
};
use runloom_api::config::{Config, Context, strip_metadata};
use runloom_api::error::ErrorBody;
use runloom_api::page::{page, select};
use runloom_api::paths;
use runloom_core::assistant::{self as core, NewAssistant};
use runloom_core::database::DatabaseError;
use runloom_core::ids::{AssistantId, GraphId};
use runloom_core::json::JsonMap;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{AssistantPath, Body, id};
use crate::page::{Extent, and_one_more, cut, headers};

pub use system::ensure_assistants;

const TAG: &str = "Assistants";

pub(crate) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .routes(routes!(create_assistant))
        .routes(routes!(search_assistants))
        .routes(routes!(count_assistants))
        .routes(routes!(
            get_assistant,
            patch_assistant,
            removal::delete_assistant
        ))
        .merge(versions::router())
        .merge(graphs::router())
}

/// Create an assistant.
#[utoipa::path(post, path = paths::ASSISTANTS, tag = TAG, request_body = AssistantCreate,
    responses((status = 200, body = Assistant), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
async fn create_assistant(
    State(gateway): State<Gateway>,
    Body(body): Body<AssistantCreate>,
) -> Result<Json<Assistant>, Refusal> {
    let graph_id = known_graph(&gateway, body.graph_id)?;
    let (config, context) = mirrored(body.config, body.context)?;
    let id = body.assistant_id.map(|text| id(&text, "assistant"));
    let id = id.transpose()?.unwrap_or_else(AssistantId::new);
    let new = NewAssistant {
        id,
        graph_id,
        config: config.unwrap_or_default(),
        context: context.unwrap_or_default(),
        metadata: stripped(body.metadata).unwrap_or_default(),
        name: body.name.unwrap_or_else(|| "Untitled".to_owned()),
        description: body.description,
        if_exists: body.if_exists.unwrap_or_default(),
    };
    let created = gateway.database().create_assistant(new).await;
    let assistant = created.map_err(|error| match error {
        DatabaseError::Exists(_) => {
            Refusal::conflict(format!("Assistant with ID {id} already exists"))
        }
        other => other.into(),
    })?;
    Ok(Json(assistant.into()))
}

/// List assistants.
#[utoipa::path(post, path = paths::ASSISTANTS_SEARCH, tag = TAG, request_body = AssistantSearch,
    responses((status = 200, body = Vec<Assistant>)))]
async fn search_assistants(
    State(gateway): State<Gateway>,
    Body(body): Body<AssistantSearch>,
) -> Result<Response, Refusal> {
    let page = page(body.limit, 10, body.offset);
    let filter = body.filter();
    let database = gateway.database();
    let listed = database.search_assistants(&filter, body.sort(), and_one_more(page));
    let mut found = listed.await?;
    let headers: HeaderMap = match cut(&mut found, page) {
        Extent::Ends(total) => headers(None, total),
        Extent::Goes { next } => headers(next, database.count_assistants(&filter).await?),
    };
    let found = found.into_iter().map(Assistant::from);
    Ok(match body.select {
        None => (headers, Json(found.collect::<Vec<_>>())).into_response(),
        Some(fields) => {
            let fields: Vec<&str> = fields.into_iter().map(Into::into).collect();
            let found = found.map(|assistant| select(&assistant, &fields));
            let found = found.collect::<Result<Vec<_>, _>>();
            let found = found.map_err(|error| Refusal::internal(&error))?;
            (headers, Json(found)).into_response()
        }
    })
}

/// Count assistants.
#[utoipa::path(post, path = paths::ASSISTANTS_COUNT, tag = TAG, request_body = AssistantCount,
    responses((status = 200, body = u64)))]
async fn count_assistants(
    State(gateway): State<Gateway>,
    Body(body): Body<AssistantCount>,
) -> Result<Json<u64>, Refusal> {
    let count = gateway.database().count_assistants(&body.filter()).await?;
    Ok(Json(count))
}

/// Get an assistant.
#[utoipa::path(get, path = paths::ASSISTANT, tag = TAG,
    params(("assistant_id" = String, Path, description = "Its id, or the name of a graph")),
    responses((status = 200, body = Assistant), (status = 404, body = ErrorBody)))]
async fn get_assistant(
    State(gateway): State<Gateway>,
    AssistantPath(id): AssistantPath,
) -> Result<Json<Assistant>, Refusal> {
    Ok(Json(gateway.assistant(id).await?.into()))
}

/// Change an assistant, which makes a new version of it.
#[utoipa::path(patch, path = paths::ASSISTANT, tag = TAG, request_body = AssistantPatch,
    params(("assistant_id" = String, Path, description = "Its id, or the name of a graph")),
    responses((status = 200, body = Assistant), (status = 404, body = ErrorBody)))]
async fn patch_assistant(
    State(gateway): State<Gateway>,
    AssistantPath(id): AssistantPath,
    Body(body): Body<AssistantPatch>,
) -> Result<Json<Assistant>, Refusal> {
    let graph_id = body.graph_id.map(|graph| known_graph(&gateway, graph));
    let context_alone = body.config.is_none();
    let (config, context) = mirrored(body.config, body.context)?;
    let current = gateway.assistant(id).await?;
    let config = config.map(|config| {
        if context_alone {
            // The rest of the configuration stays as it is.
            current.config.into_iter().chain(config).collect()
        } else {
            config
        }
    });
    let patch = core::AssistantPatch {
        graph_id: graph_id.transpose()?,
        config,
        context,
        metadata: stripped(body.metadata),
        name: body.name,
        description: body.description,
    };
    let patched = gateway.database().patch_assistant(id, patch).await;
    Ok(Json(patched.map_err(missing(id))?.into()))
}

impl Gateway {
    /// The assistant at its current version, or the refusal that there is none.
    pub(crate) async fn assistant(&self, id: AssistantId) -> Result<core::Assistant, Refusal> {
        let assistant = self.database().assistant(id).await?;
        assistant.ok_or_else(|| Refusal::no_assistant(id))
    }
}

/// Names the assistant that was not found.
fn missing(id: AssistantId) -> impl Fn(DatabaseError) -> Refusal {
    move |error| match error {
        DatabaseError::NotFound(_) => Refusal::no_assistant(id),
        other => other.into(),
    }
}

fn known_graph(gateway: &Gateway, name: String) -> Result<GraphId, Refusal> {
    let graph = GraphId(name);
    match gateway.registry().info(&graph) {
        Some(_) => Ok(graph),
        None => Err(Refusal::no_graph(&graph, gateway.registry())),
    }
}

/// Configuration and context; where only one says anything, the other mirrors it.
fn mirrored(
    config: Option<Config>,
    context: Option<Context>,
) -> Result<(Option<JsonMap>, Option<JsonMap>), Refusal> {
    let mut config = config.map(Config::into_map);
    let mut context = context.map(Context::into_map);
    let configurable = config
        .as_ref()
        .and_then(|config| config.get("configurable")?.as_object())
        .filter(|configurable| !configurable.is_empty());
    match (configurable, &context) {
        (Some(_), Some(context)) if !context.is_empty() => {
            return Err(Refusal::bad_request(
                "Cannot specify both config.configurable and context. Use only context.",
            ));
        }
        (Some(configurable), _) => context = Some(configurable.clone()),
        (None, Some(context)) => {
            let mirror = Value::Object(context.clone());
            let config = config.get_or_insert_default();
            config.insert("configurable".to_owned(), mirror);
        }
        (None, None) => {}
    }
    Ok((config, context))
}

fn stripped(metadata: Option<JsonMap>) -> Option<JsonMap> {
    let mut metadata = metadata?;
    strip_metadata(&mut metadata);
    Some(metadata)
}
