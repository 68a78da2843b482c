//! How the processes of a project are started.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::Config;
use crate::pool::PoolConfig;
use crate::process::Launch;
use crate::project::Project;
use crate::protocol::{GraphSource, Hello, PROTOCOL, Settings};
use crate::python::Package;

/// Workers speak once a second; fewer seconds than this without a word mean nothing.
const SHORTEST_SILENCE: Duration = Duration::from_secs(5);

/// How much earlier than the worker's lease a process ends: silence is counted in seconds, and only once
/// one of them has passed.
const MARGIN: Duration = Duration::from_secs(2);

/// A process that holds the graphs of `project`.
pub(super) fn of(project: &Project, package: &Package, config: &Config) -> Launch {
    let silence = config
        .lease
        .map(|lease| lease.saturating_sub(MARGIN).max(SHORTEST_SILENCE));
    let settings = Settings {
        silence_s: silence.map(|silence| u32::try_from(silence.as_secs()).unwrap_or(u32::MAX)),
        ..Settings::default()
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let graphs = project.graphs.iter().map(|(id, source)| {
        let source = GraphSource {
            path: source.path.clone(),
            description: source.description.clone(),
        };
        (id.clone(), source)
    });
    let variables = project.environment.iter();
    let dependencies = project.dependencies.iter();
    Launch {
        interpreter: project.interpreter.path.clone(),
        arguments: package.arguments(),
        environment: variables
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect(),
        folder: project.root.clone(),
        hello: Hello {
            protocol: PROTOCOL,
            graphs: graphs.collect(),
            root: text(&project.root),
            dependencies: dependencies.map(|folder| text(folder)).collect(),
            settings,
        },
        patience: config.patience,
    }
}

/// `config` with what `project` says about its processes.
pub(super) fn pool_config(config: &PoolConfig, project: &Project) -> PoolConfig {
    const MIB: u64 = 1024 * 1024;
    let said = project.settings;
    let limit = said.memory_limit_mb.map(|limit| limit.saturating_mul(MIB));
    PoolConfig {
        processes: said.processes.map_or(config.processes, usize::from),
        max_runs: said.max_runs.map_or(config.max_runs, |runs| runs as usize),
        memory_limit: limit.or(config.memory_limit),
        ..config.clone()
    }
}
