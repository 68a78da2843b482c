//! Pauses before and after nodes.

use runloom_core::event::StreamMode;
use runloom_core::run::{NodeSelection, Star};
use serde_json::json;

use crate::bench::{Bench, Request, word};
use crate::nodes::{input, log_graph, say};

fn bench() -> Bench {
    let graph = log_graph()
        .node("a", say("a"))
        .node("b", say("b"))
        .sequence(["a", "b"]);
    Bench::new(graph.compile().unwrap())
}

fn at(node: &str) -> NodeSelection {
    NodeSelection::Some(vec![node.to_owned()])
}

#[tokio::test(start_paused = true)]
async fn a_run_pauses_before_a_node_and_the_next_one_passes() {
    let bench = bench();
    let modes = [StreamMode::Updates];
    let request = Request::input(input()).modes(&modes);
    let outcome = bench
        .run(&request.with(|kwargs| kwargs.interrupt_before = Some(at("b"))))
        .await;
    assert_eq!(word(&outcome), "paused");
    let head = outcome.head.unwrap();
    assert_eq!(
        (head.next, head.interrupts.len()),
        (vec!["b".to_owned()], 0)
    );
    assert_eq!(
        bench.events_named("updates")[1..],
        [json!({"__interrupt__": []})]
    );
    let request = Request::resume().with(|kwargs| kwargs.interrupt_before = Some(at("b")));
    let outcome = bench.run(&request).await;
    assert_eq!(word(&outcome), "success");
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "a", "b"]})
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_pauses_after_every_node_if_asked_to() {
    let bench = bench();
    let all = || Some(NodeSelection::All(Star::Star));
    let request = Request::input(input()).with(|kwargs| kwargs.interrupt_after = all());
    let outcome = bench.run(&request).await;
    assert_eq!(
        (word(&outcome).as_str(), outcome.head.unwrap().next.len()),
        ("paused", 1)
    );
    let outcome = bench
        .run(&Request::resume().with(|kwargs| kwargs.interrupt_after = all()))
        .await;
    // After the last node there is nothing left to wait for.
    assert_eq!(
        (word(&outcome).as_str(), outcome.head.unwrap().next.len()),
        ("success", 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_of_a_run_stops_at_the_same_breakpoint() {
    for before in [true, false] {
        let bench = bench();
        let request = Request::input(input()).with(|kwargs| {
            let (node, slot) = if before {
                ("b", &mut kwargs.interrupt_before)
            } else {
                ("a", &mut kwargs.interrupt_after)
            };
            *slot = Some(at(node));
        });
        assert_eq!(word(&bench.run(&request).await), "paused");
        let outcome = bench.run(&request.again()).await;
        assert_eq!(word(&outcome), "paused");
        assert_eq!(
            outcome.head.unwrap().values.to_value(),
            json!({"log": ["in", "a"]})
        );
    }
}
