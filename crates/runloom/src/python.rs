//! The graphs of a project, served by processes of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use runloom_core::executor::Executor;
use runloom_remote::executor::{Config, RemoteExecutor};
use runloom_remote::pool::PoolConfig;
use runloom_remote::project::{Project, Settings};

/// What this process wants of a project's graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Runs, which are waited for `grace` when they are told to stop and do not.
    Runs { grace: Duration },
    /// Answers about their state and their shape.
    Questions,
}

impl Part {
    /// How long code that ignores a stop is waited for.
    pub(crate) fn grace(self) -> Duration {
        match self {
            Self::Runs { grace } => grace,
            Self::Questions => Duration::ZERO,
        }
    }

    /// What a project says of processes is about runs; questions need no more than one.
    fn adapted(self, project: Arc<Project>) -> Arc<Project> {
        match self {
            Self::Runs { .. } => project,
            Self::Questions => Arc::new(Project {
                settings: Settings {
                    processes: Some(1),
                    ..project.settings
                },
                ..Project::clone(&project)
            }),
        }
    }

    fn config(self) -> Config {
        Config {
            grace: self.grace(),
            pool: PoolConfig {
                spare: self != Self::Questions,
                ..PoolConfig::default()
            },
            ..Config::default()
        }
    }
}

/// A project that is served. Clones share its processes.
#[derive(Clone)]
pub(crate) struct Python {
    executor: Arc<RemoteExecutor>,
    project: Arc<Mutex<Arc<Project>>>,
}

impl Python {
    /// Starts the processes of `project`; some of its graphs may turn out to be broken.
    pub(crate) async fn start(project: Arc<Project>, part: Part) -> anyhow::Result<Self> {
        let project = part.adapted(project);
        let executor = RemoteExecutor::start(project.clone(), part.config()).await;
        let executor =
            executor.with_context(|| format!("cannot serve {}", project.file.display()))?;
        let python = Self {
            executor,
            project: Arc::new(Mutex::new(project)),
        };
        for (graph, error) in python.broken() {
            tracing::error!(graph, error, "a graph cannot be loaded");
        }
        Ok(python)
    }

    /// What the worker is given.
    pub(crate) fn executor(&self) -> Arc<dyn Executor> {
        self.executor.clone()
    }

    /// The project as it was last loaded.
    pub(crate) fn project(&self) -> Arc<Project> {
        self.project
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The graphs that can be served.
    pub(crate) fn names(&self) -> Vec<String> {
        let reports = self.executor.reports().into_iter();
        let sound = reports.filter(|report| report.error.is_none());
        sound.map(|report| report.id.to_string()).collect()
    }

    /// The graphs that cannot, each with the last line of why.
    pub(crate) fn broken(&self) -> Vec<(String, String)> {
        let reports = self.executor.reports().into_iter();
        let broken = reports.filter_map(|report| {
            let error = report.error?.to_string();
            let last = error.lines().rfind(|line| !line.trim().is_empty());
            Some((
                report.id.to_string(),
                last.unwrap_or_default().trim().to_owned(),
            ))
        });
        broken.collect()
    }

    /// Loads `project` into new processes. Runs in flight end in the old ones.
    pub(crate) async fn reload(&self, project: Arc<Project>) -> anyhow::Result<()> {
        self.executor.reload(project.clone()).await?;
        *self.project.lock().unwrap_or_else(PoisonError::into_inner) = project;
        Ok(())
    }

    /// Ends the processes.
    pub(crate) async fn shutdown(&self) {
        self.executor.shutdown().await;
    }
}
