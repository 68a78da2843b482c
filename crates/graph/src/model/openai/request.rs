//! A conversation in the form of OpenAI's chat completions.

use serde_json::{Map, Value, json};

use crate::model::{ModelRequest, ToolDefinition, text};

/// What a tool call gets for an answer that has none in the conversation. Endpoints refuse a
/// conversation with open calls.
const NO_ANSWER: &str = "The tool call was interrupted; there is no result.";

/// The body of a streaming request.
pub(super) fn body(model: &str, request: &ModelRequest) -> Value {
    let mut body = json!({
        "model": model,
        "messages": messages(&request.messages),
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    body
}

fn tool(tool: &ToolDefinition) -> Value {
    json!({"type": "function", "function": {
        "name": tool.name, "description": tool.description, "parameters": tool.parameters,
    }})
}

/// The conversation with the answers of tools right behind their calls, wherever they were.
fn messages(messages: &[Value]) -> Vec<Value> {
    let mut wire = Vec::with_capacity(messages.len());
    for (place, message) in messages.iter().enumerate() {
        match message["type"].as_str() {
            Some("human") => wire.push(said("user", message, parts(&message["content"]))),
            Some("system") => wire.push(said("system", message, text(&message["content"]).into())),
            Some("ai") => {
                wire.push(assistant(message));
                for call in calls(message) {
                    wire.push(answer(&call["id"], &messages[place..]));
                }
            }
            // Answers of tools were sent with their calls; one without a call would be refused.
            _ => {}
        }
    }
    wire
}

fn said(role: &str, message: &Value, content: Value) -> Value {
    let mut wire = Map::new();
    wire.insert("role".to_owned(), role.into());
    wire.insert("content".to_owned(), content);
    if let Some(name) = message["name"].as_str().filter(|name| is_name(name)) {
        wire.insert("name".to_owned(), name.into());
    }
    Value::Object(wire)
}

/// OpenAI refuses names with other characters.
fn is_name(name: &str) -> bool {
    let fits = |c: char| !c.is_whitespace() && !"<|\\/>".contains(c);
    !name.is_empty() && name.chars().count() <= 64 && name.chars().all(fits)
}

fn assistant(message: &Value) -> Value {
    let content = text(&message["content"]);
    let calls: Vec<_> = calls(message).map(call).collect();
    if calls.is_empty() {
        return said("assistant", message, content.into());
    }
    let content = Some(content).filter(|text| !text.is_empty());
    let mut wire = said("assistant", message, content.into());
    wire["tool_calls"] = calls.into();
    wire
}

fn calls(message: &Value) -> impl Iterator<Item = &Value> {
    message["tool_calls"].as_array().into_iter().flatten()
}

fn call(call: &Value) -> Value {
    json!({"type": "function", "id": call["id"], "function": {
        "name": call["name"], "arguments": call["args"].to_string(),
    }})
}

fn answer(call: &Value, after: &[Value]) -> Value {
    let answers = |message: &&Value| message["type"] == "tool" && message["tool_call_id"] == *call;
    let content = after
        .iter()
        .find(answers)
        .map(|message| match &message["content"] {
            Value::Array(blocks) if text(&message["content"]).is_empty() => {
                json!(blocks).to_string()
            }
            content => text(content),
        });
    let content = content.unwrap_or_else(|| NO_ANSWER.to_owned());
    json!({"role": "tool", "tool_call_id": call, "content": content})
}

/// A human's content: text, or a list of parts.
fn parts(content: &Value) -> Value {
    match content {
        Value::Array(blocks) => blocks.iter().map(part).collect(),
        content => content.clone(),
    }
}

/// Known blocks in OpenAI's form; others as they are, so that the endpoint says what it thinks.
fn part(block: &Value) -> Value {
    let image = |url: String| json!({"type": "image_url", "image_url": {"url": url}});
    match block {
        Value::String(text) => json!({"type": "text", "text": text}),
        block if block["type"] == "text" => json!({"type": "text", "text": block["text"]}),
        block if block["type"] == "image" => image_url(block).map_or(block.clone(), image),
        other => other.clone(),
    }
}

/// The address of an image block, of LangChain's form or Anthropic's.
fn image_url(block: &Value) -> Option<String> {
    let source = block.get("source").filter(|source| source.is_object());
    let source = source.unwrap_or(block);
    if let Some(url) = source["url"].as_str() {
        return Some(url.to_owned());
    }
    let field = |names: [&str; 2]| names.into_iter().find_map(|name| source[name].as_str());
    let data = field(["data", "base64"])?;
    let kind = field(["media_type", "mime_type"])?;
    Some(format!("data:{kind};base64,{data}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(conversation: &Value) -> Value {
        let conversation = runloom_core::message::coerce_all(conversation).unwrap();
        messages(&conversation).into()
    }

    fn called() -> Value {
        json!({"type": "ai",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
            ],
            "tool_calls": [{"name": "f", "args": {"x": 1}, "id": "a"}]})
    }

    #[test]
    fn a_turn_with_content_blocks_becomes_openais_messages() {
        let conversation = json!([
            {"type": "system", "content": "Be kind."},
            {"type": "human", "content": "hi", "name": "Ann Lee"},
            called(),
            {"type": "tool", "content": "{\"y\":2}", "tool_call_id": "a", "name": "f"},
            {"type": "ai", "content": "done", "name": "agent"},
        ]);
        insta::assert_json_snapshot!(wire(&conversation));
    }

    #[test]
    fn an_open_call_is_answered_and_a_stray_answer_left_out() {
        let conversation = json!([
            called(),
            {"type": "human", "content": "and?"},
            {"type": "tool", "content": "stray", "tool_call_id": "z"},
        ]);
        let wire = wire(&conversation);
        let roles: Vec<_> = wire
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["role"].as_str().unwrap())
            .collect();
        assert_eq!(roles, ["assistant", "tool", "user"]);
        assert_eq!(
            wire[1],
            json!({"role": "tool", "tool_call_id": "a", "content": NO_ANSWER})
        );
    }

    #[test]
    fn a_late_answer_moves_behind_its_call() {
        let conversation = json!([
            called(),
            {"type": "human", "content": "and?"},
            {"type": "tool", "content": "late", "tool_call_id": "a"},
        ]);
        assert_eq!(wire(&conversation)[1]["content"], "late");
    }

    #[test]
    fn images_of_all_forms_become_parts_with_addresses() {
        let blocks = json!([
            "look",
            {"type": "image_url", "image_url": {"url": "http://a/1.png"}},
            {"type": "image", "url": "http://a/2.png"},
            {"type": "image", "base64": "QUJD", "mime_type": "image/png"},
            {"type": "image", "source": {"type": "base64", "data": "QUJD", "media_type": "image/gif"}},
        ]);
        let wire = wire(&json!([{"type": "human", "content": blocks}]));
        let urls: Vec<_> = wire[0]["content"].as_array().unwrap()[1..]
            .iter()
            .map(|part| part["image_url"]["url"].as_str().unwrap())
            .collect();
        let expected = [
            "http://a/1.png",
            "http://a/2.png",
            "data:image/png;base64,QUJD",
            "data:image/gif;base64,QUJD",
        ];
        assert_eq!(urls, expected);
    }

    #[test]
    fn tools_are_offered_only_if_there_are_any() {
        let mut request = ModelRequest::default();
        assert_eq!(body("m", &request).get("tools"), None);
        let parameters = json!({"type": "object"});
        request.tools.push(ToolDefinition {
            name: "f".to_owned(),
            description: "does".to_owned(),
            parameters: parameters.clone(),
        });
        let function = json!({"name": "f", "description": "does", "parameters": parameters});
        assert_eq!(
            body("m", &request)["tools"],
            json!([{"type": "function", "function": function}])
        );
    }
}
