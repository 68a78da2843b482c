//! Graphs that differ in how their nodes follow each other.

use runloom_core::json::JsonMap;
use runloom_graph::{BuildError, CompiledGraph, END, NodeContext, START};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{State, graph, says, signed, takes};

/// Repeats what the human said.
pub(super) fn echo() -> Result<CompiledGraph, BuildError> {
    let echo =
        |state: State, _: NodeContext| async move { Ok(says(format!("echo: {}", state.asked()))) };
    graph().node("echo", echo).sequence(["echo"]).compile()
}

/// Takes its time, and answers what the human said.
pub(super) fn work() -> Result<CompiledGraph, BuildError> {
    let work = |state: State, _: NodeContext| async move {
        sleep(state.delay(0.4)).await;
        Ok(says(format!("work: {}", state.asked())))
    };
    graph().node("work", work).sequence(["work"]).compile()
}

/// Three nodes, one after the other.
pub(super) fn slow() -> Result<CompiledGraph, BuildError> {
    let nodes = ["one", "two", "three"];
    let add = |graph: runloom_graph::StateGraph, name| graph.node(name, takes(0.3));
    nodes
        .into_iter()
        .fold(graph(), add)
        .sequence(nodes)
        .compile()
}

/// Two nodes in one superstep, one of them slow, and one that waits for both.
pub(super) fn fork() -> Result<CompiledGraph, BuildError> {
    let at_once = |_: State, context: NodeContext| async move { Ok(signed(context.node())) };
    graph()
        .node("left", at_once)
        .node("right", takes(0.5))
        .node("join", at_once)
        .edge(START, "left")
        .edge(START, "right")
        .join(["left", "right"], "join")
        .edge("join", END)
        .compile()
}

/// A subgraph of two nodes and a node after it.
pub(super) fn nested() -> Result<CompiledGraph, BuildError> {
    let child = graph()
        .node("inner_one", takes(0.2))
        .node("inner_two", takes(0.2))
        .sequence(["inner_one", "inner_two"])
        .compile()?;
    graph()
        .node("child", child)
        .node("after", takes(0.2))
        .sequence(["child", "after"])
        .compile()
}

/// Goes round for ever.
pub(super) fn endless() -> Result<CompiledGraph, BuildError> {
    let spin = |_: State, _: NodeContext| async move { Ok(()) };
    graph()
        .node("spin", spin)
        .edge(START, "spin")
        .edge("spin", "spin")
        .compile()
}

/// Shows what of `config.configurable` reaches a node.
pub(super) fn config() -> Result<CompiledGraph, BuildError> {
    let show = |_: State, context: NodeContext| async move {
        let none = JsonMap::new();
        let configurable = context
            .config()
            .get("configurable")
            .and_then(Value::as_object);
        let mut shown: JsonMap = configurable
            .unwrap_or(&none)
            .iter()
            .filter(|(key, value)| is_callers(key) && !value.is_array() && !value.is_object())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let own = [
            ("run_id", json!(context.run_id())),
            ("thread_id", json!(context.thread_id())),
            ("graph_id", json!(context.graph_id())),
            ("assistant_id", json!(context.assistant_id())),
        ];
        shown.extend(own.map(|(key, value)| (key.to_owned(), value)));
        Ok(says(Value::Object(shown).to_string()))
    };
    graph().node("show", show).sequence(["show"]).compile()
}

/// Whether a key of `configurable` may be the caller's.
fn is_callers(key: &str) -> bool {
    let reserved = ["__", "langgraph_", "checkpoint_"];
    key != "user_id" && !reserved.iter().any(|prefix| key.starts_with(prefix))
}
