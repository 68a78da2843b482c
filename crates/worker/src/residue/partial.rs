//! Text that a stopped task had streamed, as a message that says that it is not whole.

use runloom_core::run::Run;
use serde_json::{Value, json};

use super::Reason;
use crate::said::Spoken;

/// The message under the id under which clients saw it, so that they replace it and don't double it.
/// Only text is kept: half a tool call or half a thought must never reach a model again.
pub(super) fn message(run: &Run, reason: Reason, spoken: &Spoken) -> Value {
    json!({
        "content": spoken.text.trim_end(),
        "additional_kwargs": {"interrupted": {
            "reason": reason.name(),
            "node": spoken.node,
            "run_id": run.id.to_string(),
        }},
        "response_metadata": {"finish_reason": "interrupted"},
        "type": "ai",
        "name": null,
        "id": spoken.message_id,
        "tool_calls": [],
        "invalid_tool_calls": [],
        "usage_metadata": null,
    })
}
