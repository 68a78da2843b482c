//! The commands of the binary. Roles that serve differ by their wiring only.

use std::time::Duration;

use anyhow::Context as _;
use runloom_graph::CompiledGraph;
use tokio::net::TcpListener;

use crate::cli::{All, Command, Dev, GatewayRole, GraphArgs, MonitorArgs, WorkerRole};
use crate::graphs::Graphs;
use crate::monitor::Numbers;
use crate::serve::Server;
use crate::{doctor, http, wiring};

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
        Command::Gateway(args) => gateway(*args, own).await,
        Command::Worker(args) => worker(*args, own).await,
        Command::All(args) => all(*args, own).await,
        Command::Migrate(args) => wiring::migrate(&args.database).await,
        Command::Doctor(args) => doctor::run(&args).await,
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

async fn gateway(args: GatewayRole, own: Own) -> anyhow::Result<()> {
    let graphs = own.with(&args.graphs)?;
    let listener = http::listen(&args.listen).await?;
    let backends = wiring::servers(&args.servers, None).await?;
    let config = args.gateway.config(&args.timing);
    let server = Server {
        // No graph runs here; only updates of state from outside are theirs.
        graphs: graphs.serve(backends.clock.clone(), Duration::ZERO)?,
        gateway: Some((listener, config)),
        worker: None,
        monitor: None,
        numbers: Numbers::start()?,
        linger: args.timing.drain_budget,
        backends,
    };
    server.run().await
}

async fn worker(args: WorkerRole, own: Own) -> anyhow::Result<()> {
    let graphs = own.with(&args.graphs)?;
    let monitor = watched(&args.monitor).await?;
    let backends = wiring::servers(&args.servers, Some(&args.worker)).await?;
    let server = Server {
        graphs: graphs.serve(backends.clock.clone(), args.worker.stop_grace)?,
        gateway: None,
        worker: Some(args.worker.config(&args.timing)),
        monitor,
        numbers: Numbers::start()?,
        linger: Duration::ZERO,
        backends,
    };
    server.run().await
}

async fn all(args: All, own: Own) -> anyhow::Result<()> {
    let graphs = own.with(&args.graphs)?;
    let listener = http::listen(&args.listen).await?;
    let backends = wiring::servers(&args.servers, Some(&args.worker)).await?;
    let server = Server {
        graphs: graphs.serve(backends.clock.clone(), args.worker.stop_grace)?,
        gateway: Some((listener, args.gateway.config(&args.timing))),
        worker: Some(args.worker.config(&args.timing)),
        monitor: None,
        numbers: Numbers::start()?,
        linger: args.timing.drain_budget,
        backends,
    };
    server.run().await
}

async fn watched(args: &MonitorArgs) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = args.monitor else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    Ok(Some(listener))
}
