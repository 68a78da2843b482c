//! What goes with a chat message.

use runloom_core::json::JsonMap;
use serde_json::{Value, json};

use crate::run::Run;
use crate::task::Task;

/// The metadata of a message that `task` shows.
pub(crate) fn message_metadata(run: &Run, task: &Task, own: &JsonMap) -> Value {
    let mut metadata = run.metadata();
    metadata.extend(task.metadata.clone());
    metadata.extend(own.clone());
    let place = [
        ("langgraph_step", json!(task.step)),
        ("langgraph_node", json!(task.name)),
        ("langgraph_triggers", json!(task.triggers)),
        ("langgraph_path", json!(task.path)),
        ("langgraph_checkpoint_ns", json!(task.ns)),
    ];
    metadata.extend(place.map(|(key, value)| (key.to_owned(), value)));
    if !task.graph_ns.is_empty() {
        metadata.insert("checkpoint_ns".to_owned(), json!(task.graph_ns.join("|")));
    }
    if let Some(tags) = run.attempt.kwargs.config.get("tags") {
        metadata.insert("tags".to_owned(), tags.clone());
    }
    Value::Object(metadata)
}
