//! Runs that are stopped, and processes that end.

use std::time::Duration;

use runloom_core::checkpoint::CheckpointQuery;
use runloom_core::executor::{Ended, StopKind};
use runloom_remote::pool::PoolConfig;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{Gate, Run, Thread, ended, executor, executor_with, values};

#[tokio::test]
async fn an_interrupted_run_stops_and_what_it_said_is_known() {
    let executor = executor().await;
    let (thread, gate) = (Thread::new(), Gate::closed());
    let question = json!([{"role": "user", "content": "go on", "id": "q"}]);
    let run = Run::of(
        "chat",
        &thread,
        &json!({"messages": question, "path": gate.path()}),
    );
    let running = run.start(&executor);
    thread.heard("messages").await;
    run.ask_to_stop(StopKind::Interrupt);
    let outcome = ended(running).await;
    assert_eq!(outcome.ended, Ended::Stopped);
    let head = outcome.head.as_ref().unwrap();
    assert_eq!(head.next, ["speak"]);
    assert_eq!(values(&outcome)["messages"][0]["content"], "go on");

    let said: Vec<_> = thread
        .host
        .emitted()
        .into_iter()
        .filter_map(|event| event.said)
        .collect();
    assert!(!said.is_empty());
    let text: String = said.iter().map(|said| said.text.as_str()).collect();
    assert!("Once upon".starts_with(&text), "{text}");
    assert!(said.iter().all(|said| said.node == "speak"));
}

#[tokio::test]
async fn a_drained_run_ends_at_the_boundary_of_a_superstep_and_goes_on_later() {
    let executor = executor().await;
    let (thread, gate) = (Thread::new(), Gate::closed());
    let run = Run::steps(&thread, &gate, &[]);
    let running = run.start(&executor);
    thread.heard("custom").await;
    run.ask_to_stop(StopKind::Drain);
    gate.let_through();
    let outcome = ended(running).await;
    // The superstep that was under way was the last one, so there was nothing left to do.
    assert!(
        matches!(outcome.ended, Ended::Success | Ended::Drained),
        "{outcome:?}"
    );
    run.stop.send_replace(None);
    let outcome = run.execute(&executor).await;
    assert_eq!(values(&outcome)["entries"], json!(["first", "second"]));
}

#[tokio::test]
async fn a_run_that_cannot_be_stopped_takes_its_process_along_and_its_neighbours_go_on_elsewhere() {
    let executor = executor_with(PoolConfig::default(), Duration::from_secs(1)).await;
    let gate = Gate::closed();
    let (innocent, deaf) = (Thread::new(), Thread::new());
    let neighbour = Run::steps(&innocent, &gate, &["in"]);
    let waiting = neighbour.start(&executor);
    innocent.heard("custom").await;
    let held = Gate::closed();
    let block = Run::of(
        "block",
        &deaf,
        &json!({"entries": ["mine"], "path": held.path()}),
    );
    let blocking = block.start(&executor);
    held.opened().await;

    block.ask_to_stop(StopKind::Interrupt);
    let outcome = ended(blocking).await;
    assert_eq!(outcome.ended, Ended::Stopped);
    let outcome = ended(waiting).await;
    assert_eq!(outcome.ended, Ended::Evicted);

    gate.let_through();
    let outcome = neighbour.execute(&executor).await;
    assert_eq!(outcome.ended, Ended::Success);
    assert_eq!(
        values(&outcome)["entries"],
        json!(["in", "first", "second"])
    );
    let stored = deaf.host.stored(&CheckpointQuery::default());
    assert!(
        !stored.is_empty(),
        "what was stored of the run that was killed stays"
    );
}

#[tokio::test]
async fn runs_of_a_process_that_dies_are_to_be_tried_again() {
    let executor = executor().await;
    let (thread, gate) = (Thread::new(), Gate::closed());
    let run = Run::steps(&thread, &gate, &["in"]);
    let running = run.start(&executor);
    thread.heard("custom").await;
    let pid = i32::try_from(executor.manifest().pid).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let outcome = ended(running).await;
    let Ended::Retry(error) = outcome.ended else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.error, "ExecutorDied");
    gate.let_through();
    let again = run.with(|attempt| attempt.attempt = 2);
    let outcome = again.execute(&executor).await;
    assert_eq!(outcome.ended, Ended::Success);
    assert_eq!(
        values(&outcome)["entries"],
        json!(["in", "first", "second"])
    );
}

#[tokio::test]
async fn a_run_whose_future_is_dropped_stops_and_reaches_its_host_no_more() {
    let pool = PoolConfig {
        max_runs: 1,
        spare: false,
        ..PoolConfig::default()
    };
    // The only process takes one run at a time.
    let executor = executor_with(pool, Duration::from_secs(20)).await;
    let (thread, gate) = (Thread::new(), Gate::closed());
    let run = Run::steps(&thread, &gate, &[]);
    let running = run.start(&executor);
    thread.heard("custom").await;
    running.abort();
    let _ = running.await;
    let calls = thread.host.calls().len();

    let next = Run::of("ask", &Thread::new(), &json!({"entries": []}));
    let outcome = next.execute(&executor).await;
    assert_eq!(outcome.ended, Ended::Paused, "there was room for it");
    assert_eq!(thread.host.calls().len(), calls);
}

#[tokio::test]
async fn runs_go_on_elsewhere_when_the_executor_is_shut_down() {
    let executor = executor().await;
    let (thread, gate) = (Thread::new(), Gate::closed());
    let run = Run::steps(&thread, &gate, &[]);
    let running = run.start(&executor);
    thread.heard("custom").await;
    executor.shutdown().await;
    assert_eq!(ended(running).await.ended, Ended::Evicted);
    assert_eq!(run.execute(&executor).await.ended, Ended::Evicted);
}
