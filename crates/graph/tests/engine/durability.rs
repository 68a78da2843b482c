//! When things are stored, and what that means for attempts that break off.

use runloom_core::event::StreamMode;
use runloom_core::executor::{Ended, StopKind};
use runloom_core::run::{Durability, RunError};
use runloom_graph::{CompiledGraph, Node, NodeContext, NodeResult, START, StateGraph, Update};
use runloom_testkit::doubles::{Gate, HostCall};
use serde_json::{Value, json};

use crate::bench::{Bench, Request, ms, word};
use crate::nodes::{ask, input, log_graph, say, say_after};

const ALL: [Durability; 3] = [Durability::Sync, Durability::Async, Durability::Exit];

/// A conversation whose second node runs beside a third, and a subgraph after them.
fn conversation() -> CompiledGraph {
    let answer = |text: &'static str| {
        Node::new(move |_: Value, context: NodeContext| async move {
            let message = context
                .messages()
                .begin(format!("{text}-{}", context.task_id()));
            let mut message = message;
            message.token(text).await?;
            NodeResult::Ok(Update::new().set("messages", message.finish().await?))
        })
    };
    let inner = StateGraph::new()
        .messages()
        .node("one", answer("one"))
        .node("two", answer("two"))
        .sequence(["one", "two"])
        .compile()
        .unwrap();
    StateGraph::new()
        .messages()
        .node("left", answer("left"))
        .node("right", answer("right"))
        .node("inner", inner)
        .edge(START, "left")
        .edge(START, "right")
        .join(["left", "right"], "inner")
        .compile()
        .unwrap()
}

fn texts(values: &Value) -> Vec<String> {
    let messages = values["messages"].as_array().unwrap().iter();
    messages
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_dies_at_any_point_is_made_good_by_the_next() {
    for durability in ALL {
        let hello = json!({"messages": [{"role": "user", "content": "hi"}]});
        let mut puts = 1;
        loop {
            let bench = Bench::new(conversation());
            let request = Request::input(hello.clone())
                .modes(&[StreamMode::MessagesTuple])
                .durability(durability);
            if !bench.run_until_put(&request, puts).await {
                break;
            }
            // The second attempt dies, too, a little later.
            bench.run_until_put(&request.again(), 2).await;
            let outcome = bench.run(&request.again()).await;
            assert_eq!(word(&outcome), "success", "{durability} {puts}");
            let values = outcome.head.unwrap().values.to_value();
            let expected = ["hi", "left", "right", "one", "two"];
            assert_eq!(texts(&values), expected, "{durability} {puts}");
            assert_eq!(bench.state().await.values.to_value(), values);
            puts += 1;
        }
        let least = if durability == Durability::Exit {
            2
        } else {
            10
        };
        assert!(puts >= least, "{durability}: only {puts} points");
    }
}

/// Whether each stored call is a checkpoint (`C`) or writes (`w`).
fn shape(bench: &Bench) -> String {
    let calls = bench.host.calls().into_iter();
    calls
        .filter_map(|call| match call {
            HostCall::Checkpoint(_) => Some('C'),
            HostCall::Writes(_) => Some('w'),
            HostCall::Emit(_) => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn exit_writes_once_at_the_end_and_the_others_as_they_go() {
    for (durability, expected) in [
        (Durability::Sync, "CCwCwC"),
        (Durability::Async, "CCwCwC"),
        (Durability::Exit, "C"),
    ] {
        let graph = log_graph()
            .node("a", say("a"))
            .node("b", say("b"))
            .sequence(["a", "b"]);
        let bench = Bench::new(graph.compile().unwrap());
        bench
            .run(&Request::input(input()).durability(durability))
            .await;
        assert_eq!(shape(&bench), expected, "{durability}");
        assert_eq!(
            bench.state().await.values.to_value(),
            json!({"log": ["in", "a", "b"]})
        );
        // The next run builds upon it.
        let outcome = bench
            .run(&Request::input(input()).durability(durability))
            .await;
        assert_eq!(
            outcome.head.unwrap().values.to_value()["log"]
                .as_array()
                .unwrap()
                .len(),
            6
        );
        let last = bench.stored().pop().unwrap();
        assert!(last.checkpoint.parent.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn exit_keeps_a_pause_and_what_siblings_finished() {
    let graph = log_graph()
        .node("ask", ask("why?"))
        .node("b", say("b"))
        .edge(START, "ask")
        .edge(START, "b");
    let bench = Bench::new(graph.compile().unwrap());
    let request = Request::input(input()).durability(Durability::Exit);
    assert_eq!(word(&bench.run(&request).await), "paused");
    assert_eq!(shape(&bench), "Cw");
    let resume = Request::command(json!({"resume": "x"})).durability(Durability::Exit);
    let outcome = bench.run(&resume).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "x", "b"]})
    );
    assert_eq!(bench.steps(), ["loop 0", "loop 1"]);
}

#[tokio::test(start_paused = true)]
async fn only_values_that_changed_are_stored_again() {
    let graph = StateGraph::new()
        .channel("big", runloom_graph::Channel::last_value())
        .channel("log", runloom_graph::Channel::append())
        .node("a", say("a"))
        .node("b", say("b"))
        .sequence(["a", "b"]);
    let bench = Bench::new(graph.compile().unwrap());
    bench
        .run(&Request::input(json!({"big": "data", "log": ["in"]})))
        .await;
    let blobs: Vec<Vec<String>> = bench
        .host
        .calls()
        .into_iter()
        .filter_map(|call| match call {
            HostCall::Checkpoint(put) => {
                Some(put.blobs.into_iter().map(|blob| blob.channel).collect())
            }
            _ => None,
        })
        .collect();
    let expected: [&[&str]; 4] = [&["__start__"], &["big", "log"], &["log"], &["log"]];
    assert_eq!(blobs, expected);
    let last = bench.stored().pop().unwrap().checkpoint;
    let version = &last.versions["log"];
    assert_eq!(version.find('.'), Some(32), "{version}");
}

#[tokio::test(start_paused = true)]
async fn async_overlaps_the_next_superstep_and_sync_does_not() {
    for (durability, overlaps) in [(Durability::Sync, false), (Durability::Async, true)] {
        let reached = Gate::new();
        let gate = reached.clone();
        let node = Node::new(move |_: Value, _: NodeContext| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                NodeResult::Ok(())
            }
        });
        let graph = log_graph()
            .node("a", node)
            .sequence(["a"])
            .compile()
            .unwrap();
        let bench = Bench::new(graph);
        let storage = Gate::new();
        bench.host.delay_until(storage.clone());
        let run = bench.spawn(&Request::input(input()).durability(durability));
        storage.reached(1).await;
        let ran = tokio::time::timeout(ms(5), reached.reached(1))
            .await
            .is_ok();
        assert_eq!(ran, overlaps, "{durability}");
        reached.open();
        tokio::time::sleep(ms(1)).await;
        // The run is not over before all of it is stored.
        assert!(!run.is_finished());
        storage.open();
        assert_eq!(word(&run.await.unwrap()), "success");
        assert_eq!(bench.steps(), ["input -1", "loop 0", "loop 1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn storage_that_fails_ends_the_attempt_for_another_to_try() {
    let graph = log_graph()
        .node("a", say("a"))
        .node("b", say("b"))
        .sequence(["a", "b"]);
    let bench = Bench::new(graph.compile().unwrap());
    bench.host.fail_next(1);
    let request = Request::input(input());
    let outcome = bench.run(&request).await;
    let Ended::Retry(RunError { error, .. }) = outcome.ended else {
        panic!("{outcome:?}");
    };
    assert_eq!(error, "StorageUnavailable");
    assert_eq!(outcome.head, None);
    // After a failure nothing is stored: what is there has no gaps.
    assert_eq!(bench.puts(), 0);
    assert_eq!(word(&bench.run(&request.again()).await), "success");
}

#[tokio::test(start_paused = true)]
async fn a_fenced_attempt_stops_its_nodes_at_once() {
    for durability in [Durability::Sync, Durability::Async] {
        let graph = log_graph()
            .node("a", say_after(ms(10), "a"))
            .node("b", say_after(ms(10_000), "b"))
            .sequence(["a", "b"]);
        let bench = Bench::new(graph.compile().unwrap());
        let run = bench.spawn(&Request::input(input()).durability(durability));
        tokio::time::sleep(ms(5)).await;
        bench.host.fence();
        let started = tokio::time::Instant::now();
        let outcome = run.await.unwrap();
        assert_eq!(word(&outcome), "stopped");
        assert_eq!(outcome.head, None);
        assert!(started.elapsed() < ms(100));
        assert_eq!(bench.steps(), ["input -1", "loop 0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_a_checkpoint_is_put_loses_no_finished_superstep() {
    for durability in ALL {
        let graph = log_graph()
            .node("a", say_after(ms(10), "a"))
            .node("b", say_after(ms(10), "b"))
            .sequence(["a", "b"]);
        let bench = Bench::new(graph.compile().unwrap());
        let request = Request::input(input()).durability(durability);
        let run = bench.spawn(&request);
        tokio::time::sleep(ms(5)).await;
        let storage = Gate::new();
        bench.host.delay_until(storage.clone());
        tokio::time::sleep(ms(10)).await;
        // `a` has finished; where there is something to put, its storage is under way.
        request.stop(StopKind::Interrupt);
        tokio::time::sleep(ms(1)).await;
        storage.open();
        let outcome = run.await.unwrap();
        assert_eq!(word(&outcome), "stopped");
        assert_eq!(
            outcome.head.unwrap().values.to_value(),
            json!({"log": ["in", "a"]})
        );
        let state = bench.state().await;
        assert_eq!(
            state.values.to_value(),
            json!({"log": ["in", "a"]}),
            "{durability}"
        );
        assert_eq!(state.next, ["b"], "{durability}");
    }
}
