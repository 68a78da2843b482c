//! Tools that run side by side, fail, ask, or are not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use runloom_core::executor::Ended;
use runloom_core::json::JsonMap;
use runloom_graph::model::ScriptedModel;
use runloom_graph::model::scripted::{Pace, Reply, Turn};
use runloom_graph::prebuilt::agent;
use runloom_graph::tool::{Tool, tool};
use runloom_graph::{BuildError, CompiledGraph, NodeContext, NodeError};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::stage::{Stage, types};

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only that it is a number matters")]
struct Number {
    number: u64,
}

/// An agent whose model calls each of `calls` once and then says `done`.
fn calling(calls: &[&'static str], tools: Vec<Arc<dyn Tool>>) -> CompiledGraph {
    let calls = calls.to_vec();
    let model = ScriptedModel::new(move |request| {
        if Turn::of(&request.messages).answer.is_some() {
            return Reply::Say("done".to_owned());
        }
        let calls = calls
            .iter()
            .map(|name| ((*name).to_owned(), JsonMap::new()));
        Reply::Call(calls.collect())
    });
    agent(model.paced(Pace::INSTANT), tools).unwrap()
}

/// A tool that answers with its name after `millis`, and how often it was called.
fn slow(name: &'static str, millis: u64) -> (Arc<dyn Tool>, Arc<AtomicU32>) {
    let calls = Arc::<AtomicU32>::default();
    let counted = calls.clone();
    let slow = tool(name, "Waits.", move |_: Nothing, _: NodeContext| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            sleep(Duration::from_millis(millis)).await;
            Ok(name)
        }
    });
    (slow, calls)
}

fn contents(messages: &[Value]) -> Vec<&str> {
    let tools = messages.iter().filter(|message| message["type"] == "tool");
    tools
        .map(|message| message["content"].as_str().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn tools_run_at_the_same_time_and_answer_in_the_order_of_their_calls() {
    let tools = vec![slow("one", 900).0, slow("two", 300).0, slow("three", 600).0];
    let stage = Stage::new(calling(&["one", "two", "three"], tools));
    let start = Instant::now();
    assert_eq!(stage.say("go").await, Ended::Success);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    let messages = stage.messages().await;
    assert_eq!(
        types(&messages),
        ["human", "ai", "tool", "tool", "tool", "ai"]
    );
    assert_eq!(contents(&messages), ["one", "two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn a_finished_tool_is_not_called_again_after_a_stop() {
    let (fast, fast_calls) = slow("fast", 100);
    let (late, late_calls) = slow("late", 2_000);
    let stage = Stage::new(calling(&["fast", "late"], vec![fast, late]));
    let ended = stage.say_and_interrupt("go", Duration::from_secs(1)).await;
    assert_eq!(ended, Ended::Stopped);
    assert_eq!(stage.go_on().await, Ended::Success);
    assert_eq!(contents(&stage.messages().await), ["fast", "late"]);
    assert_eq!(fast_calls.load(Ordering::SeqCst), 1);
    assert_eq!(late_calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_in_a_tool_is_told_to_the_model() {
    let broken = tool(
        "broken",
        "Fails.",
        |_: Nothing, _: NodeContext| async move { Err::<(), _>(NodeError::new("ValueError", "kaboom")) },
    );
    let picky = tool("picky", "Wants.", |_: Number, _: NodeContext| async move {
        Ok("fine")
    });
    let stage = Stage::new(calling(
        &["broken", "missing", "picky"],
        vec![broken, picky],
    ));
    assert_eq!(stage.say("go").await, Ended::Success);
    let messages = stage.messages().await;
    let statuses: Vec<_> = messages[2..5]
        .iter()
        .map(|message| &message["status"])
        .collect();
    assert_eq!(statuses, ["error", "error", "error"]);
    let contents = contents(&messages);
    assert_eq!(contents[0], "Error: ValueError: kaboom.");
    assert!(contents[1].contains("\"missing\" is no tool; there are: broken, picky"));
    assert!(
        contents[2].contains("missing field `number`"),
        "{}",
        contents[2]
    );
    for (message, call) in messages[2..5]
        .iter()
        .zip(messages[1]["tool_calls"].as_array().unwrap())
    {
        assert_eq!(message["tool_call_id"], call["id"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_may_ask_a_human() {
    let ask = tool(
        "ask",
        "Asks.",
        |_: Nothing, context: NodeContext| async move {
            context.interrupt(json!({"question": "really?"}))
        },
    );
    let stage = Stage::new(calling(&["ask"], vec![ask]));
    assert_eq!(stage.say("go").await, Ended::Paused);
    let asked = stage.state().await.interrupts;
    assert_eq!(asked[0]["value"], json!({"question": "really?"}));
    assert_eq!(stage.resume(json!("yes")).await, Ended::Success);
    assert_eq!(contents(&stage.messages().await), ["yes"]);
}

#[test]
fn two_tools_of_one_name_are_refused() {
    let tools = [slow("twin", 1).0, slow("twin", 1).0];
    let model = ScriptedModel::new(|_| Reply::Say(String::new()));
    let refused = agent(model, tools).unwrap_err();
    assert_eq!(refused, BuildError::DoubleTool("twin".to_owned()));
}
