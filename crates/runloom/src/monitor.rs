//! What an operator's tools ask: whether the process is well, and its numbers.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use runloom_core::database::Database;
use runloom_core::ids::ThreadId;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::interval;

/// Upper bounds of histograms, in seconds.
const BUCKETS: [f64; 16] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// How often what was measured is taken together, so that it needs no more memory while nobody asks.
const UPKEEP: Duration = Duration::from_secs(5);

/// Everything that the process has measured.
#[derive(Clone)]
pub(crate) struct Numbers(PrometheusHandle);

impl Numbers {
    /// Begins to measure. To be called once in a process.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let builder = metrics_exporter_prometheus::PrometheusBuilder::new();
        let handle = builder.set_buckets(&BUCKETS)?.install_recorder()?;
        runloom_worker::describe_metrics();
        runloom_gateway::describe_metrics();
        runloom_remote::describe_metrics();
        Ok(Self(handle))
    }

    /// Takes together now and then what was measured. Never ends.
    pub(crate) async fn keep(self) {
        let mut ticks = interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.0.run_upkeep();
        }
    }

    /// `GET /metrics`.
    pub(crate) fn route<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let handle = self.0.clone();
        let page = move || {
            let text = handle.render();
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            async move { ([(CONTENT_TYPE, kind)], text) }
        };
        Router::new().route("/metrics", get(page))
    }
}

/// Answers `GET /ok` and `GET /metrics` on `listener`, as long as it is polled.
pub(crate) async fn serve(
    listener: TcpListener,
    numbers: Numbers,
    database: Arc<dyn Database>,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/ok", get(health))
        .with_state(database)
        .merge(numbers.route());
    axum::serve(listener, routes).await
}

#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    check_db: Option<String>,
}

/// As the gateway's `/ok`: that somebody answers, and with `check_db` that the database does, too.
async fn health(State(database): State<Arc<dyn Database>>, Query(probe): Query<Probe>) -> Response {
    let wanted = probe.check_db.as_deref();
    if wanted.is_some_and(|wanted| matches!(wanted, "1" | "true")) {
        // Any question that the database answers from an index will do.
        if let Err(error) = database.thread(ThreadId(uuid::Uuid::nil())).await {
            let body = json!({"detail": format!("Service Unavailable: {error}")});
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return (status, [(RETRY_AFTER, "1")], Json(body)).into_response();
        }
    }
    Json(json!({"ok": true})).into_response()
}
