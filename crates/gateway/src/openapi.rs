//! The OpenAPI document, made from the routes themselves, and its page.

use axum::Router;
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{Content, Info, License, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::router::routes;

/// The document that describes every route.
pub fn document() -> OpenApi {
    describe(routes().into_openapi())
}

/// Completes what the routes say of themselves.
pub(crate) fn describe(mut document: OpenApi) -> OpenApi {
    document.info = Info::builder()
        .title("Runloom")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "An orchestrator for runs of AI agents that speaks the protocol of the LangGraph \
             Agent Server.",
        ))
        .license(Some(License::new("Apache-2.0")))
        .build();
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            refuse(operation);
        }
    }
    let components = document.components.get_or_insert_default();
    components
        .schemas
        .insert(ErrorBody::name().into_owned(), ErrorBody::schema());
    document
}

/// Any request may be refused for what it says, or because the server fails.
fn refuse(operation: &mut Operation) {
    let refusal = Content::builder().schema(Some(Ref::from_schema_name(ErrorBody::name())));
    let refusal = ResponseBuilder::new()
        .description("The request is refused")
        .content("application/json", refusal.build())
        .build();
    let responses = &mut operation.responses.responses;
    responses
        .entry("default".to_owned())
        .or_insert(RefOr::T(refusal));
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ]
    .into_iter()
    .flatten()
}

/// Serves the document and its page. All that the page needs is part of the server, so it works
/// where there is no way out to the internet.
pub(crate) fn page<S: Clone + Send + Sync + 'static>(document: OpenApi) -> Router<S> {
    SwaggerUi::new(paths::DOCS)
        .url(paths::OPENAPI, document)
        .config(Config::default().try_it_out_enabled(true))
        .into()
}
