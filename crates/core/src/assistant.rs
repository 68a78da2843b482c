//! An assistant: a graph with its configuration, versioned.

use chrono::{DateTime, Utc};

use crate::ids::{AssistantId, GraphId};
use crate::json::JsonMap;
use crate::thread::IfExists;

/// A graph with its configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Assistant {
    /// Its id.
    pub id: AssistantId,
    /// The graph it runs.
    pub graph_id: GraphId,
    /// `{tags?, recursion_limit?, configurable?}`.
    pub config: JsonMap,
    /// Static context of its runs.
    pub context: JsonMap,
    /// When it, or this version of it, was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// The user's metadata; `created_by: "system"` for those the server keeps itself.
    pub metadata: JsonMap,
    /// Which version this is, from 1.
    pub version: i64,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
}

/// An assistant to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAssistant {
    /// Its id.
    pub id: AssistantId,
    /// The graph it runs.
    pub graph_id: GraphId,
    /// See [`Assistant::config`].
    pub config: JsonMap,
    /// See [`Assistant::context`].
    pub context: JsonMap,
    /// The user's metadata.
    pub metadata: JsonMap,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// What to do if it exists already.
    pub if_exists: IfExists,
}

/// A change that makes a new version. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AssistantPatch {
    /// A new graph.
    pub graph_id: Option<GraphId>,
    /// A new configuration.
    pub config: Option<JsonMap>,
    /// A new context.
    pub context: Option<JsonMap>,
    /// Merged into the metadata, key by key.
    pub metadata: Option<JsonMap>,
    /// A new name.
    pub name: Option<String>,
    /// A new description.
    pub description: Option<String>,
}
