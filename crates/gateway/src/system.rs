//! Whether the server is well, and what it can do.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use runloom_api::system::{Flags, Health, Host, Info, Readiness};
use runloom_core::database::ping;
use runloom_core::health;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Gateway;
use crate::error::Refusal;
use crate::extract::QueryParams;

const TAG: &str = "System";

pub(crate) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .routes(routes!(get_health))
        .routes(routes!(get_root))
        .routes(routes!(get_ready))
        .routes(routes!(get_info))
}

/// Say whether the server is well.
#[utoipa::path(get, path = paths::OK, tag = TAG,
    params(("check_db" = Option<bool>, Query, description = "Whether to ask the database, too")),
    responses((status = 200, body = Health), (status = 503, body = ErrorBody)))]
async fn get_health(
    State(gateway): State<Gateway>,
    query: QueryParams,
) -> Result<Json<Health>, Refusal> {
    health(&gateway, &query).await.map(Json)
}

/// The same at the root, where people look first.
#[utoipa::path(get, path = paths::ROOT, tag = TAG,
    params(("check_db" = Option<bool>, Query, description = "Whether to ask the database, too")),
    responses((status = 200, body = Health), (status = 503, body = ErrorBody)))]
async fn get_root(
    State(gateway): State<Gateway>,
    query: QueryParams,
) -> Result<Json<Health>, Refusal> {
    health(&gateway, &query).await.map(Json)
}

async fn health(gateway: &Gateway, query: &QueryParams) -> Result<Health, Refusal> {
    if query.flag("check_db") {
        ping(gateway.database()).await?;
    }
    Ok(Health {
        ok: true,
        services: gateway.health.services(),
    })
}

/// Say whether the server should get work now.
#[utoipa::path(get, path = paths::READY, tag = TAG,
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
async fn get_ready(State(gateway): State<Gateway>) -> (StatusCode, Json<Readiness>) {
    readiness(&gateway.health)
}

/// The answer to whether a process that is like this should get work now.
pub fn readiness(health: &health::Health) -> (StatusCode, Json<Readiness>) {
    let readiness = Readiness::of(health);
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness))
}

/// Say which version the server has, and what it can do.
#[utoipa::path(get, path = paths::INFO, tag = TAG, responses((status = 200, body = Info)))]
async fn get_info() -> Json<Info> {
    Json(Info {
        version: env!("CARGO_PKG_VERSION"),
        langgraph_py_version: None,
        flags: Flags {
            assistants: true,
            crons: false,
            langsmith: false,
            langsmith_tracing_replicas: false,
            langsmith_tracing_session_on_runs: false,
        },
        host: Host {
            kind: "self-hosted",
            project_id: None,
            host_revision_id: None,
            revision_id: None,
            tenant_id: None,
        },
    })
}
