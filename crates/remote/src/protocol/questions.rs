//! The messages of questions about graphs and their states.

use serde::{Deserialize, Serialize};

use super::JsonBytes;

/// The body of `state`; answered with a state as JSON, or nil.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateQuestion {
    /// The graph.
    pub graph_id: String,
    /// The thread.
    pub thread_id: String,
    /// The namespace, empty for the root graph.
    pub ns: String,
    /// Which checkpoint; the latest if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_id: Option<String>,
    /// Whether tasks carry the states of their subgraphs.
    pub subgraphs: bool,
    /// Configuration for graphs that are made by a function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<JsonBytes>,
}

/// The body of `history`; answered with a list of states as JSON, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryQuestion {
    /// The graph.
    pub graph_id: String,
    /// The thread.
    pub thread_id: String,
    /// The namespace, empty for the root graph.
    pub ns: String,
    /// Only this checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_id: Option<String>,
    /// Only checkpoints older than this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Only checkpoints whose metadata contains this object.
    pub metadata: JsonBytes,
    /// The most states.
    pub limit: u32,
}

/// The body of `update_state`; answered with a [`HeadBody`](super::HeadBody).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateQuestion {
    /// The graph.
    pub graph_id: String,
    /// The thread.
    pub thread_id: String,
    /// The namespace, empty for the root graph.
    pub ns: String,
    /// The checkpoint to start from; the latest if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_id: Option<String>,
    /// Goes into the metadata of the checkpoints.
    pub metadata: JsonBytes,
    /// The changes, by superstep.
    pub supersteps: Vec<Vec<UpdateBody>>,
}

/// One change of a state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateBody {
    /// What to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<JsonBytes>,
    /// What to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<JsonBytes>,
    /// As if this node had written it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_node: Option<String>,
}

/// The body of `drawing`; answered with `{nodes, edges}` as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawingQuestion {
    /// The graph.
    pub graph_id: String,
    /// How many levels of subgraphs are unfolded.
    pub xray: u32,
}

/// The body of `schemas`; answered with the schemas as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemasQuestion {
    /// The graph.
    pub graph_id: String,
}

/// The body of `subgraphs`; answered with a list of [`SubgraphSchemas`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubgraphsQuestion {
    /// The graph.
    pub graph_id: String,
    /// Whether subgraphs of subgraphs are listed, too.
    pub recurse: bool,
}

/// `[namespace, schemas]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubgraphSchemas(
    /// The namespace.
    pub String,
    /// The schemas.
    pub JsonBytes,
);
