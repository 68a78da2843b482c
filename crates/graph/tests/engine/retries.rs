//! Failures: tried again, or reported, and never anybody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use runloom_core::executor::Ended;
use runloom_core::run::RunError;
use runloom_graph::{Node, NodeContext, NodeError, NodeResult, RetryPolicy, START, Update};
use serde_json::{Value, json};

use crate::bench::{Bench, Request, ms, word};
use crate::nodes::{input, log_graph, say, say_after, wait_forever};

/// A node that fails `times` times.
fn fails(times: usize, policy: RetryPolicy) -> (Node, Arc<AtomicUsize>) {
    let tries = Arc::new(AtomicUsize::new(0));
    let counter = tries.clone();
    let node = Node::new(move |_: Value, _: NodeContext| {
        let attempt = counter.fetch_add(1, Ordering::SeqCst);
        async move {
            if attempt < times {
                return Err(NodeError::new("ValueError", "kaboom"));
            }
            NodeResult::Ok(Update::new().set("log", "at last"))
        }
    });
    (node.retry(policy), tries)
}

fn policy() -> RetryPolicy {
    RetryPolicy::default().jitter(false)
}

#[tokio::test(start_paused = true)]
async fn a_node_is_tried_again_with_growing_waits() {
    let (node, tries) = fails(2, policy());
    let graph = log_graph()
        .node("a", node)
        .sequence(["a"])
        .compile()
        .unwrap();
    let started = tokio::time::Instant::now();
    assert_eq!(
        Bench::new(graph).succeed(input()).await,
        json!({"log": ["in", "at last"]})
    );
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    assert_eq!(started.elapsed(), ms(500 + 1000));
}

#[tokio::test(start_paused = true)]
async fn after_the_last_try_the_failure_is_the_runs() {
    let (node, tries) = fails(9, policy().max_attempts(2));
    let graph = log_graph()
        .node("a", node)
        .sequence(["a"])
        .compile()
        .unwrap();
    let bench = Bench::new(graph);
    let outcome = bench.run(&Request::input(input())).await;
    assert_eq!(
        outcome.ended,
        Ended::Failed(RunError::new("ValueError", "kaboom"))
    );
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    let state = bench.state().await;
    assert_eq!(state.next, ["a"]);
    assert_eq!(
        state.tasks[0].error.as_deref(),
        Some("ValueError('kaboom')")
    );
}

#[tokio::test(start_paused = true)]
async fn a_policy_chooses_the_failures_it_is_for() {
    let never = policy().only_if(|error| error.kind() == "TimeoutError");
    let (node, tries) = fails(1, never);
    let graph = log_graph()
        .node("a", node)
        .sequence(["a"])
        .compile()
        .unwrap();
    let outcome = Bench::new(graph).run(&Request::input(input())).await;
    assert_eq!(word(&outcome), "failed ValueError");
    assert_eq!(tries.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_run_with_a_clear_error_and_stops_its_siblings() {
    let panics =
        Node::new(async |_: Value, _: NodeContext| -> NodeResult { panic!("the roof is on fire") });
    let graph = log_graph()
        .node("panics", panics)
        .node("waits", wait_forever())
        .edge(START, "panics")
        .edge(START, "waits");
    let bench = Bench::new(graph.compile().unwrap());
    let outcome = bench.run(&Request::input(input())).await;
    let Ended::Failed(error) = &outcome.ended else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.error, "Panic");
    assert!(error.message.contains("the roof is on fire"), "{error:?}");
    // The executor goes on working.
    let graph = log_graph()
        .node("a", say("a"))
        .sequence(["a"])
        .compile()
        .unwrap();
    Bench::new(graph).succeed(input()).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_conditional_edge_is_a_failure_too() {
    let route = |_: Value| -> &'static str { panic!("which way?") };
    let graph = log_graph()
        .node("a", say("a"))
        .edge(START, "a")
        .conditional_edges("a", route, ["a"]);
    let outcome = Bench::new(graph.compile().unwrap())
        .run(&Request::input(input()))
        .await;
    assert_eq!(word(&outcome), "failed Panic");
}

#[tokio::test(start_paused = true)]
async fn a_failed_superstep_keeps_what_siblings_finished_for_a_resume() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let sibling = Node::new(move |_: Value, _: NodeContext| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { NodeResult::Ok(Update::new().set("log", "sibling")) }
    });
    let failed = Arc::new(AtomicUsize::new(0));
    let fails = Node::new(move |_: Value, _: NodeContext| {
        let first = failed.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            tokio::time::sleep(ms(1)).await;
            if first {
                return Err(NodeError::new("ValueError", "kaboom"));
            }
            NodeResult::Ok(Update::new().set("log", "at last"))
        }
    });
    let graph = log_graph()
        .node("fails", fails)
        .node("sibling", sibling)
        .node("slow", say_after(ms(5), "slow"))
        .edge(START, "sibling")
        .edge(START, "fails")
        .edge(START, "slow");
    let bench = Bench::new(graph.compile().unwrap());
    let outcome = bench.run(&Request::input(input())).await;
    assert_eq!(word(&outcome), "failed ValueError");
    let outcome = bench.run(&Request::resume()).await;
    assert_eq!(word(&outcome), "success");
    let values = outcome.head.unwrap().values.to_value();
    assert_eq!(values, json!({"log": ["in", "at last", "sibling", "slow"]}));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}
