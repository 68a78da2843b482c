//! Graphs as nodes of graphs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use runloom_core::checkpoint::CheckpointQuery;
use runloom_core::event::StreamMode;
use runloom_core::executor::{Executor, StopKind};
use runloom_graph::{
    CompiledGraph, Node, NodeContext, NodeError, NodeResult, RetryPolicy, START, StateGraph, Update,
};
use serde_json::{Value, json};

use crate::bench::{Bench, Request, ms, word};
use crate::nodes::{ask, input, log_graph, say, say_after};

fn own_part(values: serde_json::Map<String, Value>) -> Update {
    Update::new().set("log", values["log"].clone())
}

/// `pre`, then a question, in a node `child`.
fn asking() -> CompiledGraph {
    let inner = log_graph().node("pre", say("pre")).node("ask", ask("why?"));
    let inner = inner.sequence(["pre", "ask"]).compile().unwrap();
    let child = Node::mapped(inner, |_: Value| json!({"log": ["inner"]}), own_part);
    log_graph()
        .node("child", child)
        .sequence(["child"])
        .compile()
        .unwrap()
}

/// A model in a subgraph that shares the messages.
fn speaking() -> CompiledGraph {
    let speak = Node::new(async |_: Value, context: NodeContext| -> NodeResult {
        let mut message = context.messages().begin("m1");
        message.token("hello").await?;
        context.emit("custom").await?;
        Ok(Update::new().set("messages", message.finish().await?))
    });
    let whole = Node::new(async |_: Value, _: NodeContext| -> NodeResult {
        let whole = json!({"role": "ai", "content": "whole", "id": "w1"});
        Ok(Update::new().set("messages", whole))
    });
    let inner = StateGraph::new()
        .messages()
        .node("model", speak)
        .node("whole", whole);
    let inner = inner.sequence(["model", "whole"]).compile().unwrap();
    StateGraph::new()
        .messages()
        .node("child", inner)
        .sequence(["child"])
        .compile()
        .unwrap()
}

fn hello() -> Value {
    json!({"messages": [{"role": "user", "content": "hi", "id": "h1"}]})
}

#[tokio::test(start_paused = true)]
async fn a_question_inside_pauses_the_run_and_the_answer_finds_its_way_in() {
    let bench = Bench::new(asking());
    assert_eq!(word(&bench.run(&Request::input(input())).await), "paused");
    let state = bench.state_with(true).await;
    let task = &state.tasks[0];
    assert_eq!(task.interrupts[0]["value"], "why?");
    let inner = task.state.as_ref().unwrap();
    assert_eq!(inner.values.to_value(), json!({"log": ["inner", "pre"]}));
    assert_eq!(inner.next, ["ask"]);
    assert_eq!(inner.interrupts, state.interrupts);
    let place = inner.checkpoint.as_ref().unwrap();
    assert_eq!(place.checkpoint_ns, format!("child:{}", task.id));
    let above = place.checkpoint_map.as_ref().unwrap();
    assert_eq!(
        above[""],
        json!(state.checkpoint.as_ref().unwrap().checkpoint_id)
    );
    let flat = bench.state().await;
    let expected = json!({"thread_id": bench.thread, "checkpoint_ns": place.checkpoint_ns});
    assert_eq!(flat.tasks[0].checkpoint, Some(expected));

    let outcome = bench
        .run(&Request::command(json!({"resume": "because"})))
        .await;
    assert_eq!(word(&outcome), "success");
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "inner", "pre", "because"]})
    );
}

#[tokio::test(start_paused = true)]
async fn its_checkpoints_have_a_namespace_and_name_their_parents() {
    let bench = Bench::new(asking());
    bench.run(&Request::input(input())).await;
    let query = CheckpointQuery::default();
    let inner = bench.host.stored(&query);
    let inner: Vec<_> = inner
        .iter()
        .filter(|t| !t.checkpoint.ns.is_empty())
        .collect();
    let root = bench.stored().pop().unwrap().checkpoint.id;
    assert_eq!(inner.len(), 3);
    for tuple in inner {
        assert!(tuple.checkpoint.ns.starts_with("child:"));
        assert_eq!(tuple.checkpoint.metadata["parents"], json!({"": root}));
        assert!(tuple.checkpoint.run_id.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn events_inside_are_shown_under_their_namespace_only_if_asked_for() {
    let modes = [
        StreamMode::MessagesTuple,
        StreamMode::Custom,
        StreamMode::Updates,
    ];
    let bench = Bench::new(speaking());
    bench.run(&Request::input(hello()).modes(&modes)).await;
    let names: Vec<_> = bench.events().into_iter().map(|(name, _)| name).collect();
    // The messages of the subgraph are shown when its node returns them.
    assert_eq!(names, ["messages", "messages", "updates"]);
    assert!(
        bench
            .host
            .emitted()
            .iter()
            .all(|event| event.said.is_none())
    );

    let bench = Bench::new(speaking());
    let request = Request::input(hello())
        .modes(&modes)
        .with(|kwargs| kwargs.subgraphs = true);
    bench.run(&request).await;
    let task = bench.history().await[1].tasks[0].id.clone();
    let ns = format!("child:{task}");
    let names: Vec<_> = bench.events().into_iter().map(|(name, _)| name).collect();
    let inner = [
        "messages", "custom", "messages", "updates", "messages", "updates",
    ];
    let inner = inner.map(|name| format!("{name}|{ns}"));
    assert_eq!(names, [&inner[..], &["updates".to_owned()]].concat());
    // What the model says in there is the thread's: the subgraph shares its messages.
    let said: Vec<_> = bench
        .host
        .emitted()
        .into_iter()
        .filter_map(|event| event.said)
        .collect();
    assert_eq!(said.len(), 1);
    assert_eq!(
        (said[0].task_id.as_str(), said[0].node.as_str()),
        (task.as_str(), "child")
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_said_behind_a_map_is_not_the_threads() {
    let inner = StateGraph::new().messages();
    let speak = async |_: Value, context: NodeContext| -> NodeResult<()> {
        context.messages().begin("m").token("psst").await
    };
    let inner = inner
        .node("model", Node::new(speak))
        .sequence(["model"])
        .compile()
        .unwrap();
    let child = Node::mapped(inner, |_: Value| json!({}), |_| Update::new());
    let graph = StateGraph::new()
        .messages()
        .node("child", child)
        .sequence(["child"]);
    let bench = Bench::new(graph.compile().unwrap());
    let request = Request::input(hello()).modes(&[StreamMode::Messages]);
    bench
        .run(&request.with(|kwargs| kwargs.subgraphs = true))
        .await;
    let events = bench.host.emitted();
    assert!(!events.is_empty());
    assert!(events.iter().all(|event| event.said.is_none()));
}

#[tokio::test(start_paused = true)]
async fn shared_channels_go_in_and_come_out() {
    let inner = log_graph()
        .channel("private", runloom_graph::Channel::last_value())
        .node(
            "count",
            Node::new(async |state: Value, _: NodeContext| -> NodeResult {
                Ok(Update::new().set("private", state["log"].as_array().map(Vec::len)))
            }),
        )
        .sequence(["count"])
        .compile()
        .unwrap();
    let graph = StateGraph::new()
        .channel("log", runloom_graph::Channel::last_value())
        .channel("other", runloom_graph::Channel::last_value())
        .node("child", inner)
        .sequence(["child"]);
    let bench = Bench::new(graph.compile().unwrap());
    let values = bench.succeed(json!({"log": ["a", "b"], "other": 1})).await;
    assert_eq!(values, json!({"log": ["a", "b"], "other": 1}));
}

#[tokio::test(start_paused = true)]
async fn two_levels_down_everything_still_works() {
    let innermost = log_graph()
        .node("ask", ask("deep?"))
        .sequence(["ask"])
        .compile()
        .unwrap();
    let middle = log_graph()
        .node("slow", say_after(ms(10), "slow"))
        .node(
            "deep",
            Node::mapped(innermost, |_: Value| json!({}), own_part),
        )
        .sequence(["slow", "deep"])
        .compile()
        .unwrap();
    let graph = log_graph()
        .node(
            "middle",
            Node::mapped(middle, |_: Value| json!({}), own_part),
        )
        .node("beside", say("beside"))
        .edge(START, "middle")
        .edge(START, "beside");
    let bench = Bench::new(graph.compile().unwrap());
    let request = Request::input(input());
    request.stop_after(ms(5), StopKind::Interrupt);
    assert_eq!(word(&bench.run(&request).await), "stopped");
    assert_eq!(word(&bench.run(&Request::resume()).await), "paused");
    let state = bench.state_with(true).await;
    let middle = state
        .tasks
        .iter()
        .find(|task| task.name == "middle")
        .unwrap();
    let deep = &middle.state.as_ref().unwrap().tasks[0];
    assert_eq!(deep.interrupts, middle.interrupts);
    assert_eq!(deep.state.as_ref().unwrap().next, ["ask"]);
    let id = state.interrupts[0]["id"].as_str().unwrap();
    let resume = json!({"resume": {id: "down here"}});
    let outcome = bench.run(&Request::command(resume)).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "beside", "slow", "down here"]})
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_inside_is_the_runs_failure() {
    let inner = log_graph().node(
        "bad",
        Node::new(async |_: Value, _: NodeContext| -> NodeResult { panic!("inside") }),
    );
    let inner = inner.sequence(["bad"]).compile().unwrap();
    let graph = log_graph().node("child", inner).sequence(["child"]);
    let bench = Bench::new(graph.compile().unwrap());
    let outcome = bench.run(&Request::input(input())).await;
    assert_eq!(word(&outcome), "failed Panic");
    assert_eq!(bench.state().await.next, ["child"]);
}

#[tokio::test(start_paused = true)]
async fn a_subgraph_that_is_tried_again_goes_on_where_it_failed() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counter = tries.clone();
    let shaky = Node::new(move |_: Value, _: NodeContext| {
        let attempt = counter.fetch_add(1, Ordering::SeqCst);
        async move {
            if attempt == 0 {
                return Err(NodeError::new("ValueError", "kaboom"));
            }
            NodeResult::Ok(Update::new().set("log", "shaky"))
        }
    });
    let inner = log_graph()
        .node("first", say_after(ms(10), "first"))
        .node("shaky", shaky);
    let inner = inner.sequence(["first", "shaky"]).compile().unwrap();
    let child = Node::mapped(inner, |_: Value| json!({}), own_part);
    let child = child.retry(RetryPolicy::default().jitter(false));
    let bench = Bench::new(
        log_graph()
            .node("child", child)
            .sequence(["child"])
            .compile()
            .unwrap(),
    );
    let started = tokio::time::Instant::now();
    assert_eq!(
        bench.succeed(input()).await,
        json!({"log": ["in", "first", "shaky"]})
    );
    assert_eq!(started.elapsed(), ms(10 + 500));
}

#[tokio::test(start_paused = true)]
async fn the_drawing_and_the_schemas_unfold() {
    let bench = Bench::new(asking());
    let nodes = async |xray| {
        let drawing = bench
            .executor
            .drawing(&"g".into(), xray)
            .await
            .unwrap()
            .to_value();
        let nodes = drawing["nodes"].as_array().unwrap().clone();
        nodes
            .iter()
            .map(|node| node["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(nodes(0).await, ["__start__", "child", "__end__"]);
    assert_eq!(
        nodes(1).await,
        ["__start__", "child:pre", "child:ask", "__end__"]
    );
    let subgraphs = bench.executor.subgraphs(&"g".into(), true).await.unwrap();
    assert_eq!(subgraphs[0].0, "child");
    let schema = subgraphs[0].1.state_schema.as_ref().unwrap().to_value();
    assert_eq!(schema["properties"]["log"]["type"], "array");
    let infos = bench.executor.graphs();
    assert_eq!(infos[0].messages_channel, None);
    assert_eq!(
        Bench::new(speaking()).executor.graphs()[0]
            .messages_channel
            .as_deref(),
        Some("messages")
    );
}
