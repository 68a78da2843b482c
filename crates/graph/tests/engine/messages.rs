//! Chat messages: streamed, returned whole, kept.

use runloom_core::event::StreamMode;
use runloom_core::executor::Said;
use runloom_graph::{Node, NodeContext, NodeResult, StateGraph, Update};
use serde_json::{Value, json};

use crate::bench::{Bench, Request};

/// A node that streams two tokens.
fn speak() -> Node {
    Node::new(async |_: Value, context: NodeContext| -> NodeResult {
        let mut message = context
            .messages()
            .metadata("ls_provider", "test")
            .begin("m1");
        message.token("Hel").await?;
        message.token("lo").await?;
        Ok(Update::new().set("messages", message.finish().await?))
    })
}

/// A node that returns a message whole, together with one that is known.
fn whole() -> Node {
    Node::new(async |state: Value, _: NodeContext| -> NodeResult {
        let known = &state["messages"][0];
        let new = json!({"role": "tool", "content": "r", "id": "t1", "tool_call_id": "c"});
        Ok(Update::new().set("messages", [known, &new]))
    })
}

fn bench(node: Node) -> Bench {
    let graph = StateGraph::new().messages().node("n", node).sequence(["n"]);
    Bench::new(graph.compile().unwrap())
}

fn input() -> Value {
    json!({"messages": [{"role": "user", "content": "hi", "id": "h1"}]})
}

fn said(bench: &Bench) -> Vec<Said> {
    bench
        .host
        .emitted()
        .into_iter()
        .filter_map(|event| event.said)
        .collect()
}

async fn events_of(node: Node, modes: &[StreamMode]) -> (Bench, Vec<(String, Value)>) {
    let bench = bench(node);
    bench.run(&Request::input(input()).modes(modes)).await;
    let events = bench.events();
    (bench, events)
}

#[tokio::test(start_paused = true)]
async fn a_streamed_message_is_announced_and_then_shown_as_it_grows() {
    let (bench, events) = events_of(speak(), &[StreamMode::Messages]).await;
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["messages/metadata", "messages/partial", "messages/partial"]
    );
    let metadata = &events[0].1["m1"]["metadata"];
    assert_eq!(metadata["langgraph_node"], "n");
    assert_eq!(metadata["langgraph_step"], 1);
    assert_eq!(metadata["ls_provider"], "test");
    assert_eq!(metadata["thread_id"], json!(bench.thread));
    let contents: Vec<_> = events[1..]
        .iter()
        .map(|(_, data)| &data[0]["content"])
        .collect();
    assert_eq!(contents, ["Hel", "Hello"]);
    assert_eq!(events[2].1[0]["type"], "ai");

    let said = said(&bench);
    let texts: Vec<_> = said.iter().map(|said| said.text.as_str()).collect();
    assert_eq!(texts, ["Hel", "lo"]);
    let history = bench.history().await;
    let task = &history[1].tasks[0];
    assert_eq!((&said[0].task_id, said[0].node.as_str()), (&task.id, "n"));
    assert_eq!(said[0].message_id, "m1");
}

#[tokio::test(start_paused = true)]
async fn the_tuple_form_wins_and_marks_the_last_piece() {
    let modes = [StreamMode::Messages, StreamMode::MessagesTuple];
    let (bench, events) = events_of(speak(), &modes).await;
    assert!(
        events.iter().all(|(name, _)| name == "messages"),
        "{events:?}"
    );
    let pieces: Vec<_> = events
        .iter()
        .map(|(_, data)| {
            (
                data[0]["content"].as_str().unwrap(),
                &data[0]["chunk_position"],
            )
        })
        .collect();
    let null = Value::Null;
    assert_eq!(
        pieces,
        [("Hel", &null), ("lo", &null), ("", &json!("last"))]
    );
    assert_eq!(events[0].1[0]["type"], "AIMessageChunk");
    assert_eq!(events[0].1[1]["langgraph_node"], "n");
    assert_eq!(said(&bench).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_whole_message_is_complete_at_once_and_known_ones_are_not_shown() {
    let (_, events) = events_of(whole(), &[StreamMode::Messages]).await;
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["messages/metadata", "messages/complete"]);
    assert_eq!(events[1].1[0]["id"], "t1");
    let (_, events) = events_of(whole(), &[StreamMode::MessagesTuple]).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].1[0]["type"], "tool");
}

#[tokio::test(start_paused = true)]
async fn without_a_messages_mode_nothing_is_shown_and_nothing_counts_as_said() {
    let (bench, events) = events_of(speak(), &[StreamMode::Values]).await;
    assert_eq!(events.last().unwrap().1["messages"][1]["content"], "Hello");
    assert_eq!(said(&bench), []);
}

#[tokio::test(start_paused = true)]
async fn a_node_may_keep_its_messages_to_itself() {
    let (bench, events) = events_of(speak().nostream(), &[StreamMode::Messages]).await;
    assert_eq!(events, []);
    assert_eq!(said(&bench), []);
    assert_eq!(
        bench.state().await.values.to_value()["messages"][1]["content"],
        "Hello"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_tool_says_is_shown_but_not_kept() {
    let aside = Node::new(async |_: Value, context: NodeContext| -> NodeResult<()> {
        let mut message = context.aside().messages().begin("inner");
        message.token("thinking").await?;
        message.finish().await?;
        Ok(())
    });
    let (bench, events) = events_of(aside, &[StreamMode::MessagesTuple]).await;
    assert_eq!(events.len(), 2);
    assert_eq!(said(&bench), []);
}
