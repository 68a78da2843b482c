//! The OpenAPI document, made from the routes themselves, and its page.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use runloom_api::error::ErrorBody;
use runloom_api::paths;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{Content, Info, License, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};
use utoipa_swagger_ui::{Config, serve};

use crate::error::Refusal;
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
            explain(operation);
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

/// Says what each response means where its route does not: a description is required.
fn explain(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            meaning(status).clone_into(&mut response.description);
        }
    }
}

fn meaning(status: &str) -> &'static str {
    match status {
        "204" => "It is done; there is no body",
        "202" => "It is accepted and will be done",
        "400" => "It is understood but cannot be done",
        "404" => "What is named is not there",
        "409" => "What is there forbids it",
        "422" => "It does not have the form it must have",
        "503" => "Something the server needs is out of reach; try again",
        _ => "It is done",
    }
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
pub(crate) fn pages<S: Clone + Send + Sync + 'static>(document: OpenApi) -> Router<S> {
    let config = Config::from(paths::OPENAPI).try_it_out_enabled(true);
    let config = Arc::new(config);
    let document = Arc::new(document);
    Router::new()
        .route(paths::OPENAPI, get(async move || Json(document)))
        .route(paths::DOCS, get(async || Html(include_str!("docs.html"))))
        .route(
            paths::DOCS_FILE,
            get(async move |Path(file): Path<String>| part(&file, config)),
        )
}

/// A part of the page.
fn part(file: &str, config: Arc<Config<'static>>) -> Result<Response, Refusal> {
    let found = serve(file, config).map_err(|error| Refusal::internal(&error))?;
    let file = found.ok_or_else(|| Refusal::not_found("Not Found"))?;
    Ok(([(CONTENT_TYPE, file.content_type)], file.bytes.into_owned()).into_response())
}
