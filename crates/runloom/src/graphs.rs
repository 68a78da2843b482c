//! What is served: the graphs, and the threads and processes that they run on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use runloom_core::clock::Clock;
use runloom_core::executor::Executor;
use runloom_core::ids::GraphId;
use runloom_core::partial::PartialPolicy;
use runloom_core::registry::Registry;
use runloom_graph::{CompiledGraph, GraphExecutor};
use tokio::runtime::Runtime;

use crate::cli::{GraphArgs, PartialArgs};
use crate::project::{Chosen, Reading};
use crate::python::{Part, Python};
use crate::reload::Reload;
use crate::roles::Own;
use crate::{demo, test_graphs};

/// Threads for the nodes of graphs. They are apart from those of the server, so that a node that
/// blocks its thread delays other nodes at worst, never a lease or an answer.
const THREADS: usize = 8;

/// Graphs by their names: those of this binary, and a project.
pub(crate) struct Graphs {
    own: Vec<(String, CompiledGraph)>,
    project: Option<(Chosen, Reading)>,
    /// The demo agent makes room for the project.
    demo_left_out: bool,
}

/// Graphs that can be executed.
pub(crate) struct Served {
    pub(crate) registry: Registry,
    /// What there is to tell people, a label and a text each.
    pub(crate) about: Vec<(&'static str, String)>,
    own: BTreeSet<String>,
    nodes: Runtime,
    project: Option<(Chosen, Reading, Python)>,
}

impl Graphs {
    /// The graphs of the binary, and what the command line adds to them.
    pub(crate) async fn new(own: Own, args: &GraphArgs) -> anyhow::Result<Self> {
        let mut graphs = own.graphs;
        let chosen = Chosen::of(args, Path::new("."), own.demo);
        let demo_left_out = own.demo && chosen.is_some() && !args.demo;
        if args.demo || own.demo && !demo_left_out {
            graphs.push(("agent".to_owned(), demo::agent(&args.model)?));
        }
        if args.test_graphs {
            graphs.extend(test_graphs::all()?);
        }
        let project = match chosen {
            Some(chosen) => {
                let reading = chosen.read(&names(&graphs)).await?;
                reading.tell(None);
                Some((chosen, reading))
            }
            None => None,
        };
        Ok(Self {
            own: graphs,
            project,
            demo_left_out,
        })
    }

    /// What is kept of stopped runs of the project's graphs: as the project says, where `args` do not.
    pub(crate) fn policies(&self, args: &PartialArgs) -> BTreeMap<GraphId, PartialPolicy> {
        let Some((_, reading)) = &self.project else {
            return BTreeMap::new();
        };
        let policy = args.policy_over(reading.project.interrupt);
        reading.graphs().map(|graph| (graph, policy)).collect()
    }

    /// Makes them ready for their `part` in this process.
    pub(crate) async fn serve(self, clock: Arc<dyn Clock>, part: Part) -> anyhow::Result<Served> {
        let mut about = self.about();
        let own = names(&self.own);
        let nodes = runtime()?;
        let executor = GraphExecutor::new(clock)
            .on(nodes.handle().clone())
            .grace(part.grace());
        let graphs = self.own.into_iter();
        let executor = graphs.fold(executor, |all, (name, graph)| all.with(name, graph));
        let mut executors = vec![Arc::new(executor) as Arc<dyn Executor>];
        let project = match self.project {
            Some((chosen, reading)) => {
                let python = Python::start(reading.project.clone(), part).await?;
                executors.push(python.executor());
                let broken = python.broken().into_iter();
                about.extend(broken.map(|(name, error)| ("broken", format!("{name}: {error}"))));
                Some((chosen, reading, python))
            }
            None => None,
        };
        Ok(Served {
            registry: Registry::new(executors),
            about,
            own,
            nodes,
            project,
        })
    }

    fn about(&self) -> Vec<(&'static str, String)> {
        let Some((_, reading)) = &self.project else {
            return Vec::new();
        };
        let mut file = reading.project.file.display().to_string();
        if self.demo_left_out {
            file.push_str(" (in place of the demo agent, which --demo serves as well)");
        }
        let mut about = vec![("project", file), ("python", reading.interpreter())];
        about.extend(reading.alarms().map(|alarm| ("DANGER", alarm.to_owned())));
        about
    }
}

impl Served {
    /// The names of the graphs that can be executed now.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.own.iter().cloned().collect();
        if let Some((_, _, python)) = &self.project {
            names.extend(python.names());
        }
        names
    }

    /// What follows the files of the project, if there is one.
    pub(crate) fn reload(&self) -> Option<Reload> {
        let (chosen, reading, python) = self.project.clone()?;
        Some(Reload {
            chosen,
            reading,
            python,
            taken: self.own.clone(),
        })
    }

    /// Leaves behind what still runs.
    pub(crate) async fn abandon(self) {
        if let Some((_, _, python)) = &self.project {
            python.shutdown().await;
        }
        self.nodes.shutdown_background();
    }
}

fn names(graphs: &[(String, CompiledGraph)]) -> BTreeSet<String> {
    graphs.iter().map(|(name, _)| name.clone()).collect()
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
