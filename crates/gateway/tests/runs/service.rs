//! The API by the names of operations.

use bytes::Bytes;
use runloom_core::service::{Answer, Service};
use runloom_core::trace::TraceContext;
use runloom_gateway::ApiService;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::support::Server;

impl Server {
    async fn service_call(&self, operation: &str, body: Value) -> Answer {
        self.traced_call(operation, body, None).await
    }

    async fn traced_call(
        &self,
        operation: &str,
        body: Value,
        trace: Option<&TraceContext>,
    ) -> Answer {
        let service = ApiService::new(self.router());
        let mut operations = service.operations().iter();
        let operation = operations.find(|known| known.name == operation).unwrap();
        let body = Bytes::from(body.to_string());
        service.call(operation, body, trace).await
    }
}

/// The document of an answer with `status`.
#[track_caller]
fn document(answer: &Answer, status: u16) -> Value {
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert_eq!(answer.status, status, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text:?}"))
}

#[tokio::test(start_paused = true)]
async fn a_run_is_created_waited_for_and_read_by_name() {
    let server = Server::start().await;
    let made = server.service_call("threads.create", json!({})).await;
    let thread = document(&made, 200)["thread_id"].clone();
    let fields = json!({"thread_id": thread, "assistant_id": "agent", "input": {}});
    let created = server.service_call("runs.create", fields).await;
    let run = document(&created, 200);
    let named = json!({"thread_id": thread, "run_id": run["run_id"], "timeout": 60});
    let output = json!({"messages": ["done"]});
    let attempt = async {
        let thread = thread.as_str().unwrap().parse().unwrap();
        let attempt = server.claim(thread).await;
        // Long enough for several signs of life.
        tokio::time::sleep(Duration::from_secs(20)).await;
        attempt.succeed(output.clone()).await;
    };
    let waiting = server.service_call("runs.wait", named.clone());
    let (waited, ()) = tokio::join!(waiting, attempt);
    assert_eq!(waited.body, output.to_string(), "and no line breaks");
    let read = server.service_call("runs.get", named).await;
    assert_eq!(document(&read, 200)["status"], "success");
}

#[tokio::test]
async fn a_call_belongs_where_its_caller_does() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let server = Server::start().await;
    let thread = server.thread().await;
    let trace = TraceContext::read(PARENT, Some("vendor=1"));
    let fields = json!({"thread_id": thread, "assistant_id": "agent", "input": {}});
    let created = server.traced_call("runs.create", fields, trace.as_ref());
    let run = document(&created.await, 200);
    assert_eq!(run["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    // Whoever executes it gets the whole of it.
    let attempt = server.claim(thread).await;
    assert_eq!(attempt.run().kwargs.trace, trace);
    let fields = json!({"thread_id": thread, "assistant_id": "nobody"});
    let refused = server.traced_call("runs.create", fields, trace.as_ref());
    assert_eq!(document(&refused.await, 422)["trace_id"], run["trace_id"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_that_of_http() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let fields = json!({"thread_id": thread, "assistant_id": "nobody"});
    let named = server.service_call("runs.create", fields.clone()).await;
    let path = format!("/threads/{thread}/runs");
    let mut http = server.post(&path, fields).await;
    let status = http.status.as_u16();
    assert!(status >= 400);
    assert_eq!(document(&named, status), http.json(status).await);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_its_time_is_over_and_the_run_goes_on() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let place = server.background(thread, json!({"input": {}})).await;
    let run = place.rsplit('/').next().unwrap();
    let begun = Instant::now();
    let fields = json!({"run_id": run, "timeout": 2.5});
    let answer = server.service_call("runs.wait", fields).await;
    assert_eq!(begun.elapsed(), Duration::from_millis(2_500));
    let detail = "The run is not over after 2.5 s. Ask again.";
    assert_eq!(document(&answer, 504), json!({ "detail": detail }));
    let read = server.get(&place).await.json(200).await;
    assert_eq!(read["status"], "pending");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_stop_cuts_off_says_that_another_server_answers() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let place = server.background(thread, json!({"input": {}})).await;
    let run = place.rsplit('/').next().unwrap();
    let waiting = server.service_call("runs.wait", json!({"run_id": run}));
    let stopping = async {
        tokio::task::yield_now().await;
        server.stop.cancel();
    };
    let (answer, ()) = tokio::join!(waiting, stopping);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.retry_after, Some(Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_accepted_or_refused_as_over_http() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let place = server.background(thread, json!({"input": {}})).await;
    let run = place.rsplit('/').next().unwrap();
    let fields = json!({"thread_id": thread, "run_id": run});
    let accepted = server.service_call("runs.cancel", fields.clone()).await;
    assert_eq!((accepted.status, accepted.body.len()), (202, 0));
    let missing = json!({"thread_id": thread, "run_id": thread});
    let refused = server.service_call("runs.cancel", missing).await;
    assert_eq!(refused.status, 404);
}
