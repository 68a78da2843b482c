//! The API on NATS: found, called, and left in order.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use runloom_bus::nats::Nats;
use runloom_core::ids::RunId;
use runloom_core::service::{Answer, Operation, Service};
use runloom_core::trace::TraceContext;
use runloom_testkit::services::nats::{Server, Version};
use runloom_testkit::services::shared;
use serde_json::{Value, json};
use support::{Leftovers, options};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const fn operation(name: &'static str) -> Operation {
    Operation {
        name,
        description: "says something",
        stands_for: "GET /",
        request: "{}",
        response: "{}",
    }
}

static OPERATIONS: [Operation; 3] = [
    operation("say.echo"),
    operation("say.no"),
    operation("say.later"),
];

/// Echoes, refuses, or answers when it is let.
struct Sayer {
    name: &'static str,
    let_go: Semaphore,
    called: Semaphore,
}

#[async_trait]
impl Service for Sayer {
    fn operations(&self) -> &'static [Operation] {
        &OPERATIONS
    }

    async fn call(
        &self,
        operation: &Operation,
        body: Bytes,
        trace: Option<&TraceContext>,
    ) -> Answer {
        self.called.add_permits(1);
        let answered = |body: Bytes| Answer {
            status: 200,
            body,
            retry_after: None,
        };
        match operation.name {
            "say.echo" => answered(match trace {
                // Where the call belongs is the answer, too.
                Some(trace) => trace.parent.to_string().into(),
                None => body,
            }),
            "say.no" => Answer {
                retry_after: Some(Duration::from_secs(3)),
                ..Answer::refusal(503, "Not\nnow")
            },
            _ => {
                self.let_go.acquire().await.unwrap().forget();
                answered(self.name.into())
            }
        }
    }
}

struct Serving {
    sayer: Arc<Sayer>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _leftovers: Leftovers,
}

/// Where a call belongs.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn serve(url: &str, prefix: &str, name: &'static str) -> Serving {
    let mut options = options(url);
    options.prefix = prefix.to_owned();
    let leftovers = Leftovers::of(&options);
    let nats = Nats::connect(options).await.unwrap();
    let sayer = Arc::new(Sayer {
        name,
        let_go: Semaphore::new(0),
        called: Semaphore::new(0),
    });
    let (stop, service) = (CancellationToken::new(), sayer.clone());
    let stopped = Box::pin(stop.clone().cancelled_owned());
    let serving = async move {
        let host = nats.service_host();
        host.serve(service, "1.2.3", stopped).await;
    };
    Serving {
        sayer,
        stop,
        task: TaskTracker::new().spawn(serving),
        _leftovers: leftovers,
    }
}

fn prefix() -> String {
    format!("test-{}", RunId::new())
}

/// All services named `runloom` in this installation, once there are so many.
async fn found(client: &Client, prefix: &str, count: usize) -> Vec<Value> {
    let searching = async {
        loop {
            let inbox = client.new_inbox();
            let mut answers = client.subscribe(inbox.clone()).await.unwrap();
            let subject = "$SRV.INFO.runloom";
            client
                .publish_with_reply(subject, inbox, Bytes::new())
                .await
                .unwrap();
            let mut infos: Vec<Value> = Vec::new();
            let pause = Duration::from_millis(200);
            while let Ok(Some(answer)) = timeout(pause, answers.next()).await {
                let info: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
                let subject = info["endpoints"][0]["subject"].as_str().unwrap_or_default();
                let complete = info["endpoints"].as_array().map_or(0, Vec::len) == OPERATIONS.len();
                if subject.starts_with(prefix) && complete {
                    infos.push(info);
                }
            }
            if infos.len() == count {
                return infos;
            }
        }
    };
    let searching = timeout(Duration::from_secs(20), searching);
    searching.await.expect("the services are found")
}

async fn call(client: &Client, prefix: &str, operation: &str, body: &str) -> Message {
    let subject = format!("{prefix}.c0.api.{operation}");
    let asking = client.request(subject, Bytes::from(body.to_owned()));
    timeout(Duration::from_secs(20), asking)
        .await
        .unwrap()
        .unwrap()
}

fn header<'a>(message: &'a Message, name: &str) -> &'a str {
    let headers = message.headers.as_ref();
    let value = headers.and_then(|headers| headers.get(name));
    value.map_or("", |value| value.as_str())
}

#[tokio::test]
async fn a_client_finds_what_can_be_called_and_calls_it() {
    let prefix = prefix();
    let serving = serve(&shared::nats_url(), &prefix, "one").await;
    let client = async_nats::connect(shared::nats_url()).await.unwrap();
    let info = found(&client, &prefix, 1).await.remove(0);
    assert_eq!(info["name"], "runloom");
    assert_eq!(info["version"], "1.2.3");
    let endpoints = info["endpoints"].as_array().unwrap();
    let subjects: BTreeSet<_> = endpoints
        .iter()
        .map(|endpoint| endpoint["subject"].as_str().unwrap().to_owned())
        .collect();
    let expected = OPERATIONS.map(|known| format!("{prefix}.c0.api.{}", known.name));
    assert_eq!(subjects, expected.into());
    assert_eq!(endpoints[0]["queue_group"], "api");
    assert_eq!(endpoints[0]["metadata"]["request"], "{}");

    let mut headers = HeaderMap::new();
    headers.insert("traceparent", PARENT);
    let subject = format!("{prefix}.c0.api.say.echo");
    let asking = client.request_with_headers(subject, headers, Bytes::new());
    let answer = timeout(Duration::from_secs(20), asking).await;
    assert_eq!(answer.unwrap().unwrap().payload, PARENT);
    let answer = call(&client, &prefix, "say.echo", "{\"a\": 1.0}").await;
    assert_eq!(answer.payload, "{\"a\": 1.0}");
    assert!(answer.headers.is_none());
    let refused = call(&client, &prefix, "say.no", "").await;
    assert_eq!(refused.payload, json!({"detail": "Not\nnow"}).to_string());
    assert_eq!(header(&refused, "Nats-Service-Error-Code"), "503");
    assert_eq!(header(&refused, "Nats-Service-Error"), "Not now");
    assert_eq!(header(&refused, "Retry-After"), "3");
    serving.stop.cancel();
    serving.task.await.unwrap();
}

#[tokio::test]
async fn who_stops_answers_what_is_under_way_and_leaves_the_rest_to_others() {
    let prefix = prefix();
    let leaving = serve(&shared::nats_url(), &prefix, "leaving").await;
    let client = async_nats::connect(shared::nats_url()).await.unwrap();
    found(&client, &prefix, 1).await;
    let first = call(&client, &prefix, "say.later", "");
    let rest = async {
        leaving.sayer.called.acquire().await.unwrap().forget();
        let staying = serve(&shared::nats_url(), &prefix, "staying").await;
        found(&client, &prefix, 2).await;
        leaving.stop.cancel();
        found(&client, &prefix, 1).await;
        staying.sayer.let_go.add_permits(20);
        for _ in 0..20 {
            let answer = call(&client, &prefix, "say.later", "").await;
            assert_eq!(answer.payload, "staying");
        }
        assert!(!leaving.task.is_finished(), "it owes an answer");
        leaving.sayer.let_go.add_permits(1);
        staying
    };
    let (answer, staying) = tokio::join!(first, rest);
    assert_eq!(answer.payload, "leaving");
    leaving.task.await.unwrap();
    staying.stop.cancel();
    staying.task.await.unwrap();
}

#[tokio::test]
async fn the_service_comes_back_with_the_server_and_stops_without_one() {
    let mut server = Server::start_with(Version::Newest, "max_payload: 4096").await;
    let serving = serve(&server.url(), "test", "one").await;
    let client = async_nats::connect(server.url()).await.unwrap();
    found(&client, "test", 1).await;
    let most = "9".repeat(4_000);
    let refused = call(&client, "test", "say.echo", &most).await;
    assert_eq!(header(&refused, "Nats-Service-Error-Code"), "413");
    server.kill();
    server.restart().await;
    found(&client, "test", 1).await;
    let answer = call(&client, "test", "say.echo", "again").await;
    assert_eq!(answer.payload, "again");
    server.kill();
    serving.stop.cancel();
    let patience = Duration::from_secs(20);
    timeout(patience, serving.task).await.unwrap().unwrap();
    // For whoever clears away.
    server.restart().await;
}
