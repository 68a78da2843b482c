//! Which executor runs which graph.

use std::sync::Arc;

use crate::executor::{Executor, GraphInfo};
use crate::ids::GraphId;

/// The graphs of all executors at hand. Executors are asked anew each time, as their graphs may change.
#[derive(Clone, Default)]
pub struct Registry {
    /// Those that came later first: they win.
    executors: Vec<Arc<dyn Executor>>,
}

impl Registry {
    /// A registry of what `executors` can run. If two offer the same graph, the later one has it.
    pub fn new(executors: impl IntoIterator<Item = Arc<dyn Executor>>) -> Self {
        let mut executors: Vec<_> = executors.into_iter().collect();
        executors.reverse();
        Self { executors }
    }

    /// The executor of `graph`.
    pub fn executor(&self, graph: &GraphId) -> Option<&Arc<dyn Executor>> {
        self.find(graph).map(|(_, executor)| executor)
    }

    /// What is known of `graph`.
    pub fn info(&self, graph: &GraphId) -> Option<GraphInfo> {
        self.find(graph).map(|(info, _)| info)
    }

    /// All graphs, in the order of their names.
    pub fn infos(&self) -> Vec<GraphInfo> {
        let graphs = self.executors.iter().flat_map(|executor| executor.graphs());
        let mut graphs: Vec<_> = graphs.collect();
        // Stable: of two with the same name, the one that wins stays first.
        graphs.sort_by(|one, other| one.id.cmp(&other.id));
        graphs.dedup_by(|later, kept| later.id == kept.id);
        graphs
    }

    fn find(&self, graph: &GraphId) -> Option<(GraphInfo, &Arc<dyn Executor>)> {
        let mut executors = self.executors.iter();
        executors.find_map(|executor| Some((executor.info(graph)?, executor)))
    }
}
