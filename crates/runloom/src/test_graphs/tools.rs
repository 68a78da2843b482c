//! Graphs that call tools.

use runloom_core::ids::random_id;
use runloom_core::json::JsonMap;
use runloom_core::message::unanswered_tool_calls;
use runloom_graph::model::ScriptedModel;
use runloom_graph::model::scripted::{Pace, Reply, Turn};
use runloom_graph::prebuilt::Agent;
use runloom_graph::tool::tool;
use runloom_graph::{BuildError, CompiledGraph, NodeContext};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::{State, append, graph, says, seconds};

/// Calls a tool without any model, waits, answers, ends.
pub(super) fn tool_wait() -> Result<CompiledGraph, BuildError> {
    let model = |state: State, _: NodeContext| async move {
        let call = json!({
            "name": "lookup", "args": {"query": state.asked()}, "id": random_id(),
            "type": "tool_call",
        });
        Ok(append(
            json!({"type": "ai", "content": "", "tool_calls": [call]}),
        ))
    };
    let tools = |state: State, _: NodeContext| async move {
        sleep(state.delay(0.5)).await;
        let call = unanswered_tool_calls(&state.messages)
            .into_iter()
            .next()
            .unwrap_or_default();
        Ok(append(json!({
            "type": "tool", "content": "found", "name": "lookup", "tool_call_id": call["id"],
        })))
    };
    let last = |_: State, _: NodeContext| async move { Ok(says("done")) };
    graph()
        .node("model", model)
        .node("tools", tools)
        .node("final", last)
        .sequence(["model", "tools", "final"])
        .compile()
}

/// A tool without arguments.
#[derive(Deserialize, JsonSchema)]
struct Nothing {}

/// An agent that calls a fast and a slow tool at the same time.
pub(super) fn tools_slow() -> Result<CompiledGraph, BuildError> {
    let model = ScriptedModel::new(|request| match Turn::of(&request.messages).answer {
        Some(_) => Reply::Say("done".to_owned()),
        None => Reply::Call(
            ["fast", "slow"]
                .map(|name| (name.to_owned(), JsonMap::new()))
                .into(),
        ),
    });
    let fast = tool(
        "fast",
        "Answers after a tenth of a second.",
        |_: Nothing, _| async move {
            sleep(seconds(0.1)).await;
            Ok("fast")
        },
    );
    let slow = tool(
        "slow",
        "Answers after the delay.",
        |_: Nothing, context: NodeContext| async move {
            sleep(context.state::<State>()?.delay(2.0)).await;
            Ok("slow")
        },
    );
    Agent::new(model.paced(Pace::INSTANT))
        .tools([fast, slow])
        .on(graph())
        .compile()
}
