//! A piece of an AI message on its way.

use runloom_core::json::JsonMap;
use serde_json::{Value, json};

/// What a model says at a time. Everything adds to what was said before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// More text.
    pub text: String,
    /// Whole content blocks other than text, such as `tool_use`.
    pub blocks: Vec<Value>,
    /// Pieces of tool calls.
    pub tool_calls: Vec<ToolCallChunk>,
    /// What the answer cost so far; the last one counts.
    pub usage: Option<Usage>,
    /// Goes into the message's `response_metadata`.
    pub metadata: JsonMap,
}

/// A piece of a tool call. Pieces with the same index belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCallChunk {
    /// The place of the call in the message.
    pub index: usize,
    /// The call's id, in its first piece.
    pub id: Option<String>,
    /// The tool's name, in the call's first piece.
    pub name: Option<String>,
    /// More of the JSON text of the arguments.
    pub args: String,
}

/// Tokens that were read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the conversation.
    pub input: u64,
    /// Tokens of the answer.
    pub output: u64,
    /// How many of the input were cached by the provider.
    pub cached: u64,
    /// How many of the output nobody sees.
    pub reasoning: u64,
}

impl Chunk {
    /// A piece of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Whether the chunk says nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The chunk as clients read it: an `AIMessageChunk` of the message `id`.
    pub fn message(&self, id: &str) -> Value {
        let content = if self.blocks.is_empty() {
            json!(self.text)
        } else {
            Value::Array(with_text(&self.text, &self.blocks))
        };
        let calls: Vec<_> = self.tool_calls.iter().map(ToolCallChunk::value).collect();
        json!({
            "content": content,
            "additional_kwargs": {},
            "response_metadata": self.metadata,
            "type": "AIMessageChunk",
            "name": null,
            "id": id,
            "tool_calls": [],
            "invalid_tool_calls": [],
            "usage_metadata": self.usage.map(Usage::value),
            "tool_call_chunks": calls,
        })
    }
}

/// A text block, if there is text, and then `blocks`.
pub(super) fn with_text(text: &str, blocks: &[Value]) -> Vec<Value> {
    let text = (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
    text.into_iter().chain(blocks.iter().cloned()).collect()
}

impl ToolCallChunk {
    fn value(&self) -> Value {
        json!({
            "name": self.name,
            "args": self.args,
            "id": self.id,
            "index": self.index,
            "type": "tool_call_chunk",
        })
    }
}

impl Usage {
    /// In the form of a message's `usage_metadata`.
    pub fn value(self) -> Value {
        json!({
            "input_tokens": self.input,
            "output_tokens": self.output,
            "total_tokens": self.input + self.output,
            "input_token_details": {"cache_read": self.cached},
            "output_token_details": {"reasoning": self.reasoning},
        })
    }
}
