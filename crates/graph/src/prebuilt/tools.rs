//! Answers a model's tool calls.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::context::NodeContext;
use crate::error::NodeError;
use crate::model::ToolDefinition;
use crate::tool::{BAD_ARGUMENTS, Tool};

/// The tools of an agent.
pub(super) struct Toolbox {
    tools: Vec<(ToolDefinition, Arc<dyn Tool>)>,
}

impl Toolbox {
    pub(super) fn new(tools: Vec<Arc<dyn Tool>>) -> Self {
        let defined = tools.into_iter().map(|tool| (tool.definition(), tool));
        Self {
            tools: defined.collect(),
        }
    }

    pub(super) fn definitions(&self) -> Vec<ToolDefinition> {
        self.tools
            .iter()
            .map(|(definition, _)| definition.clone())
            .collect()
    }

    /// The tool message that answers `call`. Fails only if the tool waits for a human or is being
    /// stopped.
    pub(super) async fn answer(
        &self,
        call: Value,
        context: NodeContext,
    ) -> Result<Value, NodeError> {
        let name = call["name"].as_str().unwrap_or_default();
        let outcome = match self.tools.iter().find(|(tool, _)| tool.name == name) {
            Some((_, tool)) => tool.call(call["args"].clone(), context.aside()).await,
            None => Err(self.unknown(name)),
        };
        match outcome {
            Ok(found) => Ok(message(&call, &shown(found), "success")),
            Err(error) if error.is_interrupt() || error.is_cancelled() => Err(error),
            Err(error) => {
                tracing::warn!(tool = name, kind = error.kind(), %error, "a tool failed");
                Ok(message(&call, &explained(&error), "error"))
            }
        }
    }

    fn unknown(&self, name: &str) -> NodeError {
        let names: Vec<_> = self
            .tools
            .iter()
            .map(|(tool, _)| tool.name.as_str())
            .collect();
        let known = names.join(", ");
        NodeError::new(
            "UnknownToolError",
            format!("{name:?} is no tool; there are: {known}"),
        )
    }
}

/// Models read text.
fn shown(found: Value) -> String {
    match found {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn explained(error: &NodeError) -> String {
    let advice = match error.kind() {
        BAD_ARGUMENTS => " Call the tool again with arguments that fit its schema.",
        _ => "",
    };
    format!("Error: {}: {error}.{advice}", error.kind())
}

fn message(call: &Value, content: &str, status: &str) -> Value {
    json!({
        "type": "tool",
        "content": content,
        "name": call["name"],
        "tool_call_id": call["id"],
        "status": status,
    })
}
