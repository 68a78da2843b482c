//! Which executor runs which graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::executor::{Executor, GraphInfo};
use crate::ids::GraphId;

/// The graphs of all executors at hand.
#[derive(Clone, Default)]
pub struct Registry {
    graphs: BTreeMap<GraphId, (GraphInfo, Arc<dyn Executor>)>,
}

impl Registry {
    /// A registry of what `executors` can run. If two offer the same graph, the later one has it.
    pub fn new(executors: impl IntoIterator<Item = Arc<dyn Executor>>) -> Self {
        let mut graphs = BTreeMap::new();
        for executor in executors {
            for info in executor.graphs() {
                graphs.insert(info.id.clone(), (info, executor.clone()));
            }
        }
        Self { graphs }
    }

    /// The executor of `graph`.
    pub fn executor(&self, graph: &GraphId) -> Option<&Arc<dyn Executor>> {
        self.graphs.get(graph).map(|(_, executor)| executor)
    }

    /// What is known of `graph`.
    pub fn info(&self, graph: &GraphId) -> Option<&GraphInfo> {
        self.graphs.get(graph).map(|(info, _)| info)
    }

    /// All graphs, in the order of their names.
    pub fn infos(&self) -> impl Iterator<Item = &GraphInfo> {
        self.graphs.values().map(|(info, _)| info)
    }
}
