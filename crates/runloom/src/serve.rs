//! One process: a gateway, a worker, or both, over the same backends. How it starts and how it ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::{OptionFuture, join};
use runloom_gateway::{ApiService, Gateway};
use runloom_worker::{Relay, RelayConfig, SinceBoot, Worker};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::graphs::Served;
use crate::monitor::Monitor;
use crate::signals::stop_on_signal;
use crate::wiring::{Backends, Integration};
use crate::{banner, census, http};

/// How long connections may still take to end once they have been told to.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What one process is to do.
pub(crate) struct Server {
    pub(crate) backends: Backends,
    pub(crate) graphs: Served,
    /// Where it can be looked at.
    pub(crate) monitor: Monitor,
    /// Answers clients here.
    pub(crate) gateway: Option<(TcpListener, runloom_gateway::Config)>,
    /// Executes runs.
    pub(crate) worker: Option<runloom_worker::Config>,
    /// Whether a project is loaded anew when its files change.
    pub(crate) reloads: bool,
    /// How long answers under way may still take when the process stops: other processes may go on
    /// with the runs that they show.
    pub(crate) linger: Duration,
}

impl Server {
    /// Serves until it is told to stop.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let hang_up = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (monitor, database) = (self.monitor.clone(), self.backends.database.clone());
        monitor.stands_on(database.clone());
        tasks.spawn(census::watch(database.clone(), monitor.health.clone()));
        let worker = self.worker().map(|worker| worker.run(stop.clone()));
        let gateway = match self.gateway {
            Some((listener, config)) => {
                let ports = runloom_gateway::Ports {
                    database: self.backends.database.clone(),
                    notifier: self.backends.notifier.clone(),
                    events: self.backends.events.clone(),
                    registry: self.graphs.registry.clone(),
                    clock: self.backends.clock.clone(),
                };
                let gateway = Gateway::new(ports, config, hang_up.clone());
                let gateway = gateway.telling(monitor.health.clone());
                runloom_gateway::ensure_assistants(&gateway).await?;
                Some((listener, gateway))
            }
            None => None,
        };

        tasks.spawn(stop_on_signal(stop.clone()));
        let sheet = banner::Sheet {
            serves: gateway
                .as_ref()
                .map(|(listener, _)| listener.local_addr())
                .transpose()?,
            monitor: monitor.address,
            graphs: &self.graphs.names(),
            about: &self.graphs.about,
            data: &self.backends.place,
        };
        banner::print(&sheet);
        if let Some((_, gateway)) = &gateway {
            let clock = self.backends.clock.clone();
            tasks.spawn(census::count(database, clock, gateway.clone()));
        }
        if let Some((_, gateway)) = gateway.as_ref().filter(|_| self.reloads)
            && let Some(reload) = self.graphs.reload()
        {
            let following = reload.follow(gateway.clone());
            tasks.spawn(stop.clone().run_until_cancelled_owned(following));
        }
        let integration = self.backends.integration;
        let serving = gateway.map(|(listener, gateway)| {
            let api = runloom_gateway::router(gateway.clone());
            let calls = integration.as_ref().map(|integration| {
                let stopped = Box::pin(stop.clone().cancelled_owned());
                let (host, api) = (integration.host.clone(), ApiService::new(api.clone()));
                async move {
                    let version = env!("CARGO_PKG_VERSION");
                    host.serve(Arc::new(api), version, stopped).await;
                }
            });
            // Numbers are for those who look after the process: where these have a port, on that alone.
            let routes = match monitor.address {
                Some(_) => api,
                None => api.merge(monitor.numbers()),
            };
            let serving = http::serve(listener, routes, gateway, stop.clone());
            let serving = async {
                let (served, _) = join(serving, OptionFuture::from(calls)).await;
                served
            };
            tasks.spawn(until_over(serving, stop.clone()))
        });
        // It goes on while the worker ends its runs, which is to be told, too.
        let told = CancellationToken::new();
        let relaying = match integration {
            Some(Integration { outbox, feed, .. }) if worker.is_some() => {
                let relay = Relay::new(RelayConfig::default(), outbox, feed);
                Some(tasks.spawn(relay.run(told.clone())))
            }
            _ => None,
        };
        let working = worker.map(|worker| tasks.spawn(until_over(worker, stop.clone())));

        monitor.health.begin();
        stop.cancelled().await;
        monitor.health.drain();
        let lingering = sleep(self.linger);
        let stopped = match working {
            Some(working) => working.await.context("the worker panicked"),
            None => Ok(()),
        };
        told.cancel();
        if let Some(relaying) = relaying
            && timeout(LAST_WORDS, relaying).await.is_err()
        {
            tracing::debug!("what happened last is told by others");
        }
        let served = match serving {
            Some(serving) => finish(serving, lingering, hang_up).await,
            None => Ok(()),
        };
        self.backends.notifier.close().await;
        // Not before: until now their processes had runs to end and questions to answer.
        self.graphs.abandon().await;
        stopped.and(served)
    }

    fn worker(&self) -> Option<Worker> {
        let ports = runloom_worker::Ports {
            database: self.backends.database.clone(),
            notifier: self.backends.notifier.clone(),
            events: self.backends.events.clone(),
            registry: self.graphs.registry.clone(),
            time: Arc::new(SinceBoot),
        };
        let worker = Worker::new(self.worker.clone()?, ports);
        Some(worker.telling(self.monitor.health.clone()))
    }
}

/// Does `part`. When it is over, however it ended, so is the process: one half is of no use.
async fn until_over<T>(part: impl Future<Output = T>, stop: CancellationToken) -> T {
    let _over = stop.drop_guard();
    part.await
}

/// Waits for the answers under way, then tells them to end. A client that never ends its request
/// gets none.
async fn finish(
    mut serving: JoinHandle<anyhow::Result<()>>,
    lingering: impl Future<Output = ()>,
    hang_up: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        served = &mut serving => return served.context("the server panicked")?,
        () = lingering => hang_up.cancel(),
    }
    let Ok(served) = timeout(LAST_WORDS, serving).await else {
        tracing::warn!("closing connections that do not end");
        return Ok(());
    };
    served.context("the server panicked")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_end_does_not_hold_up_the_stop() {
        let tasks = TaskTracker::new();
        let hang_up = CancellationToken::new();
        let hanging = tasks.spawn(std::future::pending());
        let lingering = sleep(Duration::from_secs(9));
        finish(hanging, lingering, hang_up.clone()).await.unwrap();
        assert!(hang_up.is_cancelled());
        let failed = tasks.spawn(async { anyhow::bail!("no server") });
        assert!(
            finish(failed, sleep(Duration::ZERO), hang_up)
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_end_in_time_are_not_cut_off() {
        let hang_up = CancellationToken::new();
        let answering = TaskTracker::new().spawn(async {
            sleep(Duration::from_secs(3)).await;
            Ok(())
        });
        let lingering = sleep(Duration::from_secs(9));
        finish(answering, lingering, hang_up.clone()).await.unwrap();
        assert!(!hang_up.is_cancelled());
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
