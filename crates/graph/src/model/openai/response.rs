//! The events of a streamed answer.

use std::collections::HashMap;

use runloom_core::json::JsonMap;
use serde::Deserialize;
use serde_json::Value;

use super::error::classify;
use crate::model::ModelError;
use crate::model::chunk::{Chunk, ToolCallChunk, Usage};

/// One event. Everything is optional, for no two endpoints send the same.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    model: Option<String>,
    choices: Vec<Choice>,
    usage: Option<WireUsage>,
    error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Choice {
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CallDelta {
    index: Option<usize>,
    id: Option<String>,
    function: Option<FunctionDelta>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FunctionDelta {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<HashMap<String, Value>>,
    completion_tokens_details: Option<HashMap<String, Value>>,
}

/// Reads the events of one answer in their order.
#[derive(Debug, Default)]
pub(super) struct Reader {
    model: Option<String>,
    finished: bool,
    calls: usize,
}

impl Reader {
    /// What an event adds to the answer.
    pub(super) fn read(&mut self, event: Event) -> Result<Chunk, ModelError> {
        if let Some(error) = event.error.filter(|error| !error.is_null()) {
            return Err(classify(None, &error, None));
        }
        self.model = self.model.take().or(event.model);
        let mut chunk = Chunk {
            usage: event.usage.map(Usage::from),
            ..Chunk::default()
        };
        let Some(choice) = event.choices.into_iter().next() else {
            return Ok(chunk);
        };
        let delta = choice.delta.unwrap_or_default();
        // A refusal is what the model says instead of content.
        chunk.text = delta.content.or(delta.refusal).unwrap_or_default();
        for call in delta.tool_calls.unwrap_or_default() {
            chunk.tool_calls.push(self.call(call));
        }
        if let Some(reason) = choice.finish_reason {
            self.finished = true;
            chunk.metadata = self.metadata(reason);
        }
        Ok(chunk)
    }

    /// Whether the answer is whole now that nothing follows.
    pub(super) fn end(&self) -> Result<(), ModelError> {
        if self.finished {
            Ok(())
        } else {
            let text = "the stream ended without a finish reason";
            Err(ModelError::Interrupted(text.to_owned()))
        }
    }

    fn call(&mut self, piece: CallDelta) -> ToolCallChunk {
        let id = piece.id.filter(|id| !id.is_empty());
        // Endpoints that send whole calls leave the index out: an id begins the next call.
        let index = piece.index.unwrap_or(match id {
            Some(_) => self.calls,
            None => self.calls.saturating_sub(1),
        });
        self.calls = self.calls.max(index + 1);
        let function = piece.function.unwrap_or_default();
        ToolCallChunk {
            index,
            id,
            name: function.name.filter(|name| !name.is_empty()),
            args: function.arguments.unwrap_or_default(),
        }
    }

    fn metadata(&mut self, reason: String) -> JsonMap {
        let mut metadata = JsonMap::new();
        metadata.insert("finish_reason".to_owned(), reason.into());
        metadata.insert("model_name".to_owned(), self.model.take().into());
        metadata.insert("model_provider".to_owned(), "openai".into());
        metadata
    }
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        let detail = |details: Option<HashMap<String, Value>>, key: &str| {
            details.and_then(|map| map.get(key)?.as_u64()).unwrap_or(0)
        };
        Self {
            input: usage.prompt_tokens,
            output: usage.completion_tokens,
            cached: detail(usage.prompt_tokens_details, "cached_tokens"),
            reasoning: detail(usage.completion_tokens_details, "reasoning_tokens"),
        }
    }
}
