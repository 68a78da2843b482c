//! The messages of `docs/executor.md`, as types.
//!
//! Values of users stay bytes. Fields that this version does not know are ignored.

mod data;
mod questions;
mod run;
mod store;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use data::*;
pub use questions::*;
pub use run::*;
pub use store::*;

/// The version of the protocol that this side speaks.
pub const PROTOCOL: u32 = 1;

/// One JSON document in UTF-8.
pub type JsonBytes = Bytes;

/// What one side sends is not what the other expects.
#[derive(Debug, thiserror::Error)]
#[error("not the expected message: {0}")]
pub struct Malformed(String);

/// Encodes the body of a message.
pub fn encode<T: Serialize + ?Sized>(body: &T) -> Result<Bytes, Malformed> {
    rmp_serde::to_vec_named(body)
        .map(Bytes::from)
        .map_err(|error| Malformed(error.to_string()))
}

/// Decodes the body of a message.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    rmp_serde::from_slice(body).map_err(|error| Malformed(error.to_string()))
}

/// An error as it travels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct RemoteError {
    /// A word of the protocol, or the name of the user's exception.
    #[serde(rename = "type")]
    pub kind: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// Where it happened, in the words of the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
}

impl RemoteError {
    /// The attempt no longer holds its thread, or is over.
    pub const FENCED: &'static str = "Fenced";
    /// Storage is out of reach, or nothing can answer now.
    pub const UNAVAILABLE: &'static str = "Unavailable";
    /// The request does not fit.
    pub const INVALID: &'static str = "Invalid";
    /// No such graph.
    pub const UNKNOWN_GRAPH: &'static str = "UnknownGraph";
    /// No such method.
    pub const UNSUPPORTED: &'static str = "Unsupported";
    /// Something failed that should not.
    pub const FAILED: &'static str = "Failed";

    /// An error without a traceback.
    pub fn new(kind: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            message: message.into(),
            traceback: None,
        }
    }
}

/// The first request: which graphs to load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The graphs by id.
    pub graphs: BTreeMap<String, GraphSource>,
    /// The folder of `langgraph.json`.
    pub root: String,
    /// Folders for the module search path.
    pub dependencies: Vec<String>,
    /// How the executor should behave.
    pub settings: Settings,
}

/// Where a graph is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphSource {
    /// `file.py:name` or `package.module:name`.
    pub path: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// How an executor should behave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How many threads nodes that are not asynchronous may take together.
    pub max_threads: u32,
    /// Whether graphs get a store.
    pub store: bool,
    /// After how many seconds without a word from the worker the process ends itself; never if none.
    pub silence_s: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_threads: 64,
            store: true,
            silence_s: None,
        }
    }
}

/// What a process has after its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// `python`.
    pub language: String,
    /// Its process id.
    #[serde(default)]
    pub pid: u32,
    /// The versions of what it is made of.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// What the installed packages know: `drain`, `context`, `durability`, …
    #[serde(default)]
    pub features: Vec<String>,
    /// All graphs that were asked for, also those that could not be loaded.
    #[serde(default)]
    pub graphs: Vec<LoadedGraph>,
}

impl Manifest {
    /// The graph of this name; `None` if it was not asked for.
    pub fn graph(&self, id: &str) -> Option<&LoadedGraph> {
        self.graphs.iter().find(|graph| graph.id == id)
    }
}

/// A graph as the process has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadedGraph {
    /// Its name.
    pub id: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Why it cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RemoteError>,
    /// The channel whose reducer merges chat messages by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_channel: Option<String>,
    /// Nodes that are a compiled graph which shares that channel.
    #[serde(default)]
    pub shared_subgraph_nodes: Vec<String>,
    /// Whether a function makes the graph anew for each run.
    #[serde(default)]
    pub factory: bool,
}

impl LoadedGraph {
    /// Why it cannot be used, in a sentence; `None` if it can.
    pub fn problem(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        Some(format!(
            "the graph {} could not be loaded: {error}",
            self.id
        ))
    }
}

/// The answer to `ping`: how a process is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// How late the loop that executes graphs is, in milliseconds.
    pub lag_ms: f64,
    /// Runs under way.
    pub runs: u32,
    /// Threads that execute nodes.
    pub busy_threads: u32,
    /// Threads that still work for runs that are over.
    pub leaked_threads: u32,
    /// How long the first of them has done so, in seconds.
    pub oldest_leak_s: f64,
    /// Memory in use, in bytes.
    pub rss_bytes: u64,
}

#[cfg(test)]
mod tests;
