//! Whole turns, broken turns, and what is left of them.

use std::time::Duration;

use futures::{StreamExt, stream};
use runloom_core::executor::Ended;
use runloom_core::json::{Json, JsonMap};
use runloom_core::run::{RunError, RunKwargs};
use runloom_graph::model::scripted::{Pace, Reply};
use runloom_graph::model::{
    ChatModel, Chunk, ChunkStream, ModelError, ModelRequest, ScriptedModel,
};
use runloom_graph::prebuilt::{Agent, agent};
use runloom_graph::tool::tool;
use runloom_graph::{CompiledGraph, NodeContext};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::stage::{Stage, said, types};

#[derive(Deserialize, JsonSchema)]
struct Query {
    query: String,
}

/// An agent as slow as a human reads, with a tool that takes half a second.
fn weather() -> CompiledGraph {
    let model = ScriptedModel::asking("weather_search", |content| {
        let found: Value = serde_json::from_str(content).unwrap();
        let words = ["so"; 25].join(" ");
        format!("It is {words} {}.", found["weather"].as_str().unwrap())
    });
    let search = tool(
        "weather_search",
        "Finds.",
        |query: Query, _: NodeContext| async move {
            sleep(Duration::from_millis(500)).await;
            Ok(json!({"place": query.query, "weather": "foggy"}))
        },
    );
    agent(model, [search]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_turn_leaves_four_messages_of_the_published_shape() {
    let stage = Stage::new(weather());
    let start = Instant::now();
    assert_eq!(stage.say("what's the weather in sf?").await, Ended::Success);
    assert!(start.elapsed() < Duration::from_secs(4));

    let messages = stage.messages().await;
    assert_eq!(types(&messages), ["human", "ai", "tool", "ai"]);
    assert_eq!(messages[0]["content"], "what's the weather in sf?");
    let call = &messages[1]["tool_calls"][0];
    let input = json!({"query": "what's the weather in sf?"});
    assert_eq!(call["name"], "weather_search");
    assert_eq!(call["args"], input);
    let block = json!({
        "type": "tool_use", "id": call["id"], "name": "weather_search", "input": input,
    });
    assert_eq!(messages[1]["content"], json!([block]));
    assert_eq!(messages[2]["name"], "weather_search");
    assert_eq!(messages[2]["tool_call_id"], call["id"]);
    assert_eq!(messages[2]["status"], "success");
    let found: Value = serde_json::from_str(messages[2]["content"].as_str().unwrap()).unwrap();
    assert_eq!(found["weather"], "foggy");
    let answer = messages[3]["content"].as_str().unwrap();
    assert!(answer.ends_with(" foggy."), "{answer}");
    assert_eq!(
        stage.heard().concat(),
        answer,
        "all that was said was shown, and nothing else"
    );
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_after_two_seconds_keeps_all_but_the_answer() {
    let stage = Stage::new(weather());
    let ended = stage.say_and_interrupt("sf?", Duration::from_secs(2)).await;
    assert_eq!(ended, Ended::Stopped);
    assert_eq!(types(&stage.messages().await), ["human", "ai", "tool"]);
    assert_eq!(stage.state().await.next, ["agent"]);
    let heard = stage.heard().concat();
    assert!(
        heard.starts_with("It is so so") && !heard.contains("foggy"),
        "{heard}"
    );

    assert_eq!(stage.say("nyc?").await, Ended::Success);
    let messages = stage.messages().await;
    let expected = ["human", "ai", "tool", "human", "ai", "tool", "ai"];
    assert_eq!(types(&messages), expected);
    assert_eq!(
        messages[4]["tool_calls"][0]["args"],
        json!({"query": "nyc?"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_stopped_turn_goes_on_from_its_last_superstep() {
    let stage = Stage::new(weather());
    stage.say_and_interrupt("sf?", Duration::from_secs(2)).await;
    let before = stage.messages().await;
    assert_eq!(stage.go_on().await, Ended::Success);
    let messages = stage.messages().await;
    assert_eq!(messages[..3], before);
    assert_eq!(types(&messages), ["human", "ai", "tool", "ai"]);
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_before_the_first_word_leaves_the_question_only() {
    let stage = Stage::new(weather());
    let ended = stage
        .say_and_interrupt("sf?", Duration::from_millis(200))
        .await;
    assert_eq!(ended, Ended::Stopped);
    assert_eq!(types(&stage.messages().await), ["human"]);
}

/// A model that says one word and then fails.
struct Failing;

impl ChatModel for Failing {
    fn stream(&self, _: ModelRequest) -> ChunkStream {
        let error = ModelError::Interrupted("cable cut".to_owned());
        stream::iter([Ok(Chunk::text("well ")), Err(error)]).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_fails_fails_the_run_by_its_kind_of_error() {
    let stage = Stage::new(agent(Failing, []).unwrap());
    let text = "the model's answer broke off: cable cut";
    let error = RunError::new("IncompleteAnswerError", text);
    assert_eq!(stage.say("hi").await, Ended::Failed(error));
    assert_eq!(types(&stage.messages().await), ["human"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_ends_meets_the_recursion_limit() {
    let model = ScriptedModel::new(|_| Reply::Call(vec![("nothing".to_owned(), JsonMap::new())]));
    let stage = Stage::new(agent(model.paced(Pace::INSTANT), []).unwrap());
    let config = json!({"recursion_limit": 5}).as_object().unwrap().clone();
    let ended = stage
        .run(RunKwargs {
            config,
            ..said("hi")
        })
        .await;
    let Ended::Failed(error) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(error.error, "GraphRecursionError");
}

#[tokio::test(start_paused = true)]
async fn the_prompt_reaches_the_model_but_not_the_state() {
    let model = ScriptedModel::new(|request| {
        let first = &request.messages[0];
        Reply::Say(format!("{}: {}", first["type"], first["content"]))
    });
    let graph = Agent::new(model).prompt("Be kind.").compile().unwrap();
    let stage = Stage::new(graph);
    assert_eq!(stage.say("hi").await, Ended::Success);
    let messages = stage.messages().await;
    assert_eq!(types(&messages), ["human", "ai"]);
    assert_eq!(messages[1]["content"], "\"system\": \"Be kind.\"");
}

#[tokio::test(start_paused = true)]
async fn a_history_with_an_open_call_and_half_an_answer_is_no_hindrance() {
    let stage = Stage::new(weather());
    let call = json!({"name": "weather_search", "args": {}, "id": "a"});
    let history = json!({"messages": [
        {"role": "human", "content": "sf?"},
        {"role": "ai", "content": "", "tool_calls": [call]},
        {"role": "ai", "content": "It is f"},
        {"role": "human", "content": "nyc?"},
    ]});
    let input = Some(Json::from_value(&history));
    assert_eq!(
        stage.run(RunKwargs { input, ..said("") }).await,
        Ended::Success
    );
    let messages = stage.messages().await;
    assert_eq!(types(&messages[4..]), ["ai", "tool", "ai"]);
}
