//! Chat messages as events: those that nodes return whole, and what goes with all of them.

use runloom_core::json::JsonMap;
use serde_json::{Value, json};

use super::MessageForm;
use crate::channel::Channel;
use crate::engine::Level;
use crate::run::Run;
use crate::state::Finished;
use crate::task::Task;

/// The metadata of a message that `task` shows.
pub(crate) fn message_metadata(run: &Run, task: &Task, own: &JsonMap) -> Value {
    let mut metadata = JsonMap::clone(&run.metadata);
    metadata.extend(task.metadata.clone());
    metadata.extend(own.clone());
    let place = [
        ("langgraph_step", json!(task.step)),
        ("langgraph_node", json!(task.slot.name)),
        ("langgraph_triggers", json!(task.slot.triggers)),
        ("langgraph_path", json!(task.slot.path)),
        ("langgraph_checkpoint_ns", json!(task.slot.ns)),
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

impl Level {
    /// Shows the chat messages that a task returned, but for those that were streamed or known.
    pub(crate) async fn show_messages(&self, task: &Task, finished: &Finished) {
        let Some(form) = self.run.modes.messages else {
            return;
        };
        if !task.shows_messages || !self.is_shown() {
            return;
        }
        for (channel, value) in &finished.writes {
            if !self.holds_messages(channel) {
                continue;
            }
            let known = task.values.get(channel).and_then(|known| known.as_array());
            for message in value.as_array().into_iter().flatten() {
                let id = message["id"].as_str().unwrap_or_default();
                let new = message["type"] != "remove" && !is_known(message, known);
                if new && self.run.shows_first(id) {
                    self.show_whole(task, form, id, message).await;
                }
            }
        }
    }

    fn holds_messages(&self, channel: &str) -> bool {
        let channel = self.graph.parts().channels.get(channel);
        channel.is_some_and(Channel::holds_messages)
    }

    async fn show_whole(&self, task: &Task, form: MessageForm, id: &str, message: &Value) {
        let metadata = message_metadata(&self.run, task, &JsonMap::new());
        match form {
            MessageForm::Tuple => self.emit("messages", &json!([message, metadata])).await,
            MessageForm::Accumulated => {
                let announcement = json!({id: {"metadata": metadata}});
                self.emit("messages/metadata", &announcement).await;
                self.emit("messages/complete", &json!([message])).await;
            }
        }
    }
}

fn is_known(message: &Value, known: Option<&Vec<Value>>) -> bool {
    known.is_some_and(|known| known.iter().any(|other| other["id"] == message["id"]))
}
