//! The server as a library: serve your own graphs from your own binary.
//!
//! ```no_run
//! # fn graph() -> runloom_graph::CompiledGraph { unimplemented!() }
//! fn main() -> anyhow::Result<()> {
//!     runloom::Runloom::new().graph("my-graph", graph()).main()
//! }
//! ```
//!
//! The binary then has the commands and flags of `runloom` itself.

mod banner;
mod census;
mod cli;
mod demo;
mod doctor;
mod graphs;
mod health;
mod http;
mod monitor;
mod project;
mod python;
mod reload;
mod roles;
mod serve;
mod signals;
mod telemetry;
mod test_graphs;
mod wiring;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _};
use runloom_graph::CompiledGraph;

use crate::cli::Cli;
use crate::roles::Own;

/// A server to be: the graphs that it serves.
#[derive(Default)]
pub struct Runloom {
    graphs: Vec<(String, CompiledGraph)>,
    demo: bool,
}

impl Runloom {
    /// A server without graphs.
    pub fn new() -> Self {
        Self::default()
    }

    /// A server of the demo agent, `agent`.
    pub fn with_demo() -> Self {
        Self {
            demo: true,
            ..Self::default()
        }
    }

    /// Serves `graph` under `name`.
    pub fn graph(mut self, name: impl Into<String>, graph: CompiledGraph) -> Self {
        self.graphs.push((name.into(), graph));
        self
    }

    /// Does what the command line says. Returns when it is done.
    pub fn main(self) -> anyhow::Result<()> {
        let cli = Cli::from_arg_matches(&Cli::command().get_matches())?;
        telemetry::init(&cli.log, cli.log_format)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.context("cannot start the runtime")?;
        let own = Own {
            graphs: self.graphs,
            demo: self.demo,
        };
        let sending = match cli.command.service() {
            Some(service) => {
                telemetry::traces::start(cli.otlp_endpoint.as_deref(), service, runtime.handle())?
            }
            None => None,
        };
        let done = runtime.block_on(roles::run(cli.command, own));
        if let Some(sending) = sending {
            sending.stop();
        }
        done
    }
}
