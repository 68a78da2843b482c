//! What is served: the graphs, and the threads that their nodes run on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use runloom_core::clock::Clock;
use runloom_core::executor::Executor;
use runloom_core::registry::Registry;
use runloom_graph::{CompiledGraph, GraphExecutor};
use tokio::runtime::Runtime;

use crate::cli::GraphArgs;
use crate::{demo, test_graphs};

/// Threads for the nodes of graphs. They are apart from those of the server, so that a node that
/// blocks its thread delays other nodes at worst, never a lease or an answer.
const THREADS: usize = 8;

/// Graphs by their names.
pub(crate) struct Graphs(Vec<(String, CompiledGraph)>);

/// Graphs that can be executed.
pub(crate) struct Served {
    pub(crate) names: Vec<String>,
    pub(crate) registry: Registry,
    nodes: Runtime,
}

impl Graphs {
    /// `own` graphs, and what the command line adds to them.
    pub(crate) fn new(
        mut own: Vec<(String, CompiledGraph)>,
        with_demo: bool,
        args: &GraphArgs,
    ) -> anyhow::Result<Self> {
        if with_demo {
            own.push(("agent".to_owned(), demo::agent(&args.model)?));
        }
        if args.test_graphs {
            own.extend(test_graphs::all()?);
        }
        Ok(Self(own))
    }

    /// Makes them ready. Code that ignores a stop is waited for `grace`.
    pub(crate) fn serve(self, clock: Arc<dyn Clock>, grace: Duration) -> anyhow::Result<Served> {
        let nodes = runtime()?;
        let names = self.0.iter().map(|(name, _)| name.clone()).collect();
        let executor = GraphExecutor::new(clock)
            .on(nodes.handle().clone())
            .grace(grace);
        let graphs = self.0.into_iter();
        let executor = graphs.fold(executor, |all, (name, graph)| all.with(name, graph));
        Ok(Served {
            names,
            registry: Registry::new([Arc::new(executor) as Arc<dyn Executor>]),
            nodes,
        })
    }
}

impl Served {
    /// Leaves behind what still runs.
    pub(crate) fn abandon(self) {
        self.nodes.shutdown_background();
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(THREADS)
        .thread_name("graph")
        .enable_all();
    builder
        .build()
        .context("cannot start the runtime of the graphs")
}
