//! Chat messages as JSON objects, in the form that LangChain's clients read: coerced from the many
//! forms people send, and merged by id.

use serde_json::{Map, Value, json};

use crate::ids::random_id;

/// Removes all messages when it is the id of a `remove` message.
const REMOVE_ALL: &str = "__remove_all__";

/// Why something is not a chat message, or cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It has no form of a message.
    #[error("not a chat message: {0}")]
    Malformed(String),
    /// Its role or type is unknown.
    #[error("unknown message type {0:?}")]
    UnknownType(String),
    /// It removes a message that is not there.
    #[error("cannot remove message {0:?}: it does not exist")]
    NothingToRemove(String),
}

/// The messages after `update` (one message or a list) was merged into `messages`: a message whose
/// id is known replaces the old one in its place, others are added, and `remove` messages delete.
/// Messages without an id get one.
pub fn add_messages(messages: &[Value], update: &Value) -> Result<Vec<Value>, MessageError> {
    let mut merged = messages.to_vec();
    for message in coerce_all(update)? {
        let id = message["id"].as_str().unwrap_or_default().to_owned();
        let place = merged.iter().position(|known| known["id"] == id.as_str());
        match (message["type"] == "remove", place) {
            (true, _) if id == REMOVE_ALL => merged.clear(),
            (true, Some(place)) => drop(merged.remove(place)),
            (true, None) => return Err(MessageError::NothingToRemove(id)),
            (false, Some(place)) => merged[place] = message,
            (false, None) => merged.push(message),
        }
    }
    Ok(merged)
}

/// One message or a list of them, each in the standard form and with an id.
pub fn coerce_all(update: &Value) -> Result<Vec<Value>, MessageError> {
    let coerced = match update {
        Value::Null => Vec::new(),
        // A bare pair of texts is a list of two human messages to LangChain, too.
        Value::Array(items) => items.iter().map(coerce).collect::<Result<_, _>>()?,
        one => vec![coerce(one)?],
    };
    Ok(coerced.into_iter().map(with_id).collect())
}

fn with_id(mut message: Value) -> Value {
    if message["id"].as_str().is_none_or(str::is_empty) {
        message["id"] = Value::String(random_id());
    }
    message
}

/// One message in the standard form.
fn coerce(message: &Value) -> Result<Value, MessageError> {
    match message {
        Value::String(text) => standard("human", &json!({ "content": text })),
        Value::Array(pair) => match pair.as_slice() {
            [
                Value::String(role),
                content @ (Value::String(_) | Value::Array(_)),
            ] => standard(role, &json!({ "content": content })),
            _ => Err(malformed(message)),
        },
        Value::Object(fields) => {
            if let Some((class, kwargs)) = constructor(fields) {
                return standard(class, kwargs);
            }
            let own = fields.get("type").filter(|kind| *kind == "chat");
            let kind = own.or_else(|| fields.get("role"));
            let kind = kind
                .or_else(|| fields.get("type"))
                .and_then(Value::as_str)
                .ok_or_else(|| malformed(message))?;
            // `{type, data: {…}}`, as messages are stored by some histories.
            standard(
                kind,
                fields
                    .get("data")
                    .filter(|data| data.is_object())
                    .unwrap_or(message),
            )
        }
        _ => Err(malformed(message)),
    }
}

fn malformed(message: &Value) -> MessageError {
    let mut text = message.to_string();
    text.truncate(
        text.char_indices()
            .nth(200)
            .map_or(text.len(), |(at, _)| at),
    );
    MessageError::Malformed(text)
}

/// The class and fields of LangChain's serialised form, `{"lc": 1, "type": "constructor", …}`.
fn constructor(fields: &Map<String, Value>) -> Option<(&str, &Value)> {
    if fields.get("type")? != "constructor" {
        return None;
    }
    let class = fields.get("id")?.as_array()?.last()?.as_str()?;
    Some((class, fields.get("kwargs")?))
}

fn standard(kind: &str, fields: &Value) -> Result<Value, MessageError> {
    let kind = match kind {
        "human" | "user" | "HumanMessage" | "HumanMessageChunk" => "human",
        "ai" | "assistant" | "AIMessage" | "AIMessageChunk" => "ai",
        "system" | "developer" | "SystemMessage" | "SystemMessageChunk" => "system",
        "tool" | "ToolMessage" | "ToolMessageChunk" => "tool",
        "remove" | "RemoveMessage" => "remove",
        "chat" | "ChatMessage" | "ChatMessageChunk" => "chat",
        "function" | "FunctionMessage" | "FunctionMessageChunk" => "function",
        other => return Err(MessageError::UnknownType(other.to_owned())),
    };
    let mut message = Map::with_capacity(9);
    message.insert("content".to_owned(), content(kind, fields)?);
    message.insert(
        "additional_kwargs".to_owned(),
        object(fields, "additional_kwargs"),
    );
    message.insert(
        "response_metadata".to_owned(),
        object(fields, "response_metadata"),
    );
    message.insert("type".to_owned(), kind.into());
    message.insert("name".to_owned(), fields["name"].clone());
    message.insert("id".to_owned(), fields["id"].clone());
    match kind {
        "ai" => {
            message.insert("tool_calls".to_owned(), tool_calls(fields)?);
            message.insert(
                "invalid_tool_calls".to_owned(),
                list(fields, "invalid_tool_calls"),
            );
            message.insert(
                "usage_metadata".to_owned(),
                fields["usage_metadata"].clone(),
            );
        }
        "tool" => {
            let call = fields["tool_call_id"]
                .as_str()
                .ok_or_else(|| malformed(fields))?;
            message.insert("tool_call_id".to_owned(), call.into());
            message.insert("artifact".to_owned(), fields["artifact"].clone());
            let status = fields["status"].as_str().unwrap_or("success");
            message.insert("status".to_owned(), status.into());
        }
        "chat" => {
            message.insert("role".to_owned(), fields["role"].clone());
        }
        _ => {}
    }
    Ok(Value::Object(message))
}

fn content(kind: &str, fields: &Value) -> Result<Value, MessageError> {
    match &fields["content"] {
        Value::Null if kind == "ai" || kind == "remove" => Ok("".into()),
        text @ (Value::String(_) | Value::Array(_)) => Ok(text.clone()),
        _ => Err(malformed(fields)),
    }
}

fn object(fields: &Value, key: &str) -> Value {
    fields[key]
        .as_object()
        .map_or_else(|| json!({}), |object| Value::Object(object.clone()))
}

fn list(fields: &Value, key: &str) -> Value {
    fields[key]
        .as_array()
        .map_or_else(|| json!([]), |list| Value::Array(list.clone()))
}

/// Tool calls in the standard form; the form of OpenAI's API is understood, too.
fn tool_calls(fields: &Value) -> Result<Value, MessageError> {
    let calls = [
        &fields["tool_calls"],
        &fields["additional_kwargs"]["tool_calls"],
    ];
    let Some(calls) = calls.into_iter().find_map(|calls| calls.as_array()) else {
        return Ok(json!([]));
    };
    let standard = calls.iter().map(|call| match call["function"].as_object() {
        Some(function) => {
            let text = function
                .get("arguments")
                .and_then(Value::as_str)
                .unwrap_or("{}");
            let args: Value = serde_json::from_str(text).map_err(|_| malformed(call))?;
            Ok(json!({
                "name": function.get("name"), "args": args, "id": call["id"], "type": "tool_call",
            }))
        }
        None if call["name"].is_string() => Ok(json!({
            "name": call["name"], "args": object(call, "args"), "id": call["id"],
            "type": "tool_call",
        })),
        None => Err(malformed(call)),
    });
    standard.collect()
}

/// Whether a stored message is an answer of a model. One that was put together from pieces keeps the
/// type of a piece.
pub fn is_answer(message: &Value) -> bool {
    message["type"] == "ai" || message["type"] == "AIMessageChunk"
}

/// The tool calls that no tool message answers: those of the last AI message that has any, in order.
pub fn unanswered_tool_calls(messages: &[Value]) -> Vec<Value> {
    let Some(place) = messages.iter().rposition(is_answer) else {
        return Vec::new();
    };
    let calls = messages[place]["tool_calls"].as_array();
    let answered = |id: &Value| {
        messages[place..]
            .iter()
            .any(|message| message["type"] == "tool" && message["tool_call_id"] == *id)
    };
    calls
        .into_iter()
        .flatten()
        .filter(|call| !answered(&call["id"]))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(messages: &[Value]) -> Vec<(&str, &str)> {
        messages
            .iter()
            .map(|m| (m["type"].as_str().unwrap(), m["content"].as_str().unwrap()))
            .collect()
    }

    #[test]
    fn every_form_that_people_send_becomes_the_same_message() {
        let forms = [
            json!("hi"),
            json!(["user", "hi"]),
            json!({"role": "user", "content": "hi"}),
            json!({"type": "human", "content": "hi"}),
            json!({"type": "human", "data": {"content": "hi"}}),
            json!({"lc": 1, "type": "constructor", "kwargs": {"content": "hi"},
                "id": ["langchain_core", "messages", "HumanMessage"]}),
        ];
        for form in forms {
            let message = coerce_all(&json!([form])).unwrap().remove(0);
            let keys: Vec<_> = message
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            let standard = [
                "content",
                "additional_kwargs",
                "response_metadata",
                "type",
                "name",
                "id",
            ];
            assert_eq!(keys, standard);
            assert_eq!(texts(&[message]), [("human", "hi")]);
        }
    }

    #[test]
    fn messages_of_roles_that_models_invented_keep_their_role() {
        let stored = json!({"type": "chat", "role": "butler", "content": "sir", "id": "1"});
        let message = coerce_all(&stored).unwrap().remove(0);
        assert_eq!(
            (&message["type"], &message["role"]),
            (&json!("chat"), &json!("butler"))
        );
        let function = json!({"type": "function", "name": "f", "content": "1", "id": "2"});
        assert_eq!(coerce_all(&function).unwrap()[0]["name"], "f");
    }

    #[test]
    fn a_known_id_replaces_in_place_and_a_new_one_is_added() {
        let old = add_messages(
            &[],
            &json!([{"role": "user", "content": "a", "id": "1"}, {"role": "ai", "content": "b", "id": "2"}]),
        );
        let update =
            json!([{"role": "ai", "content": "B", "id": "2"}, {"role": "user", "content": "c"}]);
        let merged = add_messages(&old.unwrap(), &update).unwrap();
        assert_eq!(
            texts(&merged),
            [("human", "a"), ("ai", "B"), ("human", "c")]
        );
        assert!(merged[2]["id"].is_string());
    }

    #[test]
    fn messages_can_be_removed_one_by_one_or_all_at_once() {
        let old = add_messages(&[], &json!([{"role": "user", "content": "a", "id": "1"}])).unwrap();
        assert_eq!(
            add_messages(&old, &json!({"type": "remove", "id": "1"})),
            Ok(vec![])
        );
        assert_eq!(
            add_messages(&old, &json!({"type": "remove", "id": "9"})),
            Err(MessageError::NothingToRemove("9".to_owned()))
        );
        let all = json!([{"type": "remove", "id": REMOVE_ALL}, {"role": "user", "content": "z"}]);
        assert_eq!(texts(&add_messages(&old, &all).unwrap()), [("human", "z")]);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for wrong in [
            json!([1]),
            json!({"content": "x"}),
            json!({"role": "user"}),
            json!([["a"]]),
        ] {
            assert!(
                matches!(add_messages(&[], &wrong), Err(MessageError::Malformed(_))),
                "{wrong}"
            );
        }
        let unknown = add_messages(&[], &json!({"role": "robot", "content": "x"}));
        assert_eq!(unknown, Err(MessageError::UnknownType("robot".to_owned())));
    }

    #[test]
    fn tool_calls_of_the_last_answer_are_open_until_a_tool_message_answers() {
        let call = |id| json!({"name": "search", "args": {}, "id": id});
        let messages = json!([
            {"role": "user", "content": "q"},
            {"role": "ai", "content": "", "tool_calls": [call("a"), call("b")]},
            {"role": "tool", "content": "r", "tool_call_id": "a"},
        ]);
        let messages = add_messages(&[], &messages).unwrap();
        let open = unanswered_tool_calls(&messages);
        assert_eq!(
            open.iter().map(|call| &call["id"]).collect::<Vec<_>>(),
            ["b"]
        );
        assert_eq!(unanswered_tool_calls(&messages[..1]), Vec::<Value>::new());
    }

    #[test]
    fn tool_calls_in_the_form_of_openai_are_understood() {
        let message = json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]});
        let message = coerce_all(&message).unwrap().remove(0);
        let call = json!({"name": "f", "args": {"x": 1}, "id": "c", "type": "tool_call"});
        assert_eq!(message["tool_calls"], json!([call]));
    }
}
