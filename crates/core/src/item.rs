//! Items: entries of the long-term memory, which the wire calls the store.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::json::{Json, JsonMap};

/// An entry of the long-term memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Where it is: labels without dots, from the outside in.
    pub namespace: Vec<String>,
    /// Its name in the namespace.
    pub key: String,
    /// A JSON object.
    pub value: Json,
    /// When it was first put.
    pub created_at: DateTime<Utc>,
    /// When it was last put.
    pub updated_at: DateTime<Utc>,
}

/// Which items to find; ordered by last change, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemSearch {
    /// Only items below this namespace.
    pub prefix: Vec<String>,
    /// Conditions on top-level keys of the value: equality, or `{"$eq"|"$ne"|"$gt"|…: x}`.
    pub filter: JsonMap,
    /// At most so many.
    pub limit: u32,
    /// After skipping so many.
    pub offset: u32,
}

/// Which namespaces to list, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespaceSearch {
    /// They begin with these labels; `*` stands for any one label.
    pub prefix: Vec<String>,
    /// They end with these labels; `*` stands for any one label.
    pub suffix: Vec<String>,
    /// Cut to so many labels, without doubles.
    pub max_depth: Option<usize>,
    /// At most so many.
    pub limit: u32,
    /// After skipping so many.
    pub offset: u32,
}
