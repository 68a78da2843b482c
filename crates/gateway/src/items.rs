//! Items of the long-term memory, which the wire calls the store.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use runloom_api::error::ErrorBody;
use runloom_api::items::{
    FoundItem, FoundItems, Item, ItemDelete, ItemPut, ItemSearch, NamespaceSearch, Namespaces,
};
use runloom_api::page::page;
use runloom_api::paths;
use runloom_core::item as core;
use runloom_core::json::{self, JsonMap};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Gateway;
use crate::error::Refusal;
use crate::extract::{Body, QueryParams};

const TAG: &str = "Store";

/// What a condition may compare with.
const OPERATORS: &[&str] = &["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"];

pub(crate) fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::default()
        .routes(routes!(put_item, get_item, delete_item))
        .routes(routes!(search_items))
        .routes(routes!(list_namespaces))
}

/// A refusal that this part of the API writes in a form of its own.
enum ItemRefusal {
    /// A namespace cannot be one: plain text.
    Namespace(String),
    /// The query names no key.
    NoKey,
    /// As everywhere.
    Other(Refusal),
}

impl<E: Into<Refusal>> From<E> for ItemRefusal {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl IntoResponse for ItemRefusal {
    fn into_response(self) -> Response {
        match self {
            Self::Namespace(text) => (StatusCode::UNPROCESSABLE_ENTITY, text).into_response(),
            Self::NoKey => {
                let body = Json(json!({"error": "Key is required"}));
                (StatusCode::BAD_REQUEST, body).into_response()
            }
            Self::Other(refusal) => refusal.into_response(),
        }
    }
}

fn check_labels(labels: &[String]) -> Result<(), ItemRefusal> {
    let wrong = labels
        .iter()
        .find(|label| label.is_empty() || label.contains('.'));
    match wrong {
        None => Ok(()),
        Some(label) if label.is_empty() => Err(ItemRefusal::Namespace(format!(
            "Namespace labels cannot be empty strings. Got an empty label in {labels:?}"
        ))),
        Some(label) => Err(ItemRefusal::Namespace(format!(
            "Namespace labels cannot contain periods. Got {label:?} in {labels:?}"
        ))),
    }
}

/// Put an item, replacing what is there.
#[utoipa::path(put, path = paths::ITEMS, tag = TAG, request_body = ItemPut,
    responses((status = 204), (status = 422, body = String, content_type = "text/plain",
        description = "A label of the namespace is empty or has a dot")))]
async fn put_item(
    State(gateway): State<Gateway>,
    Body(body): Body<ItemPut>,
) -> Result<StatusCode, ItemRefusal> {
    if body.namespace.is_empty() {
        let text = "A namespace needs at least one label";
        return Err(ItemRefusal::Namespace(text.to_owned()));
    }
    check_labels(&body.namespace)?;
    let value = json::Json::from_value(&Value::Object(body.value));
    let put = gateway
        .database()
        .put_item(&body.namespace, &body.key, value);
    put.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get an item, or null.
#[utoipa::path(get, path = paths::ITEMS, tag = TAG,
    params(("namespace" = Option<String>, Query, description = "Labels, joined by dots"),
        ("key" = String, Query, description = "Its name there")),
    responses((status = 200, body = Option<Item>), (status = 400, body = Object,
        description = "No key is given")))]
async fn get_item(
    State(gateway): State<Gateway>,
    query: QueryParams,
) -> Result<Json<Option<Item>>, ItemRefusal> {
    let key = query.get("key").filter(|key| !key.is_empty());
    let key = key.ok_or(ItemRefusal::NoKey)?;
    let namespace = query.get("namespace").filter(|text| !text.is_empty());
    let namespace: Vec<_> = namespace
        .map(|text| text.split('.').map(ToOwned::to_owned).collect())
        .unwrap_or_default();
    check_labels(&namespace)?;
    let item = gateway.database().item(&namespace, key).await?;
    Ok(Json(item.map(Item::from)))
}

/// Delete an item; it need not be there.
#[utoipa::path(delete, path = paths::ITEMS, tag = TAG, request_body = ItemDelete,
    responses((status = 204)))]
async fn delete_item(
    State(gateway): State<Gateway>,
    Body(body): Body<ItemDelete>,
) -> Result<StatusCode, ItemRefusal> {
    let namespace = body.namespace.unwrap_or_default();
    check_labels(&namespace)?;
    gateway
        .database()
        .delete_item(&namespace, &body.key)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List items, last changed first.
#[utoipa::path(post, path = paths::ITEMS_SEARCH, tag = TAG, request_body = ItemSearch,
    responses((status = 200, body = FoundItems), (status = 400, body = ErrorBody)))]
async fn search_items(
    State(gateway): State<Gateway>,
    Body(body): Body<ItemSearch>,
) -> Result<Json<FoundItems>, ItemRefusal> {
    let prefix = body.namespace_prefix.unwrap_or_default();
    check_labels(&prefix)?;
    let filter = body.filter.unwrap_or_default();
    check_operators(&filter)?;
    let page = page(body.limit, 10, body.offset);
    let search = core::ItemSearch {
        prefix,
        filter,
        limit: page.limit,
        offset: page.offset,
    };
    let found = gateway.database().search_items(&search).await?;
    let items = found.into_iter().map(|item| FoundItem {
        item: item.into(),
        score: None,
    });
    let items = items.collect();
    Ok(Json(FoundItems { items }))
}

/// An operator that does not exist would otherwise match nothing, in silence.
fn check_operators(filter: &JsonMap) -> Result<(), Refusal> {
    let conditions = filter.values().filter_map(Value::as_object);
    let mut operators = conditions.flat_map(JsonMap::keys);
    let unknown = operators.find(|key| key.starts_with('$') && !OPERATORS.contains(&key.as_str()));
    match unknown {
        None => Ok(()),
        Some(operator) => Err(Refusal::bad_request(format!(
            "Unsupported operator '{operator}'. Use one of {OPERATORS:?}"
        ))),
    }
}

/// List the namespaces that have items.
#[utoipa::path(post, path = paths::NAMESPACES, tag = TAG, request_body = NamespaceSearch,
    responses((status = 200, body = Namespaces)))]
async fn list_namespaces(
    State(gateway): State<Gateway>,
    Body(body): Body<NamespaceSearch>,
) -> Result<Json<Namespaces>, ItemRefusal> {
    let prefix = body.prefix.unwrap_or_default();
    let suffix = body.suffix.unwrap_or_default();
    check_labels(&prefix)?;
    check_labels(&suffix)?;
    let page = page(body.limit, 100, body.offset);
    let search = core::NamespaceSearch {
        prefix,
        suffix,
        max_depth: body.max_depth,
        limit: page.limit,
        offset: page.offset,
    };
    let namespaces = gateway.database().namespaces(&search).await?;
    Ok(Json(Namespaces { namespaces }))
}
