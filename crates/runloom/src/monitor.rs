//! What an operator's tools ask: whether the process is well, whether it can serve, and its numbers.
//! Answered from the very start of the process to its very end.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics::{Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusHandle;
use runloom_api::paths;
use runloom_core::database::{Database, ping};
use runloom_core::health::Health;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::interval;
use tokio_util::task::TaskTracker;

use crate::census;
use crate::cli::MonitorArgs;

const BUILD: &str = "runloom_build_info";
const DRAINING: &str = "runloom_draining";
const CONNECTIONS: &str = "runloom_database_connections";
const CONNECTIONS_MAX: &str = "runloom_database_connections_max";

/// Upper bounds of histograms, in seconds.
const BUCKETS: [f64; 16] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// How often what was measured is taken together, so that it needs no more memory while nobody asks.
const UPKEEP: Duration = Duration::from_secs(5);

/// What a process does, as its numbers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Both halves on an embedded database.
    Dev,
    /// Answers clients.
    Gateway,
    /// Executes runs.
    Worker,
    /// Both.
    All,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Gateway => "gateway",
            Self::Worker => "worker",
            Self::All => "all",
        }
    }

    fn answers(self) -> bool {
        self != Self::Worker
    }

    fn executes(self) -> bool {
        self != Self::Gateway
    }

    fn is_embedded(self) -> bool {
        self == Self::Dev
    }
}

/// How a process can be looked at.
#[derive(Clone)]
pub(crate) struct Monitor {
    numbers: PrometheusHandle,
    /// How the process is.
    pub(crate) health: Health,
    database: Arc<OnceLock<Arc<dyn Database>>>,
    /// Where it answers, apart from clients.
    pub(crate) address: Option<SocketAddr>,
    tasks: TaskTracker,
}

impl Monitor {
    /// Begins to measure and, where a port is named, to answer there. To be called once in a process, before
    /// anything else is made: it counts from the start.
    pub(crate) async fn begin(role: Role, args: &MonitorArgs) -> anyhow::Result<Self> {
        let builder = metrics_exporter_prometheus::PrometheusBuilder::new();
        let numbers = builder.set_buckets(&BUCKETS)?.install_recorder()?;
        describe_metrics(role);
        let listener = match args.monitor {
            Some(address) => {
                let listener = TcpListener::bind(address).await;
                Some(listener.with_context(|| format!("cannot listen on {address}"))?)
            }
            None => None,
        };
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let monitor = Self {
            numbers,
            health: Health::default(),
            database: Arc::default(),
            address,
            tasks: TaskTracker::new(),
        };
        monitor.tasks.spawn(monitor.clone().keep());
        if let Some(listener) = listener {
            let routes = monitor.routes().merge(monitor.numbers());
            monitor
                .tasks
                .spawn(async move { axum::serve(listener, routes).await });
        }
        Ok(monitor)
    }

    /// The process has this database.
    pub(crate) fn stands_on(&self, database: Arc<dyn Database>) {
        // There is one.
        let _ = self.database.set(database);
    }

    /// Takes together now and then what was measured. Never ends.
    async fn keep(self) {
        let mut ticks = interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.numbers.run_upkeep();
        }
    }

    /// `GET /metrics`.
    pub(crate) fn numbers<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let monitor = self.clone();
        let page = move || {
            monitor.look();
            let text = known(&monitor.numbers.render());
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            async move { ([(CONTENT_TYPE, kind)], text) }
        };
        Router::new().route("/metrics", get(page))
    }

    /// `GET /ok` and `GET /ready`, as gateways answer them.
    fn routes(&self) -> Router {
        Router::new()
            .route(paths::OK, get(health))
            .route(paths::READY, get(ready))
            .with_state(self.clone())
    }

    /// Takes down what is true now and changes too often to be written down each time.
    fn look(&self) {
        gauge!(DRAINING).set(f64::from(u8::from(self.health.is_draining())));
        let used = self
            .database
            .get()
            .and_then(|database| database.connections());
        if let Some(used) = used {
            gauge!(CONNECTIONS, "state" => "idle").set(f64::from(used.idle));
            gauge!(CONNECTIONS, "state" => "busy").set(f64::from(used.busy));
            gauge!(CONNECTIONS_MAX).set(f64::from(used.max));
        }
    }
}

/// What is known of numbers: a gauge of which nobody knows anything is left out. Scalers that read the page
/// would make a number even of `NaN`.
fn known(page: &str) -> String {
    let lines = page.split_inclusive('\n');
    lines.filter(|line| !line.ends_with(" NaN\n")).collect()
}

/// Says what the numbers of a process mean, and shows its counters from the start.
fn describe_metrics(role: Role) {
    describe_gauge!(BUILD, "1, with the version and what the process does");
    describe_gauge!(DRAINING, "whether the process was told to stop");
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION"), "role" => role.name()).set(1.0);
    // Graphs of other languages are asked about their form by gateways, too.
    runloom_remote::describe_metrics();
    if role.executes() {
        runloom_worker::describe_metrics();
    }
    if role.answers() {
        runloom_gateway::describe_metrics();
        census::describe_metrics();
    }
    if !role.is_embedded() {
        describe_gauge!(CONNECTIONS, "connections to the database");
        describe_gauge!(
            CONNECTIONS_MAX,
            Unit::Count,
            "connections that there may be"
        );
        runloom_postgres::describe_metrics();
        runloom_bus::nats::describe_metrics();
    }
}

#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    check_db: Option<String>,
}

/// As the gateway's `/ok`: that somebody answers, and with `check_db` that the database does, too.
async fn health(State(monitor): State<Monitor>, Query(probe): Query<Probe>) -> Response {
    let wanted = probe.check_db.as_deref();
    if wanted.is_some_and(|wanted| matches!(wanted, "1" | "true")) {
        let trouble = match monitor.database.get() {
            Some(database) => ping(&**database).await.err().map(|error| error.to_string()),
            None => Some("the database is waited for".to_owned()),
        };
        if let Some(trouble) = trouble {
            let body = json!({"detail": format!("Service Unavailable: {trouble}")});
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return (status, [(RETRY_AFTER, "1")], Json(body)).into_response();
        }
    }
    Json(json!({"ok": true, "services": monitor.health.services()})).into_response()
}

/// As the gateway's `/ready`.
async fn ready(State(monitor): State<Monitor>) -> impl IntoResponse {
    runloom_gateway::readiness(&monitor.health)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_left_out() {
        let page = "# TYPE a gauge\na 1\na{b=\"NaN\"} 2\n# TYPE c gauge\nc NaN\nd 3";
        assert_eq!(
            known(page),
            "# TYPE a gauge\na 1\na{b=\"NaN\"} 2\n# TYPE c gauge\nd 3"
        );
    }
}
