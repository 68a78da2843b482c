//! Small graphs with one peculiarity each, for tests that look at the server from outside.

mod people;
mod steps;
mod streams;
mod tools;
mod trouble;
mod witness;

use std::time::Duration;

use runloom_graph::model::scripted::Turn;
use runloom_graph::{BuildError, CompiledGraph, Node, NodeContext, StateGraph, Update};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

/// The graphs by their names.
pub(crate) fn all() -> Result<Vec<(String, CompiledGraph)>, BuildError> {
    let graphs = [
        ("echo", steps::echo()),
        ("work", steps::work()),
        ("slow", steps::slow()),
        ("fork", steps::fork()),
        ("nested", steps::nested()),
        ("loop", steps::endless()),
        ("config", steps::config()),
        ("pause", people::pause()),
        ("pause_twice", people::pause_twice()),
        ("tokens", streams::tokens()),
        ("custom", streams::custom()),
        ("tool_wait", tools::tool_wait()),
        ("tools_slow", tools::tools_slow()),
        ("fail", trouble::fail()),
        ("panic", trouble::panicking()),
        ("retry", trouble::retry()),
        ("stubborn", trouble::stubborn()),
        ("sour", trouble::sour()),
        ("witness", witness::witness()),
    ];
    graphs
        .into_iter()
        .map(|(name, graph)| Ok((name.to_owned(), graph?)))
        .collect()
}

/// The state of all of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct State {
    /// Chat messages, merged by their ids.
    messages: Vec<Value>,
    /// How long nodes take, in seconds.
    delay: Option<f64>,
    /// How many tokens to stream.
    count: Option<u64>,
    /// How many of them in a second.
    rate: Option<f64>,
    /// What a human answered.
    answer: Option<Value>,
}

impl State {
    /// The delay, or `usual` seconds. Nonsense is no delay.
    fn delay(&self, usual: f64) -> Duration {
        seconds(self.delay.unwrap_or(usual))
    }

    /// What the human said last.
    fn asked(&self) -> String {
        Turn::of(&self.messages).question
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn graph() -> StateGraph {
    StateGraph::of::<State>().messages()
}

/// Appends a message.
fn append(message: Value) -> Update {
    Update::new().set("messages", [message])
}

/// Appends an AI message.
fn says(content: impl Into<String>) -> Update {
    append(json!({"type": "ai", "content": content.into()}))
}

/// Appends an AI message that names its author.
fn signed(name: &str) -> Update {
    append(json!({"type": "ai", "content": name, "name": name}))
}

/// A node that takes the delay, or `usual` seconds, and signs with its name.
fn takes(usual: f64) -> Node {
    Node::new(move |state: State, context: NodeContext| async move {
        sleep(state.delay(usual)).await;
        Ok(signed(context.node()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_graph_is_sound_and_has_messages() {
        let graphs = all().unwrap();
        for (name, graph) in &graphs {
            assert_eq!(graph.messages_channel(), Some("messages"), "{name}");
        }
        assert_eq!(graphs.len(), 19);
    }
}
