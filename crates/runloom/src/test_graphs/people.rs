//! Graphs that wait for a human.

use runloom_graph::{BuildError, CompiledGraph, END, NodeContext, START, Update};
use serde_json::{Value, json};

use super::{State, graph, says};

/// Asks, and acts on the answer.
pub(super) fn pause() -> Result<CompiledGraph, BuildError> {
    let ask = |_: State, context: NodeContext| async move {
        let answer = context.interrupt(json!({"question": "ok?"}))?;
        Ok(Update::new().set("answer", answer))
    };
    let act = |state: State, _: NodeContext| async move {
        Ok(says(format!(
            "got {}",
            plain(&state.answer.unwrap_or_default())
        )))
    };
    graph()
        .node("ask", ask)
        .node("act", act)
        .sequence(["ask", "act"])
        .compile()
}

/// Asks two questions at the same time.
pub(super) fn pause_twice() -> Result<CompiledGraph, BuildError> {
    let ask = |letter: &'static str| {
        move |_: State, context: NodeContext| async move {
            let answer = context.interrupt(json!({"question": format!("{letter}?")}))?;
            Ok(says(format!("{letter} {}", plain(&answer))))
        }
    };
    graph()
        .node("ask_a", ask("a"))
        .node("ask_b", ask("b"))
        .edge(START, "ask_a")
        .edge(START, "ask_b")
        .edge("ask_a", END)
        .edge("ask_b", END)
        .compile()
}

/// Texts without quotes.
fn plain(answer: &Value) -> String {
    answer
        .as_str()
        .map_or_else(|| answer.to_string(), str::to_owned)
}
