//! A gateway on the model, and what it takes to speak to it.

pub(crate) mod broken;
pub(crate) mod ledger;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use chrono::TimeDelta;
use runloom_bus::{LocalEventLog, LocalNotifier};
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{Assistants, Database, Queue, Runs, Submission};
use runloom_core::health::Health;
use runloom_core::ids::{AssistantId, ClaimId, GraphId, RunId, ThreadId, WorkerId};
use runloom_core::lease::{ClaimReply, Claimed};
use runloom_core::partial::PartialPolicy;
use runloom_core::registry::Registry;
use runloom_core::run::{MultitaskStrategy, Run, RunKwargs};
use runloom_gateway::{Config, Gateway, Ports, ensure_assistants, router};
use runloom_testkit::doubles::ManualClock;
use runloom_testkit::memory::Memory;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use ledger::Ledger;

/// The id of the assistant that the server keeps for the graph `agent`.
pub(crate) const AGENT: &str = "fe096781-5601-53d2-b2f6-0d3403f7e9ca";

/// A gateway with one graph, `agent`.
pub(crate) struct Server {
    pub(crate) database: Arc<Memory>,
    pub(crate) notifier: LocalNotifier,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ledger: Arc<Ledger>,
    router: Router,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::configured(Config::default()).await
    }

    pub(crate) async fn configured(config: Config) -> Self {
        let clock = ManualClock::new();
        let database = Arc::new(Memory::new(clock.clone()));
        let notifier = LocalNotifier::new();
        let ledger = Ledger::new(clock.clone());
        let ports = ports(database.clone(), &notifier, clock.clone(), ledger.clone());
        let gateway = Gateway::new(ports, config, CancellationToken::new());
        ensure_assistants(&gateway).await.unwrap();
        Self {
            database,
            notifier,
            clock,
            ledger,
            router: router(gateway),
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        send(&self.router, request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path, Body::empty())).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = Body::from(body.to_string());
        self.send(request(method, path, body)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, body).await
    }

    /// Creates the thread with the number `n` and moves the clock on.
    pub(crate) async fn thread(&self, n: u8, metadata: Value) -> Value {
        let id = thread_id(n);
        let body = serde_json::json!({"thread_id": id, "metadata": metadata});
        let created = self.post("/threads", body).await.json(200);
        self.clock.advance(Duration::from_secs(1));
        created
    }

    /// Stores a run of the assistant `agent` on thread `n`, as the part of the gateway for runs does.
    pub(crate) async fn run(&self, n: u8) -> Run {
        let id = AssistantId::of_graph(&GraphId::from("agent"));
        let assistant = self.database.assistant(id).await.unwrap().unwrap();
        self.run_of(n, assistant).await
    }

    pub(crate) async fn run_of(&self, n: u8, assistant: runloom_core::assistant::Assistant) -> Run {
        let new = NewRun {
            id: RunId::new(),
            thread_id: ThreadId(thread_id(n).parse().unwrap()),
            assistant,
            kwargs: RunKwargs::default(),
            metadata: serde_json::Map::new(),
            multitask_strategy: MultitaskStrategy::Enqueue,
            delay: TimeDelta::zero(),
            if_thread_missing: IfThreadMissing::Reject,
            policy: PartialPolicy::default(),
            server_configurable: serde_json::Map::new(),
            thread_ttl: None,
        };
        match self.database.submit_run(new).await.unwrap() {
            Submission::Accepted(run, _) => *run,
            Submission::Rejected => panic!("an enqueued run is never rejected"),
        }
    }

    /// Claims the next run of thread `n` for a worker of its own.
    pub(crate) async fn claim(&self, n: u8) -> Box<Claimed> {
        let worker = WorkerId::new();
        let lease = Duration::from_mins(1);
        self.database.enlist(worker, lease).await.unwrap();
        let thread = ThreadId(thread_id(n).parse().unwrap());
        match self.database.claim(thread, worker, ClaimId::new()).await {
            Ok(ClaimReply::Claimed(claimed)) => claimed,
            other => panic!("nothing to claim: {other:?}"),
        }
    }
}

/// A router on any database at all.
pub(crate) fn router_on(database: Arc<dyn Database>) -> Router {
    router_telling(database, Health::default())
}

/// The same, of a process that is like this.
pub(crate) fn router_telling(database: Arc<dyn Database>, health: Health) -> Router {
    let clock = ManualClock::new();
    let ledger = Ledger::new(clock.clone());
    let ports = ports(database, &LocalNotifier::new(), clock, ledger);
    let gateway = Gateway::new(ports, Config::default(), CancellationToken::new());
    router(gateway.telling(health))
}

fn ports(
    database: Arc<dyn Database>,
    notifier: &LocalNotifier,
    clock: Arc<ManualClock>,
    ledger: Arc<Ledger>,
) -> Ports {
    Ports {
        database,
        notifier: Arc::new(notifier.clone()),
        events: Arc::new(LocalEventLog::default()),
        registry: Registry::new([ledger as Arc<_>]),
        clock,
    }
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Reply {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Reply {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

pub(crate) fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json");
    request.body(body).unwrap()
}

/// The id of thread `n`.
pub(crate) fn thread_id(n: u8) -> String {
    format!("00000000-0000-7000-8000-0000000000{n:02x}")
}

impl Reply {
    /// The body of a reply that must have this status.
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// The detail of a refusal that must have this status, and nothing beside it.
    #[track_caller]
    pub(crate) fn refusal(&self, status: u16) -> String {
        let body = self.json(status);
        let keys: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["detail"], "{body}");
        body["detail"].as_str().unwrap().to_owned()
    }

    /// Checks that there is no body.
    #[track_caller]
    pub(crate) fn empty(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.text, "");
    }

    /// The status and the type of the content.
    pub(crate) fn kind(&self) -> (u16, &str) {
        let kind = self.header("content-type").unwrap_or_default();
        (self.status.as_u16(), kind)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
