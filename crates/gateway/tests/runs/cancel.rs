//! Cancelling and deleting runs.

use futures::StreamExt;
use runloom_core::database::Transit;
use serde_json::json;
use tokio::time::{Duration, Instant, timeout};

use crate::support::Server;

const ABSENT: &str = "01900000-0000-7000-8000-000000000000";

#[tokio::test(start_paused = true)]
async fn a_cancel_is_accepted_and_the_run_ends_when_its_code_has_stopped() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let run = server.background(thread, json!({})).await;
    let attempt = server.claim(thread).await;
    server
        .call("POST", &format!("{run}/cancel?wait=0&action=interrupt"))
        .await
        .empty(202)
        .await;
    let still = server.get(&run).await.json(200).await;
    assert_eq!(still["status"], "running");
    assert_eq!(still["cancel_reason"], "cancelled on request");
    // A second request changes nothing and is no error.
    server
        .call("POST", &format!("{run}/cancel"))
        .await
        .empty(202)
        .await;
    attempt.settle(Transit::Interrupt, json!({})).await;
    assert_eq!(
        server.get(&run).await.json(200).await["status"],
        "interrupted"
    );
    let mut over = server.call("POST", &format!("{run}/cancel")).await;
    assert!(over.refusal(404).await.contains("verify"));
    let mut unknown = server
        .call("POST", &format!("/threads/{thread}/runs/{ABSENT}/cancel"))
        .await;
    assert_eq!(unknown.refusal(404).await, "No runs found to cancel.");
    let mut nonsense = server
        .call("POST", &format!("/threads/{thread}/runs/x/cancel"))
        .await;
    nonsense.refusal(422).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_waits_answers_only_when_the_run_is_over() {
    for action in ["interrupt", "rollback"] {
        let server = Server::start().await;
        let thread = server.thread().await;
        let run = server.background(thread, json!({})).await;
        let attempt = server.claim(thread).await;
        let path = format!("{run}/cancel?wait=true&action={action}");
        let mut cancelling = server.call("POST", &path).await.ok();
        let early = timeout(Duration::from_secs(4), cancelling.chunk()).await;
        assert!(early.is_err(), "{action}: {early:?}");
        attempt
            .settle(Transit::Interrupt, json!({"so": "far"}))
            .await;
        let (answer, status) = match action {
            "interrupt" => (json!({"so": "far"}), 200),
            _ => (json!({}), 404),
        };
        assert_eq!(cancelling.json(200).await, answer);
        assert_eq!(server.get(&run).await.status.as_u16(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn cancelling_does_not_wait_for_a_worker_that_is_silent() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let run = server.background(thread, json!({})).await;
    let attempt = server.claim(thread).await;
    let worker = attempt.run().worker_id.unwrap();
    let mut signals = server.notifier.signals(worker).await.unwrap();
    let begun = Instant::now();
    server
        .call("POST", &format!("{run}/cancel"))
        .await
        .empty(202)
        .await;
    let next = json!({"multitask_strategy": "rollback"});
    server.background(thread, next).await;
    assert!(begun.elapsed() < Duration::from_millis(10));
    let never_answered = signals.next().await.unwrap();
    assert_eq!(never_answered.signal.run_id, attempt.run().id);
}

#[tokio::test(start_paused = true)]
async fn many_runs_are_cancelled_by_status_or_by_id() {
    let server = Server::start().await;
    let (one, two) = (server.thread().await, server.thread().await);
    let held = server.background(one, json!({})).await;
    let waiting = server.background(two, json!({})).await;
    let attempt = server.claim(one).await;
    let id = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let named = json!({"thread_id": two, "run_ids": [id(&waiting), ABSENT]});
    server
        .post("/runs/cancel", named.clone())
        .await
        .empty(204)
        .await;
    assert_eq!(
        server.get(&waiting).await.json(200).await["status"],
        "interrupted"
    );
    assert_eq!(
        server.get(&held).await.json(200).await["cancel_reason"],
        json!(null)
    );
    let refusal = server.post("/runs/cancel", named).await.refusal(404).await;
    assert_eq!(refusal, "No runs found to cancel.");
    let running = json!({"status": "running"});
    server
        .post("/runs/cancel?action=rollback", running)
        .await
        .empty(204)
        .await;
    attempt.settle(Transit::Interrupt, json!({})).await;
    server.get(&held).await.refusal(404).await;
    for wrong in [
        json!({}),
        json!({"status": "all", "thread_id": one, "run_ids": []}),
        json!({"status": "over"}),
        json!({"thread_id": "x", "run_ids": []}),
    ] {
        server.post("/runs/cancel", wrong).await.refusal(422).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_in_flight_is_deleted_once_its_code_has_stopped() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let run = server.background(thread, json!({})).await;
    let mut stream = server.get(&format!("{run}/stream")).await.ok();
    let attempt = server.claim(thread).await;
    let deleting = server.call("DELETE", &run);
    tokio::pin!(deleting);
    let early = timeout(Duration::from_secs(4), &mut deleting).await;
    assert!(early.is_err(), "it still executes");
    attempt.settle(Transit::Interrupt, json!({})).await;
    deleting.await.empty(204).await;
    server.get(&run).await.refusal(404).await;
    assert_eq!(stream.events().await, [""; 0]);
    let thread = server
        .get(&format!("/threads/{thread}"))
        .await
        .json(200)
        .await;
    assert_eq!(thread["status"], "idle");
}

#[tokio::test(start_paused = true)]
async fn deleting_takes_what_is_over_and_says_what_does_not_stop() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let over = server.background(thread, json!({})).await;
    server.claim(thread).await.succeed(json!({})).await;
    server.call("DELETE", &over).await.empty(204).await;
    let refusal = server.call("DELETE", &over).await.refusal(404).await;
    assert_eq!(refusal, "Run not found");
    let pending = server.background(thread, json!({})).await;
    server.call("DELETE", &pending).await.empty(204).await;
    server.get(&pending).await.refusal(404).await;
    let deaf = server.background(thread, json!({})).await;
    let _deaf = server.claim(thread).await;
    let refusal = server.call("DELETE", &deaf).await.refusal(409).await;
    assert!(refusal.contains("has not stopped yet"));
}
