//! The tool-calling agent: a model, the tools it calls, the model again, until it calls no more.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use runloom_core::ids::random_id;
use runloom_core::message::unanswered_tool_calls;
use serde::Deserialize;
use serde_json::{Value, json};

use super::tools::Toolbox;
use crate::builder::{END, START, StateGraph};
use crate::command::{Goto, Send, Update};
use crate::compiled::CompiledGraph;
use crate::context::NodeContext;
use crate::error::{BuildError, NodeError};
use crate::model::{ChatModel, ModelRequest, ToolDefinition};
use crate::node::Node;
use crate::tool::Tool;

/// An agent of `model` and `tools`. Its state is the channel `messages`.
pub fn agent(
    model: impl ChatModel,
    tools: impl IntoIterator<Item = Arc<dyn Tool>>,
) -> Result<CompiledGraph, BuildError> {
    Agent::new(model).tools(tools).compile()
}

/// An agent in the making.
///
/// Its node `agent` streams the model's answer; its node `tools` runs once for each call of the
/// answer, at the same time, so that the results of those that are finished survive a stop. A tool
/// that fails, or that does not exist, answers with an error message for the model to read.
pub struct Agent {
    model: Arc<dyn ChatModel>,
    tools: Vec<Arc<dyn Tool>>,
    prompt: Option<String>,
    graph: StateGraph,
}

impl Agent {
    /// An agent without tools.
    pub fn new(model: impl ChatModel) -> Self {
        Self {
            model: Arc::new(model),
            tools: Vec::new(),
            prompt: None,
            graph: StateGraph::new(),
        }
    }

    /// Adds tools.
    pub fn tools(mut self, tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Self {
        self.tools.extend(tools);
        self
    }

    /// Puts a system message before the conversation. It is not part of the state.
    pub fn prompt(mut self, text: impl Into<String>) -> Self {
        self.prompt = Some(text.into());
        self
    }

    /// Builds on `graph`, with its channels and its description, for tools that read more of the
    /// state than messages.
    pub fn on(mut self, graph: StateGraph) -> Self {
        self.graph = graph;
        self
    }

    /// The agent as a graph.
    pub fn compile(self) -> Result<CompiledGraph, BuildError> {
        let toolbox = Arc::new(Toolbox::new(self.tools));
        let speaker = Arc::new(Speaker {
            model: self.model,
            tools: toolbox.definitions(),
            prompt: self.prompt,
        });
        check_names(&speaker.tools)?;
        let speak = move |state: Conversation, context: NodeContext| {
            let speaker = speaker.clone();
            async move { speaker.speak(state, context).await }
        };
        let call = move |called: Called, context: NodeContext| {
            let toolbox = toolbox.clone();
            async move {
                let message = toolbox.answer(called.tool_call, context).await?;
                Ok(Update::new().set("messages", [message]))
            }
        };
        self.graph
            .messages()
            .node("agent", Node::new(speak))
            .node("tools", Node::new(call))
            .edge(START, "agent")
            .conditional_edges("agent", after_agent, ["tools", END])
            .edge("tools", "agent")
            .compile()
    }
}

/// What the agent reads of the state.
#[derive(Deserialize)]
struct Conversation {
    #[serde(default)]
    messages: Vec<Value>,
}

/// What a task of the node `tools` gets.
#[derive(Deserialize)]
struct Called {
    tool_call: Value,
}

/// The model's half of the agent.
struct Speaker {
    model: Arc<dyn ChatModel>,
    tools: Vec<ToolDefinition>,
    prompt: Option<String>,
}

impl Speaker {
    async fn speak(&self, state: Conversation, context: NodeContext) -> Result<Update, NodeError> {
        let prompt = self
            .prompt
            .iter()
            .map(|text| json!({"type": "system", "content": text}));
        let mut answer = self.model.stream(ModelRequest {
            messages: prompt.chain(state.messages).collect(),
            tools: self.tools.clone(),
        });
        let mut message = context.messages().begin(random_id());
        while let Some(chunk) = answer.next().await {
            let chunk = chunk.map_err(|error| NodeError::new(error.kind(), error.to_string()))?;
            message.chunk(&chunk).await?;
        }
        Ok(Update::new().set("messages", [message.finish().await?]))
    }
}

/// One task for each call that the model just made, or the end.
fn after_agent(Conversation { messages }: Conversation) -> Vec<Goto> {
    let calls = unanswered_tool_calls(&messages);
    if calls.is_empty() {
        return vec![END.into()];
    }
    let task = |call| Send::new("tools", json!({"tool_call": call})).into();
    calls.into_iter().map(task).collect()
}

/// Models cannot tell two tools of one name apart.
fn check_names(tools: &[ToolDefinition]) -> Result<(), BuildError> {
    let mut names = HashSet::new();
    match tools.iter().find(|tool| !names.insert(&tool.name)) {
        Some(tool) => Err(BuildError::DoubleTool(tool.name.clone())),
        None => Ok(()),
    }
}
