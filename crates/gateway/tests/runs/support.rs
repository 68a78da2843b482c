//! A gateway, a client, and a worker that is played by hand.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use runloom_bus::{LocalEventLog, LocalNotifier};
use runloom_core::bus::{EventLog, Notifier};
use runloom_core::database::{Database, Queue, Settlement, Transit};
use runloom_core::effects::Effects;
use runloom_core::event::{Event, EventId, Retention};
use runloom_core::ids::{ClaimId, ThreadId, WorkerId};
use runloom_core::json::Json;
use runloom_core::lease::{ClaimReply, Claimed};
use runloom_core::registry::Registry;
use runloom_core::run::{Run, RunError};
use runloom_gateway::{Config, Gateway, Ports, ensure_assistants, router};
use runloom_testkit::doubles::{ScriptedExecutor, TokioClock};
use runloom_testkit::memory::Memory;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A gateway with one graph, `agent`.
pub(crate) struct Server {
    pub(crate) database: Arc<Memory>,
    pub(crate) notifier: Arc<dyn Notifier>,
    pub(crate) events: Arc<dyn EventLog>,
    pub(crate) gateway: Gateway,
    pub(crate) stop: CancellationToken,
    router: Router,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::configured(Config::default()).await
    }

    pub(crate) async fn configured(config: Config) -> Self {
        let events = Arc::new(LocalEventLog::default());
        Self::on(config, Arc::new(LocalNotifier::new()), events).await
    }

    pub(crate) async fn on(
        config: Config,
        notifier: Arc<dyn Notifier>,
        events: Arc<dyn EventLog>,
    ) -> Self {
        let clock = Arc::new(TokioClock::start());
        let database = Arc::new(Memory::new(clock.clone()));
        let graphs = ScriptedExecutor::new(clock.clone()).with("agent", []);
        let ports = Ports {
            database: database.clone() as Arc<dyn Database>,
            notifier: notifier.clone(),
            events: events.clone(),
            registry: Registry::new([Arc::new(graphs) as Arc<_>]),
            clock,
        };
        let stop = CancellationToken::new();
        let gateway = Gateway::new(ports, config, stop.clone());
        ensure_assistants(&gateway).await.unwrap();
        Self {
            database,
            notifier,
            events,
            router: router(gateway.clone()),
            gateway,
            stop,
        }
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Sends a request; the body of the answer is still to come.
    pub(crate) async fn open(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.into_data_stream(),
            read: String::new(),
            idle: 0,
        }
    }

    /// Sends a request without a body.
    pub(crate) async fn call(&self, method: &str, path: &str) -> Answer {
        self.open(request(method, path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.open(request("POST", path).body(body.to_string().into()).unwrap())
            .await
    }

    /// Reads a stream after an event.
    pub(crate) async fn resume(&self, path: &str, last_event_id: &str) -> Answer {
        let request = request("GET", path).header("last-event-id", last_event_id);
        self.open(request.body(Body::empty()).unwrap()).await
    }

    /// Makes a thread.
    pub(crate) async fn thread(&self) -> ThreadId {
        let mut made = self.post("/threads", json!({})).await;
        let thread = made.json(200).await;
        thread["thread_id"].as_str().unwrap().parse().unwrap()
    }

    /// Makes a run in the background, with these fields, and answers with where it is.
    pub(crate) async fn background(&self, thread: ThreadId, fields: Value) -> String {
        let path = format!("/threads/{thread}/runs");
        let mut made = self.post(&path, with_assistant(fields)).await;
        let run = made.json(200).await;
        format!("{path}/{}", run["run_id"].as_str().unwrap())
    }

    /// Makes a run with these fields and streams it.
    pub(crate) async fn stream(&self, thread: ThreadId, fields: Value) -> Answer {
        let path = format!("/threads/{thread}/runs/stream");
        self.post(&path, with_assistant(fields)).await
    }

    /// Makes a run with these fields and waits for it.
    pub(crate) async fn wait(&self, thread: ThreadId, fields: Value) -> Answer {
        let path = format!("/threads/{thread}/runs/wait");
        self.post(&path, with_assistant(fields)).await
    }

    /// Claims the thread's next run.
    pub(crate) async fn claim(&self, thread: ThreadId) -> Attempt<'_> {
        let worker = WorkerId::new();
        let lease = Duration::from_hours(1);
        self.database.enlist(worker, lease).await.unwrap();
        match self.database.claim(thread, worker, ClaimId::new()).await {
            Ok(ClaimReply::Claimed(claimed)) => Attempt {
                server: self,
                number: 0,
                claimed: *claimed,
            },
            other => panic!("nothing to claim: {other:?}"),
        }
    }

    /// Carries out what must follow a change.
    pub(crate) async fn follow(&self, effects: Effects) {
        effects.carry_out(&*self.notifier, &*self.events).await;
    }

    /// Whether everything that outlived its request has come to an end by itself.
    pub(crate) async fn drain(&self) {
        self.gateway.drain().await;
    }
}

/// A run in a worker's hands.
pub(crate) struct Attempt<'a> {
    server: &'a Server,
    number: u64,
    claimed: Claimed,
}

impl Attempt<'_> {
    pub(crate) fn run(&self) -> &Run {
        &self.claimed.run
    }

    /// Emits an event and answers with its id.
    pub(crate) async fn emit(&mut self, name: &str, data: Value) -> String {
        let event = self.event(name, data);
        let id = event.id.to_string();
        self.append(vec![event]).await;
        id
    }

    pub(crate) fn event(&mut self, name: &str, data: Value) -> Event {
        let number = self.number;
        self.number += 1;
        let millis = self.claimed.claimed_at.timestamp_millis();
        Event {
            id: EventId {
                millis: u64::try_from(millis).unwrap(),
                number,
            },
            epoch: self.claimed.lease.fence.epoch,
            name: name.into(),
            data: Bytes::from(data.to_string()),
        }
    }

    pub(crate) async fn append(&self, events: Vec<Event>) {
        let Run { thread_id, id, .. } = self.claimed.run;
        let retention = Retention::of(self.claimed.run.kwargs.resumable);
        let log = &self.server.events;
        log.append(thread_id, id, events, retention).await.unwrap();
    }

    /// Ends the run, and tells everybody.
    pub(crate) async fn settle(self, transit: Transit, output: Value) {
        let server = self.server;
        let effects = self.settle_quietly(transit, output).await;
        server.follow(effects).await;
    }

    pub(crate) async fn succeed(self, output: Value) {
        self.settle(Transit::Succeed, output).await;
    }

    pub(crate) async fn fail(self, error: &str, message: &str) {
        let error = RunError::new(error, message);
        self.settle(Transit::Fail(error), Value::Null).await;
    }

    /// Ends the run and tells nobody: all hints are lost.
    pub(crate) async fn settle_quietly(self, transit: Transit, output: Value) -> Effects {
        let settlement = Settlement {
            transit,
            head: None,
            residue: None,
            output: (!output.is_null()).then(|| Json::from_value(&output)),
            interrupted_output: None,
        };
        let lease = &self.claimed.lease;
        let settled = self.server.database.settle(lease, settlement, None).await;
        settled.unwrap().effects
    }
}

/// An answer, as it comes.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: BodyDataStream,
    read: String,
    /// How many signs of life came in a row.
    idle: usize,
}

/// More signs of life in a row than any test waits for: what it waits for never comes.
const HOPELESS: usize = 1_000;

impl Answer {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK);
        self
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Option<String> {
        let chunk = self.body.next().await?.expect("the body is whole");
        let chunk = String::from_utf8(chunk.to_vec()).unwrap();
        let is_idle = chunk == "\n" || chunk.starts_with(": heartbeat");
        self.idle = if is_idle { self.idle + 1 } else { 0 };
        assert!(self.idle < HOPELESS, "nothing comes but signs of life");
        Some(chunk)
    }

    /// Whether the body breaks off.
    pub(crate) async fn breaks_off(&mut self) -> bool {
        matches!(self.body.next().await, Some(Err(_)))
    }

    /// The next frame of a stream, without the empty line at its end.
    pub(crate) async fn frame(&mut self) -> Option<String> {
        loop {
            if let Some((frame, rest)) = self.read.split_once("\r\n\r\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.read = rest;
                return Some(frame);
            }
            let chunk = self.chunk().await?;
            self.read += &chunk;
        }
    }

    /// The next frame that is not a heartbeat.
    pub(crate) async fn event(&mut self) -> Option<String> {
        loop {
            let frame = self.frame().await?;
            if frame != ": heartbeat" {
                return Some(frame);
            }
        }
    }

    /// Everything until the body ends.
    pub(crate) async fn rest(&mut self) -> String {
        let mut text = std::mem::take(&mut self.read);
        while let Some(chunk) = self.chunk().await {
            text += &chunk;
        }
        text
    }

    /// All events until the stream ends.
    pub(crate) async fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }

    /// The body as JSON, whatever line breaks come before it.
    pub(crate) async fn json(&mut self, status: u16) -> Value {
        let text = self.rest().await;
        assert_eq!(self.status.as_u16(), status, "{text}");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text:?}"))
    }

    /// The detail of a refusal.
    pub(crate) async fn refusal(&mut self, status: u16) -> String {
        let body = self.json(status).await;
        body["detail"].as_str().unwrap().to_owned()
    }

    /// Checks that there is a status and nothing else.
    pub(crate) async fn empty(&mut self, status: u16) {
        let text = self.rest().await;
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert_eq!(text, "");
    }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    request.header("content-type", "application/json")
}

/// `fields` of a run of the one graph there is.
pub(crate) fn with_assistant(mut fields: Value) -> Value {
    fields["assistant_id"] = json!("agent");
    fields
}

/// A frame as it stands on the wire, without the empty line at its end.
pub(crate) fn frame(name: &str, data: &str, id: Option<&str>) -> String {
    let id = id.map_or_else(String::new, |id| format!("\r\nid: {id}"));
    format!("event: {name}\r\ndata: {data}{id}")
}
