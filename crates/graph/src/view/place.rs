//! Which graph a namespace belongs to, and how its checkpoints are named.

use std::sync::Arc;

use runloom_core::executor::ExecutorError;
use runloom_core::ids::ThreadId;
use runloom_core::json::JsonMap;

use crate::compiled::CompiledGraph;
use crate::state::{Snapshot, Stamp};

/// The graph whose checkpoints are in namespace `ns`.
pub(super) fn graph_at<'a>(
    root: &'a CompiledGraph,
    ns: &str,
) -> Result<&'a CompiledGraph, ExecutorError> {
    let mut graph = root;
    for part in ns.split('|').filter(|part| !part.is_empty()) {
        let node = part.split(':').next().unwrap_or(part);
        let inner = graph
            .parts()
            .nodes
            .get(node)
            .and_then(|node| node.as_subgraph());
        graph = match inner {
            Some(subgraph) => &subgraph.graph,
            None => return Err(ExecutorError::Invalid(format!("no subgraph at {ns:?}"))),
        };
    }
    Ok(graph)
}

/// How checkpoints near `at` are marked: same thread and namespace, same graphs above.
pub(super) fn stamp(thread_id: ThreadId, ns: &str, at: Option<&Snapshot>, own: JsonMap) -> Stamp {
    let parents = at.and_then(|at| at.metadata.get("parents").cloned());
    let parents = parents.and_then(|parents| serde_json::from_value(parents).ok());
    Stamp {
        thread_id,
        run_id: None,
        ns: ns.to_owned(),
        parents: parents.unwrap_or_default(),
        metadata: Arc::new(own),
    }
}
