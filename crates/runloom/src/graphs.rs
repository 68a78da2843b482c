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
use runloom_remote::project::ThreadAge;
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

    /// How long threads are kept, as far as the project says so.
    pub(crate) fn thread_age(&self) -> ThreadAge {
        let project = self.project.as_ref();
        project.map_or_else(ThreadAge::default, |(_, reading)| reading.project.threads)
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use runloom_core::partial::Partial;
    use tempfile::TempDir;

    use super::*;
    use crate::cli::{Cli, Command, Dev};

    const ANSWER: &str = r#"echo '{"python": "3.12.1", "packages": {"langgraph": "1.2.22",
        "langchain-core": "1", "orjson": "3", "ormsgpack": "1"}}' | tr -d '\n'"#;

    /// A folder with a project whose graph is called `name`, and a stand-in for its Python.
    fn project(name: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let file = serde_json::json!({
            "graphs": {name: "./graphs.py:graph"},
            "auth": {"path": "./auth.py:auth"},
            "interrupt": {"partial": "off"},
        });
        std::fs::write(path("langgraph.json"), file.to_string()).unwrap();
        std::fs::write(path("graphs.py"), "").unwrap();
        std::fs::write(path("answer"), ANSWER).unwrap();
        let stand_in =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../remote/tests/fixtures/python");
        std::os::unix::fs::symlink(stand_in, path("python")).unwrap();
        folder
    }

    fn dev(folder: &TempDir, more: &[&str]) -> Dev {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (config, python) = (path("langgraph.json"), path("python"));
        let args = ["runloom", "dev", "--config", &config, "--python", &python];
        let args = args.iter().chain(more);
        let Command::Dev(dev) = Cli::try_parse_from(args).unwrap().command else {
            panic!("not dev");
        };
        *dev
    }

    async fn graphs(dev: &Dev) -> anyhow::Result<Graphs> {
        let own = Own {
            graphs: Vec::new(),
            demo: true,
        };
        Graphs::new(own, &dev.graphs).await
    }

    #[tokio::test]
    async fn a_project_takes_the_place_of_the_demo_agent_and_missing_protection_is_shown() {
        let folder = project("agent");
        let dev = dev(&folder, &["--allow-unsupported"]);
        let graphs = graphs(&dev).await.unwrap();
        assert!(graphs.own.is_empty());
        let about = graphs.about();
        let text = |label| {
            about
                .iter()
                .find(|(name, _)| *name == label)
                .unwrap()
                .1
                .as_str()
        };
        assert!(
            text("project").ends_with("(in place of the demo agent, which --demo serves as well)")
        );
        assert!(text("python").starts_with("3.12.1 with langgraph 1.2.22 ("));
        assert!(text("DANGER").starts_with("auth: "));
    }

    #[tokio::test]
    async fn two_graphs_of_one_name_are_refused() {
        let folder = project("agent");
        let dev = dev(&folder, &["--allow-unsupported", "--demo"]);
        let error = graphs(&dev).await.err().unwrap().to_string();
        assert!(
            error.starts_with("the graph `agent` is both in "),
            "{error}"
        );
    }

    #[tokio::test]
    async fn what_a_project_says_of_stopped_runs_holds_for_its_graphs_alone() {
        let folder = project("writer");
        let dev = dev(&folder, &["--allow-unsupported", "--demo"]);
        let graphs = graphs(&dev).await.unwrap();
        let policies = graphs.policies(&dev.gateway.partial);
        assert_eq!(policies.len(), 1);
        assert_eq!(policies[&GraphId::from("writer")].partial, Partial::Off);
    }
}
