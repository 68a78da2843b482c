//! The commands of the binary. Roles that serve differ by their wiring only.

use std::time::Duration;

use runloom_graph::CompiledGraph;

use crate::cli::{All, Command, Dev, GatewayRole, TimingArgs, WorkerArgs, WorkerRole};
use crate::graphs::Graphs;
use crate::monitor::{Monitor, Role};
use crate::python::Part;
use crate::serve::Server;
use crate::{doctor, health, http, wiring};

/// The graphs that the binary was built with.
pub(crate) struct Own {
    pub(crate) graphs: Vec<(String, CompiledGraph)>,
    pub(crate) demo: bool,
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
        Command::Health(args) => health::run(&args).await,
    }
}

async fn dev(args: Dev, own: Own) -> anyhow::Result<()> {
    let monitor = Monitor::begin(Role::Dev, &args.monitor).await?;
    let graphs = Graphs::new(own, &args.graphs).await?;
    let listener = http::listen(&args.listen).await?;
    let backends = wiring::embedded(&args.store, &args.worker).await?;
    let config = args.gateway.config(&args.timing, &graphs);
    let part = runs(&args.worker, &args.timing);
    let worker = args.worker.config(&args.timing, graphs.thread_age());
    let server = Server {
        graphs: graphs.serve(backends.clock.clone(), part).await?,
        gateway: Some((listener, config)),
        worker: Some(worker),
        monitor,
        reloads: !args.no_reload,
        // Nobody else goes on with its runs.
        linger: Duration::ZERO,
        backends,
    };
    server.run().await
}

async fn gateway(args: GatewayRole, own: Own) -> anyhow::Result<()> {
    let monitor = Monitor::begin(Role::Gateway, &args.monitor).await?;
    let graphs = Graphs::new(own, &args.graphs).await?;
    let listener = http::listen(&args.listen).await?;
    let backends = wiring::servers(&args.servers, None, &monitor.health).await?;
    let config = args.gateway.config(&args.timing, &graphs);
    let server = Server {
        // No graph runs here; only questions about state, and updates of it from outside, are theirs.
        graphs: graphs
            .serve(backends.clock.clone(), Part::Questions)
            .await?,
        gateway: Some((listener, config)),
        worker: None,
        monitor,
        reloads: false,
        linger: args.timing.drain_budget,
        backends,
    };
    server.run().await
}

async fn worker(args: WorkerRole, own: Own) -> anyhow::Result<()> {
    let monitor = Monitor::begin(Role::Worker, &args.monitor).await?;
    let graphs = Graphs::new(own, &args.graphs).await?;
    let backends = wiring::servers(&args.servers, Some(&args.worker), &monitor.health).await?;
    let worker = args.worker.config(&args.timing, graphs.thread_age());
    let server = Server {
        graphs: graphs
            .serve(backends.clock.clone(), runs(&args.worker, &args.timing))
            .await?,
        gateway: None,
        worker: Some(worker),
        monitor,
        reloads: false,
        linger: Duration::ZERO,
        backends,
    };
    server.run().await
}

async fn all(args: All, own: Own) -> anyhow::Result<()> {
    let monitor = Monitor::begin(Role::All, &args.monitor).await?;
    let graphs = Graphs::new(own, &args.graphs).await?;
    let listener = http::listen(&args.listen).await?;
    let backends = wiring::servers(&args.servers, Some(&args.worker), &monitor.health).await?;
    let config = args.gateway.config(&args.timing, &graphs);
    let part = runs(&args.worker, &args.timing);
    let worker = args.worker.config(&args.timing, graphs.thread_age());
    let server = Server {
        graphs: graphs.serve(backends.clock.clone(), part).await?,
        gateway: Some((listener, config)),
        worker: Some(worker),
        monitor,
        reloads: false,
        linger: args.timing.drain_budget,
        backends,
    };
    server.run().await
}

/// What executes runs needs of the graphs.
fn runs(args: &WorkerArgs, timing: &TimingArgs) -> Part {
    Part::Runs {
        grace: args.stop_grace,
        lease: timing.lease,
    }
}
