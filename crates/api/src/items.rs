//! Items of the long-term memory on the wire, where they are called the store.

use runloom_core::item as core;
use runloom_core::json::{Json, JsonMap};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::page::Limit;
use crate::schema;
use crate::time::Timestamp;

/// An entry of the long-term memory.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Item {
    /// Where it is: labels, from the outside in.
    pub namespace: Vec<String>,
    /// Its name there.
    pub key: String,
    /// An object.
    #[schema(value_type = Object)]
    pub value: Json,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When it was last put.
    pub updated_at: Timestamp,
}

impl From<core::Item> for Item {
    fn from(item: core::Item) -> Self {
        Self {
            namespace: item.namespace,
            key: item.key,
            value: item.value,
            created_at: item.created_at.into(),
            updated_at: item.updated_at.into(),
        }
    }
}

/// An item that was searched for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FoundItem {
    /// See [`Item`].
    #[serde(flatten)]
    pub item: Item,
    /// How well it fits; null without a semantic index.
    pub score: Option<f64>,
}

/// The items that were searched for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FoundItems {
    /// The items.
    pub items: Vec<FoundItem>,
}

/// An item to be put.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ItemPut {
    /// Labels that are neither empty nor contain dots.
    pub namespace: Vec<String>,
    /// Its name there.
    pub key: String,
    /// An object.
    #[schema(value_type = Object)]
    pub value: JsonMap,
    /// Checked, but not acted on: there is no semantic index.
    #[schema(value_type = Option<Object>)]
    pub index: Option<Index>,
    /// Checked, but not acted on: items do not expire.
    pub ttl: Option<f64>,
}

/// What of an item to index.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Index {
    /// Nothing, or what is usual.
    Whether(bool),
    /// These paths.
    Paths(Vec<String>),
}

/// An item to be deleted.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ItemDelete {
    /// Where it is.
    pub namespace: Option<Vec<String>>,
    /// Its name there.
    pub key: String,
}

/// Which items to list.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct ItemSearch {
    /// Only items below this namespace.
    pub namespace_prefix: Option<Vec<String>>,
    /// Conditions on the value's keys: equality, or `{"$gt": 1}` and the like.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<JsonMap>,
    /// At most so many; 10 if none.
    pub limit: Option<Limit>,
    /// After skipping so many.
    pub offset: Option<u32>,
    /// Not acted on: there is no semantic index.
    #[schema(schema_with = schema::any, required = false)]
    pub query: Option<Value>,
}

/// Which namespaces to list.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct NamespaceSearch {
    /// They begin with these labels; `*` stands for any one.
    pub prefix: Option<Vec<String>>,
    /// They end with these labels; `*` stands for any one.
    pub suffix: Option<Vec<String>>,
    /// Cut to so many labels.
    pub max_depth: Option<usize>,
    /// At most so many; 100 if none.
    pub limit: Option<Limit>,
    /// After skipping so many.
    pub offset: Option<u32>,
}

/// The namespaces that were asked for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Namespaces {
    /// The namespaces.
    pub namespaces: Vec<Vec<String>>,
}
