//! The commands of the binary. Roles that serve differ by their wiring only.

use std::time::Duration;

use runloom_graph::CompiledGraph;

use crate::cli::{Command, Dev, GraphArgs};
use crate::graphs::Graphs;
use crate::monitor::Numbers;
use crate::serve::Server;
use crate::{http, wiring};

/// The graphs that the binary was built with.
pub(crate) struct Own {
    pub(crate) graphs: Vec<(String, CompiledGraph)>,
    pub(crate) demo: bool,
}

impl Own {
    fn with(self, args: &GraphArgs) -> anyhow::Result<Graphs> {
        Graphs::new(self.graphs, self.demo, args)
    }
}

/// Does what was asked for, to its end.
pub(crate) async fn run(command: Command, own: Own) -> anyhow::Result<()> {
    match command {
        Command::Dev(args) => dev(*args, own).await,
    }
}

async fn dev(args: Dev, own: Own) -> anyhow::Result<()> {
    let graphs = own.with(&args.graphs)?;
    let listener = http::listen(&args.listen).await?;
    let backends = wiring::embedded(&args.store, &args.worker).await?;
    let server = Server {
        graphs: graphs.serve(backends.clock.clone(), args.worker.stop_grace)?,
        gateway: Some((listener, args.gateway.config(&args.timing))),
        worker: Some(args.worker.config(&args.timing)),
        monitor: None,
        numbers: Numbers::start()?,
        // Nobody else goes on with its runs.
        linger: Duration::ZERO,
        backends,
    };
    server.run().await
}
