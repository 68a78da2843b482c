//! Nodes that tests make graphs of.

use std::time::Duration;

use runloom_graph::{Channel, IntoNode, Node, NodeContext, NodeResult, StateGraph, Update};
use serde_json::{Value, json};

/// A graph with the channel `log`, a list.
pub(crate) fn log_graph() -> StateGraph {
    StateGraph::new().channel("log", Channel::append())
}

/// A node that adds `text` to the log.
pub(crate) fn say(text: &'static str) -> Node {
    say_after(Duration::ZERO, text)
}

/// A node that takes some time and then adds `text` to the log.
pub(crate) fn say_after(time: Duration, text: &'static str) -> Node {
    Node::new(move |_: Value, _: NodeContext| async move {
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        NodeResult::Ok(Update::new().set("log", text))
    })
}

/// A node that asks `question` and adds the answer to the log.
pub(crate) fn ask(question: &'static str) -> Node {
    let node = move |_: Value, context: NodeContext| async move {
        let answer = context.interrupt(question)?;
        NodeResult::Ok(Update::new().set("log", answer))
    };
    node.into_node()
}

/// A node that waits until it is dropped.
pub(crate) fn wait_forever() -> Node {
    Node::new(async |_: Value, _: NodeContext| -> NodeResult { std::future::pending().await })
}

/// `{"log": ["in"]}`.
pub(crate) fn input() -> Value {
    json!({"log": ["in"]})
}
