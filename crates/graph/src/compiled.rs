//! A graph that was checked and can run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::channel::{Channel, UpdateError};
use crate::command::Goto;
use crate::error::NodeError;
use crate::node::{Input, Node};

/// A graph that can run: on its own, given to a [`GraphExecutor`](crate::GraphExecutor), or as a
/// node of another graph. Cloning shares it.
#[derive(Clone)]
pub struct CompiledGraph(Arc<Graph>);

impl CompiledGraph {
    pub(crate) fn new(graph: Graph) -> Self {
        Self(Arc::new(graph))
    }

    pub(crate) fn parts(&self) -> &Graph {
        &self.0
    }

    /// The names of its nodes, in the order in which they were added.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.0.order.iter().map(String::as_str)
    }

    /// The channel of its chat messages: `messages` if there are several.
    pub fn messages_channel(&self) -> Option<&str> {
        let mut all = self
            .0
            .channels
            .iter()
            .filter(|(_, channel)| channel.holds_messages());
        let first = all.next()?.0.as_str();
        let usual = "messages";
        let has_usual = first == usual || all.any(|(name, _)| name == usual);
        Some(if has_usual { usual } else { first })
    }
}

impl fmt::Debug for CompiledGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledGraph")
            .field("channels", &self.0.channels)
            .field("nodes", &self.0.order)
            .finish_non_exhaustive()
    }
}

/// The parts of a compiled graph.
pub(crate) struct Graph {
    pub(crate) description: Option<String>,
    pub(crate) channels: BTreeMap<String, Channel>,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) order: Vec<String>,
    pub(crate) edges: BTreeMap<String, Vec<String>>,
    pub(crate) joins: Vec<Join>,
    pub(crate) branches: BTreeMap<String, Vec<Branch>>,
    pub(crate) schemas: Schemas,
    /// The channels that an input may set; all if none.
    pub(crate) inputs: Option<Vec<String>>,
    /// The channels that clients see; all if none.
    pub(crate) outputs: Option<Vec<String>>,
}

impl Graph {
    /// The update of channel `name` in the form in which it is stored.
    pub(crate) fn normalised(&self, name: &str, update: Value) -> Result<Value, UpdateError> {
        match self.channels.get(name) {
            Some(channel) => channel.normalised(name, update),
            None => Err(UpdateError::UnknownChannel(name.to_owned())),
        }
    }

    pub(crate) fn takes_input(&self, channel: &str) -> bool {
        let named = |names: &Vec<String>| names.iter().any(|name| name == channel);
        self.inputs
            .as_ref()
            .map_or_else(|| self.channels.contains_key(channel), named)
    }

    pub(crate) fn shows(&self, channel: &str) -> bool {
        let named = |names: &Vec<String>| names.iter().any(|name| name == channel);
        self.outputs.as_ref().is_none_or(named)
    }
}

/// An edge that waits for several nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) from: BTreeSet<String>,
    pub(crate) to: String,
}

impl Join {
    /// Names the join in a checkpoint, whatever else the graph has.
    pub(crate) fn key(&self) -> String {
        let from: Vec<_> = self.from.iter().map(String::as_str).collect();
        format!("{}:{}", from.join("+"), self.to)
    }
}

pub(crate) type RouteFn = Arc<dyn Fn(&Input) -> Result<Vec<Goto>, NodeError> + Send + Sync>;

/// Conditional edges.
#[derive(Clone)]
pub(crate) struct Branch {
    pub(crate) route: RouteFn,
    pub(crate) targets: Vec<String>,
}

/// Schemas that were given as types.
#[derive(Default)]
pub(crate) struct Schemas {
    pub(crate) state: Option<Value>,
    pub(crate) input: Option<Value>,
    pub(crate) output: Option<Value>,
    pub(crate) config: Option<Value>,
    pub(crate) context: Option<Value>,
}
