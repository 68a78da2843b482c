//! Makes one AI message of the chunks of an answer.

use runloom_core::json::JsonMap;
use serde_json::{Value, json};

use super::chunk::{Chunk, ToolCallChunk, Usage, with_text};

/// An answer in the making.
#[derive(Clone, Debug)]
pub struct Assembly {
    id: String,
    text: String,
    blocks: Vec<Value>,
    calls: Vec<ToolCallChunk>,
    usage: Option<Usage>,
    metadata: JsonMap,
}

impl Assembly {
    /// Nothing said so far under the id that the message will have.
    pub fn new(id: String) -> Self {
        Self {
            id,
            text: String::new(),
            blocks: Vec::new(),
            calls: Vec::new(),
            usage: None,
            metadata: JsonMap::new(),
        }
    }

    /// The id of the message.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Takes in the next piece.
    pub fn add(&mut self, chunk: &Chunk) {
        self.text.push_str(&chunk.text);
        self.blocks.extend(chunk.blocks.iter().cloned());
        for piece in &chunk.tool_calls {
            self.add_call(piece);
        }
        self.usage = chunk.usage.or(self.usage);
        self.metadata.extend(chunk.metadata.clone());
    }

    fn add_call(&mut self, piece: &ToolCallChunk) {
        let known = self.calls.iter().position(|call| call.index == piece.index);
        let place = known.unwrap_or_else(|| {
            self.calls.push(ToolCallChunk {
                index: piece.index,
                ..ToolCallChunk::default()
            });
            self.calls.len() - 1
        });
        let call = &mut self.calls[place];
        // Some endpoints repeat id and name, as empty texts even, in every piece.
        let known = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        if !known(&call.id) {
            call.id.clone_from(&piece.id);
        }
        if !known(&call.name) {
            call.name.clone_from(&piece.name);
        }
        call.args.push_str(&piece.args);
    }

    /// The message as far as it was said. A call whose arguments are not a JSON object is listed
    /// among the invalid ones.
    pub fn message(&self) -> Value {
        let mut calls = self.calls.clone();
        calls.sort_by_key(|call| call.index);
        let (mut valid, mut invalid) = (Vec::new(), Vec::new());
        for call in &calls {
            match arguments(&call.args) {
                Ok(args) if call.name.is_some() => valid.push(json!({
                    "name": call.name, "args": args, "id": call.id, "type": "tool_call",
                })),
                outcome => invalid.push(json!({
                    "name": call.name,
                    "args": call.args,
                    "id": call.id,
                    "error": outcome.err().unwrap_or("the call names no tool".to_owned()),
                    "type": "invalid_tool_call",
                })),
            }
        }
        json!({
            "content": self.content(),
            "additional_kwargs": {},
            "response_metadata": self.metadata,
            "type": "ai",
            "name": null,
            "id": self.id,
            "tool_calls": valid,
            "invalid_tool_calls": invalid,
            "usage_metadata": self.usage.map(Usage::value),
        })
    }

    fn content(&self) -> Value {
        if self.blocks.is_empty() {
            Value::String(self.text.clone())
        } else {
            Value::Array(with_text(&self.text, &self.blocks))
        }
    }
}

/// Models call tools that take nothing with an empty text.
fn arguments(text: &str) -> Result<JsonMap, String> {
    if text.trim().is_empty() {
        return Ok(JsonMap::new());
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(index: usize, id: Option<&str>, name: Option<&str>, args: &str) -> Chunk {
        Chunk {
            tool_calls: vec![ToolCallChunk {
                index,
                id: id.map(str::to_owned),
                name: name.map(str::to_owned),
                args: args.to_owned(),
            }],
            ..Chunk::default()
        }
    }

    fn assembled(chunks: &[Chunk]) -> Value {
        let mut assembly = Assembly::new("m".to_owned());
        for chunk in chunks {
            assembly.add(chunk);
        }
        assembly.message()
    }

    #[test]
    fn text_is_joined_and_the_message_has_the_standard_form() {
        let message = assembled(&[Chunk::text("Hel"), Chunk::text("lo")]);
        let standard = runloom_core::message::coerce_all(&message)
            .unwrap()
            .remove(0);
        assert_eq!(message, standard);
        assert_eq!(message["content"], "Hello");
    }

    #[test]
    fn interleaved_pieces_of_parallel_calls_find_their_calls() {
        let message = assembled(&[
            piece(0, Some("a"), Some("f"), ""),
            piece(1, Some("b"), Some("g"), "{\"y\""),
            piece(0, Some(""), Some(""), "{\"x\":1}"),
            piece(1, None, None, ":2}"),
        ]);
        let call = |name: &str, args: Value, id: &str| {
            let kind = "tool_call";
            json!({"name": name, "args": args, "id": id, "type": kind})
        };
        let expected = json!([
            call("f", json!({"x": 1}), "a"),
            call("g", json!({"y": 2}), "b")
        ]);
        assert_eq!(message["tool_calls"], expected);
        assert_eq!(message["invalid_tool_calls"], json!([]));
    }

    #[test]
    fn arguments_that_are_no_object_make_the_call_invalid_and_none_mean_an_empty_one() {
        let message = assembled(&[
            piece(0, Some("a"), Some("f"), "{\"x\":"),
            piece(1, Some("b"), Some("g"), "[1]"),
            piece(2, Some("c"), Some("h"), ""),
            piece(3, Some("d"), None, "{}"),
        ]);
        let ids = |key: &str| -> Vec<_> {
            let calls = message[key].as_array().unwrap();
            calls
                .iter()
                .map(|call| call["id"].as_str().unwrap())
                .collect()
        };
        assert_eq!(ids("tool_calls"), ["c"]);
        assert_eq!(ids("invalid_tool_calls"), ["a", "b", "d"]);
        assert_eq!(message["invalid_tool_calls"][0]["args"], "{\"x\":");
    }

    #[test]
    fn blocks_make_the_content_a_list_that_text_precedes() {
        let block = json!({"type": "tool_use", "id": "a", "name": "f", "input": {}});
        let blocks = Chunk {
            blocks: vec![block.clone()],
            ..Chunk::default()
        };
        let message = assembled(&[Chunk::text("Let me see."), blocks]);
        assert_eq!(
            message["content"],
            json!([{"type": "text", "text": "Let me see."}, block])
        );
    }

    #[test]
    fn the_last_usage_counts() {
        let usage = |output| Chunk {
            usage: Some(Usage {
                input: 3,
                output,
                ..Usage::default()
            }),
            ..Chunk::default()
        };
        let message = assembled(&[usage(1), usage(5), Chunk::text("x")]);
        assert_eq!(message["usage_metadata"]["total_tokens"], 8);
    }
}
