//! The role `dev`: gateway and worker in one process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use runloom_core::executor::Executor;
use runloom_core::registry::Registry;
use runloom_gateway::{Gateway, Impatient};
use runloom_graph::{CompiledGraph, GraphExecutor};
use runloom_worker::{SinceBoot, Worker};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::Dev;
use crate::wiring::Backends;
use crate::{banner, demo, test_graphs, wiring};

/// Threads for the nodes of graphs. They are apart from those of the server, so that a node that
/// blocks its thread delays other nodes at worst, never a lease or an answer.
const GRAPH_THREADS: usize = 8;

/// How long a client may take nothing of what it is sent before its connection is closed.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// How long connections may still take to end once no run is left.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves until it is told to stop.
pub(crate) async fn dev(
    dev: Dev,
    mut graphs: Vec<(String, CompiledGraph)>,
    with_demo: bool,
) -> anyhow::Result<()> {
    if with_demo {
        graphs.push(("agent".to_owned(), demo::agent(&dev.model)?));
    }
    if dev.test_graphs {
        graphs.extend(test_graphs::all()?);
    }
    let address = (dev.host.as_str(), dev.port);
    let listener = TcpListener::bind(address).await;
    let listener =
        listener.with_context(|| format!("cannot listen on {}:{}", dev.host, dev.port))?;
    let backends = wiring::embedded(&dev).await?;

    let names = graphs
        .iter()
        .map(|(name, _)| name.clone())
        .collect::<Vec<_>>();
    let nodes = graph_runtime()?;
    let executor = GraphExecutor::new(backends.clock.clone());
    let executor = executor
        .on(nodes.handle().clone())
        .grace(dev.worker.stop_grace);
    let executor = graphs
        .into_iter()
        .fold(executor, |all, (name, graph)| all.with(name, graph));
    let registry = Registry::new([Arc::new(executor) as Arc<dyn Executor>]);
    let stop = CancellationToken::new();
    let worker = worker(&dev, &backends, registry.clone());
    let gateway = gateway(&dev, &backends, registry, stop.clone());
    runloom_gateway::ensure_assistants(&gateway).await?;

    let tasks = TaskTracker::new();
    let working = tasks.spawn(until_over(worker.run(stop.clone()), stop.clone()));
    tasks.spawn(stop_on_signal(stop.clone()));
    banner::print(&dev, listener.local_addr()?, &names);
    let serving = tasks.spawn(until_over(serve(listener, gateway, stop.clone()), stop));
    let stopped = working.await.context("the worker panicked");
    let served = finish(serving).await;
    nodes.shutdown_background();
    stopped.and(served)
}

/// Does `part`. When it is over, however it ended, so is the server: one half is of no use.
async fn until_over<T>(part: impl Future<Output = T>, stop: CancellationToken) -> T {
    let _over = stop.drop_guard();
    part.await
}

/// Waits for the answers under way. A client that never ends its request gets none.
async fn finish(serving: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    let Ok(served) = timeout(LAST_WORDS, serving).await else {
        tracing::warn!("closing connections that do not end");
        return Ok(());
    };
    served.context("the server panicked")?
}

fn graph_runtime() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(GRAPH_THREADS)
        .thread_name("graph")
        .enable_all();
    builder
        .build()
        .context("cannot start the runtime of the graphs")
}

fn worker(dev: &Dev, backends: &Backends, registry: Registry) -> Worker {
    let config = runloom_worker::Config {
        slots: dev.worker.slots.get(),
        run_timeout: Some(dev.worker.run_timeout),
        grace: dev.worker.stop_grace,
        drain: dev.worker.drain_budget,
        ..runloom_worker::Config::default()
    };
    let ports = runloom_worker::Ports {
        database: backends.database.clone(),
        notifier: backends.notifier.clone(),
        events: backends.events.clone(),
        registry,
        time: Arc::new(SinceBoot),
    };
    Worker::new(config, ports)
}

fn gateway(dev: &Dev, backends: &Backends, registry: Registry, stop: CancellationToken) -> Gateway {
    let config = runloom_gateway::Config {
        policy: dev.partial.policy(),
        body_limit: dev.gateway.body_limit.get() << 20,
        end_event: dev.gateway.end_event,
        lease: runloom_worker::Config::default().lease,
        ..runloom_gateway::Config::default()
    };
    let ports = runloom_gateway::Ports {
        database: backends.database.clone(),
        notifier: backends.notifier.clone(),
        events: backends.events.clone(),
        registry,
        clock: backends.clock.clone(),
    };
    Gateway::new(ports, config, stop)
}

/// Answers requests until `stop`, then lets those under way end.
async fn serve(
    listener: TcpListener,
    gateway: Gateway,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    // Small frames must not wait for each other.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "cannot send without delay");
        }
    });
    let listener = Impatient::new(listener, WRITE_PATIENCE);
    let router = runloom_gateway::router(gateway.clone());
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
    gateway.drain().await;
    served.context("the server stopped")
}

/// Stops everything in order at the first Ctrl-C or SIGTERM, and at once at the second.
async fn stop_on_signal(stop: CancellationToken) {
    match asked_to_stop().await {
        Ok(()) => tracing::info!("stopping; once more to stop at once"),
        Err(error) => return tracing::warn!(%error, "cannot listen for signals"),
    }
    stop.cancel();
    if asked_to_stop().await.is_ok() {
        std::process::exit(130);
    }
}

#[cfg(unix)]
async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn asked_to_stop() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_end_does_not_hold_up_the_stop() {
        let tasks = TaskTracker::new();
        let hanging = tasks.spawn(std::future::pending());
        finish(hanging).await.unwrap();
        let failed = tasks.spawn(async { anyhow::bail!("no server") });
        assert!(finish(failed).await.is_err());
    }

    #[tokio::test]
    async fn the_server_stops_when_one_half_panics() {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let half = tasks.spawn(until_over(async { panic!("half") }, stop.clone()));
        stop.cancelled().await;
        half.await.unwrap_err();
    }
}
