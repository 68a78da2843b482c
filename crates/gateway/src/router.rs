//! All routes, and what surrounds them: limits, CORS, panics, and what answers where nothing does.

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_LOCATION, LOCATION};
use runloom_api::error::ErrorCode;
use runloom_api::paths;
use tower::layer::layer_fn;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use tower_http::trace::TraceLayer;
use tracing::level_filters::LevelFilter;
use utoipa_axum::router::OpenApiRouter;

use crate::counted::{Counted, Routes};
use crate::error::Refusal;
use crate::panics::Caught;
use crate::traces::Traced;
use crate::{Gateway, assistants, items, openapi, runs, state, system, threads};

/// Everything that the gateway answers.
pub fn router(gateway: Gateway) -> Router {
    let (routes, document) = routes().split_for_parts();
    let pages = [paths::OPENAPI, paths::DOCS, paths::DOCS_FILE].map(str::to_owned);
    let paths = document.paths.paths.keys().cloned().chain(pages);
    let numbers = Routes::new(paths);
    let routes = routes
        .merge(openapi::pages(openapi::describe(document)))
        .fallback(async || Refusal::not_found("Not Found"))
        .method_not_allowed_fallback(async || {
            Refusal::new(ErrorCode::MethodNotAllowed, "Method Not Allowed")
        })
        .layer(DefaultBodyLimit::max(gateway.config.body_limit))
        .layer(layer_fn(Caught))
        .layer(layer_fn(Traced))
        .layer(layer_fn(move |inner| Counted {
            inner,
            routes: numbers.clone(),
        }))
        .layer(cors());
    traced(routes).with_state(gateway)
}

/// Requests in the log, where anybody wants to see that: it costs each frame of each stream a little.
fn traced(routes: Router<Gateway>) -> Router<Gateway> {
    if LevelFilter::current() < LevelFilter::DEBUG {
        return routes;
    }
    // Failures are logged where they are turned into an answer, with their cause.
    routes.layer(TraceLayer::new_for_http().on_failure(()))
}

/// The routes with the document that describes them.
pub(crate) fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .merge(assistants::router())
        .merge(threads::router())
        .merge(state::router())
        .merge(runs::router())
        .merge(items::router())
        .merge(system::router())
}

/// Any page may speak to the server: who is allowed to is a question of authentication.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::any())
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .allow_private_network(true)
        .max_age(Duration::from_mins(10))
        // Browsers hide all other headers from scripts; clients reconnect and page by these.
        .expose_headers([
            CONTENT_LOCATION,
            LOCATION,
            HeaderName::from_static("x-pagination-total"),
            HeaderName::from_static("x-pagination-next"),
        ])
}
