//! What is asked about graphs and states.

use std::sync::Arc;
use std::time::Duration;

use runloom_core::checkpoint::CheckpointQuery;
use runloom_core::executor::{Ended, Executor, ExecutorError, StopKind};
use runloom_core::ids::GraphId;
use runloom_core::json::{Json, JsonMap};
use runloom_core::projection;
use runloom_core::state::{HistoryQuery, NodeUpdate, StateQuery, StateUpdate};
use runloom_remote::executor::RemoteExecutor;
use runloom_remote::pool::PoolConfig;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Gate, LIMIT, Run, Thread, as_map, ended, executor, executor_with};

fn graph(name: &str) -> GraphId {
    GraphId(name.to_owned())
}

fn latest(thread: &Thread) -> StateQuery {
    StateQuery {
        thread_id: thread.id,
        ns: String::new(),
        checkpoint_id: None,
        subgraphs: false,
    }
}

#[tokio::test]
async fn the_state_of_a_thread_is_what_its_runs_left() {
    let executor = executor().await;
    let (thread, gate) = (Thread::new(), Gate::closed());
    let question = json!([{"role": "user", "content": "go on", "id": "q"}]);
    let run = Run::of(
        "chat",
        &thread,
        &json!({"messages": question, "path": gate.path()}),
    );
    let nothing = executor
        .state(&graph("chat"), latest(&thread), thread.host.clone())
        .await;
    let nothing = nothing.unwrap();
    assert!(nothing.is_none_or(|state| state.checkpoint.is_none()));

    let running = run.start(&executor);
    thread.heard("messages").await;
    run.ask_to_stop(StopKind::Interrupt);
    ended(running).await;
    let state = executor
        .state(&graph("chat"), latest(&thread), thread.host.clone())
        .await;
    let state = state.unwrap().unwrap();
    assert_eq!(state.next, ["speak"]);
    assert_eq!(state.tasks[0].name, "speak");
    let stored = thread.host.stored(&CheckpointQuery::default());
    let id = &stored[0].checkpoint.id;
    assert_eq!(state.checkpoint.unwrap().checkpoint_id.as_ref(), Some(id));

    // What is shown while no executor can answer is the same.
    let kept = projection::values(&stored[0]);
    assert_eq!(Value::Object(kept), state.values.to_value());
}

#[tokio::test]
async fn a_state_is_changed_through_the_host_and_its_history_shows_it() {
    let executor = executor().await;
    let thread = Thread::new();
    let change = |entry: &str| NodeUpdate {
        values: Some(Json::from_value(&json!({"entries": [entry]}))),
        command: None,
        as_node: Some("first".to_owned()),
    };
    let update = StateUpdate {
        thread_id: thread.id,
        ns: String::new(),
        checkpoint_id: None,
        supersteps: vec![vec![change("a")], vec![change("b")]],
        metadata: as_map(json!({"user": "ann"})),
    };
    let head = executor
        .update_state(&graph("steps"), update, thread.host.clone())
        .await;
    let head = head.unwrap();
    assert_eq!(head.values.to_value()["entries"], json!(["a", "b"]));
    assert_eq!(head.next, ["second"]);
    let stored = thread.host.stored(&CheckpointQuery::default());
    assert_eq!(head.checkpoint_id.as_ref(), Some(&stored[0].checkpoint.id));
    assert!(stored.iter().all(|tuple| tuple.checkpoint.run_id.is_none()));

    let query = HistoryQuery {
        thread_id: thread.id,
        ns: String::new(),
        checkpoint_id: None,
        before: None,
        metadata: JsonMap::new(),
        limit: 10,
    };
    let history = executor
        .history(&graph("steps"), query, thread.host.clone())
        .await;
    let entries: Vec<_> = history
        .unwrap()
        .iter()
        .map(|state| state.values.to_value()["entries"].clone())
        .collect();
    assert_eq!(entries[..2], [json!(["a", "b"]), json!(["a"])]);
}

#[tokio::test]
async fn a_change_that_does_not_fit_the_graph_is_refused() {
    let executor = executor().await;
    let thread = Thread::new();
    let update = StateUpdate {
        thread_id: thread.id,
        ns: String::new(),
        checkpoint_id: None,
        supersteps: vec![vec![NodeUpdate {
            values: Some(Json::from_value(&json!({"entries": ["a"]}))),
            command: None,
            as_node: Some("nobody".to_owned()),
        }]],
        metadata: JsonMap::new(),
    };
    let refused = executor
        .update_state(&graph("steps"), update, thread.host.clone())
        .await;
    assert!(
        matches!(refused, Err(ExecutorError::Invalid(_))),
        "{refused:?}"
    );
    assert!(thread.host.calls().is_empty());
}

#[tokio::test]
async fn a_graph_can_be_looked_at() {
    let executor = executor().await;
    let drawing = executor
        .drawing(&graph("steps"), 0)
        .await
        .unwrap()
        .to_value();
    let nodes = drawing["nodes"].as_array().unwrap();
    let ids: Vec<_> = nodes
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["__start__", "first", "second", "__end__"]);
    let schemas = executor.schemas(&graph("steps")).await.unwrap();
    let input = schemas.input_schema.unwrap().to_value();
    assert!(input["properties"]["entries"].is_object(), "{input}");
    assert_eq!(executor.subgraphs(&graph("steps"), true).await.unwrap(), []);
}

#[tokio::test]
async fn questions_about_graphs_that_are_not_there_are_refused() {
    let executor = executor().await;
    let unknown = executor.drawing(&graph("nothing"), 0).await;
    assert!(
        matches!(unknown, Err(ExecutorError::UnknownGraph(_))),
        "{unknown:?}"
    );
    let thread = Thread::new();
    let broken = executor
        .state(&graph("broken"), latest(&thread), thread.host.clone())
        .await;
    let Err(ExecutorError::Unavailable(reason)) = broken else {
        panic!("{broken:?}");
    };
    assert!(reason.contains("no_such_module_anywhere"), "{reason}");
}

/// One process, whose factory hangs at the first question until that is called off.
async fn hanging(question_limit: Duration) -> Arc<RemoteExecutor> {
    let pool = PoolConfig {
        question_limit,
        spare: false,
        ..PoolConfig::default()
    };
    executor_with(pool, Duration::from_secs(20)).await
}

/// What the state of a thread is answered with once the first question was called off.
async fn was_called_off(executor: &RemoteExecutor, thread: &Thread) {
    let next = executor
        .state(&graph("hanging"), latest(thread), thread.host.clone())
        .await;
    let Err(ExecutorError::Failed(reason)) = next else {
        panic!("{next:?}");
    };
    assert_eq!(reason, "ValueError: called off before");
}

#[tokio::test]
async fn a_question_that_is_never_answered_is_called_off() {
    let executor = hanging(Duration::from_secs(3)).await;
    let thread = Thread::new();
    let late = executor
        .state(&graph("hanging"), latest(&thread), thread.host.clone())
        .await;
    let Err(ExecutorError::Unavailable(reason)) = late else {
        panic!("{late:?}");
    };
    assert!(reason.contains("within 3s"), "{reason}");
    was_called_off(&executor, &thread).await;
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_is_called_off() {
    let executor = hanging(LIMIT).await;
    let thread = Thread::new();
    let id = graph("hanging");
    let question = executor.state(&id, latest(&thread), thread.host.clone());
    let given_up = timeout(Duration::from_secs(3), question).await;
    assert!(given_up.is_err(), "{given_up:?}");
    was_called_off(&executor, &thread).await;
}

#[tokio::test]
async fn nothing_answers_after_the_end() {
    let pool = PoolConfig {
        question_wait: Duration::from_secs(1),
        ..PoolConfig::default()
    };
    let executor = executor_with(pool, Duration::from_secs(20)).await;
    executor.shutdown().await;
    let gone = executor.drawing(&graph("steps"), 0).await;
    assert!(
        matches!(gone, Err(ExecutorError::Unavailable(_))),
        "{gone:?}"
    );
    let outcome = Run::of("steps", &Thread::new(), &json!({}))
        .execute(&executor)
        .await;
    assert_eq!(outcome.ended, Ended::Evicted);
}
