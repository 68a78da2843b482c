//! Answers to tool calls that the stop left without one. Models refuse a conversation in which a
//! call has no answer, so without these a thread would be stuck for good.

use runloom_core::message::{add_messages, is_answer};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Stopped;

/// An error message for each call without an answer, in order. The answers that `kept` brings count.
pub(super) fn answers(stopped: &Stopped<'_>, before: &[Value], kept: &[Value]) -> Vec<Value> {
    let last = before.iter().rposition(is_answer);
    let after = last.map_or(&[][..], |place| &before[place + 1..]);
    if after.iter().any(|message| message["type"] != "tool") {
        // The conversation went on without an answer; one at its end would answer nothing.
        return Vec::new();
    }
    let Ok(merged) = add_messages(before, &Value::Array(kept.to_vec())) else {
        return Vec::new();
    };
    let asked = last.and_then(|place| {
        merged
            .iter()
            .position(|message| message["id"] == before[place]["id"])
    });
    let recent = asked.map_or(merged.as_slice(), |place| &merged[place..]);
    let answered = |call: &Value| {
        recent
            .iter()
            .any(|message| message["type"] == "tool" && message["tool_call_id"] == call["id"])
    };
    let speakers = recent.iter().filter(|message| is_answer(message));
    let calls = speakers
        .filter_map(|message| message["tool_calls"].as_array())
        .flatten();
    let open = calls.filter(|call| !answered(call));
    open.map(|call| answer(stopped, call)).collect()
}

fn answer(stopped: &Stopped<'_>, call: &Value) -> Value {
    let call_id = call["id"].as_str().unwrap_or_default();
    let name = call["name"].as_str().unwrap_or_default();
    let id = Uuid::new_v5(&stopped.run.thread_id.0, call_id.as_bytes());
    let what = stopped.reason.sentence();
    json!({
        "content": format!(
            "No result of {name}: {what} before an answer arrived. Whether the call had any effect \
             is unknown."
        ),
        "additional_kwargs": {},
        "response_metadata": {},
        "type": "tool",
        "name": call["name"],
        "id": id.to_string(),
        "tool_call_id": call_id,
        "artifact": null,
        "status": "error",
    })
}
