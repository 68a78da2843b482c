//! All routes, and what surrounds them: limits, CORS, panics, and what answers where nothing does.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_LOCATION, LOCATION};
use axum::response::{IntoResponse, Response};
use runloom_api::error::ErrorCode;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use tower_http::trace::TraceLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::error::Refusal;
use crate::{Gateway, assistants, items, openapi, runs, state, system, threads};

/// Everything that the gateway answers.
pub fn router(gateway: Gateway) -> Router {
    let (routes, document) = routes().split_for_parts();
    routes
        .merge(openapi::pages(openapi::describe(document)))
        .fallback(async || Refusal::not_found("Not Found"))
        .method_not_allowed_fallback(async || {
            Refusal::new(ErrorCode::MethodNotAllowed, "Method Not Allowed")
        })
        .layer(DefaultBodyLimit::max(gateway.config.body_limit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(cors())
        // Failures are logged where they are turned into an answer, with their cause.
        .layer(TraceLayer::new_for_http().on_failure(()))
        .with_state(gateway)
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

#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands the panic over"
)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "no message".to_owned());
    Refusal::internal(&format_args!("a handler panicked: {text}")).into_response()
}
