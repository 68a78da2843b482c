//! The graphs of a project, served by processes of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use runloom_core::executor::Executor;
use runloom_remote::executor::{Config, RemoteExecutor};
use runloom_remote::pool::PoolConfig;
use runloom_remote::project::{Project, Settings};
use runloom_remote::protocol::RemoteError;

/// What this process wants of a project's graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Runs, which are waited for `grace` when they are told to stop and do not, and which others take
    /// over when this process has been silent for its `lease`.
    Runs { grace: Duration, lease: Duration },
    /// Answers about their state and their shape.
    Questions,
}

impl Part {
    /// How long code that ignores a stop is waited for.
    pub(crate) fn grace(self) -> Duration {
        match self {
            Self::Runs { grace, .. } => grace,
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
            lease: match self {
                Self::Runs { lease, .. } => Some(lease),
                Self::Questions => None,
            },
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
}

impl Python {
    /// Starts the processes of `project`; some of its graphs may turn out to be broken, and are logged.
    pub(crate) async fn start(project: Arc<Project>, part: Part) -> anyhow::Result<Self> {
        let file = project.file.clone();
        let executor = RemoteExecutor::start(part.adapted(project), part.config()).await;
        let executor = executor.with_context(|| format!("cannot serve {}", file.display()))?;
        let python = Self { executor };
        python.tell_broken();
        Ok(python)
    }

    /// What the worker is given.
    pub(crate) fn executor(&self) -> Arc<dyn Executor> {
        self.executor.clone()
    }

    /// The graphs that can be served.
    pub(crate) fn names(&self) -> Vec<String> {
        let reports = self.executor.reports().into_iter();
        let sound = reports.filter(|report| report.error.is_none());
        sound.map(|report| report.id.to_string()).collect()
    }

    /// The graphs that cannot, each with the last line of why.
    pub(crate) fn broken(&self) -> Vec<(String, String)> {
        let errors = self.errors().into_iter();
        let last = errors.map(|(graph, error)| (graph, last_line(&error.to_string()).to_owned()));
        last.collect()
    }

    /// Logs the graphs that cannot be served, with all that is known of why.
    pub(crate) fn tell_broken(&self) {
        for (graph, error) in self.errors() {
            let text = error.traceback.clone().unwrap_or_else(|| error.to_string());
            tracing::error!("the graph {graph} cannot be loaded: {}", text.trim_end());
        }
    }

    /// Loads `project` into new processes. Runs in flight end in the old ones.
    pub(crate) async fn reload(&self, project: Arc<Project>) -> anyhow::Result<()> {
        self.executor.reload(project).await?;
        Ok(())
    }

    /// Ends the processes.
    pub(crate) async fn shutdown(&self) {
        self.executor.shutdown().await;
    }

    fn errors(&self) -> Vec<(String, RemoteError)> {
        let reports = self.executor.reports().into_iter();
        let errors = reports.filter_map(|report| Some((report.id.to_string(), report.error?)));
        errors.collect()
    }
}

fn last_line(text: &str) -> &str {
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_error_its_last_line_says_most() {
        assert_eq!(
            last_line("Traceback:\n  line 1\nKeyError: 'a'\n\n"),
            "KeyError: 'a'"
        );
        assert_eq!(last_line(""), "");
    }
}
