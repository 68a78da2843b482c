//! Creating runs, and refusing to.

use futures::StreamExt;
use runloom_core::run::CancelAction;
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use crate::support::{Server, with_assistant};

const ABSENT: &str = "01900000-0000-7000-8000-000000000000";

#[tokio::test(start_paused = true)]
async fn a_run_is_answered_as_it_was_accepted() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let body = json!({
        "assistant_id": "agent",
        "input": {"messages": [{"role": "user", "content": "one"}]},
        "metadata": {"m": 1, "run_id": "x"},
        "config": {"configurable": {"a": 1, "langgraph_auth_user": "x"}, "tags": ["t"]},
        "interrupt_before": "*",
        "unknown": {"field": []},
    });
    let mut created = server.post(&format!("/threads/{thread}/runs"), body).await;
    let place = created.header("content-location").to_owned();
    assert_eq!(created.header("location"), "");
    let run = created.json(200).await;
    assert_eq!(
        place,
        format!("/threads/{thread}/runs/{}", run["run_id"].as_str().unwrap())
    );
    assert_eq!(run["status"], "pending");
    assert_eq!(run["multitask_strategy"], "enqueue");
    assert_eq!(run["metadata"]["m"], 1);
    assert_eq!(run["metadata"]["graph_id"], "agent");
    assert_eq!(run["metadata"]["created_by"], "system");
    let kwargs = &run["kwargs"];
    assert_eq!(kwargs["input"]["messages"][0]["content"], "one");
    assert_eq!(kwargs["stream_mode"], json!(["values"]));
    assert_eq!(kwargs["interrupt_before"], "*");
    assert_eq!(kwargs["context"], json!({"a": 1}));
    assert_eq!(kwargs["checkpoint_during"], true);
    let configurable = &kwargs["config"]["configurable"];
    assert_eq!(configurable["a"], 1);
    assert_eq!(configurable["run_id"], run["run_id"]);
    assert_eq!(configurable["langgraph_auth_user"], Value::Null);
    assert!(configurable["langgraph_request_id"].is_string());
    let mut got = server.get(&place).await;
    assert_eq!(got.json(200).await, run);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_and_settings_hold_for_their_run_alone() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let fork = json!({"checkpoint_id": ABSENT, "config": {"configurable": {
        "runloom": {"profile": "strict"}, "a": 1}}});
    let place = server.background(thread, fork).await;
    let mut forked = server.get(&place).await;
    let configurable = &forked.json(200).await["kwargs"]["config"]["configurable"];
    assert_eq!(configurable["checkpoint_id"], ABSENT);
    assert_eq!(configurable["runloom"], json!({"profile": "strict"}));
    let place = server.background(thread, json!({})).await;
    let mut next = server.get(&place).await;
    let configurable = &next.json(200).await["kwargs"]["config"]["configurable"];
    assert_eq!(
        configurable["a"], 1,
        "the thread's configuration is inherited"
    );
    assert_eq!(configurable["checkpoint_id"], Value::Null);
    assert_eq!(configurable["runloom"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_writes_nothing() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let absent = json!({"assistant_id": ABSENT});
    let foreign = json!({"assistant_id": "agent", "checkpoint": {"thread_id": ABSENT}});
    let both = json!({"assistant_id": "agent", "context": {"a": 1},
        "config": {"configurable": {"b": 1}}});
    let cases = [
        (json!({}), 422, "missing field `assistant_id`"),
        (json!({"assistant_id": "robot"}), 422, "agent"),
        (absent, 404, "Thread or assistant not found."),
        (
            json!({"assistant_id": "agent", "stream_mode": "x"}),
            422,
            "unknown variant `x`",
        ),
        (
            json!({"assistant_id": "agent", "checkpoint_id": "x"}),
            422,
            "Invalid checkpoint ID",
        ),
        (foreign, 422, "belongs to thread"),
        (both, 400, "configurable and context"),
        (json!([]), 422, "an object"),
    ];
    for (body, status, detail) in cases {
        for form in ["", "/stream", "/wait"] {
            let path = format!("/threads/{thread}/runs{form}");
            let refusal = server.post(&path, body.clone()).await.refusal(status).await;
            assert!(refusal.contains(detail), "{body} {form}: {refusal}");
        }
    }
    for form in ["", "/stream", "/wait"] {
        let missing = with_assistant(json!({}));
        let path = format!("/threads/{ABSENT}/runs{form}");
        let refusal = server.post(&path, missing).await.refusal(404).await;
        assert_eq!(refusal, "Thread or assistant not found.");
        let path = format!("/threads/x/runs{form}");
        let refusal = server.post(&path, json!({})).await.refusal(422).await;
        assert_eq!(refusal, "Invalid thread ID: must be a UUID");
    }
    let runs = server
        .get(&format!("/threads/{thread}/runs"))
        .await
        .json(200)
        .await;
    assert_eq!(runs, json!([]));
    let count = server
        .post("/threads/count", json!({}))
        .await
        .json(200)
        .await;
    assert_eq!(count, json!(1));
}

#[tokio::test(start_paused = true)]
async fn a_busy_thread_refuses_a_run_that_asks_for_it() {
    let server = Server::start().await;
    let thread = server.thread().await;
    server
        .background(thread, json!({"after_seconds": 60}))
        .await;
    let rejecting = with_assistant(json!({"multitask_strategy": "reject"}));
    for form in ["", "/stream", "/wait"] {
        let path = format!("/threads/{thread}/runs{form}");
        let refusal = server
            .post(&path, rejecting.clone())
            .await
            .refusal(409)
            .await;
        assert_eq!(
            refusal,
            "Thread is already running a task. Wait for it to finish or choose a different \
             multitask strategy."
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_thread_is_made_if_asked_for() {
    let server = Server::start().await;
    let body = with_assistant(json!({"if_not_exists": "create", "metadata": {"m": 1}}));
    let mut run = server.post(&format!("/threads/{ABSENT}/runs"), body).await;
    assert_eq!(run.json(200).await["thread_id"], ABSENT);
    let thread = server
        .get(&format!("/threads/{ABSENT}"))
        .await
        .json(200)
        .await;
    assert_eq!(
        (&thread["status"], &thread["metadata"]["m"]),
        (&json!("busy"), &json!(1))
    );
}

#[tokio::test(start_paused = true)]
async fn lone_runs_get_a_thread_and_are_named_without_it() {
    let server = Server::start().await;
    let mut created = server.post("/runs", with_assistant(json!({}))).await;
    let place = created.header("content-location").to_owned();
    let run = created.json(200).await;
    assert_eq!(place, format!("/runs/{}", run["run_id"].as_str().unwrap()));
    assert_eq!(run["kwargs"]["temporary"], true);
    let got = server.get(&place).await.json(200).await;
    assert_eq!(got, run);
    let stream = server
        .post("/runs/stream", with_assistant(json!({})))
        .await
        .ok();
    let place = stream.header("content-location");
    assert_eq!(stream.header("location"), format!("{place}/stream"));
    assert!(place.starts_with("/runs/"));
    let resume = with_assistant(json!({"command": {"resume": 1}}));
    let refusal = server.post("/runs/wait", resume).await.refusal(400).await;
    assert_eq!(refusal, "You must provide a thread_id when resuming.");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_made_whole_or_not_at_all() {
    let server = Server::start().await;
    let fields = |n| with_assistant(json!({"metadata": {"n": n}}));
    let mut created = server
        .post("/runs/batch", json!([fields(0), fields(1)]))
        .await;
    let runs = created.json(200).await;
    assert_eq!(
        (&runs[0]["metadata"]["n"], &runs[1]["metadata"]["n"]),
        (&json!(0), &json!(1))
    );
    assert_ne!(runs[0]["thread_id"], runs[1]["thread_id"]);
    let absent = json!({"assistant_id": ABSENT});
    server
        .post("/runs/batch", json!([fields(2), absent]))
        .await
        .refusal(404)
        .await;
    server
        .post("/runs/batch", json!([]))
        .await
        .refusal(422)
        .await;
    let count = server
        .post("/threads/count", json!({}))
        .await
        .json(200)
        .await;
    assert_eq!(count, json!(2));
}

#[tokio::test(start_paused = true)]
async fn a_command_wins_over_an_input() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let both = json!({"input": {"a": 1}, "command": {"resume": "yes"}});
    let place = server.background(thread, both).await;
    let kwargs = server.get(&place).await.json(200).await["kwargs"].clone();
    assert_eq!(
        (&kwargs["input"], &kwargs["command"]),
        (&Value::Null, &json!({"resume": "yes"}))
    );
}

#[tokio::test(start_paused = true)]
async fn workers_hear_at_once_of_a_run_and_of_what_it_stops() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let soon = Duration::from_millis(1);
    server.background(thread, json!({})).await;
    let wakes = server.notifier.wakes(9, soon).await.unwrap();
    let woken: Vec<_> = wakes.iter().map(|wake| wake.thread).collect();
    assert_eq!(woken, [thread]);
    let attempt = server.claim(thread).await;
    let worker = attempt.run().worker_id.unwrap();
    let mut signals = server.notifier.signals(worker).await.unwrap();
    let interrupting = json!({"multitask_strategy": "interrupt"});
    server.background(thread, interrupting).await;
    let delivery = timeout(soon, signals.next()).await.unwrap().unwrap();
    assert_eq!(delivery.signal.run_id, attempt.run().id);
    assert_eq!(delivery.signal.action, CancelAction::Interrupt);
}
